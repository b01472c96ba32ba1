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
const STANDARD_PORTS: &[u16] = &[24, 25, 80, 110, 143, 419, 443, 465, 587, 628, 993, 995];

pub struct Setting<'a> {
    pub directory: &'a Path,
    pub leg_size: &'a str,
    /// `ringpost-sink` instead of the daemon: the receiver without its store.
    pub sink: bool,
}

/// Starts the daemon on its state (new or left by an earlier start) and waits for READY; says how long that took.
pub fn start(setting: &Setting<'_>) -> io::Result<(Running, Duration)> {
    let base = free_base()?;
    let state = setting.directory.join("state");
    fs::create_dir_all(&state)?;
    let log = setting.directory.join("ringpostd.log");
    let mut command = if setting.sink {
        Command::new(program("ringpost-sink")?)
    } else {
        let mut daemon = Command::new(program("ringpostd")?);
        daemon
            .arg("--trial")
            .arg("--state")
            .arg(&state)
            .args(["--leg-size", setting.leg_size]);
        daemon
    };
    command.arg("--port-base").arg(base.to_string());
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
    };
    Ok((running, ready_after))
}

/// Adds accounts that are not there yet, over the control socket.
pub fn add_accounts(directory: &Path, accounts: &[String]) -> io::Result<()> {
    let program = program("ringpostctl")?;
    for account in accounts {
        let mut command = Command::new(&program);
        command.arg("--state").arg(directory.join("state")).args([
            "account",
            "add",
            account,
            "--password",
            PASSWORD,
        ]);
        super::run_quietly(&mut command)?;
    }
    Ok(())
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
