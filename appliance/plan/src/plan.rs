//! Settings, profile and machine become one plan.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::descriptors::{self, DescriptorLine};
use crate::imap::Hide;
use crate::limits::*;
use crate::load::Misfit;
use crate::machine::{Machine, show_cpus};
use crate::memory::{self, MemoryLine, Scanning};
use crate::place::{Placement, place};
use crate::pop3::Pop3Plan;
use crate::profile::{Profile, Zones};
use crate::quarantine::QuarantinePlan;
use crate::reports::ReportsPlan;
use crate::settings::{Authentication, Plaintext, PolicyMode, Settings};
use crate::source::Source;
use crate::spam::SpamPlan;
use crate::spool::{self, SpoolPlan};
use crate::zones::ZonesPlan;

pub(crate) mod parts;

pub use parts::{CorePlan, ListenerPlan, Service, StoragePlan, Zone};

/// Checked: it fits the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    pub server_name: String,
    pub state: PathBuf,
    pub profile: String,
    pub machine: Machine,
    /// CPUs for everything outside the zones; empty where none was set aside.
    #[serde(default)]
    pub housekeeping: Vec<usize>,
    pub cores: Vec<CorePlan>,
    pub listeners: Vec<ListenerPlan>,
    pub storage: StoragePlan,
    /// `None`: mail that storage does not take is deferred; `spool_left_out` says why there is none.
    #[serde(default)]
    pub spool: Option<SpoolPlan>,
    #[serde(default)]
    pub spool_left_out: Option<String>,
    pub message_bytes_max: u64,
    /// Messages being received, all sessions together.
    pub receive_bytes: u64,
    /// Messages that are looked into, and pieces that wait for clients.
    #[serde(default)]
    pub read_bytes: u64,
    #[serde(default)]
    pub send_bytes: u64,
    /// See `settings::Outbound`.
    #[serde(default)]
    pub validators: Vec<SocketAddr>,
    #[serde(default)]
    pub policies: bool,
    #[serde(default)]
    pub sources: Vec<Source>,
    pub plaintext_on_loopback: bool,
    /// What each person may submit.
    #[serde(default)]
    pub sending: Sending,
    /// Of mail of strangers.
    #[serde(default)]
    pub authentication: Authentication,
    /// Of our domains (MTA-STS).
    #[serde(default)]
    pub policy: PolicyMode,
    /// How it is judged; `None`: not at all.
    #[serde(default)]
    pub spam: Option<SpamPlan>,
    /// What is kept apart.
    #[serde(default)]
    pub quarantine: QuarantinePlan,
    /// Capabilities of IMAP that some are not offered.
    #[serde(default)]
    pub imap_hide: Vec<Hide>,
    /// What is kept of mail that POP3 clients delete.
    #[serde(default)]
    pub pop3: Pop3Plan,
    /// Zones on other machines.
    #[serde(default)]
    pub zones: ZonesPlan,
    /// To other domains; `None`: nothing is reported.
    #[serde(default)]
    pub reports: Option<ReportsPlan>,
    /// Who is asked for names; empty: the servers of the box.
    #[serde(default)]
    pub name_servers: Vec<SocketAddr>,
    /// What the plan may hand out, and how it does.
    pub memory_bytes: u64,
    pub memory: Vec<MemoryLine>,
    /// The same of open files; `machine.open_files` is what they are held against.
    #[serde(default)]
    pub descriptors: Vec<DescriptorLine>,
}

/// Messages and recipients of one account; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sending {
    pub messages_per_hour: u32,
    pub messages_per_day: u32,
    pub recipients_per_hour: u32,
    pub recipients_per_day: u32,
}

impl Plan {
    /// Moves every listener from port base `from` to `to`; trial mode, whose ports are all above `from`.
    pub fn move_ports(&mut self, from: u16, to: u16) {
        for address in self
            .listeners
            .iter_mut()
            .flat_map(|listener| &mut listener.addresses)
        {
            let standard = address.port().checked_sub(from).expect("above its base");
            address.set_port(to.checked_add(standard).expect("a port"));
        }
    }

