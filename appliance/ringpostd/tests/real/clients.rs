//! Clients that we did not write: swaks, curl, Python's smtplib and imaplib, at both ends.

use std::fs;
use std::process::Command;

use crate::connect;
use crate::daemon::{ALICE, BOB, Home, PASSWORD, bounded, said};

fn run(program: &str, arguments: &[&str]) -> String {
    let output = bounded(Command::new(program).args(arguments));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        said(&output)
    );
    said(&output)
}

/// Runs a Python program with the ports it needs.
pub fn python(home: &Home, program: &str) -> String {
    let ports = [25, 24, 143, 993].map(|port| home.port(port).to_string());
    let mut arguments = vec!["-c", program];
    arguments.extend(ports.iter().map(String::as_str));
    run("python3", &arguments)
}

#[test]
fn swaks_sends_and_curl_reads() {
    let home = Home::new();
    let _daemon = home.start();
    let server = home.smtp().to_string();
    let plain = [
        "--server",
        &server,
        "--from",
        "me@example.net",
        "--to",
        ALICE,
        "--header",
        "Subject: by swaks",
    ];
    run("swaks", &plain);
    let mut with_tls = plain.to_vec();
    with_tls.push("--tls");
    run("swaks", &with_tls);
    let lmtp = home.at(24).to_string();
    run(
        "swaks",
        &[
            "--server",
            &lmtp,
            "--protocol",
            "LMTP",
            "--from",
            "me@example.net",
            "--to",
            &format!("{ALICE},{BOB}"),
        ],
    );
    let user = format!("{ALICE}:{PASSWORD}");
    for index in 1..=3 {
        let url = format!("imap://{}/INBOX;MAILINDEX={index}", home.imap());
        assert!(
            run("curl", &["--silent", "--show-error", "--user", &user, &url])
                .contains("From: me@example.net")
        );
    }
    let url = format!("imaps://{}/INBOX;MAILINDEX=1", home.at(993));
    let text = run(
        "curl",
        &[
            "--silent",
            "--show-error",
            "--insecure",
            "--user",
            &user,
            &url,
        ],
    );
    assert!(
        text.contains("Subject: by swaks") && text.contains("Received:"),
        "{text}"
    );
}

#[test]
fn curl_sends_lists_searches_and_stores() {
    let home = Home::new();
    let _daemon = home.start();
    let letter = home.directory.path().join("letter");
    fs::write(
        &letter,
        "Subject: by curl\r\n\r\n.a dot at the start\r\nbody\r\n",
    )
    .expect("our own file");
    let url = format!("smtp://{}/client.example.net", home.smtp());
    let letter = letter.to_string_lossy().into_owned();
    run(
        "curl",
        &[
            "--silent",
            "--show-error",
            &url,
            "--mail-from",
            "me@example.net",
            "--mail-rcpt",
            ALICE,
            "-T",
            &letter,
        ],
    );
    let user = format!("{ALICE}:{PASSWORD}");
    let imap = |path: &str, request: &str| {
        let url = format!("imap://{}/{path}", home.imap());
        run(
            "curl",
            &[
                "--silent",
                "--show-error",
                "--user",
                &user,
                &url,
                "-X",
                request,
            ],
        )
    };
    assert!(imap("", "LIST \"\" *").contains("INBOX"));
    assert!(imap("INBOX", "SEARCH SUBJECT curl").contains("SEARCH 1"));
    assert!(imap("INBOX", "STORE 1 +FLAGS (\\Flagged)").contains("\\Flagged"));
    assert!(imap("INBOX", "FETCH 1 (FLAGS ENVELOPE)").contains("by curl"));
    let url = format!("imap://{}/INBOX;MAILINDEX=1", home.imap());
    assert!(
        run("curl", &["--silent", "--user", &user, &url]).contains("\r\n.a dot at the start\r\n")
    );
}

