//! What a provider and a client may cost.

/// A token, as `sasl::bearer` takes it.
pub const TOKEN_BYTES_MAX: usize = 8 * 1_024;
/// A document of a provider. The largest ones seen are key sets with certificate chains in them, below 40 KiB.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1_024;
/// Keys that are looked at; a provider that rotates has two to six.
pub const KEYS_MAX: usize = 64;
/// The name of a key.
pub const KEY_ID_BYTES_MAX: usize = 512;
/// RSA: 4,096 bits. A longer one costs each login more than it is worth.
pub const MODULUS_BYTES_MAX: usize = 512;
/// RSA: what every provider has is three octets.
pub const EXPONENT_BYTES_MAX: usize = 4;
/// Keys without a name that are tried for one token.
pub const TRIED_MAX: usize = 4;
/// How far the clocks of a provider and ours may be apart.
pub const SKEW_S: i64 = 60;
/// The name of an account, from a claim.
pub const NAME_BYTES_MAX: usize = 320;
