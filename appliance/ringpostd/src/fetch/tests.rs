//! Conversations with servers that do what a test wants: well-behaved ones with a mailbox in memory, and mad ones.

mod lost;
mod servers;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mailbox::names::{FetchProtocol, FetchRow, FetchTls, Keep, Noting, Sealed, SeenMark};
use mua::stream::Stream;

use super::letter::{Front, Letter};
use super::marks::Marks;
use super::run::{Inbox, Job, NotPlaced, Ran, Room, Stop, Stumbles};
use super::{imap, pop3};
use servers::{Imap, Pop3};

/// Far away: it is never waited for.
const FAR: Duration = Duration::from_secs(600);
const TODAY: u32 = 20_000;

pub fn row(protocol: FetchProtocol, port: u16) -> FetchRow {
    FetchRow {
        serial: 77,
        protocol,
        tls: FetchTls::Absent,
        host: "127.0.0.1".to_owned(),
        port,
        user: "ann".to_owned(),
        sealed: Sealed::default(),
        folder: "INBOX".to_owned(),
        every_s: 900,
        keep: Keep::Always,
        is_filtered: false,
        is_judged: false,
        may_be_private: true,
        stopped: String::new(),
        refusals: 0,
        validity: 0,
        uid: 0,
    }
}

pub fn front() -> Front {
    Front {
        server: "mx.example.org".to_owned(),
        address: "ann@example.org".to_owned(),
        unix_s: i64::from(TODAY) * 86_400,
    }
}

/// A person's mailbox and the rows of the directory, in memory. Each call that is answered is "durable".
#[derive(Default)]
struct House {
    row: Option<FetchRow>,
    marks: Vec<(u32, Vec<SeenMark>)>,
    subjects: Vec<String>,
    /// Messages that there is room for; `None`: for all.
    room: Option<usize>,
}

impl House {
    fn of(row: FetchRow) -> House {
        House {
            row: Some(row),
            ..House::default()
        }
    }

    fn row(&self) -> &FetchRow {
        self.row.as_ref().expect("it is set")
    }

    fn marked(&self) -> usize {
        self.marks.iter().map(|(_, marks)| marks.len()).sum()
    }

    fn noted(&mut self, noting: Noting) {
        let row = self.row.as_mut().expect("it is set");
        assert_eq!(noting.serial, row.serial);
        if let Some((validity, uid)) = noting.looked {
            assert!(
                uid >= row.uid || validity != row.validity,
                "it goes on only"
            );
            (row.validity, row.uid) = (validity, uid);
        }
        for (number, marks) in noting.marks {
            self.marks.retain(|(other, _)| *other != number);
            if !marks.is_empty() {
                self.marks.push((number, marks));
            }
        }
    }
}

impl Inbox for House {
    fn place(&mut self, letter: Letter, noting: Noting) -> Result<(), NotPlaced> {
        if self.room == Some(self.subjects.len()) {
            return Err(NotPlaced::Full);
        }
        let text = String::from_utf8(letter.bytes).expect("text");
        assert!(text.starts_with("Received: from 127.0.0.1\r\n"), "{text}");
        let subject = text.lines().find_map(|line| line.strip_prefix("Subject: "));
        self.subjects.push(subject.unwrap_or_default().to_owned());
        self.noted(noting);
        Ok(())
    }

    fn note(&mut self, noting: Noting) -> Result<(), NotPlaced> {
        self.noted(noting);
        Ok(())
    }
}

struct Talk {
    today: u32,
    bytes_max: usize,
    until: Duration,
    stumbles: Stumbles,
    room: Room,
    is_stopping: bool,
}

impl Talk {
    fn new() -> Talk {
        Talk {
            today: TODAY,
            bytes_max: 1 << 20,
            until: FAR,
            stumbles: Stumbles::default(),
            room: Room::of(4 << 20),
            is_stopping: false,
        }
    }

    /// One conversation of `house` with the server at `at`.
    fn with(&mut self, house: &mut House, at: SocketAddr) -> (Ran, Option<Stop>) {
        let row = house.row().clone();
        let mut marks = Marks::of(house.marks.clone());
        let (mut ran, is_stopping) = (Ran::default(), self.is_stopping);
        let stream = match Stream::plain(at, FAR) {
            Ok(stream) => stream,
            Err(error) => return (ran, Some(Stop::Server(error.to_string()))),
        };
        let mut job = Job {
            row: &row,
            password: "secret",
            until: Instant::now() + self.until,
            bytes_max: self.bytes_max,
            room: &self.room,
            front: front(),
            today: self.today,
            stumbles: &mut self.stumbles,
            is_stopping: &|| is_stopping,
            is_check: false,
        };
        let tls = mua::tls::trusting(&[], true).expect("a configuration");
        let run = match row.protocol {
            FetchProtocol::Pop3 => pop3::run,
            FetchProtocol::Imap => imap::run,
        };
        let stop = run(stream, &tls, &mut job, &mut marks, house, &mut ran).err();
        (ran, stop)
    }
}

