//! Bounds of scripts, of what is remembered for them, and of what both take in memory.

/// Bytes of one script: what the compiler takes (`sieve::limits::SCRIPT_BYTES_MAX`).
pub const SCRIPT_BYTES_MAX: usize = 256 << 10;
/// Scripts of one owner.
pub const SCRIPTS_PER_OWNER_MAX: usize = 64;
/// Bytes of all scripts of one owner.
pub const OWNER_BYTES_MAX: usize = 1 << 20;
/// Bytes of a script's name: 128 letters of four bytes.
pub const NAME_BYTES_MAX: usize = 512;
/// A domain's name (RFC 1035 §2.3.4).
pub const DOMAIN_BYTES_MAX: usize = 255;
/// What the lists of all owners may take in memory, each as its row and `OWNER_COST`: 75,000 persons with a script each, whose name has 10 letters. The
/// texts of scripts are in the projection. Past it no script is taken.
pub const LISTS_BYTES_MAX: usize = 12 << 20;
/// A list beside its row: its owner, its place in the map, what the allocator adds.
pub const OWNER_COST: usize = 112;
/// A script in a list, beside its name.
pub const SCRIPT_COST: usize = 36;

/// Keys of one account. Past it the one that ends first is forgotten.
pub const KEYS_PER_ACCOUNT_MAX: usize = 1_000;
/// Keys of all accounts: all are in memory. Past it no new one is remembered until some end.
pub const KEYS_MAX: usize = 64 << 10;
/// Keys of one record: a run of a script asks for fewer than this (`sieve::limits`).
pub const KEYS_PER_RECORD_MAX: usize = 64;

/// Texts that may wait in memory for a checkpoint. From half of it on a checkpoint is due; past it a script is refused for the moment.
pub const WAITING_BYTES_MAX: usize = 1 << 20;
/// Accounts whose keys may wait for a checkpoint: each one's are written whole, and all of them are no more than `KEYS_MAX`.
pub const WAITING_ACCOUNTS_MAX: usize = 1_024;
/// Lists that may wait for a checkpoint because people changed them.
pub const WAITING_LISTS_MAX: usize = 1_024;
/// Rows fetched by one read of the projection.
pub const ROWS_PER_READ: usize = 256;
/// Records that reclaim writes in one group, unless one alone is larger.
pub const CARRIED_GROUP_BYTES: usize = 64 << 10;

/// Rows of usual size that a list stands for when a checkpoint's room is worked out; it has 38 KiB at most, and usually some hundred bytes.
pub const LIST_ROWS: u64 = 4;
/// The same for the keys of an account.
pub const KEYS_ROWS: u64 = 6;
/// Bytes of a text that count as one row of usual size.
pub const TEXT_BYTES_PER_ROW: usize = 8 << 10;

/// A key, and when it ends.
pub(crate) const KEY_BYTES: usize = 24;
/// An account with keys, beside them.
const ACCOUNT_BYTES: usize = 96;
/// A list as a row: names, numbers of each script, its head.
pub(crate) const LIST_ROW_BYTES_MAX: usize = 64 + SCRIPTS_PER_OWNER_MAX * (NAME_BYTES_MAX + 40);
/// All lists in memory, and all of them as rows of one checkpoint: reclaim may touch every one before it. Keys and their rows likewise. Texts that
/// wait, twice as many in a replay, and as rows.
pub const BYTES_MAX: usize = 2 * LISTS_BYTES_MAX
    + 2 * (KEYS_MAX * KEY_BYTES + KEYS_MAX / 16 * ACCOUNT_BYTES)
    + 4 * WAITING_BYTES_MAX;

const _: () = assert!(BYTES_MAX <= 32 << 20, "the plan counts 32 MiB");
const _: () = assert!(
    SCRIPT_BYTES_MAX + LIST_ROW_BYTES_MAX + CARRIED_GROUP_BYTES
        <= store::limits::GROUP_FIXED_BYTES_MAX
);
const _: () = assert!(SCRIPT_BYTES_MAX <= store::limits::VALUE_BYTES_MAX);
const _: () = assert!(SCRIPT_BYTES_MAX <= WAITING_BYTES_MAX / 4);
