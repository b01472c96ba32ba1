//! Mail of strangers with everything that is asked about it: SPF, DKIM, DMARC, two DNSBLs and the peer's own names, with the same name server for all servers;
//! ours also judges it for junk and delivers it.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dkim::{Algorithm, Signer, SigningKey};
use mua::imap::Imap;
use mua::stream::Stream;

use super::{Meter, Setting};
use crate::figures::{Sheet, median};
use crate::load::message::Composer;
use crate::load::smtp::{self, Plan, Sender};
use crate::network;
use crate::peers::names::{self, Zone};
use crate::peers::{self, PASSWORD, Running, filters, postfix, ringpost};

const SIZE_BYTES: usize = 10 * 1_024;
const SESSIONS: usize = 50;
/// Signed before anything is measured; each is sent many times.
const MESSAGES: usize = 200;
const SENDER: &str = "load@example.net";
const ACCOUNTS: usize = 20;
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Of the bench's own network.
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const LISTS: [&str; 2] = ["bl1.test", "bl2.test"];

/// Nothing is limited; everything is looked up.
const SETTINGS: &str = "[dns]\nservers = [\"127.0.0.1:53\"]\n[door]\naddress_connections = 0\nnetwork_connections = 0\nreverse_name = true\n\
                        [[door.list]]\nzone = \"bl1.test\"\n[[door.list]]\nzone = \"bl2.test\"\n[[domain]]\nname = \"example.org\"\n";

/// What one server did in one round.
struct Round {
    accepted: f64,
    cpu_ms: f64,
}

pub fn compare(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    let directory = setting.fresh("filters")?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // In a network namespace of its own: port 53 is then free, and no name that is asked leaves the machine.
    let told = network::apart(&directory, &[SERVER, CLIENT], || {
        let mut told = Vec::new();
        let (messages, key) = signed()?;
        let messages: Rc<[Vec<u8>]> = messages.into();
        // One for all servers and rounds, with the same zones. What is measured is what the servers make of the answers.
        let _names = name_server(&directory, &key)?;
        for round in 1..=setting.rounds {
            let place = setting.fresh("filters-ringpost")?;
            let result = our_round(setting, &place, &messages)?;
            told.push((format!("round{round}.ringpost.filtered"), result.accepted));
            ours.push(result);
            let place = setting.fresh("filters-postfix")?;
            match postfix_round(setting, &place, &messages) {
                Ok(result) => {
                    told.push((format!("round{round}.postfix.filtered"), result.accepted));
                    theirs.push(result);
                }
                Err(error) => eprintln!("omitted: postfix in round {round}: {error}"),
            }
        }
        Ok(told)
    })?;
    for (name, value) in told {
        sheet.tell(name, value, "msg/s");
    }
    let rate = |rounds: &[Round]| median(&rounds.iter().map(|r| r.accepted).collect::<Vec<_>>());
    let cpu = |rounds: &[Round]| median(&rounds.iter().map(|r| r.cpu_ms).collect::<Vec<_>>());
    sheet.tell("ringpost.filtered", rate(&ours), "msg/s");
    sheet.tell("ringpost.filtered_cpu", cpu(&ours), "ms/msg");
    if !theirs.is_empty() {
        sheet.tell("postfix.filtered", rate(&theirs), "msg/s");
        sheet.tell("postfix.filtered_cpu", cpu(&theirs), "ms/msg");
        let ratio = rate(&ours) / rate(&theirs).max(1e-9);
        sheet.tell("ratio.filtered.postfix", ratio, "ratio");
    }
    Ok(())
}

/// Messages with a signature of 2,048 bits, and the text of the key's record.
fn signed() -> io::Result<(Vec<Vec<u8>>, String)> {
    let fault = |fault| io::Error::other(format!("signing: {fault}"));
    let secret = SigningKey::generate(Algorithm::RsaSha256).map_err(fault)?;
    let key = SigningKey::parse(Algorithm::RsaSha256, &secret).map_err(fault)?;
    let record = key.record().map_err(fault)?;
    let signers = [Signer::new("example.net", "s", Arc::new(key))];
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(io::Error::other)?
        .as_secs();
    let mut composer = Composer::new(fastrand::u64(..), SENDER);
    let mut messages = Vec::new();
    for _ in 0..MESSAGES {
        let mut message = Vec::new();
        composer.compose("u00@example.org", SIZE_BYTES, &mut message);
        let mut whole = dkim::sign(&message, &signers, now)
            .map_err(fault)?
            .ok_or_else(|| io::Error::other("signing: no From"))?;
        whole.append(&mut message);
        messages.push(whole);
    }
    Ok((messages, record))
}