    // In the order in which later parts need earlier ones: CPUs give the number of threads, threads give memory, memory gives the number of
    // connections, and connections give open files.
    pub fn make(settings: &Settings, profile: &Profile, machine: &Machine) -> Result<Plan, Misfit> {
        if settings.server.name.is_empty()
            || settings
                .server
                .name
                .contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(Misfit::new(
                "server.name: write this machine's host name, like \"mail.example.org\"",
            ));
        }
        let leg_bytes = settings.volume.leg_size.0;
        if leg_bytes < LEG_BYTES_MIN || !leg_bytes.is_multiple_of(4096) {
            return Err(Misfit::new(format!(
                "a leg of {} does not work: write at least {}, a multiple of 4KiB",
                crate::Size(leg_bytes),
                crate::Size(LEG_BYTES_MIN),
            )));
        }
        let placed = place(&profile.zones, machine)?;
        let housekeeping = placed.housekeeping.clone();
        let cores = cores(settings, &profile.zones, placed, machine)?;
        let apart = apart(settings, &cores);
        let apart_bytes = apart.iter().map(|line| line.bytes).sum();
        let askers = askers(settings, &cores);
        let scanning = scanning(settings, &cores);
        let allowance =
            memory::Allowance::new(settings, profile, machine, askers, &scanning, apart_bytes)?;
        let mut listeners = listeners(settings, &allowance);
        let volume = &settings.volume;
        let has_storage = settings.runs(Zone::Storage);
        // A node without storage has the fields all the same, at zero: its lines then vanish from the sum by themselves.
        let of_storage = |bytes: u64| if has_storage { bytes } else { 0 };
        let storage = StoragePlan {
            legs: volume.legs.get_ref().clone(),
            leg_bytes: volume.leg_size.0,
            create: volume.create,
            segment_bytes: parts::segment_bytes(volume.leg_size.0),
            hard_deadline_us: hard_deadline(settings, profile, machine).as_micros() as u64,
            batches_in_flight: profile.storage.batches_in_flight,
            batch_buffers: of_storage(profile.storage.batch_buffers as u64) as usize,
            ring: profile.ring.flags,
            compression: *volume.compression.get_ref(),
            projection_cache_bytes: of_storage(allowance.projection_cache),
            mailbox_cache_bytes: of_storage(allowance.mailbox_cache),
            checkpoint_groups: CHECKPOINT_GROUPS,
            checkpoint_bytes: CHECKPOINT_BYTES,
            checkpoint_us: CHECKPOINT_US,
        };
        let (spool, spool_left_out) = match &allowance.spool {
            Ok(()) => {
                let spool = spool::plan(&settings.spool, &storage, allowance.receive);
                (Some(spool), None)
            }
            Err(why) => (None, Some(why.clone())),
        };
        let mut fixed = descriptors::fixed(&cores, &listeners, &storage, machine);
        fixed.extend(spool.as_ref().map(descriptors::spool));
        if strangers_are_looked_up(settings) {
            fixed.push(descriptors::looking_up(askers));
        }
        if scanning.calls > 0 {
            fixed.push(descriptors::scanning(scanning.calls));
        }
        if settings.ldap.is_on() {
            fixed.push(descriptors::asking());
        }
        if settings.fetch.enabled {
            fixed.push(descriptors::fetching());
        }
        if settings.is_front() {
            fixed.push(descriptors::watching(settings.front.storage.len()));
        } else if !has_storage {
            fixed.push(descriptors::handing(handing_threads(settings, &cores)));
        }
        // Connections shrink to what the process may open, if the settings do not say how many there are to be.
        descriptors::fit(settings, &mut listeners, &fixed, machine.open_files)?;
        let descriptors = descriptors::lines(settings, &listeners, fixed);
        let message_bytes_max = settings.limits.message.get_ref().0;
        let lines = memory::lines(&listeners, &storage, &allowance, askers);
        let lines = memory::with_scanning(lines, &scanning);
        let mut lines = memory::with_spool(lines, message_bytes_max, spool.as_ref());
        if !has_storage {
            lines.retain(|line| !memory::ELSEWHERE.contains(&line.what.as_str()));
        }
        if settings.is_front() {
            lines = memory::of_front(lines, &listeners, settings.front.storage.len());
        }
        lines.extend(apart);
        // The sum of all lines, and not of what was handed out above: a part that was forgotten in one place is found in the other.
        memory::check(&lines, allowance.total, machine, profile)?;
        // Such a box would answer 4xx to its largest messages for ever.
        if allowance.receive < message_bytes_max {
            return Err(Misfit::new(format!(
                "memory.receive ({}) is smaller than one message of limits.message ({}): lower limits.message",
                crate::Size(allowance.receive),
                crate::Size(message_bytes_max),
            )));
        }
        Ok(Plan {
            server_name: settings.server.name.clone(),
            state: settings.server.state.clone(),
            profile: profile.name.clone(),
            machine: machine.clone(),
            housekeeping,
            cores,
            listeners,
            storage,
            spool,
            spool_left_out,
            message_bytes_max,
            receive_bytes: allowance.receive,
            read_bytes: allowance.read,
            send_bytes: allowance.send,
            validators: settings.outbound.validators.clone(),
            policies: settings.outbound.policies,
            sources: settings.outbound.sources.clone(),
            sending: Sending {
                messages_per_hour: settings.limits.messages_per_hour,
                messages_per_day: settings.limits.messages_per_day,
                recipients_per_hour: settings.limits.recipients_per_hour,
                recipients_per_day: settings.limits.recipients_per_day,
            },
            plaintext_on_loopback: settings.login.plaintext == Plaintext::Loopback,
            authentication: settings.inbound.authentication,
            policy: settings.inbound.policy,
            spam: settings.spam.plan(),
            quarantine: settings.quarantine.plan(),
            imap_hide: settings.imap.hide.clone(),
            pop3: settings.pop3.plan(),
            zones: settings.zones_plan(),
            reports: settings.reports.plan(&settings.server.name),
            name_servers: settings.dns.servers.clone(),
            memory_bytes: allowance.total,
            memory: lines,
            descriptors,
        })
    }

    pub fn listener(&self, service: Service) -> Option<&ListenerPlan> {
        self.listeners
            .iter()
            .find(|listener| listener.service == service)
    }

    /// Whether this node runs `zone`.
    pub fn runs(&self, zone: Zone) -> bool {
        self.cores_of(zone).next().is_some()
    }

    /// Threads that run `zone`.
    pub fn cores_of(&self, zone: Zone) -> impl Iterator<Item = &CorePlan> {
        self.cores
            .iter()
            .filter(move |core| core.zones.contains(&zone))
    }
}

