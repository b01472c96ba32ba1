//! Every number of this crate, with its reason.

use std::time::Duration;

/// A request is a verb and a few words, or whole settings: those of some thousand first accounts. From afar only those who showed
/// a certificate get so far.
pub const REQUEST_BYTES_MAX: usize = 512 * 1024;
/// A reply may list every account of a page, or every leg and segment.
pub const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A client says what it wants at once.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// Messages in one page of the queue: the longest lines of so many fit a reply.
pub const QUEUE_PAGE_MAX: usize = 1_000;
/// Recipients of one message whose ways are shown: each takes look-ups of names.
pub const WAYS_SHOWN_MAX: usize = 20;
/// Messages in one page of the quarantine: each is read from a leg.
pub const QUARANTINE_PAGE_MAX: usize = 200;
/// Of a message in quarantine that is shown: its header as a rule, and the first lines.
pub const QUARANTINE_TEXT_BYTES: usize = 16 * 1024;
/// Findings that `fsck` names one by one.
pub const FSCK_FINDINGS_MAX: usize = 1_000;
/// Incidents in `status`; the support bundle has them all.
pub const INCIDENTS_SHOWN: usize = 5;
/// A password shorter than this is refused; longer than the other is not hashed.
pub const PASSWORD_BYTES_MIN: usize = 6;
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// A certificate that ends within so many days is an alarm: three weeks are time to get another one.
pub const CERTIFICATE_SOON_DAYS: i64 = 21;
/// From so many days on the alarm says that it is urgent, and is an error in the log.
pub const CERTIFICATE_URGENT_DAYS: i64 = 7;
/// Settings inside a JSON string, every byte of them escaped, and the words around them.
pub const SETTINGS_EXCHANGE_BYTES_MAX: u64 = 6 * 1024 * 1024 + 64 * 1024;
/// Checking reads files and computes a plan: a second on a slow machine, some more under load.
pub const SETTINGS_ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked for an answer.
pub const EXCHANGE_LOOK_EVERY: Duration = Duration::from_millis(50);
/// A change on probation is confirmed within five minutes by default …
pub const WITHIN_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// … which is long enough to type a line, …
pub const WITHIN_MIN: Duration = Duration::from_secs(30);
/// … and soon enough for an administrator who waits for the box to come back.
pub const WITHIN_MAX: Duration = Duration::from_secs(60 * 60);
/// A name on a client certificate, as far as it is shown and kept.
pub const WHO_CHARS_MAX: usize = 64;
/// A request or a result that passes between the daemon and the updater.
pub const UPDATE_EXCHANGE_BYTES_MAX: u64 = 16 << 10;

const _: () = assert!(WITHIN_MIN.as_secs() <= WITHIN_DEFAULT.as_secs());
const _: () = assert!(WITHIN_DEFAULT.as_secs() <= WITHIN_MAX.as_secs());
