//! Debian packages by name, when a program they bring is missing.
//!
//! What must hold: no daemon of the system is started or reconfigured. Packages are installed non-interactively with a
//! `policy-rc.d` that forbids service starts for the duration (and is put back afterwards), Postfix with "No configuration".

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{advisories, shell};

/// A Debian package, and the file that shows it is there.
struct Package {
    /// As apt calls it.
    name: &'static str,
    /// A program on the path, or a file.
    proof: &'static str,
}

/// What the tests use: clients and a name server that we did not write.
const FOR_TESTS: &[Package] = &[
    Package {
        name: "curl",
        proof: "curl",
    },
    Package {
        name: "python3",
        proof: "python3",
    },
    Package {
        name: "swaks",
        proof: "swaks",
    },
    Package {
        name: "msmtp",
        proof: "msmtp",
    },
    Package {
        name: "isync",
        proof: "mbsync",
    },
    // Clients of POP3.
    Package {
        name: "mpop",
        proof: "mpop",
    },
    Package {
        name: "fetchmail",
        proof: "fetchmail",
    },
    Package {
        name: "neomutt",
        proof: "neomutt",
    },
    // swaks speaks TLS only with it; a recommendation, so not installed by itself. Brings Net::SSLeay.
    Package {
        name: "libio-socket-ssl-perl",
        proof: "/usr/share/perl5/IO/Socket/SSL.pm",
    },
    // Another opinion about signatures, and a milter. It is run on files or on a port of the test's; its service is not started.
    Package {
        name: "opendkim",
        proof: "/usr/sbin/opendkim",
    },
    // Programs that people read mail with, each with a job in `appliance/ringpostd/tests/real/programs`.
    Package {
        name: "offlineimap3",
        proof: "offlineimap",
    },
    Package {
        name: "getmail6",
        proof: "getmail",
    },
    Package {
        name: "sieve-connect",
        proof: "sieve-connect",
    },
    Package {
        name: "mutt",
        proof: "mutt",
    },
    // A directory; a test starts it with people of its own, and the service is not.
    Package {
        name: "slapd",
        proof: "/usr/sbin/slapd",
    },
    Package {
        name: "ldap-utils",
        proof: "ldapmodify",
    },
    // Scanners; a test starts them with settings and signatures of its own, and no service is.
    Package {
        name: "rspamd",
        proof: "/usr/bin/rspamd",
    },
    Package {
        name: "clamav-daemon",
        proof: "/usr/sbin/clamd",
    },
];

/// An Internet of a test's own, also of the story about two guests.
const NAME_SERVERS: &[Package] = &[
    // Serves zones and signs them.
    Package {
        name: "knot",
        proof: "/usr/sbin/knotd",
    },
    // Shows the certificate that a server shows.
    Package {
        name: "openssl",
        proof: "openssl",
    },
    // An authority that gives certificates to tests (ACME).
    Package {
        name: "pebble",
        proof: "pebble",
    },
    // Checks signatures.
    Package {
        name: "unbound",
        proof: "/usr/sbin/unbound",
    },
];

/// What a day with Thunderbird needs; installed only when that is asked for.
const FOR_THUNDERBIRD: &[Package] = &[
    Package {
        name: "python3",
        proof: "python3",
    },
    Package {
        name: "thunderbird",
        proof: "thunderbird",
    },
];

/// What a day with imapflow needs; npm brings the library itself, by the lock file of its folder.
const FOR_IMAPFLOW: &[Package] = &[
    Package {
        name: "nodejs",
        proof: "node",
    },
    Package {
        name: "npm",
        proof: "npm",
    },
];

/// What builds an image; everything else comes in the tools tree (`image/maker/src/tools.rs`).
const FOR_IMAGE: &[Package] = &[
    Package {
        name: "mmdebstrap",
        proof: "mmdebstrap",
    },
    Package {
        name: "python3",
        proof: "python3",
    },
    // newuidmap: mmdebstrap and mkosi without being root.
    Package {
        name: "uidmap",
        proof: "newuidmap",
    },
];

