//! Every number of this crate, with its reason.

/// Terms of SPF records that look something up (RFC 7208 §4.6.4).
pub const SPF_LOOKUPS_MAX: u32 = 10;
/// … and those of them that find nothing (RFC 7208 §4.6.4).
pub const SPF_VOIDS_MAX: u32 = 2;
/// Hosts of one `mx`, names of one `ptr` (RFC 7208 §4.6.4).
pub const SPF_HOSTS_MAX: usize = 10;

/// Signatures computed of one message, first those that may speak for its author; a message that passed several lists has five. More are reported as left out.
pub const SIGNATURES_MAX: usize = 10;
/// Sets of ARC computed. RFC 8617 §4.2.1 allows 50; chains of more than five have not been seen.
pub const ARC_SETS_MAX: usize = 20;
/// Fields that one signature may name. Mail programs name up to 40, some of them twice.
pub const FIELDS_NAMED_MAX: usize = 128;
/// The longest header whose signatures are computed. The longest ones seen have 60 KiB.
pub const HEADER_BYTES_MAX: usize = 256 * 1_024;
/// What all signatures of a message sign of its header, together, in memory until the keys are there. Ten times a header of 50 KiB.
pub const SIGNED_BYTES_MAX: usize = 512 * 1_024;
/// RFC 8301 §3.2: shorter keys are never taken.
pub const RSA_BITS_MIN: usize = 1_024;
/// RFC 8301 §3.2: longer keys need not be. The work grows with the square.
pub const RSA_BITS_MAX: usize = 4_096;

/// One verification with a public key, as bytes that work looks at (`runtime::limits::WORK_BYTES_MAX` are done on the core): 25 µs for 2,048
/// bits, 100 for 4,096. Two are done in place.
pub const KEY_WORK_BYTES: usize = 24 * 1_024;

/// Queries of one tree walk (RFC 9989 §4.10).
pub const WALK_QUERIES_MAX: usize = 8;
/// Domains in From whose policies are looked up. Mail with more of them has not been seen but as an attack (RFC 9989 §11.5).
pub const AUTHORS_MAX: usize = 4;
/// Bytes of From fields that are read, all of them together.
pub const FROM_BYTES_MAX: usize = 256 * 1_024;

/// Look-ups for one message, all of them: SPF takes at most 10 terms with 11 look-ups each, DKIM and ARC 30 keys, DMARC 2 walks of 8.
pub const LOOKUPS_MAX: u32 = 160;
/// After so long nothing more is looked up for a part of the evaluation (SPF, the keys, the policy of each author), and what is not known is
/// `temperror`. One look-up that has begun may take `dns::limits::LOOKUP_DEADLINE` more: four minutes for all parts, and a client waits 10
/// for the reply (RFC 5321 §4.5.3.2.6).
pub const DEADLINE_US: u64 = 20_000_000;
