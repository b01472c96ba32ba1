//! Durable acceptance: 10 KiB messages over 50 connections, the same client for every server.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Meter, Setting};
use crate::figures::{Sheet, median, percentile};
use crate::load::imap::Imap;
use crate::load::smtp::{self, Outcome, Plan, Sender};
use crate::peers::{self, PASSWORD, Running, dovecot, postfix, ringpost};

/// The size of the comparison: a usual message without attachments.
const SIZE_BYTES: usize = 10 * 1_024;
/// Connections of the client, as many for every server.
const SESSIONS: usize = 50;
/// Enough mailboxes that a peer which locks one while delivering is not held back by that.
const ACCOUNTS: usize = 20;
/// A peer that has not emptied its queue by then is reported with what it delivered.
const DRAIN_WITHIN: Duration = Duration::from_secs(180);

/// A server in the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    /// This tree's daemon, with two legs.
    Ringpost,
    /// This tree's reception without its store: what the store costs.
    Sink,
    /// Postfix with its hold queue: accepted and not delivered.
    Postfix,
    /// Postfix with delivery to Dovecot by LMTP.
    PostfixDovecot,
}

impl Contender {
    /// In the order of the rounds.
    const ALL: [Contender; 4] = [
        Contender::Ringpost,
        Contender::Sink,
        Contender::Postfix,
        Contender::PostfixDovecot,
    ];

    /// In the names of figures.
    fn name(self) -> &'static str {
        match self {
            Contender::Ringpost => "ringpost",
            Contender::Sink => "sink",
            Contender::Postfix => "postfix",
            Contender::PostfixDovecot => "postfix_dovecot",
        }
    }
}

/// What one contender did in one round.
#[derive(Default, Clone, Copy)]
struct Round {
    /// Messages per second at the 250.
    accepted: f64,
    /// Messages per second until the last one was in its mailbox; equal to `accepted` where acceptance is delivery.
    delivered: f64,
    /// CPU time of all the server's processes for each message.
    cpu_ms: f64,
    /// Half of the messages were answered within it.
    p50_ms: f64,
    /// Ninety-nine of a hundred were.
    p99_ms: f64,
    /// Bytes written for each byte of content.
    written_per_byte: f64,
    /// Writes of the disk for each message.
    writes_per_message: f64,
    /// Flushes of the disk for each message.
    flushes_per_message: f64,
}

/// Rounds of every contender in turn, so that a slow minute of the machine hits all of them.
pub fn compare(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    let mut results: Vec<(Contender, Vec<Round>)> = Contender::ALL
        .map(|contender| (contender, Vec::new()))
        .into();
    for round in 1..=setting.rounds {
        for (contender, rounds) in &mut results {
            if setting.peers_only && matches!(contender, Contender::Ringpost | Contender::Sink) {
                continue;
            }
            let directory = setting.fresh(contender.name())?;
            match one_round(setting, *contender, &directory) {
                Ok(result) => {
                    // Gigabytes that the next one needs; where it failed the logs are worth more.
                    let _ = std::fs::remove_dir_all(&directory);
                    let prefix = format!("round{round}.{}", contender.name());
                    sheet.tell(format!("{prefix}.accepted"), result.accepted, "msg/s");
                    if result.delivered > 0.0 {
                        sheet.tell(format!("{prefix}.delivered"), result.delivered, "msg/s");
                    }
                    rounds.push(result);
                }
                Err(error) => eprintln!("omitted: {} in round {round}: {error}", contender.name()),
            }
        }
    }
    for (contender, rounds) in &results {
        let of = |field: fn(&Round) -> f64| median(&rounds.iter().map(field).collect::<Vec<_>>());
        if rounds.is_empty() {
            continue;
        }
        let name = contender.name();
        sheet.tell(
            format!("{name}.accepted"),
            of(|round| round.accepted),
            "msg/s",
        );
        if of(|round| round.delivered) > 0.0 {
            sheet.tell(
                format!("{name}.delivered"),
                of(|round| round.delivered),
                "msg/s",
            );
        }
        sheet.tell(
            format!("{name}.latency_p50"),
            of(|round| round.p50_ms),
            "ms",
        );
        sheet.tell(
            format!("{name}.latency_p99"),
            of(|round| round.p99_ms),
            "ms",
        );
        sheet.tell(format!("{name}.cpu"), of(|round| round.cpu_ms), "ms/msg");
        sheet.tell(
            format!("{name}.written"),
            of(|round| round.written_per_byte),
            "B/B",
        );
        sheet.tell(
            format!("{name}.disk_writes"),
            of(|round| round.writes_per_message),
            "writes/msg",
        );
        sheet.tell(
            format!("{name}.disk_flushes"),
            of(|round| round.flushes_per_message),
            "flushes/msg",
        );
    }
    for (peer, figure) in [
        ("postfix", "accepted"),
        ("postfix_dovecot", "delivered"),
        ("sink", "accepted"),
    ] {
        let ours = sheet.value(&format!("ringpost.{figure}"));
        let theirs = sheet
            .value(&format!("{peer}.{figure}"))
            .filter(|value| *value > 0.0);
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            sheet.tell(format!("ratio.{figure}.{peer}"), ours / theirs, "ratio");
        }
    }
    if !setting.peers_only && ours_is_missing(&results) {
        Err(io::Error::other("ringpost was not measured"))
    } else {
        Ok(())
    }
}

