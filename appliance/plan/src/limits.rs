//! What each connection and table costs, and the starting values of limits that nobody set.

use base::units::{KIB, MIB};

/// An SMTP or LMTP session beside the message it receives: 64 KiB read buffer at full flow, envelope arena, replies.
pub const SMTP_CONNECTION_BYTES: u64 = (64 + 32) * KIB as u64;
/// An IMAP session at work: read buffer, command, response being built, and TLS. (Idle it is a fifth of that.)
pub const IMAP_CONNECTION_BYTES: u64 = 96 * KIB as u64;
/// A request, its headers and a page of metrics.
pub const HTTP_CONNECTION_BYTES: u64 = 64 * KIB as u64;
/// One waiting closure and its captures, in the owner's lane (`service::owner::LANE_ITEMS_MAX` of them).
pub const LANE_BYTES: u64 = 8 * MIB as u64;
/// The program itself: text, stacks, runtimes, TLS configuration, tables of fixed size.
pub const PROCESS_BYTES: u64 = 64 * MIB as u64;
/// One batch buffer (`volume::BATCH_BYTES_MAX`).
pub const BATCH_BUFFER_BYTES: u64 = MIB as u64;
/// Messages that are looked into (SEARCH, decoding), the largest of one account (`store::limits::BODY_BYTES_MAX`) and some of others' at
/// least. LIMITS.md says who may hold what.
pub const READ_BYTES_MIN: u64 = 66 * MIB as u64;
pub const READ_BYTES_MAX: u64 = 4 * 1024 * MIB as u64;
/// Pieces of messages that wait for clients: eight accounts at full speed at least; the others get smaller pieces.
pub const SEND_BYTES_MIN: u64 = 18 * MIB as u64;
pub const SEND_BYTES_MAX: u64 = 2 * 1024 * MIB as u64;
/// The parts of what the plan hands out that both get.
pub const READ_SHARE: u64 = 16;
pub const SEND_SHARE: u64 = 32;

/// Below this a mail appliance is no fun: the plan says so rather than starting with caches of nothing.
pub const MEMORY_BYTES_MIN: u64 = 384 * MIB as u64;

/// Open connections per listener. Senders queue elsewhere; a thousand at once keeps two legs busy many times over.
pub const SMTP_CONNECTIONS_DEFAULT: usize = 1_000;
/// LMTP peers are few and known.
pub const LMTP_CONNECTIONS_DEFAULT: usize = 200;
/// Mostly idle: some KiB each (benches/PROMISES.md).
pub const IMAP_CONNECTIONS_DEFAULT: usize = 10_000;
/// Probes and scrapers.
pub const HTTP_CONNECTIONS_DEFAULT: usize = 50;
/// Largest message taken in. What most of the world sends at most.
pub const MESSAGE_BYTES_DEFAULT: u64 = 50 * MIB as u64;

/// The projection's pages in memory. Point reads take 1 µs from here and a device read from elsewhere.
pub const PROJECTION_CACHE_BYTES_MIN: u64 = 32 * MIB as u64;
pub const PROJECTION_CACHE_BYTES_MAX: u64 = 1024 * MIB as u64;
/// Loaded mailboxes: about 100 bytes a message.
pub const MAILBOX_CACHE_BYTES_MIN: u64 = 32 * MIB as u64;
pub const MAILBOX_CACHE_BYTES_MAX: u64 = 16 * 1024 * MIB as u64;

/// A checkpoint after so many groups, …
pub const CHECKPOINT_GROUPS: u64 = 20_000;
/// … so many bytes of log (what a restart has to read again), …
pub const CHECKPOINT_BYTES: u64 = 256 * MIB as u64;
/// … or this long after the first change, in microseconds.
pub const CHECKPOINT_US: u64 = 30_000_000;

/// zstd level for bodies: 1 is the fastest that pays.
pub const COMPRESSION_DEFAULT: i32 = 1;

/// Legs of one volume (storage.md A1: two by default, three is a setting).
pub const LEGS_MIN: usize = 1;
pub const LEGS_MAX: usize = 4;

/// Inbound and client threads: past this the owner thread is the bound, not they.
pub const ZONE_CORES_MAX: usize = 16;

/// A file leg that trial mode makes.
pub const LEG_BYTES_DEFAULT: u64 = 1024 * MIB as u64;
/// The highest standard port that a port base is added to (submission and LMTP are below; the contract's list ends at 2995).
pub const PORT_MAX: u16 = 995;
/// Below this a volume is mostly reserve.
pub const LEG_BYTES_MIN: u64 = 64 * MIB as u64;
/// Four full batches: anything smaller spends its time changing segments.
pub const SEGMENT_BYTES_MIN: u64 = 4 * MIB as u64;
/// storage.md A1: the size for NVMe tiers.
pub const SEGMENT_BYTES_MAX: u64 = 64 * MIB as u64;
/// With so few CPUs threads are not pinned unless a profile says so.
pub const UNPINNED_CPUS_MAX: usize = 2;

/// Profile files of an OEM, beside our own.
pub const PROFILES_MAX: usize = 256;
/// Interfaces, bonds and VLANs that settings may name: more than any box has slots.
pub const INTERFACES_MAX: usize = 64;
/// Domains and accounts made on a new volume; more come later by `ringpostctl`.
pub const FIRST_PEOPLE_MAX: usize = 1_000;
/// CPUs of a machine that is described in words: the kernel's own bound is 8192, the largest boxes have some 500.
pub const CPUS_DESCRIBED_MAX: usize = 4_096;
/// A machine with 16 GiB counts 15.5: up to a sixteenth is the firmware's and the kernel's own.
pub const MEMORY_KEPT_SHARE: u64 = 16;
/// Targets of a SAN: legs are at most `LEGS_MAX`, and no leg lies on two.
pub const SAN_TARGETS_MAX: usize = LEGS_MAX;
/// Paths to one target: two cards, two switches, two heads.
pub const SAN_PATHS_MAX: usize = 8;
/// RFC 7143 §4.2.7.1 (223 bytes); an NQN is as long (NVM Express base specification 2.0, 4.5).
pub const SAN_NAME_BYTES_MAX: usize = 223;
/// What open-iscsi keeps of each (`AUTH_STR_MAX_LEN`).
pub const CHAP_USER_BYTES_MAX: usize = 255;
pub const CHAP_SECRET_BYTES_MAX: usize = 255;
/// RFC 7143 §9.2.1: 96 bits or more.
pub const CHAP_SECRET_BYTES_MIN: usize = 12;
