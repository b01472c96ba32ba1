//! One IMAP connection as its client sees it, and the rules that hold for whoever is on the other side: numbers and UIDs fit each other,
//! EXPUNGE comes where it may, EXISTS never shrinks, and every command is answered in time.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use imap::client::{Response, Responses, Value};
use mail::SystemFlags;
use runtime::SessionHost;

use super::servers::{Line, PASSWORD, Servers};
use crate::limits::LINTEL_PATIENCE;

/// Why a talk goes no further.
/// The difference is the whole point of a story: `Lost` is a world with accidents in it, `Wrong` is a bug.
#[derive(Debug)]
pub enum Trouble {
    /// The connection is over, or the outcome of a command is open: connect again and look.
    Lost,
    /// The server broke a rule.
    Wrong(String),
}

impl From<String> for Trouble {
    fn from(text: String) -> Trouble {
        Trouble::Wrong(text)
    }
}

pub type Outcome<T> = Result<T, Trouble>;

/// What the client knows of the mailbox it has open.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// By number; `None`: the UID was not told yet.
    pub uids: Vec<Option<u32>>,
    pub flags: BTreeMap<u32, SystemFlags>,
    pub uid_validity: Option<u32>,
}

/// What FETCH told of one message.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    pub uid: Option<u32>,
    pub flags: Option<SystemFlags>,
    pub body: Option<Vec<u8>>,
}

/// The tagged answer, and what came before it.
pub struct Answer {
    pub is_ok: bool,
    /// From its response code on.
    pub text: String,
    pub fetched: Vec<Fetched>,
    pub untagged: Vec<Response>,
}

impl Answer {
    /// The words of `[CODE a b]`.
    pub fn code(&self, name: &str) -> Option<Vec<String>> {
        let lines = self.untagged.iter().map(|response| {
            let text = String::from_utf8_lossy(response.as_bytes());
            text.split_once(' ').map_or("", |(_, rest)| rest).to_owned()
        });
        let all = lines.chain([self.text.clone()]);
        all.filter_map(|line| {
            let (_, rest) = line.split_once(&format!("[{name} "))?;
            let (words, _) = rest.split_once(']')?;
            Some(words.split(' ').map(str::to_owned).collect())
        })
        .next()
    }
}

pub struct Talk {
    pub line: Line,
    host: SessionHost,
    responses: Responses,
    pub rng: Rng,
    /// At most so many bytes are read at once.
    read_bytes_max: usize,
    /// Reads are a while apart.
    slow: bool,
    tag: u32,
    /// The last command.
    asked: String,
    pub seen: Option<Seen>,
    /// One command in so many is broken off; 0: none.
    pub break_share: u32,
}

impl Talk {
    /// `None`: no more connections are accepted.
    pub fn begin(servers: &Rc<Servers>, rng: Rng) -> Option<Talk> {
        Talk::over(servers, rng, Servers::connect_imap)
    }

    /// Over a line that `connect` gives.
    pub fn over(
        servers: &Rc<Servers>,
        mut rng: Rng,
        connect: impl FnOnce(&Servers, usize) -> Option<Line>,
    ) -> Option<Talk> {
        // With 64 bytes each answer needs many turns of both sides, and every buffer of the server fills.
        let pipe_bytes = [64, 1_000, 16_384, 65_536][rng.usize(..4)];
        let line = connect(servers, pipe_bytes)?;
        Some(Talk {
            line,
            host: SessionHost::on(servers.host.clone()),
            responses: Responses::default(),
            read_bytes_max: [7, 500, 1 << 20][rng.usize(..3)],
            slow: rng.u8(..4) == 0,
            rng,
            tag: 0,
            asked: String::new(),
            seen: None,
            break_share: 0,
        })
    }

