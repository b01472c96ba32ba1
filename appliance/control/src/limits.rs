//! Every number of this crate, with its reason.

use std::time::Duration;

/// A request is a verb and a few words, or whole settings: those of some thousand first accounts. From afar only those who showed
/// a certificate get so far.
pub const REQUEST_BYTES_MAX: usize = 512 * 1024;
/// A reply may list every account of a page, or every leg and segment.
pub const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// An image for `update apply`; the updater has the same bound.
pub const UPLOAD_BYTES_MAX: u64 = 512 << 20;
/// The updater fetches, copies and reads back an image: minutes on a slow line.
pub const UPDATE_DEADLINE: Duration = Duration::from_secs(30 * 60);
/// Lines of its own log that the daemon keeps for `ringpostctl logs`, and bytes of all of them.
pub const LOG_LINES_MAX: usize = 2_000;
pub const LOG_BYTES_MAX: usize = 1 << 20;
/// Log lines that came together are written in pieces of about this.
pub const LOG_WRITE_BYTES: usize = 64 << 10;
/// Lines waiting for whoever reads standard error. Past it they are dropped and counted: a journal that stands still must not stop mail. Some
/// 300 bytes each, so 2.5 MB at most.
pub const LOG_LINES_WAITING_MAX: usize = 8_192;
/// Operators at once.
pub const CLIENTS_MAX: usize = 16;
/// A client says what it wants at once.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// HTTP requests on one connection are few and small; a silent one gives its place back.
pub const HTTP_IDLE: Duration = Duration::from_secs(30);
/// Accounts fetched from the mailboxes' owner at once.
pub const ACCOUNTS_PAGE: usize = 500;
/// Bodies read and proved at once by `fsck full`: bounded memory beside the mail that goes on.
pub const FSCK_BODIES_AT_ONCE: usize = 32;
/// Findings that `fsck` names one by one.
pub const FSCK_FINDINGS_MAX: usize = 1_000;
/// How long a leg's last operations are waited for before its device is let go.
pub const LET_GO_TRIES: u32 = 100;
/// How long `leg fail` and `leg detach` wait for the record: it is one small file, and an operator waits.
pub const EJECT_WITHIN: Duration = Duration::from_secs(5);
pub const LET_GO_PAUSE: Duration = Duration::from_millis(100);
/// A device is blank when this much of its beginning and end is zero (core/volume/FORMAT.md).
pub const BLANK_BYTES: usize = 4 << 20;
/// A password shorter than this is refused; longer than the other is not hashed.
pub const PASSWORD_BYTES_MIN: usize = 6;
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Leg files that were cut short and put aside, one beside the other, before an operator must look.
pub const ASIDE_MAX: u32 = 10;
/// Damage that `salvage` names one by one.
pub const SALVAGE_FINDINGS_MAX: usize = 10_000;
/// A directory's name on the file systems of Linux.
pub const COMPONENT_BYTES_MAX: usize = 255;
/// Mailboxes of one name and account (the record that deleted the others is lost) that `salvage` keeps apart.
pub const SAME_NAME_MAX: u32 = 10_000;

/// Our own message comes back in lines far shorter than this, in far fewer.
pub const SELFTEST_LINE_BYTES_MAX: u64 = 64 * 1024;
pub const SELFTEST_LINES_MAX: usize = 1_000;
/// Incidents in `status`; the support bundle has them all.
pub const INCIDENTS_SHOWN: usize = 5;
/// A certificate that ends within so many days is an alarm: three weeks are time to get another one.
pub const CERTIFICATE_SOON_DAYS: i64 = 21;
/// Certificates of administrators: there is no list of revoked ones, so one that was lost is of use for two years at most. Their
/// authority stands in the settings of every box, and changes seldom.
pub const ADMIN_CERTIFICATE_DAYS: i64 = 730;
pub const ADMIN_AUTHORITY_DAYS: i64 = 3_650;