/// Without figures of ours there is nothing to compare with.
fn ours_is_missing(results: &[(Contender, Vec<Round>)]) -> bool {
    results
        .iter()
        .any(|(contender, rounds)| *contender == Contender::Ringpost && rounds.is_empty())
}

/// Device writes and bytes per message and leg under 64 senders. Bytes are the server's own (`/proc/PID/io`), what it owes the
/// index included; writes are the disk's, less what the disk did by itself just before: run it where no other process writes.
pub fn device(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    const LEGS: f64 = 2.0;
    const QUIET: Duration = Duration::from_secs(2);
    const SETTLES_WITHIN: Duration = Duration::from_secs(30);
    let (mut writes, mut bytes) = (Vec::new(), Vec::new());
    for _ in 0..setting.rounds {
        let directory = setting.fresh("device")?;
        let ours = ringpost::Setting {
            directory: &directory,
            leg_size: leg_size(setting),
            sink: false,
            settings: None,
        };
        let (server, _) = ringpost::start(&ours)?;
        let accounts = peers::recipients(ACCOUNTS);
        ringpost::add_accounts(&directory, &accounts)?;
        let idle = Meter::begin(&server, &[], &directory);
        std::thread::sleep(QUIET);
        let others_per_second = idle.end().1.writes as f64 / QUIET.as_secs_f64();
        let meter = Meter::begin(&server, &[], &directory);
        let begin = Instant::now();
        let outcome = smtp::run(&plan(setting, &server, &accounts, 64)?)?;
        let (mut usage, mut disk) = meter.end();
        let mut took = begin.elapsed();
        while begin.elapsed() < SETTLES_WITHIN {
            // The index is written in the background: until it is quiet.
            std::thread::sleep(QUIET);
            let (later, later_disk) = meter.end();
            if later.written_bytes == usage.written_bytes {
                break;
            }
            (usage, disk, took) = (later, later_disk, begin.elapsed());
        }
        let own_writes = disk.writes as f64 - others_per_second * took.as_secs_f64();
        writes.push(own_writes / (outcome.accepted as f64).max(1.0) / LEGS);
        bytes.push(usage.written_bytes as f64 / outcome.content_bytes.max(1) as f64 / LEGS);
    }
    sheet.tell("device.writes", median(&writes), "writes/msg/leg");
    sheet.tell("device.written", median(&bytes), "B/B/leg");
    Ok(())
}

/// A connection for each message, ten at a time: what a connection costs.
pub fn sessions(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    const AT_ONCE: usize = 10;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let accounts = peers::recipients(ACCOUNTS);
    let rate = |server: &Running| {
        let plan = Plan {
            per_connection: 1,
            ..plan(setting, server, &accounts, AT_ONCE)?
        };
        let outcome = smtp::run(&plan)?;
        let trouble = outcome.first_trouble.clone().unwrap_or_default();
        if outcome.accepted == 0 || outcome.broken > 0 {
            return Err(io::Error::other(trouble));
        }
        Ok(outcome.rate())
    };
    for round in 1..=setting.rounds {
        let directory = setting.fresh("sessions")?;
        let (server, _) = ringpost::start(&ringpost::Setting {
            directory: &directory,
            leg_size: leg_size(setting),
            sink: false,
            settings: None,
        })?;
        ringpost::add_accounts(&directory, &accounts)?;
        ours.push(rate(&server)?);
        drop(server);
        let directory = setting.fresh("sessions-postfix")?;
        match postfix::start(&directory, &postfix::Delivery::Hold).and_then(|peer| rate(&peer)) {
            Ok(value) => theirs.push(value),
            Err(error) => eprintln!("omitted: postfix in round {round}: {error}"),
        }
    }
    sheet.tell("ringpost.sessions", median(&ours), "msg/s");
    if !theirs.is_empty() {
        sheet.tell("postfix.sessions", median(&theirs), "msg/s");
        let ratio = median(&ours) / median(&theirs).max(1e-9);
        sheet.tell("ratio.sessions.postfix", ratio, "ratio");
    }
    Ok(())
}

