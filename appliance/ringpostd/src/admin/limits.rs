//! Every number of administration in the daemon, with its reason. Those that the operator's side needs too are in `::admin::limits`.

use std::time::Duration;

/// An image for `update apply`; the updater has the same bound.
pub const UPLOAD_BYTES_MAX: u64 = 512 << 20;
/// The updater fetches, copies and reads back an image: minutes on a slow line.
pub const UPDATE_DEADLINE: Duration = Duration::from_secs(30 * 60);
/// Lines of its own log that the daemon keeps for `ringpostctl logs`, and bytes of all of them.
pub const LOG_LINES_MAX: usize = 2_000;
pub const LOG_BYTES_MAX: usize = 1 << 20;
/// Log lines that came together are written in pieces of about this.
pub const LOG_WRITE_BYTES: usize = 64 << 10;
/// Lines waiting for the reader of standard error. Past it they are dropped and counted: a journal that stands still must not stop mail. Some
/// 300 bytes each, so 2.5 MB at most.
pub const LOG_LINES_WAITING_MAX: usize = 8_192;
/// Bytes of lines of `ringpostctl trace` that wait to be written; some 400 each.
pub const TRACE_WAITING_BYTES_MAX: usize = 3 << 20;
/// Operators at once.
pub const CLIENTS_MAX: usize = 16;
/// HTTP requests on one connection are few and small; a silent one gives its place back.
pub const HTTP_IDLE: Duration = Duration::from_secs(30);
/// Accounts fetched from the mailboxes' owner at once.
pub const ACCOUNTS_PAGE: usize = 500;
/// Bodies read and proved at once by `fsck full`: bounded memory beside the mail that goes on.
pub const FSCK_BODIES_AT_ONCE: usize = 32;
/// How long a leg's last operations are waited for before its device is let go.
pub const LET_GO_TRIES: u32 = 100;
pub const LET_GO_PAUSE: Duration = Duration::from_millis(100);
/// How long `leg fail` and `leg detach` wait for the record: it is one small file, and an operator waits.
pub const EJECT_WITHIN: Duration = Duration::from_secs(5);
/// Leg files that were cut short and put aside, one beside the other, before an operator must look.
pub const ASIDE_MAX: u32 = 10;
