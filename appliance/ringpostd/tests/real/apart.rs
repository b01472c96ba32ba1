//! Zones on several machines, as several processes on this one: a node with the inbound zone alone, and storage nodes behind it.

mod front;
mod relay;
mod spooled;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::daemon::{Daemon, Home, said};
use relay::Relay;

/// Far beyond what anything here takes.
const WITHIN: Duration = Duration::from_secs(120);
const ASK_EVERY: Duration = Duration::from_millis(100);
const STORAGE: &str = "storage1.example.org";
const INBOUND: &str = "inbound1.example.org";
const DORA: &str = "dora@example.com";
const ANNA: &str = "anna@example.com";
/// Ports of the doors for other nodes, relative to the base.
const LMTP: u16 = 24;
const SMTP: u16 = 110;
const QMQP: u16 = 628;
const TABLE: u16 = 419;

/// An authority for nodes, with its certificates in a directory.
struct Authority {
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let directory = tempfile::tempdir().expect("a directory");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("made");
        fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("written");
        Authority {
            directory,
            issuer: Issuer::new(params, key),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `[peers]` of a node of this name; its certificate and key are made.
    fn peers(&self, name: &str) -> String {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("made");
        let files = [
            (format!("{name}.pem"), certificate.pem()),
            (format!("{name}.key"), key.serialize_pem()),
        ];
        for (file, text) in &files {
            fs::write(self.path(file), text).expect("written");
        }
        format!(
            "[peers]\nauthority = {:?}\ncertificate = {:?}\nkey = {:?}\n",
            self.path("ca.pem"),
            self.path(&files[0].0),
            self.path(&files[1].0),
        )
    }
}

/// A storage node with the account dora, and doors for the node `inbound1`.
fn storage(authority: &Authority, more: &str) -> (Home, Daemon) {
    let home = Home::new();
    let at = |port| home.at(port);
    home.configure(&format!(
        "imap = [\"{}\"]\nzone_lmtp = [\"{}\"]\nzone_smtp = [\"{}\"]\nzone_qmqp = [\"{}\"]\nrecipients = [\"{}\"]\n\
         [login]\nplaintext = \"loopback\"\n[[domain]]\nname = \"example.com\"\n{}names = [\"{INBOUND}\"]\n{more}",
        at(143),
        at(LMTP),
        at(SMTP),
        at(QMQP),
        at(TABLE),
        authority.peers(STORAGE),
    ));
    let daemon = home.start();
    add(&home, DORA);
    (home, daemon)
}

fn add(home: &Home, address: &str) {
    home.ctl_ok(&["account", "add", address, "--password", "a secret"]);
}

/// A storage node as `[[inbound.storage]]` names it.
fn node(protocol: &str, door: SocketAddr, table: SocketAddr) -> String {
    format!(
        "[[inbound.storage]]\naddress = \"{door}\"\nprotocol = \"{protocol}\"\nname = \"{STORAGE}\"\nrecipients = \"{table}\"\n"
    )
}

/// A node with the inbound zone alone.
fn inbound(peers: &str, nodes: &str) -> (Home, Daemon) {
    let home = Home::new();
    configure(&home, peers, nodes);
    let daemon = home.start();
    (home, daemon)
}

fn configure(home: &Home, peers: &str, nodes: &str) {
    home.configure_as(&format!(
        "[server]\nname = \"mx.example.com\"\nstate = {:?}\n[zones]\nrun = [\"inbound\"]\n[listen]\nsmtp = [\"{}\"]\n\
         [inbound]\nauthentication = \"off\"\n[inbound.recipients]\nevery = \"1s\"\nage = \"3s\"\n[spam]\nenabled = false\n{nodes}{peers}",
        home.state(),
        home.at(25),
    ));
}

/// A sender that waits for each reply.
struct Sender {
    lines: BufReader<TcpStream>,
}

impl Sender {
    fn to(address: SocketAddr) -> Sender {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(WITHIN)).expect("a socket");
        let mut sender = Sender {
            lines: BufReader::new(stream),
        };
        assert!(sender.reply().starts_with("220 "));
        assert!(sender.say("EHLO sender.example.net").starts_with("250 "));
        sender
    }

