//! Every number that bounds what an update may cost.

/// Largest image taken. The product's own limit is 150 MB; a debug variant of an OEM may be larger, an ESP has 1 GiB.
pub const IMAGE_BYTES_MAX: u64 = 512 << 20;
/// A minisign signature is four lines; a trusted comment of ours has under 200 bytes.
pub const SIGNATURE_BYTES_MAX: u64 = 4 << 10;
/// Files looked at in `EFI/Linux`. An ESP of ours holds two; other systems may have put theirs beside.
pub const FILES_MAX: usize = 64;
/// Tries that a new image gets: one may be lost to a power cut and one to a slow disk.
pub const TRIES: u32 = 3;
/// More tries than this keep mail waiting longer than they help.
pub const TRIES_MAX: u32 = 9;
/// How long the health gate waits for a daemon that does not answer: disks may come late, and systemd starts it again every
/// two seconds. A start that replays the log is waited for before the gate begins.
pub const DAEMON_PATIENCE_S: u64 = 60;
/// Round trips that the health gate tries with a daemon that answers: one may meet a leg that was just taken out.
pub const GATE_TRIES: u32 = 2;
/// Between two looks or round trips of the health gate, milliseconds.
pub const GATE_PAUSE_MS: u64 = 2_000;
/// A reason that is kept on the ESP: one sentence.
pub const WHY_BYTES_MAX: usize = 600;
/// The file that holds it.
pub const FAILURE_BYTES_MAX: u64 = 4 << 10;
/// Copied and hashed at a time.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Silence of a server after which a download is given up, seconds.
pub const FETCH_SILENCE_S: u64 = 30;
/// System disks with an ESP of their own.
pub const ESPS_MAX: usize = 4;
/// A look at the other system disks that was under way already, and one that saw everything.
pub const MIRROR_RUNS_MAX: usize = 3;
/// A line for each system disk.
pub const REPORT_BYTES_MAX: u64 = 64 << 10;
