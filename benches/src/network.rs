//! A network of our own: where name servers have port 53, mail servers port 25, and senders an address that is not loopback's, without touching the machine's
//! network. Needs root, as Postfix does.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use crate::peers::run_quietly;

/// Where every program in the network asks for names.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Runs `work` on a thread in a network of its own that has loopback and `addresses`, with `/etc/resolv.conf` naming `RESOLVER`. What `work` starts is in the
/// same network. The network is gone with the last of its processes.
pub fn apart<T: Send>(
    directory: &Path,
    addresses: &[Ipv4Addr],
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(directory, addresses)?;
            work()
        });
        thread
            .join()
            .map_err(|_| io::Error::other("the thread with a network of its own stopped"))?
    })
}

fn enter(directory: &Path, addresses: &[Ipv4Addr]) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    run_quietly(Command::new("mount").args(["--make-rprivate", "/"]))?;
    let names = directory.join("resolv.conf");
    fs::write(&names, format!("nameserver {RESOLVER}\n"))?;
    run_quietly(
        Command::new("mount")
            .arg("--bind")
            .arg(&names)
            .arg("/etc/resolv.conf"),
    )?;
    run_quietly(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    for address in addresses {
        let address = format!("{address}/32");
        run_quietly(Command::new("ip").args(["address", "add", &address, "dev", "lo"]))?;
    }
    Ok(())
}
