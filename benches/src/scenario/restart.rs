//! Restart after kill -9: time to READY with many messages in one mailbox, and with the same spread over many.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Setting, mailbox};
use crate::figures::{Sheet, median};
use crate::peers::{PASSWORD, Running, ringpost};

/// Two, for the mailboxes of one account have a limit.
const ACCOUNTS: [&str; 2] = ["alice@example.org", "bob@example.org"];
const SIZE_BYTES: usize = 1_024;
/// Commands in flight while mailboxes are made.
const AT_ONCE: usize = 100;

pub fn after_kill(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    let count = setting.scaled(1_000_000, 50_000);
    let mailboxes = setting.scaled(10_000, 500);
    let one = timed(setting, &|server, again| {
        let wanted = if again { mailboxes } else { count };
        mailbox::fill(server, wanted, SIZE_BYTES)
    })?;
    sheet.tell("restart.messages", count as f64, "msg");
    sheet.tell("restart.ready", one, "s");
    // The same number of messages in both, so that the ratio is the price of a mailbox.
    let few = timed(setting, &|server, _| {
        mailbox::fill(server, mailboxes, SIZE_BYTES)
    })?;
    let many = timed(setting, &|server, again| spread(server, mailboxes, !again))?;
    sheet.tell("restart.one_mailbox", few, "s");
    sheet.tell("restart.many_mailboxes", many, "s");
    sheet.tell("ratio.restart.mailboxes", many / few.max(1e-9), "ratio");
    Ok(())
}

/// Fills a new server, kills it, and starts it again as often as there are rounds, each time after more mail: a log that was
/// replayed once would leave the later starts nothing to do. The median in seconds.
fn timed(setting: &Setting, fill: &dyn Fn(&Running, bool) -> io::Result<()>) -> io::Result<f64> {
    let directory = setting.fresh("restart")?;
    let ours = ringpost::Setting {
        directory: &directory,
        leg_size: "4GiB",
        sink: false,
        settings: None,
    };
    let (mut server, _) = ringpost::start(&ours)?;
    let mut times = Vec::new();
    for round in 0..setting.rounds {
        fill(&server, round > 0)?;
        // Not a stop, which could leave less to be replayed than a power cut does.
        server.kill();
        let (again, after) = ringpost::start(&ours)?;
        times.push(after.as_secs_f64());
        server = again;
    }
    Ok(median(&times))
}

/// One more message in each of `count` mailboxes, which are made first when they are `new`.
fn spread(server: &Running, count: u64, new: bool) -> io::Result<()> {
    let imap = server
        .imap
        .ok_or_else(|| io::Error::other("no IMAP here"))?;
    let message = format!("Subject: one of many\r\n\r\n{}\r\n", "x".repeat(SIZE_BYTES));
    let size = message.len();
    for account in ACCOUNTS {
        // Ahead of the replies: one round trip for each of 20,000 commands would take minutes.
        let mut wire = Pipelined::connect(imap)?;
        wire.send(&format!("LOGIN {account} {PASSWORD}"))?;
        wire.settle()?;
        for index in 0..count / ACCOUNTS.len() as u64 {
            if new {
                wire.send(&format!("CREATE m{index}"))?;
            }
            wire.send(&format!("APPEND m{index} {{{size}+}}\r\n{message}"))?;
            if index as usize % AT_ONCE == AT_ONCE - 1 {
                wire.settle()?;
            }
        }
        wire.settle()?;
    }
    Ok(())
}

/// IMAP commands sent ahead of their replies, with non-synchronising literals (RFC 7888).
struct Pipelined {
    stream: TcpStream,
    sent: u64,
    settled: u64,
    pending: Vec<u8>,
}

impl Pipelined {
    fn connect(server: SocketAddr) -> io::Result<Pipelined> {
        let stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Pipelined {
            stream,
            sent: 0,
            settled: 0,
            pending: Vec::new(),
        })
    }

    fn send(&mut self, command: &str) -> io::Result<()> {
        self.sent += 1;
        self.stream
            .write_all(format!("t{} {command}\r\n", self.sent).as_bytes())
    }

    /// Reads until every command sent so far has its tagged OK.
    fn settle(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1_024];
        while self.settled < self.sent {
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.pending.extend_from_slice(&chunk[..read]);
            while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                // Untagged, such as `* n EXISTS`: of no interest here.
                if line.first() != Some(&b't') {
                    continue;
                }
                self.settled += 1;
                let line = String::from_utf8_lossy(&line);
                if line.split(' ').nth(1) != Some("OK") {
                    return Err(io::Error::other(line.trim_end().to_string()));
                }
            }
        }
        Ok(())
    }
}
