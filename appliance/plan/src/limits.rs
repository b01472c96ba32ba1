//! What each connection and table costs, and the starting values of limits that are not set.

use std::time::Duration;

use base::units::{KIB, MIB};

/// An SMTP or LMTP session beside the message it receives: 64 KiB read buffer at full flow, envelope arena, replies.
pub const SMTP_CONNECTION_BYTES: u64 = (64 + 32) * KIB as u64;
/// An IMAP session at work: read buffer, command, response being built, and TLS. (Idle it is a fifth of that.)
pub const IMAP_CONNECTION_BYTES: u64 = 96 * KIB as u64;
/// A POP3 session at work: read buffer, TLS, replies, a piece of a message made ready for the wire, and the list of a small maildrop. The list of a
/// large one is of `memory.send`.
pub const POP3_CONNECTION_BYTES: u64 = 128 * KIB as u64;
/// A ManageSieve session at work: read buffer, TLS, a command, a list of scripts. A script of more than 16 KiB is of `memory.send`.
pub const MANAGESIEVE_CONNECTION_BYTES: u64 = 256 * KIB as u64;
/// A request, its headers and a page of metrics.
pub const HTTP_CONNECTION_BYTES: u64 = 64 * KIB as u64;
/// One waiting closure and its captures, in the owner's lane (`storage::owner::LANE_ITEMS_MAX` of them).
pub const LANE_BYTES: u64 = 8 * MIB as u64;
/// The program itself: text, stacks, runtimes, TLS configuration, tables of fixed size.
pub const PROCESS_BYTES: u64 = 64 * MIB as u64;
/// Content of messages on its way out: a share of a quarter for one destination (`client::relay`).
pub const SENDING_BYTES: u64 = 4 * MIB as u64;
/// Sources of mail on its way out: each is a label of metrics. `client::relay::limits::SOURCE_RESTS_MAX` bounds what is remembered of them.
pub const SOURCES_MAX: usize = 32;
/// Senders and domains that one source is for.
pub const SOURCE_NAMES_MAX: usize = 100;
/// Certificates beside the default one: each is a few KiB, and read at the start and at every reload.
pub const CERTIFICATES_MAX: usize = 64;
/// Name servers that are asked (`dns::limits::SERVERS_MAX`).
pub const NAME_SERVERS_MAX: usize = 3;
/// What a resolver keeps and holds (`dns::limits::RESOLVER_BYTES_MAX`).
pub const RESOLVER_BYTES: u64 = 10 * MIB as u64;
/// … and its sockets: two for each of `dns::limits::LOOKUPS_MAX` look-ups.
pub const RESOLVER_DESCRIPTORS: u64 = 128;
/// Connections to other servers, and the envelopes of what is sent next.
pub const SENDING_CONNECTIONS_BYTES: u64 = 12 * MIB as u64;
/// Policies of other domains (MTA-STS): those that are kept (`directory::limits::KEPT_POLICIES_MAX`), and what is remembered of fetches.
pub const POLICIES_BYTES: u64 = 16 * MIB as u64;
/// Tables of the door (`door::limits::BYTES_MAX`).
pub const DOOR_BYTES: u64 = 10 * MIB as u64;
/// What people taught about junk (`lessons::limits::BYTES_MAX`), and the rows of a checkpoint.
pub const LESSONS_BYTES: u64 = 16 * MIB as u64;
/// Scripts that filter mail (`scripts::limits::BYTES_MAX`): lists and what is remembered for them, and texts that wait for a checkpoint.
pub const SCRIPTS_BYTES: u64 = 32 * MIB as u64;
/// Running those scripts: what was compiled (`storage::filter::CACHE_BYTES_MAX`), and messages that they made (`MADE_BYTES_MAX` there).
pub const FILTER_BYTES: u64 = (16 + 32) * MIB as u64;
/// What is kept about logins (`logins::limits::BYTES_MAX`), passwords that were right a moment ago, and failures (`client::login`); keys of providers and what they said of tokens
/// (`ringpostd`'s `oauth`), failures that the audit counts together.
pub const LOGINS_BYTES: u64 = 20 * MIB as u64;
/// Asking another directory, where the settings name one (`ldap::limits::MEMORY_BYTES`), and comparing what it has with the accounts here.
pub const LDAP_BYTES: u64 = 160 * MIB as u64;
/// Connections to the servers of another directory, all together, and names of them that are looked up.
pub const LDAP_CONNECTIONS: u64 = 32;
/// Fetching from accounts elsewhere, where the settings say so: messages under way, lists of servers, and the rows of all such accounts (`ringpostd`'s `fetch`).
pub const FETCH_BYTES: u64 = 176 * MIB as u64;
/// Connections to servers elsewhere, the look-up of a name for each.
pub const FETCH_CONNECTIONS: u64 = 2 * 4;
/// Counts for reports (`reports::limits::BYTES_MAX`), those of the last minute and reports of others (`storage::tallies`), failures that wait.
pub const REPORTS_BYTES: u64 = 12 * MIB as u64;
/// Networks in one setting of the door: each connection is compared with all of them.
pub const DOOR_NETWORKS_MAX: usize = 64;
/// DNS lists that one connection is looked up in.
pub const DOOR_LISTS_MAX: usize = 8;
/// Open connections of one address: a large sender has a few dozen from each of its machines, …
pub const DOOR_ADDRESS_CONNECTIONS_DEFAULT: u32 = 50;
/// … and of one network.
pub const DOOR_NETWORK_CONNECTIONS_DEFAULT: u32 = 200;
/// Points of failures that ban an address: twenty wrong passwords within minutes are not typing errors.
pub const DOOR_BAN_DEFAULT: u32 = 20;
/// Points from which replies are delayed.
pub const DOOR_TARPIT_DEFAULT: u32 = 5;
/// Answers of lists take milliseconds; a peer waits for its first RCPT no longer.
pub const DOOR_LOOKUP_DEADLINE_DEFAULT: Duration = Duration::from_secs(5);
/// RFC 5321 §4.5.3.2 gives a peer five minutes of patience; more than this costs slots for nothing.
pub const DOOR_LOOKUP_DEADLINE_MAX: Duration = Duration::from_secs(30);
pub const DOOR_GREETING_DELAY_MAX: Duration = Duration::from_secs(30);
/// Senders try again within hours.
pub const DOOR_GREYLIST_MAX: Duration = Duration::from_secs(6 * 3_600);
/// Servers of one kind that scan, and filters (`scan::limits`).
pub const SCAN_SERVERS_MAX: usize = 8;
pub const SCAN_MILTERS_MAX: usize = 8;
/// Calls of a thread to one kind of server. A call waits for the server, which has cores of its own.
pub const SCAN_CONNECTIONS_DEFAULT: usize = 8;
pub const SCAN_CONNECTIONS_MAX: usize = 256;
/// What a call holds (`scan::limits::CALL_BYTES`), …
pub const SCAN_CALL_BYTES: u64 = 640 * KIB as u64;
/// … and once for each thread the reply that is being read (`scan::limits::JSON_BYTES`).
pub const SCAN_JSON_BYTES: u64 = 4 * MIB as u64;
/// Scanners pass over what is longer: spam and viruses are sent in numbers, and so are short. clamd takes 25 MiB by default.
pub const SCAN_MESSAGE_BYTES_DEFAULT: u64 = 20 * MIB as u64;
/// rspamd's own look-ups end after 8 s by default; a client waits 10 minutes for the reply (RFC 5321 §4.5.3.2.6).
pub const SCAN_DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
pub const SCAN_DEADLINE_MAX: Duration = Duration::from_secs(240);
/// All that scanning may take: filters are asked one after the other. A client that waits in vain sends the message again, and then it is
/// there twice.
pub const SCAN_WAIT_MAX: Duration = Duration::from_secs(480);
/// Those connections: this part of the open files, within these bounds.
pub const SENDING_DESCRIPTORS_SHARE: u64 = 16;
pub const SENDING_CONNECTIONS_MIN: u64 = 16;
pub const SENDING_CONNECTIONS_MAX: u64 = 100;
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

