//! Asking the daemon, and reading what the boot left.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Instant;

use admin::client;
use admin::reply::{Status, VolumeLine};
use admin::request::Request;
use boot::Report;
use plan::{Plan, Shape};
use serde_json::Value;

use crate::limits::{ANSWER_WITHIN, LOGO_BYTES_MAX, LOGO_LINES_MAX};

/// Everything that is known at one moment.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Seconds since the console started, in thousandths.
    pub at_ms: u64,
    /// What the boot found; `None` before it has ended.
    pub boot: Option<Report>,
    /// What the daemon printed when it ended.
    pub failed: Option<String>,
    /// `None`: no daemon answers.
    pub daemon: Option<Daemon>,
    /// The machine's addresses, with their interfaces.
    pub addresses: Vec<String>,
    /// What disks say that fail, and bonds that lost a member.
    pub machine_alarms: Vec<String>,
    /// Settings that wait for a confirmation, in a line.
    pub probation: Option<String>,
    /// Ways to disks that stand elsewhere.
    pub san: Vec<hardware::san::PathLine>,
    pub shape: Shape,
    /// The time of day, as the screen shows it.
    pub clock: String,
    /// Seconds since 1970.
    pub now: u64,
}

/// The daemon's part of what is known.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// What `ringpostctl status` shows.
    pub status: Status,
    /// What was planned for this machine.
    pub plan: Plan,
    pub volumes: Vec<VolumeLine>,
}

/// Name and logo of the brand.
#[derive(Debug, Clone)]
pub struct Brand {
    pub name: String,
    /// Lines of the logo, in characters that a console has.
    pub logo: Vec<String>,
}

/// `brand.toml`, as far as the console needs it.
#[derive(serde::Deserialize)]
struct BrandFile {
    name: String,
}

impl Brand {
    /// `usr/share/ringpost/brand.toml` and `logo.txt` below `root`; ours where they are missing.
    pub fn load(root: &Path) -> Brand {
        let directory = root.join("usr/share/ringpost");
        let text = fs::read_to_string(directory.join("brand.toml")).unwrap_or_default();
        let name = toml::from_str(&text).map_or("Ringpost".into(), |file: BrandFile| file.name);
        let logo = fs::read_to_string(directory.join("logo.txt")).unwrap_or_default();
        let logo = logo
            .lines()
            .take(LOGO_LINES_MAX)
            .map(|line| printable(line).chars().take(LOGO_BYTES_MAX).collect())
            .collect();
        Brand {
            name: printable(&name),
            logo,
        }
    }
}

/// Asks in a thread of its own, so that a daemon that hangs does not hang the screen.
pub struct Gatherer {
    /// The root of the file system; another folder in tests.
    root: PathBuf,
    /// The zero of `Known::at_ms`.
    began: Instant,
    /// The question under way: since when, and where its answer comes.
    waiting: Option<(Instant, Receiver<Option<Daemon>>)>,
    last: Option<Daemon>,
}

impl Gatherer {
    /// A gatherer that has asked nothing yet.
    pub fn new(root: &Path) -> Gatherer {
        Gatherer {
            root: root.to_owned(),
            began: Instant::now(),
            waiting: None,
            last: None,
        }
    }

    /// What is known now. The daemon's part is as old as its last answer, and gone when it answers no more.
    pub fn look(&mut self) -> Known {
        self.ask();
        let read = |path: &str| fs::read_to_string(self.root.join(path)).ok();
        let report = read(boot::report::PATH);
        Known {
            at_ms: self.began.elapsed().as_millis() as u64,
            boot: report.and_then(|text| serde_json::from_str(&text).ok()),
            failed: read("run/ringpost/failed").map(|text| printable(text.trim())),
            daemon: self.last.clone(),
            addresses: addresses(&self.root),
            machine_alarms: hardware::alarms(&self.root),
            probation: match boot::probation::told(&self.root) {
                Ok(told) => told.map(|told| told.line()),
                Err(misfit) => Some(misfit.to_string()),
            },
            // What cannot be read is among the alarms.
            san: hardware::san::wanted(&self.root)
                .map(|wanted| hardware::san::look(&self.root, &wanted))
                .unwrap_or_default(),
            shape: hardware::probe(&self.root),
            clock: plan::units::date(now()),
            now: now(),
        }
    }