    pub async fn log_in(&mut self, user: &str) -> Outcome<()> {
        let greeting = self.next().await?;
        if !greeting.as_bytes().starts_with(b"* OK [") {
            return Err(Trouble::Wrong("no greeting".into()));
        }
        let line = format!("LOGIN {user} {PASSWORD}");
        match self.command(&line, Numbers::Stay).await?.is_ok {
            true => Ok(()),
            // UNAVAILABLE: this one knows its password.
            false => Err(Trouble::Lost),
        }
    }

    /// SELECT or EXAMINE.
    pub async fn open(&mut self, verb: &str, name: &str) -> Outcome<bool> {
        self.seen = Some(Seen::default());
        let answer = self
            .command(&format!("{verb} {name}"), Numbers::Change)
            .await?;
        if !answer.is_ok {
            self.seen = None;
        }
        Ok(answer.is_ok)
    }

    /// Sends a command and reads to its tagged answer.
    pub async fn command(&mut self, line: &str, numbers: Numbers) -> Outcome<Answer> {
        self.command_with(line, None, numbers).await
    }

    /// As `command`; `literal` follows the line.
    pub async fn command_with(
        &mut self,
        line: &str,
        literal: Option<&[u8]>,
        numbers: Numbers,
    ) -> Outcome<Answer> {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.asked = line.to_owned();
        let mut bytes = format!("{tag} {line}").into_bytes();
        let mut rest = Vec::new();
        if let Some(literal) = literal {
            // Synchronising literals and LITERAL+ in turns (RFC 7888).
            let waits = self.rng.bool();
            let plus = if waits { "" } else { "+" };
            bytes.extend(format!(" {{{}{plus}}}\r\n", literal.len()).bytes());
            rest.extend_from_slice(literal);
            rest.extend_from_slice(b"\r\n");
            if !waits {
                bytes.append(&mut rest);
            }
        } else {
            bytes.extend_from_slice(b"\r\n");
        }
        let breaks = self.break_share > 0 && self.rng.u32(..self.break_share) == 0;
        if breaks {
            bytes.append(&mut rest);
            let upto = match self.rng.bool() {
                true => bytes.len(),
                false => self.rng.usize(..bytes.len()),
            };
            self.send(&bytes[..upto]).await?;
            return Err(self.break_off().await);
        }
        self.send(&bytes).await?;
        if !rest.is_empty() {
            match self.answer(&tag, numbers).await? {
                None => self.send(&rest).await?,
                Some(answer) => return Ok(answer),
            }
        }
        match self.answer(&tag, numbers).await? {
            Some(answer) => Ok(answer),
            None => Err(Trouble::Wrong(format!("a + where {line} is answered"))),
        }
    }

    /// IDLE for `span`.
    pub async fn idle(&mut self, span: Duration) -> Outcome<Answer> {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.asked = format!("IDLE for {span:?}");
        self.send(format!("{tag} IDLE\r\n").as_bytes()).await?;
        if let Some(answer) = self.answer(&tag, Numbers::Change).await? {
            return Ok(answer);
        }
        let host = self.host.clone();
        let until = host.now().after_us(span.as_micros() as u64);
        while host.now() < until {
            let left = Duration::from_micros(until.since_us(host.now()));
            // Dropped, it loses nothing: what came is in `responses`.
            match host.within(left, self.next()).await {
                Some(response) => {
                    let response = response?;
                    self.note(&response, Numbers::Change)?;
                }
                None => break,
            }
        }
        self.send(b"DONE\r\n").await?;
        match self.answer(&tag, Numbers::Change).await? {
            Some(answer) => Ok(answer),
            None => Err(Trouble::Wrong("a + where IDLE ends".into())),
        }
    }