/// The spool's engine: its own batch buffers, the projection's pages, what reads and reclaim hold, its thread.
pub const SPOOL_ENGINE_BYTES: u64 = 32 * MIB as u64;
/// Batch buffers of it, and batches in flight: its mail comes while storage takes none, at a sender's pace.
pub const SPOOL_BATCH_BUFFERS: usize = 6;
pub const SPOOL_BATCHES_IN_FLIGHT: usize = 2;
pub const SPOOL_PROJECTION_CACHE_BYTES: u64 = 4 * MIB as u64;
/// Messages that wait in it or are kept; all of them are in memory, 500 bytes each and 250 for each recipient (`queue::limits`).
pub const SPOOL_MESSAGES_MAX: usize = 20_000;
pub const SPOOL_ADDRESSEES_MAX: usize = 40_000;
pub const SPOOL_ENTRIES_BYTES: u64 = 20 * MIB as u64;
const _: () =
    assert!(SPOOL_MESSAGES_MAX * 500 + SPOOL_ADDRESSEES_MAX * 250 <= SPOOL_ENTRIES_BYTES as usize);
/// Ids of deliveries, which storage remembers where there is a spool (`queue::ARRIVED_WINDOW`).
pub const SPOOL_IDS_BYTES: u64 = 6 * MIB as u64;
/// A batch of messages that is handed over (`inbound::spool::limits::HANDED_BYTES`), or one message that is larger.
pub const SPOOL_HANDED_BYTES: u64 = 4 * MIB as u64;
/// With fewer open files trial mode does without a spool, so that its connections have them.
pub const SPOOL_OPEN_FILES_MIN: u64 = 512;
/// How long a copy is kept when the settings do not say, and at most.
pub const SPOOL_KEEP_DEFAULT: Duration = Duration::from_secs(48 * 3_600);
pub const SPOOL_KEEP_MAX: Duration = Duration::from_secs(31 * 24 * 3_600);
/// A file leg of the spool that trial mode makes: quick to write at the first start.
pub const SPOOL_LEG_BYTES_TRIAL: u64 = LEG_BYTES_MIN;
/// … and one that the settings do not size.
pub const SPOOL_LEG_BYTES_DEFAULT: u64 = 256 * MIB as u64;

