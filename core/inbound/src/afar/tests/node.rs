//! A storage node that follows a script.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use base::Host;
use base::host::sleep_us;
use runtime::dial::memory::MemoryListener;
use runtime::memory::MemoryPeer;
use smtp::qmqp::{self, Outcome, Request};

use crate::afar::Protocol;

/// Where it says nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The address itself is silent: the test sees to it.
    Connect,
    Handshake,
    Greeting,
    Mail,
    Data,
    End,
}

#[derive(Clone)]
pub struct Script {
    protocol: Protocol,
    /// The beginning of a line, and its answer.
    answers: Vec<(String, String)>,
    /// Behind the content; the last one again where there are too few.
    ends: Vec<String>,
    hangs: Option<Stage>,
    offers_ids: bool,
    messages_max: u32,
    pause: Duration,
}

impl Script {
    pub fn new(protocol: Protocol) -> Script {
        Script {
            protocol,
            answers: Vec::new(),
            ends: vec!["250 2.0.0 ok".to_owned()],
            hangs: None,
            offers_ids: true,
            messages_max: u32::MAX,
            pause: Duration::ZERO,
        }
    }

    pub fn answering(mut self, line: &str, answer: &str) -> Script {
        self.answers.push((line.to_owned(), answer.to_owned()));
        self
    }

    pub fn ending(mut self, ends: &[&str]) -> Script {
        self.ends = ends.iter().map(|end| (*end).to_owned()).collect();
        self
    }

    pub fn hanging(mut self, stage: Stage) -> Script {
        self.hangs = Some(stage);
        self
    }

    pub fn without_ids(mut self) -> Script {
        self.offers_ids = false;
        self
    }

    /// Thinks for so long before it answers a content.
    pub fn pausing(mut self, pause: Duration) -> Script {
        self.pause = pause;
        self
    }

    pub fn closing_after(mut self, messages: u32) -> Script {
        self.messages_max = messages;
        self
    }
}

/// A message that came whole, whatever was answered.
#[derive(Debug, Clone)]
pub struct Got {
    pub mark: String,
    pub recipients: Vec<String>,
    pub content: String,
}

pub struct Node {
    got: Rc<RefCell<Vec<Got>>>,
    connections: Rc<Cell<usize>>,
}

impl Node {
    pub fn start(host: &Rc<dyn Host>, listener: MemoryListener, script: Script) -> Node {
        let node = Node {
            got: Rc::default(),
            connections: Rc::default(),
        };
        let (got, connections, spawner) =
            (node.got.clone(), node.connections.clone(), host.clone());
        host.spawn(Box::pin(async move {
            loop {
                // until the world ends
                let peer = listener.accept().await;
                connections.set(connections.get() + 1);
                let session = Session {
                    host: spawner.clone(),
                    script: script.clone(),
                    got: got.clone(),
                    peer,
                    input: Vec::new(),
                };
                spawner.spawn(Box::pin(async move { session.serve().await.unwrap_or(()) }));
            }
        }));
        node
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.borrow().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.get()
    }
}

struct Session {
    host: Rc<dyn Host>,
    script: Script,
    got: Rc<RefCell<Vec<Got>>>,
    peer: MemoryPeer,
    input: Vec<u8>,
}

impl Session {
    /// `None`: the other end is gone, or this one hangs for as long as that stays.
    async fn serve(mut self) -> Option<()> {
        if self.hangs(Stage::Handshake).await {
            return None;
        }
        self.peer.start_tls();
        if self.script.protocol == Protocol::Qmqp {
            return self.request().await;
        }
        if self.hangs(Stage::Greeting).await {
            return None;
        }
        self.say("220 storage").await?;
        for _ in 0..self.script.messages_max {
            self.message().await?;
        }
        None
    }

