//! Servers and moments at which mail could be lost, cut or told of untruly.

use super::*;
use crate::fetch::limits::PIECE_BYTES;

/// RFC 1939 §7: a UIDL may be given to another message once its own is gone.
#[test]
fn a_uidl_that_is_used_again_deletes_nothing_that_is_not_here() {
    let server = Pop3::start(2);
    let mut house = House::of(row(FetchProtocol::Pop3, server.at.port()));
    house.row.as_mut().expect("set").keep = Keep::Days(0);
    let mut talk = Talk::new();
    assert_eq!(went_well(talk.with(&mut house, server.at)).deleted, 2);
    // The next message comes at once, and has the first one's UIDL.
    server.restart_numbers();
    server.add(1);
    let ran = went_well(talk.with(&mut house, server.at));
    assert_eq!((ran.fetched, ran.deleted, ran.left), (0, 0, 1));
    assert_eq!(server.uids(), ["u1"], "it is not here: it stays there");
    assert!(ran.note.is_some_and(|note| note.contains("deleted")));
    // Had the server listed nothing between, it is a new one.
    server.clear();
    assert_eq!(went_well(talk.with(&mut house, server.at)).listed, 0);
    assert_eq!(house.marked(), 0);
    server.restart_numbers();
    server.add(1);
    let ran = went_well(talk.with(&mut house, server.at));
    assert_eq!((ran.fetched, ran.deleted, ran.left), (1, 1, 0));
}

#[test]
fn what_was_changed_or_stops_deletes_nothing_more() {
    let (pop3, imap) = (Pop3::start(2), Imap::start(9, &[3, 4]));
    for (protocol, at) in [
        (FetchProtocol::Pop3, pop3.at),
        (FetchProtocol::Imap, imap.at),
    ] {
        let mut house = House::of(row(protocol, at.port()));
        let mut talk = Talk::new();
        house.row.as_mut().expect("set").keep = Keep::Days(1);
        assert_eq!(went_well(talk.with(&mut house, at)).fetched, 2);
        (talk.today, talk.is_stopping) = (TODAY + 1, true);
        assert_eq!(went_well(talk.with(&mut house, at)).deleted, 0);
        talk.is_stopping = false;
        assert_eq!(went_well(talk.with(&mut house, at)).deleted, 2);
    }
}

#[test]
fn messages_without_a_uidl_of_their_own_are_told() {
    let list = "+OK\r\n1 same\r\n2 same\r\n3 \x7f\r\n.\r\n";
    let sizes = "+OK\r\n1 9\r\n2 9\r\n3 9\r\n.\r\n";
    let (at, _) = scripted(pop3_says(&[list, sizes, "+OK\r\n"]));
    let mut house = House::of(row(FetchProtocol::Pop3, 1));
    let ran = went_well(Talk::new().with(&mut house, at));
    assert_eq!((ran.fetched, ran.left), (0, 3));
}

/// What an IMAP server says up to the messages that UIDs from 4 on have.
fn imap_says(rest: &[&str]) -> Vec<String> {
    let before = [
        "* OK\r\n",
        "* CAPABILITY IMAP4rev1\r\na1 OK\r\n",
        "a2 OK\r\n",
        "* OK [UIDVALIDITY 5] x\r\n* OK [UIDNEXT 8] x\r\na3 OK\r\n",
    ];
    says(&[&before[..], rest].concat())
}

fn piece(tag: u32, text: &str) -> String {
    let count = text.len();
    format!("* 1 FETCH (UID 4 BODY[]<0> {{{count}}}\r\n{text})\r\na{tag} OK\r\n")
}