/// Open files wanted of the kernel: the connections below, and room. Each idle one costs nothing.
pub const OPEN_FILES_WANTED: u64 = 65_536;
/// Standard streams, lock, log, the legs' ring, a witness being replaced, `/proc` being read. (Some forty are seen in use, threads
/// and legs included.)
pub const PROCESS_DESCRIPTORS: u64 = 32;
/// A thread's ring, its event descriptors and timers.
pub const CORE_DESCRIPTORS: u64 = 16;
/// A leg, the index thread's reader of it, and those of earlier times that still wait for their last operation.
pub const LEG_DESCRIPTORS: u64 = 8;
/// The control socket and its clients (`CLIENTS_MAX` of `ringpostd`).
pub const CONTROL_DESCRIPTORS: u64 = 17;
/// Connections that are one too many live until they have their refusal; a leg comes back; a file is looked at.
pub const RESERVE_DESCRIPTORS: u64 = 32;
/// A computed limit of connections never falls below this.
pub const CONNECTIONS_MIN: usize = 7;

/// Below this the caches would be empty; the plan refuses instead.
pub const MEMORY_BYTES_MIN: u64 = 524 * MIB as u64;

/// Open connections per listener. Senders queue elsewhere; a thousand at once keeps two legs busy many times over.
pub const SMTP_CONNECTIONS_DEFAULT: usize = 1_000;
/// LMTP peers are few and known.
pub const LMTP_CONNECTIONS_DEFAULT: usize = 200;
/// Connections of other zones' nodes: each has as many as it has conversations, and some that wait.
pub const ZONE_CONNECTIONS_DEFAULT: usize = 400;
/// Storage nodes that may be named, and names and networks of peers.
pub const STORAGE_NODES_MAX: usize = 8;
pub const PEER_NAMES_MAX: usize = 64;
/// Connections of one thread to storage nodes (`inbound::afar::limits::CONNECTIONS_MAX`), those that fetch and probe not counted.
pub const HANDING_CONNECTIONS: u64 = 64;
/// One of them, with a piece of content on its way out.
pub const HANDING_CONNECTION_BYTES: u64 = 384 * KIB as u64;
/// A session that a front passes on, at work (`client::front::limits::SESSION_BYTES`), and the client's session before the login.
pub const FRONT_SESSION_BYTES: u64 = (168 + 24) * KIB as u64;
/// Sessions that fronts pass on, as a storage node counts them: of POP3, which cost most of those that there are many of.
pub const ZONE_CLIENT_CONNECTION_BYTES: u64 = POP3_CONNECTION_BYTES;
/// As many as there are of IMAP.
pub const ZONE_CLIENT_CONNECTIONS_DEFAULT: usize = IMAP_CONNECTIONS_DEFAULT;
/// A table of recipients (`storage::recipients::TABLE_BYTES_MAX`): four times on a node that keeps one, five times on one that serves it (the old one, the new one,
/// and what it is made of).
pub const RECIPIENTS_BYTES: u64 = 16 * MIB as u64;
/// How often it is asked for, and how old it may be for a refusal.
pub const RECIPIENTS_EVERY_DEFAULT: Duration = Duration::from_secs(5);
pub const RECIPIENTS_AGE_DEFAULT: Duration = Duration::from_secs(120);
/// A mail program connects when its user sends something, and leaves.
pub const SUBMISSION_CONNECTIONS_DEFAULT: usize = 500;
/// Mostly idle: some KiB each (benches/PROMISES.md).
pub const IMAP_CONNECTIONS_DEFAULT: usize = 10_000;
/// A client connects every few minutes, and leaves.
pub const POP3_CONNECTIONS_DEFAULT: usize = 1_000;
/// A person changes a script now and then; web mail keeps a connection for each that does.
pub const MANAGESIEVE_CONNECTIONS_DEFAULT: usize = 200;
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

