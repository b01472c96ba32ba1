//! A running QEMU: started from a shape, waited for, harmed, and killed when dropped.
//!
//! The run's directory belongs to the `Site`, not to the guest: a power cut kills the guest and leaves the disks, and the
//! next guest on the same site is the same machine after the cut.

mod site;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bound;
use crate::failure::{Doing, Failure, Told};
use crate::harm;
use crate::limits::{BOOT_CPU_MAX, BOOT_MAX, IDLE_FOR, IDLE_SHARE, SOCKETS_WITHIN};
use crate::pace;
use crate::ports::{self, Forward};
use crate::qmp::Qmp;
use crate::serial::{Kind, Mark, READY, Serial, Vain};
use crate::shape::{Boot, Disk, Fault, Setting, blkdebug};

pub use site::Site;

/// The machine emulator, as Debian names it.
pub const QEMU: &str = "qemu-system-x86_64";

/// Where Debian's `ovmf` keeps its firmware: code, and the variables a new machine has.
const FIRMWARE: (&str, &str) = (
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_VARS_4M.fd",
);
/// The firmware code that verifies signatures of what it starts.
const FIRMWARE_SECURE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";

/// What every guest offers.
pub const SMTP: u16 = 25;
/// The administration's HTTP port.
pub const HTTP: u16 = 80;
/// IMAP with STARTTLS.
pub const IMAP: u16 = 143;
/// The administration's HTTPS port.
pub const HTTPS: u16 = 443;
/// Submission with TLS from the first byte.
pub const SUBMISSIONS: u16 = 465;
/// IMAP with TLS from the first byte.
pub const IMAPS: u16 = 993;
/// Every port that is forwarded from the host to the guest.
const SERVICES: &[u16] = &[
    SMTP,
    HTTP,
    IMAP,
    HTTPS,
    SUBMISSIONS,
    IMAPS,
    harm::ENGINE_HANGS,
    harm::KERNEL_HANGS,
];

/// A QEMU process.
pub struct Guest {
    /// QEMU itself.
    child: Child,
    /// `swtpm`, where the shape has a TPM.
    tpm: Option<Child>,
    /// QEMU's control channel.
    pub qmp: Qmp,
    /// What the guest writes to its serial line.
    pub serial: Serial,
    /// By NIC.
    forwards: Vec<Vec<Forward>>,
    /// The sockets of this QEMU: their paths must be short.
    _sockets: tempfile::TempDir,
    /// Power-on, or the last reset that was asked for.
    pub begin: Mark,
    /// The same moment on the host's clock.
    began: Instant,
    /// CPU time that QEMU had used by then.
    cpu_before: Duration,
    /// The file that keeps the serial line of this run.
    log: PathBuf,
}

/// How a boot went.
#[derive(Debug, Clone, Copy)]
pub struct Booted {
    pub wall: Duration,
    /// Time that QEMU's threads ran meanwhile: comparable between loaded and idle machines.
    pub cpu: Duration,
}

impl Guest {
    /// Switches the machine on. Returns as soon as QMP answers; nothing has booted yet.
    pub fn start(site: &Site) -> Told<Guest> {
        site.write_credentials()?;
        let sockets = tempfile::Builder::new()
            .prefix("ringpost-qemu")
            .tempdir()
            .doing("a directory for sockets")?;
        let forwards = ports::allocate(site.shape.nics.len(), SERVICES)?;
        let secure = matches!(site.boot, Boot::Disk { secure: true });
        let setting = Setting {
            sockets: sockets.path(),
            firmware: Path::new(if secure { FIRMWARE_SECURE } else { FIRMWARE.0 }),
            accel: site.accel,
            boot: &site.boot,
            forwards: &forwards,
        };
        let arguments = site.shape.arguments(&setting);
        let directory = site.keep.path();
        let _ = fs::write(
            directory.join("command"),
            format!("{QEMU} {}\n", arguments.join(" ")),
        );
        let tpm = match site.shape.tpm {
            true => Some(start_tpm(directory, sockets.path())?),
            false => None,
        };
        let words = directory.join("qemu.log");
        let output = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&words)
            .doing(words.display())?;
        let mut child = bound::command(QEMU)
            .args(&arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .doing(format!("{QEMU} (`cargo xtask setup` installs it)"))?;
        let connected = connect(&mut child, sockets.path()).map_err(|failure| {
            let said = fs::read_to_string(&words).unwrap_or_default();
            Failure::new(format!("{failure}; QEMU printed: {}", said.trim()))
        });
        let (serial, qmp) = match connected {
            Ok(both) => both,
            Err(failure) => {
                end(&mut child);
                if let Some(mut tpm) = tpm {
                    end(&mut tpm);
                }
                return Err(failure);
            }
        };
        Ok(Guest {
            child,
            tpm,
            qmp,
            begin: serial.mark(),
            serial,
            forwards,
            _sockets: sockets,
            began: Instant::now(),
            cpu_before: Duration::ZERO,
            log: directory.join("serial.log"),
        })
    }

