//! `ringpostctl` on this machine, looking after a guest over HTTPS with a client certificate.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{Doing, Failure, Told, ensure};
use crate::limits::TOOL_NOMINAL;
use crate::{connect, pace};

/// The tool, its certificates, and whom it talks to.
pub struct Tool {
    program: PathBuf,
    directory: PathBuf,
}

/// What it printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Tool {
    /// Builds `ringpostctl`, and has it make an authority and a client in `directory`.
    pub fn new(root: &Path, directory: &Path) -> Told<Tool> {
        Tool::with(&build(root)?, directory)
    }

    /// The same with a `ringpostctl` that is there.
    pub fn with(program: &Path, directory: &Path) -> Told<Tool> {
        let tool = Tool {
            program: program.to_owned(),
            directory: directory.to_owned(),
        };
        let made = tool.run(&["admin-cert", &directory.to_string_lossy()])?;
        ensure(made.code == 0, || format!("admin-cert: {made:?}"))?;
        Ok(tool)
    }

    /// What goes into the guest's settings.
    pub fn settings(&self) -> Told<String> {
        let path = self.directory.join("ca.pem");
        let pem = std::fs::read_to_string(&path).doing(path.display())?;
        Ok(format!("\n[admin]\nclient_ca = \"\"\"\n{pem}\"\"\"\n"))
    }

    /// Keeps the certificate that the guest shows as the one to believe, as an operator does once.
    pub fn believe(&self, server: SocketAddr, within: Duration) -> Told<()> {
        let pem = connect::certificate_pem(server, within).doing("the guest's certificate")?;
        self.believe_in(&pem)
    }

    /// Believes the certificates of this authority from now on (PEM).
    pub fn believe_in(&self, authority: &str) -> Told<()> {
        let path = self.directory.join("appliance.pem");
        std::fs::write(&path, authority).doing(path.display())
    }

    /// A verb of the guest behind the forwarded port.
    pub fn of(&self, server: SocketAddr, words: &[&str]) -> Told<Said> {
        let file = |name: &str| self.directory.join(name).to_string_lossy().into_owned();
        let host = format!("https://localhost:{}", server.port());
        let (cert, key, ca) = (
            file("client.pem"),
            file("client-key.pem"),
            file("appliance.pem"),
        );
        let mut all = vec!["--host", &host, "--cert", &cert, "--key", &key, "--ca", &ca];
        all.extend(words);
        self.run(&all)
    }

    /// As `of`, and it must succeed; what it printed.
    pub fn done(&self, server: SocketAddr, words: &[&str]) -> Told<String> {
        let said = self.of(server, words)?;
        ensure(said.code == 0, || {
            format!("ringpostctl {}: {} {}", words.join(" "), said.out, said.err)
        })?;
        Ok(said.out)
    }

    /// As `of`, and it must be refused; the sentence why.
    pub fn refused(&self, server: SocketAddr, words: &[&str]) -> Told<String> {
        let said = self.of(server, words)?;
        ensure(said.code == 1, || {
            format!(
                "`ringpostctl {}` was not refused: {said:?}",
                words.join(" ")
            )
        })?;
        Ok(said.err)
    }

    /// Writes the mail of one leg, an image on this machine, into the new directory `to`.
    pub fn salvage(root: &Path, leg: &Path, to: &Path) -> Told<()> {
        let tool = Tool {
            program: build(root)?,
            directory: PathBuf::new(),
        };
        let (from, to) = (leg.to_string_lossy(), to.to_string_lossy());
        let said = tool.run(&["salvage", "--to", &to, &from])?;
        ensure(said.code == 0, || format!("salvage of {from}: {said:?}"))
    }

    fn run(&self, words: &[&str]) -> Told<Said> {
        let mut child = Command::new(&self.program)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing(self.program.display())?;
        let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
        let out = std::thread::spawn(move || text(&mut out));
        let err = std::thread::spawn(move || text(&mut err));
        let within = pace::stretched(TOOL_NOMINAL);
        let end = Instant::now() + within;
        let code = loop {
            // until it is over or `end`
            if let Some(status) = child.try_wait().doing("ringpostctl")? {
                break status.code().unwrap_or(-1);
            }
            if Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure::new(format!(
                    "`ringpostctl {}` is not over after {} s",
                    words.join(" "),
                    within.as_secs()
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let whole = |reader: std::thread::JoinHandle<String>| reader.join().unwrap_or_default();
        Ok(Said {
            code,
            out: whole(out),
            err: whole(err),
        })
    }
}

/// What a pipe brings until it is closed.
fn text(pipe: &mut Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes); // what came is what there is
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The one that `RINGPOSTCTL` names (`cargo xtask test` has built it); else it is built, in this program's own profile.
fn build(root: &Path) -> Told<PathBuf> {
    if let Some(program) = std::env::var_os("RINGPOSTCTL") {
        return Ok(program.into());
    }
    let here = std::env::current_exe().doing("this program's place")?;
    let beside = here.parent().unwrap_or(Path::new("."));
    let release = !cfg!(debug_assertions);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args([
        "build",
        "--quiet",
        "--locked",
        "-p",
        "ringpostctl",
        "--bin",
        "ringpostctl",
    ]);
    if release {
        command.arg("--release");
    }
    let status = command.status().doing("cargo build -p ringpostctl")?;
    let program = beside.join("ringpostctl");
    if status.success() && program.exists() {
        return Ok(program);
    }
    Err(Failure::new("ringpostctl cannot be built: see above"))
}
