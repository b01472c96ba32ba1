//! A daemon in a temporary directory: started until READY, talked to by `ringpostctl`, killed when dropped.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ports::Ports;

/// Far beyond what any start takes on a busy two-core machine.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// A leg that still lacks something is asked for again this often.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Every port that trial mode may open, relative to its base.
const PORTS: &[u16] = &[24, 25, 80, 110, 143, 419, 443, 465, 490, 587, 628, 993, 995];

pub const PASSWORD: &str = "ringpost";
pub const ALICE: &str = "alice@example.org";
pub const BOB: &str = "bob@example.org";

/// Where a daemon keeps its state, and with which settings it is started.
pub struct Home {
    pub directory: tempfile::TempDir,
    pub leg_size: &'static str,
    base: Cell<u16>,
    _ports: Ports,
    /// Further arguments of trial mode.
    pub more: Vec<String>,
    /// `ulimit -n` of the daemon, which it may not raise.
    pub open_files: Option<u32>,
    /// The base is given by `--port-base`; else the daemon chooses, and `start` reads it from its screen.
    asks: bool,
}

impl Home {
    pub fn new() -> Home {
        Home::with_leg_size("256MiB")
    }

    pub fn with_leg_size(leg_size: &'static str) -> Home {
        // Beside the build products: on a disk, where O_DIRECT and full disks are real.
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let ports = Ports::at(PORTS);
        let directory = tempfile::Builder::new()
            .prefix("home")
            .tempdir_in(parent)
            .expect("a temporary directory");
        Home {
            directory,
            leg_size,
            base: Cell::new(ports.base),
            _ports: ports,
            more: Vec::new(),
            open_files: None,
            asks: true,
        }
    }