fn name_server(directory: &Path, key: &str) -> io::Result<Running> {
    let strings = dkim::strings(key);
    let sender = [
        "example.net. 300 IN MX 10 load.example.net.".to_owned(),
        "example.net. 300 IN TXT \"v=spf1 mx -all\"".to_owned(),
        format!("load.example.net. 300 IN A {CLIENT}"),
        "load.example.net. 300 IN TXT \"v=spf1 a -all\"".to_owned(),
        format!("s._domainkey.example.net. 300 IN TXT {strings}"),
        "_dmarc.example.net. 300 IN TXT \"v=DMARC1; p=reject\"".to_owned(),
    ];
    let reverse = ["7.2.0.192.in-addr.arpa. 300 IN PTR load.example.net.".to_owned()];
    let zone = |name, records| Zone {
        name,
        is_same_everywhere: false,
        records,
    };
    let zones = [
        zone("example.net", &sender[..]),
        zone("2.0.192.in-addr.arpa", &reverse[..]),
        zone(LISTS[0], &[]),
        zone(LISTS[1], &[]),
    ];
    names::start(directory, &zones)
}

fn our_round(setting: &Setting, directory: &Path, messages: &Rc<[Vec<u8>]>) -> io::Result<Round> {
    let (mut server, _) = ringpost::start(&ringpost::Setting {
        directory,
        leg_size: "4GiB",
        sink: false,
        settings: Some(SETTINGS),
    })?;
    ringpost::add_accounts(directory, &peers::recipients(ACCOUNTS))?;
    if let Some(smtp) = &mut server.smtp {
        smtp.set_ip(IpAddr::V4(SERVER));
    }
    let round = measured(setting, &server, &[], messages)?;
    let imap = server
        .imap
        .ok_or_else(|| io::Error::other("no IMAP here"))?;
    let mut reader = Imap::over(Stream::plain(imap, ANSWERS_WITHIN)?)?;
    reader.login(&peers::recipients(1)[0], PASSWORD)?;
    reader.select("INBOX")?;
    let first = reader.command("FETCH 1 (BODY.PEEK[])")?;
    let text = first
        .first()
        .map_or(&[][..], |response| response.as_bytes());
    // Looked at after each round: a setting that switched a check off would otherwise look like a gain.
    checked(text)?;
    Ok(round)
}

/// A message without the results of all three checks was not checked, and its server's figure says nothing.
fn checked(message: &[u8]) -> io::Result<()> {
    let text = String::from_utf8_lossy(message).to_ascii_lowercase();
    let spf = text.contains("spf=pass") || text.contains("received-spf: pass");
    if spf && text.contains("dkim=pass") && text.contains("dmarc=pass") {
        return Ok(());
    }
    let head: String = text.chars().take(2_000).collect();
    Err(io::Error::other(format!(
        "a message was taken without its checks: {head}"
    )))
}

/// A file of a message in Postfix's hold queue.
fn held(server: &Running) -> io::Result<Vec<u8>> {
    let hold = server.directory.join("postfix-queue/hold");
    for entry in fs::read_dir(hold)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            return fs::read(entry.path());
        }
    }
    Err(io::Error::other("Postfix holds nothing"))
}

fn postfix_round(
    setting: &Setting,
    directory: &Path,
    messages: &Rc<[Vec<u8>]>,
) -> io::Result<Round> {
    let filters = filters::start(directory)?;
    let delivery = postfix::Delivery::Filtered {
        milters: [&filters.opendkim, &filters.opendmarc],
        lists: &LISTS,
        at: IpAddr::V4(SERVER),
    };
    let server = postfix::start(directory, &delivery)?;
    // The milters' CPU is Postfix's: without them it would not check anything.
    let others: Vec<u32> = filters.running.iter().flat_map(Running::pids).collect();
    let round = measured(setting, &server, &others, messages)?;
    checked(&held(&server)?)?;
    Ok(round)
}

fn measured(
    setting: &Setting,
    server: &Running,
    others: &[u32],
    messages: &Rc<[Vec<u8>]>,
) -> io::Result<Round> {
    let plan = Plan {
        server: server
            .smtp
            .ok_or_else(|| io::Error::other("no SMTP here"))?,
        lmtp: false,
        sessions: SESSIONS,
        size_bytes: SIZE_BYTES,
        per_connection: 100,
        messages_max: setting.scaled(100_000, 20_000),
        within: Duration::from_secs(setting.scaled(10, 4)),
        recipients: peers::recipients(ACCOUNTS),
        pipelining: true,
        ledger: false,
        sender: Sender {
            source: Some(IpAddr::V4(CLIENT)),
            contents: messages.clone(),
            ..Sender::default()
        },
    };
    let meter = Meter::begin(server, others, &server.directory);
    let outcome = smtp::run(&plan)?;
    let (usage, _) = meter.end();
    if outcome.accepted == 0 || outcome.refused + outcome.refused_for_now > 0 {
        let trouble = outcome.first_trouble.unwrap_or_default();
        return Err(io::Error::other(format!(
            "{} accepted, {} refused: {trouble}",
            outcome.accepted,
            outcome.refused + outcome.refused_for_now
        )));
    }
    Ok(Round {
        accepted: outcome.rate(),
        cpu_ms: usage.cpu_s * 1_000.0 / outcome.accepted as f64,
    })
}