    fn send(&mut self, text: &str) {
        let sent = self.lines.get_mut().write_all(text.as_bytes());
        sent.expect("the node reads");
    }

    /// The last line of the next reply.
    fn reply(&mut self) -> String {
        loop {
            // until the reply is over
            let mut line = String::new();
            let bytes = self.lines.read_line(&mut line).expect("a reply");
            if bytes == 0 || line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    fn say(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n"));
        self.reply()
    }

    /// The answer to RCPT, in a transaction of its own.
    fn recipient(&mut self, to: &str) -> String {
        assert!(self.say("RSET").starts_with("250 "));
        assert!(self.say("MAIL FROM:<ann@example.net>").starts_with("250 "));
        self.say(&format!("RCPT TO:<{to}>"))
    }

    /// The answer to a message, or to its recipient where that one is not taken.
    fn message(&mut self, to: &str, content: &str) -> String {
        let answer = self.recipient(to);
        if !answer.starts_with("250 ") {
            return answer;
        }
        self.begin(content);
        self.reply()
    }

    /// A message whose answer is read later. RCPT was answered.
    fn begin(&mut self, content: &str) {
        assert!(self.say("DATA").starts_with("354 "));
        self.send(&format!("{content}\r\n.\r\n"));
    }
}

/// Asks again until `is_right`; bounded by `WITHIN`.
fn until(what: &str, mut ask: impl FnMut() -> String, is_right: impl Fn(&str) -> bool) -> String {
    let begin = Instant::now();
    loop {
        let answer = ask();
        if is_right(&answer) {
            return answer;
        }
        assert!(begin.elapsed() < WITHIN, "{what}: {answer}");
        std::thread::sleep(ASK_EVERY);
    }
}

/// The table of recipients is there: dora is known.
fn knows_dora(front: &Home) -> Sender {
    let mut sender = Sender::to(front.smtp());
    until(
        "the table of recipients",
        || sender.recipient(DORA),
        |answer| answer.starts_with("250 "),
    );
    sender
}

fn messages(home: &Home, address: &str) -> u64 {
    let shown = home.ctl_ok(&["--json", "account", "show", address]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("a document");
    let mailboxes = shown["mailboxes"].as_array().expect("mailboxes");
    let count = |mailbox: &serde_json::Value| mailbox["messages"].as_u64().expect("a number");
    mailboxes.iter().map(count).sum()
}

/// Some 200 KiB: more than all that a connection says before it.
fn large() -> String {
    let line = format!("{}\r\n", "x".repeat(70));
    format!(
        "Subject: large\r\nMessage-ID: <large@example.net>\r\n\r\n{}",
        line.repeat(2_900)
    )
}

#[test]
fn mail_goes_through_a_node_without_storage_by_each_protocol() {
    let authority = Authority::new();
    let (storage, _storage) = storage(&authority, "");
    let peers = authority.peers(INBOUND);
    for (sent, (protocol, port)) in [("lmtp", LMTP), ("smtp", SMTP), ("qmqp", QMQP)]
        .into_iter()
        .enumerate()
    {
        let node = node(protocol, storage.at(port), storage.at(TABLE));
        let (front, daemon) = inbound(&peers, &node);
        let mut sender = knows_dora(&front);
        let long = "y".repeat(64 * 1_024);
        let content = format!("Subject: by {protocol}\r\n\r\n.dots\r\n..\r\n{long}\r\nlast");
        let answer = sender.message(DORA, &content);
        assert!(answer.starts_with("250 "), "{protocol}: {answer}");
        assert_eq!(messages(&storage, DORA), sent as u64 + 1, "{protocol}");
        let unknown = sender.recipient("nobody@example.com");
        assert!(unknown.starts_with("550 5.1.1"), "{protocol}: {unknown}");
        let foreign = sender.recipient("dora@example.net");
        assert!(foreign.starts_with("550 5.7.1"), "{protocol}: {foreign}");

        let status = front.ctl_ok(&["status"]);
        assert!(
            status.contains(protocol) && status.contains("works"),
            "{status}"
        );
        assert!(status.contains("table of recipients"), "{status}");
        let metrics = front.ctl_ok(&["metrics"]);
        assert!(metrics.contains("ringpost_storage_node_up{"), "{metrics}");
        assert!(metrics.contains("ringpost_recipients_fresh 1"), "{metrics}");
        let refused = front.ctl(&["account", "list"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            said(&refused).contains("has no storage"),
            "{}",
            said(&refused)
        );
        let legs: Vec<PathBuf> = front.legs();
        assert_eq!(legs, Vec::<PathBuf>::new(), "it has no volume");
        assert_eq!(daemon.stop().code(), Some(0), "{protocol}");
    }
    let trace = storage.ctl_ok(&["--json", "account", "show", DORA]);
    assert!(trace.contains("INBOX"), "{trace}");
}

#[test]
fn a_new_account_and_an_alias_become_known() {
    let authority = Authority::new();
    let (storage, _storage) = storage(&authority, "");
    let node = node("lmtp", storage.at(LMTP), storage.at(TABLE));
    let (front, _front) = inbound(&authority.peers(INBOUND), &node);
    let mut sender = knows_dora(&front);
    let unknown = sender.recipient(ANNA);
    assert!(unknown.starts_with("550 5.1.1"), "{unknown}");
    add(&storage, ANNA);
    let both = format!("both@example.com {ANNA} {DORA}");
    let words: Vec<&str> = ["alias", "add"]
        .into_iter()
        .chain(both.split(' '))
        .collect();
    storage.ctl_ok(&words);
    until(
        "anna",
        || sender.recipient(ANNA),
        |it| it.starts_with("250 "),
    );
    let answer = until(
        "the alias",
        || sender.message("both@example.com", "Subject: to both\r\n\r\nx"),
        |answer| answer.starts_with("250 "),
    );
    for account in [ANNA, DORA] {
        until(
            account,
            || messages(&storage, account).to_string(),
            |count| count == "1",
        );
    }
    assert!(answer.starts_with("250 "));
}

#[test]
fn without_a_proved_certificate_nothing_is_taken() {
    let authority = Authority::new();
    let (storage, _storage) = storage(&authority, "networks = [\"127.0.0.1/32\"]\n");
    let node = node("lmtp", storage.at(LMTP), storage.at(TABLE));
    // One of another authority, and one of ours whose name is not let in.
    let stranger = Authority::new().peers(INBOUND);
    let unnamed = authority.peers("inbound9.example.org");
    let other = Authority::new();
    let forged = {
        let mut peers = other.peers(INBOUND);
        let own = format!("{:?}", other.path("ca.pem"));
        peers = peers.replace(&own, &format!("{:?}", authority.path("ca.pem")));
        peers
    };
    drop(stranger);
    for peers in [forged, unnamed] {
        let (front, _front) = inbound(&peers, &node);
        let words = until(
            "the table is not given",
            || front.ctl_ok(&["status"]),
            |status| status.contains("cannot be fetched"),
        );
        assert!(words.contains("not confirmed since the start"), "{words}");
        let answer = Sender::to(front.smtp()).message(DORA, "Subject: no\r\n\r\nx");
        assert!(answer.starts_with("451 "), "{answer}");
    }
    // In clear, no door says a word.
    for port in [LMTP, SMTP, TABLE] {
        let mut stream = TcpStream::connect(storage.at(port)).expect("it listens");
        stream.set_read_timeout(Some(WITHIN)).expect("a socket");
        stream.write_all(b"LHLO x\r\nHAVE -\r\n").expect("sent");
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        let text = String::from_utf8_lossy(&heard);
        assert!(
            !text.contains("220") && !text.contains("TABLE"),
            "{port}: {text}"
        );
    }
    assert_eq!(messages(&storage, DORA), 0);

    // QMQP from a network that the operator named.
    let ask = |request: &[u8]| {
        let mut stream = TcpStream::connect(storage.at(QMQP)).expect("it listens");
        stream.set_read_timeout(Some(WITHIN)).expect("a socket");
        stream.write_all(request).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let content = b"Subject: plain\r\n\r\nx\r\n";
    let request = |to: &str| {
        let to = mail::Address::from_path(to).expect("an address");
        inbound::smtp::qmqp::request(b"", content, None, &[to])
    };
    assert!(ask(&request(DORA)).contains(":Kok "));
    assert_eq!(messages(&storage, DORA), 1);
    for to in ["nobody@example.com", "dora@example.net"] {
        let answer = ask(&request(to));
        assert!(answer.contains(":D5"), "{answer}");
    }
    assert!(ask(b"x").contains(":D5"), "not a netstring");
    assert!(ask(b"9999999999:").contains(":D5"), "too large");
    assert_eq!(messages(&storage, DORA), 1);
}

/// Both nodes get certificates of another authority, and its own, in the place of the old files.
#[test]
fn another_authority_counts_after_a_reload_and_the_old_one_does_not() {
    let (old, new) = (Authority::new(), Authority::new());
    let (storage, _storage) = storage(&old, "");
    let relays = [LMTP, TABLE].map(|port| Relay::to(storage.at(port)));
    let node = node("lmtp", relays[0].address(), relays[1].address());
    let (front, _front) = inbound(&old.peers(INBOUND), &node);
    let mut sender = knows_dora(&front);
    let answer = sender.message(DORA, "Subject: before\r\n\r\nx");
    assert!(answer.starts_with("250 "), "{answer}");
    for name in [STORAGE, INBOUND] {
        new.peers(name);
    }
    for name in [STORAGE, INBOUND] {
        for end in ["pem", "key"] {
            let file = format!("{name}.{end}");
            fs::copy(new.path(&file), old.path(&file)).expect("copied");
        }
    }
    fs::copy(new.path("ca.pem"), old.path("ca.pem")).expect("copied");
    // The node in front alone: it trusts the new one, and is not trusted.
    front.ctl_ok(&["certificate", "reload"]);
    relays.iter().for_each(Relay::cut);
    until(
        "the table is not given any more",
        || front.ctl_ok(&["status"]),
        |status| status.contains("cannot be fetched"),
    );
    storage.ctl_ok(&["certificate", "reload"]);
    let answer = until(
        "both have it",
        || sender.message(DORA, "Subject: after\r\n\r\nx"),
        |answer| answer.starts_with("250 "),
    );
    assert!(answer.starts_with("250 "), "{answer}");
    until(
        "the table is fetched again",
        || front.ctl_ok(&["metrics"]),
        |metrics| metrics.contains("ringpost_recipients_fresh 1"),
    );
}

#[test]
fn an_answer_that_was_lost_makes_no_second_copy() {
    let authority = Authority::new();
    let (storage, _storage) = storage(&authority, "");
    let peers = authority.peers(INBOUND);
    for (sent, (protocol, port)) in [("lmtp", LMTP), ("smtp", SMTP), ("qmqp", QMQP)]
        .into_iter()
        .enumerate()
    {
        let relay = Relay::to(storage.at(port));
        let node = node(protocol, relay.address(), storage.at(TABLE));
        let (front, _front) = inbound(&peers, &node);
        let mut sender = knows_dora(&front);
        // What the storage node says after most of the message is not passed on.
        relay.silence_after(150_000);
        assert!(sender.recipient(DORA).starts_with("250 "));
        sender.begin(&large());
        until(
            "the message is placed",
            || messages(&storage, DORA).to_string(),
            |count| count == (sent + 1).to_string(),
        );
        relay.cut();
        let answer = sender.reply();
        assert!(answer.starts_with("451 "), "{protocol}: {answer}");
        let status = front.ctl_ok(&["status"]);
        assert!(status.contains("whose answer was lost: 1"), "{status}");
        relay.pass();
        let answer = until(
            "the next try",
            || sender.message(DORA, &large()),
            |answer| answer.starts_with("250 "),
        );
        assert!(answer.starts_with("250 "), "{protocol}: {answer}");
        assert_eq!(
            messages(&storage, DORA),
            sent as u64 + 1,
            "{protocol}: once"
        );
        let status = front.ctl_ok(&["status"]);
        assert!(status.contains("whose answer was lost: 0"), "{status}");
    }
}

#[test]
fn a_storage_node_killed_in_mid_delivery_costs_a_try_and_no_message() {
    let authority = Authority::new();
    let (storage, daemon) = storage(&authority, "");
    let node = node("lmtp", storage.at(LMTP), storage.at(TABLE));
    let (front, _front) = inbound(&authority.peers(INBOUND), &node);
    let mut sender = knows_dora(&front);
    assert!(sender.recipient(DORA).starts_with("250 "));
    let pid = Pid::from_raw(daemon.pid().cast_signed());
    kill(pid, Signal::SIGSTOP).expect("our own child");
    sender.begin(&large());
    daemon.kill();
    let answer = sender.reply();
    assert!(answer.starts_with("451 "), "{answer}");
    let _daemon = storage.start();
    let answer = until(
        "the next try",
        || sender.message(DORA, &large()),
        |answer| answer.starts_with("250 "),
    );
    assert!(answer.starts_with("250 "));
    assert_eq!(messages(&storage, DORA), 1);
}

#[test]
fn of_two_ways_to_storage_the_one_that_works_is_taken() {
    let authority = Authority::new();
    let (storage, _storage) = storage(&authority, "");
    // A port where nothing listens any more.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nowhere = dead.local_addr().expect("bound");
    drop(dead);
    let dead = node("lmtp", nowhere, nowhere);
    let works = node("smtp", storage.at(SMTP), storage.at(TABLE));
    let nodes = format!("{dead}priority = 1\n{works}priority = 2\n");
    let (front, _front) = inbound(&authority.peers(INBOUND), &nodes);
    let mut sender = knows_dora(&front);
    let answer = sender.message(DORA, "Subject: x\r\n\r\nx");
    assert!(answer.starts_with("250 "), "{answer}");
    assert_eq!(messages(&storage, DORA), 1);
    let status = front.ctl_ok(&["status"]);
    assert!(
        status.contains("failed 1 times: the connection was refused") || status.contains("failed"),
        "{status}"
    );
    let metrics = front.ctl_ok(&["metrics"]);
    let down = |line: &&str| line.starts_with("ringpost_storage_node_up{") && line.ends_with(" 0");
    assert_eq!(metrics.lines().filter(down).count(), 1, "{metrics}");
}

#[test]
fn an_old_table_defers_what_it_does_not_have() {
    let authority = Authority::new();
    let (storage, daemon) = storage(&authority, "");
    let node = node("lmtp", storage.at(LMTP), storage.at(TABLE));
    let peers = authority.peers(INBOUND);
    let (front, running) = inbound(&peers, &node);
    let mut sender = knows_dora(&front);
    let unknown = sender.recipient("nobody@example.com");
    assert!(unknown.starts_with("550 5.1.1"), "{unknown}");
    daemon.kill();
    let deferred = until(
        "the table grows old",
        || sender.recipient("nobody@example.com"),
        |answer| !answer.starts_with("550 "),
    );
    assert!(deferred.starts_with("451 "), "{deferred}");
    // The table of the last run is taken, and refuses nothing.
    assert_eq!(running.stop().code(), Some(0));
    let _running = front.start();
    let mut sender = Sender::to(front.smtp());
    let deferred = sender.recipient("nobody@example.com");
    assert!(deferred.starts_with("451 "), "{deferred}");
    let known = sender.recipient(DORA);
    assert!(known.starts_with("250 "), "{known}");
    let answer = sender.message(DORA, "Subject: x\r\n\r\nx");
    assert!(answer.starts_with("451 "), "{answer}");
}
