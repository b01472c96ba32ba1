//! Many IMAP sessions on one account, over plain, STARTTLS, TLS and COMPRESS, that do what chance says; a model says what each may be told.
//!
//! What is held: no number beyond EXISTS; no EXPUNGE during FETCH, STORE and SEARCH; UIDs rise and mean the same octets for ever; flags are those that the
//! owner of a message stored, in their order; MODSEQ, HIGHESTMODSEQ and UIDNEXT never fall; what nobody gave up is there in the end, and what was moved or
//! expunged is not. It is what Dovecot's imaptest does, which Debian does not have. The simulator's story of clients and servers (`core/sim/src/lintel_story.rs`)
//! holds the same over power cuts, on virtual time and with our own client; this one has real sockets, TLS, threads and a reader of its own.
//!
//! `RINGPOST_STRESS=20` does twenty times as much; `RINGPOST_STRESS_SEED` begins with another number.

use std::process::{Command, Output};
use std::time::Duration;

use crate::daemon::{Home, bounded_by, said};

const WIRE: &str = include_str!("stress/wire.py");
const MODEL: &str = include_str!("stress/model.py");
const SESSION: &str = include_str!("stress/session.py");
const STORY: &str = include_str!("stress/story.py");
const LIES: &str = include_str!("stress/lies.py");

/// Ends by itself: its commands are counted, and each waits for 90 seconds at most for more of its answer. A server whose answer has no end is for the
/// bound of the whole.
fn stress(home: &Home, program: &[&str], arguments: &[&str]) -> Output {
    let times = number("RINGPOST_STRESS").unwrap_or(1).max(1);
    bounded_by(
        WITHIN * times,
        Command::new("python3")
            .args(["-c", &format!("{}\nmain()\n", program.join("\n"))])
            .arg(home.port(0).to_string())
            .args(arguments),
    )
}

const WITHIN: Duration = Duration::from_secs(1_200);

fn number(name: &str) -> Option<u32> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
    )
}

#[test]
fn sessions_of_one_account_are_told_what_is_so() {
    let home = Home::new();
    let _daemon = home.start();
    let commands = (120 * number("RINGPOST_STRESS").unwrap_or(1)).to_string();
    let seed = number("RINGPOST_STRESS_SEED").unwrap_or(1).to_string();
    let program = [WIRE, MODEL, SESSION, STORY];
    let output = stress(&home, &program, &[&seed, "9", &commands, "INBOX,a,b"]);
    let text = said(&output);
    println!("{text}");
    assert!(
        output.status.success() && text.ends_with("0 errors\n"),
        "{text}"
    );
}

/// Each of these is an answer that a server must not give; with one of them the stress fails, and says what it saw.
#[test]
fn the_stress_finds_a_server_that_errs() {
    const ERRORS: [(&str, &str); 14] = [
        ("a number beyond EXISTS", "FETCH of 70000"),
        ("an EXPUNGE that is not told", "Fault"),
        ("EXISTS falls", "1 EXISTS, and there were"),
        ("another UID", "UID"),
        ("a flag is missing", "its states"),
        ("flags too many", "its states"),
        ("a keyword that was not announced", "is not among FLAGS"),
        ("MODSEQ falls", "MODSEQ"),
        ("UIDNEXT falls", "UIDNEXT"),
        ("HIGHESTMODSEQ falls", "HIGHESTMODSEQ"),
        ("a UID is given twice", "UID 1 "),
        ("other octets", "UID"),
        ("a search in no order", "is in no order"),
        ("STORE that changed nothing", "was answered with None"),
    ];
    let home = Home::new();
    let _daemon = home.start();
    let program = [WIRE, LIES, MODEL, SESSION, STORY];
    for (index, (error, words)) in ERRORS.into_iter().enumerate() {
        // What sessions come to do is chance; three of them at three times come across it.
        let found = (1..=3).any(|seed| {
            let names = format!("x{index}.{seed},y{index}.{seed}");
            let arguments = [&seed.to_string(), "3", "60", &names, error];
            let output = stress(&home, &program, &arguments);
            let text = said(&output);
            // A program that breaks off is not one that finds something.
            assert!(
                output.status.success() || text.contains("Fault: "),
                "{error}: {text}"
            );
            !output.status.success() && text.contains(words)
        });
        assert!(found, "the stress was content with: {error}");
    }
}
