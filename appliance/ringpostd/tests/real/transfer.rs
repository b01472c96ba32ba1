//! Mail moves in and out: from a second Ringpost, from and to Dovecot, Maildir and mbox; with `kill -9` of either side in the middle.

mod dovecot;
mod manual;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use imap::client::{Response, Value};
use imap::date::parse_date_time;
use mail::{Flags, InternalDate, Keyword, SystemFlags};
use mua::mover::{Mover, fetched, quoted};
use mua::stream::Stream;
use serde_json::Value as Json;

use crate::daemon::{ALICE, BOB, Home, PASSWORD, files_below, said};

/// Far away: it is never waited for.
const WITHIN: Duration = Duration::from_secs(60);

/// One message as a person sees it: folder, flags, date, text.
type Seen = (String, Vec<String>, i64, Vec<u8>);

pub fn session(server: SocketAddr, user: &str, password: &str) -> Mover {
    let stream = Stream::plain(server, WITHIN).expect("it listens");
    let mut mover = Mover::over(stream).expect("greeted");
    mover.log_in(user, password).expect("the password is right");
    mover
}

fn words(value: &Value) -> String {
    match value {
        Value::Atom(text) => text.clone(),
        Value::String(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::List(_) => String::new(),
    }
}

/// Names on the wire, of folders that can be opened.
fn folders(mover: &mut Mover) -> Vec<String> {
    let mut names = Vec::new();
    let list = mover.command("LIST \"\" \"*\"", |response: &Response| {
        let values = response.values().expect("a list");
        if !String::from_utf8_lossy(response.as_bytes()).contains("\\No") {
            names.push(words(&values[4]));
        }
        Ok(())
    });
    list.expect("listed");
    names
}

/// All mail of an account, sorted; the levels of names divided by `/`.
pub fn mail_of(server: SocketAddr, user: &str, password: &str) -> Vec<Seen> {
    let mut mover = session(server, user, password);
    let mut all = Vec::new();
    for name in folders(&mut mover) {
        let opened = mover.command(&format!("EXAMINE {}", quoted(&name)), |_| Ok(()));
        opened.expect("it can be opened");
        let items = "UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])";
        let done = mover.command(items, |response| {
            let Some(pairs) = fetched(response) else {
                return Ok(());
            };
            let pairs: BTreeMap<String, Value> = pairs.into_iter().collect();
            let Value::List(flags) = &pairs["FLAGS"] else {
                panic!("a list of flags")
            };
            let flags = flags.iter().map(words).map(|flag| flag.to_lowercase());
            let mut flags: Vec<String> = flags.filter(|flag| flag != "\\recent").collect();
            flags.sort();
            let date = words(&pairs["INTERNALDATE"]);
            let date = parse_date_time(date.as_bytes()).expect("a date");
            let Value::String(text) = &pairs["BODY[]"] else {
                panic!("a text")
            };
            let folder = name.replace('.', "/");
            all.push((folder, flags, date.unix_seconds, text.clone()));
            Ok(())
        });
        done.expect("fetched");
    }
    all.sort();
    all
}

fn letter(number: usize) -> Vec<u8> {
    format!(
        "From: ann@example.net\r\nTo: {ALICE}\r\nSubject: letter {number}\r\nMessage-ID: <{number}@example.net>\r\n\r\nFrom here on: {number}\r\n>From\r\n\r\nend\r\n"
    )
    .into_bytes()
}

fn flags(system: SystemFlags, keywords: &[&str]) -> Flags {
    let keywords = keywords
        .iter()
        .map(|word| Keyword::parse(word).expect("an atom"));
    Flags {
        system,
        keywords: keywords.collect(),
    }
}

/// Folders, flags and dates of a person who has used her account for a while. `separator`: that of the server.
fn fill(server: SocketAddr, user: &str, password: &str, separator: char) {
    let mut mover = session(server, user, password);
    let deep = format!("Work{separator}Entw&APw-rfe");
    for folder in [deep.as_str(), "a \"quoted\" one"] {
        let made = mover.command(&format!("CREATE {}", quoted(folder)), |_| Ok(()));
        made.expect("made");
    }
    let seen = SystemFlags::SEEN;
    let all = seen
        .with(SystemFlags::ANSWERED)
        .with(SystemFlags::FLAGGED)
        .with(SystemFlags::DRAFT)
        .with(SystemFlags::DELETED);
    let eight_bit = b"Subject: \xe4\xff\r\nX: \x01\r\n\r\nno end of line".to_vec();
    let huge = format!("Subject: {}\r\n\r\nx\r\n", "word ".repeat(20_000)).into_bytes();
    let many = "0123456789\r\n".repeat(20_000).into_bytes();
    let letters = [
        ("INBOX", flags(seen, &[]), letter(1)),
        (
            "INBOX",
            flags(SystemFlags::default(), &["$Forwarded", "later"]),
            letter(2),
        ),
        // The same twice is two.
        ("INBOX", flags(seen, &[]), letter(1)),
        (deep.as_str(), flags(all, &["$Junk"]), eight_bit),
        (deep.as_str(), flags(seen, &[]), huge),
        ("a \"quoted\" one", flags(seen, &[]), many),
    ];
    for ((folder, flags, text), day) in letters.iter().zip(0..) {
        let date = InternalDate {
            unix_seconds: 1_000_000_000 + day * 86_400,
            zone_minutes: 90,
        };
        let stored = mover.append(folder, flags, date, text);
        stored.expect("stored");
    }
}

/// `ringpostctl … --json`: the exit status and what it printed.
fn transfer(home: &Home, arguments: &[&str]) -> (Option<i32>, Json) {
    let journal = home.directory.path().join("journal").display().to_string();
    let more = ["--json", "--journal", &journal];
    let output = home.ctl(&[arguments, &more].concat());
    let json = serde_json::from_slice(&output.stdout);
    let json = json.unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    (output.status.code(), json)
}

/// The sum of a figure over all folders of all accounts.
fn sum(json: &Json, figure: &str) -> u64 {
    let accounts = json["accounts"].as_array().expect("accounts").iter();
    let folders = accounts.flat_map(|account| account["folders"].as_array().expect("folders"));
    folders
        .map(|folder| folder[figure].as_u64().expect("a figure"))
        .sum()
}

fn secret(home: &Home) -> String {
    let path = home.directory.path().join("secret");
    fs::write(&path, format!("{PASSWORD}\n")).expect("ours");
    path.display().to_string()
}

#[test]
fn a_second_ringpost_is_read_with_folders_flags_and_dates() {
    let (there, here) = (Home::with_leg_size("128MiB"), Home::with_leg_size("128MiB"));
    let (_old, _new) = (there.start(), here.start());
    fill(there.imap(), ALICE, PASSWORD, '/');
    let (secret, url) = (
        secret(&here),
        format!("imaps://127.0.0.1:{}", there.port(993)),
    );
    let ca = there.state().join("certificate.pem").display().to_string();
    let arguments = [
        "import",
        "imap",
        BOB,
        "--from",
        &url,
        "--user",
        ALICE,
        "--password-file",
        &secret,
        "--server-ca",
        &ca,
    ];
    let (status, told) = transfer(&here, &arguments[..9]);
    let refused = told["refused"].as_str().expect("a certificate of nowhere");
    assert_eq!(
        (status, refused.contains("--server-ca")),
        (Some(1), true),
        "{told}"
    );

    let (status, told) = transfer(&here, &arguments);
    assert_eq!((status, sum(&told, "brought")), (Some(0), 6), "{told}");
    let source = mail_of(there.imap(), ALICE, PASSWORD);
    assert_eq!(mail_of(here.imap(), BOB, PASSWORD), source);
    let audit = here.ctl_ok(&["audit", "list"]);
    assert!(audit.contains("administrator's import: user"), "{audit}");

    // What is new, what changed, and nothing twice.
    let mut mover = session(there.imap(), ALICE, PASSWORD);
    let date = InternalDate::utc(1_700_000_000);
    let flagged = flags(SystemFlags::FLAGGED, &[]);
    mover
        .append("INBOX", &flagged, date, &letter(3))
        .expect("stored");
    mover
        .command("SELECT INBOX", |_| Ok(()))
        .expect("it is there");
    mover
        .command("STORE 2 -FLAGS (later)", |_| Ok(()))
        .expect("changed");
    mover
        .command("STORE 2 +FLAGS (\\Seen)", |_| Ok(()))
        .expect("changed");
    let (status, told) = transfer(&here, &arguments);
    let figures = (
        sum(&told, "brought"),
        sum(&told, "found"),
        sum(&told, "flags_changed"),
    );
    assert_eq!((status, figures), (Some(0), (1, 0, 1)), "{told}");
    let source = mail_of(there.imap(), ALICE, PASSWORD);
    assert_eq!(mail_of(here.imap(), BOB, PASSWORD), source);
    // Without the journal contents are compared.
    fs::remove_dir_all(here.directory.path().join("journal")).expect("it is there");
    let (_, told) = transfer(&here, &arguments);
    assert_eq!(
        (sum(&told, "brought"), sum(&told, "found")),
        (0, 7),
        "{told}"
    );
}

#[test]
fn accounts_of_a_file_come_one_after_another_and_none_stops_another() {
    let (there, here) = (Home::with_leg_size("128MiB"), Home::with_leg_size("128MiB"));
    let (_old, _new) = (there.start(), here.start());
    fill(there.imap(), ALICE, PASSWORD, '/');
    fill(there.imap(), BOB, PASSWORD, '/');
    let file = here.directory.path().join("accounts.csv");
    let text = format!(
        "account,user,password\nmissing@example.org,{ALICE},{PASSWORD}\n{ALICE},{ALICE},wrong\n{BOB},{BOB},{PASSWORD}\n"
    );
    fs::write(&file, text).expect("ours");
    let url = format!("imap://{}", there.imap());
    // The huge message has more than this.
    here.ctl_ok(&["account", "quota", BOB, "200KiB"]);
    let (status, told) = transfer(
        &here,
        &[
            "import",
            "imap",
            "--csv",
            &file.display().to_string(),
            "--from",
            &url,
            "--allow-plaintext",
            "--map",
            "Work=Old work",
        ],
    );
    assert_eq!(status, Some(1));
    let ended: Vec<bool> = told["accounts"]
        .as_array()
        .expect("accounts")
        .iter()
        .map(|account| account["ended"].is_string())
        .collect();
    assert_eq!(ended, [true, true, false], "{told}");
    assert_eq!(
        (sum(&told, "brought"), sum(&told, "failed")),
        (5, 1),
        "{told}"
    );
    assert!(told.to_string().contains("OVERQUOTA"), "{told}");
    assert!(!told.to_string().contains("wrong\""), "a password: {told}");
    let mail = mail_of(here.imap(), BOB, PASSWORD);
    let moved = mail.iter().filter(|seen| seen.0.starts_with("Old work/"));
    assert_eq!(moved.count(), 2);
}

#[test]
fn maildirs_and_mbox_files_come_back_as_they_were() {
    let home = Home::with_leg_size("128MiB");
    let _daemon = home.start();
    fill(home.imap(), ALICE, PASSWORD, '/');
    let before = mail_of(home.imap(), ALICE, PASSWORD);
    let place = |name: &str| home.directory.path().join(name).display().to_string();
    for (kind, to) in [("maildir", BOB), ("mbox", "carol@example.org")] {
        let out = place(kind);
        for brought in [6, 0] {
            let (status, told) = transfer(&home, &["export", kind, ALICE, &out]);
            assert_eq!(
                (status, sum(&told, "brought")),
                (Some(0), brought),
                "{told}"
            );
        }
        for brought in [6, 0] {
            let (status, told) = transfer(&home, &["import", kind, &out, to]);
            assert_eq!(
                (status, sum(&told, "brought")),
                (Some(0), brought),
                "{told}"
            );
        }
        let mut after = mail_of(home.imap(), to, PASSWORD);
        if kind == "mbox" {
            // Each message of an mbox ends with a line.
            for seen in after
                .iter_mut()
                .filter(|seen| seen.3.ends_with(b"no end of line\r\n"))
            {
                seen.3.truncate(seen.3.len() - 2);
            }
        }
        assert_eq!(after, before, "{kind}");
    }
    // Only what the server got since then.
    let out = place("since");
    let (_, told) = transfer(
        &home,
        &[
            "export",
            "mbox",
            ALICE,
            &out,
            "--since",
            "2001-09-11",
            "--folder",
            "INBOX",
        ],
    );
    assert_eq!(
        (sum(&told, "messages"), sum(&told, "brought")),
        (1, 1),
        "{told}"
    );
}

/// What programs of decades left behind.
fn odd_files(root: &Path) -> (PathBuf, PathBuf) {
    let mbox = root.join("old.mbox");
    let text = b"\nFrom MAILER Sat Jan  3 01:05:34 1996\r\nSubject: crlf\r\n\r\nx\r\n\r\nFrom me to you\n\nFrom a Sat Jan  3 01:05:34 1996\nSubject: nul \0\n\n\
                 From b Sat Jan  3 01:05:34 1996\n\nFrom c Sat Jan  3 01:05:34 1996\nContent-Length: 99999\n\xff: \xfe\n\n>From x\n";
    fs::write(&mbox, text).expect("ours");
    let maildir = root.join("Maildir");
    for part in ["cur", "new", "tmp", ".Sub.Deep/cur"] {
        fs::create_dir_all(maildir.join(part)).expect("ours");
    }
    let files: [(&str, &[u8]); 6] = [
        ("dovecot-keywords", b"0 $Work\n"),
        ("cur/1.a:2,FSa", b"Subject: one\n\nbare\n"),
        ("cur/2.b:2,", b""),
        ("new/3.c", b"Subject: three\r\n\r\nmixed\nends\n"),
        ("new/4.d", b"\x1f\x8b packed"),
        (".Sub.Deep/cur/5.e:2,T", b"Subject: five\n\n.\n"),
    ];
    for (name, text) in files {
        fs::write(maildir.join(name), text).expect("ours");
    }
    std::os::unix::fs::symlink("/dev/zero", maildir.join("new/6.f")).expect("ours");
    (mbox, maildir)
}

#[test]
fn odd_files_bring_what_can_be_brought_and_name_the_rest() {
    let home = Home::with_leg_size("128MiB");
    let _daemon = home.start();
    let (mbox, maildir) = odd_files(home.directory.path());
    let (mbox, maildir) = (mbox.display().to_string(), maildir.display().to_string());
    let (status, told) = transfer(&home, &["import", "mbox", &mbox, BOB, "--map", "old=INBOX"]);
    assert_eq!(status, Some(1));
    let figures = (
        sum(&told, "messages"),
        sum(&told, "brought"),
        sum(&told, "failed"),
    );
    assert_eq!(figures, (4, 2, 2), "{told}");
    let told = told.to_string();
    assert!(told.contains("NUL") && told.contains("empty"), "{told}");
    let mail = mail_of(home.imap(), BOB, PASSWORD);
    let texts: Vec<&[u8]> = mail.iter().map(|seen| &seen.3[..]).collect();
    let wanted = [
        &b"Content-Length: 99999\r\n\xff: \xfe\r\n\r\nFrom x\r\n"[..],
        b"Subject: crlf\r\n\r\nx\r\n\r\nFrom me to you\r\n",
    ];
    assert_eq!(texts, wanted);
    assert!(
        mail.iter().all(|seen| seen.2 == 820_631_134),
        "dates of the lines"
    );

    let (status, told) = transfer(&home, &["import", "maildir", &maildir, ALICE]);
    assert_eq!(status, Some(1));
    let figures = (
        sum(&told, "messages"),
        sum(&told, "brought"),
        sum(&told, "failed"),
    );
    assert_eq!(figures, (5, 3, 2), "{told}");
    let mail = mail_of(home.imap(), ALICE, PASSWORD);
    let seen: Vec<(&str, Vec<String>)> =
        mail.iter().map(|seen| (&*seen.0, seen.1.clone())).collect();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    assert_eq!(
        seen,
        [
            ("INBOX", Vec::new()),
            ("INBOX", words(&["$work", "\\flagged", "\\seen"])),
            ("Sub/Deep", words(&["\\deleted"])),
        ]
    );
}

const MANY: usize = 400;

/// A Maildir with many small messages.
fn many(root: &Path) -> String {
    let maildir = root.join("many");
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(part)).expect("ours");
    }
    for number in 0..MANY {
        fs::write(maildir.join(format!("new/{number}.x")), letter(number)).expect("ours");
    }
    maildir.display().to_string()
}