    async fn message(&mut self) -> Option<()> {
        let (mut mark, mut recipients, mut accepted) = (String::new(), Vec::new(), 0);
        loop {
            // until a message is over or the client leaves
            let line = self.line().await?;
            let scripted = self.script.answers.iter();
            let scripted = scripted
                .clone()
                .find(|(begin, _)| line.starts_with(begin.as_str()));
            let answer = scripted.map_or("250 2.0.0 ok".to_owned(), |(_, answer)| answer.clone());
            if line.starts_with("LHLO") || line.starts_with("EHLO") {
                let ids = if self.script.offers_ids {
                    "250-XDELIVERY\r\n"
                } else {
                    ""
                };
                self.say(&format!("250-storage\r\n{ids}250 PIPELINING"))
                    .await?;
                continue;
            }
            if line.starts_with("MAIL") {
                if self.hangs(Stage::Mail).await {
                    return None;
                }
                mark = line
                    .split_once("XDELIVERY=")?
                    .1
                    .split(' ')
                    .next()?
                    .to_owned();
            }
            if let Some(to) = line.strip_prefix("RCPT TO:<")
                && answer.starts_with('2')
            {
                recipients.push(to.trim_end_matches('>').to_owned());
                accepted += 1;
            }
            if line == "DATA" && accepted == 0 {
                self.say("503 5.5.1 no valid recipients").await?;
                continue;
            }
            if line == "DATA" {
                if self.hangs(Stage::Data).await {
                    return None;
                }
                self.say("354 go on").await?;
                let content = self.content().await?;
                self.got.borrow_mut().push(Got {
                    mark,
                    recipients,
                    content,
                });
                if self.hangs(Stage::End).await {
                    return None;
                }
                sleep_us(&*self.host, self.script.pause.as_micros() as u64).await;
                let count = if self.script.protocol == Protocol::Lmtp {
                    accepted
                } else {
                    1
                };
                for index in 0..count {
                    let ends = &self.script.ends;
                    let end = ends[index.min(ends.len() - 1)].clone();
                    self.say(&end).await?;
                }
                return Some(());
            }
            self.say(&answer).await?;
        }
    }

    async fn request(&mut self) -> Option<()> {
        let (head, bytes) = loop {
            // until the length is known
            if let Some(known) = qmqp::length(&self.input).expect("a netstring") {
                break known;
            }
            self.more().await?;
        };
        let whole = head + bytes as usize + 1;
        while self.input.len() < whole {
            self.more().await?;
        }
        let request = Request::parse(&self.input[head..whole - 1]).expect("well-formed");
        let text = String::from_utf8(request.content).expect("text");
        let (first, content) = text.split_once("\r\n").expect("a line");
        let mark = first.strip_prefix("X-Ringpost-Delivery: ").expect("a mark");
        self.got.borrow_mut().push(Got {
            mark: mark.to_owned(),
            recipients: request.recipients.iter().map(ToString::to_string).collect(),
            content: content.to_owned(),
        });
        if self.hangs(Stage::End).await {
            return None;
        }
        sleep_us(&*self.host, self.script.pause.as_micros() as u64).await;
        let mut answers = self.script.answers.iter();
        let is_for = |to: &String| {
            request
                .recipients
                .iter()
                .any(|each| each.to_string() == *to)
        };
        let scripted = answers.find(|(to, _)| is_for(to));
        let end = scripted.map_or(&self.script.ends[0], |(_, answer)| answer);
        let outcome = match end.as_bytes()[0] {
            b'2' => Outcome::Taken,
            b'4' => Outcome::Later,
            _ => Outcome::Never,
        };
        let answer = qmqp::answer(outcome, end);
        self.peer.send(&answer).await.ok()
    }

    /// Waits until the other end is gone, if the script says so here.
    async fn hangs(&mut self, stage: Stage) -> bool {
        if self.script.hangs != Some(stage) {
            return false;
        }
        while self.more().await.is_some() {}
        true
    }

    async fn more(&mut self) -> Option<()> {
        let bytes = self.peer.receive(&mut self.input, 65_536).await;
        (bytes > 0).then_some(())
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            // until a line is whole
            if let Some(end) = memchr::memmem::find(&self.input, b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(line).expect("text"));
            }
            self.more().await?;
        }
    }

    /// Up to the end of data, dots as they came.
    async fn content(&mut self) -> Option<String> {
        loop {
            // until the end of data
            if let Some(end) = memchr::memmem::find(&self.input, b"\r\n.\r\n") {
                let content: Vec<u8> = self.input.drain(..end + 5).take(end + 2).collect();
                return Some(String::from_utf8(content).expect("text"));
            }
            self.more().await?;
        }
    }

    async fn say(&self, line: &str) -> Option<()> {
        self.peer.send(format!("{line}\r\n").as_bytes()).await.ok()
    }
}
