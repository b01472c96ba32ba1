//! One sender: delivers letters by SMTP or LMTP, in every way that the protocol and the network allow, and tries again what was deferred.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use runtime::SessionHost;
use smtp::Role;
use smtp::client::{Client, Content, Event, Mail, Sent};

use super::model::{Account, Token, content};
use super::servers::{Line, Servers};
use crate::limits::LINTEL_PATIENCE;

pub struct Sender {
    pub servers: Rc<Servers>,
    pub accounts: Rc<Vec<RefCell<Account>>>,
    /// The next letter's token; shared by all senders.
    pub tokens: Rc<std::cell::Cell<Token>>,
    pub acked: Rc<std::cell::Cell<u64>>,
    pub rng: Rng,
}

/// A letter that is to be delivered.
struct Post {
    token: Token,
    /// Indexes of accounts, ascending, each once.
    to: Vec<usize>,
    tries: u8,
}

/// The connection is over.
struct Over;

impl Sender {
    /// Delivers some letters over some connections.
    pub async fn run(&mut self, letters: usize) -> Result<(), String> {
        let mut posts: Vec<Post> = (0..letters).map(|_| self.write()).collect();
        while !posts.is_empty() {
            let role = [Role::Smtp, Role::Smtp, Role::Lmtp][self.rng.usize(..3)];
            let pipe_bytes = [64, 1_500, 65_536][self.rng.usize(..3)];
            let Some(line) = self.servers.connect_smtp(role, pipe_bytes) else {
                return Ok(());
            };
            let over = self.converse(role, &line, &mut posts).await?;
            // Half of the senders whose connection broke do not wait for the other side to notice: they are back at once, and the old session may
            // still be committing.
            let vanishes = matches!(over, Err(Over)) && self.rng.bool();
            if vanishes {
                drop(line);
            } else {
                self.servers.ended(line).await?;
            }
            posts.retain(|post| post.tries < TRIES_MAX);
            let us = self.rng.u64(..50_000);
            SessionHost::on(self.servers.host.clone())
                .sleep(Duration::from_micros(us))
                .await;
        }
        Ok(())
    }

    fn write(&mut self) -> Post {
        let token = self.tokens.get();
        self.tokens.set(token + 1);
        // One for each address: that of the person who minds such letters.
        let all = 0..self.accounts.len();
        let all: Vec<usize> = all
            .filter(|index| self.accounts[*index].borrow().owns(token))
            .collect();
        let some = all.iter().copied().filter(|_| self.rng.u8(..3) == 0);
        let mut to: Vec<usize> = some.collect();
        if to.is_empty() {
            to.push(all[self.rng.usize(..all.len())]);
        }
        Post {
            token,
            to,
            tries: 0,
        }
    }

    /// One connection.
    async fn converse(
        &mut self,
        role: Role,
        line: &Line,
        posts: &mut Vec<Post>,
    ) -> Result<Result<(), Over>, String> {
        let mut client = Client::new(role, "sender.example.net", false);
        client.pipelining = self.rng.bool();
        let (mut input, mut output) = (Vec::new(), Vec::new());
        // The connection breaks after so many bytes.
        let mut bytes_left = match self.rng.u8(..3) {
            0 => self.rng.usize(..6_000),
            _ => usize::MAX,
        };
        loop {
            // until the connection is over
            match self
                .event(
                    &mut client,
                    line,
                    (&mut input, &mut output),
                    &mut bytes_left,
                )
                .await?
            {
                Ok(Event::Ready(_)) => {}
                Ok(Event::Sent(sent)) => {
                    let post = posts.last_mut().ok_or("an answer to nothing")?;
                    if self.note(role, post, &sent)? {
                        posts.pop();
                    }
                }
                Ok(Event::Bye) => return Ok(Ok(())),
                Ok(Event::Refused(reply)) if reply.code == 421 => return Ok(Err(Over)),
                Ok(event) => return Err(format!("a sender does not expect {event:?}")),
                Err(over) => return Ok(Err(over)),
            }
            match posts.last_mut() {
                Some(post) if post.tries < TRIES_MAX => {
                    self.offer(role, &mut client, post, &mut output)
                }
                _ if self.rng.bool() => client.quit(&mut output),
                _ => return Ok(Err(Over)),
            }
        }
    }

    fn offer(&mut self, role: Role, client: &mut Client, post: &mut Post, output: &mut Vec<u8>) {
        // Counted before it is sent: from here on the letter may arrive once more.
        post.tries += 1;
        let raw = content(post.token);
        let mut recipients = Vec::new();
        for index in &post.to {
            let mut account = self.accounts[*index].borrow_mut();
            account.try_begins(post.token);
            recipients.push(account.name.clone());
        }
        // The same mailbox twice is one copy; LMTP answers twice, which `note` would have to tell apart.
        if role == Role::Smtp && self.rng.u8(..6) == 0 {
            recipients.push(recipients[0].clone());
        }
        let content = match self.rng.u8(..3) {
            0 => Content::chunk(&raw),
            _ => Content::stuffed(&raw),
        };
        let mail = Mail {
            reverse_path: "s@example.net".into(),
            recipients,
            parameters: String::new(),
            content,
        };
        client.send(mail, output);
    }

