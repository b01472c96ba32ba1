//! What a plan is made of: its threads, its listeners, its storage.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::profile::RingFlags;

/// What a thread runs. The fourth zone of the design, intelligence, has no work yet and no thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Zone {
    Storage,
    Inbound,
    Client,
}

/// One pinned thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorePlan {
    pub name: String,
    pub cpu: Option<usize>,
    pub zones: Vec<Zone>,
}

/// What listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    Smtp,
    Lmtp,
    Submission,
    Submissions,
    Imap,
    Imaps,
    Pop3,
    Pop3s,
    Managesieve,
    Http,
    Https,
    Policy,
    /// Answers to an authority that asks whether a name is ours (ACME).
    Challenge,
    /// For nodes of the inbound zone.
    ZoneLmtp,
    ZoneSmtp,
    ZoneQmqp,
    Recipients,
    /// For fronts.
    ZoneClient,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerPlan {
    pub service: Service,
    pub addresses: Vec<SocketAddr>,
    /// Over all cores and addresses of the service.
    pub connections_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoragePlan {
    pub legs: Vec<PathBuf>,
    pub leg_bytes: u64,
    pub create: bool,
    /// For a volume that is made now; an existing one keeps its own.
    pub segment_bytes: u64,
    pub hard_deadline_us: u64,
    pub batches_in_flight: usize,
    pub batch_buffers: usize,
    /// The best io_uring flags to try.
    pub ring: RingFlags,
    pub compression: i32,
    pub projection_cache_bytes: u64,
    pub mailbox_cache_bytes: u64,
    pub checkpoint_groups: u64,
    pub checkpoint_bytes: u64,
    pub checkpoint_us: u64,
}

impl Service {
    pub const ALL: [Service; 18] = [
        Service::Smtp,
        Service::Lmtp,
        Service::Submission,
        Service::Submissions,
        Service::Imap,
        Service::Imaps,
        Service::Pop3,
        Service::Pop3s,
        Service::Managesieve,
        Service::Http,
        Service::Https,
        Service::Policy,
        Service::Challenge,
        Service::ZoneLmtp,
        Service::ZoneSmtp,
        Service::ZoneQmqp,
        Service::Recipients,
        Service::ZoneClient,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Service::Smtp => "smtp",
            Service::Lmtp => "lmtp",
            Service::Submission => "submission",
            Service::Submissions => "submissions",
            Service::Imap => "imap",
            Service::Imaps => "imaps",
            Service::Pop3 => "pop3",
            Service::Pop3s => "pop3s",
            Service::Managesieve => "managesieve",
            Service::Http => "http",
            Service::Https => "https",
            Service::Policy => "policy",
            Service::Challenge => "challenge",
            Service::ZoneLmtp => "zone_lmtp",
            Service::ZoneSmtp => "zone_smtp",
            Service::ZoneQmqp => "zone_qmqp",
            Service::Recipients => "recipients",
            Service::ZoneClient => "zone_client",
        }
    }

    /// The zone whose threads serve it; `None`: the administration's thread.
    pub fn zone(self) -> Option<Zone> {
        match self {
            Service::Smtp => Some(Zone::Inbound),
            // LMTP is a door of the storage zone for other machines; its sessions run beside SMTP's.
            Service::Lmtp => Some(Zone::Inbound),
            Service::Submission
            | Service::Submissions
            | Service::Imap
            | Service::Imaps
            | Service::Pop3
            | Service::Pop3s
            | Service::Managesieve
            | Service::ZoneClient => Some(Zone::Client),
            Service::ZoneLmtp | Service::ZoneSmtp | Service::ZoneQmqp | Service::Recipients => {
                Some(Zone::Storage)
            }
            Service::Http | Service::Https | Service::Policy | Service::Challenge => None,
        }
    }
}

impl Zone {
    pub const ALL: [Zone; 3] = [Zone::Storage, Zone::Inbound, Zone::Client];

    pub fn name(self) -> &'static str {
        match self {
            Zone::Storage => "storage",
            Zone::Inbound => "inbound",
            Zone::Client => "client",
        }
    }
}

impl CorePlan {
    /// The thread's name as the kernel keeps it: 15 bytes of its zones' names.
    pub fn thread_name(&self) -> String {
        let names: Vec<&str> = self.zones.iter().map(|zone| zone.name()).collect();
        names.join("+").chars().take(15).collect()
    }
}

/// Some sixty segments at least, so that reclaim has something to choose from and the reserve stays small; large legs
/// have the usual 64 MiB (DESIGN.md A3).
pub(crate) fn segment_bytes(leg_bytes: u64) -> u64 {
    let part = (leg_bytes / 64).max(1);
    (1 << part.ilog2()).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
}