#[test]
fn half_a_message_by_imap_is_none() {
    let filler = "y".repeat(PIECE_BYTES - "Subject: x\r\n\r\n".len());
    let whole = format!("Subject: x\r\n\r\n{filler}");
    let look = |size: usize| format!("* 1 FETCH (UID 4 RFC822.SIZE {size})\r\na5 OK\r\n");
    // Another program removes it between two pieces.
    let (found, first) = ("* SEARCH 4\r\na4 OK\r\n", piece(6, &whole));
    let (at, _) = scripted(imap_says(&[found, &look(600_000), &first, "a7 OK\r\n", ""]));
    let mut house = House::of(row(FetchProtocol::Imap, 1));
    let (ran, stop) = Talk::new().with(&mut house, at);
    assert!(matches!(stop, Some(Stop::Server(_))), "{stop:?}");
    assert_eq!((ran.fetched, house.row().uid), (0, 0));
    // A server that gives less than was asked for is asked for the rest.
    let (one, two) = (piece(6, "Subject: x\r\n"), piece(7, "\r\nbody\r\n"));
    let (at, served) = scripted(imap_says(&[found, &look(20), &one, &two, ""]));
    let mut house = House::of(row(FetchProtocol::Imap, 1));
    assert_eq!(went_well(Talk::new().with(&mut house, at)).fetched, 1);
    assert!(served.join().expect("served")[6].contains("BODY.PEEK[]<12."));
    // One that says too large a size ends with an empty piece.
    let (one, two) = (piece(6, "Subject: x\r\n"), piece(7, ""));
    let (at, _) = scripted(imap_says(&[found, &look(2_000), &one, &two, ""]));
    let mut house = House::of(row(FetchProtocol::Imap, 1));
    assert_eq!(went_well(Talk::new().with(&mut house, at)).fetched, 1);
}

#[test]
fn what_an_imap_server_says_of_flags_meanwhile_hides_no_message() {
    let told = "* 1 FETCH (UID 4 FLAGS (\\Seen))\r\n* 1 FETCH (UID 4 FLAGS ())\r\n";
    let looked = format!(
        "{told}* 1 FETCH (UID 4 RFC822.SIZE 14)\r\n* 2 FETCH (UID 5 RFC822.SIZE 14)\r\na5 OK\r\n"
    );
    let text = "Subject: x\r\n\r\n";
    let second = piece(7, text).replace("UID 4", "UID 5");
    let found = "* SEARCH 4 5\r\na4 OK\r\n";
    let (at, _) = scripted(imap_says(&[found, &looked, &piece(6, text), &second, ""]));
    let mut house = House::of(row(FetchProtocol::Imap, 1));
    assert_eq!(went_well(Talk::new().with(&mut house, at)).fetched, 2);
    assert_eq!(house.row().uid, 5);
}

/// The host name of the old provider leads to this box by now: each message that is fetched is a new one there.
#[test]
fn what_was_fetched_from_there_before_is_not_fetched_again() {
    let again = format!(
        "Received: from x\r\n\tid {:08x}01; y\r\nSubject: x\r\n\r\n",
        77
    );
    let (size, found) = (again.len(), "* SEARCH 4\r\na4 OK\r\n");
    let look = format!("* 1 FETCH (UID 4 RFC822.SIZE {size})\r\na5 OK\r\n");
    let (at, _) = scripted(imap_says(&[found, &look, &piece(6, &again), ""]));
    let mut house = House::of(row(FetchProtocol::Imap, 1));
    let ran = went_well(Talk::new().with(&mut house, at));
    assert_eq!((ran.fetched, ran.left, house.row().uid), (0, 1, 4));
    let (list, sizes) = ("+OK\r\n1 a\r\n.\r\n", "+OK\r\n1 90\r\n.\r\n");
    let text = format!("+OK\r\n{again}.\r\n");
    let mut house = House::of(row(FetchProtocol::Pop3, 1));
    house.row.as_mut().expect("set").keep = Keep::Days(0);
    let (at, _) = scripted(pop3_says(&[list, sizes, &text, "+OK\r\n", "+OK\r\n"]));
    let ran = went_well(Talk::new().with(&mut house, at));
    assert_eq!((ran.fetched, ran.left, ran.deleted), (0, 1, 0));
    // It is not read again, and stays there.
    let (at, served) = scripted(pop3_says(&[list, sizes, "+OK\r\n"]));
    let ran = went_well(Talk::new().with(&mut house, at));
    assert_eq!((ran.fetched, ran.left, ran.deleted), (0, 1, 0));
    let heard = served.join().expect("served");
    assert_eq!(heard.last().map(String::as_str), Some("QUIT"));
}
