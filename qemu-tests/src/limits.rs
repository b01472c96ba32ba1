//! Every bound of the harness, with its reason.

use std::time::Duration;

/// A boot to READY on an unshared two-core machine under TCG (issue 3 asks for at most this). All deadlines are written
/// for such a machine and stretched by what the slowest boot so far took.
pub const BOOT_NOMINAL: Duration = Duration::from_secs(45);

/// No boot is waited for longer, however slow the machine: with five builds beside it the slowest one seen took 200 s.
pub const BOOT_MAX: Duration = Duration::from_secs(600);

/// A boot that has used this much of the emulator's CPU time goes round in circles: one takes 50 s alone, 125 s beside other work (two
/// threads of one core hinder each other), 160 s with 32 CPUs.
pub const BOOT_CPU_MAX: Duration = Duration::from_secs(500);

/// A guest that is silent and uses less than `IDLE_SHARE` of one CPU for this long is waiting for something that will
/// not come (systemd gives a missing device 90 s). A booting one keeps at least one CPU busy.
pub const IDLE_FOR: Duration = Duration::from_secs(45);
pub const IDLE_SHARE: f64 = 0.04;

/// A kernel under KVM finds within two seconds that it has no root file system. `/dev/kvm` that opens and then hangs is
/// why this exists.
pub const KVM_PROBE: Duration = Duration::from_secs(12);

/// QEMU makes its sockets before it does anything else.
pub const SOCKETS_WITHIN: Duration = Duration::from_secs(20);

/// QMP answers from QEMU's main loop, which block jobs and a loaded machine may hold up.
pub const QMP_WITHIN: Duration = Duration::from_secs(60);

/// One QMP line; `query-qmp-schema` is the longest known and has about 400 KiB.
pub const QMP_LINE_BYTES_MAX: usize = 4 << 20;

/// Serial output kept in memory for searching; the log on disk is whole. A boot prints a few KiB, a dashboard about
/// 1 MiB in ten minutes.
pub const SERIAL_BYTES_MAX: usize = 32 << 20;

/// A line longer than this is cut: screens of the dashboard have no line ends.
pub const SERIAL_LINE_BYTES_MAX: usize = 16 << 10;

/// A reply of the guest's servers on an unshared machine; five minutes is what RFC 5321 §4.5.3.2 gives, a tenth is ample.
pub const REPLY_NOMINAL: Duration = Duration::from_secs(30);

/// The most that `/metrics` may send; a real page has about 20 KiB.
pub const HTTP_BYTES_MAX: usize = 4 << 20;

/// Directories of failed runs that are kept; each holds disks (sparse, up to some 100 MiB).
pub const FAILED_KEPT: usize = 6;

/// Deadlines are stretched at most this much: beyond it the machine is unfit and saying so is kinder.
pub const STRETCH_MAX: f64 = 10.0;

/// One verb of `ringpostctl` on an unshared machine. The longest sends 100 MB through an emulated TLS and an emulated disk.
pub const TOOL_NOMINAL: Duration = Duration::from_secs(90);

/// The file server: a request has one line and a few headers; a guest that is silent for longer is gone.
pub const SERVE_HEAD_BYTES_MAX: u64 = 16 << 10;
pub const SERVE_SILENCE: Duration = Duration::from_secs(60);
