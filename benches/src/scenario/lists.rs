//! Lists and searches of a whole mailbox of 10,000 messages over one connection, ours against Dovecot: what a mail program asks for when it opens a folder.
//! The first round warms caches on both sides and does not count.

use std::io;
use std::time::Instant;

use super::{Setting, mailbox};
use crate::figures::Sheet;
use crate::load::imap::Imap;
use crate::peers::PASSWORD;

/// Name of the figure, and the command.
const COMMANDS: [(&str, &str); 11] = [
    ("flags", "FETCH 1:* (FLAGS)"),
    ("fast", "FETCH 1:* FAST"),
    ("envelope", "FETCH 1:* (ENVELOPE)"),
    (
        "list",
        "FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM TO CC SUBJECT MESSAGE-ID IN-REPLY-TO REFERENCES)])",
    ),
    ("structure", "FETCH 1:* (BODYSTRUCTURE)"),
    ("headers", "FETCH 1:* (BODY.PEEK[HEADER])"),
    ("subject", "SEARCH SUBJECT needle"),
    ("from", "SEARCH FROM needle"),
    ("list_id", "SEARCH HEADER LIST-ID needle"),
    ("set_flag", "STORE 1:* +FLAGS.SILENT (\\Flagged)"),
    ("clear_flag", "STORE 1:* -FLAGS (\\Flagged)"),
];

pub fn compare(setting: &Setting, sheet: &mut Sheet) -> io::Result<()> {
    let servers = mailbox::both(setting, setting.scaled(10_000, 2_000), 10 * 1_024)?;
    for (figure, command) in COMMANDS {
        let figure = format!("lists.{figure}");
        mailbox::alternate(setting, sheet, &servers, &figure, "ms", &|server| {
            let mut imap = Imap::connect(server.imap()?, None)?;
            imap.login(mailbox::ACCOUNT, PASSWORD)?;
            imap.select("INBOX")?;
            let begin = Instant::now();
            imap.run(command)?;
            Ok(begin.elapsed().as_secs_f64() * 1_000.0)
        })?;
    }
    Ok(())
}
