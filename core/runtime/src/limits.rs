//! Every number of this crate, with its reason. `appliance/plan` adds the memory up.

use std::time::Duration;

use base::units::KIB;

/// A connection that only waits keeps a read buffer of this size: most of an idle connection's cost.
pub const READ_BYTES_MIN: usize = 4 * KIB;
/// Where data flows the buffer grows up to this: fewer completions per message (16 KiB already halves them against 4).
pub const READ_BYTES_MAX: usize = 64 * KIB;
/// The read buffer steps down after this many reads in a row that would have fitted a quarter of it.
pub const SMALL_READS_BEFORE_SHRINK: u8 = 16;

/// Bytes handed to the kernel (or to TLS) in one write: bounds the copy that an owned buffer costs.
pub const WRITE_BYTES_MAX: usize = 128 * KIB;

/// What one connection holds beside its read buffer while it sends: plan counts it once per connection.
pub const CONNECTION_BYTES: usize = 4 * KIB;
/// What TLS adds to a connection (measured: 7.5 KiB idle with aws-lc-rs; records in flight double it).
pub const TLS_BYTES: usize = 16 * KIB;

/// What a connection that we opened costs while it idles: its read buffer, and TLS, which most servers offer. An accepted one costs
/// the same. While it sends, a write (`WRITE_BYTES_MAX`) comes in addition.
pub const DIALLED_BYTES: usize = READ_BYTES_MIN + CONNECTION_BYTES + TLS_BYTES;

/// A wait without any other deadline ends after this (RFC 5321 §4.5.3.2.7 asks a receiver for at least 5 minutes).
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(300);
/// A TLS handshake is a few round trips; a peer that needs longer holds a slot for nothing.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(30);
/// A header of the PROXY protocol, its TLVs included: a certificate's name and a few more (version 2 may have 64 KiB).
pub const PROXY_HEADER_BYTES_MAX: usize = 4 * KIB;
/// … which the balancer sends at once.
pub const PROXY_DEADLINE: Duration = Duration::from_secs(5);
/// After our FIN we read on this long, so that the peer gets our last bytes rather than a reset.
pub const LINGER: Duration = Duration::from_secs(2);
/// … and no more than this many bytes.
pub const LINGER_BYTES_MAX: usize = 256 * KIB;
/// After a stop a peer that is silent this long gets the last reply (421, BYE); one that is sending may finish.
pub const STOP_SILENCE: Duration = Duration::from_millis(500);

/// One peer's address has at most this part of a listener's connections.
pub const PEER_SHARE: usize = 2;
/// Accept pauses this long when the process has no descriptor left, then twice as long, …
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// … up to this: existing sessions go on, and a descriptor that comes free is used soon enough.
pub const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A listener that cannot accept has one line in the log for each such time: more would bury the cause.
pub const ACCEPT_SAID_EVERY: Duration = Duration::from_secs(60);
/// Connections the kernel queues before we accept them; `net.core.somaxconn` caps it.
pub const ACCEPT_BACKLOG: i32 = 1024;

/// Sleeps shorter than this get a kernel timer: the runtime's clock ticks in milliseconds.
pub const PRECISE_SLEEP_MAX: Duration = Duration::from_millis(2);
/// Such timers kept between sleeps: the committer has one sleep at a time.
pub const ALARMS_KEPT_MAX: usize = 4;

/// Submission entries of a core's own ring: a turn's worth of socket operations.
pub const RING_ENTRIES: u32 = 1024;
/// Completion entries: each connection has at most two operations in flight.
pub const RING_COMPLETIONS: u32 = 16 * 1024;

/// Bytes that a job may look at on a core: parsing and matching take some 15 ns a byte, so about a millisecond.
pub const WORK_BYTES_MAX: usize = 64 * KIB;
/// Jobs up to this, some 60 ms, have a thread of their own beside that of the long ones.
pub const SHORT_WORK_BYTES_MAX: usize = 4 * 1_024 * KIB;

/// A core where something happens is asked this often whether it comes back …
pub const STALL_TICK: Duration = Duration::from_millis(20);
/// … and what the longest wait was is kept for so long and as long again.
pub const STALL_KEPT: Duration = Duration::from_secs(60);
/// A wait that is counted: a session notices it.
pub const STALL_MIN: Duration = Duration::from_millis(10);

const _: () = assert!(READ_BYTES_MIN <= READ_BYTES_MAX);
const _: () = assert!(RING_ENTRIES <= RING_COMPLETIONS);