#[test]
fn python_goes_through_a_day_of_mail() {
    let home = Home::new();
    let _daemon = home.start();
    let text = python(
        &home,
        r#"
import imaplib, smtplib, ssl, sys
from email.message import EmailMessage
smtp_port, lmtp_port, imap_port, imaps_port = map(int, sys.argv[1:5])
anyone = ssl._create_unverified_context()
def letter(subject):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "me@example.net", "alice@example.org", subject
    message.set_content("grüße\n.\n..dots\n")
    message.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="octet-stream", filename="all.bin")
    return message
with smtplib.SMTP("127.0.0.1", smtp_port) as smtp:
    smtp.send_message(letter("one"))
    smtp.starttls(context=anyone)
    smtp.send_message(letter("two"), to_addrs=["alice@example.org", "bob@example.org"])
with smtplib.LMTP("127.0.0.1", lmtp_port) as lmtp:
    lmtp.send_message(letter("three"))

def check(kind_data):
    kind, data = kind_data
    assert kind == "OK", (kind, data)
    return data

imap = imaplib.IMAP4("127.0.0.1", imap_port)
check(imap.login("alice@example.org", "ringpost"))
assert check(imap.select("INBOX")) == [b"3"]
import email, email.policy
subjects = []
for number in range(1, 4):
    raw = check(imap.fetch(str(number), "(RFC822)"))[0][1]
    message = email.message_from_bytes(raw, policy=email.policy.default)
    subjects.append(message["Subject"])
    parts = list(message.iter_attachments())
    assert parts[0].get_content() == bytes(range(256)) * 40
    assert message.get_body().get_content().replace("\r\n", "\n").startswith("gr\u00fc\u00dfe\n.\n..dots")
assert subjects == ["one", "two", "three"], subjects
check(imap.create("Trips"))
check(imap.copy("1:2", "Trips"))
check(imap.store("1", "+FLAGS", r"(\Deleted)"))
assert check(imap.expunge()) == [b"1"]
assert check(imap.search(None, "SUBJECT", "three"))== [b"2"]
assert check(imap.uid("SEARCH", "ALL")) == [b"2 3"]
check(imap.append("Trips", r"(\Seen)", None, letter("four").as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")))
status = check(imap.status("Trips", "(MESSAGES UNSEEN UIDNEXT)"))[0]
assert b"MESSAGES 3" in status, status
check(imap.rename("Trips", "Kept"))
assert any(b"Kept" in line for line in check(imap.list()))
check(imap.select("Kept"))
assert len(check(imap.uid("FETCH", "1:*", "(FLAGS BODYSTRUCTURE ENVELOPE)"))) == 3
check(imap.close()); imap.logout()

imap = imaplib.IMAP4("127.0.0.1", imap_port)
imap.starttls(anyone)
check(imap.authenticate("PLAIN", lambda _: b"\0bob@example.org\0ringpost"))
assert check(imap.select("INBOX", readonly=True)) == [b"1"]
imap.logout()
imap = imaplib.IMAP4_SSL("127.0.0.1", imaps_port, ssl_context=anyone)
try:
    imap.login("alice@example.org", "wrong")
    raise SystemExit("a wrong password was taken")
except imaplib.IMAP4.error:
    pass
check(imap.login("alice@example.org", "ringpost"))
imap.logout()
print("a good day")
"#,
    );
    assert!(text.contains("a good day"), "{text}");
}

/// Flags, folders and UIDs are in the log too: a kill in the middle of them keeps what was answered with OK.
#[test]
fn what_imap_answered_with_ok_survives_a_kill() {
    let home = Home::new();
    let daemon = home.start();
    let mut smtp = connect::smtp(home.smtp()).expect("it listens");
    for _ in 0..5 {
        assert!(
            smtp.send(&[ALICE], "Subject: x\r\n\r\nbody\r\n")
                .expect("a reply")
                .code
                == 250
        );
    }
    let mut imap = connect::imap(home.imap(), ALICE, PASSWORD).expect("login");
    imap.select("INBOX").expect("INBOX");
    for command in [
        "CREATE Work",
        "UID COPY 1:3 Work",
        "UID STORE 2 +FLAGS (\\Flagged Project)",
        "UID STORE 1 +FLAGS (\\Deleted)",
        "EXPUNGE",
        "UID MOVE 3 Work",
    ] {
        imap.command(command)
            .unwrap_or_else(|error| panic!("{command}: {error}"));
    }
    daemon.kill();
    let _daemon = home.start();
    let mut imap = connect::imap(home.imap(), ALICE, PASSWORD).expect("login");
    imap.select("INBOX").expect("INBOX");
    let uids: Vec<u32> = imap
        .messages()
        .expect("FETCH")
        .iter()
        .map(|message| message.uid)
        .collect();
    assert_eq!(uids, [2, 4, 5]);
    let flags = imap.command("UID FETCH 2 (FLAGS)").expect("FETCH");
    assert!(flags.iter().any(|response| {
        let line = String::from_utf8_lossy(response.as_bytes());
        line.contains("\\Flagged") && line.contains("Project")
    }));
    imap.select("Work").expect("Work");
    assert_eq!(imap.messages().expect("FETCH").len(), 4);
}

/// The three doors of monitoring answer, and the metrics name what happened.
#[test]
fn health_and_metrics_answer() {
    let home = Home::new();
    let _daemon = home.start();
    let get = |path: &str| {
        run(
            "curl",
            &[
                "--silent",
                "--show-error",
                "--fail",
                &format!("http://{}{path}", home.at(80)),
            ],
        )
    };
    get("/healthz");
    get("/readyz");
    let metrics = get("/metrics");
    assert!(
        metrics.lines().any(|line| line.starts_with("ringpost_")),
        "{metrics}"
    );
    let status = home.ctl_ok(&["--json", "status"]);
    serde_json::from_str::<serde_json::Value>(&status)
        .unwrap_or_else(|error| panic!("{error}: {status}"));
    let legs = home.ctl_ok(&["leg", "list"]);
    assert_eq!(legs.matches("in_sync").count(), 2, "{legs}");
}

/// SORT and THREAD as Python's imaplib asks for them, and their results cut.
#[test]
fn imaplib_sorts_and_threads() {
    let home = Home::new();
    let _daemon = home.start();
    let text = python(
        &home,
        r#"
import imaplib, sys
imap = imaplib.IMAP4("127.0.0.1", int(sys.argv[3]))
imap.login("alice@example.org", "ringpost")
assert {"SORT", "THREAD=REFERENCES", "ESORT", "PARTIAL"} <= set(str(imap.capability()[1][0], "ascii").split())
for number in range(60):
    head = b"Message-ID: <%d@x>\r\nSubject: topic %d\r\nDate: %d Jan 2026 00:%02d:00 +0000\r\n" % (number, number % 3, 28 - number % 28, number)
    if number >= 3:
        head += b"References: <%d@x>\r\n" % (number - 3)
    imap.append("INBOX", None, None, head + b"\r\nx\r\n")
imap.select("INBOX")
kind, found = imap.sort("(SUBJECT REVERSE DATE)", "UTF-8", "ALL")
wanted = sorted(range(60), key=lambda number: (number % 3, number % 28, -number))
assert found == [" ".join(str(number + 1) for number in wanted).encode()], found
kind, found = imap.uid("SORT", "RETURN (COUNT PARTIAL 1:3)", "(REVERSE DATE)", "UTF-8", "ALL")
assert kind == "OK", found
answer = imap.response("ESEARCH")
assert b"PARTIAL (1:3 57,29,1) COUNT 60" in answer[1][0], answer
kind, threads = imap.thread("REFERENCES", "UTF-8", "ALL")
chains = [" ".join(str(number + 1) for number in range(first, 60, 3)) for first in range(3)]
assert sorted(threads[0].decode().strip("()").split(")(")) == sorted(chains), threads
kind, threads = imap.uid("THREAD", "ORDEREDSUBJECT", "UTF-8", "SUBJECT", "topic")
assert threads[0].count(b"(") == 60, threads
print("in order")
"#,
    );
    assert!(text.contains("in order"), "{text}");
}
