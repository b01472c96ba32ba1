//! A front between a client and storage nodes that follow a script, in memory and on virtual time: each point at which it can break.

mod break_off;
mod inject;
mod log_in;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use base::Host;
use bytes::Bytes;
use device::sim::SimWorld;
use mailbox::AccountId;
use runtime::dial::memory::MemoryListener;
use runtime::memory::{MemoryPeer, connect};
use runtime::{MemoryDial, Stop};
use rustls::pki_types::ServerName;
use storage::recipients::{Draft, Recipients, Rest, Sign};

use super::*;
use inbound::afar::Table;

/// What either direction of a connection holds.
const PIPE_BYTES: usize = 8_192;
const AGE: Duration = Duration::from_secs(60);
const ALICE: &str = "alice@example.org";
const BOB: &str = "bob@example.org";
const CLIENT: ([u8; 4], u16) = ([198, 51, 100, 7], 4_711);

struct World {
    sim: SimWorld,
    dial: MemoryDial,
    stop: Stop,
    nodes: Nodes,
    /// Of the nodes, in their order.
    listeners: Vec<MemoryListener>,
}

fn address(index: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, index], 2426))
}

impl World {
    /// Node 0 holds alice, node 1 bob.
    fn new() -> World {
        let sim = SimWorld::new(7);
        let (host, stop) = (sim.io().host, Stop::new());
        let dial = MemoryDial::new(&host, &stop, PIPE_BYTES, 64);
        let node = |index: u8| {
            let name = ServerName::try_from(format!("storage{index}.example.org"));
            let name = name.expect("a name");
            Node::new(address(index), name, address(index), Table::new(AGE))
        };
        let world = World {
            listeners: vec![dial.listen(address(0)), dial.listen(address(1))],
            nodes: Nodes::new(vec![node(0), node(1)]),
            dial,
            sim,
            stop,
        };
        world.knows(0, &[ALICE]);
        world.knows(1, &[BOB]);
        world
    }

    fn host(&self) -> Rc<dyn Host> {
        self.sim.io().host
    }

    /// The table of a node has these accounts from now on.
    fn knows(&self, index: usize, accounts: &[&str]) {
        let entry = |(number, account): (u32, &&str)| {
            ((*account).to_owned(), Sign::Account(AccountId(number)))
        };
        self.has(index, (1..).zip(accounts).map(entry).collect());
    }

    fn has(&self, index: usize, addresses: Vec<(String, Sign)>) {
        let draft = Draft {
            domains: vec![("example.org".to_owned(), Rest::default())],
            addresses,
        };
        let bytes = Bytes::from(draft.encode().expect("small"));
        let table = Recipients::decode(bytes).expect("well-formed");
        let node = &self.nodes.all()[index];
        node.table.replace(table, 0, self.host().now());
    }

    fn front(&self) -> Front<MemoryDial> {
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let caller = Caller {
            host: SessionHost::on(self.host()),
            dial: self.dial.clone(),
            hostname: "front.example.org".to_owned(),
            tls: Arc::new(tls),
        };
        Front::new(caller, self.nodes.clone(), Logins::new())
    }

    /// A client of the front. Its logins are taken without TLS, as from the loopback.
    fn run<T>(&self, protocol: Protocol, story: impl AsyncFnOnce(Client) -> T) -> T {
        let mut peer = SocketAddr::from(CLIENT);
        peer.set_ip([127, 0, 0, 1].into());
        let (connection, client) = connect(&self.host(), &self.stop, peer, PIPE_BYTES);
        let settings = Settings {
            protocol,
            tls: None,
            login_on_loopback: true,
            hostname: "front.example.org".to_owned(),
            message_bytes_max: 1_000_000,
        };
        let front = self.front();
        let client = Client(Lines {
            peer: client,
            input: Vec::new(),
        });
        let both = async {
            let (told, ()) = tokio::join!(story(client), front.serve(&settings, connection));
            told
        };
        self.sim.block_on(both)
    }

    /// The next connection of the front to a node, as far as its preface, which is answered.
    async fn called(&self, index: usize) -> Lines {
        let mut node = self.accept(index).await;
        assert_eq!(node.line().await, "FRONT imap 127.0.0.1:4711 none");
        node.say("READY").await;
        node
    }

    async fn accept(&self, index: usize) -> Lines {
        let peer = self.listeners[index].accept().await;
        peer.start_tls();
        Lines {
            peer,
            input: Vec::new(),
        }
    }
}

/// One end of a conversation of lines.
struct Lines {
    peer: MemoryPeer,
    input: Vec<u8>,
}

impl Lines {
    async fn say(&self, line: &str) {
        let sent = self.peer.send(format!("{line}\r\n").as_bytes()).await;
        sent.expect("the front is there");
    }

    /// Without its end; empty: there is no more.
    async fn line(&mut self) -> String {
        loop {
            // until a line or the end comes
            if let Some(end) = memchr::memmem::find(&self.input, b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).expect("text");
            }
            if self.peer.receive(&mut self.input, 1_024).await == 0 {
                return String::new();
            }
        }
    }

    /// Everything up to the end.
    async fn rest(&mut self) -> String {
        while self.peer.receive(&mut self.input, 1_024).await > 0 {}
        String::from_utf8(std::mem::take(&mut self.input)).expect("text")
    }
}

struct Client(Lines);

impl Client {
    async fn say(&self, line: &str) {
        self.0.say(line).await;
    }

    async fn line(&mut self) -> String {
        self.0.line().await
    }

    /// Says one line, and hears one.
    async fn ask(&mut self, line: &str) -> String {
        self.say(line).await;
        self.line().await
    }

    async fn greeted(&mut self) {
        let greeting = self.line().await;
        assert!(greeting.starts_with("* OK ["), "{greeting}");
    }
}

/// A node's session up to a granted login of IMAP.
async fn granted(world: &World, index: usize) -> Lines {
    let mut node = world.called(index).await;
    node.say("* OK ready").await;
    let login = node.line().await;
    assert!(login.starts_with("a AUTHENTICATE PLAIN "), "{login}");
    node.say("a OK [CAPABILITY IMAP4rev1] Logged in").await;
    node
}

/// Client and node of a session that is passed on.
async fn passed_on(world: &World, client: &mut Client) -> Lines {
    client.greeted().await;
    client.say(&format!("a LOGIN {ALICE} secret")).await;
    let node = granted(world, 0).await;
    let answer = client.line().await;
    assert_eq!(answer, "a OK [CAPABILITY IMAP4rev1] Logged in");
    node
}
