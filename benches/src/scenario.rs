//! What `cargo xtask bench` measures, by name. Each scenario prints its figures as it goes; where ours is compared, the
//! servers take turns in the same run and the ratio is between medians.

mod accept;
mod commit;
mod filters;
mod lists;
mod mailbox;
mod memory;
mod outbound;
mod restart;

use std::io;
use std::path::{Path, PathBuf};

use crate::figures::Sheet;
use crate::peers::Running;
use crate::process::{self, Disk, Usage};

/// How to measure.
pub struct Setting {
    /// Where servers keep their state: on the disk that is measured. Emptied before each start.
    pub root: PathBuf,
    pub rounds: usize,
    /// Smaller numbers everywhere: shows that the bench works, and the order of magnitude.
    pub quick: bool,
    /// Leave ours out: a baseline of the peers alone (in `accept`, `fetch` and `select`).
    pub peers_only: bool,
}

impl Setting {
    /// An empty directory for one server.
    fn fresh(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.root.join(name);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    fn scaled(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }
}

pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub run: fn(&Setting, &mut Sheet) -> io::Result<()>,
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "accept",
        about: "durable acceptance, ours against Postfix, Postfix + Dovecot and a sink",
        run: accept::compare,
    },
    Scenario {
        name: "device",
        about: "device writes and bytes per message, 64 senders",
        run: accept::device,
    },
    Scenario {
        name: "commit",
        about: "the commit path alone against fio",
        run: commit::compare,
    },
    Scenario {
        name: "fetch",
        about: "FETCH of whole messages, ours against Dovecot",
        run: mailbox::fetch,
    },
    Scenario {
        name: "select",
        about: "SELECT of a large mailbox, ours against Dovecot",
        run: mailbox::select,
    },
    Scenario {
        name: "lists",
        about: "lists and searches of a mailbox of 10,000 messages, ours against Dovecot",
        run: lists::compare,
    },
    Scenario {
        name: "idle",
        about: "memory of idle IMAP connections, plain and TLS",
        run: memory::idle,
    },
    Scenario {
        name: "restart",
        about: "kill -9, then time to READY",
        run: restart::after_kill,
    },
    Scenario {
        name: "overload",
        about: "memory under ten times the load",
        run: memory::overload,
    },
    Scenario {
        name: "sessions",
        about: "a connection for each message, ours against Postfix",
        run: accept::sessions,
    },
    Scenario {
        name: "filters",
        about: "acceptance with SPF, DKIM, DMARC and two DNSBLs, ours against Postfix with opendkim, opendmarc and policyd-spf",
        run: filters::compare,
    },
    Scenario {
        name: "outbound",
        about: "submitted and sent on over 20 connections, ours against Postfix",
        run: outbound::compare,
    },
    Scenario {
        name: "dead",
        about: "sending beside a queue full of mail for dead destinations",
        run: outbound::dead,
    },
    Scenario {
        name: "connections",
        about: "memory of open SMTP connections, and what slow senders cost the others",
        run: memory::connections,
    },
];

/// What a server has used since `begin`.
struct Meter {
    pids: Vec<u32>,
    usage: Usage,
    disk_path: PathBuf,
    disk: Disk,
}

impl Meter {
    fn begin(server: &Running, extra: &[u32], disk_path: &Path) -> Meter {
        let mut pids = server.pids();
        pids.extend_from_slice(extra);
        Meter {
            usage: process::usage(&pids),
            pids,
            disk: process::disk(disk_path),
            disk_path: disk_path.to_path_buf(),
        }
    }

    fn end(&self) -> (Usage, Disk) {
        (
            process::usage(&self.pids) - self.usage,
            process::disk(&self.disk_path) - self.disk,
        )
    }
}
