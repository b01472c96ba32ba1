//! A name server with records of our own (unbound, Debian's package), on port 53 of a network of the bench's own. The same one serves every mail server.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Running, spawn, wait_for};
use crate::network::RESOLVER;

/// A zone; every name in it that has no record does not exist.
pub struct Zone<'a> {
    pub name: &'a str,
    /// Every name in the zone has the zone's own records.
    pub is_same_everywhere: bool,
    /// In the form of a zone file, names in full.
    pub records: &'a [String],
}

/// Starts it and waits until it answers.
pub fn start(directory: &Path, zones: &[Zone<'_>]) -> io::Result<Running> {
    let mut settings = format!(
        "server:\n  interface: {RESOLVER}\n  port: 53\n  directory: {}\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  do-daemonize: no\n  \
         do-ip6: no\n  num-threads: 1\n  module-config: \"iterator\"\n",
        directory.display()
    );
    for zone in zones {
        let kind = if zone.is_same_everywhere {
            "redirect"
        } else {
            "static"
        };
        settings.push_str(&format!("  local-zone: \"{}.\" {kind}\n", zone.name));
        for record in zone.records {
            settings.push_str(&format!("  local-data: '{record}'\n"));
        }
    }
    settings.push_str("remote-control:\n  control-enable: no\n");
    let path = directory.join("unbound.conf");
    fs::write(&path, settings)?;
    let log = directory.join("unbound.log");
    let mut command = Command::new("unbound");
    command.arg("-d").arg("-c").arg(path);
    let mut child = spawn(&mut command, &log)?;
    let address = SocketAddr::from((RESOLVER, 53));
    let ready = wait_for(&[address], &mut child, &log);
    let running = Running::of(child, directory);
    ready.map(|()| running)
}
