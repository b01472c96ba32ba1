//! Ours, as `cargo run --release` would start it: trial mode with its own state directory and ports.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{PASSWORD, Running, spawn};

const READY: &str = "RINGPOST READY";
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Standard ports that trial mode may open (contract), all of which must be free at our base.
const STANDARD_PORTS: &[u16] = &[24, 25, 80, 110, 143, 419, 443, 465, 490, 587, 628, 993, 995];

pub struct Setting<'a> {
    pub directory: &'a Path,
    pub leg_size: &'a str,
    /// `ringpost-sink` instead of the daemon: the receiver without its store.
    pub sink: bool,
    /// Tables of `ringpost.toml` beside those that say where it listens and keeps its state; trial mode if not set.
    pub settings: Option<&'a str>,
}

/// Starts the daemon on its state (new or left by an earlier start) and waits for READY; says how long that took.
pub fn start(setting: &Setting<'_>) -> io::Result<(Running, Duration)> {
    let base = free_base()?;
    let state = setting.directory.join("state");
    fs::create_dir_all(&state)?;
    let log = setting.directory.join("ringpostd.log");
    let mut command = match setting.settings {
        Some(tables) => {
            let path = setting.directory.join("ringpost.toml");
            fs::write(&path, configuration(setting, base) + tables)?;
            let mut daemon = Command::new(program("ringpostd")?);
            daemon.arg("--config").arg(path);
            daemon
        }
        None if setting.sink => Command::new(program("ringpost-sink")?),
        None => {
            let mut daemon = Command::new(program("ringpostd")?);
            daemon
                .arg("--trial")
                .arg("--state")
                .arg(&state)
                .args(["--leg-size", setting.leg_size]);
            daemon
        }
    };
    if setting.settings.is_none() {
        command.arg("--port-base").arg(base.to_string());
    }
    let begin = Instant::now();
    let mut child = spawn(&mut command, &log)?;
    loop {
        // Until READY; bounded by READY_WITHIN.
        let text = fs::read_to_string(&log).unwrap_or_default();
        if text.contains(READY) {
            break;
        }
        let ended = child.try_wait()?.is_some();
        if ended || begin.elapsed() > READY_WITHIN {
            super::end(&mut child);
            let tail = text.lines().rev().take(5).collect::<Vec<_>>().join(" | ");
            return Err(io::Error::other(format!(
                "ringpostd did not become ready: {tail}"
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let ready_after = begin.elapsed();
    let at = |port: u16| {
        Some(SocketAddr::new(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            base + port,
        ))
    };
    let running = Running {
        processes: vec![child],
        directory: setting.directory.to_path_buf(),
        smtp: at(25),
        lmtp: at(24),
        imap: at(143),
        imaps: at(993),
        submission: at(587),
    };
    Ok((running, ready_after))
}

/// What trial mode would have, as settings: two legs as files, services at `base` on loopback, SMTP on every
/// address: in a network of the bench's own, senders have other ones.
fn configuration(setting: &Setting<'_>, base: u16) -> String {
    let state = setting.directory.join("state");
    let legs = ["leg-a", "leg-b"].map(|leg| setting.directory.join(leg));
    let at = |port: u16| format!("[\"127.0.0.1:{}\"]", base + port);
    let smtp = format!("[\"0.0.0.0:{}\"]", base + 25);
    format!(
        "[server]\nname = \"mx.example.org\"\nstate = {state:?}\n[volume]\nlegs = {legs:?}\nleg_size = {:?}\ncreate = true\n\
         [listen]\nsmtp = {smtp}\nsubmission = {}\nimap = {}\n[login]\nplaintext = \"loopback\"\n",
        setting.leg_size,
        at(587),
        at(143),
    )
}

/// Adds accounts that are not there yet, over the control socket.
pub fn add_accounts(directory: &Path, accounts: &[String]) -> io::Result<()> {
    for account in accounts {
        let words = ["account", "add", account, "--password", PASSWORD];
        control(directory, &words)?;
    }
    Ok(())
}

/// One verb of `ringpostctl`, for the daemon whose state is in `directory`.
pub fn control(directory: &Path, words: &[&str]) -> io::Result<()> {
    let mut command = Command::new(program("ringpostctl")?);
    command.arg("--state").arg(directory.join("state"));
    super::run_quietly(command.args(words))
}

/// A program built beside this one (`target/release`).
fn program(name: &str) -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(io::Error::other(format!(
            "{name} is not built; run `cargo xtask bench`"
        )))
    }
}

fn free_base() -> io::Result<u16> {
    (0..100)
        .map(|_| fastrand::u16(20_000..60_000))
        .find(|base| {
            STANDARD_PORTS
                .iter()
                .all(|port| TcpListener::bind(("127.0.0.1", base + port)).is_ok())
        })
        .ok_or_else(|| io::Error::other("no free ports on loopback"))
}
