//! Bounds of signing.

/// Fields that one signature covers. A message of people has some 15; one with more is not signed, so that `h=` stays short.
pub const FIELDS_SIGNED_MAX: usize = 100;
/// One signature field: `FIELDS_SIGNED_MAX` names of at most 25 octets, domain and selector of 253 octets together, hash and signature of RSA-2048.
pub const SIGNATURE_BYTES_MAX: usize = 4_096;
/// Octets of one string of a TXT record (RFC 1035 §3.3.14).
pub const TXT_STRING_BYTES_MAX: usize = 255;
/// Where a line of a signature is folded (RFC 5322 §2.1.1 asks for 78 at most).
pub const LINE_BYTES_MAX: usize = 72;
