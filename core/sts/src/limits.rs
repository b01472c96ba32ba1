//! Bounds of what a domain publishes.

/// Octets of a policy (RFC 8461 §3.3 suggests 64 KiB); a longer one is not used.
pub const POLICY_BYTES_MAX: usize = 64 * 1_024;
/// Octets of the head of the response that carries it; servers send less than two thousand.
pub const HEAD_BYTES_MAX: usize = 16 * 1_024;
/// What the framing of a chunked body adds, at most; one octet for each chunk is the dearest way to send it, and is not taken.
pub const FRAMING_BYTES_MAX: usize = 16 * 1_024;
/// Lines of a policy.
pub const LINES_MAX: usize = 1_000;
/// Patterns of a policy, and their octets together: the largest known has some twenty. The bound keeps what is stored of it within one page.
pub const PATTERNS_MAX: usize = 64;
pub const PATTERNS_BYTES_MAX: usize = 2_048;
/// RFC 8461 §3.2: about a year.
pub const MAX_AGE_S_MAX: u64 = 31_557_600;
/// RFC 8461 §3.1.
pub const ID_BYTES_MAX: usize = 32;
