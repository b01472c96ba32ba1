//! `ringpost-load`: drives any SMTP, LMTP or IMAP server and says what it took. Figures go to standard output, one per
//! line; words for people go to standard error.
#![forbid(unsafe_code)]

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bench::figures::{Sheet, percentile};
use bench::load::imap::{Imap, fetch_all};
use bench::load::smtp;
use bench::{process, report};
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(
    about = "Load for any mail server: SMTP and LMTP senders, IMAP readers",
    version
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct Output {
    /// One JSON document instead of lines
    #[arg(long, global = true)]
    json: bool,
    /// Process whose CPU, memory and writes are counted, with its children (may be repeated)
    #[arg(long, global = true)]
    pid: Vec<u32>,
    /// A path on the disk whose counters are read
    #[arg(long, global = true)]
    disk: Option<PathBuf>,
    /// Write a page with plots (SMTP and LMTP only)
    #[arg(long, global = true)]
    html: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Verb {
    /// Send over SMTP
    Smtp(Send),
    /// Send over LMTP
    Lmtp(Send),
    /// FETCH every message of INBOX over IMAP
    Fetch {
        #[command(flatten)]
        account: Account,
        #[arg(long, default_value_t = 1)]
        sessions: usize,
        /// Messages in one FETCH command
        #[arg(long, default_value_t = 1_000)]
        at_once: u64,
    },
    /// SELECT INBOX again and again
    Select {
        #[command(flatten)]
        account: Account,
        #[arg(long, default_value_t = 20)]
        times: usize,
    },
    /// Open connections and leave them in IDLE; memory per connection needs --pid
    Idle {
        #[command(flatten)]
        account: Account,
        #[arg(long, default_value_t = 1_000)]
        connections: usize,
        /// TLS from the first byte (the server's IMAPS port)
        #[arg(long)]
        tls: bool,
    },
}

#[derive(Args)]
struct Account {
    #[arg(value_name = "HOST:PORT")]
    server: String,
    #[arg(long, default_value = "alice@example.org")]
    user: String,
    #[arg(long, default_value = "ringpost")]
    password: String,
}

#[derive(Args)]
struct Send {
    #[arg(value_name = "HOST:PORT")]
    server: String,
    /// Recipients, taken in turn (may be repeated)
    #[arg(long, default_value = "alice@example.org")]
    to: Vec<String>,
    #[arg(long, default_value_t = 50)]
    sessions: usize,
    /// Bytes of each message, header included
    #[arg(long, default_value_t = 10_240)]
    size: usize,
    /// Messages before a session reconnects
    #[arg(long, default_value_t = 100)]
    per_connection: u64,
    /// Stop after so many messages
    #[arg(long, default_value_t = u64::MAX)]
    messages: u64,
    /// Stop after so many seconds
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// One command per round trip
    #[arg(long)]
    no_pipelining: bool,
    /// Write the Message-ID of every acknowledged message to this file
    #[arg(long)]
    ledger: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(sheet) => {
            if arguments.output.json {
                println!("{}", sheet.json());
            } else {
                sheet.print();
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ringpost-load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Performs the verb and returns its figures.
fn run(arguments: &Arguments) -> io::Result<Sheet> {
    match &arguments.verb {
        Verb::Smtp(send) => load(send, false, &arguments.output),
        Verb::Lmtp(send) => load(send, true, &arguments.output),
        Verb::Fetch {
            account,
            sessions,
            at_once,
        } => {
            let (fetched, elapsed) = fetch_all(
                resolve(&account.server)?,
                &account.user,
                &account.password,
                *sessions,
                *at_once,
            )?;
            let mut sheet = Sheet::default();
            sheet.note("fetch.messages", fetched.messages as f64, "msg");
            sheet.note(
                "fetch.rate",
                fetched.messages as f64 / elapsed.as_secs_f64(),
                "msg/s",
            );
            sheet.note(
                "fetch.bytes",
                fetched.bytes as f64 / elapsed.as_secs_f64() / 1e6,
                "MB/s",
            );
            Ok(sheet)
        }
        Verb::Select { account, times } => select(account, *times),
        Verb::Idle {
            account,
            connections,
            tls,
        } => idle(account, *connections, *tls, &arguments.output.pid),
    }
}

/// A run of senders, with what the server used meanwhile.
fn load(send: &Send, lmtp: bool, output: &Output) -> io::Result<Sheet> {
    let plan = smtp::Plan {
        server: resolve(&send.server)?,
        lmtp,
        sessions: send.sessions.max(1),
        size_bytes: send.size,
        per_connection: send.per_connection.max(1),
        messages_max: send.messages,
        within: Duration::from_secs_f64(send.seconds.max(0.0)),
        recipients: send.to.clone(),
        pipelining: !send.no_pipelining,
        ledger: send.ledger.is_some(),
        sender: smtp::Sender::default(),
    };
    let usage = process::usage(&output.pid);
    let disk = output.disk.as_deref().map(process::disk);
    let outcome = smtp::run(&plan)?;
    let mut sheet = Sheet::default();
    outcome.note("", &mut sheet);
    let messages = (outcome.accepted as f64).max(1.0);
    if !output.pid.is_empty() {
        let used = process::usage(&output.pid) - usage;
        sheet.note("server_cpu", used.cpu_s * 1_000.0 / messages, "ms/msg");
        sheet.note(
            "server_written",
            used.written_bytes as f64 / outcome.content_bytes.max(1) as f64,
            "B/B",
        );
        let memory = process::memory(&output.pid);
        sheet.note(
            "server_resident",
            memory.proportional_bytes as f64 / 1_048_576.0,
            "MiB",
        );
    }
    if let (Some(before), Some(path)) = (disk, output.disk.as_deref()) {
        let used = process::disk(path) - before;
        sheet.note("disk_writes", used.writes as f64 / messages, "writes/msg");
        sheet.note(
            "disk_flushes",
            used.flushes as f64 / messages,
            "flushes/msg",
        );
        sheet.note(
            "disk_written",
            used.written_bytes as f64 / outcome.content_bytes.max(1) as f64,
            "B/B",
        );
    }
    if let Some(trouble) = &outcome.first_trouble {
        eprintln!("first trouble: {trouble}");
    }
    if let Some(path) = &send.ledger {
        std::fs::write(path, outcome.ledger.join("\n") + "\n")?;
    }
    if let Some(path) = &output.html {
        let runs = [report::Run {
            name: &send.server,
            outcome: &outcome,
        }];
        std::fs::write(path, report::html("ringpost-load", &runs, &sheet))?;
    }
    Ok(sheet)
}

/// The time of SELECT, over and over on one connection.
fn select(account: &Account, times: usize) -> io::Result<Sheet> {
    let mut imap = Imap::connect(resolve(&account.server)?, None)?;
    imap.login(&account.user, &account.password)?;
    let mut samples = Vec::new();
    let mut exists = 0;
    for _ in 0..times {
        let begin = Instant::now();
        exists = imap.select("INBOX")?;
        samples.push(u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    let mut sheet = Sheet::default();
    sheet.note("select.messages", exists as f64, "msg");
    sheet.note(
        "select.p50",
        f64::from(percentile(&mut samples, 0.5)) / 1_000.0,
        "ms",
    );
    sheet.note(
        "select.max",
        f64::from(percentile(&mut samples, 1.0)) / 1_000.0,
        "ms",
    );
    Ok(sheet)
}

/// The memory of connections that wait in IDLE.
fn idle(account: &Account, connections: usize, tls: bool, pids: &[u32]) -> io::Result<Sheet> {
    let server = resolve(&account.server)?;
    let config = if tls { Some(mua::tls::config()?) } else { None };
    let before = process::memory(pids).proportional_bytes;
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut imap = Imap::connect_small(server, config.as_ref())?;
        imap.login(&account.user, &account.password)?;
        imap.select("INBOX")?;
        imap.idle()?;
        open.push(imap);
    }
    std::thread::sleep(Duration::from_secs(1));
    let after = process::memory(pids).proportional_bytes;
    let mut sheet = Sheet::default();
    sheet.note("idle.connections", open.len() as f64, "connections");
    if !pids.is_empty() {
        let each = after.saturating_sub(before) as f64 / connections.max(1) as f64 / 1_024.0;
        sheet.note("idle.resident", each, "KiB/connection");
    }
    Ok(sheet)
}

/// The first address of a name.
fn resolve(server: &str) -> io::Result<SocketAddr> {
    server
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other(format!("{server}: no address")))
}
