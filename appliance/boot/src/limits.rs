//! Every number of this crate, with its reason.

use std::time::Duration;

/// Settings are a page of text, even with a thousand first accounts.
pub const SETTINGS_BYTES_MAX: u64 = 1024 * 1024;
/// Disks appear within a second or two of the kernel's start; a SAN's take longer, and the daemon serves from one leg.
pub const LEGS_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A clock before this was never set: seconds of 1 January 2026.
pub const CLOCK_MIN: u64 = 1_767_225_600;
/// The kernel keeps some 10 KiB of its log in the firmware (`pstore.kmsg_bytes`); a record that claims more is cut.
pub const KERNEL_WORDS_BYTES_MAX: usize = 64 * 1024;
/// Of a panic's reason, in an alarm: two lines of a console.
pub const PANIC_CHARS_MAX: usize = 160;

/// Changes of settings that are remembered: years of a box, and a page of text.
pub const HISTORY_MAX: usize = 100;
/// The answer is on its way before the network changes under it.
pub const ANSWER_FIRST: Duration = Duration::from_secs(2);
/// How often the guard looks whether a probation is over.
pub const GUARD_EVERY: Duration = Duration::from_millis(500);

const _: () = assert!(ANSWER_FIRST.as_secs() < admin::limits::WITHIN_MIN.as_secs());
/// Settings inside a JSON string, every byte of them escaped, and the words around them.
const _: () =
    assert!(admin::limits::SETTINGS_EXCHANGE_BYTES_MAX >= 6 * SETTINGS_BYTES_MAX + 64 * 1024);
