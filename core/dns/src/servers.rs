//! Which name servers are asked: those of the settings, or those that the box was given, which may change while we run.

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use crate::limits::{LOOK_AGAIN, SERVERS_MAX};

const PORT: u16 = 53;

/// The name servers, in the order they are tried.
pub struct Servers {
    source: Source,
}

enum Source {
    Fixed(Vec<SocketAddr>),
    File(PathBuf, RefCell<Seen>),
}

/// What a file said when it was looked at last.
struct Seen {
    looked: Option<Instant>,
    /// The file's time of change and size.
    stamp: Option<(SystemTime, u64)>,
    servers: Vec<SocketAddr>,
}

impl Servers {
    /// These; of more than `limits::SERVERS_MAX` the first ones.
    pub fn fixed(mut servers: Vec<SocketAddr>) -> Servers {
        servers.truncate(SERVERS_MAX);
        Servers {
            source: Source::Fixed(servers),
        }
    }

    /// Those of the box: `/etc/resolv.conf`, read again when it changes.
    pub fn of_box() -> Servers {
        Servers::of_file(Path::new("/etc/resolv.conf"))
    }

    /// Those that `file` names in the form of resolv.conf(5), read again when it changes. While it names none the box itself is asked.
    pub fn of_file(file: &Path) -> Servers {
        let seen = Seen {
            looked: None,
            stamp: None,
            servers: vec![own()],
        };
        Servers {
            source: Source::File(file.to_owned(), RefCell::new(seen)),
        }
    }

    /// Those to ask at `now`.
    pub(crate) fn at(&self, now: Instant) -> Vec<SocketAddr> {
        match &self.source {
            Source::Fixed(servers) => servers.clone(),
            Source::File(file, seen) => {
                let mut seen = seen.borrow_mut();
                seen.look(file, now);
                seen.servers.clone()
            }
        }
    }
}

impl Seen {
    fn look(&mut self, file: &Path, now: Instant) {
        if self.looked.is_some_and(|looked| now < looked + LOOK_AGAIN) {
            return;
        }
        self.looked = Some(now);
        let stamp = std::fs::metadata(file)
            .and_then(|facts| Ok((facts.modified()?, facts.len())))
            .ok();
        if stamp == self.stamp {
            return;
        }
        // A file that cannot be read now says nothing about the servers: those that were known stay.
        let Ok(text) = std::fs::read_to_string(file) else {
            return;
        };
        self.stamp = stamp;
        self.servers = parse(&text);
        if self.servers.is_empty() {
            self.servers.push(own());
        }
        tracing::info!(file = %file.display(), servers = ?self.servers, "name servers");
    }
}

fn own() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, PORT).into()
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver"))
            .then(|| words.next())
            .flatten()
    });
    servers.filter_map(server).take(SERVERS_MAX).collect()
}

/// `192.0.2.1`, `2001:db8::1`, `fe80::1%eth0`.
fn server(word: &str) -> Option<SocketAddr> {
    if let Some((address, link)) = word.split_once('%') {
        let address: Ipv6Addr = address.parse().ok()?;
        let scope = link.parse().ok().or_else(|| link_index(link))?;
        return Some(SocketAddrV6::new(address, PORT, 0, scope).into());
    }
    Some(SocketAddr::new(word.parse().ok()?, PORT))
}

fn link_index(link: &str) -> Option<u32> {
    if link.contains('/') {
        return None;
    }
    let text = std::fs::read_to_string(format!("/sys/class/net/{link}/ifindex")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_at_most_three_servers() {
        let text = "# ours\ndomain example.org\nsearch example.org\n nameserver 192.0.2.1 \n\
            nameserver\nnameserver none\nnameserver 2001:db8::1\nnameserver fe80::1%7\nnameserver fe80::1%../x\n\
            options ndots:5\nnameserver fe80::1%lo\nnameserver 192.0.2.3\n";
        let found: Vec<String> = parse(text).iter().map(SocketAddr::to_string).collect();
        assert_eq!(
            found,
            ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%7]:53"]
        );
        assert_eq!(
            server("fe80::1%lo").map(|at| at.to_string()).as_deref(),
            Some("[fe80::1%1]:53")
        );
    }

    #[test]
    fn a_file_that_changes_is_read_again_and_one_that_vanishes_is_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("resolv.conf");
        let servers = Servers::of_file(&file);
        let mut now = Instant::now();
        let address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
        assert_eq!(servers.at(now), [own()]);
        std::fs::write(&file, "nameserver 192.0.2.1\n").expect("it is ours");
        assert_eq!(servers.at(now), [own()], "not looked at again yet");
        now += LOOK_AGAIN;
        assert_eq!(servers.at(now), [address("192.0.2.1:53")]);
        std::fs::remove_file(&file).expect("it is ours");
        now += LOOK_AGAIN;
        assert_eq!(servers.at(now), [address("192.0.2.1:53")]);
        std::fs::write(&file, "nameserver 192.0.2.22\n").expect("it is ours");
        now += LOOK_AGAIN;
        assert_eq!(servers.at(now), [address("192.0.2.22:53")]);
        std::fs::write(&file, "\n").expect("it is ours");
        now += LOOK_AGAIN;
        assert_eq!(servers.at(now), [own()]);
    }
}
