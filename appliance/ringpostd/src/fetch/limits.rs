//! Every number of fetching, with its reason.

use std::time::Duration;

/// Conversations at a time; each has a thread. One person has one.
pub const CONVERSATIONS_MAX: usize = 4;
/// One conversation, from the look-up of the name to its end. A server that trickles takes one place for so long, and is asked ever more seldom.
pub const CONVERSATION_WITHIN: Duration = Duration::from_secs(15 * 60);
/// No message is begun when less than this is left of it.
pub const MESSAGE_LEFT_MIN: Duration = Duration::from_secs(60);
/// A server that says nothing for so long is given up for now.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Addresses of one host that are tried.
pub const ADDRESSES_MAX: usize = 4;

/// Bytes of messages that are being fetched, in all conversations. A message that would take all of them alone is left there.
pub const ROOM_BYTES: usize = 64 * 1_024 * 1_024;
/// What a message may be longer than its server said: ends of lines that the server counts as one octet.
pub const SIZE_SLACK_BYTES: usize = 64 * 1_024;
/// A piece of a message by IMAP.
pub const PIECE_BYTES: usize = 512 * 1_024;
/// One response of an IMAP server: a piece, or UIDs of a window.
pub const RESPONSE_BYTES_MAX: usize = 3 * 1_024 * 1_024;
/// UIDs that are asked for together, and such questions of one conversation.
pub const WINDOW_UIDS: u32 = 200_000;
pub const WINDOWS_MAX: usize = 64;
/// Messages whose sizes are asked for together, and those that are deleted together.
pub const LOOKED_TOGETHER_MAX: usize = 100;
/// Conversations that broke at one message, before it is left there.
pub const STUMBLES_MAX: u32 = 3;
/// Such messages that are remembered of one account elsewhere, until the next start.
pub const STUMBLED_MAX: usize = 100;
/// Tries of storage to place one message, and the wait between two.
pub const PLACE_TRIES_MAX: u32 = 20;
pub const PLACE_WAIT: Duration = Duration::from_millis(250);
/// Rows of marks in one note.
pub const ROWS_TOGETHER_MAX: usize = 64;

/// Refused logins one behind the other, before nothing is fetched any more: servers lock accounts that are tried on and on.
pub const REFUSALS_MAX: u32 = 5;
/// Of an account elsewhere, how often it is fetched.
pub const EVERY_S_MIN: u32 = 60;
pub const EVERY_S_MAX: u32 = 7 * 86_400;
pub const EVERY_S_DEFAULT: u32 = 15 * 60;
/// The longest wait of one that fails: its interval is doubled with each failure.
pub const WAIT_MAX: Duration = Duration::from_secs(86_400);
/// After the start, and between two looks for what is due.
pub const FIRST_AFTER: Duration = Duration::from_secs(3);
pub const LOOK_EVERY: Duration = Duration::from_secs(30);
/// An administrator waits so long for a conversation; after that it goes on without them.
pub const ADMIN_WITHIN: Duration = Duration::from_secs(90);
/// A password of a server elsewhere.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// A list of a POP3 server: number, hash and size of each message, its copy while doubles are looked for; marks as rows and as a table.
const LIST_BYTES: usize = mailbox::names::FETCHED_EACH_MAX * (2 * 24 + 2 * 8 + 2 * 16 + 40);
const BYTES: usize = ROOM_BYTES
    + CONVERSATIONS_MAX * (LIST_BYTES + 2 * RESPONSE_BYTES_MAX)
    + mailbox::names::FETCH_BYTES_MAX;
const _: () = assert!(BYTES as u64 <= plan::limits::FETCH_BYTES);
const _: () = assert!(2 * CONVERSATIONS_MAX as u64 <= plan::limits::FETCH_CONNECTIONS);
const _: () =
    assert!(PIECE_BYTES * 2 < RESPONSE_BYTES_MAX && WINDOW_UIDS as usize * 11 < RESPONSE_BYTES_MAX);
const _: () = assert!(PASSWORD_BYTES_MAX + 28 <= mailbox::names::FETCH_SEALED_BYTES_MAX);
