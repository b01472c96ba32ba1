//! Every number of a transfer, with its reason.

use std::time::Duration;

/// A server that says nothing for so long is given up for now.
pub const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Tries in a row in which no message was brought, before a transfer ends. With the waits between them, about two minutes of an end that is away.
pub const TRIES_MAX: u32 = 10;
/// Between two of them: doubled from the first to the last.
pub const WAIT_MIN: Duration = Duration::from_millis(500);
pub const WAIT_MAX: Duration = Duration::from_secs(20);
/// Tries for one message at which an end breaks off.
pub const TRIES_PER_MESSAGE_MAX: u32 = 3;
/// Messages whose flags are asked for together.
pub const LOOKED_TOGETHER_MAX: usize = 500;
/// Messages that are fetched together, and bytes of them by what the source says.
pub const FETCHED_TOGETHER_MAX: usize = 50;
pub const FETCHED_BYTES_TOGETHER_MAX: u64 = 8 * 1_024 * 1_024;
/// Folders of one account, and bytes of the name of one as its server spells it: ours have a quarter of them.
pub const FOLDERS_MAX: usize = 10_000;
pub const NAME_BYTES_MAX: usize = 4_096;
/// Messages of one folder: some 100 bytes of each are held.
pub const MESSAGES_MAX: usize = 4_000_000;
/// Levels of directories that are looked through for Maildirs.
pub const LEVELS_MAX: usize = 16;
/// One message, as IMAP APPEND has it.
pub const MESSAGE_BYTES_MAX: u64 = mailfiles::limits::MESSAGE_BYTES_MAX as u64;
/// Messages that the result names one by one.
pub const NAMED_MAX: usize = 1_000;
/// Accounts of one CSV file, and bytes of it.
pub const ACCOUNTS_MAX: usize = 10_000;
pub const CSV_BYTES_MAX: u64 = 8 * 1_024 * 1_024;
