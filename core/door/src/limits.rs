//! Every number of this crate, with its reason.

use std::time::Duration;

use base::units::MIB;

/// Addresses, and as many networks, whose connections are counted: more than any listener has open, and a botnet's worth of rates.
pub const PEERS_MAX: usize = 8_192;
/// Domains of senders whose messages are counted.
pub const SENDERS_MAX: usize = 8_192;
/// Addresses with failures on record.
pub const OFFENDERS_MAX: usize = 8_192;
/// Networks banned by an administrator: each connection is compared with all of them.
pub const BANS_BY_HAND_MAX: usize = 256;
/// Bans that one list for an administrator names.
pub const BANS_LISTED_MAX: usize = 1_000;
/// Triplets that greylisting waits for or knows, and networks that it lets through.
pub const TRIPLETS_MAX: usize = 32_768;
pub const GREY_NETWORKS_MAX: usize = 8_192;
/// DNS lists that one connection is looked up in.
pub const LISTS_MAX: usize = 8;
/// Networks in one setting: each connection is compared with all of them.
pub const NETWORKS_MAX: usize = 64;
/// Sessions whose replies are delayed at a time, over all cores.
pub const DELAYED_MAX: usize = 256;

/// All that the tables may hold; `table` says what a row costs.
pub const BYTES_MAX: usize = 10 * MIB;

/// An offender's points halve in this time: a person who mistypes today is not banned tomorrow.
pub const POINTS_HALVE: Duration = Duration::from_secs(600);
/// The first ban of an address; each further one lasts twice as long …
pub const BAN_FIRST: Duration = Duration::from_secs(600);
/// … up to a day: addresses change hands.
pub const BAN_MAX: Duration = Duration::from_secs(86_400);
/// So long after its last ban the record of an address is forgotten.
pub const BANS_FORGOTTEN: Duration = Duration::from_secs(86_400);
/// The longest ban by hand: a year.
pub const BAN_BY_HAND_MAX: Duration = Duration::from_secs(366 * 86_400);

/// A delay for each point above the threshold …
pub const DELAY_STEP: Duration = Duration::from_millis(250);
/// … up to this: below the patience of any sender (RFC 5321 §4.5.3.2 asks for minutes), and of a stop of the daemon.
pub const DELAY_MAX: Duration = Duration::from_secs(5);

/// A triplet that does not come again in this time waits again (RFC 6647 §5: a day or more).
pub const GREY_RETRY_MAX: Duration = Duration::from_secs(2 * 86_400);
/// A network that came again is let through for so long after its last message (RFC 6647 §5: a week or more).
pub const GREY_KNOWN: Duration = Duration::from_secs(36 * 86_400);

/// A DNS list is tested again after this time (RFC 5782 §5).
pub const LIST_TESTED_EVERY: Duration = Duration::from_secs(1_800);
/// Bytes of a list's TXT record that go into a reply: a reply line has 512 bytes (RFC 5321 §4.5.3.1.5).
pub const REASON_BYTES_MAX: usize = 400;

/// IPv4 networks, and those of IPv6: what one provider gives out.
pub const NETWORK_BITS_V4: u8 = 24;
pub const NETWORK_BITS_V6: u8 = 48;
/// What counts as one address of IPv6: one customer has 64 bits or more.
pub const ADDRESS_BITS_V6: u8 = 64;
