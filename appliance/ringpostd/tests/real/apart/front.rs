//! Two storage nodes with mailboxes of their own, and one front for all of them, as processes on this machine.

use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use sasl::scram::client::Client;

use super::*;
use crate::daemon::bounded;

const FRONT: &str = "front1.example.org";
const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const SECRET: &str = "a secret";
/// The door for fronts, relative to the base.
const DOOR: u16 = 426;
/// What a login is answered while its storage node is away.
const PUT_OFF: &str = "a NO [UNAVAILABLE]";

/// A storage node with one account.
fn holds(authority: &Authority, name: &str, account: &str) -> (Home, Daemon) {
    let home = Home::new();
    home.configure(&format!(
        "zone_client = [\"{}\"]\nrecipients = [\"{}\"]\n[door]\nban = 3\n[[domain]]\nname = \"example.com\"\n{}fronts = [\"{FRONT}\"]\n",
        home.at(DOOR),
        home.at(TABLE),
        authority.peers(name),
    ));
    let daemon = home.start();
    add(&home, account);
    (home, daemon)
}

struct World {
    front: Home,
    alices: (Home, Option<Daemon>),
    bobs: (Home, Daemon),
    _daemon: Daemon,
    _authority: Authority,
}

impl World {
    fn new() -> World {
        let world = World::of("");
        world.knows(ALICE);
        world.knows(BOB);
        world
    }

    /// The tables may still be missing.
    fn of(more: &str) -> World {
        let authority = Authority::new();
        let alices = holds(&authority, "storage1.example.org", ALICE);
        let bobs = holds(&authority, "storage2.example.org", BOB);
        let nodes = [(&alices.0, 1), (&bobs.0, 2)].map(|(home, index)| {
            format!(
                "[[front.storage]]\naddress = \"{}\"\nname = \"storage{index}.example.org\"\nrecipients = \"{}\"\n",
                home.at(DOOR),
                home.at(TABLE)
            )
        });
        let front = Home::new();
        configure(&front, &authority.peers(FRONT), &nodes.concat(), more);
        let daemon = front.start();
        World {
            front,
            alices: (alices.0, Some(alices.1)),
            bobs,
            _daemon: daemon,
            _authority: authority,
        }
    }

    /// Until the tables are there.
    fn knows(&self, user: &str) {
        let login = || log_in(&self.front, user, SECRET);
        until("the tables", login, |answer| answer.starts_with("a OK"));
    }
}

fn configure(home: &Home, peers: &str, nodes: &str, more: &str) {
    let at = |port| home.at(port);
    home.configure_as(&format!(
        "[server]\nname = \"mail.example.com\"\nstate = {:?}\n[zones]\nrun = [\"client\"]\n[listen]\nimap = [\"{}\"]\nimaps = [\"{}\"]\n\
         pop3 = [\"{}\"]\nmanagesieve = [\"{}\"]\nsubmission = [\"{}\"]\n[login]\nplaintext = \"loopback\"\n\
         [inbound.recipients]\nevery = \"1s\"\nage = \"5s\"\n{nodes}{peers}{more}",
        home.state(),
        at(143),
        at(993),
        at(110),
        at(190),
        at(587),
    ));
}

/// Lines with a server, over whatever carries them.
struct Lines<S>(BufReader<S>);

impl<S: Read + Write> Lines<S> {
    fn send(&mut self, text: &str) {
        let stream = self.0.get_mut();
        stream.write_all(text.as_bytes()).expect("it reads");
        stream.flush().expect("it reads");
    }

    /// Empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.0.read_line(&mut line).expect("a line in time");
        line.trim_end().to_owned()
    }

    /// The next line that begins so.
    fn until(&mut self, start: &str) -> String {
        loop {
            // until it comes: the stream has its time, and its end
            let line = self.line();
            assert!(!line.is_empty(), "it ended before {start}");
            if line.starts_with(start) {
                return line;
            }
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(WITHIN)).expect("a socket");
    stream
}

fn plain(address: SocketAddr) -> Lines<TcpStream> {
    Lines(BufReader::new(connect(address)))
}

/// The answer to a login by IMAP.
fn log_in(front: &Home, user: &str, password: &str) -> String {
    let mut client = plain(front.imap());
    client.send(&format!("a LOGIN {user} \"{password}\"\r\n"));
    client.until("a ")
}

