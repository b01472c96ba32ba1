//! SMTP and LMTP senders: any number of sessions on one thread, so that the client costs at most one core.
//!
//! The clock of a message starts when its content is written and stops at the reply to the final dot: latency at the
//! 250. With pipelining (RFC 2920) MAIL, RCPT and DATA go in one write: two round trips a message, for every server alike.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::message::Composer;
use crate::figures::{Sheet, percentile};

/// After a connection was refused or broken: long enough not to spin, short enough not to be missed.
const RETRY_AFTER: Duration = Duration::from_millis(20);
/// A server silent for so long is counted as broken. RFC 5321 §4.5.3.2.6 asks a real client for ten minutes.
const REPLY_WITHIN: Duration = Duration::from_secs(60);
/// A reply is at most this long, all its lines together. A server that sends more counts as broken.
const REPLY_BYTES_MAX: usize = 16 * 1_024;

/// What to send, to which server, and for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server under load.
    pub server: SocketAddr,
    /// LHLO, and one reply per recipient after the dot (RFC 2033).
    pub lmtp: bool,
    /// Connections open at once.
    pub sessions: usize,
    /// Bytes of each message's content, about.
    pub size_bytes: usize,
    /// Messages on one connection before QUIT and a new connection.
    pub per_connection: u64,
    /// Stop after so many messages …
    pub messages_max: u64,
    /// … or after so long, whichever comes first.
    pub within: Duration,
    /// Taken in turn, one recipient per message.
    pub recipients: Vec<String>,
    /// MAIL, RCPT and DATA in one write (RFC 2920); otherwise each waits for its reply.
    pub pipelining: bool,
    /// Keep the id of every acknowledged message.
    pub ledger: bool,
    /// Who sends.
    pub sender: Sender,
}

/// Who sends, and from where.
#[derive(Debug, Clone)]
pub struct Sender {
    /// In MAIL and in the field From.
    pub from: String,
    /// Name and password of AUTH PLAIN (RFC 4616).
    pub login: Option<(String, String)>,
    /// The address that connections come from; the system's choice if not set.
    pub source: Option<IpAddr>,
    /// Messages that are sent in turn as they are; if there is none, each message is composed.
    pub contents: Rc<[Vec<u8>]>,
}

impl Default for Sender {
    fn default() -> Sender {
        Sender {
            from: "load@example.net".into(),
            login: None,
            source: None,
            contents: Rc::new([]),
        }
    }
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Messages acknowledged with 250 after the final dot.
    pub accepted: u64,
    /// Messages answered with a 4xx: the sender of real mail would try again.
    pub refused_for_now: u64,
    /// Messages answered with a 5xx.
    pub refused: u64,
    /// Connections that broke off, timed out or were not greeted as expected.
    pub broken: u64,
    /// Connections that were opened, the broken ones included.
    pub connections: u64,
    /// Bytes of content of the accepted messages.
    pub content_bytes: u64,
    /// From the start to the last reply.
    pub elapsed: Duration,
    /// One entry for each accepted message, in microseconds.
    pub latencies_us: Vec<u32>,
    /// Messages accepted in each second.
    pub per_second: Vec<u32>,
    /// Ids of the accepted messages, if the plan asked for them.
    pub ledger: Vec<String>,
    /// The first refusal or break in words, for the person at the terminal.
    pub first_trouble: Option<String>,
}