    /// Starts and waits for READY. Early trouble of multi-threaded TCG (an Oops of a kernel that patches itself) is
    /// answered with one more try, and said so; anything else is a failure at once.
    pub fn boot(site: &Site) -> Told<Guest> {
        Guest::start(site)?.booted(site)
    }

    /// The second half of `boot`.
    pub fn booted(mut self, site: &Site) -> Told<Guest> {
        match self.ready() {
            Ok(_) => Ok(self),
            Err(failure) if failure.retry => {
                eprintln!("once more: {failure}");
                drop(self);
                let mut guest = Guest::start(site)?;
                guest.ready()?;
                Ok(guest)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Waits for READY since the last power-on or reset.
    pub fn ready(&mut self) -> Told<Booted> {
        self.wait(READY, &[], BOOT_MAX)?;
        let booted = Booted {
            wall: self.began.elapsed(),
            cpu: self.cpu_of_boot(),
        };
        pace::measured(booted.wall);
        eprintln!(
            "READY after {:.0} s ({:.0} s of the emulator's CPU time)",
            booted.wall.as_secs_f64(),
            booted.cpu.as_secs_f64()
        );
        Ok(booted)
    }

    /// CPU time that this boot has taken so far.
    fn cpu_of_boot(&self) -> Duration {
        self.cpu().saturating_sub(self.cpu_before)
    }

    /// Waits until the guest has said `text` since the last power-on or reset. Trouble on the serial line, the end of QEMU, and a
    /// guest that does nothing any more end the wait early.
    pub fn wait(&mut self, text: &str, expected: &[Kind], within: Duration) -> Told<()> {
        self.wait_since(self.begin, text, expected, within)
    }

    /// As `wait`, for what was said since `mark`.
    pub fn wait_since(
        &mut self,
        mark: Mark,
        text: &str,
        expected: &[Kind],
        within: Duration,
    ) -> Told<()> {
        let end = Instant::now() + within;
        let mut idle = Idle::new(self.cpu(), self.serial.mark());
        let hard: Vec<Kind> = expected.iter().copied().chain([Kind::Said]).collect();
        let mut said_at = None;
        loop {
            // until heard, trouble, or `end`
            let left = end.saturating_duration_since(Instant::now());
            let turn = left.min(Duration::from_secs(1));
            let vain = match self.serial.wait(mark, text, &hard, turn) {
                Ok(()) => return Ok(()),
                Err(Vain::Late) if !left.is_zero() => {
                    if idle.note(self.cpu(), self.serial.mark()) {
                        format!(
                            "the guest neither speaks nor works for {} s",
                            IDLE_FOR.as_secs()
                        )
                    } else if text == READY && self.cpu_of_boot() > BOOT_CPU_MAX {
                        format!(
                            "the guest has worked for {} s of CPU time",
                            BOOT_CPU_MAX.as_secs()
                        )
                    } else if let Some(trouble) = self.serial.trouble(mark, expected) {
                        let since: &mut Instant = said_at.get_or_insert_with(Instant::now);
                        if since.elapsed() < pace::stretched(SAID_GRACE) {
                            continue;
                        }
                        format!("it was printed without effect: {}", trouble.line)
                    } else {
                        continue;
                    }
                }
                Err(Vain::Late) => format!("not received within {} s", within.as_secs()),
                Err(Vain::Closed) => "QEMU ended".to_owned(),
                Err(Vain::Trouble(trouble)) => {
                    let early = trouble.kind == Kind::Kernel && text == READY;
                    let mut failure = self.vain(
                        text,
                        &format!("the guest says ({:?}): {}", trouble.kind, trouble.line),
                    );
                    failure.retry = early;
                    return Err(failure);
                }
            };
            return Err(self.vain(text, &vain));
        }
    }

    /// The sentence of a wait that ended without `text`: why, and the last lines of the serial log.
    fn vain(&self, text: &str, why: &str) -> Failure {
        let said = self.serial.since(self.begin);
        let lines: Vec<&str> = said.lines().collect();
        let tail: Vec<String> = lines[lines.len().saturating_sub(SHOWN_LINES)..]
            .iter()
            .map(|line| format!("    {}", crate::serial::without_escapes(line)))
            .collect();
        Failure::new(format!(
            "waiting for `{text}`: {why}\n  serial log: {}\n  its end:\n{}",
            self.log.display(),
            tail.join("\n")
        ))
    }

    /// Where a service of the guest is reached from here, by its first NIC.
    pub fn at(&self, service: u16) -> SocketAddr {
        self.at_nic(0, service)
    }

    /// As `at`, by another NIC.
    pub fn at_nic(&self, nic: usize, service: u16) -> SocketAddr {
        self.forwards[nic]
            .iter()
            .find(|forward| forward.guest == service)
            .unwrap_or_else(|| panic!("port {service} is not among SERVICES"))
            .address()
    }

    /// Pulls a disk: the guest is asked to let go of it, and it is gone.
    pub fn pull(&mut self, disk: &str) -> Told<()> {
        let mark = self.qmp.mark();
        self.qmp.execute("device_del", json!({"id": disk}))?;
        self.qmp.wait_event(
            mark,
            "DEVICE_DELETED",
            |data| data["device"] == disk,
            pace::stretched(PULLED_WITHIN),
        )?;
        Ok(())
    }

    /// Puts a pulled disk back, with the bytes it had.
    pub fn put_back(&mut self, disk: &Disk) -> Told<()> {
        self.qmp.execute("device_add", disk.device())?;
        Ok(())
    }

    /// Plugs a disk that was not there at power-on into the bay of one that was pulled. Its file must be there.
    pub fn plug_in(&mut self, disk: &Disk, bay: &str) -> Told<()> {
        let node = json!({"driver": "raw", "node-name": disk.name, "discard": "unmap",
            "file": {"driver": "file", "filename": disk.file(), "discard": "unmap"}});
        self.qmp.execute("blockdev-add", node)?;
        let mut device = disk.device();
        device["bus"] = json!(format!("port-{bay}"));
        self.qmp.execute("device_add", device)?;
        Ok(())
    }

    /// From now on these requests to the disk fail. `heal` ends it.
    pub fn inject(&mut self, disk: &str, faults: &[Fault]) -> Told<()> {
        let node = format!("{disk}-faulty");
        self.qmp
            .execute("blockdev-add", blkdebug(&node, disk, faults))?;
        self.swap(disk, &node)
    }

    /// The disk is well again.
    pub fn heal(&mut self, disk: &str) -> Told<()> {
        self.swap(disk, disk)?;
        let node = format!("{disk}-faulty");
        self.qmp
            .execute("blockdev-del", json!({"node-name": node}))?;
        Ok(())
    }

    /// Puts another node of the block graph under a running device.
    fn swap(&mut self, disk: &str, node: &str) -> Told<()> {
        self.qmp.execute(
            "qom-set",
            json!({"path": format!("/machine/peripheral/{disk}"), "property": "drive", "value": node}),
        )?;
        Ok(())
    }

    /// A network cable is pulled or put back.
    pub fn link(&mut self, nic: &str, up: bool) -> Told<()> {
        self.qmp
            .execute("set_link", json!({"name": nic, "up": up}))
            .map(|_| ())
    }

    /// The reset button. What follows is a new boot.
    pub fn reset(&mut self) -> Told<()> {
        self.new_boot();
        self.qmp.execute("system_reset", json!({})).map(|_| ())
    }

    /// What is heard from here on belongs to a new boot (the guest resets by itself, or is about to).
    pub fn new_boot(&mut self) {
        self.begin = self.serial.mark();
        self.began = Instant::now();
        self.cpu_before = self.cpu();
    }

    /// The power button: the guest shuts down and QEMU ends. Waits for it.
    pub fn power_down(mut self, within: Duration) -> Told<()> {
        self.qmp.execute("system_powerdown", json!({}))?;
        self.wait_for_end(within)
    }

    /// Waits until QEMU ends because the guest switched itself off.
    pub fn wait_for_end(mut self, within: Duration) -> Told<()> {
        let end = Instant::now() + within;
        while Instant::now() < end {
            if self.child.try_wait().doing("waiting for QEMU")?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(self.vain("the end", "the guest does not shut down"))
    }

    /// The power fails: QEMU is killed at once. What it had handed to the host's files stays there.
    pub fn cut_power(mut self) {
        end(&mut self.child);
    }

    /// CPU time of all of QEMU's threads since it was started.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        cpu_of(&stat.unwrap_or_default()).unwrap_or_default()
    }

    /// Memory of the QEMU process, in bytes.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        status
            .unwrap_or_default()
            .lines()
            .find_map(|line| {
                let kib = line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?;
                kib.parse::<u64>().ok()
            })
            .unwrap_or(0)
            * 1024
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        end(&mut self.child);
        if let Some(tpm) = &mut self.tpm {
            end(tpm);
        }
    }
}

/// A polite removal takes the guest's hot-plug driver up to six seconds (it waits five for a change of mind).
const PULLED_WITHIN: Duration = Duration::from_secs(30);

/// A start that goes on after the daemon's note reaches READY soon: what takes time lies before.
const SAID_GRACE: Duration = Duration::from_secs(20);

/// Of the serial log, in a failure's sentence.
const SHOWN_LINES: usize = 25;

/// Ends a child process and reaps it.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Notices a guest that waits for something that will not come.
struct Idle {
    /// Since when neither of the two below has moved.
    since: Instant,
    /// CPU time of QEMU at the last look.
    cpu: Duration,
    /// The place in the serial log at the last look.
    heard: Mark,
}

impl Idle {
    /// A watch that begins now.
    fn new(cpu: Duration, heard: Mark) -> Idle {
        Idle {
            since: Instant::now(),
            cpu,
            heard,
        }
    }

    /// Whether the guest has been idle for `IDLE_FOR`.
    fn note(&mut self, cpu: Duration, heard: Mark) -> bool {
        let worked = cpu.saturating_sub(self.cpu);
        let passed = self.since.elapsed();
        if heard != self.heard || worked > IDLE_FOR.mul_f64(IDLE_SHARE) {
            *self = Idle::new(cpu, heard);
            return false;
        }
        passed > IDLE_FOR
    }
}

/// Connects to QEMU's serial line and control channel, in the order in which QEMU opens them.
fn connect(child: &mut Child, sockets: &Path) -> Told<(Serial, Qmp)> {
    let end = Instant::now() + SOCKETS_WITHIN;
    // QEMU makes its channels in the order of its arguments and waits at the serial line until somebody is there.
    let line = patiently(child, end, || {
        UnixStream::connect(sockets.join("serial")).ok()
    })?;
    let serial = Serial::listen(line)?;
    let mut last = None;
    let qmp = patiently(child, end, || {
        Qmp::connect(&sockets.join("qmp"))
            .map_err(|failure| last = Some(failure))
            .ok()
    });
    match (qmp, last) {
        (Err(_), Some(failure)) => Err(failure),
        (qmp, _) => Ok((serial, qmp?)),
    }
}

/// Tries until `end`, as long as `child` runs.
fn patiently<T>(
    child: &mut Child,
    end: Instant,
    mut attempt: impl FnMut() -> Option<T>,
) -> Told<T> {
    while Instant::now() < end {
        if let Some(value) = attempt() {
            return Ok(value);
        }
        if let Some(status) = child.try_wait().doing("waiting for QEMU")? {
            return Err(Failure::new(format!("QEMU ended at once ({status})")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Failure::new("QEMU does not open its sockets"))
}

/// Starts `swtpm`. Its state is in the run's directory, so a TPM outlives the guest as a real one does.
fn start_tpm(directory: &Path, sockets: &Path) -> Told<Child> {
    let state = directory.join("tpm");
    fs::create_dir_all(&state).doing(state.display())?;
    let socket = sockets.join("tpm");
    let mut child = bound::command("swtpm")
        .args(["socket", "--tpm2", "--terminate", "--tpmstate"])
        .arg(format!("dir={}", state.display()))
        .arg("--ctrl")
        .arg(format!("type=unixio,path={}", socket.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .doing("swtpm (`cargo xtask setup` installs it)")?;
    let end = Instant::now() + SOCKETS_WITHIN;
    patiently(&mut child, end, || socket.exists().then_some(()))?;
    Ok(child)
}

/// `utime` and `stime` of `/proc/PID/stat`, at the kernel's fixed 100 ticks a second.
fn cpu_of(stat: &str) -> Option<Duration> {
    // The program's name may hold blanks and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_a_strange_name() {
        let stat = "42 (q) e (mu) S 1 42 42 0 -1 0 100 0 0 0 1234 66 0 0 20 0 5 0 1 2 3";
        assert_eq!(cpu_of(stat), Some(Duration::from_secs(13)));
        assert_eq!(cpu_of("nothing"), None);
    }

    #[test]
    fn work_or_words_end_idleness() {
        let line = UnixStream::pair().expect("a pair").0;
        let here = Serial::listen(line).expect("a line").mark();
        let mut idle = Idle::new(Duration::ZERO, here);
        assert!(!idle.note(IDLE_FOR, here), "it worked");
        idle.since -= IDLE_FOR * 2;
        assert!(idle.note(IDLE_FOR, here), "nothing since");
    }
}
