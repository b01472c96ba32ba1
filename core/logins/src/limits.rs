//! Bounds of what is kept about logins.

/// App passwords of one account.
pub const APPS_MAX: usize = 32;
/// The name of an app password.
pub const NAME_BYTES_MAX: usize = 64;
/// The address that an app password was used from, as text: an IPv6 address has 45 bytes at most.
pub const PEER_BYTES_MAX: usize = 45;
/// The numbers of protocols and scopes are bits of a byte.
pub const SCOPES: u8 = 0b0000_1111;

/// An account's row: its keys, and all of its app passwords.
pub const ROW_BYTES_MAX: usize =
    128 + APPS_MAX * (NAME_BYTES_MAX + PEER_BYTES_MAX + APP_FIXED_BYTES);
/// An app password beside its texts: number, scopes, hash, keys, days, lengths.
const APP_FIXED_BYTES: usize = 128;
/// Rows that wait for a checkpoint, in bytes as they are written: from a quarter of it on one is due; past it a change is refused, and nothing else waits.
pub const CHANGED_BYTES_MAX: usize = 2 << 20;
/// What a waiting row takes beside its bytes.
pub const CHANGED_ENTRY_BYTES: usize = 128;
/// Rows of usual size that one row stands for when a checkpoint's room is worked out.
pub const ROW_ROWS: u64 = 4;

/// What waits in memory (as values, which take up to twice their bytes), and the same as rows of one checkpoint.
pub const BYTES_MAX: usize = 3 * CHANGED_BYTES_MAX;

const _: () = assert!(BYTES_MAX <= 8 << 20, "the plan counts 8 MiB");
const _: () = assert!(ROW_BYTES_MAX <= store::limits::GROUP_FIXED_BYTES_MAX);
const _: () = assert!(ROW_BYTES_MAX * 16 <= CHANGED_BYTES_MAX);
