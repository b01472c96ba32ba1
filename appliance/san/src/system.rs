//! What is told to the kernel and to the system's programs, and what they answer.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use files::{Mode, Replacement};
use plan::san::Target;
use plan::shape::San;

use crate::limits::WORDS_CHARS_MAX;
use crate::orders;

/// Where the kernel takes orders about NVMe over Fabrics.
const FABRICS: &str = "/dev/nvme-fabrics";
/// The name that this box gives itself.
const INITIATOR: &str = "/etc/iscsi/initiatorname.iscsi";
/// open-iscsi's own; in memory, made anew at every start.
const RECORDS: &str = "/var/lib/iscsi/nodes";
/// What multipathd reads at its start.
const MULTIPATH: &str = "/etc/multipath.conf";
/// Keeps iSCSI sessions.
const ISCSID_UNIT: &str = "ringpost-iscsid.service";
/// Joins paths to one disk.
const MULTIPATHD_UNIT: &str = "ringpost-multipathd.service";
/// `iscsiadm`: the session is there already (`ISCSI_ERR_SESS_EXISTS`).
const SESSION_EXISTS: i32 = 15;

/// Before the first path: modules, daemons, records. What does not work is a sentence; the rest is done all the same.
pub fn prepare(targets: &[Target]) -> Vec<String> {
    let mut troubles = Vec::new();
    let mut try_to = |done: Result<(), String>| troubles.extend(done.err());
    // Before any disk shows up: udev and the daemon must know which ones are maps.
    if let Some(text) = orders::multipath(targets) {
        try_to(write_private(Path::new(MULTIPATH), &text));
        try_to(command("modprobe", &["dm-multipath".into()]));
        try_to(start(MULTIPATHD_UNIT));
    }
    if orders::has(targets, San::NvmeTcp) {
        try_to(command("modprobe", &["nvme-tcp".into()]));
    }
    let iscsi: Vec<&Target> = targets
        .iter()
        .filter(|target| target.kind == San::Iscsi)
        .collect();
    let Some(first) = iscsi.first() else {
        return troubles;
    };
    try_to(write_private(
        Path::new(INITIATOR),
        &orders::initiator(first),
    ));
    try_to(start(ISCSID_UNIT));
    for target in &iscsi {
        for address in &target.address {
            try_to(make_record(target, *address));
        }
    }
    troubles
}

/// `iscsiadm` makes the record and gives it a name and defaults of its own liking; what we want stands in it afterwards.
fn make_record(target: &Target, address: SocketAddr) -> Result<(), String> {
    command("iscsiadm", &orders::iscsiadm(target, address, &orders::NEW))?;
    let directory = Path::new(RECORDS).join(&target.target);
    let told = |error: io::Error| format!("{}: {error}", directory.display());
    let mut found = false;
    for path in files(&directory).map_err(told)? {
        let text = fs::read_to_string(&path).map_err(told)?;
        if orders::is_record_of(&text, address) && text.contains(orders::RECORD_END) {
            let text = orders::with_lines(&text, &orders::record(target));
            write_private(&path, &text)?;
            found = true;
        }
    }
    match found {
        true => Ok(()),
        false => Err(format!(
            "iscsiadm left no record of {address} in {}",
            directory.display()
        )),
    }
}

/// Files in a directory and in its directories: a record is one or the other, by whether the portal group is known.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if !path.is_dir() {
            files.push(path);
            continue;
        }
        for entry in fs::read_dir(path)? {
            files.push(entry?.path());
        }
    }
    Ok(files)
}

/// Opens one path; returns when it is open. The kernel and `iscsiadm` give up by themselves.
pub fn connect(target: &Target, address: SocketAddr) -> Result<(), String> {
    match target.kind {
        San::NvmeTcp => connect_nvme(&orders::fabrics(target, address)),
        San::Iscsi => log_in(target, address),
        San::Fc => Ok(()), // the adapter does it
    }
}

/// Writes one order to the kernel, which answers when the connection stands.
fn connect_nvme(line: &str) -> Result<(), String> {
    let connected = || -> io::Result<()> {
        let mut fabrics = OpenOptions::new().read(true).write(true).open(FABRICS)?;
        fabrics.write_all(line.as_bytes())?;
        let mut answer = [0; 256];
        fabrics.read(&mut answer).map(|_| ())
    };
    match connected() {
        // This very path is there and connects by itself.
        Err(error) if error.raw_os_error() == Some(EALREADY) => Ok(()),
        Err(error) => Err(format!("the kernel cannot connect: {error}")),
        Ok(()) => Ok(()),
    }
}

/// The kernel's answer to a connection that there is.
const EALREADY: i32 = 114;

fn log_in(target: &Target, address: SocketAddr) -> Result<(), String> {
    let order = orders::iscsiadm(target, address, &orders::LOGIN);
    command("iscsiadm", &order).map_err(|why| {
        let is_refused = why.contains("non-retryable") && target.has_digests();
        match is_refused {
            true => format!("{why}; if the target does not support digests, set `digests = false`"),
            false => why,
        }
    })
}

/// Starts a unit and waits until it runs.
fn start(unit: &str) -> Result<(), String> {
    command("systemctl", &["start".into(), unit.into()])
}

/// Runs a program; its conclusion is the reason where it fails.
fn command(program: &str, arguments: &[String]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() || output.status.code() == Some(SESSION_EXISTS) {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    // The last line is the program's conclusion.
    let words: Vec<&str> = words.split_whitespace().collect();
    let words = words.join(" ");
    let from = words.char_indices().rev().nth(WORDS_CHARS_MAX);
    let words = from.map_or(words.as_str(), |(at, _)| &words[at..]);
    Err(format!("{program}: {words} ({})", output.status))
}

/// For root alone, whatever stood there before.
fn write_private(path: &Path, text: &str) -> Result<(), String> {
    let write = || -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent)?;
        let fresh = parent.join(".ringpost-new");
        let mut fresh = Replacement::begin_as(path, &fresh, Mode::Private)?;
        fresh.file().write_all(text.as_bytes())?;
        fresh.put()
    };
    write().map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Tells systemd that whoever waits for us need wait no longer. Nobody listens in a terminal.
pub fn tell_ready() {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => net::SocketAddr::from_abstract_name(name),
        None => net::SocketAddr::from_pathname(&socket),
    };
    let sent = address.and_then(|address| {
        let from = net::UnixDatagram::unbound()?;
        from.send_to_addr(b"READY=1", &address)
    });
    if let Err(error) = sent {
        eprintln!("ringpost-san: systemd cannot be notified: {error}");
    }
}
