//! Servers of other sites: each keeps to the protocol as far as its mood lets it, and its mood changes.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use base::Host;
use dns::Table;
use fastrand::Rng;
use runtime::dial::memory::{Manner, MemoryListener};
use runtime::memory::MemoryPeer;
use runtime::{MemoryDial, SessionHost};

use super::mail_text::Mail;
use super::model::Known;

/// A moment of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Greeting,
    Hello,
    Mail,
    Recipient,
    Data,
    /// While the content comes.
    Content,
    /// After the final dot.
    End,
    Quit,
}

const STEPS: [Step; 8] = [
    Step::Greeting,
    Step::Hello,
    Step::Mail,
    Step::Recipient,
    Step::Data,
    Step::Content,
    Step::End,
    Step::Quit,
];

/// What a server does at a step instead of what it should.
/// Ways in which servers on the Internet fail. In all of them the sender must not lose the message, nor send it twice more often than it has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Usual,
    /// 4xx.
    Later,
    /// 421, and the end.
    Closing,
    /// 5xx.
    Never,
    Silence,
    /// It reads nothing any more either.
    Deaf,
    Close,
    /// It closes in the middle of its reply.
    Half,
    Nonsense,
}

const ACTS: [Act; 8] = [
    Act::Later,
    Act::Closing,
    Act::Never,
    Act::Silence,
    Act::Deaf,
    Act::Close,
    Act::Half,
    Act::Nonsense,
];

/// How a server is for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// One step in so many goes wrong, in any way.
    Flaky(u8),
    /// Always this, at this step.
    Always(Step, Act),
}

/// One server, from one power-on to the next; what others know of it is in `known`.
pub struct Remote {
    pub domain: String,
    host: Rc<dyn Host>,
    dial: MemoryDial,
    names: Table,
    address: SocketAddr,
    mood: Cell<Mood>,
    offers: Vec<&'static str>,
    known: Rc<RefCell<Known>>,
    rng: RefCell<Rng>,
}

impl Remote {
    /// The server of `domain`, at 192.0.2.`last`. It is well.
    pub fn start(
        host: &Rc<dyn Host>,
        (dial, names): (&MemoryDial, &Table),
        (domain, last): (&str, u8),
        known: &Rc<RefCell<Known>>,
        rng: Rng,
    ) -> Rc<Remote> {
        let address = SocketAddr::from(([192, 0, 2, last], 25));
        let offers: &[&[&str]] = &[&["PIPELINING", "DSN", "SIZE 1000000"], &["PIPELINING"], &[]];
        let remote = Rc::new(Remote {
            domain: domain.to_owned(),
            host: host.clone(),
            dial: dial.clone(),
            names: names.clone(),
            address,
            mood: Cell::new(Mood::Well),
            // By the domain: it is the same server at every power-on.
            offers: offers[usize::from(last) % offers.len()].to_vec(),
            known: known.clone(),
            rng: RefCell::new(rng),
        });
        let exchanger = format!("mx.{domain}");
        names.set_exchangers(domain, &[(10, &exchanger)]);
        names.set_addresses(&exchanger, &[address.ip()]);
        let (listener, this) = (dial.listen(address), remote.clone());
        host.spawn(Box::pin(async move { this.listen(listener).await }));
        remote
    }

    /// It is well again, and stays so until `change`.
    pub fn heal(&self) {
        self.mood.set(Mood::Well);
        self.dial.set(self.address, Manner::Answers);
        self.names.set_failing(&self.domain, None);
    }

    /// Another mood. `gentle`: nothing is refused for good.
    pub fn change(&self, rng: &mut Rng, gentle: bool) {
        self.heal();
        let mood = match rng.u8(..8) {
            0 => Mood::Well,
            1 | 2 => Mood::Flaky(rng.u8(2..16)),
            3 => return self.dial.set(self.address, manner(rng)),
            4 => return self.names.set_failing(&self.domain, Some("SERVFAIL")),
            _ => Mood::Always(
                STEPS[rng.usize(..STEPS.len())],
                ACTS[rng.usize(..ACTS.len())],
            ),
        };
        self.mood.set(match mood {
            // In a gentle story nothing bounces, so that every letter has to arrive in the end.
            Mood::Always(step, Act::Never) if gentle => Mood::Always(step, Act::Later),
            Mood::Flaky(_) if gentle => Mood::Always(Step::Recipient, Act::Later),
            mood => mood,
        });
    }

