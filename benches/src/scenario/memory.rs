//! Memory: what an idle IMAP connection costs, and what an overload does to the server.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Setting, accept};
use crate::figures::Sheet;
use crate::load::imap::Imap;
use crate::load::smtp::{self, Plan, Sender};
use crate::peers::{self, PASSWORD, ringpost};
use crate::process;

const MIB: f64 = 1_048_576.0;
/// Connections before the first reading. As many as that, because the server's allocator keeps what password hashing took (tens
/// of MiB) and serves the first thousand from it: counted from fewer, a connection seems to cost nothing.
const WARM_UP: usize = 2_000;
/// Looks at the server's memory while the load runs.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub fn idle(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    let connections = setting.scaled(4_000, 2_000) as usize;
    for (name, with_tls) in [("plain", false), ("tls", true)] {
        let directory = setting.fresh("idle")?;
        let (server, _) = ringpost::start(&ringpost::Setting {
            directory: &directory,
            leg_size: "256MiB",
            sink: false,
            settings: None,
        })?;
        let address = if with_tls { server.imaps } else { server.imap };
        let address = address.ok_or_else(|| io::Error::other("no IMAP here"))?;
        let config = if with_tls {
            Some(mua::tls::config()?)
        } else {
            None
        };
        let open = |count: usize| -> io::Result<Vec<Imap>> {
            (0..count)
                .map(|_| {
                    let mut imap = Imap::connect_small(address, config.as_ref())?;
                    imap.login("alice@example.org", PASSWORD)?;
                    imap.select("INBOX")?;
                    imap.idle()?;
                    Ok(imap)
                })
                .collect()
        };
        let first = open(WARM_UP)?;
        std::thread::sleep(Duration::from_secs(1));
        // The difference of two readings of one process: everything that a server has once is in both.
        let before = process::memory(&server.pids()).resident_bytes;
        let rest = open(connections)?;
        std::thread::sleep(Duration::from_secs(1));
        let after = process::memory(&server.pids()).resident_bytes;
        let each = after.saturating_sub(before) as f64 / connections as f64 / 1_024.0;
        sheet.tell(format!("idle.{name}.resident"), each, "KiB/connection");
        drop((first, rest));
    }
    Ok(())
}

/// Ten times as many senders as the acceptance figure uses, with ten times the content: far more than the disk takes.
pub fn overload(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    let directory = setting.fresh("overload")?;
    let (server, _) = ringpost::start(&ringpost::Setting {
        directory: &directory,
        leg_size: "4GiB",
        sink: false,
        settings: None,
    })?;
    let accounts = peers::recipients(10);
    ringpost::add_accounts(&directory, &accounts)?;
    let address = server
        .smtp
        .ok_or_else(|| io::Error::other("no SMTP here"))?;
    let plan = |sessions: usize, size_bytes: usize, seconds: u64, messages_max: u64| Plan {
        server: address,
        lmtp: false,
        sessions,
        size_bytes,
        per_connection: 100,
        messages_max,
        within: Duration::from_secs(seconds),
        recipients: accounts.clone(),
        pipelining: true,
        ledger: false,
        sender: Sender::default(),
    };
    // First a load that it can take, so that the peak of the heavy one is not the first touch of its buffers.
    let (normal, before) = watched(&server.pids(), &plan(50, 10 * 1_024, 4, 40_000))?;
    let heavy_max = setting.scaled(15_000, 5_000);
    let (heavy, during) = watched(
        &server.pids(),
        &plan(500, 100 * 1_024, setting.scaled(20, 6), heavy_max),
    )?;
    let peak = |samples: &[u64]| samples.iter().copied().max().unwrap_or(0) as f64;
    let (early, late) = during.split_at(during.len() / 2);
    sheet.tell("overload.normal_peak", peak(&before) / MIB, "MiB");
    sheet.tell("overload.heavy_peak", peak(&during) / MIB, "MiB");
    sheet.tell(
        "overload.growth",
        peak(late) / peak(early).max(1.0),
        "ratio",
    );
    sheet.tell("overload.accepted", heavy.rate(), "msg/s");
    sheet.tell("overload.refused_4xx", heavy.refused_for_now as f64, "msg");
    // An overload may be refused; what was acknowledged in it has to be in the mailboxes.
    let there = accept::delivered(&server, &accounts)?;
    let lost = (normal.accepted + heavy.accepted).saturating_sub(there);
    sheet.tell("overload.lost", lost as f64, "msg");
    if lost > 0 {
        Err(io::Error::other(format!(
            "{lost} acknowledged messages are missing"
        )))
    } else {
        Ok(())
    }
}

