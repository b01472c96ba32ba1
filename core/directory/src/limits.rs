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

/// DKIM keys of one domain: two algorithms, each with a key that signs, one to come and one that was, and two to spare.
pub const DKIM_KEYS_PER_DOMAIN_MAX: usize = 8;
/// A private key in PKCS#8 DER: RSA-2048 takes some 1,220 octets. The bound keeps the row within one page of the projection.
pub const DKIM_PRIVATE_KEY_BYTES_MAX: usize = 2_048;
/// A selector: one DNS label's worth (RFC 1035 §2.3.4), dots included.
pub const DKIM_SELECTOR_BYTES_MAX: usize = 63;
/// Selector and domain together: with `._domainkey.` between them they make a DNS name of 253 octets at most.
pub const DKIM_RECORD_NAME_BYTES_MAX: usize = 253 - "._domainkey.".len();
/// Aliases of one volume, all of them in memory: some 200 bytes each with one target.
pub const ALIASES_MAX: usize = 50_000;
/// Addresses that one alias leads to; with more of them it is a group.
pub const ALIAS_TARGETS_MAX: usize = 100;
/// Targets of all aliases together, all of them in memory: some 200 bytes each. An alias with one target is within `ALIASES_MAX` and is not
/// refused for them.
pub const ALIAS_TARGETS_IN_ALL_MAX: usize = 200_000;
/// Groups of one volume.
pub const GROUPS_MAX: usize = 10_000;
/// Members of one group.
pub const GROUP_MEMBERS_MAX: usize = 10_000;
/// Members of all groups together, all of them in memory: some 200 bytes each.
pub const MEMBERS_MAX: usize = 200_000;
/// The words of List-Id: they share a line of 998 octets (RFC 5322 §2.1.1) with an address.
pub const TITLE_BYTES_MAX: usize = 200;
/// Routes of one volume.
pub const ROUTES_MAX: usize = 10_000;
/// Accounts that may send under one address.
pub const GRANTS_EACH_MAX: usize = 100;
/// Grants of one volume.
pub const GRANTS_MAX: usize = 50_000;
/// Accounts with an allowance of their own.
pub const ALLOWANCES_MAX: usize = 50_000;
/// The most that one account may be given: so many times the usual limits.
pub const TIMES_MAX: u32 = 10_000;
/// Accounts, aliases and groups that another directory owns, all of their marks in memory: some 120 bytes each.
pub const MARKS_MAX: usize = 100_000;
/// Keys of one volume.
pub const KEYS_MAX: usize = 16;
/// Policies of other domains (MTA-STS); a large provider sends to some ten thousand domains that have one.
pub const KEPT_POLICIES_MAX: usize = 20_000;
/// Octets of one policy's text: within one page of the projection with its keys.
pub const KEPT_POLICY_BYTES_MAX: usize = 3_072;
/// RFC 8461 §3.1.
pub const KEPT_POLICY_ID_BYTES_MAX: usize = 32;
/// Octets of all of them together with their domains, all in memory; the usual one has 150.
pub const KEPT_POLICIES_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Accounts elsewhere that mail is fetched from for one person.
pub const FETCHES_EACH_MAX: usize = 8;
/// The number of one of them within its person's.
pub const FETCH_NUMBER_MAX: u32 = 99;
/// Messages of one account elsewhere that are remembered as fetched while its server still lists them.
pub const FETCHED_EACH_MAX: usize = 100_000;
/// Of them in one row, which is written again with each message: 1.5 KiB.
pub const FETCHED_PER_ROW_MAX: usize = 128;
/// Rows of both kinds on one volume.
pub const FETCH_ROWS_MAX: usize = 100_000;
/// Octets of all of them, all in memory: ten thousand accounts elsewhere and a million messages that stay there. Past it no account is added and nothing more is
/// remembered, so that what would have to be is not fetched.
pub const FETCH_BYTES_MAX: usize = 24 * 1_024 * 1_024;
/// A row beside its texts and marks: its name twice, its places in trees.
pub const FETCH_ROW_COST: usize = 256;
/// Host, user and folder elsewhere, why it is not fetched, and the sealed password: together they keep the row within one page of the projection.
pub const FETCH_HOST_BYTES_MAX: usize = 253;
pub const FETCH_USER_BYTES_MAX: usize = 320;
pub const FETCH_FOLDER_BYTES_MAX: usize = 512;
pub const FETCH_REASON_BYTES_MAX: usize = 400;
pub const FETCH_SEALED_BYTES_MAX: usize = 1_100;

const _: () = assert!(
    FETCHED_EACH_MAX.div_ceil(FETCHED_PER_ROW_MAX) * FETCHES_EACH_MAX < FETCH_ROWS_MAX,
    "one person does not take all rows"
);
const _: () = assert!(
    FETCH_HOST_BYTES_MAX
        + FETCH_USER_BYTES_MAX
        + FETCH_FOLDER_BYTES_MAX
        + FETCH_REASON_BYTES_MAX
        + FETCH_SEALED_BYTES_MAX
        <= KEPT_POLICY_BYTES_MAX
);
