//! Every number of this crate, with its reason.

use std::time::Duration;

/// Hosts kept of one domain, the most preferred first. Large providers have five; a sender that found all of ten dead comes again later.
pub const EXCHANGERS_MAX: usize = 10;
/// Addresses kept of one host, of both families together.
pub const ADDRESSES_MAX: usize = 16;

/// Records of one kind taken from one name, when all of them count: large domains have some sixty texts.
pub const RECORDS_MAX: usize = 128;
/// … and the bytes of all of them. The largest SPF, DKIM and DMARC records have 2 KiB.
pub const RECORDS_BYTES_MAX: usize = 16 * 1_024;
/// Names taken from one address: RFC 7208 §4.6.4 reads ten.
pub const NAMES_MAX: usize = 16;

/// A name in text, without the dot at its end (RFC 1035 §2.3.4: 255 octets on the wire).
pub const NAME_BYTES_MAX: usize = 253;
/// RFC 1035 §2.3.4.
pub const LABEL_BYTES_MAX: usize = 63;
/// A name as a person may write it: in UTF-8 it is longer than its A-labels by a factor of less than four.
pub const NAME_AS_WRITTEN_BYTES_MAX: usize = 4 * NAME_BYTES_MAX;

/// One call of `Names`, everything in it included: what a sender waits at most before it defers.
pub const LOOKUP_DEADLINE: Duration = Duration::from_secs(20);
/// Look-ups of a core at a time; the others wait, within their deadline. Each has two sockets at most and a buffer for each.
pub const LOOKUPS_MAX: usize = 64;
/// … of them for strangers of one network. Look-ups of one message are a few at a time; a provider's many messages find most names kept.
pub const LOOKUPS_PER_NETWORK_MAX: usize = 16;
/// A network's bits, as providers give them out.
pub const NETWORK_BITS_V4: u8 = 24;
pub const NETWORK_BITS_V6: u8 = 48;
/// How long a silent server is waited for, time after time (RFC 1123 §6.1.3.3: more patience each time). All servers silent, the first two
/// rounds are over well before the deadline.
pub const WAITS: [Duration; 3] = [
    Duration::from_millis(1_500),
    Duration::from_secs(3),
    Duration::from_secs(5),
];
/// resolv.conf(5) knows three.
pub const SERVERS_MAX: usize = 3;
/// A file that names the servers is looked at no more often.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Aliases followed for one name. RFC 1034 §5.2.2 asks for a bound; chains of more than three are mistakes.
pub const CNAMES_MAX: usize = 8;
/// The longest datagram that we ask for: not fragmented on any usual way (DNS flag day 2020). A longer answer comes by TCP.
pub const UDP_BYTES_ASKED: u16 = 1_232;
/// … and the longest that we take from a server that does not heed it.
pub const UDP_BYTES_MAX: usize = 4_096;
/// The longest answer by TCP. A hundred MX records with the addresses of their hosts are 12 KiB.
pub const TCP_BYTES_MAX: usize = 32 * 1_024;

/// What a core's resolver keeps, everything counted: a quarter for domains and a quarter for hosts, some 2,500 of each, three eighths for
/// records of other kinds, some 2,500, and an eighth for what was proved.
pub const CACHE_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// What an entry costs beside its name and its value: 72 bytes of a slot, of which a table that has just grown has more than twice as
/// many as entries, and what the allocator rounds up.
pub const ENTRY_BYTES: usize = 200;
/// All that a resolver may hold: what it keeps, the buffers of every look-up (both families of addresses at a time), and one answer
/// while it is read, some three thousand records.
pub const RESOLVER_BYTES_MAX: usize =
    CACHE_BYTES_MAX + LOOKUPS_MAX * 2 * (UDP_BYTES_MAX + TCP_BYTES_MAX) + 1_024 * 1_024;
/// Nothing is kept longer, whatever a zone says.
pub const KEPT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// An absence is kept no longer: a domain that was just made should get its mail (RFC 2308 §5 finds one to three hours sensible).
pub const ABSENCE_KEPT_MAX: Duration = Duration::from_secs(3_600);
/// A failure is kept so long (RFC 9520 §3.2: at least a second, at most five minutes); and an absence that says no time.
pub const FAILURE_KEPT: Duration = Duration::from_secs(10);

const _: () = assert!(ADDRESSES_MAX.is_multiple_of(2));
const _: () = assert!(LOOKUPS_PER_NETWORK_MAX * 4 <= LOOKUPS_MAX);
