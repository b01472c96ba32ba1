//! Who writes: people of ours who submit, and strangers who write to addresses that lead on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use base::BodyName;
use bytes::Bytes;
use fastrand::Rng;
use mail::{InternalDate, Summary};
use queue::{Addressee, Envelope, Terms, UnixSeconds};
use runtime::memory::MemoryPeer;
use storage::outgoing::Submission;
use storage::owner::Ask;
use store::BodyIn;

use super::mail_text::{Token, letter};
use super::model::{Known, Letter, Wishes};
use super::power_on::{HOME, PowerOn, SWIFT};
use crate::limits::{LINTEL_PATIENCE, OUTBOUND_SWIFT};

/// Addresses that letters are written to.
const OURS: [&str; 6] = [
    "sales@example.org",
    "team@example.org",
    "all@example.org",
    "someone@catch.org",
    "bob@example.org",
    "ring@example.org",
];

pub struct Writer {
    pub power: Rc<PowerOn>,
    pub known: Rc<RefCell<Known>>,
    pub rng: Rng,
    /// Nothing is disturbed but other servers: what is for a server that is well leaves at once.
    pub is_calm: bool,
}

/// A conversation broke off.
struct Over;

impl Writer {
    pub async fn run(&mut self, letters: usize) -> Result<(), String> {
        let host = self.power.sessions();
        for _ in 0..letters {
            host.sleep(Duration::from_millis(self.rng.u64(..900_000)))
                .await;
            if self.power.stop.is_requested() {
                break;
            }
            match self.rng.u8(..5) {
                0 => self.submit_short().await?,
                _ => self.write_one().await?,
            }
        }
        Ok(())
    }

    pub async fn write_one(&mut self) -> Result<(), String> {
        let is_stranger = self.rng.bool();
        self.write(is_stranger).await
    }

    /// Each letter has a number of its own in its text. By it the other end of the story recognises what arrives, whatever became of its recipients.
    fn next_token(&self) -> Token {
        let known = self.known.borrow();
        known
            .letters
            .last_key_value()
            .map_or(1, |(last, _)| last + 1)
    }

    /// Outside addresses have the token in them, so that no two letters share one: a second copy is then a double, and not another letter.
    /// Strangers write to us alone, because a server that took their mail for others would be an open relay.
    fn to(&mut self, token: Token, is_stranger: bool) -> Vec<String> {
        let count = [1, 1, 1, 2, 3][self.rng.usize(..5)];
        let mut to = Vec::new();
        for at in 0..count {
            let path = match self.rng.u8(..3) {
                0 if !is_stranger => format!("u{token}.{at}@{SWIFT}"),
                1 if !is_stranger => {
                    format!("u{token}.{at}@d{}.example", self.rng.u8(1..4))
                }
                _ => OURS[self.rng.usize(..OURS.len())].to_owned(),
            };
            if !to.contains(&path) {
                to.push(path);
            }
        }
        to
    }

    fn wishes(&mut self) -> (Wishes, &'static str) {
        let of = |failure, success| Wishes { failure, success };
        match self.rng.u8(..8) {
            0 => (of(false, false), " NOTIFY=NEVER"),
            1 => (of(true, true), " NOTIFY=SUCCESS,FAILURE,DELAY"),
            2 => (of(false, true), " NOTIFY=SUCCESS"),
            3 => (of(true, false), " NOTIFY=FAILURE"),
            _ => (Wishes::UNSAID, ""),
        }
    }

    fn begin(&self, token: Token, sender: &str, is_short: bool) {
        let letter = Letter {
            sender: sender.to_owned(),
            wrote: BTreeMap::new(),
            began_us: self.power.now_us(),
            accepted: false,
            is_short,
        };
        self.known.borrow_mut().letters.insert(token, letter);
    }

    fn wrote(&self, token: Token, path: &str, wishes: Wishes) {
        let mut known = self.known.borrow_mut();
        let letter = known.letters.get_mut(&token).expect("it began");
        letter.wrote.insert(path.to_owned(), wishes);
    }

    /// From its 250 on a letter is owed. Before that the writer may not count on anything, and neither may the checker.
    fn accepted(&self, token: Token) {
        let mut known = self.known.borrow_mut();
        known.accepted += 1;
        let letter = known.letters.get_mut(&token).expect("it began");
        letter.accepted = true;
        let swift = letter.wrote.keys().filter(|path| path.ends_with(SWIFT));
        let swift: Vec<String> = swift.cloned().collect();
        drop(known);
        if self.is_calm && !swift.is_empty() {
            self.expect_soon(token, swift);
        }
    }

    /// Other servers hang: that holds up nothing of this one.
    fn expect_soon(&self, token: Token, paths: Vec<String>) {
        let (power, known) = (self.power.clone(), self.known.clone());
        let host = self.power.host.clone();
        host.spawn(Box::pin(async move {
            let has_left = || {
                let known = known.borrow();
                power.stop.is_requested() || paths.iter().all(|path| known.has_taken(token, path))
            };
            let words = format!("letter {token} waits for a server that is well");
            let left = power.until(&words, OUTBOUND_SWIFT, has_left).await;
            if let Err(words) = left {
                known.borrow_mut().fail(words);
            }
        }));
    }

