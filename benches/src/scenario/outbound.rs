//! Mail of our own people on its way to others: submitted durably and sent on, ours against Postfix.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use super::Setting;
use crate::figures::{Sheet, median};
use crate::load::sink::{Manner, Sink};
use crate::load::smtp::{self, Plan, Sender};
use crate::network;
use crate::peers::names::{self, Zone};
use crate::peers::{self, PASSWORD, Running, postfix, ringpost};
use crate::process;

const SIZE_BYTES: usize = 10 * 1_024;
/// What fills the queue is short: its number counts.
const DEAD_SIZE_BYTES: usize = 1_024;
/// People who submit at once, enough that the flushes of their messages are shared.
const SESSIONS: usize = 20;
/// A server that has not sent everything by then is reported with what it sent.
const SENT_WITHIN: Duration = Duration::from_secs(240);
/// Destinations that take nothing: half of them refuse connections, half of them never greet.
const DEAD_DOMAINS: usize = 1_000;
/// Each destination has been tried once by then, and sleeps.
const SETTLES: Duration = Duration::from_secs(30);
const MIB: f64 = 1_048_576.0;

/// Of the bench's own network: the destination that takes mail, the one that refuses, the one that says nothing.
const TAKES: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
const REFUSES: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 21);
const MUTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 22);

/// Persons without limits, and nothing else that is not the default.
const SETTINGS: &str = "[limits]\nmessages_per_hour = 0\nmessages_per_day = 0\nrecipients_per_hour = 0\nrecipients_per_day = 0\n\
                        [[domain]]\nname = \"example.org\"\n";

/// Everything for elsewhere goes to one sink, over at most 20 connections.
pub fn compare(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let count = setting.scaled(20_000, 4_000);
    for round in 1..=setting.rounds {
        // A sink for each, so that connections that one keeps open take nothing from the other.
        let sink = Sink::start((Ipv4Addr::LOCALHOST.into(), 0), Manner::Takes)?;
        let directory = setting.fresh("outbound")?;
        let server = our_server(&directory, SETTINGS)?;
        let to = sink.address.to_string();
        ringpost::control(&directory, &["route", "set", "*", &to])?;
        let rate = sent(&sink, &our_plan(&server, count, SIZE_BYTES, &elsewhere())?)?;
        sheet.tell(format!("round{round}.ringpost.sent"), rate, "msg/s");
        ours.push(rate);
        // Ended before the other starts: an idle server still wakes up, and has memory.
        drop(server);
        let sink = Sink::start((Ipv4Addr::LOCALHOST.into(), 0), Manner::Takes)?;
        let directory = setting.fresh("outbound-postfix")?;
        match postfix::start(&directory, &postfix::Delivery::Relay(&sink.address)) {
            Ok(server) => {
                let server = server
                    .smtp
                    .ok_or_else(|| io::Error::other("no SMTP here"))?;
                let plan = plan(server, count, SIZE_BYTES, &elsewhere(), Sender::default());
                let rate = sent(&sink, &plan)?;
                sheet.tell(format!("round{round}.postfix.sent"), rate, "msg/s");
                theirs.push(rate);
            }
            // Our figure without a comparison is still one that can be held against the last month's.
            Err(error) => eprintln!("omitted: postfix in round {round}: {error}"),
        }
    }
    sheet.tell("ringpost.sent", median(&ours), "msg/s");
    if !theirs.is_empty() {
        sheet.tell("postfix.sent", median(&theirs), "msg/s");
        let ratio = median(&ours) / median(&theirs).max(1e-9);
        sheet.tell("ratio.sent.postfix", ratio, "ratio");
    }
    Ok(())
}