/// A session in INBOX.
fn session(front: &Home, user: &str) -> Lines<TcpStream> {
    let mut client = plain(front.imap());
    client.send(&format!(
        "a LOGIN {user} \"{SECRET}\"\r\nb SELECT INBOX\r\n"
    ));
    assert!(client.until("a ").starts_with("a OK"));
    assert!(client.until("b ").starts_with("b OK"));
    client
}

/// A client elsewhere, as a balancer names it, inside TLS.
fn elsewhere(front: &Home, client: &str) -> Lines<StreamOwned<ClientConnection, TcpStream>> {
    let config = mua::tls::config().expect("a configuration");
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(Arc::clone(&config), name).expect("a session");
    let mut socket = connect(front.at(993));
    let header = format!("PROXY TCP4 {client} 127.0.0.1 4711 993\r\n");
    socket.write_all(header.as_bytes()).expect("sent");
    Lines(BufReader::new(StreamOwned::new(session, socket)))
}

fn json(home: &Home, arguments: &[&str]) -> serde_json::Value {
    let text = home.ctl_ok(&[&["--json"], arguments].concat());
    serde_json::from_str(&text).expect("JSON")
}

/// By libraries that we did not write, from 127.0.0.2: everything that a person does in a day.
const A_DAY: &str = r#"
import imaplib, poplib, smtplib, socket, sys, base64
user, password, imap, pop3, sieve, submission = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
plain = socket.create_connection
def connect(address, *_, **__): return plain(address, 60, ("127.0.0.2", 0))
socket.create_connection = connect
box = imaplib.IMAP4("127.0.0.1", imap)
assert "LOGINDISABLED" not in box.capabilities and "IDLE" not in box.capabilities, box.capabilities
box.login(user, password)
assert "IDLE" in box.capability()[1][0].decode()
assert box.select("INBOX")[1] == [b"0"]
box.send(b"idle IDLE\r\n")
assert box.readline().startswith(b"+ ")
post = smtplib.SMTP("127.0.0.1", submission, local_hostname="desk.example.net")
post.login(user, password)
body = "x" * 70 + "\r\n"
post.sendmail(user, [user], "From: %s\r\nSubject: by the front\r\n\r\n%s" % (user, body * 3000))
post.quit()
while not box.readline().startswith(b"* 1 EXISTS"): pass
box.send(b"DONE\r\n")
while not box.readline().startswith(b"idle OK"): pass
whole = box.fetch("1", "(BODY[])")[1][0][1]
assert whole.count(b"x" * 70) == 3000 and b"desk.example.net" in whole and b"127.0.0.2" in whole
box.logout()
drop = poplib.POP3("127.0.0.1", pop3)
drop.user(user); drop.pass_(password)
assert b"x" * 70 in b"\n".join(drop.retr(1)[1])
drop.quit()
edit = plain(("127.0.0.1", sieve), 60, ("127.0.0.2", 0)).makefile("rwb")
def said():
    lines = []
    while not lines or not lines[-1].startswith((b"OK", b"NO", b"BYE")): lines.append(edit.readline())
    assert lines[-1].startswith(b"OK"), lines
    return lines
assert b"vacation" in b"".join(said())
token = base64.b64encode(("\0%s\0%s" % (user, password)).encode())
for line in [b'AUTHENTICATE "PLAIN" "%s"' % token, b'PUTSCRIPT "mine" "keep;"', b"LISTSCRIPTS"]:
    edit.write(line + b"\r\n"); edit.flush(); answer = said()
assert answer[0].startswith(b'"mine"'), answer
for wrong in [(user, "wrong"), ("nobody@example.com", password)]:
    try:
        imaplib.IMAP4("127.0.0.1", imap).login(*wrong)
        raise SystemExit("let in")
    except imaplib.IMAP4.error as error:
        assert "AUTHENTICATIONFAILED" in str(error), error
"#;