    async fn listen(self: Rc<Remote>, listener: MemoryListener) {
        loop {
            // until the world ends
            let peer = listener.accept().await;
            let (session, rng) = (self.clone(), self.rng.borrow_mut().fork());
            self.host.spawn(Box::pin(async move {
                let mut session = Session {
                    remote: session,
                    peer,
                    rng,
                    input: Vec::new(),
                    from: None,
                    to: Vec::new(),
                };
                // `None`: it is over before QUIT.
                let _over = session.serve().await;
            }));
        }
    }
}

fn manner(rng: &mut Rng) -> Manner {
    match rng.u8(..4) {
        0 => Manner::Refuses,
        1 => Manner::Hangs,
        2 => Manner::Unreachable,
        _ => Manner::Slow(Duration::from_secs(rng.u64(1..30))),
    }
}

struct Session {
    remote: Rc<Remote>,
    peer: MemoryPeer,
    rng: Rng,
    input: Vec<u8>,
    from: Option<String>,
    to: Vec<String>,
}

impl Session {
    async fn serve(&mut self) -> Option<()> {
        self.answer(Step::Greeting, "220 mx ready").await?;
        loop {
            // until either side ends it
            let line = self.line(b"\r\n").await?;
            let path = line
                .split_once('<')
                .and_then(|(_, rest)| rest.split_once('>'));
            let path = path.map_or(String::new(), |(path, _)| path.to_owned());
            match line.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => {
                    let mut lines = vec!["mx"];
                    lines.extend(&self.remote.offers);
                    let last = lines.len() - 1;
                    let each = lines.iter().enumerate().map(|(index, line)| {
                        format!("250{}{line}", if index == last { ' ' } else { '-' })
                    });
                    let text = each.collect::<Vec<_>>().join("\r\n");
                    self.answer(Step::Hello, &text).await?;
                }
                "HELO" => _ = self.say("250 mx").await?,
                "MAIL" => {
                    self.to.clear();
                    self.from = self.answer(Step::Mail, "250 ok").await?.then_some(path);
                }
                "RCPT" if self.from.is_none() => _ = self.say("503 5.5.1 MAIL first").await?,
                "RCPT" => {
                    self.to.push(path);
                    if !self.answer(Step::Recipient, "250 ok").await? {
                        self.to.pop();
                    }
                }
                "DATA" if self.to.is_empty() => _ = self.say("503 5.5.1 RCPT first").await?,
                "DATA" => self.data().await?,
                "QUIT" => {
                    self.answer(Step::Quit, "221 bye").await?;
                    return None;
                }
                _ => _ = self.say("250 ok").await?,
            }
        }
    }

    async fn data(&mut self) -> Option<()> {
        if !self.answer(Step::Data, "354 go on").await? {
            return Some(());
        }
        match self.act(Step::Content) {
            Act::Usual => {}
            Act::Deaf => {
                // Longer than any try.
                SessionHost::on(self.remote.host.clone())
                    .sleep(Duration::from_secs(4_000))
                    .await;
                return None;
            }
            // While content comes nothing can be said; that it ends early is all there is.
            _ => {
                self.peer.receive(&mut self.input, 100).await;
                return None;
            }
        }
        let mut text = self.line(b"\r\n.\r\n").await?;
        text += "\r\n";
        let text = text.replace("\r\n..", "\r\n.");
        let from = self.from.take()?;
        let mail = Mail::read(text, &from);
        let act = self.act(Step::End);
        let said = "250 2.0.0 taken\r\n";
        match act {
            Act::Usual => {
                // At once: what follows is one answer that leaves.
                let is_sent = self.peer.send(said.as_bytes()).await.is_ok();
                self.take(&mail, is_sent);
                // Whether the 250 left whole decides whether a second copy would be the sender's fault.
                is_sent.then_some(())
            }
            Act::Close | Act::Half | Act::Silence | Act::Deaf | Act::Nonsense => {
                // The reply is lost, and the server may have the message or not. Only the sender's second try makes both right.
                if self.rng.bool() {
                    self.take(&mail, false);
                }
                self.perform(act, "250 2.0.0 taken").await.map(drop)
            }
            act => self.perform(act, "250 2.0.0 taken").await.map(drop),
        }
    }

    fn take(&self, mail: &Mail, is_sure: bool) {
        let with_dsn = self.remote.offers.contains(&"DSN");
        let mut known = self.remote.known.borrow_mut();
        for path in &self.to {
            known.take(path, mail, is_sure, with_dsn, false);
        }
    }

    fn act(&mut self, step: Step) -> Act {
        match self.remote.mood.get() {
            Mood::Well => Act::Usual,
            Mood::Flaky(share) if self.rng.u8(..share) > 0 => Act::Usual,
            Mood::Flaky(_) => ACTS[self.rng.usize(..ACTS.len())],
            Mood::Always(at, act) if at == step => act,
            Mood::Always(..) => Act::Usual,
        }
    }

    /// Says `usual`, or does what its mood is. `Some(true)`: it said `usual`; `None`: the conversation is over.
    async fn answer(&mut self, step: Step, usual: &str) -> Option<bool> {
        let act = self.act(step);
        if act == Act::Never {
            let mut known = self.remote.known.borrow_mut();
            match (step, self.to.last()) {
                (Step::Recipient, Some(last)) => _ = known.refused.insert(last.clone()),
                (Step::Data, _) => known.refused.extend(self.to.clone()),
                (Step::Hello | Step::Quit, _) => {}
                _ => _ = known.refused.insert(self.remote.domain.clone()),
            }
        }
        self.perform(act, usual).await
    }

    async fn perform(&mut self, act: Act, usual: &str) -> Option<bool> {
        match act {
            Act::Usual => self.say(usual).await,
            Act::Later => {
                let code = ["450 4.2.1 later", "451 4.3.0 later", "452 4.5.3 too many"];
                let code = code[self.rng.usize(..3)];
                self.say(code).await.map(|_| false)
            }
            Act::Never => {
                if usual.starts_with("250 2.0.0") {
                    let mut known = self.remote.known.borrow_mut();
                    known.refused.extend(self.to.clone());
                }
                let code = ["550 5.1.1 no", "554 5.7.1 no", "553 no"];
                let code = code[self.rng.usize(..3)];
                self.say(code).await.map(|_| false)
            }
            Act::Closing => {
                self.say("421 4.3.2 closing").await?;
                None
            }
            Act::Nonsense => {
                self.say("what?").await?;
                None
            }
            Act::Close => None,
            Act::Half => {
                let text = usual.as_bytes();
                let half = &text[..self.rng.usize(1..text.len())];
                let _ = self.peer.send(half).await;
                None
            }
            Act::Silence => {
                let mut rest = Vec::new();
                while self.peer.receive(&mut rest, 4_096).await > 0 {
                    rest.clear();
                }
                None
            }
            Act::Deaf => {
                SessionHost::on(self.remote.host.clone())
                    .sleep(Duration::from_secs(4_000))
                    .await;
                None
            }
        }
    }

    async fn say(&mut self, text: &str) -> Option<bool> {
        let line = format!("{text}\r\n");
        let sent = self.peer.send(line.as_bytes()).await;
        sent.is_ok().then_some(true)
    }

    /// Up to `end`, without it. `None`: nothing follows.
    async fn line(&mut self, end: &[u8]) -> Option<String> {
        let mut from = 0;
        loop {
            // until it is whole
            let rest = &self.input[from..];
            if let Some(at) = rest.windows(end.len()).position(|some| some == end) {
                let at = from + at;
                let line: Vec<u8> = self.input.drain(..at + end.len()).collect();
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            from = self.input.len().saturating_sub(end.len());
            if self.peer.receive(&mut self.input, 4_096).await == 0 {
                return None;
            }
        }
    }
}
