//! What sending may cost, and how long it may take.

use std::time::Duration;

/// Messages under way at a time, with their envelopes in memory: enough that every connection has its next one at hand.
pub const LETTERS_MAX: usize = 1_000;
/// Of one site that answers.
pub const SITE_LETTERS_MAX: usize = 200;
/// Of one site of which it is not known that it answers: one to try it with.
pub const PROBE_LETTERS_MAX: usize = 1;
/// For mailboxes of ours, of one domain.
pub const HERE_LETTERS_MAX: usize = 20;
/// Of all such sites together: the rest is for those that answer.
pub const PROBES_SHARE: usize = 2;
/// Sites that something is remembered of.
pub const SITES_MAX: usize = 10_000;
/// Messages taken by one look into the queue.
pub const LOOK_LETTERS_MAX: usize = 500;
/// The queue is looked at this often while something is due, …
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// … this often while nothing is: what enters wakes the sender, …
pub const LOOK_EVERY_IDLE: Duration = Duration::from_secs(30);
/// … and no more often than this, however much happens.
pub const LOOK_REST: Duration = Duration::from_millis(10);

/// Connections to one site at first, at most, and in all.
pub const SITE_CONNECTIONS: usize = 5;
pub const SITE_CONNECTIONS_MAX: usize = 20;
pub const CONNECTIONS_MAX: usize = 100;
/// A connection waits this long for its site's next message.
pub const IDLE: Duration = Duration::from_secs(5);
/// Messages over one connection: a server that counts them closes at a hundred or more.
pub const MESSAGES_PER_CONNECTION: u32 = 100;
/// A site that does not answer is left alone this long, then twice as long, …
pub const ASLEEP: Duration = Duration::from_secs(60);
/// … up to this.
pub const ASLEEP_MAX: Duration = Duration::from_secs(30 * 60);

/// TLSA records of one host that count; more than a few are there only while keys change.
pub const TLSA_MAX: usize = 20;

/// A policy of MTA-STS is read again this long after it was, however long it may be kept: its domain may have changed it.
pub const STS_REFRESH_S: u64 = 86_400;
/// After a fetch the next one of the same domain waits this long (RFC 8461 §3.3).
pub const STS_AGAIN: Duration = Duration::from_secs(300);
/// A fetch as a whole, names included (RFC 8461 §3.3: a minute).
pub const STS_FETCH: Duration = Duration::from_secs(60);
/// One of its addresses.
pub const STS_CONNECT: Duration = Duration::from_secs(10);
/// Addresses of a policy server that are dialled.
pub const STS_ADDRESSES: usize = 4;
/// Octets of a response that the plan counts with each connection; a longer one waits for a share of the memory that messages have. A policy and
/// its head have some 500.
pub const STS_UNCHARGED_BYTES: usize = 8 * 1_024;
/// A policy counts this long at least, however short its `max_age`: until it may be fetched again, with room for the look-ups between.
pub const STS_COUNTS_S_MIN: u64 = 2 * STS_AGAIN.as_secs();
/// Domains whose last fetch is remembered, …
pub const STS_KNOWN_MAX: usize = 4_000;
/// … with their names, and why it failed (counted in the plan), …
pub const STS_KNOWN_BYTES: usize = 1_024;
/// … and of them those whose policy storage had no room for, …
pub const STS_UNKEPT_MAX: usize = 500;
/// … each with its patterns.
pub const STS_UNKEPT_BYTES: usize = 6 * 1_024;

/// Recipients in one transaction (RFC 5321 §4.5.3.1.8: every server takes 100).
pub const RECIPIENTS_PER_TRANSACTION: usize = 100;
/// Addresses dialled in one try (RFC 5321 §5.1 asks for two at least).
pub const ADDRESSES_PER_TRY: usize = 8;

/// An answer to SYN takes a second; one that takes longer than this is lost.
pub const CONNECT: Duration = Duration::from_secs(15);
/// Sources tried for one address of a server.
pub const SOURCES_PER_ADDRESS: usize = 3;
/// A source that cannot be used, or that a site refused, comes last for so long.
pub const SOURCE_RESTS: Duration = Duration::from_secs(15 * 60);
/// Sites and addresses for which a source rests: some 100 bytes each. Past it the one that rests least longer is forgotten.
pub const SOURCE_RESTS_MAX: usize = 1_000;
/// RFC 5321 §4.5.3.2.1 to .6.
pub const GREETING: Duration = Duration::from_secs(300);
pub const HELLO: Duration = Duration::from_secs(300);
/// For MAIL, RCPT and DATA together where they travel together; §4.5.3.2.2 to .4 have 5, 5 and 2 minutes.
pub const ENVELOPE: Duration = Duration::from_secs(600);
pub const CONTENT_PIECE: Duration = Duration::from_secs(180);
pub const CONTENT_END: Duration = Duration::from_secs(600);
/// A server that does not answer QUIT may be left.
pub const QUIT: Duration = Duration::from_secs(5);
/// Nothing about one try of one message lasts longer: the steps have their own bounds, and this is for what was forgotten.
pub const TRY_MAX: Duration = Duration::from_secs(3_600);
/// Content handed to the connection at once.
pub const CONTENT_PIECE_BYTES: usize = 64 * 1_024;
/// What a try holds of a message: a piece of the store (508 KiB) and its stuffed part.
pub const TRY_BYTES: usize = 640 * 1_024;

/// A clock that is set by more than this has jumped; a time server corrects by less.
pub const JUMP: Duration = Duration::from_secs(600);
/// For this long after a start or a jump of the clock no message is given up for its age: about the longest time between two tries.
pub const STEADY: Duration = Duration::from_secs(4 * 3_600);

/// After a stop tries have this long to end.
pub const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// What storage does not note is offered again after this, then twice as long, …
pub const NOTE_AGAIN: Duration = Duration::from_millis(500);
/// … up to this.
pub const NOTE_AGAIN_MAX: Duration = Duration::from_secs(60);

/// A message up to this size goes back whole with a report, if its sender did not say otherwise.
pub const RETURNED_WHOLE_BYTES_MAX: usize = 64 * 1_024;
/// What goes back of a header.
pub const RETURNED_HEADER_BYTES_MAX: usize = 32 * 1_024;
/// Recipients named in one report.
pub const REPORTED_MAX: usize = 1_000;

const _: () = assert!(REPORTED_MAX >= queue::limits::RECIPIENTS_MAX);
const _: () = assert!(SITE_CONNECTIONS <= SITE_CONNECTIONS_MAX);
const _: () =
    assert!(sts::limits::PATTERNS_BYTES_MAX + 8 * sts::limits::PATTERNS_MAX + 100 <= 3_072); // `directory::limits::KEPT_POLICY_BYTES_MAX`
const _: () = assert!(sts::Response::BYTES_MAX <= TRY_BYTES);
const _: () = assert!(SITE_LETTERS_MAX < LETTERS_MAX / PROBES_SHARE);
