//! What IMAP sessions may cost.

use std::time::Duration;

pub use crate::limits::*;
pub use imap::limits::{DEFLATER_BYTES, INFLATER_BYTES};

/// Before login a client has this long for each line: it has the password at hand.
pub const SILENCE_BEFORE_LOGIN_MAX: Duration = Duration::from_secs(60);
/// RFC 9051 §5.4: at least 30 minutes; a little more, since clients renew IDLE every 29.
pub const SILENCE_MAX: Duration = Duration::from_secs(31 * 60);

/// METADATA: octets of one annotation. An account's annotations together have `mailbox::limits::NOTES_BYTES_PER_ACCOUNT_MAX`.
pub const ANNOTATION_BYTES_MAX: usize = 16 * 1_024;

/// The same of all annotations that one LIST shows, which are held together: a comment and a colour for each of some thousand mailboxes.
pub const ANNOTATIONS_LISTED_BYTES_MAX: usize = 1_024 * 1_024;
/// Mailboxes that a LIST looks at, for their counts or annotations, before other tasks of the owner's thread go on.
pub const LOOKED_AT_TOGETHER: usize = 256;

/// Replies are collected up to here before they are sent.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1_024;
/// Parts of large messages at least this large are sent from the store, not copied into the line.
pub const DIRECT_BYTES_MIN: usize = 16 * 1_024;
/// A longer line of a FETCH (an envelope of thousands of addresses) is paid for from the account's share until it is sent.
pub const LINE_BYTES_FREE: usize = 64 * 1_024;
/// What may be looked at for one line (parts decoded, headers filtered): so much, and as often all of the message. A client that
/// lists a hundred fields, or takes every part and its size, stays far below it.
pub const LINE_WORK_BYTES_MIN: usize = 1_024 * 1_024;
pub const LINE_WORK_TIMES: usize = 32;
/// What a preview counts as: so much of a message is decoded for it.
pub const PREVIEW_WORK_BYTES: usize = 32 * 1_024;
/// Lines of quoted-printable that are decoded in pieces; RFC 2045 §6.7 allows 76.
pub const DECODED_LINE_BYTES_MAX: usize = 16 * 1_024;
/// Bodies read ahead at once by a FETCH: by count, and by size (one message at least).
pub const BODIES_PER_READ_MAX: usize = 64;
pub const BODY_BYTES_PER_READ_MAX: usize = 1_024 * 1_024;
/// Chunks of a FETCH that are asked for at once, beside the one that is sent; each is paid for from the account's share, and where that has no room
/// there is one.
pub const LOADS_AT_ONCE: usize = 2;
/// Summaries read ahead at once: some 500 bytes each.
pub const SUMMARIES_PER_READ_MAX: usize = 512;
/// And bytes of them in a SEARCH, one at least: it holds the chunk that is looked through and the next.
pub const SUMMARY_BYTES_PER_READ_MAX: usize = 512 * 1_024;
/// A row of a mailbox's list, or a folder's name against one letter of a pattern, as work beside bytes of messages (`runtime::work`).
pub const ROW_WORK_BYTES: usize = 16;
/// Rows of a mailbox's list that a connection asks for at once, some 160 bytes each.
pub const ROWS_PER_TURN_MAX: usize = 512;
/// And holds until the client has taken what is about them: with 64 long keywords a row has 5 KiB.
pub const ROWS_BYTES_PER_TURN_MAX: usize = ROWS_PER_TURN_MAX * size_of::<mailbox::Message>();
/// Rows that one trip of a FETCH brings at most where the account's share has room for them: trips begin with `ROWS_PER_TURN_MAX` and double, so that ten
/// thousand rows take five. The owner copies them in turns of `ROWS_PER_TURN_MAX`, as one trip was before, and does other work between two.
pub const ROWS_PER_TRIP_MAX: usize = 8 * ROWS_PER_TURN_MAX;
/// Messages that one turn of a STORE changes: one commit.
pub const STORED_TOGETHER_MAX: usize = 4_096;
/// EXPUNGE lines between two looks at the output: 60 KiB of them.
pub const EXPUNGES_TOGETHER_MAX: usize = 4_096;
/// Ranges in one VANISHED line: at most 22 KiB of them.
pub const VANISHED_RANGES_PER_LINE_MAX: usize = 1_024;
/// Messages of a conditional STORE: those that changed are named in its answer, 360 KB of them where every second one did.
pub const CONDITIONAL_MAX: usize = 65_536;
/// An APPEND waits this long for a share of the memory for messages that are received.
pub const RECEIVING_WAIT_MAX: Duration = Duration::from_secs(30);
/// A command of at most so many bytes, literals included, is read without asking the shared memory: `plan` counts it with the
/// connection.
pub const SMALL_COMMAND_BYTES: usize = imap::limits::COMMAND_BYTES_MAX;
/// Keywords of which a session remembers that it showed them: 20 KiB when all are of the greatest length.
pub const KEYWORDS_SHOWN_MAX: usize = 256;
/// Messages whose new keywords are shown in one FLAGS line: 64 of them with all different keywords make it 266 KiB.
pub const ANNOUNCED_TOGETHER_MAX: usize = 64;
/// What one SORT or THREAD holds of the messages that it compares, at most: as much as the account's share of `memory.read` where that is less. It is
/// some 100 bytes of each message in SORT, 450 in THREAD. Past it the command is refused.
pub const SORT_BYTES_MAX: usize = 256 * 1_024 * 1_024;
/// What is expected of one message, and paid for before anything is read.
pub const SORT_BYTES_EXPECTED: usize = 256;
/// What SORT and THREAD hold beside that: two chunks of summaries, and the beginning of a message whose summary does not say enough.
pub const SORT_READ_BYTES: usize = SORT_HEADER_BYTES_MAX + 2 * WINDOW_BYTES;
// One window is for both chunks, one for a piece of a message.
const _: () = assert!(2 * SUMMARY_BYTES_PER_READ_MAX <= WINDOW_BYTES);
/// Octets of headers between two looks at what they became: 13,000 references of five octets each take 2 MB of a THREAD, which is paid for as
/// what is read; the rest of a chunk could take 30.
pub const SORT_UNPAID_BYTES_MAX: usize = 64 * 1_024;
/// So much of a header is looked at; a field behind it does not count.
pub const SORT_HEADER_BYTES_MAX: usize = mail::limits::WHOLE_HEADER_BYTES_MAX;
/// While new messages are put into what SORT and THREAD keep, it takes so many times what is put together: what becomes of both, the places of their
/// messages and keys in it, and the same again without messages that could not be read.
pub const ORDERS_MERGING_TIMES: usize = 4;
/// What is kept may have so many messages too many, a quarter of those there are, before those that are gone are taken out.
pub const ORDERS_STALE_SHARE: usize = 4;
/// RFC 9585 §4: a client is notified of a long SEARCH, SORT or THREAD this often.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// A client that does not take such a report in this time loses its connection: the command may hold memory that others wait for.
pub const PROGRESS_TAKEN_MAX: Duration = Duration::from_secs(30);
/// Ranges of UIDs in a saved search result, 8 bytes each: as many as one command could name.
pub const SAVED_RANGES_MAX: usize = imap::limits::SEQUENCE_PIECES_MAX;
/// Lessons about junk under way on one core: each COPY and MOVE begins one at most, which looks at one message after another. Past it a move
/// teaches nothing.
pub const LESSONS_UNDER_WAY_MAX: usize = 8;
/// Messages of one COPY or MOVE that teach; the newest ones.
pub const LESSONS_TOGETHER_MAX: usize = 32;
/// Messages of one command for which the mailbox's script runs: the newest ones. A run is a read of the message and up to three commits; of this many
/// they take some seconds, and what a person does by hand is fewer.
pub const EVENTS_TOGETHER_MAX: usize = 256;
/// Scripts that run at the same time because of commands on one core: the owner of the volume has other work.
pub const EVENTS_AT_ONCE: usize = 4;
/// Commands of one account whose messages wait for that.
pub const EVENT_COMMANDS_MAX: usize = 16;
/// And messages of all accounts of a core: 48 KiB, and at most 400 KiB where STORE changed long keywords of each.
pub const EVENTS_WAITING_MAX: usize = 1_024;
/// So many keywords of which STORE changed make a message count as one more, in both of these.
pub const EVENT_KEYWORDS_PER_MESSAGE: usize = 4;
/// Tries to end a watch when the owner is busy.
pub const UNWATCH_TRIES_MAX: u32 = 100;

/// NOTIFY: mailboxes whose messages changed, which the owner's thread keeps for a session until it looks: what happens while a client takes a large message.
/// Past it the client gets a word that it was too much, and asks itself.
pub const TOUCHED_MAX: usize = 128;
/// NOTIFY: octets of what else happened, kept so: some sixty folders that are renamed at once.
pub const NOTICED_BYTES_MAX: usize = 8 * 1_024;
/// NOTIFY: what all of that takes, beside the groups that the client named.
pub const NOTICES_BYTES: usize = NOTICED_BYTES_MAX + TOUCHED_MAX * 48;
/// NOTIFY: a session looks at what happened in other mailboxes this often at most, and so at all that happened meanwhile together: each look is a trip to
/// the owner's thread, and looks at each of the account's names. With a thousand sessions that watch an account of ten thousand folders, into which mail comes
/// all the time, that is a thousand such walks a second and no more (an estimate, not a measurement: a fifth of that thread).
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

// A share holds what is read, and a sort of a hundred thousand messages.
const _: () = assert!(SORT_READ_BYTES + 100_000 * 400 <= crate::limits::READING_SHARE_BYTES_MIN);
