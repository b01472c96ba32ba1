//! Every number of this crate, with its reason.

use std::time::Duration;

/// A person follows figures once a second; a serial line at 115200 baud carries a whole screen five times in that time.
pub const DRAW_EVERY: Duration = Duration::from_secs(1);
/// A word of the kernel or of systemd runs across a serial port: everything is redrawn this often. A whole screen takes a
/// fifth of a second at 115200 baud.
pub const REDRAW_EVERY: Duration = Duration::from_secs(20);
/// A daemon that takes longer to answer is shown as one that does not.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// What a terminal without a size has (a serial port), and the least that is drawn on.
pub const COLUMNS: u16 = 80;
pub const ROWS: u16 = 24;
/// After this long a daemon that was to start is called late.
pub const LATE_S: u64 = 60;
/// Lines of a brand's logo, and bytes of each, that fit the head.
pub const LOGO_LINES_MAX: usize = 4;
pub const LOGO_BYTES_MAX: usize = 60;
/// Wrong answers to one question of the set-up before it begins again.
pub const TRIES_MAX: usize = 10;
/// Lines of a certificate that is pasted: one of RSA 4096 has about 35.
pub const PEM_LINES_MAX: usize = 100;
/// A hang or crash of the engine is shown as an alarm for a day; `ringpostctl status` knows it longer.
pub const INCIDENT_NEW_S: u64 = 24 * 60 * 60;
