//! What is known, and what it means for the reader.

use crate::gather::{Brand, Daemon, Known};
use crate::limits::{INCIDENT_NEW_S, LATE_S};

/// The state of the box in one word and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The boot has not reported yet.
    Booting,
    /// It has no settings.
    SetUp,
    /// It will not start like this.
    Failed(String),
    /// The daemon was started and does not answer yet.
    Starting {
        /// Longer than a start takes.
        late: bool,
    },
    /// Mail is taken and read.
    Serving,
    /// The daemon runs and takes no mail.
    Refusing(String),
}

/// One screen.
#[derive(Debug, Clone)]
pub struct View {
    pub brand: Brand,
    pub known: Known,
    pub state: State,
    /// Sentences, the worst first.
    pub alarms: Vec<String>,
    pub rates: Rates,
}

/// Per second, since the look before.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Messages accepted.
    pub messages: f64,
    /// Bytes of those messages.
    pub bytes: f64,
    /// Connections accepted, of every service.
    pub connections: f64,
}

impl View {
    /// `before` is the look before this one, for rates.
    pub fn new(brand: &Brand, known: Known, before: Option<&Known>) -> View {
        let state = state(&known);
        View {
            alarms: alarms(&known),
            rates: rates(&known, before),
            brand: brand.clone(),
            state,
            known,
        }
    }

    /// The daemon's part; `None`: it does not answer.
    pub fn daemon(&self) -> Option<&Daemon> {
        self.known.daemon.as_ref()
    }
}

/// The state that follows from daemon, boot and what the daemon printed, in this order.
fn state(known: &Known) -> State {
    if let Some(daemon) = &known.daemon {
        return match (&daemon.status.refuses, daemon.status.serving) {
            (Some(why), _) => State::Refusing(why.clone()),
            (None, true) => State::Serving,
            (None, false) => State::Refusing("it is stopping".into()),
        };
    }
    let Some(boot) = &known.boot else {
        return State::Booting;
    };
    if let Some(why) = &boot.refused {
        return State::Failed(why.clone());
    }
    if boot.settings.is_none() {
        return State::SetUp;
    }
    match &known.failed {
        Some(why) => State::Failed(why.clone()),
        None => State::Starting {
            late: known.at_ms > LATE_S * 1_000,
        },
    }
}

/// What the operator should look at, the worst first.
fn alarms(known: &Known) -> Vec<String> {
    let mut alarms: Vec<String> = known.probation.iter().cloned().collect();
    if let Some(daemon) = &known.daemon {
        for leg in daemon
            .status
            .legs
            .iter()
            .filter(|leg| leg.state != "in_sync")
        {
            let why = leg.why.as_deref().unwrap_or("being brought up to date");
            alarms.push(format!("leg {} is {}: {why}", leg.index, leg.state));
        }
        let faults: u64 = daemon
            .status
            .legs
            .iter()
            .map(|leg| leg.read_faults + leg.write_faults)
            .sum();
        if faults > 0 {
            alarms.push(format!(
                "{faults} device errors since start: look at the disks"
            ));
        }
        for node in daemon.status.storage_nodes.iter().filter(|node| !node.up) {
            alarms.push(format!("storage node {} failed: {}", node.name, node.why));
        }
        for node in daemon.status.front.iter().filter(|node| !node.up) {
            alarms.push(format!("storage node {} failed: {}", node.name, node.why));
        }
        if let Some(table) = &daemon.status.recipients
            && !table.fresh
        {
            alarms.push(format!(
                "the table of recipients is too old to refuse by it: {}",
                table.trouble
            ));
        }
        // The box's own incidents are alarms of its boot.
        for incident in &daemon.status.incidents {
            if incident.kind.is_engines() && incident.at + INCIDENT_NEW_S > known.now {
                let again = match incident.times {
                    1 => String::new(),
                    times => format!(" ({times} times)"),
                };
                alarms.push(format!("{}{again}", incident.what));
            }
        }
        for volume in &daemon.volumes {
            if volume.segments > 0 && volume.segments_free * 10 < volume.segments {
                alarms.push(format!(
                    "volume {} is nearly full: {} of {} segments free",
                    short(&volume.id),
                    volume.segments_free,
                    volume.segments
                ));
            }
        }
    }
    if let Some(boot) = &known.boot {
        let missing = boot.missing.iter().map(|what| format!("missing: {what}"));
        alarms.extend(missing);
        alarms.extend(boot.alarms.iter().cloned());
        if !boot.differences.is_empty() {
            alarms.push(format!(
                "{} settings of the profile are not in effect: ringpostctl profile explain",
                boot.differences.len()
            ));
        }
    }
    alarms.extend(known.machine_alarms.iter().cloned());
    for nic in known.shape.nics.iter().filter(|nic| !nic.up) {
        alarms.push(format!("network card {} has no link", nic.name));
    }
    alarms
}

/// What grew since `before`, for each second. Without two answers of the daemon there are no rates.
fn rates(known: &Known, before: Option<&Known>) -> Rates {
    let (Some(before), Some(now)) = (before, &known.daemon) else {
        return Rates::default();
    };
    let Some(then) = &before.daemon else {
        return Rates::default();
    };
    let seconds = known.at_ms.saturating_sub(before.at_ms) as f64 / 1_000.0;
    if seconds <= 0.0 {
        return Rates::default();
    }
    // A daemon that was restarted counts from nothing: no rate is below zero.
    let each = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
    let accepted = |daemon: &Daemon| -> u64 {
        let services = daemon.status.services.iter();
        services.map(|service| service.accepted).sum()
    };
    Rates {
        messages: each(now.status.messages_accepted, then.status.messages_accepted),
        bytes: each(now.status.bytes_accepted, then.status.bytes_accepted),
        connections: each(accepted(now), accepted(then)),
    }
}

/// The first part of an identifier.
pub fn short(id: &str) -> String {
    id.chars().take(8).collect()
}
