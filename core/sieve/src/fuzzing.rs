//! A door for `core/fuzz`, no part of the API.

use std::sync::Arc;

use mail::{Address, Flags, SystemFlags};

use crate::limits::*;
use crate::{
    Action, Answer, Envelope, Environment, Event, Host, Included, Key, Outcome, Script, Wanted,
};

pub const WORDS: &[&[u8]] = &[
    b"require [\"variables\", \"regex\"];",
    b"if ",
    b"elsif ",
    b"else ",
    b"not ",
    b"allof(",
    b"{",
    b"}",
    b"\"",
    b"text:\r\n",
    b"\r\n.\r\n",
    b"${1}",
    b"${a}",
    b"${hex:c3 bc}",
    b":matches ",
    b":regex ",
    b":count \"ge\" ",
    b":comparator \"i;ascii-numeric\" ",
    b"\"*a?b*\"",
    b"[\"subject\", \"from\"] ",
    b"set \"a\" ",
    b"fileinto ",
    b"vacation ",
    b"environment \"imap.cause\" ",
    b"include \"self\";",
    b"addheader \"X-A\" ",
    b"deleteheader \"subject\";",
    b"body :content \"text\" ",
    b"9999999999",
    b"/*",
    b"\xff",
];

/// What divides a script from a message in the inputs of `delivery`.
const DIVIDER: &[u8] = b"\0\n";

/// Compiles any bytes. What is a script stays below its bounds, and what is not has a place in it.
pub fn script(bytes: &[u8]) {
    match Script::compile(bytes) {
        Ok(script) => {
            let regexes_bytes = 4 * REGEX_BYTES_MAX * REGEXES_COUNT_MAX;
            assert!(script.bytes() <= COMPILED_BYTES_MAX + regexes_bytes + size_of::<Script>());
            assert!(script.includes().len() <= INCLUDES_COUNT_MAX);
        }
        Err(error) => {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
            assert!(error.at.line as usize <= lines + 1 && error.at.column > 0);
            let text = error.to_string();
            assert!(
                text.len() < 1_000 && !text.chars().any(char::is_control),
                "{text}"
            );
        }
    }
}

/// Compiles and runs: a script, `DIVIDER`, a message. Twice, and both come to the same.
pub fn delivery(bytes: &[u8]) {
    let at = bytes
        .windows(DIVIDER.len())
        .position(|window| window == DIVIDER);
    let (source, message) = match at {
        Some(at) => (&bytes[..at], &bytes[at + DIVIDER.len()..]),
        None => (bytes, &b"Subject: x\r\n\r\n"[..]),
    };
    let Ok(script) = Script::compile(source) else {
        return;
    };
    let script = Arc::new(script);
    let first = run(&script, message, None);
    check(&first, message);
    assert_eq!(first, run(&script, message, None), "a run has no effect");
    // The same script for a message that is in a mailbox: it is neither refused nor answered.
    let flags = Flags::system(SystemFlags::SEEN);
    let event = Event {
        user: "bob",
        email: "bob@example.org",
        cause: "FLAG",
        mailbox: "Lists",
        changed_flags: "\\Seen",
        flags: &flags,
    };
    let stored = run(&script, message, Some(event));
    check(&stored, message);
    let arriving = |action: &Action| matches!(action, Action::Reject { .. } | Action::Reply(_));
    assert!(!stored.actions.iter().any(arriving));
}

fn run(script: &Arc<Script>, message: &[u8], event: Option<Event<'_>>) -> Outcome {
    let address = |local| Address::from_parts(local, "example.org").expect("an address");
    let (from, to) = (address("ann"), address("bob+shop"));
    let envelope = Envelope {
        from: Some(&from),
        to: &to,
    };
    let environment = Environment {
        now_unix_s: 1_796_032_800,
        zone_minutes: 60,
        host: "mx.example.org",
        domain: "example.org",
        remote_host: None,
        remote_ip: Some("192.0.2.1"),
        own_addresses: &["bob@example.org".to_owned()],
        separator: '+',
        spam_percent: Some(40),
        virus: None,
        event,
    };
    let outcome = script.run(message, &envelope, &environment, &Same(script.clone()));
    outcome.expect("every question is answered")
}

