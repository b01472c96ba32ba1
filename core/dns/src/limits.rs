//! Every number of this crate, with its reason.

use std::time::Duration;

/// Hosts kept of one domain, the most preferred first. Large providers have five; a sender that found all of ten dead comes again later.
pub const EXCHANGERS_MAX: usize = 10;
/// Addresses kept of one host, of both families together.
pub const ADDRESSES_MAX: usize = 16;

/// A name in text, without the dot at its end (RFC 1035 §2.3.4: 255 octets on the wire).
pub const NAME_BYTES_MAX: usize = 253;
/// RFC 1035 §2.3.4.
pub const LABEL_BYTES_MAX: usize = 63;
/// A name as a person may write it: in UTF-8 it is longer than its A-labels by a factor of less than four.
pub const NAME_AS_WRITTEN_BYTES_MAX: usize = 4 * NAME_BYTES_MAX;

/// One call of `Names`, everything in it included: what a sender waits at most before it defers.
pub const LOOKUP_DEADLINE: Duration = Duration::from_secs(20);

const _: () = assert!(ADDRESSES_MAX.is_multiple_of(2));