fn went_well((ran, stop): (Ran, Option<Stop>)) -> Ran {
    assert_eq!(stop, None);
    ran
}

/// A server that says each text after a line of the client, the first one at once, and closes. What it heard.
fn scripted(says: Vec<String>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let at = listener.local_addr().expect("bound");
    let served = std::thread::spawn(move || {
        let mut stream = listener.accept().expect("a client").0;
        let mut lines = BufReader::new(stream.try_clone().expect("a handle"));
        let mut heard = Vec::new();
        for (index, text) in says.iter().enumerate() {
            if index > 0 {
                let mut line = String::new();
                if lines.read_line(&mut line).unwrap_or(0) == 0 {
                    break;
                }
                heard.push(line.trim_end().to_owned());
            }
            // A client that has seen enough may be gone.
            let _ = stream.write_all(text.as_bytes());
        }
        heard
    });
    (at, served)
}

fn says(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

const POP3_LOGIN: [&str; 4] = ["+OK\r\n", "-ERR\r\n", "+OK\r\n", "+OK\r\n"];

fn pop3_says(rest: &[&str]) -> Vec<String> {
    says(&[&POP3_LOGIN[..], rest].concat())
}

#[test]
fn by_pop3_each_message_comes_once_and_is_deleted_when_its_days_are_over() {
    let server = Pop3::start(5);
    let mut house = House::of(row(FetchProtocol::Pop3, server.at.port()));
    let mut talk = Talk::new();
    let ran = went_well(talk.with(&mut house, server.at));
    assert_eq!((ran.fetched, ran.deleted, ran.left), (5, 0, 0));
    assert_eq!(
        house.subjects,
        ["m1", "m2", "m3", "m4", "m5"],
        "oldest first"
    );
    server.add(2);
    let ran = went_well(talk.with(&mut house, server.at));
    assert_eq!((ran.fetched, house.marked()), (2, 7));
    // Two days later those of the first day have been there for two days: all of them.
    house.row.as_mut().expect("set").keep = Keep::Days(2);
    assert_eq!(went_well(talk.with(&mut house, server.at)).deleted, 0);
    talk.today = TODAY + 2;
    server.add(1);
    assert_eq!(went_well(talk.with(&mut house, server.at)).deleted, 7);
    assert_eq!(server.uids(), ["u8"]);
    // What the server lists no more is forgotten, and a new account of the same kind gets all.
    assert_eq!(went_well(talk.with(&mut house, server.at)).fetched, 0);
    assert_eq!(house.marked(), 1);
    house.row.as_mut().expect("set").keep = Keep::Days(0);
    server.add(1);
    let ran = went_well(talk.with(&mut house, server.at));
    assert_eq!((ran.fetched, ran.deleted), (1, 2));
    assert!(server.uids().is_empty());
    assert_eq!(house.subjects.len(), 9);
}

#[test]
fn by_pop3_nothing_is_deleted_that_is_not_here() {
    // No room after two: the others stay, and those two go.
    let server = Pop3::start(5);
    let mut house = House::of(row(FetchProtocol::Pop3, server.at.port()));
    house.row.as_mut().expect("set").keep = Keep::Days(0);
    house.room = Some(2);
    let mut talk = Talk::new();
    let (ran, stop) = talk.with(&mut house, server.at);
    assert_eq!((ran.fetched, ran.deleted, stop), (2, 2, Some(Stop::Full)));
    assert_eq!(server.uids(), ["u3", "u4", "u5"]);
    // A message that is larger than the box takes stays.
    house.room = None;
    server.set_size(3, 3 << 20);
    let ran = went_well(talk.with(&mut house, server.at));
    assert_eq!((ran.fetched, ran.left), (2, 1));
    assert_eq!(server.uids(), ["u3"]);
    // A break before QUIT is answered: the server deletes nothing, and nothing comes twice.
    let server = Pop3::start(3);
    let mut house = House::of(row(FetchProtocol::Pop3, server.at.port()));
    house.row.as_mut().expect("set").keep = Keep::Days(0);
    server.break_at_quit(true);
    let (ran, stop) = talk.with(&mut house, server.at);
    assert!(matches!(stop, Some(Stop::Server(_))), "{stop:?}");
    assert_eq!((ran.fetched, ran.deleted), (3, 0));
    assert_eq!(server.uids().len(), 3);
    server.break_at_quit(false);
    let ran = went_well(talk.with(&mut house, server.at));
    assert_eq!((ran.fetched, ran.deleted), (0, 3));
    assert_eq!(house.subjects, ["m1", "m2", "m3"]);
}

#[test]
fn a_server_that_lists_nothing_for_once_does_not_bring_everything_again() {
    let server = Pop3::start(4);
    let mut house = House::of(row(FetchProtocol::Pop3, server.at.port()));
    let mut talk = Talk::new();
    assert_eq!(went_well(talk.with(&mut house, server.at)).fetched, 4);
    let (at, _) = scripted(pop3_says(&["+OK\r\n.\r\n", "+OK\r\n.\r\n", "+OK\r\n"]));
    assert_eq!(went_well(talk.with(&mut house, at)).fetched, 0);
    assert_eq!(went_well(talk.with(&mut house, server.at)).fetched, 0);
    assert_eq!(house.marked(), 4);
}

#[test]
fn mad_pop3_servers_cost_a_try_and_a_bad_message_does_not_hold_up_the_others() {
    let port = 1;
    let mut talk = Talk::new();
    let mut tried = |rest: &[&str]| {
        let mut house = House::of(row(FetchProtocol::Pop3, port));
        let (at, _) = scripted(pop3_says(rest));
        let (ran, stop) = talk.with(&mut house, at);
        assert_eq!((ran.fetched, house.marked()), (0, 0));
        stop.expect("it fails")
    };
    let is_of_server = |stop: &Stop| matches!(stop, Stop::Server(_));
    let list = "+OK\r\n1 a\r\n.\r\n";
    assert!(is_of_server(&tried(&["-ERR no UIDL\r\n"])));
    assert!(
        is_of_server(&tried(&["+OK\r\n1 a\r\n"])),
        "it closes in a list"
    );
    let cut = tried(&[list, "+OK\r\n1 10\r\n.\r\n", "+OK\r\nSubject: x\r\n\r\nha"]);
    assert!(is_of_server(&cut), "it closes in a message");
    let long = format!("+OK\r\n{}\r\n.\r\n", "y".repeat(900_000));
    let lies = tried(&[list, "+OK\r\n1 10\r\n.\r\n", &long]);
    assert!(matches!(lies, Stop::Server(why) if why.contains("more than the 10")));
    // It breaks off at the same message each time: after three times the others come.
    let server = Pop3::start(3);
    server.break_at_message(1);
    let mut house = House::of(row(FetchProtocol::Pop3, server.at.port()));
    let mut talk = Talk::new();
    for _ in 0..3 {
        let (ran, stop) = talk.with(&mut house, server.at);
        assert!(matches!(stop, Some(Stop::Server(_))) && ran.fetched == 0);
    }
    let ran = went_well(talk.with(&mut house, server.at));
    assert_eq!((ran.fetched, ran.left), (2, 1));
    assert_eq!(house.subjects, ["m2", "m3"]);
}

#[test]
fn a_password_that_is_refused_is_told_from_a_server_that_cannot_now() {
    let mut talk = Talk::new();
    for (reply, is_password) in [("-ERR wrong\r\n", true), ("-ERR [SYS/TEMP] x\r\n", false)] {
        let (at, _) = scripted(says(&["+OK\r\n", "-ERR\r\n", "+OK\r\n", reply]));
        let mut house = House::of(row(FetchProtocol::Pop3, 1));
        let (_, stop) = talk.with(&mut house, at);
        assert_eq!(
            matches!(stop, Some(Stop::Password(_))),
            is_password,
            "{stop:?}"
        );
    }
    for (reply, is_password) in [
        ("a3 NO wrong\r\n", true),
        ("a3 NO [UNAVAILABLE] x\r\n", false),
    ] {
        let capabilities = "* CAPABILITY IMAP4rev1\r\na1 OK\r\n";
        let (at, served) = scripted(says(&[
            "* OK\r\n",
            capabilities,
            &reply.replace("a3", "a2"),
        ]));
        let mut house = House::of(row(FetchProtocol::Imap, 1));
        let (_, stop) = talk.with(&mut house, at);
        assert_eq!(
            matches!(stop, Some(Stop::Password(_))),
            is_password,
            "{stop:?}"
        );
        assert_eq!(
            served.join().expect("served")[1],
            "a2 LOGIN \"ann\" \"secret\""
        );
    }
}

#[test]
fn by_imap_each_message_comes_once_over_gaps_deletions_and_large_ones() {
    let server = Imap::start(9, &[3, 4, 900_000, 900_001]);
    let mut house = House::of(row(FetchProtocol::Imap, server.at.port()));
    let mut talk = Talk::new();
    let ran = went_well(talk.with(&mut house, server.at));
    assert_eq!((ran.fetched, ran.deleted, house.marked()), (4, 0, 0));
    assert_eq!(house.subjects, ["m3", "m4", "m900000", "m900001"]);
    assert_eq!((house.row().validity, house.row().uid), (9, 900_001));
    assert_eq!(went_well(talk.with(&mut house, server.at)).fetched, 0);
    // From now on what comes is deleted there after a day; what was there before stays.
    house.row.as_mut().expect("set").keep = Keep::Days(1);
    server.add(&[900_005, 900_007]);
    server.set_size(900_007, 3 << 20);
    let ran = went_well(talk.with(&mut house, server.at));
    assert_eq!((ran.fetched, ran.left, house.marked()), (1, 1, 1));
    talk.today += 1;
    assert_eq!(went_well(talk.with(&mut house, server.at)).deleted, 1);
    assert_eq!(server.uids(), [3, 4, 900_000, 900_001, 900_007]);
    assert_eq!(house.marked(), 0);
    // Messages of several pieces.
    server.add(&[900_010]);
    server.set_size(900_010, 1_000_000);
    assert_eq!(went_well(talk.with(&mut house, server.at)).fetched, 1);
    assert_eq!(house.subjects.last().map(String::as_str), Some("m900010"));
    // Another UIDVALIDITY: they are all new ones.
    server.set_validity(10);
    let ran = went_well(talk.with(&mut house, server.at));
    assert_eq!((ran.fetched, house.row().validity), (5, 10));
}

#[test]
fn mad_imap_servers_cost_a_try() {
    let login = [
        "* OK\r\n",
        "* CAPABILITY IMAP4rev1\r\na1 OK\r\n",
        "a2 OK\r\n",
    ];
    let mut talk = Talk::new();
    let mut tried = |rest: &[&str]| {
        let mut house = House::of(row(FetchProtocol::Imap, 1));
        let (at, _) = scripted(says(&[&login[..], rest].concat()));
        let (ran, stop) = talk.with(&mut house, at);
        assert_eq!(ran.fetched, 0);
        assert!(matches!(stop, Some(Stop::Server(_))), "{stop:?}");
        house
    };
    tried(&["a3 OK\r\n"]);
    tried(&["a3 NO no such folder\r\n"]);
    let opened = "* OK [UIDVALIDITY 5] x\r\n* OK [UIDNEXT 8] x\r\na3 OK\r\n";
    tried(&[opened, "* SEARCH 4 5\r\na4 OK\r\n", "a5 OK\r\n"]);
    let house = tried(&[
        opened,
        "* SEARCH 4\r\na4 OK\r\n",
        "* 1 FETCH (UID 4 RFC822.SIZE 10)\r\na5 OK\r\n",
        "* 1 FETCH (UID 4 BODY[]<0> {9999999}\r\n",
    ]);
    assert_eq!(house.row().uid, 0, "it is looked at again");
    // More than was asked for, and a line without end.
    let long = format!(
        "* 1 FETCH (UID 4 BODY[]<0> {{700000}}\r\n{})\r\na6 OK\r\n",
        "z".repeat(700_000)
    );
    tried(&[
        opened,
        "* SEARCH 4\r\na4 OK\r\n",
        "* 1 FETCH (UID 4 RFC822.SIZE 10)\r\na5 OK\r\n",
        &long,
    ]);
    tried(&[opened, &"* SEARCH".repeat(500_000)]);
}

#[test]
fn a_conversation_that_has_no_time_left_begins_no_message() {
    let server = Pop3::start(3);
    let mut house = House::of(row(FetchProtocol::Pop3, server.at.port()));
    let mut talk = Talk::new();
    talk.until = super::limits::MESSAGE_LEFT_MIN;
    let ran = went_well(talk.with(&mut house, server.at));
    assert!(ran.has_more && ran.fetched == 0);
    let server = Imap::start(9, &[3]);
    let mut house = House::of(row(FetchProtocol::Imap, server.at.port()));
    let ran = went_well(talk.with(&mut house, server.at));
    assert!(ran.has_more && ran.fetched == 0);
    assert_eq!(house.row().uid, 0);
}