    /// Takes the answer that came, and asks again. Never waits.
    fn ask(&mut self) {
        let answer = self
            .waiting
            .as_ref()
            .map(|(since, answer)| (*since, answer.try_recv()));
        match answer {
            Some((_, Ok(daemon))) => {
                self.last = daemon;
                self.waiting = None;
            }
            Some((_, Err(TryRecvError::Disconnected))) => {
                self.last = None;
                self.waiting = None;
            }
            Some((since, Err(TryRecvError::Empty))) => {
                if since.elapsed() > ANSWER_WITHIN {
                    self.last = None;
                }
                // One question at a time: a daemon that hangs is not asked in ever more threads.
                return;
            }
            None => {}
        }
        let (tell, answer) = channel();
        let socket = self.root.join("var/lib/ringpost/control.sock");
        std::thread::spawn(move || {
            let _ = tell.send(ask(&socket)); // the receiver is gone when the console ends
        });
        self.waiting = Some((Instant::now(), answer));
    }
}

/// `None`: no daemon answers, or one of another version.
fn ask(socket: &Path) -> Option<Daemon> {
    ask_by(|request| client::ask(socket, &request).ok())
}

fn ask_by(one: impl Fn(Request) -> Option<Value>) -> Option<Daemon> {
    let status: Status = serde_json::from_value(one(Request::Status)?).ok()?;
    // A node with storage nodes has no volume, and refuses to speak of one.
    let volumes = match status.storage_nodes.is_empty() && status.front.is_empty() {
        true => serde_json::from_value(one(Request::VolumeList)?).ok()?,
        false => Vec::new(),
    };
    Some(Daemon {
        status,
        plan: serde_json::from_value(one(Request::Plan)?).ok()?,
        volumes,
    })
}

/// The machine's addresses, without the loopback's and link-local ones.
pub fn addresses(root: &Path) -> Vec<String> {
    let trie = fs::read_to_string(root.join("proc/net/fib_trie")).unwrap_or_default();
    let mut found = Vec::new();
    let mut last = None;
    for line in trie.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(address) = last.take()
            && !address.is_loopback()
            && !found.contains(&address.to_string())
        {
            found.push(address.to_string());
        }
    }
    let six = fs::read_to_string(root.join("proc/net/if_inet6")).unwrap_or_default();
    for line in six.lines() {
        let digits = line.split_whitespace().next().unwrap_or_default();
        let Ok(bits) = u128::from_str_radix(digits, 16) else {
            continue;
        };
        let address = Ipv6Addr::from_bits(bits);
        if !address.is_loopback() && !address.is_unicast_link_local() {
            found.push(address.to_string());
        }
    }
    found
}

/// Seconds since 1970.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

/// What may stand on a screen: no control characters.
fn printable(text: &str) -> String {
    let keep = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use admin::reply::StorageNodeLine;

    #[test]
    fn a_node_without_storage_is_not_asked_for_its_volumes() {
        let shown = crate::draw::tests::daemon(3);
        let mut status = shown.status.clone();
        let plan = serde_json::to_value(&shown.plan).expect("a document");
        let ask = |status: &Status| {
            let status = serde_json::to_value(status).expect("a document");
            ask_by(|request| match request {
                Request::Status => Some(status.clone()),
                Request::Plan => Some(plan.clone()),
                _ => None,
            })
        };
        assert!(
            ask(&status).is_none(),
            "where there is one it must be known"
        );
        status.storage_nodes.push(StorageNodeLine {
            address: "192.0.2.7:2424".to_owned(),
            protocol: "lmtp".to_owned(),
            name: "storage1.example.org".to_owned(),
            up: true,
            failures: 0,
            why: String::new(),
            messages_taken: 1,
            messages_failed: 0,
        });
        assert!(ask(&status).expect("all is known").volumes.is_empty());
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let net = directory.path().join("proc/net");
        fs::create_dir_all(&net).expect("our own");
        fs::write(
            net.join("fib_trie"),
            "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.2.15\n        /32 host LOCAL\n     |-- 10.0.2.0\n        /24 link UNICAST\n     |-- 127.0.0.1\n        /32 host LOCAL\nLocal:\n     |-- 10.0.2.15\n        /32 host LOCAL\n",
        )
        .expect("our own");
        fs::write(
            net.join("if_inet6"),
            "00000000000000000000000000000001 01 80 10 80       lo\nfe800000000000005054000000123456 02 40 20 80     eth0\n20010db8000000000000000000000010 02 40 00 80     eth0\n",
        )
        .expect("our own");
        assert_eq!(addresses(directory.path()), ["10.0.2.15", "2001:db8::10"]);
    }
}
