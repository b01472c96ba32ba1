//! Every limit times what it costs, against what there is.

use serde::{Deserialize, Serialize};

use crate::limits::*;
use crate::load::Misfit;
use crate::machine::Machine;
use crate::plan::parts::{ListenerPlan, Service, StoragePlan};
use crate::profile::Profile;
use crate::settings::Settings;
use crate::spool::{self, SpoolPlan};
use crate::units::Size;

/// One line of the sum.
/// Every holder of memory that grows has a line: a sum with a hole in it would leave it to the kernel which
/// process ends on a busy day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLine {
    pub what: String,
    pub bytes: u64,
    /// The setting that makes it smaller; empty for what is fixed.
    pub lower: String,
}

/// Calls to scanners at a time, and the threads that make them.
/// Scanners get the whole message in memory of their protocol, so that each call has its price whatever the message's own memory is.
pub(crate) struct Scanning {
    pub calls: u64,
    pub threads: u64,
}

impl Scanning {
    pub fn bytes(&self) -> u64 {
        let calls = self.calls.saturating_mul(SCAN_CALL_BYTES);
        calls.saturating_add(self.threads * SCAN_JSON_BYTES)
    }
}

/// `lines`, and what scanning takes where anything is scanned.
pub(crate) fn with_scanning(mut lines: Vec<MemoryLine>, scanning: &Scanning) -> Vec<MemoryLine> {
    if scanning.calls > 0 {
        lines.push(MemoryLine {
            what: "mail being scanned".to_owned(),
            bytes: scanning.bytes(),
            lower: "scan.connections".to_owned(),
        });
    }
    lines
}

/// What a node without storage has no use for: its people and its queue are on storage nodes.
pub(crate) const ELSEWHERE: [&str; 6] = [
    "mail on its way out",
    "policies of other domains",
    "lessons about junk",
    "scripts that filter mail",
    "messages looked into",
    "messages waiting for clients",
];

/// What a front has no use for besides: it keeps nothing of a message but what is on its way.
pub(crate) const BEHIND_FRONT: [&str; 2] = ["messages being received", "counts for reports"];

/// `lines` of a front: each connection of a client has one with a storage node, and each storage node a table.
pub(crate) fn of_front(
    mut lines: Vec<MemoryLine>,
    listeners: &[ListenerPlan],
    nodes: usize,
) -> Vec<MemoryLine> {
    lines.retain(|line| !BEHIND_FRONT.contains(&line.what.as_str()));
    let zone = |service: Service| service.zone().is_some();
    for listener in listeners.iter().filter(|listener| zone(listener.service)) {
        let count = listener.connections_max as u64;
        let what = format!("{count} {} connections", listener.service.name());
        if let Some(line) = lines.iter_mut().find(|line| line.what == what) {
            line.bytes = count.saturating_mul(FRONT_SESSION_BYTES);
        }
    }
    lines.push(MemoryLine {
        what: "tables of recipients".to_owned(),
        bytes: nodes as u64 * 4 * RECIPIENTS_BYTES,
        lower: String::new(),
    });
    lines
}

/// What it takes that zones are on several machines: `inbound` threads hand mail over; `serves`: other nodes fetch the table here.
pub(crate) fn apart(inbound: Option<u64>, serves: bool) -> Vec<MemoryLine> {
    let line = |what: &str, bytes: u64| MemoryLine {
        what: what.to_owned(),
        bytes,
        lower: String::new(),
    };
    let mut lines = Vec::new();
    if let Some(threads) = inbound {
        let connections = threads * HANDING_CONNECTIONS * HANDING_CONNECTION_BYTES;
        lines.push(line("mail to storage nodes", connections));
        lines.push(line("table of recipients", 4 * RECIPIENTS_BYTES));
    }
    if serves {
        lines.push(line("table of recipients served", 5 * RECIPIENTS_BYTES));
    }
    lines
}

