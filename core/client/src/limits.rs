//! What sessions of IMAP and POP3 may cost, as far as it is the same for both.

use std::time::Duration;

/// A silent client is sent BYE; so much later the connection would break off by itself.
pub const SILENCE_GRACE: Duration = Duration::from_secs(10);
/// A failed login is answered after this, so that guessing is slow on one connection.
pub const LOGIN_FAILURE_DELAY: Duration = Duration::from_millis(1_500);
/// Larger messages are sent in pieces; smaller ones are read with their neighbours.
pub const HELD_BYTES_MAX: usize = 128 * 1_024;
/// What a connection holds of messages while it sends a large one: the piece that is being sent and the next (chunks of 508 KiB).
pub const WINDOW_BYTES: usize = 1_024 * 1_024;
/// And what it holds when its account's share is spent: `plan` counts it with the connection.
pub const LEAST_BYTES: usize = 32 * 1_024;
/// One account's share of what waits for clients: an eighth, and at least a connection that reads ahead, or two that do not.
pub const SENDING_SHARE: usize = 8;
pub const SENDING_SHARE_BYTES_MIN: usize = 2 * (WINDOW_BYTES + HELD_BYTES_MAX);
/// Of what waits for clients an eighth is for the streams of compressed connections; an account has at most a quarter of that.
pub const COMPRESSING_SHARE: usize = 8;
pub const COMPRESSING_SHARE_OF_ACCOUNT: usize = 4;
/// The same for clients that asked to be notified (NOTIFY): some 15 KiB each.
pub const NOTIFYING_SHARE: usize = 8;
pub const NOTIFYING_SHARE_OF_ACCOUNT: usize = 4;
/// And of what we work on: a quarter, and at least the largest message there can be.
pub const READING_SHARE: usize = 4;
pub const READING_SHARE_BYTES_MIN: usize = store::limits::BODY_BYTES_MAX;
/// Of what we work on a quarter is for what SORT and THREAD keep for the next one, as far as the largest message has room beside it; an account has at most
/// half of that, so that it never makes all others' go.
pub const ORDERS_SHARE: usize = 4;
pub const ORDERS_SHARE_OF_ACCOUNT: usize = 2;
/// What keeping one of them takes beside what it is: its entry in three tables.
pub const ORDER_ENTRY_BYTES: usize = 512;
/// Of so many entries one looks whether they may be forgotten, and so many are forgotten for a new one.
pub const ORDER_LOOKS_MAX: usize = 64;
/// In the middle of a literal a full lane is asked again so often, a minute in all.
pub const ASK_AGAIN_MAX: usize = 1_200;
pub const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Messages remembered as damaged, of each core: 32 bytes each.
pub const DAMAGED_REMEMBERED_MAX: usize = 1_024;
/// What a future may hold for as long as a connection only waits in it: a thousand idle connections are a thousand of these. Work needs more, and
/// its futures are boxed for as long as they run.
pub const WAITING_BYTES_MAX: usize = 2 * 1_024;