/// Runs the load and returns the resident sizes seen meanwhile, in order.
fn watched(pids: &[u32], plan: &Plan) -> io::Result<(smtp::Outcome, Vec<u64>)> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut samples = Vec::new();
            while !done.load(Ordering::Relaxed) {
                samples.push(process::memory(pids).resident_bytes);
                std::thread::sleep(LOOK_EVERY);
            }
            samples
        });
        let outcome = smtp::run(plan);
        done.store(true, Ordering::Relaxed);
        let samples = watcher
            .join()
            .map_err(|_| io::Error::other("the watcher stopped"))?;
        Ok((outcome?, samples))
    })
}

/// Connections of strangers that are open and wait, and what they do to the others: every second one sends a byte of its message now and then.
pub fn connections(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    const SLOW_EVERY: Duration = Duration::from_secs(1);
    let count = setting.scaled(10_000, 1_000) as usize;
    let files = (count + 1_000) as u64;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, files.min(most), most)?;
    let directory = setting.fresh("connections")?;
    let settings = format!(
        "[limits]\nsmtp_connections = {}\n[[domain]]\nname = \"example.org\"\n",
        count + 100
    );
    let (server, _) = ringpost::start(&ringpost::Setting {
        directory: &directory,
        leg_size: "4GiB",
        sink: false,
        settings: Some(&settings),
    })?;
    let accounts = peers::recipients(10);
    ringpost::add_accounts(&directory, &accounts)?;
    let address = server
        .smtp
        .ok_or_else(|| io::Error::other("no SMTP here"))?;
    let plan = Plan {
        server: address,
        lmtp: false,
        sessions: 50,
        size_bytes: 10 * 1_024,
        per_connection: 100,
        messages_max: 100_000,
        within: Duration::from_secs(setting.scaled(8, 3)),
        recipients: accounts,
        pipelining: true,
        ledger: false,
        sender: Sender::default(),
    };
    smtp::run(&plan)?;
    // After a first run that is not counted: both figures are of a server that has its buffers.
    let alone = smtp::run(&plan)?.rate();
    let before = process::memory(&server.pids()).proportional_bytes;
    let mut open = Vec::with_capacity(count);
    for index in 0..count {
        open.push(slow_sender(address, index % 2 == 0, &plan.recipients[0])?);
    }
    let resident = process::memory(&server.pids()).proportional_bytes;
    let each = resident.saturating_sub(before) as f64 / count as f64 / 1_024.0;
    sheet.tell("connections.open", count as f64, "connections");
    sheet.tell("connections.resident", each, "KiB/connection");
    sheet.tell("connections.server", resident as f64 / MIB, "MiB");
    let done = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for stream in open.iter_mut().step_by(2) {
                    let _ = stream.write_all(b"x");
                }
                std::thread::sleep(SLOW_EVERY);
            }
        });
        let beside = smtp::run(&plan);
        done.store(true, Ordering::Relaxed);
        beside
    })?;
    sheet.tell("connections.alone", alone, "msg/s");
    sheet.tell("connections.beside", beside.rate(), "msg/s");
    let ratio = beside.rate() / alone.max(1e-9);
    sheet.tell("ratio.connections.accepted", ratio, "ratio");
    Ok(())
}

/// A connection that has said EHLO, and begun a message if `begins`.
fn slow_sender(address: SocketAddr, begins: bool, to: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut steps = vec![("", "220 "), ("EHLO slow.example.net\r\n", "250 ")];
    let rcpt = format!("RCPT TO:<{to}>\r\n");
    if begins {
        steps.push(("MAIL FROM:<slow@example.net>\r\n", "250 "));
        steps.push((&rcpt, "250 "));
        steps.push(("DATA\r\n", "354 "));
    }
    let mut said = [0; 1_024];
    for (command, wanted) in steps {
        stream.write_all(command.as_bytes())?;
        let mut text = String::new();
        // Until the last line of the reply; bounded by the time-out of each read.
        while !text.lines().any(|line| line.starts_with(wanted)) {
            let read = stream.read(&mut said)?;
            text.push_str(&String::from_utf8_lossy(&said[..read]));
            if read == 0 || text.starts_with(['4', '5']) {
                return Err(io::Error::other(format!(
                    "a slow sender got the answer {text}"
                )));
            }
        }
    }
    Ok(stream)
}
