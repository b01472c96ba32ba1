//! A server of another site: it keeps to the protocol, except where its script says otherwise.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use base::Host;
use runtime::dial::memory::MemoryListener;
use runtime::memory::MemoryPeer;
use rustls::pki_types::CertificateDer;

/// What a server does instead of what it should.
#[derive(Clone)]
pub enum Answer {
    Say(String),
    /// It says so and breaks the connection off.
    SayAndClose(String),
    Silence,
    /// The handshake follows the 220 and fails.
    BadTls,
}

pub fn say(text: &str) -> Option<Answer> {
    Some(Answer::Say(text.to_owned()))
}

/// Answers a line, or leaves it to the usual answer; `` is the greeting and `.` the content.
type Rule = Rc<dyn Fn(&str) -> Option<Answer>>;

#[derive(Clone)]
pub struct Script {
    pub offers: Vec<&'static str>,
    /// What it shows in the handshake, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
    pub rule: Rule,
}

impl Script {
    pub fn usual() -> Script {
        Script {
            offers: vec!["PIPELINING", "SIZE 1000000", "8BITMIME"],
            certificates: Vec::new(),
            rule: Rc::new(|_| None),
        }
    }

    pub fn with(rule: impl Fn(&str) -> Option<Answer> + 'static) -> Script {
        Script {
            rule: Rc::new(rule),
            ..Script::usual()
        }
    }

    /// `answer` to lines that begin so.
    pub fn at(verb: &'static str, answer: Option<Answer>) -> Script {
        Script::with(move |line| {
            match line.starts_with(verb) && line.is_empty() == verb.is_empty() {
                true => answer.clone(),
                false => None,
            }
        })
    }

    pub fn offering(mut self, offers: &[&'static str]) -> Script {
        self.offers = offers.to_vec();
        self
    }

    pub fn showing(mut self, certificates: Vec<CertificateDer<'static>>) -> Script {
        self.certificates = certificates;
        self
    }
}

/// A message that it answered 250.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub mail: String,
    pub recipients: Vec<String>,
    pub content: String,
    pub in_tls: bool,
}

#[derive(Clone)]
pub struct Server {
    got: Rc<RefCell<Vec<Got>>>,
    connections: Rc<Cell<usize>>,
    open: Rc<Cell<usize>>,
    most: Rc<Cell<usize>>,
}

impl Server {
    pub fn start(host: &Rc<dyn Host>, listener: MemoryListener, script: Script) -> Server {
        let server = Server {
            got: Rc::default(),
            connections: Rc::default(),
            open: Rc::default(),
            most: Rc::default(),
        };
        let (this, spawner) = (server.clone(), host.clone());
        host.spawn(Box::pin(async move {
            loop {
                // until the world ends
                let peer = listener.accept().await;
                this.connections.set(this.connections.get() + 1);
                this.open.set(this.open.get() + 1);
                this.most.set(this.most.get().max(this.open.get()));
                let (this, script) = (this.clone(), script.clone());
                spawner.spawn(Box::pin(async move {
                    let mut session = Session {
                        server: this.clone(),
                        script,
                        peer,
                        input: Vec::new(),
                        got: None,
                        in_tls: false,
                    };
                    session.serve().await;
                    this.open.set(this.open.get() - 1);
                }));
            }
        }));
        server
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.borrow().clone()
    }

    pub fn count(&self) -> usize {
        self.got.borrow().len()
    }

    /// Connections so far, and the most at a time.
    pub fn connections(&self) -> (usize, usize) {
        (self.connections.get(), self.most.get())
    }
}

struct Session {
    server: Server,
    script: Script,
    peer: MemoryPeer,
    input: Vec<u8>,
    got: Option<Got>,
    in_tls: bool,
}

impl Session {
    async fn serve(&mut self) {
        if self.answer("", "220 mx ready").await.is_none() {
            return;
        }
        while let Some(line) = self.line(b"\r\n").await {
            let upper = line.to_ascii_uppercase();
            let verb = upper.split([' ', ':']).next().unwrap_or("").to_owned();
            let done = match verb.as_str() {
                "EHLO" => {
                    let mut lines = vec!["mx"];
                    lines.extend(&self.script.offers);
                    let last = lines.len() - 1;
                    let each = lines.iter().enumerate();
                    let lines: Vec<String> = each
                        .map(|(index, line)| {
                            format!("250{}{line}", if index == last { ' ' } else { '-' })
                        })
                        .collect();
                    self.answer(&line, &lines.join("\r\n")).await
                }
                "STARTTLS" => self.start_tls().await,
                "MAIL" => {
                    self.got = Some(Got {
                        mail: line.clone(),
                        recipients: Vec::new(),
                        content: String::new(),
                        in_tls: self.in_tls,
                    });
                    self.answer(&line, "250 2.1.0 ok").await
                }
                "RCPT" => {
                    let said = self.answer(&line, "250 2.1.5 ok").await;
                    if said.as_deref().is_some_and(|said| said.starts_with("250"))
                        && let Some(got) = &mut self.got
                    {
                        got.recipients.push(line.clone());
                    }
                    said
                }
                "DATA" => self.data().await,
                "RSET" => self.answer(&line, "250 ok").await,
                "QUIT" => {
                    self.answer(&line, "221 bye").await;
                    return;
                }
                _ => self.answer(&line, "250 ok").await,
            };
            if done.is_none() {
                return;
            }
        }
    }

    async fn data(&mut self) -> Option<String> {
        let has_some = self
            .got
            .as_ref()
            .is_some_and(|got| !got.recipients.is_empty());
        let usual = if has_some {
            "354 go on"
        } else {
            "503 5.5.1 no recipients"
        };
        let said = self.answer("DATA", usual).await?;
        if !said.starts_with("354") {
            return Some(said);
        }
        let content = match self.input.starts_with(b".\r\n") {
            true => self.line(b".\r\n").await?,
            false => self.line(b"\r\n.\r\n").await?,
        };
        let said = self.answer(".", "250 2.0.0 taken").await?;
        if said.starts_with("250")
            && let Some(mut got) = self.got.take()
        {
            got.content = content;
            self.server.got.borrow_mut().push(got);
        }
        Some(said)
    }

    async fn start_tls(&mut self) -> Option<String> {
        match (self.script.rule)("STARTTLS") {
            None => {
                self.peer.send(b"220 go on\r\n").await.ok()?;
                let certificates = self.script.certificates.clone();
                self.peer.start_tls_showing(certificates);
                self.in_tls = true;
                Some(String::new())
            }
            Some(Answer::BadTls) => {
                self.peer.send(b"220 go on\r\n").await.ok()?;
                self.peer.fail_tls();
                None
            }
            Some(_) => self.answer("STARTTLS", "").await,
        }
    }

    /// Says what the script says, or `usual`. `None`: the conversation is over.
    async fn answer(&mut self, line: &str, usual: &str) -> Option<String> {
        let text = match (self.script.rule)(line) {
            None => usual.to_owned(),
            Some(Answer::Say(text)) => text,
            Some(Answer::SayAndClose(text)) => {
                let _ = self.peer.send(text.as_bytes()).await;
                return None;
            }
            Some(Answer::Silence | Answer::BadTls) => {
                // It reads on, and says nothing, until the other end goes.
                let mut rest = Vec::new();
                while self.peer.receive(&mut rest, 4_096).await > 0 {
                    rest.clear();
                }
                return None;
            }
        };
        self.peer
            .send(format!("{text}\r\n").as_bytes())
            .await
            .ok()?;
        Some(text)
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
