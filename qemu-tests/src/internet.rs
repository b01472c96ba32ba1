//! Name service for guests: Debian's `knot` serves and signs zones that a story writes, `unbound` looks further and checks the signatures.
//! Both run on the host, on loopback ports; a guest reaches unbound at `GUEST_SEES`.
//!
//! What must hold: nothing of this asks the real Internet. The root is a zone of ours without names, so that whatever a guest looks up
//! beside the story's zones is answered at once: there is no such name.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bound;
use crate::failure::{Doing, Failure, Told, ensure};
use crate::pace;
use crate::tgt::GUEST_SEES;

/// A zone of a story.
pub struct Zone {
    /// Without a dot at its end.
    pub name: &'static str,
    /// Signed, and unbound has its key (DNSSEC).
    pub is_signed: bool,
    /// Lines of a zone file, without SOA and NS.
    pub records: String,
}

/// Where the name servers will be, and then are.
pub struct Internet {
    folder: tempfile::TempDir,
    /// Of knot.
    authority: u16,
    /// Of unbound.
    validator: u16,
    programs: Vec<Child>,
}

impl Internet {
    /// Chooses the ports, for settings of guests; nothing runs yet.
    pub fn new() -> Told<Internet> {
        for program in ["knotd", "keymgr", "unbound"] {
            installed(program)?;
        }
        Ok(Internet {
            folder: tempfile::tempdir().doing("a directory for zones")?,
            authority: free_port()?,
            validator: free_port()?,
            programs: Vec::new(),
        })
    }

    /// unbound's address for guests.
    pub fn guest_sees(&self) -> String {
        format!("{GUEST_SEES}:{}", self.validator)
    }

    /// Serves `zones`, and returns when both servers answer.
    pub fn serve(&mut self, zones: &[Zone]) -> Told<()> {
        let root = Zone {
            name: "",
            is_signed: false,
            records: String::new(),
        };
        let all = || zones.iter().chain([&root]);
        for zone in all() {
            let text = format!(
                "$ORIGIN {}.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 5\n@ NS ns\nns A 127.0.0.1\n{}\n",
                zone.name, zone.records
            );
            self.write(&zone.file(), &text)?;
        }
        let knot = self.write("knot.conf", &self.knot(all()))?;
        let mut command = bound::command(&installed("knotd")?.to_string_lossy());
        self.start(command.arg("-c").arg(&knot), "server started")?;
        let mut anchors = String::new();
        for zone in zones.iter().filter(|zone| zone.is_signed) {
            let mut command = Command::new(installed("keymgr")?);
            let output = command.arg("-c").arg(&knot).args([zone.name, "ds"]);
            let output = output.output().doing("keymgr")?;
            let keys = String::from_utf8_lossy(&output.stdout).into_owned();
            let anchor = keys.lines().next();
            let anchor =
                anchor.ok_or_else(|| Failure::new(format!("{}: knot made no key", zone.name)))?;
            anchors.push_str(&format!("  trust-anchor: \"{anchor}\"\n"));
        }
        let unbound = self.write("unbound.conf", &self.unbound(&anchors, all()))?;
        let mut command = bound::command(&installed("unbound")?.to_string_lossy());
        let command = command.arg("-d").arg("-c").arg(&unbound);
        self.start(command, "start of service")
    }

    fn knot<'z>(&self, zones: impl Iterator<Item = &'z Zone>) -> String {
        let folder = self.folder.path().display();
        let mut text = format!(
            "server:\n    listen: 127.0.0.1@{}\n    rundir: {folder}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
             log:\n  - target: stderr\n    any: info\ndatabase:\n    storage: {folder}\nzone:\n",
            self.authority
        );
        for zone in zones {
            let signing = if zone.is_signed { "on" } else { "off" };
            text.push_str(&format!(
                "  - domain: {}.\n    file: {folder}/{}\n    zonefile-sync: -1\n    dnssec-signing: {signing}\n",
                zone.name,
                zone.file()
            ));
        }
        text
    }

    fn unbound<'z>(&self, anchors: &str, zones: impl Iterator<Item = &'z Zone>) -> String {
        let folder = self.folder.path().display();
        let mut text = format!(
            "server:\n  interface: 127.0.0.1\n  port: {}\n  directory: {folder}\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  \
             use-syslog: no\n  do-daemonize: no\n  do-not-query-localhost: no\n  do-ip6: no\n  num-threads: 1\n  \
             unblock-lan-zones: yes\n  insecure-lan-zones: yes\n  module-config: \"validator iterator\"\n{anchors}\
             remote-control:\n  control-enable: no\n",
            self.validator
        );
        for zone in zones {
            text.push_str(&format!(
                "stub-zone:\n  name: \"{}.\"\n  stub-addr: 127.0.0.1@{}\n",
                zone.name, self.authority
            ));
        }
        text
    }

    fn write(&self, name: &str, text: &str) -> Told<PathBuf> {
        let path = self.folder.path().join(name);
        fs::write(&path, text).doing(path.display())?;
        Ok(path)
    }

    /// Starts a program, and waits until it reports `ready`.
    fn start(&mut self, command: &mut Command, ready: &str) -> Told<()> {
        let name = format!("log-{}", self.programs.len());
        let path = self.folder.path().join(name);
        let log = File::create(&path).doing(path.display())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .doing("a name server")?;
        self.programs.push(child);
        let within = pace::stretched(UP_WITHIN);
        let end = Instant::now() + within;
        loop {
            // until it is ready or `end`
            let said = fs::read_to_string(&path).unwrap_or_default();
            if said.contains(ready) {
                return Ok(());
            }
            ensure(Instant::now() < end, || {
                format!(
                    "a name server is not up within {} s:\n{said}",
                    within.as_secs()
                )
            })?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

impl Zone {
    fn file(&self) -> String {
        format!("zone-{}", self.name)
    }
}

/// From the start of a server to its first word that it serves.
const UP_WITHIN: Duration = Duration::from_secs(20);

/// Administrators' programs are not on everyone's path.
fn installed(name: &str) -> Told<PathBuf> {
    ["/usr/local/sbin", "/usr/sbin", "/sbin"]
        .map(|folder| Path::new(folder).join(name))
        .into_iter()
        .find(|program| program.is_file())
        .ok_or_else(|| {
            Failure::new(format!(
                "{name} is not here: `cargo xtask setup` installs Debian's packages knot and unbound"
            ))
        })
}

/// Free for TCP and for UDP.
fn free_port() -> Told<u16> {
    for _ in 0..100 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).doing("looking for a free port")?;
        let address = udp.local_addr().doing("looking for a free port")?;
        if TcpListener::bind(address).is_ok() {
            return Ok(address.port());
        }
    }
    Err(Failure::new("no port is free for TCP and for UDP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_and_each_zone_are_served_and_asked_for() {
        let Ok(internet) = Internet::new() else {
            eprintln!("omitted: knot or unbound is not installed");
            return;
        };
        let zone = |name, is_signed| Zone {
            name,
            is_signed,
            records: String::new(),
        };
        let zones = [zone("there.example", true), zone("", false)];
        let knot = internet.knot(zones.iter());
        assert!(knot.contains("domain: there.example.\n") && knot.contains("domain: .\n"));
        assert_eq!(knot.matches("dnssec-signing: on").count(), 1);
        let unbound = internet.unbound("", zones.iter());
        assert!(
            unbound.contains("name: \"there.example.\"\n") && unbound.contains("name: \".\"\n")
        );
    }
}
