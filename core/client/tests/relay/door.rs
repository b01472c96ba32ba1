//! A listener of the inbound zone in memory, beside the queue that it fills.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use inbound::receive::{Ids, Placed, Receiver, Settings};
use runtime::Budget;
use runtime::memory::{MemoryPeer, connect};

use crate::rig::{Here, Rig};

/// What takes mail from strangers, for mx.example.org.
pub struct Door {
    receiver: Rc<Receiver<Here>>,
    settings: Rc<Settings>,
}

impl Door {
    /// `number` tells it from others of one test: their messages' ids differ.
    pub fn new(rig: &Rig, number: u32) -> Door {
        let receiver = Receiver::on(
            rig.sessions(),
            Ids::of(1, number),
            rig.here(),
            Budget::with_shares(8 << 20, 8 << 20),
            Placed::default(),
        );
        let smtp = inbound::smtp::Config {
            role: smtp::Role::Smtp,
            service: smtp::Service::Exchange,
            hostname: "mx.example.org".into(),
            limits: smtp::Limits::default(),
            tls_available: false,
            tls_required: false,
        };
        Door {
            receiver: Rc::new(receiver),
            settings: Rc::new(Settings {
                smtp: Arc::new(smtp),
                tls: None,
                postmaster: mail::Address::from_path("alice@example.org"),
                door: None,
            }),
        }
    }

    /// The replies to `lines`, each a command, without the greeting and that of EHLO; then QUIT.
    pub async fn talk(&self, rig: &Rig, lines: &[&[u8]]) -> Vec<String> {
        let address = SocketAddr::from(([192, 0, 2, 99], 25));
        let (connection, peer) = connect(&rig.host, &rig.stop, address, 1 << 16);
        let (receiver, settings) = (self.receiver.clone(), self.settings.clone());
        rig.host.spawn(Box::pin(async move {
            receiver.serve(&settings, connection).await;
        }));
        let mut all = Vec::new();
        reply(&peer, &mut all).await;
        peer.send(b"EHLO client.example\r\n")
            .await
            .expect("it listens");
        reply(&peer, &mut all).await;
        let mut replies = Vec::new();
        for line in lines {
            peer.send(line).await.expect("it listens");
            replies.push(reply(&peer, &mut all).await);
        }
        // It may have closed by itself after too many errors.
        let _ = peer.send(b"QUIT\r\n").await;
        peer.end();
        replies
    }

    /// Sends one message; answers the reply to each RCPT and the last one.
    pub async fn send(&self, rig: &Rig, from: &str, to: &[&str], content: &str) -> Vec<String> {
        let mut lines = vec![format!("MAIL FROM:<{from}>\r\n").into_bytes()];
        lines.extend(
            to.iter()
                .map(|to| format!("RCPT TO:<{to}>\r\n").into_bytes()),
        );
        lines.push(b"DATA\r\n".to_vec());
        lines.push(format!("{content}\r\n.\r\n").into_bytes());
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let mut replies = self.talk(rig, &lines).await;
        replies.remove(0);
        let data = replies.len() - 2;
        replies.remove(data);
        replies
    }
}

/// One reply, all its lines; empty: the other end closed.
async fn reply(peer: &MemoryPeer, all: &mut Vec<u8>) -> String {
    loop {
        // until a line without a hyphen behind its code is complete
        let text = String::from_utf8_lossy(all).into_owned();
        let mut end = 0;
        for line in text.split_inclusive("\r\n") {
            end += line.len();
            if line.ends_with("\r\n") && line.as_bytes().get(3) != Some(&b'-') {
                all.drain(..end);
                return text[..end].trim_end().to_owned();
            }
        }
        if peer.receive(all, 1 << 12).await == 0 {
            return String::new();
        }
    }
}