/// What must hold for the outcome of any run.
fn check(outcome: &Outcome, message: &[u8]) {
    assert!(outcome.steps <= STEPS_COUNT_MAX);
    assert!(outcome.actions.len() <= ACTIONS_COUNT_MAX + 1);
    assert!(outcome.editions.len() <= EDITIONS_COUNT_MAX);
    assert!(outcome.remember.len() <= DUPLICATES_COUNT_MAX);
    assert!(outcome.body_begin <= message.len());
    // A failure keeps the message and leaves nothing of what was asked for before it.
    if let Some(failure) = &outcome.failure {
        assert!(matches!(
            outcome.actions[..],
            [Action::Keep { implicit: true, .. }]
        ));
        assert!(
            !failure.to_string().chars().any(char::is_control),
            "{failure}"
        );
    }
    // Fields are taken over as they stand, with a line end where one lacks it, and beside them only what was added.
    for header in &outcome.editions {
        assert!(header.len() <= 2 * message.len() + ADDED_BYTES_MAX + 2);
    }
    let mut is_rejected = false;
    for action in &outcome.actions {
        match action {
            Action::Keep { edition, .. }
            | Action::FileInto { edition, .. }
            | Action::Redirect { edition, .. } => assert!(edition.0 <= outcome.editions.len()),
            Action::Reject { reason, .. } => {
                assert!(reason.len() <= REASON_BYTES_MAX);
                is_rejected = true;
            }
            Action::Reply(reply) => {
                check_message(&reply.message("Mon, 30 Nov 2026 10:00:00 +0000", "<1@example.org>"));
            }
            Action::Notify(note) => {
                assert!(note.to.len() <= REDIRECTS_COUNT_MAX);
                check_message(&note.message(
                    "Mon, 30 Nov 2026 10:00:00 +0000",
                    "<1@example.org>",
                    "b@c.d",
                ));
            }
        }
    }
    let is_other = |action: &Action| !matches!(action, Action::Reject { .. } | Action::Notify(_));
    assert!(
        !is_rejected || !outcome.actions.iter().any(is_other),
        "nothing but notifications beside a rejection"
    );
}

/// No text of a script or of a message makes a field of its own in what we send.
fn check_message(message: &[u8]) {
    let fields = mail::header::fields(message);
    for field in fields {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        let is_known = name.starts_with("content-")
            || [
                "date",
                "message-id",
                "from",
                "to",
                "subject",
                "in-reply-to",
                "references",
                "auto-submitted",
                "mime-version",
                "importance",
                "x-priority",
            ]
            .contains(&&name[..]);
        assert!(is_known, "{name}");
    }
}

/// Every mailbox exists, nothing was seen before, and a script by the name `self` is the one that runs.
struct Same(Arc<Script>);

impl Host for Same {
    fn script(&self, wanted: &Wanted) -> Answer<Included> {
        Answer::Is(match &*wanted.name {
            "self" => Included::Script(self.0.clone()),
            "broken" => Included::Broken("line 1, column 1: x".to_owned()),
            _ => Included::Absent,
        })
    }
    fn has_mailbox(&self, _name: &str) -> Answer<bool> {
        Answer::Is(true)
    }
    fn has_mailbox_with_id(&self, id: &str) -> Answer<bool> {
        Answer::Is(id.len() == 3)
    }
    fn has_special_use(&self, mailbox: Option<&str>, _special_use: &str) -> Answer<bool> {
        Answer::Is(mailbox.is_none())
    }
    fn is_remembered(&self, key: &Key) -> Answer<bool> {
        Answer::Is(key.0[0] & 1 == 0)
    }
}

pub fn scripts() -> Vec<Vec<u8>> {
    SCRIPTS
        .iter()
        .map(|script| script.as_bytes().to_vec())
        .collect()
}