    /// One letter over a connection.
    async fn write(&mut self, is_stranger: bool) -> Result<(), String> {
        let token = self.next_token();
        let sender = match (is_stranger, self.rng.u8(..8)) {
            (_, 0) => String::new(),
            (true, dice) => format!("s{dice}@{HOME}"),
            (false, _) => "ada@example.org".to_owned(),
        };
        self.begin(token, &sender, false);
        let peer = self.power.connect(is_stranger);
        let host = self.power.sessions();
        let talk = self.talk(&peer, token, &sender, is_stranger);
        match host.within(10 * LINTEL_PATIENCE, talk).await {
            Some(_told_or_over) => Ok(()),
            None => Err(format!("letter {token} is not answered")),
        }
    }

    async fn talk(
        &mut self,
        peer: &MemoryPeer,
        token: Token,
        sender: &str,
        is_stranger: bool,
    ) -> Result<(), Over> {
        let mut input = Vec::new();
        reply(peer, &mut input).await?;
        ask(peer, &mut input, "EHLO writer.example").await?;
        if !is_stranger {
            // NUL ada@example.org NUL right
            let line = "AUTH PLAIN AGFkYUBleGFtcGxlLm9yZwByaWdodA==";
            if !ask(peer, &mut input, line).await?.starts_with("235") {
                return Err(Over);
            }
        }
        let terms = ["", " RET=HDRS", " RET=FULL ENVID=e1"][self.rng.usize(..3)];
        let line = format!("MAIL FROM:<{sender}>{terms}");
        if !ask(peer, &mut input, &line).await?.starts_with("250") {
            return Err(Over);
        }
        let mut is_any = false;
        for path in self.to(token, is_stranger) {
            let (wishes, words) = self.wishes();
            let line = format!("RCPT TO:<{path}>{words}");
            if ask(peer, &mut input, &line).await?.starts_with("250") {
                self.wrote(token, &path, wishes);
                is_any = true;
            }
        }
        if !is_any || !ask(peer, &mut input, "DATA").await?.starts_with("354") {
            return Err(Over);
        }
        let bytes = [0, 1_000, 9_000, 70_000][self.rng.usize(..4)];
        let text = letter(token, sender, bytes).replace("\r\n.", "\r\n..");
        peer.send(text.as_bytes()).await.map_err(|_| Over)?;
        peer.send(b".\r\n").await.map_err(|_| Over)?;
        // Some go before they are answered.
        if self.rng.u8(..12) == 0 {
            return Err(Over);
        }
        if reply(peer, &mut input).await?.starts_with("250") {
            self.accepted(token);
        }
        ask(peer, &mut input, "QUIT").await.map(drop)
    }

    /// A letter that lives for minutes: what waits for long is told, and what expires is given up.
    async fn submit_short(&mut self) -> Result<(), String> {
        let token = self.next_token();
        let sender = ["ada@example.org", ""][usize::from(self.rng.u8(..6) == 0)];
        self.begin(token, sender, true);
        let paths: Vec<String> = self.to(token, false);
        let now = UnixSeconds(self.power.host.unix_seconds().max(0) as u64);
        for path in &paths {
            self.wrote(token, path, Wishes::UNSAID);
        }
        let raw = Bytes::from(letter(token, sender, 0));
        let life = self.rng.u64(600..10_000);
        let submission = Submission {
            junk: Vec::new(),
            body: BodyIn {
                name: BodyName::of(&raw),
                summary: Bytes::from(Summary::of(&raw).encode()),
                raw,
            },
            internal_date: InternalDate::utc(now.0 as i64),
            here: vec![],
            elsewhere: Envelope {
                from: sender.to_owned(),
                recipients: paths.into_iter().map(Addressee::new).collect(),
                arrived: now,
                warns: UnixSeconds(if sender.is_empty() {
                    0
                } else {
                    now.0 + life / 4
                }),
                expires: UnixSeconds(now.0 + life),
                terms: Terms::default(),
            },
        };
        let lane = self.power.lane.clone();
        let submitted = lane.ask_outgoing(move |outgoing| async move {
            outgoing.submit(submission).await.map(drop)
        });
        if let Ok(Ok(())) = submitted.await {
            self.accepted(token);
        }
        Ok(())
    }
}

async fn ask(peer: &MemoryPeer, input: &mut Vec<u8>, line: &str) -> Result<String, Over> {
    let line = format!("{line}\r\n");
    peer.send(line.as_bytes()).await.map_err(|_| Over)?;
    reply(peer, input).await
}

/// The last line of one reply.
async fn reply(peer: &MemoryPeer, input: &mut Vec<u8>) -> Result<String, Over> {
    loop {
        // until a line without a hyphen behind its code is complete
        while let Some(end) = input.windows(2).position(|two| two == b"\r\n") {
            let line: Vec<u8> = input.drain(..end + 2).collect();
            if line.get(3) != Some(&b'-') {
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
        }
        if peer.receive(input, 1 << 12).await == 0 {
            return Err(Over);
        }
    }
}