/// As the profile says, else by the kind of the legs' disks.
fn hard_deadline(settings: &Settings, profile: &Profile, machine: &Machine) -> Duration {
    if let Some(written) = profile.storage.hard_deadline {
        return written.0;
    }
    let legs = match settings.runs(Zone::Storage) {
        true => settings.volume.legs.get_ref(),
        false => &settings.spool.legs,
    };
    let on_files = legs.iter().any(|leg| !leg.starts_with("/dev"));
    if on_files || machine.topology.turning_disks {
        DEADLINE_TURNING
    } else if settings.san.is_empty() {
        DEADLINE_SOLID_STATE
    } else {
        DEADLINE_SAN
    }
}

/// Who looks names up: sending, and each thread that receives and authenticates, or asks lists about peers.
fn askers(settings: &Settings, cores: &[CorePlan]) -> u64 {
    let receives = |core: &&CorePlan| core.zones.contains(&Zone::Inbound);
    match strangers_are_looked_up(settings) {
        false => 1,
        true => 1 + cores.iter().filter(receives).count() as u64,
    }
}

fn threads_of(cores: &[CorePlan], zone: Zone) -> u64 {
    let run = cores.iter().filter(|core| core.zones.contains(&zone));
    run.count() as u64
}

/// Threads that hand mail over to storage nodes: the spool's is one of them.
fn handing_threads(settings: &Settings, cores: &[CorePlan]) -> u64 {
    threads_of(cores, Zone::Inbound) + u64::from(!settings.spool.legs.is_empty())
}

/// What it takes that zones are on several machines, or people in another directory.
fn apart(settings: &Settings, cores: &[CorePlan]) -> Vec<memory::MemoryLine> {
    let inbound = !settings.runs(Zone::Storage) && !settings.is_front();
    let threads = inbound.then(|| handing_threads(settings, cores));
    let mut lines = memory::apart(threads, !settings.listen.recipients.is_empty());
    if settings.ldap.is_on() {
        lines.push(memory::MemoryLine {
            what: "asking the directory (LDAP)".to_owned(),
            bytes: LDAP_BYTES,
            lower: String::new(),
        });
    }
    if settings.fetch.enabled {
        lines.push(memory::MemoryLine {
            what: "fetching from accounts elsewhere".to_owned(),
            bytes: FETCH_BYTES,
            lower: "fetch.enabled".to_owned(),
        });
    }
    lines
}