impl Outcome {
    /// Accepted messages a second, over the whole run.
    pub fn rate(&self) -> f64 {
        self.accepted as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Writes the figures of this run to `sheet`, each name with `prefix` before it.
    pub fn note(&self, prefix: &str, sheet: &mut Sheet) {
        let mut latencies = self.latencies_us.clone();
        sheet.note(format!("{prefix}accepted"), self.rate(), "msg/s");
        for (word, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            let value = f64::from(percentile(&mut latencies, share)) / 1_000.0;
            sheet.note(format!("{prefix}latency_{word}"), value, "ms");
        }
        sheet.note(format!("{prefix}messages"), self.accepted as f64, "msg");
        sheet.note(
            format!("{prefix}refused_4xx"),
            self.refused_for_now as f64,
            "msg",
        );
        sheet.note(format!("{prefix}refused_5xx"), self.refused as f64, "msg");
        sheet.note(format!("{prefix}broken"), self.broken as f64, "connections");
    }
}

/// Runs the plan on this thread and returns when it is done.
pub fn run(plan: &Plan) -> io::Result<Outcome> {
    assert!(!plan.recipients.is_empty() && plan.sessions > 0 && plan.per_connection > 0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    let shared = Rc::new(Shared {
        plan: plan.clone(),
        begin: Instant::now(),
        taken: Cell::new(0),
        composer: RefCell::new(Composer::new(fastrand::u64(..), &plan.sender.from)),
        outcome: RefCell::new(Outcome::default()),
    });
    local.block_on(&runtime, async {
        let sessions: Vec<_> = (0..plan.sessions)
            .map(|_| tokio::task::spawn_local(keep_sending(shared.clone())))
            .collect();
        for session in sessions {
            session.await.map_err(io::Error::other)?;
        }
        Ok::<(), io::Error>(())
    })?;
    let mut outcome = shared.outcome.take();
    outcome.elapsed = shared.begin.elapsed();
    Ok(outcome)
}

/// What the sessions share. One thread runs them all, so cells are enough.
struct Shared {
    plan: Plan,
    begin: Instant,
    taken: Cell<u64>,
    composer: RefCell<Composer>,
    outcome: RefCell<Outcome>,
}

impl Shared {
    /// Whether another message may begin.
    fn more(&self) -> bool {
        self.taken.get() < self.plan.messages_max && self.begin.elapsed() < self.plan.within
    }

    /// Counts one message that was answered.
    fn record(&self, fate: &Fate, number: u64, content_bytes: usize, latency: Duration) {
        let mut outcome = self.outcome.borrow_mut();
        match fate {
            Fate::Accepted => {
                outcome.accepted += 1;
                outcome.content_bytes += content_bytes as u64;
                outcome
                    .latencies_us
                    .push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
                let second = self.begin.elapsed().as_secs() as usize;
                if outcome.per_second.len() <= second {
                    outcome.per_second.resize(second + 1, 0);
                }
                outcome.per_second[second] += 1;
                if self.plan.ledger {
                    outcome.ledger.push(self.composer.borrow().id(number));
                }
            }
            Fate::RefusedForNow(line) => {
                outcome.refused_for_now += 1;
                outcome.first_trouble.get_or_insert_with(|| line.clone());
            }
            Fate::Refused(line) => {
                outcome.refused += 1;
                outcome.first_trouble.get_or_insert_with(|| line.clone());
            }
        }
    }

    /// Keeps the first trouble only: one line explains a run better than thousands.
    fn trouble(&self, text: String) {
        self.outcome.borrow_mut().first_trouble.get_or_insert(text);
    }
}

/// What became of one message.
enum Fate {
    Accepted,
    RefusedForNow(String),
    Refused(String),
}

/// One session: connections in turn until the plan is done. A broken one is counted and waited out, so that a server
/// under overload is not hit in a tight loop.
async fn keep_sending(shared: Rc<Shared>) {
    while shared.more() {
        if let Err(error) = one_connection(&shared).await {
            shared.outcome.borrow_mut().broken += 1;
            shared.trouble(error.to_string());
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}

/// One connection: greeting, hello, `per_connection` messages, QUIT.
async fn one_connection(shared: &Shared) -> io::Result<()> {
    let plan = &shared.plan;
    let stream = connect(plan).await?;
    stream.set_nodelay(true)?;
    let mut wire = Wire {
        stream,
        buffer: Vec::with_capacity(4_096),
        begin: 0,
    };
    shared.outcome.borrow_mut().connections += 1;
    expect(wire.reply().await?, 220, &wire)?;
    wire.write(if plan.lmtp {
        b"LHLO load.example.net\r\n"
    } else {
        b"EHLO load.example.net\r\n"
    })
    .await?;
    expect(wire.reply().await?, 250, &wire)?;
    if let Some((name, password)) = &plan.sender.login {
        let plain = BASE64.encode(format!("\0{name}\0{password}").as_bytes());
        wire.write(format!("AUTH PLAIN {plain}\r\n").as_bytes())
            .await?;
        expect(wire.reply().await?, 235, &wire)?;
    }
    let mut content = Vec::with_capacity(plan.size_bytes + 512);
    for _ in 0..plan.per_connection {
        if !shared.more() {
            break;
        }
        let turn = shared.taken.get();
        shared.taken.set(turn + 1);
        let to = &plan.recipients[turn as usize % plan.recipients.len()];
        content.clear();
        let ready = &plan.sender.contents;
        let number = if ready.is_empty() {
            let mut composer = shared.composer.borrow_mut();
            composer.compose(to, plan.size_bytes, &mut content)
        } else {
            content.extend_from_slice(&ready[turn as usize % ready.len()]);
            turn
        };
        let content_bytes = content.len();
        content.extend_from_slice(b".\r\n");
        let (fate, latency) = transact(&mut wire, plan, to, &content).await?;
        shared.record(&fate, number, content_bytes, latency);
        if !matches!(fate, Fate::Accepted) {
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
    wire.write(b"QUIT\r\n").await?;
    // Some servers close without the 221: nothing is lost by that.
    let _ = wire.reply().await;
    Ok(())
}

async fn connect(plan: &Plan) -> io::Result<TcpStream> {
    let Some(source) = plan.sender.source else {
        return TcpStream::connect(plan.server).await;
    };
    let socket = match source {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(plan.server).await
}

/// One mail transaction. `Err` only when the connection is of no more use.
async fn transact(
    wire: &mut Wire,
    plan: &Plan,
    to: &str,
    content: &[u8],
) -> io::Result<(Fate, Duration)> {
    let mail = format!("MAIL FROM:<{}>\r\n", plan.sender.from);
    let rcpt = format!("RCPT TO:<{to}>\r\n");
    let mut codes = [0; 3];
    let mut refused = None;
    if plan.pipelining {
        wire.write(format!("{mail}{rcpt}DATA\r\n").as_bytes())
            .await?;
        for code in &mut codes {
            *code = wire.reply().await?;
            if *code >= 400 && refused.is_none() {
                refused = Some((*code, wire.last_line()));
            }
        }
    } else {
        for (code, command) in codes.iter_mut().zip([mail.as_str(), &rcpt, "DATA\r\n"]) {
            wire.write(command.as_bytes()).await?;
            *code = wire.reply().await?;
            if *code >= 400 {
                refused = Some((*code, wire.last_line()));
                break;
            }
        }
    }
    if let Some((code, line)) = refused {
        if codes[2] == 354 {
            // DATA was taken although the recipient was not: end it empty (RFC 2920 §3.1).
            wire.write(b".\r\n").await?;
            wire.reply().await?;
        }
        wire.write(b"RSET\r\n").await?;
        expect(wire.reply().await?, 250, wire)?;
        return Ok((fate_of(code, line), Duration::ZERO));
    }
    let begin = Instant::now();
    wire.write(content).await?;
    let code = wire.reply().await?;
    let latency = begin.elapsed();
    let mut fate = Fate::Accepted;
    if code >= 300 {
        fate = fate_of(code, wire.last_line());
    }
    if code == 421 {
        Err(io::Error::other(wire.last_line()))
    } else {
        Ok((fate, latency))
    }
}

/// A refusal by its reply code: 4xx is temporary (RFC 5321 §4.2.1).
fn fate_of(code: u16, line: String) -> Fate {
    if (400..500).contains(&code) {
        Fate::RefusedForNow(line)
    } else {
        Fate::Refused(line)
    }
}

/// An error with the server's own words where `code` is not the one `wanted`.
fn expect(code: u16, wanted: u16, wire: &Wire) -> io::Result<()> {
    if code == wanted {
        Ok(())
    } else {
        Err(io::Error::other(wire.last_line()))
    }
}

/// A connection and what was read from it.
struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Replies before this index have been read.
    begin: usize,
}

impl Wire {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The code of the next complete reply; earlier lines of a multi-line reply are skipped.
    async fn reply(&mut self) -> io::Result<u16> {
        loop {
            if let Some(end) = self.buffer[self.begin..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let line = &self.buffer[self.begin..self.begin + end];
                let last = line.get(3) != Some(&b'-');
                let code = std::str::from_utf8(line.get(..3).unwrap_or(b""))
                    .ok()
                    .and_then(|text| text.parse().ok());
                let Some(code) = code else {
                    return Err(io::Error::other("not a reply"));
                };
                self.begin += end + 1;
                if last {
                    return Ok(code);
                }
                continue;
            }
            if self.begin == self.buffer.len() {
                self.buffer.clear();
                self.begin = 0;
            }
            if self.buffer.len() > REPLY_BYTES_MAX {
                return Err(io::Error::other("a reply without end"));
            }
            let read = tokio::time::timeout(REPLY_WITHIN, self.stream.read_buf(&mut self.buffer));
            if read
                .await
                .map_err(|_| io::Error::other("no reply in time"))??
                == 0
            {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The last line of the reply that was read last, for people.
    fn last_line(&self) -> String {
        let read = &self.buffer[..self.begin];
        String::from_utf8_lossy(read)
            .trim_end()
            .lines()
            .last()
            .unwrap_or("")
            .to_string()
    }
}