/// Starts one server, loads it, and stops it.
fn one_round(setting: &Setting, contender: Contender, directory: &Path) -> io::Result<Round> {
    let accounts = peers::recipients(ACCOUNTS);
    match contender {
        Contender::Ringpost | Contender::Sink => {
            let sink = contender == Contender::Sink;
            let ours = ringpost::Setting {
                directory,
                leg_size: leg_size(setting),
                sink,
                settings: None,
            };
            let (server, _) = ringpost::start(&ours)?;
            if !sink {
                ringpost::add_accounts(directory, &accounts)?;
            }
            let (mut round, outcome) = measured(setting, &server, &[], &accounts, &|_| Ok(()))?;
            round.delivered = round.accepted;
            if !sink {
                let there = delivered(&server, &accounts)?;
                if there < outcome.accepted {
                    let text = format!(
                        "{} acknowledged, {there} in the mailboxes",
                        outcome.accepted
                    );
                    return Err(io::Error::other(text));
                }
            }
            Ok(round)
        }
        Contender::Postfix => {
            let server = postfix::start(directory, &postfix::Delivery::Hold)?;
            Ok(measured(setting, &server, &[], &accounts, &|_| Ok(()))?.0)
        }
        Contender::PostfixDovecot => {
            let store = dovecot::start(directory)?;
            let lmtp = store
                .lmtp
                .ok_or_else(|| io::Error::other("Dovecot without LMTP"))?;
            let server = postfix::start(directory, &postfix::Delivery::Lmtp(&lmtp))?;
            let begin = Instant::now();
            let arrived = std::cell::Cell::new((0u64, Duration::ZERO));
            let drained = |outcome: &Outcome| {
                loop {
                    // Until everything is there; bounded by DRAIN_WITHIN.
                    let there = delivered(&store, &accounts)?;
                    arrived.set((there, begin.elapsed()));
                    if there >= outcome.accepted || begin.elapsed() > DRAIN_WITHIN {
                        return Ok(());
                    }
                    std::thread::sleep(Duration::from_millis(250));
                }
            };
            let (mut round, _) = measured(setting, &server, &store.pids(), &accounts, &drained)?;
            let (there, after) = arrived.get();
            round.delivered = there as f64 / after.as_secs_f64().max(1e-9);
            Ok(round)
        }
    }
}

/// Runs the load, waits until `drained`, and adds up what it cost.
fn measured(
    setting: &Setting,
    server: &Running,
    extra: &[u32],
    accounts: &[String],
    drained: &dyn Fn(&Outcome) -> io::Result<()>,
) -> io::Result<(Round, Outcome)> {
    let meter = Meter::begin(server, extra, &server.directory);
    let mut outcome = smtp::run(&plan(setting, server, accounts, SESSIONS)?)?;
    drained(&outcome)?;
    let (usage, disk) = meter.end();
    if outcome.accepted == 0 {
        return Err(io::Error::other(
            outcome
                .first_trouble
                .unwrap_or_else(|| "nothing was accepted".into()),
        ));
    }
    if let Some(trouble) = &outcome.first_trouble {
        eprintln!("trouble on the way: {trouble}");
    }
    let messages = outcome.accepted as f64;
    let bytes = outcome.content_bytes as f64;
    let round = Round {
        accepted: outcome.rate(),
        delivered: 0.0,
        cpu_ms: usage.cpu_s * 1_000.0 / messages,
        p50_ms: f64::from(percentile(&mut outcome.latencies_us, 0.5)) / 1_000.0,
        p99_ms: f64::from(percentile(&mut outcome.latencies_us, 0.99)) / 1_000.0,
        written_per_byte: usage.written_bytes as f64 / bytes,
        writes_per_message: disk.writes as f64 / messages,
        flushes_per_message: disk.flushes as f64 / messages,
    };
    Ok((round, outcome))
}

fn plan(
    setting: &Setting,
    server: &Running,
    accounts: &[String],
    sessions: usize,
) -> io::Result<Plan> {
    Ok(Plan {
        server: server
            .smtp
            .ok_or_else(|| io::Error::other("no SMTP here"))?,
        lmtp: false,
        sessions,
        size_bytes: SIZE_BYTES,
        per_connection: 100,
        messages_max: setting.scaled(100_000, 20_000),
        within: Duration::from_secs(setting.scaled(10, 4)),
        recipients: accounts.to_vec(),
        pipelining: true,
        ledger: false,
        sender: Sender::default(),
    })
}

/// Messages in the accounts' INBOXes, by IMAP STATUS.
pub fn delivered(server: &Running, accounts: &[String]) -> io::Result<u64> {
    let imap = server
        .imap
        .ok_or_else(|| io::Error::other("no IMAP here"))?;
    let mut count = 0;
    for account in accounts {
        let mut client = Imap::connect(imap, None)?;
        client.login(account, PASSWORD)?;
        count += client.status("INBOX")?;
    }
    Ok(count)
}

/// Room for every message of a run on each leg, twice.
fn leg_size(setting: &Setting) -> &'static str {
    if setting.quick { "1GiB" } else { "4GiB" }
}
