//! Mail programs that other people wrote, each with a whole job that is checked afterwards, by imaplib or by what the program stored.
//!
//! A job is a Python program in `programs/`, behind what they share (`programs/shared.py`). It ends with "a whole job", or with the words of the program that failed.
//! curl, swaks and imaplib are in `clients.rs`; POP3's programs in `pop3.rs`; mbsync in `sessions.rs`; neomutt in `resync.rs`; Thunderbird in `thunderbird.rs`.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::connect;
use crate::daemon::{ALICE, BOB, Home, PASSWORD, bounded, bounded_by, said};

const SHARED: &str = include_str!("programs/shared.py");
/// Two minutes were not enough beside five compilers. Each program in a job has a bound of its own (`programs/shared.py`).
const JOB_WITHIN: Duration = Duration::from_secs(1_200);

/// Runs a job against a daemon that is ready.
fn job(home: &Home, program: &str) {
    let own = home.directory.path().join("job");
    fs::create_dir_all(&own).expect("our own directory");
    let output = bounded_by(
        JOB_WITHIN,
        Command::new("python3")
            .args(["-c", &format!("{SHARED}\n{program}")])
            .arg(home.port(0).to_string())
            .arg(&own)
            .arg(home.state().join("certificate.pem")),
    );
    let text = said(&output);
    assert!(
        output.status.success() && text.contains("a whole job"),
        "{text}"
    );
}

/// For a daemon of the job's own.
fn whole(program: &str) {
    let home = Home::new();
    let _daemon = home.start();
    job(&home, program);
}

#[test]
fn offlineimap_keeps_an_account_in_step_both_ways() {
    whole(include_str!("programs/offlineimap.py"));
}

#[test]
fn getmail_leaves_mail_and_takes_it_by_pop3_and_imap() {
    whole(include_str!("programs/getmail.py"));
}

#[test]
fn sieve_connect_brings_a_script_that_files_mail() {
    whole(include_str!("programs/sieve_connect.py"));
}

#[test]
fn mutt_goes_through_its_mail_with_a_header_cache() {
    whole(concat!(
        include_str!("programs/terminal.py"),
        include_str!("programs/mutt.py")
    ));
}

/// What a person sends with an app password for submission, by two mechanisms and both ports; it reads no mail.
#[test]
fn swaks_and_curl_submit_with_an_app_password() {
    let home = Home::new();
    let _daemon = home.start();
    let scope = ["--name", "laptop", "--scope", "submission"];
    let made = home.ctl_ok(&[&["--json", "app-password", "add", ALICE], &scope[..]].concat());
    let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    let password = made["password"].as_str().expect("a password");
    for (port, security, mechanism) in [(587, "--tls", "PLAIN"), (465, "--tls-on-connect", "LOGIN")]
    {
        let server = home.at(port).to_string();
        let sent = bounded(
            Command::new("swaks")
                .args(["--server", &server, security, "--auth", mechanism])
                .args(["--auth-user", ALICE, "--auth-password", password])
                .args(["--from", ALICE, "--to", BOB]),
        );
        assert!(sent.status.success(), "{}", said(&sent));
    }
    let login = format!("{ALICE}:{password}");
    let curl = |url: &str, more: &[&str]| {
        bounded(
            Command::new("curl")
                .args(["--silent", "--show-error", "--insecure", "--user", &login])
                .arg(url)
                .args(more),
        )
    };
    let letter = home.directory.path().join("letter");
    let text = format!("From: {ALICE}\r\nSubject: by curl\r\n\r\nbody\r\n");
    fs::write(&letter, text).expect("our own file");
    let letter = letter.display().to_string();
    let way = ["--mail-from", ALICE, "--mail-rcpt", BOB, "-T", &letter];
    let sent = curl(&format!("smtps://{}", home.at(465)), &way);
    assert!(sent.status.success(), "{}", said(&sent));
    let read = curl(&format!("imaps://{}/INBOX", home.at(993)), &[]);
    // CURLE_LOGIN_DENIED.
    assert_eq!(read.status.code(), Some(67), "{}", said(&read));
    let mut imap = connect::imap(home.imap(), BOB, PASSWORD).expect("login");
    // Until the queue has handed over all three, which goes on beside the answers; bounded by a minute.
    let count = || {
        imap.select("INBOX").expect("INBOX");
        imap.messages().expect("FETCH").len()
    };
    let all = std::iter::repeat_with(count).take(1200).any(|count| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        count == 3
    });
    assert!(all, "not all of three messages arrived");
}