/// `lines`, and what a spool takes where there is one.
pub(crate) fn with_spool(
    mut lines: Vec<MemoryLine>,
    message_bytes_max: u64,
    spool: Option<&SpoolPlan>,
) -> Vec<MemoryLine> {
    if let Some(spool) = spool {
        let line = |what: &str, bytes: u64, lower: &str| MemoryLine {
            what: what.to_owned(),
            bytes,
            lower: lower.to_owned(),
        };
        let bytes = spool::memory(message_bytes_max);
        lines.push(line("mail in the spool", bytes, "spool.legs"));
        // Those that no receiver waits for any more, whose memory for reception was given back.
        let what = "messages on their way to storage";
        lines.push(line(what, spool.credit_bytes, "memory.receive"));
    }
    lines
}

/// How the memory is shared out: the operator's word where there is one, else a share of what there is.
pub(crate) struct Allowance {
    pub total: u64,
    /// Whether there is a spool; `Err`: why not.
    pub spool: Result<(), String>,
    pub receive: u64,
    pub read: u64,
    pub send: u64,
    pub door: u64,
    pub mailbox_cache: u64,
    pub projection_cache: u64,
    pub smtp_connections: usize,
    pub lmtp_connections: usize,
    pub submission_connections: usize,
    pub imap_connections: usize,
    pub pop3_connections: usize,
    pub managesieve_connections: usize,
    pub http_connections: usize,
    pub zone_connections: usize,
    pub zone_client_connections: usize,
}