    /// To the tagged answer; `None`: the server waits for the rest.
    async fn answer(&mut self, tag: &str, numbers: Numbers) -> Outcome<Option<Answer>> {
        let (mut fetched, mut untagged) = (Vec::new(), Vec::new());
        loop {
            // until it is answered
            let response = self.next().await?;
            if response.is_continuation() {
                return Ok(None);
            }
            if let Some(is_ok) = response.completes(tag) {
                let text = String::from_utf8_lossy(&response.as_bytes()[tag.len() + 1..]);
                // This client sends nothing that is wrong, so BAD is a fault of the parser.
                if text.starts_with("BAD") {
                    return Err(Trouble::Wrong(format!("{tag} is answered {text}")));
                }
                let text = text.into_owned();
                return Ok(Some(Answer {
                    is_ok,
                    text,
                    fetched,
                    untagged,
                }));
            }
            fetched.extend(self.note(&response, numbers)?);
            untagged.push(response);
        }
    }

    async fn send(&mut self, mut bytes: &[u8]) -> Outcome<()> {
        while !bytes.is_empty() {
            let whole = self.rng.u8(..3) > 0;
            let count = if whole {
                bytes.len()
            } else {
                self.rng.usize(1..=bytes.len())
            };
            let sent = self.line.peer.send(&bytes[..count]);
            match self.host.within(LINTEL_PATIENCE, sent).await {
                Some(Ok(())) => bytes = &bytes[count..],
                Some(Err(_)) => return Err(Trouble::Lost),
                None => return Err(Trouble::Wrong("the server reads nothing any more".into())),
            }
            if !bytes.is_empty() {
                let us = self.rng.u64(..20_000);
                self.host.sleep(Duration::from_micros(us)).await;
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Outcome<Response> {
        loop {
            // until a response is whole
            let wrong = |_| Trouble::Wrong("what the server sends is not IMAP".into());
            if let Some(response) = self.responses.step().map_err(wrong)? {
                return Ok(response);
            }
            if self.slow && self.rng.u8(..20) == 0 {
                let us = self.rng.u64(..200_000);
                self.host.sleep(Duration::from_micros(us)).await;
            }
            let received = self
                .line
                .peer
                .receive(self.responses.input(), self.read_bytes_max);
            match self.host.within(LINTEL_PATIENCE, received).await {
                Some(0) => return Err(Trouble::Lost),
                Some(_) => {}
                None => {
                    let asked = &self.asked;
                    return Err(Trouble::Wrong(format!("no answer, and no end: {asked}")));
                }
            }
        }
    }

    /// The client vanishes in one of the ways that clients have.
    async fn break_off(&mut self) -> Trouble {
        match self.rng.u8(..4) {
            0 => self.line.peer.reset(),
            1 => self.line.peer.end(),
            2 => {
                let some = self.line.peer.receive(self.responses.input(), 10);
                let _ = self.host.within(Duration::from_millis(50), some).await;
            }
            _ => {}
        }
        Trouble::Lost
    }

    /// Keeps to the rules with what is untagged.
    fn note(&mut self, response: &Response, numbers: Numbers) -> Outcome<Option<Fetched>> {
        let text = || String::from_utf8_lossy(response.as_bytes()).into_owned();
        let Some(seen) = &mut self.seen else {
            return Ok(None);
        };
        if response.as_bytes().starts_with(b"* OK") {
            let text = text();
            if let Some((_, rest)) = text.split_once("[UIDVALIDITY ") {
                let number = rest.split_once(']').and_then(|(word, _)| word.parse().ok());
                seen.uid_validity = number;
            }
            return Ok(None);
        }
        let values = response.values();
        let values = values.map_err(|_| Trouble::Wrong(format!("cannot be read: {}", text())))?;
        let (number, word) = match &values[..] {
            [_, Value::Atom(number), Value::Atom(word), ..] => match number.parse::<usize>() {
                Ok(number) => (number, word.as_str()),
                Err(_) => return Ok(None),
            },
            _ => return Ok(None),
        };
        let done = match (word, &values[3..]) {
            ("EXISTS", _) => seen.exists(number).map(|()| None),
            ("EXPUNGE", _) if numbers == Numbers::Stay => Err("EXPUNGE where numbers stay".into()),
            ("EXPUNGE", _) => seen.expunge(number).map(|()| None),
            ("FETCH", [Value::List(items)]) => seen.fetch(number, items).map(Some),
            _ => Ok(None),
        };
        done.map_err(|why| Trouble::Wrong(format!("{why}: {}", text())))
    }
}

/// May numbers change before a command is answered (RFC 9051 §7.5.1)?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    Change,
    Stay,
}

impl Seen {
    fn exists(&mut self, count: usize) -> Result<(), String> {
        if count < self.uids.len() {
            return Err(format!("EXISTS shrinks from {}", self.uids.len()));
        }
        // New messages have a number before they have a UID; FETCH names them later.
        self.uids.resize(count, None);
        Ok(())
    }

    fn expunge(&mut self, number: usize) -> Result<(), String> {
        if number == 0 || number > self.uids.len() {
            return Err(format!("EXPUNGE among {}", self.uids.len()));
        }
        if let Some(uid) = self.uids.remove(number - 1) {
            self.flags.remove(&uid);
        }
        Ok(())
    }

    fn fetch(&mut self, number: usize, items: &[Value]) -> Result<Fetched, String> {
        if number == 0 || number > self.uids.len() {
            return Err(format!("FETCH among {}", self.uids.len()));
        }
        let mut fetched = Fetched::default();
        for pair in items.chunks(2) {
            match pair {
                [Value::Atom(name), Value::Atom(word)] if name == "UID" => {
                    fetched.uid = word.parse().ok();
                }
                [Value::Atom(name), Value::List(words)] if name == "FLAGS" => {
                    fetched.flags = Some(flags(words));
                }
                [Value::Atom(name), Value::String(bytes)] if name.starts_with("BODY[") => {
                    fetched.body = Some(bytes.clone());
                }
                _ => {}
            }
        }
        if let Some(uid) = fetched.uid {
            self.name(number - 1, uid)?;
        }
        if let (Some(uid), Some(flags)) = (self.uids[number - 1], fetched.flags) {
            self.flags.insert(uid, flags);
        }
        Ok(fetched)
    }

    /// A number has one UID, and UIDs ascend with numbers.
    fn name(&mut self, index: usize, uid: u32) -> Result<(), String> {
        match self.uids[index] {
            Some(known) if known == uid => return Ok(()),
            Some(known) => return Err(format!("the number was that of UID {known}")),
            None => {}
        }
        // Against the known neighbours on both sides, which are not always the next ones.
        let before = self.uids[..index].iter().flatten().next_back();
        let after = self.uids[index..].iter().flatten().next();
        if before.is_some_and(|before| *before >= uid) || after.is_some_and(|after| *after <= uid) {
            return Err(format!("UID {uid} between {before:?} and {after:?}"));
        }
        self.uids[index] = Some(uid);
        Ok(())
    }
}

/// As FETCH shows them.
pub fn flags(words: &[Value]) -> SystemFlags {
    let mut flags = SystemFlags::default();
    for word in words {
        let Value::Atom(word) = word else { continue };
        flags.0 |= match &word.to_ascii_lowercase()[..] {
            "\\seen" => SystemFlags::SEEN.0,
            "\\answered" => SystemFlags::ANSWERED.0,
            "\\flagged" => SystemFlags::FLAGGED.0,
            "\\deleted" => SystemFlags::DELETED.0,
            "\\draft" => SystemFlags::DRAFT.0,
            _ => 0,
        };
    }
    flags
}

/// As a command takes them.
pub fn put_flags(flags: SystemFlags) -> String {
    let names = [
        (SystemFlags::SEEN, "\\Seen"),
        (SystemFlags::ANSWERED, "\\Answered"),
        (SystemFlags::FLAGGED, "\\Flagged"),
        (SystemFlags::DELETED, "\\Deleted"),
        (SystemFlags::DRAFT, "\\Draft"),
    ];
    let names = names.iter().filter(|(flag, _)| flags.contains(*flag));
    let names: Vec<&str> = names.map(|(_, name)| *name).collect();
    format!("({})", names.join(" "))
}
