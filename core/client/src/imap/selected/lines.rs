//! Lines about one message.

use imap::respond::{put, put_flags_of_session, put_number};
use mailbox::Message;

use super::super::mode::Mode;

/// `* 3 FETCH (`, or `* 7 UIDFETCH (` to a client that gets no numbers (RFC 9586 §3.3).
pub fn put_fetch_head(out: &mut Vec<u8>, number: u32, uid: u32, uid_only: bool) {
    put(out, "* ");
    put_number(out, if uid_only { uid } else { number });
    put(out, if uid_only { " UIDFETCH (" } else { " FETCH (" });
}

/// `number` counts as of this line: those after it move down by one.
pub(super) fn put_expunge(out: &mut Vec<u8>, number: u32) {
    put(out, "* ");
    put_number(out, number);
    put(out, " EXPUNGE\r\n");
}

/// UID and FLAGS of one message, and MODSEQ.
pub(super) fn put_flags_line(
    out: &mut Vec<u8>,
    number: u32,
    message: &Message,
    recent: bool,
    mode: Mode,
) {
    put_head(out, number, message, mode);
    put(out, "FLAGS ");
    put_flags_of_session(out, &message.flags, recent);
    if mode.condstore {
        put(out, " MODSEQ (");
        put_number(out, message.modseq.0);
        put(out, ")");
    }
    put(out, ")\r\n");
}

/// What a silent STORE shows.
pub(super) fn put_modseq_line(out: &mut Vec<u8>, number: u32, message: &Message, mode: Mode) {
    put_head(out, number, message, mode);
    put(out, "MODSEQ (");
    put_number(out, message.modseq.0);
    put(out, "))\r\n");
}

/// The UID is said once.
fn put_head(out: &mut Vec<u8>, number: u32, message: &Message, mode: Mode) {
    put_fetch_head(out, number, message.uid.0, mode.uid_only);
    if !mode.uid_only {
        put(out, "UID ");
        put_number(out, message.uid.0);
        put(out, " ");
    }
}