/// Calls to scanners at a time, and the threads that make them.
fn scanning(settings: &Settings, cores: &[CorePlan]) -> Scanning {
    let threads = |zone: Zone| threads_of(cores, zone);
    let calls = settings
        .scan
        .calls(threads(Zone::Inbound), threads(Zone::Client));
    Scanning {
        calls,
        threads: if calls > 0 { cores.len() as u64 } else { 0 },
    }
}

fn strangers_are_looked_up(settings: &Settings) -> bool {
    settings.inbound.authentication != Authentication::Off || settings.door.looks_up()
}

fn listeners(settings: &Settings, allowance: &memory::Allowance) -> Vec<ListenerPlan> {
    let listen = &settings.listen;
    let every = [
        (Service::Smtp, &listen.smtp, allowance.smtp_connections),
        (Service::Lmtp, &listen.lmtp, allowance.lmtp_connections),
        (
            Service::Submission,
            &listen.submission,
            allowance.submission_connections,
        ),
        (
            Service::Submissions,
            &listen.submissions,
            allowance.submission_connections,
        ),
        (Service::Imap, &listen.imap, allowance.imap_connections),
        (Service::Imaps, &listen.imaps, allowance.imap_connections),
        (Service::Pop3, &listen.pop3, allowance.pop3_connections),
        (Service::Pop3s, &listen.pop3s, allowance.pop3_connections),
        (
            Service::Managesieve,
            &listen.managesieve,
            allowance.managesieve_connections,
        ),
        (Service::Http, &listen.http, allowance.http_connections),
        (Service::Https, &listen.https, allowance.http_connections),
        (Service::Policy, &listen.policy, allowance.http_connections),
        (
            Service::Challenge,
            &listen.challenge,
            allowance.http_connections,
        ),
        (
            Service::ZoneLmtp,
            &listen.zone_lmtp,
            allowance.zone_connections,
        ),
        (
            Service::ZoneSmtp,
            &listen.zone_smtp,
            allowance.zone_connections,
        ),
        (
            Service::ZoneQmqp,
            &listen.zone_qmqp,
            allowance.zone_connections,
        ),
        (
            Service::Recipients,
            &listen.recipients,
            allowance.zone_connections,
        ),
        (
            Service::ZoneClient,
            &listen.zone_client,
            allowance.zone_client_connections,
        ),
    ];
    every
        .into_iter()
        .filter(|(_, addresses, _)| !addresses.is_empty())
        .map(|(service, addresses, connections_max)| ListenerPlan {
            service,
            addresses: addresses.clone(),
            connections_max,
        })
        .collect()
}

/// Which CPU runs which zones: as the profile says, else computed.
fn cores(
    settings: &Settings,
    zones: &Zones,
    placed: Placement,
    machine: &Machine,
) -> Result<Vec<CorePlan>, Misfit> {
    let chosen = [
        (Zone::Storage, placed.storage),
        (Zone::Inbound, placed.inbound),
        (Zone::Client, placed.client),
    ];
    let mut cores: Vec<CorePlan> = Vec::new();
    // What a zone that is not run would have had stays free for everything else.
    for (zone, cpus) in chosen.iter().filter(|(zone, _)| settings.runs(*zone)) {
        for cpu in cpus {
            if !machine.cpus.contains(cpu) {
                return Err(Misfit::new(format!(
                    "zones.{}: this process may not use CPU {cpu}; choose among {}",
                    zone.name(),
                    show_cpus(&machine.cpus)
                )));
            }
            match cores.iter_mut().find(|core| core.cpu == Some(*cpu)) {
                Some(core) if core.zones.contains(zone) => {
                    return Err(Misfit::new(format!(
                        "zones.{}: CPU {cpu} is named twice",
                        zone.name()
                    )));
                }
                Some(core) => core.zones.push(*zone),
                None => cores.push(CorePlan {
                    name: String::new(),
                    cpu: Some(*cpu),
                    zones: vec![*zone],
                }),
            }
        }
    }
    // On a machine this small everything else runs on the same CPUs: a thread that may not move would wait behind it.
    let pinned = !zones.says_nothing() || machine.cpus.len() > UNPINNED_CPUS_MAX;
    for (index, core) in cores.iter_mut().enumerate() {
        let zones: Vec<&str> = core.zones.iter().map(|zone| zone.name()).collect();
        if !pinned {
            core.cpu = None;
        }
        core.name = format!("{}/{index}", zones.join("+"));
    }
    Ok(cores)
}

#[cfg(test)]
mod tests;