    /// One whose daemon chooses its ports by itself.
    pub fn without_ports() -> Home {
        Home {
            asks: false,
            ..Home::with_leg_size("128MiB")
        }
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.base.get() + port))
    }

    pub fn port(&self, port: u16) -> u16 {
        self.base.get() + port
    }

    pub fn smtp(&self) -> SocketAddr {
        self.at(25)
    }

    pub fn imap(&self) -> SocketAddr {
        self.at(143)
    }

    /// The leg files, in the order of their names.
    pub fn legs(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = files_below(&self.state())
            .into_iter()
            .filter(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().contains("leg"))
            })
            .filter(|path| fs::metadata(path).is_ok_and(|meta| meta.len() > 16 << 20))
            .collect();
        found.sort();
        found
    }

    /// A real configuration in place of trial mode, from the next start on. Ports are those of `at`.
    pub fn configure(&self, more: &str) {
        let at = |port| self.at(port);
        let legs = ["leg-a", "leg-b"].map(|name| self.directory.path().join(name));
        let text = format!(
            "[server]\nname = \"mail.example.org\"\nstate = {:?}\n[volume]\nlegs = {legs:?}\nleg_size = \"{}\"\ncreate = true\n\
             [inbound]\nauthentication = \"off\"\n[spam]\nenabled = false\n[listen]\nsmtp = [\"{}\"]\nimaps = [\"{}\"]\nhttps = [\"{}\"]\n{more}",
            self.state(),
            self.leg_size,
            at(25),
            at(993),
            at(443),
        );
        fs::write(self.configuration(), text).expect("written");
    }

    /// These settings as they are, from the next start on.
    pub fn configure_as(&self, text: &str) {
        fs::write(self.configuration(), text).expect("written");
    }

    fn configuration(&self) -> PathBuf {
        self.directory.path().join("ringpost.toml")
    }

    fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_ringpostd");
        let mut command = match self.open_files {
            Some(open_files) => with_open_files(open_files, program),
            None => Command::new(program),
        };
        if self.configuration().exists() {
            command.arg("--config").arg(self.configuration());
            command.stdin(Stdio::null());
            return command;
        }
        command.arg("--trial").arg("--state").arg(self.state());
        command.args(["--leg-size", self.leg_size]);
        if self.asks {
            command.arg("--port-base").arg(self.base.get().to_string());
        }
        command.args(&self.more);
        command.stdin(Stdio::null());
        command
    }

    /// Starts and waits for READY. Panics with the daemon's words when it does not come.
    pub fn start(&self) -> Daemon {
        self.try_start()
            .unwrap_or_else(|output| panic!("the daemon did not become ready:\n{output}"))
    }

    /// `Err` holds what the daemon said before it ended (or until the wait was over).
    pub fn try_start(&self) -> Result<Daemon, String> {
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon is built");
        let words = Arc::new(Mutex::new(String::new()));
        let out = child.stdout.take().expect("stdout was asked for");
        let err = child.stderr.take().expect("stderr was asked for");
        let readers = [collect(out, words.clone()), collect(err, words.clone())];
        let begin = Instant::now();
        loop {
            // Until READY, the end of the process, or READY_WITHIN.
            if words
                .lock()
                .expect("no reader panics")
                .contains("RINGPOST READY")
            {
                let daemon = Daemon { child, words };
                if !self.asks {
                    self.base.set(daemon.smtp_port() - 25);
                }
                return Ok(daemon);
            }
            let ended = child.try_wait().expect("our own child").is_some();
            if ended || begin.elapsed() > READY_WITHIN {
                let _ = child.kill();
                let _ = child.wait();
                for reader in readers {
                    let _ = reader.join();
                }
                return Err(words.lock().expect("no reader panics").clone());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts with everything logged to a pipe without a reader; waits for READY.
    pub fn start_unheard(&self) -> Unheard {
        let mut child = self
            .command()
            .args(["--log", "info"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon is built");
        let out = BufReader::new(child.stdout.take().expect("stdout was asked for"));
        let ready = out
            .lines()
            .map_while(Result::ok)
            .any(|line| line == "RINGPOST READY");
        let log = child.stderr.take().expect("stderr was asked for");
        assert!(ready, "the daemon did not become ready");
        Unheard { child, log }
    }

    /// Runs the daemon with these arguments alone until it ends (for starts that must be refused). The base is ours.
    pub fn run(&self, arguments: &[&str]) -> Output {
        bounded(
            Command::new(env!("CARGO_BIN_EXE_ringpostd"))
                .args(arguments)
                .current_dir(self.directory.path()),
        )
    }

    /// `ringpostctl --state … ARGUMENTS`, with or without a daemon.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_ringpostd")).with_file_name("ringpostctl");
        assert!(
            program.is_file(),
            "ringpostctl is not built; run `cargo xtask test`"
        );
        bounded(
            Command::new(program)
                .arg("--state")
                .arg(self.state())
                .args(arguments),
        )
    }

    /// `ctl` that must succeed; its standard output.
    pub fn ctl_ok(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        assert!(
            output.status.success(),
            "ringpostctl {arguments:?}: {}",
            said(&output)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until both legs are in sync again.
    pub fn wait_until_in_sync(&self) {
        let begin = Instant::now();
        let mut last = String::new();
        while begin.elapsed() < READY_WITHIN {
            last = self.ctl_ok(&["leg", "list"]);
            if last.matches("in_sync").count() >= 2 {
                return;
            }
            std::thread::sleep(ASK_EVERY);
        }
        panic!("the legs did not come into sync:\n{last}");
    }
}

/// A daemon that is ready. Dropping it kills it.
pub struct Daemon {
    child: Child,
    words: Arc<Mutex<String>>,
}

impl Daemon {
    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// SIGTERM, and what the process ended with.
    pub fn stop(mut self) -> ExitStatus {
        kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        )
        .expect("our own child");
        let begin = Instant::now();
        loop {
            // Until it ends; bounded by READY_WITHIN.
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            assert!(
                begin.elapsed() < READY_WITHIN,
                "SIGTERM did not stop the daemon:\n{}",
                self.words()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// As trial mode's screen has it.
    fn smtp_port(&self) -> u16 {
        let words = self.words();
        let (_, after) = words.split_once(": SMTP ").expect("the screen is there");
        let port: String = after.chars().take_while(char::is_ascii_digit).collect();
        port.parse().expect("a port")
    }

    /// Everything that it printed so far.
    pub fn words(&self) -> String {
        self.words.lock().expect("no reader panics").clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the daemon's words:\n{}", self.words());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A daemon whose log waits in a pipe.
pub struct Unheard {
    child: Child,
    log: ChildStderr,
}

impl Unheard {
    /// Now the pipe is read: SIGTERM, and everything that was logged until the end.
    pub fn stop(mut self) -> String {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, Signal::SIGTERM).expect("our own child");
        let mut text = String::new();
        self.log.read_to_string(&mut text).expect("UTF-8");
        text
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Standard output and error of a program that ended.
pub fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs a program to its end, killing it when it takes beyond all reason.
pub fn bounded(command: &mut Command) -> Output {
    bounded_by(READY_WITHIN, command)
}

/// The same for one that has much to do.
pub fn bounded_by(within: Duration, command: &mut Command) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; `cargo xtask setup` installs it",
                command.get_program().display()
            )
        });
    let pid = Pid::from_raw(child.id().cast_signed());
    let (done, waits) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if waits.recv_timeout(within) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let output = child.wait_with_output().expect("our own child");
    drop(done);
    guard.join().expect("the guard only waits");
    output
}

/// `program` with a limit of open files. Root could raise it again, so it loses that right.
fn with_open_files(open_files: u32, program: &str) -> Command {
    let limited = format!("ulimit -n {open_files}; exec \"$0\" \"$@\"");
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-sys_resource", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    command.args(["-c", &limited, program]);
    command
}

/// Every file below a directory.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

fn collect(
    from: impl std::io::Read + Send + 'static,
    words: Arc<Mutex<String>>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut words = words.lock().expect("no reader panics");
            words.push_str(&line);
            words.push('\n');
        }
    })
}