/// A leg whose oldest write is older than this leaves the mirror, and acknowledgements go on without it (DESIGN.md B3). Longer than
/// a flash disk ever takes, …
pub const DEADLINE_SOLID_STATE: Duration = Duration::from_secs(2);
/// … than a network takes to find another path, …
pub const DEADLINE_SAN: Duration = Duration::from_secs(5);
/// … than a turning disk takes to recover a sector, an array to let a disk go, or a file system below a leg file to write its journal.
pub const DEADLINE_TURNING: Duration = Duration::from_secs(15);

/// zstd level for bodies: 1 is the fastest that pays.
pub const COMPRESSION_DEFAULT: i32 = 1;

/// Legs of one volume (DESIGN.md A1: two by default, three is a setting).
pub const LEGS_MIN: usize = 1;
pub const LEGS_MAX: usize = 4;

/// Inbound and client threads: past this the owner thread is the bound, not they.
pub const ZONE_CORES_MAX: usize = 16;

/// A file leg that trial mode makes.
pub const LEG_BYTES_DEFAULT: u64 = 1024 * MIB as u64;
/// The highest standard port that a port base is added to (submission and LMTP are below; the contract's list ends at 3995).
pub const PORT_MAX: u16 = 995;
/// Trial mode's port base: every port is this plus the standard port.
pub const PORT_BASE_DEFAULT: u16 = 3_000;
/// Where a port is taken trial mode goes on by this much: 3143 becomes 4143, which is still seen to be IMAP's.
pub const PORT_BASE_STEP: u16 = 1_000;
/// Bases tried: a dozen daemons beside each other. The last ends below 32768, where ports of outgoing connections begin.
pub const PORT_BASES_MAX: u16 = 12;
const _: () =
    assert!(PORT_BASE_DEFAULT + (PORT_BASES_MAX - 1) * PORT_BASE_STEP + PORT_MAX < 32_768);
const _: () = assert!(PORT_MAX < PORT_BASE_STEP);
/// Below this a volume is mostly reserve.
pub const LEG_BYTES_MIN: u64 = 64 * MIB as u64;
/// Four full batches: anything smaller spends its time changing segments.
pub const SEGMENT_BYTES_MIN: u64 = 4 * MIB as u64;
/// DESIGN.md A1: the size for NVMe tiers.
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
/// Targets of a SAN: legs are at most `LEGS_MAX`, and no leg is on two.
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
