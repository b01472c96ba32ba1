//! Reading: whole messages from a mailbox of 10,000, and SELECT of one with 100,000, ours against Dovecot.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Setting, accept};
use crate::figures::{Sheet, median};
use crate::load::imap::{Imap, fetch_all};
use crate::load::message::Composer;
use crate::load::smtp::{self, Plan, Sender};
use crate::peers::{PASSWORD, Running, dovecot, ringpost};

pub(super) const ACCOUNT: &str = "alice@example.org";
const SELECTS: usize = 20;

/// A server whose INBOX has been filled.
pub(super) struct Filled {
    name: &'static str,
    server: Running,
}

impl Filled {
    pub(super) fn imap(&self) -> io::Result<SocketAddr> {
        self.server
            .imap
            .ok_or_else(|| io::Error::other("no IMAP here"))
    }
}

pub fn fetch(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    // 100 MB: the messages fit the page cache of both, so that formats and programs are compared and not disks.
    let servers = both(setting, setting.scaled(10_000, 2_000), 10 * 1_024)?;
    alternate(setting, sheet, &servers, "fetch", "msg/s", &|server| {
        // One session: with several the two would be compared in how they use cores, which other scenarios do.
        let (fetched, elapsed) = fetch_all(server.imap()?, ACCOUNT, PASSWORD, 1, 1_000)?;
        Ok(fetched.messages as f64 / elapsed.as_secs_f64().max(1e-9))
    })
}

pub fn select(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    let count = setting.scaled(100_000, 10_000);
    let servers = both(setting, count, 1_024)?;
    alternate(setting, sheet, &servers, "select", "ms", &|server| {
        // A new session each time, as when a person opens the program: what a session remembers of its own last SELECT
        // would measure nothing.
        let mut samples = Vec::new();
        for _ in 0..SELECTS {
            let mut imap = Imap::connect(server.imap()?, None)?;
            // Outside the time: it is a hash that is slow on purpose, and the two servers' are not the same.
            imap.login(ACCOUNT, PASSWORD)?;
            let begin = Instant::now();
            let exists = imap.select("INBOX")?;
            samples.push(begin.elapsed().as_secs_f64() * 1_000.0);
            // An answer from an index that is not up to date would be fast.
            if exists < count {
                return Err(io::Error::other(format!(
                    "{} of {count} messages in the mailbox",
                    exists
                )));
            }
        }
        Ok(median(&samples))
    })
}

/// In turn and not one after the other, because a machine that grows warm or has a guest beside it is slower in the second half.
/// Measures the servers in turn. The first round warms caches and builds Dovecot's index; it does not count.
pub(super) fn alternate(
    setting: &Setting,
    sheet: &mut Sheet,
    servers: &[Filled],
    figure: &str,
    unit: &'static str,
    measure: &dyn Fn(&Filled) -> io::Result<f64>,
) -> io::Result<()> {
    let mut values = vec![Vec::new(); servers.len()];
    for round in 0..=setting.rounds {
        for (server, values) in servers.iter().zip(&mut values) {
            let value = measure(server)?;
            if round > 0 {
                values.push(value);
            }
        }
    }
    for (server, values) in servers.iter().zip(&values) {
        sheet.tell(format!("{}.{figure}", server.name), median(values), unit);
    }
    if let [ours, theirs] = &values[..] {
        sheet.tell(
            format!("ratio.{figure}.dovecot"),
            median(ours) / median(theirs).max(1e-9),
            "ratio",
        );
    }
    Ok(())
}

/// Ours and, when it can be started, Dovecot, each with one INBOX of `count` messages.
pub(super) fn both(setting: &Setting, count: u64, size_bytes: usize) -> io::Result<Vec<Filled>> {
    let mut servers = Vec::new();
    if !setting.peers_only {
        let directory = setting.fresh("mailbox_ringpost")?;
        let ours = ringpost::Setting {
            directory: &directory,
            leg_size: "1GiB",
            sink: false,
            settings: None,
        };
        let (server, _) = ringpost::start(&ours)?;
        fill(&server, count, size_bytes)?;
        servers.push(Filled {
            name: "ringpost",
            server,
        });
    }
    let directory = setting.fresh("mailbox_dovecot")?;
    // Straight into Dovecot's store: by LMTP it would take longer than all that is measured.
    let mut composer = Composer::new(7, "load@example.net");
    let mut message = |_| {
        let mut out = Vec::with_capacity(size_bytes);
        composer.compose(ACCOUNT, size_bytes, &mut out);
        out
    };
    match dovecot::start(&directory) {
        Ok(server) => {
            dovecot::fill(&directory, ACCOUNT, &mut message, count)?;
            servers.push(Filled {
                name: "dovecot",
                server,
            });
        }
        Err(error) => eprintln!("omitted: dovecot: {error}"),
    }
    Ok(servers)
}

/// Sends `count` messages to the one account and makes sure that they are all there.
pub fn fill(server: &Running, count: u64, size_bytes: usize) -> io::Result<()> {
    let mut left = count;
    let mut rounds = 0;
    // A server may defer some under load; what is measured later is a full mailbox, and not how it became full.
    while left > 0 && rounds < 10 {
        let outcome = smtp::run(&Plan {
            server: server
                .smtp
                .ok_or_else(|| io::Error::other("no SMTP here"))?,
            lmtp: false,
            sessions: 32,
            size_bytes,
            per_connection: 1_000,
            messages_max: left,
            within: Duration::from_secs(600),
            recipients: vec![ACCOUNT.to_string()],
            pipelining: true,
            ledger: false,
            sender: Sender::default(),
        })?;
        left -= outcome.accepted;
        rounds += 1;
    }
    let there = accept::delivered(server, &[ACCOUNT.to_string()])?;
    if there < count {
        Err(io::Error::other(format!(
            "{count} sent, {there} in the mailbox"
        )))
    } else {
        Ok(())
    }
}