/// What boots an image.
const FOR_BOOT: &[Package] = &[
    Package {
        name: "qemu-system-x86",
        proof: "qemu-system-x86_64",
    },
    Package {
        name: "ovmf",
        proof: "/usr/share/OVMF/OVMF_CODE_4M.fd",
    },
    Package {
        name: "swtpm",
        proof: "swtpm",
    },
    // An iSCSI target for the stories about a SAN.
    Package {
        name: "tgt",
        proof: "/usr/sbin/tgtd",
    },
];

/// What the bench compares with.
const FOR_BENCH: &[Package] = &[
    Package {
        name: "fio",
        proof: "fio",
    },
    Package {
        name: "postfix",
        proof: "/usr/lib/postfix/sbin/master",
    },
    Package {
        name: "dovecot-core",
        proof: "dovecot",
    },
    Package {
        name: "dovecot-imapd",
        proof: "/usr/lib/dovecot/imap",
    },
    Package {
        name: "dovecot-lmtpd",
        proof: "/usr/lib/dovecot/lmtp",
    },
    // What Postfix asks about strangers' mail.
    Package {
        name: "opendmarc",
        proof: "/usr/sbin/opendmarc",
    },
    Package {
        name: "postfix-policyd-spf-python",
        proof: "/usr/bin/policyd-spf",
    },
];

/// Packages by the beginning of their names, and the services that they bring.
const SERVICES: &[(&str, &str)] = &[
    ("postfix", "postfix"),
    ("dovecot", "dovecot"),
    ("rspamd", "rspamd"),
    ("clamav", "clamav-daemon"),
    // It fetches signatures, and comes with clamav-daemon.
    ("clamav", "clamav-freshclam"),
    ("knot", "knot"),
    ("unbound", "unbound"),
    ("tgt", "tgt"),
];

/// Installs what is missing. `Err` is one sentence with the command to run when we may not run it.
pub fn run(peers: bool, deny: bool) -> Result<(), String> {
    let peers = if peers { FOR_BENCH } else { &[] };
    if ensure(&[FOR_TESTS, NAME_SERVERS, FOR_IMAGE, FOR_BOOT, peers])? {
        eprintln!("setup: every Debian package is there");
    }
    if deny && !shell::found("cargo-deny") {
        shell::run(Command::new(shell::cargo_path()).args([
            "install",
            "--locked",
            advisories::VERSION,
        ]))?;
    }
    Ok(())
}

/// What `cargo xtask image` and `keys` need, installed when missing.
pub fn for_image() -> Result<(), String> {
    // The firmware's variables are enrolled at build time.
    ensure(&[FOR_IMAGE, &FOR_BOOT[1..2]]).map(|_| ())
}

/// What `cargo xtask test --only thunderbird` needs, installed when missing.
pub fn for_thunderbird() -> Result<(), String> {
    ensure(&[FOR_THUNDERBIRD]).map(|_| ())
}

/// What `cargo xtask test --only imapflow` needs, installed when missing.
pub fn for_imapflow() -> Result<(), String> {
    ensure(&[FOR_IMAPFLOW]).map(|_| ())
}

/// What `cargo xtask boot` and the QEMU suite need, installed when missing.
pub fn for_boot() -> Result<(), String> {
    ensure(&[FOR_IMAGE, FOR_BOOT, NAME_SERVERS]).map(|_| ())
}

/// Installs what is missing; whether nothing was.
fn ensure(lists: &[&[Package]]) -> Result<bool, String> {
    let missing: Vec<&str> = lists
        .iter()
        .copied()
        .flatten()
        .filter(|package| !present(package.proof))
        .map(|package| package.name)
        .collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    Ok(missing.is_empty())
}

fn present(proof: &str) -> bool {
    if proof.starts_with('/') {
        Path::new(proof).exists()
    } else {
        shell::found(proof)
    }
}