/// Each script with a message that it is about.
pub fn deliveries() -> Vec<Vec<u8>> {
    let with_message = |script: &&str| [script.as_bytes(), DIVIDER, MESSAGE].concat();
    SCRIPTS.iter().map(with_message).collect()
}

const SCRIPTS: [&str; 8] = [
    "require [\"fileinto\", \"copy\", \"mailbox\", \"envelope\", \"subaddress\"];\r\n\
     if allof (header :contains \"subject\" [\"sea\", \"lake\"], not address :domain :is \"from\" \"example.com\") {\r\n\
     fileinto :copy :create \"Water/Salt\"; stop; }\r\n\
     elsif envelope :detail \"to\" \"shop\" { redirect \"carol@example.org\"; }\r\nelse { discard; }",
    "require [\"variables\", \"fileinto\", \"relational\", \"comparator-i;ascii-numeric\"];\r\n\
     if header :matches \"List-Id\" \"*<*.*\" { set :lower :upperfirst \"l\" \"${2}\"; set :length \"n\" \"${l}\";\r\n\
     if string :value \"gt\" :comparator \"i;ascii-numeric\" \"${n}\" \"3\" { fileinto \"Lists/${l}\"; } }",
    "require [\"vacation\", \"vacation-seconds\", \"fcc\", \"imap4flags\", \"mailbox\"];\r\n\
     vacation :seconds 600 :addresses [\"b@example.org\"] :subject \"Away\" :fcc \"Sent\" :flags \"\\\\Seen\" :create text:\r\nGone.\r\n..\r\n.\r\n;",
    "require [\"body\", \"date\", \"index\", \"regex\", \"variables\", \"enotify\"];\r\n\
     if anyof (body :content \"text\" :contains \"money\", body :raw :matches \"*a*\", currentdate :zone \"+0100\" \"weekday\" [\"0\", \"6\"]) {\r\n\
     if header :index 1 :last :regex \"received\" \"from ([a-z.]+)\" { notify :message \"${1}\" \"mailto:a@b.c?body=x\"; } }",
    "require [\"editheader\", \"duplicate\", \"reject\", \"spamtestplus\", \"virustest\", \"relational\", \"comparator-i;ascii-numeric\"];\r\n\
     addheader :last \"X-A\" \"\u{fc} x\"; deleteheader :index 1 :contains \"subject\" \"a\";\r\n\
     if duplicate :handle \"h\" :header \"message-id\" :seconds 60 { keep; stop; }\r\n\
     if spamtest :percent :value \"ge\" :comparator \"i;ascii-numeric\" \"90\" { reject \"No.\"; }",
    "require [\"include\", \"variables\", \"ihave\", \"environment\"]; global \"g\"; set \"g\" \"${g}x\";\r\n\
     include :once \"self\"; include :optional \"none\";\r\n\
     if ihave \"vnd.x\" { vnd :x 1 \"a\"; } elsif environment :matches \"version\" \"*.*\" { return; }",
    "require [\"imap4flags\", \"fileinto\", \"special-use\", \"mailboxid\", \"encoded-character\"];\r\n\
     setflag [\"\\\\Seen\", \"$Work a\"]; removeflag \"a\"; if hasflag :count \"ge\" \"1\" {} ",
    "if size :over 100K { keep; } # end\r\n/* and */ if exists [\"to\", \"cc\"] { stop; }",
];

const MESSAGE: &[u8] = b"Received: from mx.example.net by mx.example.org; Mon, 30 Nov 2026 09:00:00 +0100\r\n\
    From: Ann <ann@example.net>\r\nTo: Bob <bob@example.org>, Sea: c@d.e;\r\nSubject: =?utf-8?q?the_sea_=C3=BC?=\r\n\
    List-Id: Sea <sea.example.net>\r\nMessage-ID: <1@example.net>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+bW9uZXk8L2I+\r\n--b\r\n\r\nplain\r\n--b--\r\n";