#[test]
fn two_storage_nodes_are_one_server_by_every_protocol() {
    let world = World::new();
    let front = &world.front;
    let ports = [143, 110, 190, 587].map(|port| front.port(port).to_string());
    for (user, home) in [(ALICE, &world.alices.0), (BOB, &world.bobs.0)] {
        let mut python = Command::new("python3");
        python.args(["-c", A_DAY, user, SECRET]).args(&ports);
        let output = bounded(&mut python);
        assert!(output.status.success(), "{user}: {}", said(&output));
        assert_eq!(messages(home, user), 1, "{user}");
        let url = format!("imaps://127.0.0.1:{}/INBOX;MAILINDEX=1", front.port(993));
        let login = format!("{user}:{SECRET}");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--insecure", "--user", &login, &url]);
        let output = bounded(&mut curl);
        assert!(output.status.success(), "curl: {}", said(&output));
        // The storage node's audit has the person's address, and nothing of the front's.
        let lines = json(home, &["audit", "list", "--of", user]);
        let lines = lines.as_array().expect("lines");
        let of = |line: &&serde_json::Value| line["peer"] == "127.0.0.2";
        let protocols: Vec<&str> = lines
            .iter()
            .filter(of)
            .filter_map(|line| line["protocol"].as_str())
            .collect();
        for protocol in ["imap", "pop3", "sieve", "submission"] {
            assert!(protocols.contains(&protocol), "{protocols:?}");
        }
        let outcomes = lines.iter().filter(of);
        assert!(
            outcomes
                .clone()
                .any(|line| line["outcome"] == "wrong password")
        );
    }
    let status = front.ctl_ok(&["status"]);
    for part in [
        "storage1.example.org",
        "storage2.example.org",
        "works",
        "table of recipients of",
    ] {
        assert!(status.contains(part), "{status}");
    }
    let known = json(front, &["status"]);
    assert_eq!(known["front"].as_array().map(Vec::len), Some(2));
    assert_eq!(known["serving"], true);
    let metrics = front.ctl_ok(&["metrics"]);
    let has = |sample: &str| {
        assert!(
            metrics.lines().any(|line| line.starts_with(sample)),
            "{metrics}"
        )
    };
    has("ringpost_front_node_up{node=\"storage1.example.org\"} 1");
    has("ringpost_front_sessions_total{node=\"storage2.example.org\",protocol=\"imap\"} ");
    has("ringpost_front_failures_total{node=\"storage1.example.org\",outcome=\"refused\"} ");
    let refused = front.ctl(&["account", "list"]);
    assert!(
        said(&refused).contains("has no storage"),
        "{}",
        said(&refused)
    );
}

#[test]
fn a_mailbox_that_moves_costs_its_session_a_reconnect() {
    let world = World::new();
    let mut before = session(&world.front, ALICE);
    world.alices.0.ctl_ok(&["account", "remove", ALICE]);
    add(&world.bobs.0, ALICE);
    // Its own node ends the session: the account is gone there.
    let mut answer = String::new();
    for turn in 0..WITHIN.as_secs() {
        before.send(&format!("c{turn} NOOP\r\n"));
        answer = before.line();
        if answer.starts_with("* BYE") || answer.is_empty() {
            break;
        }
        std::thread::sleep(ASK_EVERY);
    }
    assert!(answer.starts_with("* BYE"), "{answer}");
    world.knows(ALICE);
    // The audit is written beside the logins.
    let lines = || json(&world.bobs.0, &["audit", "list", "--of", ALICE]).to_string();
    until("the audit", lines, |lines| lines.contains("granted"));
}

#[test]
fn a_storage_node_that_is_killed_or_hangs_puts_off_its_own_people_alone() {
    let mut world = World::new();
    let mut before = session(&world.front, ALICE);
    let mut stays = session(&world.front, BOB);
    world.alices.1.take().expect("it runs").kill();
    let words = before.line();
    assert!(words.starts_with("* BYE [UNAVAILABLE]"), "{words}");
    let away = |world: &World| {
        let answer = log_in(&world.front, ALICE, SECRET);
        assert!(answer.starts_with(PUT_OFF), "{answer}");
        let wrong = log_in(&world.front, ALICE, "wrong");
        assert!(
            wrong.starts_with(PUT_OFF),
            "nothing is said of the password: {wrong}"
        );
        let answer = log_in(&world.front, BOB, SECRET);
        assert!(answer.starts_with("a OK"), "{answer}");
    };
    away(&world);
    let mut drop = plain(world.front.at(110));
    drop.send(&format!("USER {ALICE}\r\nPASS {SECRET}\r\n"));
    drop.until("-ERR [SYS/TEMP]");
    let mut post = plain(world.front.at(587));
    post.send("EHLO c.example.net\r\nAUTH PLAIN AGFsaWNlQGV4YW1wbGUuY29tAGEgc2VjcmV0\r\n");
    post.until("454 ");
    let status = world.front.ctl_ok(&["status"]);
    assert!(
        status.contains("failed: ") && status.contains("ALARM"),
        "{status}"
    );
    // It may be an account of the node that is away.
    until(
        "the table grows old",
        || log_in(&world.front, "nobody@example.com", SECRET),
        |answer| answer.starts_with(PUT_OFF),
    );
    stays.send("d NOOP\r\n");
    assert!(stays.until("d ").starts_with("d OK"));

    let daemon = world.alices.0.start();
    world.knows(ALICE);
    let pid = Pid::from_raw(daemon.pid().cast_signed());
    kill(pid, Signal::SIGSTOP).expect("our own child");
    away(&world);
    kill(pid, Signal::SIGCONT).expect("our own child");
    world.knows(ALICE);
}

