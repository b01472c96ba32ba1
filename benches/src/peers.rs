//! Servers under measurement: ours, Postfix, Dovecot. Each runs from a private directory on loopback ports that were
//! free a moment ago, in a process group of its own, and is stopped when its guard is dropped, or killed when the bench
//! itself is asked to stop.

pub mod dovecot;
pub mod filters;
pub mod names;
pub mod postfix;
pub mod ringpost;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// A server that has not stopped by then is killed.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// A server that does not accept connections by then has failed to start.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The domain of every test account (RFC 2606).
pub const DOMAIN: &str = "example.org";
/// The password of every test account.
pub const PASSWORD: &str = "ringpost";

/// Process groups under way. Held while one is started or killed, so that a signal finds each of them.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// From now on SIGINT and SIGTERM kill every server that was started and end this program with status 130.
pub fn kill_on_signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok::<_, io::Error>((interrupt, signal(SignalKind::terminate())?))
    })?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            // Kept locked to the end: nothing is started any more.
            let groups = groups();
            for group in groups.iter() {
                let _ = killpg(*group, Signal::SIGKILL);
            }
            eprintln!("bench: stopped; {} servers killed", groups.len());
            std::process::exit(130);
        })?;
    Ok(())
}

/// A holder that panicked leaves the list as it is: it is needed to end what runs.
fn groups() -> std::sync::MutexGuard<'static, Vec<Pid>> {
    GROUPS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A running server and where it listens.
pub struct Running {
    /// Every process that was started for it.
    processes: Vec<Child>,
    /// Its files and logs.
    pub directory: PathBuf,
    /// Where it takes mail by SMTP.
    pub smtp: Option<SocketAddr>,
    /// Where it takes mail by LMTP.
    pub lmtp: Option<SocketAddr>,
    /// Where people of ours submit mail.
    pub submission: Option<SocketAddr>,
    /// Where it serves IMAP.
    pub imap: Option<SocketAddr>,
    /// Where it serves IMAP with TLS.
    pub imaps: Option<SocketAddr>,
}

impl Running {
    /// One without a service of its own for mail.
    fn of(child: Child, directory: &Path) -> Running {
        Running {
            processes: vec![child],
            directory: directory.to_path_buf(),
            smtp: None,
            lmtp: None,
            submission: None,
            imap: None,
            imaps: None,
        }
    }

    /// The processes whose cost is measured, without their children.
    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }

    /// Asks every process to stop and waits; kills the groups of those that do not.
    pub fn stop(&mut self) {
        for child in &mut self.processes {
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
            let begin = Instant::now();
            while begin.elapsed() < STOP_WITHIN && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.kill();
    }

    /// kill -9, at once, of everything that we started.
    pub fn kill(&mut self) {
        for mut child in self.processes.drain(..) {
            end(&mut child);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// kill -9 of a program that `spawn` started, and of all it started.
fn end(child: &mut Child) {
    let group = Pid::from_raw(child.id().cast_signed());
    let mut groups = groups();
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.kill();
    let _ = child.wait();
    groups.retain(|other| *other != group);
}

/// Starts a program in a process group of its own with its output in `log`.
fn spawn(command: &mut Command, log: &Path) -> io::Result<Child> {
    let file = std::fs::File::create(log)?;
    let mut groups = groups();
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0)
        .spawn()
        .map_err(|error| {
            io::Error::other(format!(
                "{}: {error}",
                command.get_program().to_string_lossy()
            ))
        })?;
    groups.push(Pid::from_raw(child.id().cast_signed()));
    Ok(child)
}

/// Waits until every address accepts; `Err` with the end of the log when one does not, or the process ends before.
fn wait_for(addresses: &[SocketAddr], child: &mut Child, log: &Path) -> io::Result<()> {
    let begin = Instant::now();
    for address in addresses {
        while TcpStream::connect(address).is_err() {
            let ended = child.try_wait()?.is_some();
            if ended || begin.elapsed() > READY_WITHIN {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let tail = text.lines().rev().take(5).collect::<Vec<_>>().join(" | ");
                return Err(io::Error::other(format!(
                    "nothing listens on {address}: {tail}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// A loopback address without a listener right now.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// The accounts that load goes to, the same for every server.
pub fn recipients(count: usize) -> Vec<String> {
    (0..count)
        .map(|index| format!("u{index:02}@{DOMAIN}"))
        .collect()
}

/// Runs a program to its end; its own words are the error.
pub(crate) fn run_quietly(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let name = command.get_program().to_string_lossy().into_owned();
    Err(io::Error::other(format!(
        "{name}: {}: {}",
        output.status,
        said.trim()
    )))
}