/// `ringpostctl import maildir`, and the journal's lines of messages once there are more than `lines`.
fn begun(home: &Home, maildir: &str, lines: usize) -> Child {
    let program = Path::new(env!("CARGO_BIN_EXE_ringpostd")).with_file_name("ringpostctl");
    let journal = home.directory.path().join("journal");
    let mut child = Command::new(program)
        .arg("--state")
        .arg(home.state())
        .args(["import", "maildir", maildir, BOB, "--journal"])
        .arg(&journal)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("ringpostctl is built");
    loop {
        // until it has brought so many, or has ended
        let files = files_below(&journal).into_iter();
        let journals = files.filter(|file| file.extension().is_some_and(|end| end == "journal"));
        let texts = journals.map(|file| fs::read_to_string(file).unwrap_or_default());
        let count: usize = texts.map(|text| text.matches("\nM ").count()).sum();
        if count > lines || child.try_wait().expect("our own child").is_some() {
            return child;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_brings_each_message_once() {
    let home = Home::with_leg_size("128MiB");
    let _daemon = home.start();
    let maildir = many(home.directory.path());
    for lines in [0, 40, 90, 170, 260] {
        let mut child = begun(&home, &maildir, lines);
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }
    let (status, told) = transfer(&home, &["import", "maildir", &maildir, BOB]);
    assert_eq!(
        (status, sum(&told, "messages")),
        (Some(0), MANY as u64),
        "{told}"
    );
    assert!(sum(&told, "brought") < MANY as u64, "it went on: {told}");
    let mail = mail_of(home.imap(), BOB, PASSWORD);
    let mut texts: Vec<&[u8]> = mail.iter().map(|seen| &seen.3[..]).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!((mail.len(), texts.len()), (MANY, MANY), "no doubles");
}

#[test]
fn a_daemon_that_is_killed_in_mid_run_is_waited_for_and_gets_each_message_once() {
    let home = Home::with_leg_size("128MiB");
    let daemon = home.start();
    let maildir = many(home.directory.path());
    let mut child = begun(&home, &maildir, 50);
    daemon.kill();
    let _daemon = home.start();
    let status = child.wait().expect("our own child");
    assert!(status.success(), "{status}");
    let mail = mail_of(home.imap(), BOB, PASSWORD);
    let mut texts: Vec<&[u8]> = mail.iter().map(|seen| &seen.3[..]).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!((mail.len(), texts.len()), (MANY, MANY));
}

/// A server that says each of these after a command, whatever it is, on each connection.
fn scripted(says: Vec<(&'static str, String)>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok(handle) = stream.try_clone() else {
                return;
            };
            let _ = stream.write_all(b"* OK hi\r\n");
            for line in BufReader::new(handle).lines().map_while(Result::ok) {
                let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
                let found = says.iter().find(|(begin, _)| command.starts_with(begin));
                let (_, reply) = found.expect("the last one is for all");
                let is_cut = reply.ends_with("CUT");
                let reply = reply.trim_end_matches("CUT").replace("TAG", tag);
                if stream.write_all(reply.as_bytes()).is_err() || is_cut {
                    break;
                }
            }
        }
    });
    address
}