#[test]
fn wrong_passwords_are_those_of_the_person_s_address_and_scram_is_passed_on() {
    // A balancer in front of the front names the clients.
    let world = World::of("[door]\nban = 3\nproxy = [\"127.0.0.1/32\"]\n");
    let front = &world.front;
    let flagged = Client::new(ALICE, SECRET, "abcdef", "y", b"");
    let scram = |client: &Client| {
        let mut lines = elsewhere(front, "198.51.100.9");
        let greeting = lines.line();
        if !greeting.contains("AUTH=SCRAM-SHA-256") {
            return format!("not offered: {greeting}");
        }
        assert!(!greeting.contains("PLUS"), "{greeting}");
        lines.send(&format!(
            "a AUTHENTICATE SCRAM-SHA-256 {}\r\n",
            client.first()
        ));
        let challenge = lines.line();
        let Some(challenge) = challenge.strip_prefix("+ ") else {
            return challenge;
        };
        lines.send(&format!(
            "{}\r\n",
            client.last(challenge).expect("a challenge")
        ));
        assert!(lines.line().starts_with("+ "), "the server's own proof");
        lines.send("\r\nb SELECT INBOX\r\n");
        let answer = lines.line();
        assert!(lines.until("b ").starts_with("b OK"));
        answer
    };
    let answer = until("SCRAM", || scram(&flagged), |it| it.starts_with("a OK"));
    assert!(answer.contains("CAPABILITY"), "{answer}");

    let storage_node = &world.alices.0;
    // Failures count a little less from second to second: three of them are not quite three.
    for _ in 0..4 {
        let mut lines = elsewhere(front, "198.51.100.7");
        lines.send(&format!("a LOGIN {ALICE} wrong\r\n"));
        let answer = lines.until("a ");
        assert!(
            answer.starts_with("a NO [AUTHENTICATIONFAILED]"),
            "{answer}"
        );
    }
    for home in [storage_node, front] {
        let bans = home.ctl_ok(&["--json", "ban", "list"]);
        assert!(bans.contains("198.51.100.7"), "{bans}");
        assert!(!bans.contains("127.0.0.1"), "{bans}");
    }
    let lines = json(storage_node, &["audit", "list", "--of", ALICE]);
    let lines = lines.as_array().expect("lines");
    let find = |peer: &str, outcome: &str| {
        lines
            .iter()
            .find(|line| line["peer"] == peer && line["outcome"] == outcome)
            .unwrap_or_else(|| panic!("{peer} {outcome}: {lines:?}"))
    };
    assert_eq!(find("198.51.100.7", "wrong password")["tls"], "TLSv1.3");
    let granted = find("198.51.100.9", "granted");
    assert_eq!(granted["mechanism"], "SCRAM-SHA-256");
}

#[test]
fn without_a_certificate_that_is_let_in_a_front_passes_nobody_on() {
    let authority = Authority::new();
    let (storage, _storage) = holds(&authority, "storage1.example.org", ALICE);
    let node = format!(
        "[[front.storage]]\naddress = \"{}\"\nname = \"storage1.example.org\"\nrecipients = \"{}\"\n",
        storage.at(DOOR),
        storage.at(TABLE)
    );
    let front = Home::new();
    configure(&front, &authority.peers("front9.example.org"), &node, "");
    let _front = front.start();
    let answer = log_in(&front, ALICE, SECRET);
    assert!(answer.starts_with(PUT_OFF), "{answer}");
    let status = until(
        "it says why",
        || front.ctl_ok(&["status"]),
        |status| status.contains("failed: "),
    );
    assert!(status.contains("not confirmed since the start"), "{status}");
    // Without TLS the door says nothing.
    let mut stream = connect(storage.at(DOOR));
    stream
        .write_all(b"FRONT imap 192.0.2.1:1 none\r\n")
        .expect("sent");
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    let text = String::from_utf8_lossy(&heard);
    assert!(!text.contains("READY") && !text.contains("* OK"), "{text}");
}
