//! Every number of this crate, with its reason.

use std::time::Duration;

/// Local mail is served without the SAN after this: longer than a target needs to answer, shorter than anybody waits.
pub const LEGS_WITHIN: Duration = Duration::from_secs(15);
/// Before the volume was ever made there is no mail to serve, and it is made on all its legs or not at all.
pub const FIRST_LEGS_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked while the engine waits for us, and afterwards.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);
pub const WATCH_EVERY: Duration = Duration::from_secs(5);
/// A path that cannot be reached is tried again after this, then after twice as long, …
pub const TRY_AGAIN_FIRST: Duration = Duration::from_secs(2);
/// … up to this: a target that was away for a night is back within a minute.
pub const TRY_AGAIN_MOST: Duration = Duration::from_secs(60);
/// A leg that the engine refuses is not offered more often than this at first, …
pub const ATTACH_AGAIN_FIRST: Duration = Duration::from_secs(5);
/// … and in the end: each attempt that goes wrong half-way costs a catch-up.
pub const ATTACH_AGAIN_MOST: Duration = Duration::from_secs(300);

/// NVMe: I/O that waits for a lost connection fails after this (kernel default: never), so that the mirror goes on without the leg.
pub const NVME_FAIL_AFTER_S: u32 = 5;
/// NVMe: the kernel tries to reconnect this often …
pub const NVME_RECONNECT_EVERY_S: u32 = 2;
/// … and does not give up (-1): what came back is to be found without our help.
pub const NVME_CONTROLLER_LOSS_S: i32 = -1;
/// NVMe: a target that says nothing for so long is lost. The kernel's own value; ours to keep if that one changes.
pub const NVME_KEEP_ALIVE_S: u32 = 5;

/// iSCSI: I/O that waits for a lost session fails after this (open-iscsi's default: 120 s).
pub const ISCSI_FAIL_AFTER_S: u32 = 10;
/// The same where another path takes over.
pub const ISCSI_FAIL_AFTER_MAPPED_S: u32 = 5;
/// iSCSI: an idle connection is asked this often, and has this long to answer.
pub const ISCSI_PING_EVERY_S: u32 = 5;
pub const ISCSI_PING_WITHIN_S: u32 = 5;
/// iSCSI: a login that takes longer is begun again.
pub const ISCSI_LOGIN_WITHIN_S: u32 = 10;
/// iSCSI: how long an order to abort or reset may take; the engine does not wait for it (`storage.hard_deadline`).
pub const ISCSI_ABORT_WITHIN_S: u32 = 10;

/// `iscsiadm`'s and `systemctl`'s words, in a sentence of ours.
pub const WORDS_CHARS_MAX: usize = 300;
/// Settings that `ringpost-boot` has checked; what is longer is not its.
pub const SETTINGS_BYTES_MAX: u64 = 1024 * 1024;

const _: () = assert!(LEGS_WITHIN.as_secs() < FIRST_LEGS_WITHIN.as_secs());
const _: () = assert!(ISCSI_FAIL_AFTER_MAPPED_S < ISCSI_FAIL_AFTER_S);
