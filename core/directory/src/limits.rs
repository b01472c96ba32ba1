//! Bounds of the directory.

/// Domains that one volume has mail for.
pub const DOMAINS_MAX: usize = 100_000;
/// A password hash in PHC form.
pub const PASSWORD_HASH_BYTES_MAX: usize = 512;
/// Answers of the projection that are remembered, for addresses looked up lately.
pub const KEY_CACHE_MAX: usize = 65_536;
/// Accounts in memory, unless more are in use or changed.
pub const ACCOUNTS_CACHED_MAX: usize = 8_192;
/// Accounts and keys that may wait for a checkpoint before changes wait for it instead.
pub const DIRTY_MAX: usize = 16_384;
/// Entries looked at for one eviction attempt, so that a cache full of changed entries costs little.
pub const EVICT_LOOK_MAX: usize = 32;
/// Rows fetched by one read of the projection.
pub const ROWS_PER_READ: usize = 512;

/// Rows that a change of an account writes: account, key, counters, the domain's number of accounts.
pub const ACCOUNT_ROWS: u64 = 4;
/// Rows that a change of a domain writes.
pub const DOMAIN_ROWS: u64 = 2;