/// What a queue full of mail for destinations that take none does to mail for one that does.
pub fn dead(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    let directory = setting.fresh("dead")?;
    network::apart(&directory, &[TAKES, REFUSES, MUTE], || {
        let record = |zone: &str, address: Ipv4Addr| {
            let exchanger = format!("mx.{zone}.test. 300 IN A {address}");
            let records = [
                format!("{zone}.test. 300 IN MX 10 mx.{zone}.test."),
                exchanger,
            ];
            (format!("{zone}.test"), records)
        };
        // A zone's own records hold for every name in it, so the exchanger's name is looked up in the same zone and has the address as well.
        let zones = [("live", TAKES), ("refuses", REFUSES), ("mute", MUTE)]
            .map(|(zone, address)| record(zone, address));
        let zones: Vec<(String, Vec<String>)> = zones
            .into_iter()
            .map(|(name, [mx, a])| {
                let a = a.replacen("mx.", "", 1);
                (name, vec![mx, a])
            })
            .collect();
        let zones: Vec<Zone<'_>> = zones
            .iter()
            .map(|(name, records)| Zone {
                name,
                is_same_everywhere: true,
                records,
            })
            .collect();
        let _names = names::start(&directory, &zones)?;
        let sink = Sink::start((IpAddr::V4(TAKES), 25), Manner::Takes)?;
        let _mute = Sink::start((IpAddr::V4(MUTE), 25), Manner::Mute)?;
        // Without policies: the fetch of one over HTTPS from a domain that does not exist would be measured with the rest.
        let settings = format!(
            "{SETTINGS}[dns]\nservers = [\"{}:53\"]\n[outbound]\npolicies = false\n",
            network::RESOLVER
        );
        let server = our_server(&directory, &settings)?;
        let live = ["r@live.test".to_owned()];
        let count = setting.scaled(20_000, 4_000);
        // The first messages open connections and fill caches.
        sent(&sink, &our_plan(&server, count / 4, SIZE_BYTES, &live)?)?;
        // The same server before and after, and not two: what is asked is how much the queue costs.
        let before = sent(&sink, &our_plan(&server, count, SIZE_BYTES, &live)?)?;
        let dead: Vec<String> = (0..DEAD_DOMAINS)
            .map(|index| match index % 2 {
                0 => format!("r@d{index}.refuses.test"),
                _ => format!("r@d{index}.mute.test"),
            })
            .collect();
        let waiting = setting.scaled(90_000, 10_000);
        let outcome = smtp::run(&our_plan(&server, waiting, DEAD_SIZE_BYTES, &dead)?)?;
        // A queue that is less full than was said would flatter the figure.
        if outcome.accepted < waiting {
            let trouble = outcome.first_trouble.unwrap_or_default();
            return Err(io::Error::other(format!(
                "{} of {waiting} were queued: {trouble}",
                outcome.accepted
            )));
        }
        std::thread::sleep(SETTLES);
        let after = sent(&sink, &our_plan(&server, count, SIZE_BYTES, &live)?)?;
        sheet.tell("dead.waiting", waiting as f64, "msg");
        sheet.tell("dead.sent_before", before, "msg/s");
        sheet.tell("dead.sent_with", after, "msg/s");
        sheet.tell("ratio.dead.sent", after / before.max(1e-9), "ratio");
        // Proportional: the processes of one server share their program.
        let memory = process::memory(&server.pids()).proportional_bytes;
        sheet.tell("dead.resident", memory as f64 / MIB, "MiB");
        Ok(())
    })
}

fn our_server(directory: &Path, settings: &str) -> io::Result<Running> {
    let (server, _) = ringpost::start(&ringpost::Setting {
        directory,
        leg_size: "4GiB",
        sink: false,
        settings: Some(settings),
    })?;
    ringpost::add_accounts(directory, &peers::recipients(1))?;
    Ok(server)
}

fn our_plan(server: &Running, count: u64, size_bytes: usize, to: &[String]) -> io::Result<Plan> {
    let from = peers::recipients(1).remove(0);
    let sender = Sender {
        login: Some((from.clone(), PASSWORD.to_owned())),
        from,
        ..Sender::default()
    };
    let server = server
        .submission
        .ok_or_else(|| io::Error::other("no submission here"))?;
    Ok(plan(server, count, size_bytes, to, sender))
}

fn plan(server: SocketAddr, count: u64, size_bytes: usize, to: &[String], sender: Sender) -> Plan {
    Plan {
        server,
        lmtp: false,
        sessions: SESSIONS,
        size_bytes,
        per_connection: 1_000,
        messages_max: count,
        within: SENT_WITHIN,
        recipients: to.to_vec(),
        pipelining: true,
        ledger: false,
        sender,
    }
}

/// Addresses of one domain elsewhere.
fn elsewhere() -> Vec<String> {
    (0..100)
        .map(|index| format!("r{index}@elsewhere.test"))
        .collect()
}

/// Messages a second from the first submission until the last one is at the sink.
fn sent(sink: &Sink, plan: &Plan) -> io::Result<f64> {
    let there = sink.messages();
    let begin = Instant::now();
    let outcome = smtp::run(plan)?;
    // Until the sink has them: a server that answers quickly and sends slowly is not the faster one.
    let wanted = there + outcome.accepted;
    let taken = sink.wait_for(wanted, SENT_WITHIN);
    let took = begin.elapsed().as_secs_f64();
    if outcome.accepted < plan.messages_max || taken < wanted {
        let trouble = outcome.first_trouble.unwrap_or_default();
        return Err(io::Error::other(format!(
            "{} of {} submitted, {} sent: {trouble}",
            outcome.accepted,
            plan.messages_max,
            taken - there
        )));
    }
    Ok(outcome.accepted as f64 / took)
}
