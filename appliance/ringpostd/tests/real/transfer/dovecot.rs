//! Dovecot as the server that people come from, and the one that they go to. Where it is missing the story says so and ends, unless `RINGPOST_CI` is set.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mail::{Flags, InternalDate};

use super::{fill, letter, mail_of, secret, session, sum, transfer};
use crate::daemon::{ALICE, BOB, Home, PASSWORD};
use crate::internet::installed;

/// Ends with its story.
struct Dovecot {
    child: Child,
    at: SocketAddr,
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // Its master ends its children.
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Version 2.3, with Maildir++ (levels divided by dots) and a folder for sent mail with a name of its own.
fn start(directory: &Path) -> Option<Dovecot> {
    let is_missing = installed("dovecot").is_none() || !nix::unistd::geteuid().is_root();
    let version = Command::new("dovecot").arg("--version").output();
    let is_known = version.is_ok_and(|version| version.stdout.starts_with(b"2.3."));
    if is_missing || !is_known {
        assert!(std::env::var_os("RINGPOST_CI").is_none(), "no Dovecot 2.3");
        eprintln!("skipped: Dovecot 2.3 and root: missing");
        return None;
    }
    let mail = directory.join("mail");
    fs::create_dir_all(&mail).expect("ours");
    fs::create_dir_all(directory.join("run")).expect("ours");
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("ours");
    let owned = Command::new("chown").arg("mail").arg(&mail).status();
    assert!(owned.expect("chown").success());
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let at = free.local_addr().expect("bound");
    drop(free);
    let config = directory.join("dovecot.conf");
    let text = format!(
        "base_dir = {run}\nstate_dir = {run}\nlog_path = {log}\nprotocols = imap\nlisten = 127.0.0.1\nssl = no\n\
         mail_location = maildir:{mail}/%u\nfirst_valid_uid = 1\nfirst_valid_gid = 1\nmail_privileged_group = mail\n\
         disable_plaintext_auth = no\nauth_mechanisms = plain\ndefault_vsz_limit = 1G\n\
         passdb {{\n  driver = static\n  args = password={PASSWORD}\n}}\n\
         userdb {{\n  driver = static\n  args = uid=mail gid=mail home={mail}/%u allow_all_users=yes\n}}\n\
         service imap-login {{\n  inet_listener imap {{\n    port = {port}\n  }}\n  inet_listener imaps {{\n    port = 0\n  }}\n}}\n\
         namespace inbox {{\n  inbox = yes\n  separator = .\n  mailbox Gesendet {{\n    auto = create\n    special_use = \\Sent\n  }}\n}}\n",
        run = directory.join("run").display(),
        log = directory.join("dovecot.log").display(),
        mail = mail.display(),
        port = at.port(),
    );
    fs::write(&config, text).expect("ours");
    let mut child = Command::new("dovecot")
        .arg("-F")
        .arg("-c")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it is installed");
    loop {
        // until it listens, or has ended
        if TcpStream::connect(at).is_ok() {
            return Some(Dovecot { child, at });
        }
        let ended = child.try_wait().expect("our own child");
        let log = fs::read_to_string(directory.join("dovecot.log")).unwrap_or_default();
        assert!(ended.is_none(), "Dovecot ended: {log}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn dovecot_is_left_with_all_mail_and_gets_it_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(dovecot) = start(directory.path()) else {
        return;
    };
    let home = Home::with_leg_size("128MiB");
    let _daemon = home.start();
    fill(dovecot.at, ALICE, PASSWORD, '.');
    let mut mover = session(dovecot.at, ALICE, PASSWORD);
    let date = InternalDate::utc(1_700_000_000);
    let sent = mover.append("Gesendet", &Flags::default(), date, &letter(9));
    sent.expect("stored");
    let (secret, url) = (secret(&home), format!("imap://{}", dovecot.at));
    let way = ["--password-file", &secret, "--allow-plaintext"];
    let import = [
        &["import", "imap", BOB, "--from", &url, "--user", ALICE][..],
        &way,
    ]
    .concat();
    for brought in [7, 0] {
        let (status, told) = transfer(&home, &import);
        assert_eq!(
            (status, sum(&told, "brought")),
            (Some(0), brought),
            "{told}"
        );
    }
    let source = mail_of(dovecot.at, ALICE, PASSWORD);
    let mut here = mail_of(home.imap(), BOB, PASSWORD);
    // What is sent here has the folder that has this use here, or a new one with it.
    let mut listed = String::new();
    let mut mover = session(home.imap(), BOB, PASSWORD);
    let uses = mover.command("LIST \"\" \"*\" RETURN (SPECIAL-USE)", |response| {
        let line = String::from_utf8_lossy(response.as_bytes()).into_owned();
        if line.contains("\\Sent") {
            listed = line.rsplit(' ').next().unwrap_or_default().replace('"', "");
        }
        Ok(())
    });
    uses.expect("listed");
    for seen in here.iter_mut().filter(|seen| seen.0 == listed) {
        seen.0 = "Gesendet".to_owned();
    }
    here.sort();
    assert_eq!(here, source);

    let another = "another@example.net";
    let export = [&["export", "imap", BOB, &url, "--user", another][..], &way].concat();
    for brought in [7, 0] {
        let (status, told) = transfer(&home, &export);
        assert_eq!(
            (status, sum(&told, "brought")),
            (Some(0), brought),
            "{told}"
        );
    }
    assert_eq!(mail_of(dovecot.at, another, PASSWORD), source);
}

/// POP3 and folders with gaps are in `crate::fetch`; here IMAP of a server that we did not write, with its deletions.
#[test]
fn mail_at_dovecot_is_fetched_once_and_deleted_there_when_it_is_here() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(dovecot) = start(directory.path()) else {
        return;
    };
    let home = crate::fetch::fetching("128MiB");
    let _daemon = home.start();
    let mut mover = session(dovecot.at, ALICE, PASSWORD);
    let date = InternalDate::utc(1_700_000_000);
    let put = |mover: &mut mua::mover::Mover, number| {
        let stored = mover.append("INBOX", &Flags::default(), date, &letter(number));
        stored.expect("stored");
    };
    (1..=6).for_each(|number| put(&mut mover, number));
    let (secret, url) = (secret(&home), format!("imap://{}", dovecot.at));
    home.ctl_ok(&[
        "fetch",
        "add",
        BOB,
        &url,
        "--user",
        ALICE,
        "--password-file",
        &secret,
        "--allow-plaintext",
        "--allow-private",
        "--delete",
    ]);
    let run = || loop {
        // until no conversation is under way
        let output = home.ctl(&["fetch", "run", BOB, "1"]);
        if !crate::daemon::said(&output).contains("is under way") {
            break output.status.success();
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(run());
    put(&mut mover, 7);
    for _ in 0..2 {
        assert!(run());
    }
    let here = mail_of(home.imap(), BOB, PASSWORD);
    assert_eq!(here.len(), 7);
    assert!(
        here.iter().all(|seen| seen.2 == 1_700_000_000),
        "with their dates"
    );
    assert!(mail_of(dovecot.at, ALICE, PASSWORD).is_empty());
}