/// Installs by apt, as root or by sudo; otherwise the error is the command to run.
fn install(names: &[&str]) -> Result<(), String> {
    let by_hand = format!(
        "apt-get install --no-install-recommends {}",
        names.join(" ")
    );
    if !shell::found("apt-get") {
        return Err(format!(
            "missing: {}; this is not Debian, install them by other means",
            names.join(", ")
        ));
    }
    let prefix: &[&str] = if is_root() {
        &[]
    } else if can_sudo() {
        &["sudo", "-n"]
    } else {
        return Err(format!(
            "missing: {}; run as root: {by_hand}",
            names.join(", ")
        ));
    };
    let apt = |arguments: &[&str]| {
        let words: Vec<&str> = prefix
            .iter()
            .copied()
            .chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"])
            .chain(arguments.iter().copied())
            .collect();
        shell::run(Command::new(words[0]).args(&words[1..]))
    };
    let daemons: Vec<&str> = SERVICES
        .iter()
        .filter(|(package, _)| names.iter().any(|name| name.starts_with(package)))
        .map(|(_, service)| *service)
        .collect();
    let _quiet = if is_root() {
        Some(NoServices::begin()?)
    } else {
        None
    };
    if names.contains(&"postfix") {
        answer_postfix(prefix)?;
    }
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(names);
    // A fresh machine has old package lists: try, refresh, try again.
    if apt(&arguments).is_err() {
        apt(&["update", "-q"])?;
        apt(&arguments).map_err(|error| format!("{error}; by hand: {by_hand}"))?;
    }
    // Installed just now, for us alone: they must not start with the next boot of the machine either.
    if !daemons.is_empty() && shell::found("systemctl") {
        let words: Vec<&str> = prefix
            .iter()
            .copied()
            .chain(["systemctl", "disable", "--quiet"])
            .chain(daemons)
            .collect();
        shell::run(Command::new(words[0]).args(&words[1..]))?;
    }
    Ok(())
}

fn is_root() -> bool {
    // The owner of our own /proc entry is our effective user.
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Whether sudo works without a question.
fn can_sudo() -> bool {
    Command::new("sudo")
        .args(["-n", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Answers Postfix's question beforehand, so that it configures nothing.
fn answer_postfix(prefix: &[&str]) -> Result<(), String> {
    let words: Vec<&str> = prefix
        .iter()
        .copied()
        .chain(["debconf-set-selections"])
        .collect();
    let mut child = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("debconf-set-selections: {error}"))?;
    let mut stdin = child.stdin.take().expect("stdin was asked for");
    stdin
        .write_all(b"postfix postfix/main_mailer_type select No configuration\n")
        .map_err(|error| format!("debconf-set-selections: {error}"))?;
    drop(stdin);
    child
        .wait()
        .map_err(|error| format!("debconf-set-selections: {error}"))?;
    Ok(())
}

/// While this lives, `invoke-rc.d` starts nothing. What was there before is put back on drop.
struct NoServices {
    /// The file that `invoke-rc.d` asks.
    policy: PathBuf,
    /// Its content and mode; `None`: there was none.
    before: Option<(Vec<u8>, u32)>,
}

impl NoServices {
    /// Puts a file there that forbids every start.
    fn begin() -> Result<NoServices, String> {
        let policy = PathBuf::from("/usr/sbin/policy-rc.d");
        let before = fs::read(&policy).ok().map(|bytes| {
            (
                bytes,
                fs::metadata(&policy).map_or(0o755, |meta| meta.permissions().mode()),
            )
        });
        write_executable(&policy, b"#!/bin/sh\nexit 101\n", 0o755)
            .map_err(|error| format!("{}: {error}", policy.display()))?;
        Ok(NoServices { policy, before })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        let outcome = match &self.before {
            Some((bytes, mode)) => write_executable(&self.policy, bytes, *mode),
            None => fs::remove_file(&self.policy),
        };
        if let Err(error) = outcome {
            eprintln!(
                "setup: {} could not be put back: {error}",
                self.policy.display()
            );
        }
    }
}

fn write_executable(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