#[test]
fn a_server_that_lies_and_breaks_off_costs_its_own_messages() {
    let home = Home::with_leg_size("128MiB");
    let _daemon = home.start();
    let good = "Subject: good\r\n\r\n";
    let fetched = format!(
        "* 1 FETCH (UID 1 FLAGS (\\Seen \\Odd) INTERNALDATE \"x\" BODY[] {{{}}}\r\n{good})\r\n* 9 FETCH (UID 99 BODY[] {{1}}\r\nx)\r\nTAG OK\r\n",
        good.len()
    );
    let sizes = "* 1 FETCH (UID 1 FLAGS (\\Seen) RFC822.SIZE 3)\r\n* 2 FETCH (UID 2 FLAGS () RFC822.SIZE 4)\r\n\
                 * 3 FETCH (UID 3 FLAGS () RFC822.SIZE 99999999999)\r\n* 4 FETCH (UID 4 FLAGS () RFC822.SIZE 5)\r\n* 7 FETCH (UID 70 FLAGS () RFC822.SIZE 1)\r\nTAG OK\r\n";
    let address = scripted(vec![
        ("CAPABILITY", "* CAPABILITY IMAP4rev1\r\nTAG OK\r\n".into()),
        (
            "LIST",
            "* LIST () \".\" INBOX\r\n* LIST () \".\" \"a\x1b[2J\"\r\nTAG OK\r\n".into(),
        ),
        ("EXAMINE \"a", "TAG NO [NOPERM] not yours\r\n".into()),
        ("EXAMINE", "* OK [UIDVALIDITY 7] x\r\nTAG OK\r\n".into()),
        ("UID SEARCH", "* SEARCH 1 2 3 4\r\nTAG OK\r\n".into()),
        ("UID FETCH 1:4 (UID FLAGS RFC", sizes.into()),
        (
            "UID FETCH 1:2,4 (",
            format!("{}CUT", &fetched[..fetched.len() - 8]),
        ),
        (
            "UID FETCH 2,4 (",
            "* 2 FETCH (UID 2 BODY[] {4}\r\nCUT".into(),
        ),
        (
            "UID FETCH 4 (",
            "* 4 FETCH (UID 4 BODY[] {999999999}\r\nCUT".into(),
        ),
        ("", "TAG OK\r\n".into()),
    ]);
    let (secret, url) = (secret(&home), format!("imap://{address}"));
    let (status, told) = transfer(
        &home,
        &[
            "import",
            "imap",
            BOB,
            "--from",
            &url,
            "--password-file",
            &secret,
            "--allow-plaintext",
        ],
    );
    assert_eq!(status, Some(1), "{told}");
    let figures = (
        sum(&told, "messages"),
        sum(&told, "brought"),
        sum(&told, "failed"),
    );
    assert_eq!(figures, (4, 1, 3), "{told}");
    assert!(told.to_string().contains("NOPERM"), "{told}");
    assert!(!told.to_string().contains("u001b"), "{told}");
    let mail = mail_of(home.imap(), BOB, PASSWORD);
    let texts: Vec<&[u8]> = mail.iter().map(|seen| &seen.3[..]).collect();
    assert_eq!(texts, [good.as_bytes()]);
}
