//! What Postfix asks about a stranger's message: opendkim and opendmarc as milters, policyd-spf as a policy service that Postfix starts itself
//! (`postfix.rs`). Debian's packages with the least that they need to check and to write their results down.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Running, free_address, spawn, wait_for};
use crate::network::RESOLVER;

/// In `Authentication-Results`.
pub const AUTHORITY: &str = "mx.example.org";

/// The milters of a running Postfix, in the order in which they are asked.
pub struct Milters {
    pub opendkim: SocketAddr,
    pub opendmarc: SocketAddr,
    pub running: [Running; 2],
}

/// Starts both.
pub fn start(directory: &Path) -> io::Result<Milters> {
    let (opendkim, opendmarc) = (free_address()?, free_address()?);
    let internal_hosts = directory.join("no-hosts");
    fs::write(&internal_hosts, "192.0.2.254\n")?;
    let settings = format!(
        "Mode v\nSocket inet:{}@{}\nUserID root\nBackground no\nAuthservID {AUTHORITY}\nAlwaysAddARHeader yes\nInternalHosts {}\nNameservers {RESOLVER}\n",
        opendkim.port(),
        opendkim.ip(),
        internal_hosts.display(),
    );
    let path = directory.join("opendkim.conf");
    fs::write(&path, settings)?;
    let mut command = Command::new("opendkim");
    command.arg("-f").arg("-x").arg(path);
    let first = running(directory, "opendkim", command, opendkim)?;
    let settings = format!(
        "Socket inet:{}@{}\nUserID root\nBackground false\nAuthservID {AUTHORITY}\nTrustedAuthservIDs {AUTHORITY}\nRejectFailures true\nSoftwareHeader false\n",
        opendmarc.port(),
        opendmarc.ip(),
    );
    let path = directory.join("opendmarc.conf");
    fs::write(&path, settings)?;
    let mut command = Command::new("opendmarc");
    command.arg("-f").arg("-c").arg(path);
    let second = running(directory, "opendmarc", command, opendmarc)?;
    Ok(Milters {
        opendkim,
        opendmarc,
        running: [first, second],
    })
}

fn running(
    directory: &Path,
    name: &str,
    mut command: Command,
    address: SocketAddr,
) -> io::Result<Running> {
    let log = directory.join(format!("{name}.log"));
    let mut child = spawn(&mut command, &log)?;
    let ready = wait_for(&[address], &mut child, &log);
    let running = Running::of(child, directory);
    ready.map(|()| running)
}