    /// `true`: the letter is delivered.
    fn note(&self, role: Role, post: &mut Post, sent: &Sent) -> Result<bool, String> {
        let accepted: Vec<bool> = sent.recipients.iter().map(|reply| reply.is_ok()).collect();
        // Without a recipient DATA is out of place, and answered so.
        let outcomes = sent.outcomes.iter().filter(|_| accepted.contains(&true));
        let mut replies = outcomes.chain(&sent.recipients).chain([&sent.mail]);
        // Nothing here deserves a permanent refusal. One would make a sender give up mail that only had to wait.
        if let Some(reply) = replies.find(|reply| reply.code >= 500) {
            return Err(format!("letter {} is refused: {reply:?}", post.token));
        }
        let (mut at, mut missing) = (0, Vec::new());
        for (place, index) in post.to.iter().enumerate() {
            let mut account = self.accounts[*index].borrow_mut();
            let is_accepted = |place: usize| accepted.get(place).copied().unwrap_or(false);
            // The first may be named once more, at the end.
            // It was appended once more as the last recipient, and either answer will do.
            let again = place == 0 && is_accepted(post.to.len());
            if !is_accepted(place) && !again {
                account.refused(post.token);
                missing.push(*index);
                continue;
            }
            let outcome = match role {
                Role::Smtp => sent.outcomes.first(),
                Role::Lmtp => sent.outcomes.get(at).or(sent.outcomes.first()),
            };
            at += 1;
            match outcome {
                Some(reply) if reply.is_ok() => {
                    account.acked(post.token);
                    self.acked.set(self.acked.get() + 1);
                }
                // It stays open: storage may not know whether it happened.
                Some(_) => missing.push(*index),
                None => {
                    account.refused(post.token);
                    missing.push(*index);
                }
            }
        }
        post.to = missing;
        Ok(post.to.is_empty())
    }

    async fn event(
        &mut self,
        client: &mut Client,
        line: &Line,
        (input, output): (&mut Vec<u8>, &mut Vec<u8>),
        bytes_left: &mut usize,
    ) -> Result<Result<Event, Over>, String> {
        let host = SessionHost::on(self.servers.host.clone());
        loop {
            // until something happened
            let (used, event) = client.receive(input, output);
            input.drain(..used);
            if event != Event::NeedInput {
                return Ok(Ok(event));
            }
            if !output.is_empty() {
                let bytes = std::mem::take(output);
                if !self.send(line, &bytes, input, bytes_left).await? {
                    return Ok(Err(Over));
                }
            }
            let received = line.peer.receive(input, 1 << 16);
            match host.within(LINTEL_PATIENCE, received).await {
                Some(0) => return Ok(Err(Over)),
                Some(_) => {}
                None => return Err("a sender is not answered".into()),
            }
        }
    }

    /// In pieces, and reads meanwhile (RFC 2920 §3.1: a window that is full both ways is the sender's fault). `false`: the connection is
    /// over.
    async fn send(
        &mut self,
        line: &Line,
        mut bytes: &[u8],
        input: &mut Vec<u8>,
        left: &mut usize,
    ) -> Result<bool, String> {
        let host = SessionHost::on(self.servers.host.clone());
        while !bytes.is_empty() {
            // The connection ends at a byte that was drawn beforehand: within a command, within the content, or in the final dot.
            let most = bytes.len().min(*left);
            if most == 0 {
                match self.rng.u8(..3) {
                    0 => line.peer.reset(),
                    1 => line.peer.end(),
                    _ => {}
                }
                return Ok(false);
            }
            let count = match self.rng.bool() {
                true => most,
                false => self.rng.usize(1..=most),
            };
            let either = async {
                tokio::select! {
                    biased;
                    sent = line.peer.send_some(&bytes[..count]) => sent.ok(),
                    received = line.peer.receive(input, 1 << 16) => (received > 0).then_some(0),
                }
            };
            match host.within(LINTEL_PATIENCE, either).await {
                Some(Some(sent)) => {
                    bytes = &bytes[sent..];
                    *left -= sent;
                }
                Some(None) => return Ok(false),
                None => return Err("the receiver reads nothing any more".into()),
            }
            if self.rng.u8(..4) == 0 {
                let us = self.rng.u64(..5_000);
                host.sleep(Duration::from_micros(us)).await;
            }
        }
        Ok(true)
    }
}

const TRIES_MAX: u8 = 4;
