//! Dovecot 2.3 from Debian's package (bookworm), with a configuration of its own: Maildir, IMAP and LMTP on loopback,
//! any account with one password. Process limits are raised; fsync settings are its defaults.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PASSWORD, Running, free_address, run_quietly, spawn, wait_for};

/// Mail is owned by Debian's `mail` user, as Dovecot refuses to deliver as root.
const MAIL_USER: &str = "mail";

/// Dovecot's master must be started by root, to serve as other users.
pub fn start(directory: &Path) -> io::Result<Running> {
    let version = Command::new("dovecot").arg("--version").output()?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_string();
    if !version.starts_with("2.3.") {
        return Err(io::Error::other(format!(
            "Dovecot {version}: this bench knows the configuration of 2.3 only"
        )));
    }
    let mail = mail_root(directory);
    fs::create_dir_all(&mail)?;
    fs::create_dir_all(directory.join("run"))?;
    run_quietly(Command::new("chown").arg(MAIL_USER).arg(&mail))?;
    // The mail user must be able to walk down to its mail.
    run_quietly(Command::new("chmod").arg("755").arg(directory))?;
    let (imap, lmtp, imaps) = (free_address()?, free_address()?, free_address()?);
    let (certificate, key) = certificate(directory)?;
    let config = directory.join("dovecot.conf");
    let text = format!(
        "base_dir = {run}\nstate_dir = {run}\nlog_path = {log}\nprotocols = imap lmtp\nlisten = 127.0.0.1\n\
         mail_location = maildir:{mail}/%u\nfirst_valid_uid = 1\nfirst_valid_gid = 1\nmail_privileged_group = {user}\n\
         disable_plaintext_auth = no\nauth_mechanisms = plain\nssl = yes\nssl_cert = <{cert}\nssl_key = <{key}\n\
         mail_max_userip_connections = 0\ndefault_client_limit = 20000\ndefault_process_limit = 4000\n\
         default_vsz_limit = 1G\n\
         passdb {{\n  driver = static\n  args = password={PASSWORD}\n}}\n\
         userdb {{\n  driver = static\n  args = uid={user} gid={user} home={mail}/%u allow_all_users=yes\n}}\n\
         service anvil {{\n  client_limit = 20000\n}}\nservice auth {{\n  client_limit = 20000\n}}\n\
         service imap-login {{\n  service_count = 0\n  process_min_avail = 2\n  client_limit = 4000\n  \
         inet_listener imap {{\n    port = {imap_port}\n  }}\n  inet_listener imaps {{\n    port = {imaps_port}\n    ssl = yes\n  }}\n}}\n\
         service imap {{\n  process_limit = 4000\n}}\n\
         service lmtp {{\n  process_min_avail = 4\n  inet_listener lmtp {{\n    address = 127.0.0.1\n    port = {lmtp_port}\n  }}\n}}\n\
         namespace inbox {{\n  inbox = yes\n}}\n",
        run = directory.join("run").display(),
        log = directory.join("dovecot-events.log").display(),
        mail = mail.display(),
        user = MAIL_USER,
        cert = certificate.display(),
        key = key.display(),
        imap_port = imap.port(),
        imaps_port = imaps.port(),
        lmtp_port = lmtp.port(),
    );
    fs::write(&config, text)?;
    let log = directory.join("dovecot.log");
    let mut command = Command::new("dovecot");
    command.arg("-F").arg("-c").arg(&config);
    let mut child = spawn(&mut command, &log)?;
    let ready = wait_for(&[imap, lmtp], &mut child, &log);
    let running = Running {
        processes: vec![child],
        directory: directory.to_path_buf(),
        smtp: None,
        lmtp: Some(lmtp),
        submission: None,
        imap: Some(imap),
        imaps: Some(imaps),
    };
    ready.map(|()| running)
}

/// Fills an account's INBOX by writing Maildir files, which is how an import would do it. Delivering a hundred thousand
/// messages one by one would take minutes and leave the same files.
pub fn fill(
    directory: &Path,
    account: &str,
    messages: &mut dyn FnMut(u64) -> Vec<u8>,
    count: u64,
) -> io::Result<()> {
    let home = mail_root(directory).join(account);
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(home.join(folder))?;
    }
    for index in 0..count {
        let name = format!("{}.M{index:06}P1.bench:2,S", 1_700_000_000 + index);
        fs::write(home.join("cur").join(name), messages(index))?;
    }
    run_quietly(
        Command::new("chown")
            .arg("-R")
            .arg(format!("{MAIL_USER}:{MAIL_USER}"))
            .arg(&home),
    )
}

fn mail_root(directory: &Path) -> PathBuf {
    directory.join("mail")
}

/// A self-signed certificate by openssl, which Dovecot's package brings.
fn certificate(directory: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]);
    command
        .args(["-days", "2", "-subj", "/CN=localhost"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    run_quietly(&mut command)?;
    Ok((certificate, key))
}
