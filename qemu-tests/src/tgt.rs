//! An iSCSI target on the host: Debian's `tgt`, a program like any other, on a loopback port that guests reach as `GUEST_SEES`.
//!
//! It answers orders from root only; whoever is not root runs it and its tool in user namespaces of their own, where they are.
//! Killed, it is what a storage head that lost its power is to the guest; its data stay in their file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bound;
use crate::failure::{Doing, Failure, Told, ensure};
use crate::keep;
use crate::ports;

/// The host's loopback, from inside QEMU's user network.
pub const GUEST_SEES: &str = "10.0.2.2";
/// The target's name.
pub const TARGET: &str = "iqn.2026-11.org.example:leg-b";
/// The name of the box.
pub const INITIATOR: &str = "iqn.2026-11.org.example:box";
/// CHAP: the name of the box.
pub const USER: &str = "box";
/// CHAP: its secret.
pub const SECRET: &str = "open-sesame-1";
/// What udev calls the target's first unit: `tgt` makes its identifier of the numbers of target and unit.
pub const LEG: &str = "/dev/disk/by-id/scsi-360000000000000000e00000000010001";
/// The same, when several paths are joined.
pub const MAP: &str = "/dev/disk/by-id/dm-uuid-mpath-360000000000000000e00000000010001";

/// A `tgtd` on the host.
pub struct Tgt {
    /// Its socket and its file.
    directory: PathBuf,
    /// Where it listens; each is a path.
    pub ports: Vec<u16>,
    /// `None`: it was killed.
    child: Option<Child>,
}

impl Tgt {
    /// A target with one blank unit of `bytes`, with `paths` doors.
    pub fn start(directory: &Path, bytes: u64, paths: usize) -> Told<Tgt> {
        let directory = directory.join("tgt");
        fs::create_dir_all(&directory).doing(directory.display())?;
        keep::blank(&directory.join(DISK), bytes)?;
        let free = ports::allocate(1, &vec![0; paths])?;
        let mut tgt = Tgt {
            directory,
            ports: free.iter().flatten().map(|forward| forward.host).collect(),
            child: None,
        };
        tgt.back()?;
        Ok(tgt)
    }

    /// Gone in the middle of whatever it was doing.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// It says nothing any more and hangs up on nobody.
    pub fn hang(&self) -> Told<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// It goes on where it hung.
    pub fn go_on(&self) -> Told<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Sends a signal to the process.
    fn signal(&self, signal: Signal) -> Told<()> {
        let child = self.child.as_ref().expect("it runs");
        kill(Pid::from_raw(child.id() as i32), signal).doing(format!("{signal} to tgtd"))
    }

    /// Here again, with what it had.
    pub fn back(&mut self) -> Told<()> {
        assert!(self.child.is_none(), "one target at a time");
        let log = File::create(self.directory.join("log")).doing("the target's log")?;
        let mut words = as_root();
        words.extend(["tgtd".into(), "-f".into(), "-C".into(), CONTROL.into()]);
        let portals: Vec<String> = self
            .ports
            .iter()
            .map(|port| format!("portal=127.0.0.1:{port}"))
            .collect();
        words.extend(["--iscsi".into(), portals.join(",")]);
        let (program, arguments) = words.split_first().expect("not empty");
        let child = bound::command(program)
            .args(arguments)
            .env("TGT_IPC_SOCKET", self.directory.join("s"))
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(log.try_clone().doing("the target's log")?)
            .stderr(log)
            .spawn()
            .doing("tgtd (`cargo xtask setup` installs it)")?;
        self.child = Some(child);
        let end = Instant::now() + UP_WITHIN;
        while self.order("--mode system --op show").is_err() {
            ensure(Instant::now() < end, || {
                let log = fs::read_to_string(self.directory.join("log"));
                format!("tgtd does not answer: {}", log.unwrap_or_default())
            })?;
            std::thread::sleep(Duration::from_millis(50));
        }
        let disk = self.directory.join(DISK);
        self.order(&format!("--mode target --op new --tid 1 -T {TARGET}"))?;
        for digest in ["HeaderDigest", "DataDigest"] {
            self.order(&format!(
                "--mode target --op update --tid 1 --name {digest} --value CRC32C"
            ))?;
        }
        self.order(&format!(
            "--mode account --op new --user {USER} --password {SECRET}"
        ))?;
        self.order(&format!("--mode account --op bind --tid 1 --user {USER}"))?;
        self.order(&format!(
            "--mode logicalunit --op new --tid 1 --lun 1 -b {}",
            disk.display()
        ))?;
        // Last: nobody gets in before it is whole.
        self.order("--mode target --op bind --tid 1 -I ALL")
    }

    fn order(&self, words: &str) -> Told<()> {
        let mut line = as_root();
        line.extend(["tgtadm", "-C", CONTROL, "--lld", "iscsi"].map(String::from));
        line.extend(words.split(' ').map(String::from));
        let (program, arguments) = line.split_first().expect("not empty");
        let output = Command::new(program)
            .args(arguments)
            .env("TGT_IPC_SOCKET", self.directory.join("s"))
            .env("PATH", PATH)
            .output()
            .doing("tgtadm")?;
        ensure(output.status.success(), || {
            format!(
                "tgtadm {words}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )
        })
    }

    /// `[[san]]` that leads to it.
    pub fn settings(&self, leg: &str) -> String {
        let addresses: Vec<String> = self
            .ports
            .iter()
            .map(|port| format!("\"{GUEST_SEES}:{port}\""))
            .collect();
        format!(
            "[[san]]\nkind = \"iscsi\"\ntarget = \"{TARGET}\"\nhost = \"{INITIATOR}\"\naddress = [{}]\nuser = \"{USER}\"\nsecret = \"{SECRET}\"\nlegs = [\"{leg}\"]\n",
            addresses.join(", ")
        )
    }
}

impl Drop for Tgt {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Words before a program that must be root.
fn as_root() -> Vec<String> {
    match nix::unistd::geteuid().is_root() {
        true => Vec::new(),
        false => ["unshare", "--user", "--map-root-user"]
            .map(String::from)
            .into(),
    }
}

/// The file of the unit.
const DISK: &str = "leg-b.raw";
/// The number of its control socket; the directory is ours alone.
const CONTROL: &str = "1";
/// It lies in a directory of the administrator's.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
/// From the start of the process to its first answer.
const UP_WITHIN: Duration = Duration::from_secs(10);

/// Whether it is there at all.
pub fn is_installed() -> Told<()> {
    let there = PATH
        .split(':')
        .any(|directory| Path::new(directory).join("tgtd").exists());
    match there {
        true => Ok(()),
        false => Err(Failure::new(
            "tgtd is not here: `cargo xtask setup` installs Debian's package tgt",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[test]
    fn a_target_that_was_killed_comes_back_at_the_same_door() {
        if is_installed().is_err() {
            eprintln!("omitted: tgt is not installed");
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let mut tgt = Tgt::start(directory.path(), 1 << 20, 2).expect("a target");
        let is_open = |port: u16| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        assert!(tgt.ports.iter().all(|port| is_open(*port)));
        tgt.kill();
        assert!(!tgt.ports.iter().any(|port| is_open(*port)));
        tgt.back().expect("again");
        assert!(tgt.ports.iter().all(|port| is_open(*port)));
    }
}