impl Allowance {
    pub(crate) fn new(
        settings: &Settings,
        profile: &Profile,
        machine: &Machine,
        askers: u64,
        scanning: &Scanning,
        apart: u64,
    ) -> Result<Allowance, Misfit> {
        let total = machine.memory_bytes / 100 * u64::from(profile.memory.percent);
        if total < MEMORY_BYTES_MIN {
            return Err(Misfit::new(format!(
                "{} % of this machine's memory is {}, and the minimum is {}: give the machine (or its control group) more",
                profile.memory.percent,
                Size(total),
                Size(MEMORY_BYTES_MIN),
            )));
        }
        let (memory, limits) = (&settings.memory, &settings.limits);
        let message = limits.message.get_ref().0;
        let spool = spool::fits(&settings.spool, message, (total, machine.open_files))?;
        // Shares of the whole and fixed costs are subtracted before the rest is divided: what receives mail gets what is left, and not the other way
        // round, because it can answer 4xx and the others cannot.
        let read = (total / READ_SHARE).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        let send = (total / SEND_SHARE).clamp(SEND_BYTES_MIN, SEND_BYTES_MAX);
        let sending = SENDING_BYTES + SENDING_CONNECTIONS_BYTES + POLICIES_BYTES;
        let tables = DOOR_BYTES
            + LESSONS_BYTES
            + SCRIPTS_BYTES
            + FILTER_BYTES
            + REPORTS_BYTES
            + LOGINS_BYTES;
        let spooling = spool.as_ref().map_or(0, |()| spool::memory(message));
        let fixed =
            PROCESS_BYTES + LANE_BYTES + sending + tables + askers * RESOLVER_BYTES + spooling;
        if fixed + read + send + scanning.bytes() > total && scanning.calls > 0 {
            return Err(Misfit::new(format!(
                "{} calls to scanners take {}, and {} is too little for them: give the machine (or its control group) more memory, or lower scan.connections",
                scanning.calls,
                Size(scanning.bytes()),
                Size(total),
            )));
        }
        let fixed = fixed + scanning.bytes() + apart;
        let Some(free) = total.checked_sub(fixed + read + send) else {
            return Err(Misfit::new(format!(
                "{askers} resolvers look names up, and {} is too little for them: give the machine (or its control group) more memory, or set inbound.authentication to \"off\"",
                Size(total),
            )));
        };
        let read = at_least("memory.read", memory.read, read, READ_BYTES_MIN)?;
        let send = at_least("memory.send", memory.send, send, SEND_BYTES_MIN)?;
        // A computed limit shrinks with the machine; a written one stands, and is refused when it does not fit.
        let fitting = |default: usize, share: u64, each: u64| {
            default.min((share / each) as usize).max(CONNECTIONS_MIN)
        };
        // With a spool it is needed twice: while a message is received, and while it is on its way to storage.
        let receive_share = if spool.is_ok() { 8 } else { 4 };
        Ok(Allowance {
            total,
            spool,
            read,
            send,
            door: DOOR_BYTES,
            // At least one message: the other shares leave room for that on the smallest machine.
            receive: memory.receive.map_or(
                (free / receive_share).max(limits.message.get_ref().0),
                |size| size.0,
            ),
            mailbox_cache: memory.mailbox_cache.map_or(
                (free / 8).clamp(MAILBOX_CACHE_BYTES_MIN, MAILBOX_CACHE_BYTES_MAX),
                |size| size.0,
            ),
            projection_cache: memory.projection_cache.map_or(
                (free / 16).clamp(PROJECTION_CACHE_BYTES_MIN, PROJECTION_CACHE_BYTES_MAX),
                |size| size.0,
            ),
            smtp_connections: limits.smtp_connections.unwrap_or_else(|| {
                fitting(SMTP_CONNECTIONS_DEFAULT, free / 16, SMTP_CONNECTION_BYTES)
            }),
            lmtp_connections: limits.lmtp_connections.unwrap_or_else(|| {
                fitting(LMTP_CONNECTIONS_DEFAULT, free / 32, SMTP_CONNECTION_BYTES)
            }),
            // Counted twice, these and those of IMAP and POP3: with and without implicit TLS.
            submission_connections: limits.submission_connections.unwrap_or_else(|| {
                fitting(
                    SUBMISSION_CONNECTIONS_DEFAULT,
                    free / 64,
                    SMTP_CONNECTION_BYTES,
                )
            }),
            imap_connections: limits.imap_connections.unwrap_or_else(|| {
                // A front has no caches: half of what is free is for these, with and without implicit TLS.
                let (share, each) = match settings.is_front() {
                    true => (free / 4, FRONT_SESSION_BYTES),
                    false => (free / 16, IMAP_CONNECTION_BYTES),
                };
                fitting(IMAP_CONNECTIONS_DEFAULT, share, each)
            }),
            pop3_connections: limits.pop3_connections.unwrap_or_else(|| {
                fitting(POP3_CONNECTIONS_DEFAULT, free / 128, POP3_CONNECTION_BYTES)
            }),
            managesieve_connections: limits.managesieve_connections.unwrap_or_else(|| {
                let share = free / 256;
                fitting(
                    MANAGESIEVE_CONNECTIONS_DEFAULT,
                    share,
                    MANAGESIEVE_CONNECTION_BYTES,
                )
            }),
            zone_connections: limits.zone_connections.unwrap_or_else(|| {
                fitting(ZONE_CONNECTIONS_DEFAULT, free / 32, SMTP_CONNECTION_BYTES)
            }),
            zone_client_connections: limits.zone_client_connections.unwrap_or_else(|| {
                fitting(
                    ZONE_CLIENT_CONNECTIONS_DEFAULT,
                    free / 16,
                    ZONE_CLIENT_CONNECTION_BYTES,
                )
            }),
            http_connections: limits.http_connections.unwrap_or_else(|| {
                fitting(HTTP_CONNECTIONS_DEFAULT, free / 64, HTTP_CONNECTION_BYTES)
            }),
        })
    }
}

/// What was written, else `computed`.
/// A limit below one message would refuse every message of that size for ever, which reads as a fault of the sender's.
fn at_least(key: &str, written: Option<Size>, computed: u64, least: u64) -> Result<u64, Misfit> {
    match written {
        Some(size) if size.0 < least => Err(Misfit::new(format!(
            "{key} = {size} is too small for a single message: write at least {}",
            Size(least)
        ))),
        Some(size) => Ok(size.0),
        None => Ok(computed),
    }
}

pub(crate) fn lines(
    listeners: &[ListenerPlan],
    storage: &StoragePlan,
    allowance: &Allowance,
    askers: u64,
) -> Vec<MemoryLine> {
    let line = |what: String, bytes: u64, lower: &str| MemoryLine {
        what,
        bytes,
        lower: lower.to_owned(),
    };
    let mut lines = vec![
        line(
            "program, threads, lanes".into(),
            PROCESS_BYTES + LANE_BYTES,
            "",
        ),
        line(
            "mail on its way out".into(),
            SENDING_BYTES + SENDING_CONNECTIONS_BYTES,
            "",
        ),
        line("policies of other domains".into(), POLICIES_BYTES, ""),
        line("names looked up".into(), askers * RESOLVER_BYTES, ""),
        line("decisions at the door".into(), allowance.door, ""),
        line("lessons about junk".into(), LESSONS_BYTES, ""),
        line(
            "scripts that filter mail".into(),
            SCRIPTS_BYTES + FILTER_BYTES,
            "",
        ),
        line("counts for reports".into(), REPORTS_BYTES, ""),
        line("logins".into(), LOGINS_BYTES, ""),
        line("messages looked into".into(), allowance.read, "memory.read"),
        line(
            "messages waiting for clients".into(),
            allowance.send,
            "memory.send",
        ),
        line(
            format!("{} batch buffers", storage.batch_buffers),
            storage.batch_buffers as u64 * BATCH_BUFFER_BYTES,
            "storage.batch_buffers",
        ),
        line(
            "messages being received".into(),
            allowance.receive,
            "memory.receive",
        ),
        line(
            "mailbox cache".into(),
            storage.mailbox_cache_bytes,
            "memory.mailbox_cache",
        ),
        line(
            "projection cache".into(),
            storage.projection_cache_bytes,
            "memory.projection_cache",
        ),
    ];
    for listener in listeners {
        let (each, lower) = match listener.service {
            Service::Smtp => (SMTP_CONNECTION_BYTES, "limits.smtp_connections"),
            Service::Lmtp => (SMTP_CONNECTION_BYTES, "limits.lmtp_connections"),
            Service::Submission | Service::Submissions => {
                (SMTP_CONNECTION_BYTES, "limits.submission_connections")
            }
            Service::Imap | Service::Imaps => (IMAP_CONNECTION_BYTES, "limits.imap_connections"),
            Service::Pop3 | Service::Pop3s => (POP3_CONNECTION_BYTES, "limits.pop3_connections"),
            Service::Managesieve => (
                MANAGESIEVE_CONNECTION_BYTES,
                "limits.managesieve_connections",
            ),
            Service::Http | Service::Https | Service::Policy | Service::Challenge => {
                (HTTP_CONNECTION_BYTES, "limits.http_connections")
            }
            Service::ZoneLmtp | Service::ZoneSmtp | Service::ZoneQmqp | Service::Recipients => {
                (SMTP_CONNECTION_BYTES, "limits.zone_connections")
            }
            Service::ZoneClient => (
                ZONE_CLIENT_CONNECTION_BYTES,
                "limits.zone_client_connections",
            ),
        };
        let count = listener.connections_max;
        let what = format!("{count} {} connections", listener.service.name());
        lines.push(line(what, (count as u64).saturating_mul(each), lower));
    }
    // A node without storage has no line for it.
    lines.retain(|line| line.bytes > 0);
    lines
}

/// Refuses a sum that does not fit, and names the limit to lower.
pub(crate) fn check(
    lines: &[MemoryLine],
    total: u64,
    machine: &Machine,
    profile: &Profile,
) -> Result<(), Misfit> {
    let sum = lines
        .iter()
        .fold(0u64, |sum, line| sum.saturating_add(line.bytes));
    if sum <= total {
        return Ok(());
    }
    // The largest of those that a setting can change: lowering it is most likely to be enough.
    let largest = lines
        .iter()
        .filter(|line| !line.lower.is_empty())
        .max_by_key(|line| line.bytes)
        .expect("the plan has limits");
    Err(Misfit::new(format!(
        "the limits add up to {}, and this plan may use {} ({} % of {}): lower {} ({}: {})",
        Size(sum),
        Size(total),
        profile.memory.percent,
        Size(machine.memory_bytes),
        largest.lower,
        largest.what,
        Size(largest.bytes),
    )))
}
