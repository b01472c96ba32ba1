//! Times and bounds between receivers, the spool and storage.

use std::time::Duration;

/// A direct delivery that is not answered by then goes to the spool. Longer than a leg is waited for before it leaves the mirror on
/// solid-state disks, so that the loss of one leg does not send mail round.
pub const DIRECT_MAX: Duration = Duration::from_secs(5);
/// A look-up that is not answered by then is answered from memory, or with 451.
pub const LOOK_UP_MAX: Duration = Duration::from_secs(5);
/// After such silence look-ups do not wait at all for so long: a message of a hundred recipients would wait for minutes.
pub const SILENCE_NOTED: Duration = Duration::from_secs(1);
/// A spool that does not answer by then has both legs in trouble: 451. RFC 5321 §4.5.3.2.6 gives a server ten minutes.
pub const TAKE_MAX: Duration = Duration::from_secs(30);

/// Closures waiting in the spool's lane, and closures begun: each stands for a message of a receiver that waits, or for a request of an operator.
pub const LANE_ITEMS_MAX: usize = 1_024;
pub const UNDER_WAY_MAX: usize = 1_024;

/// Messages handed over at a time: one group commit takes them together.
pub const HANDED_AT_ONCE: usize = 64;
/// Their bytes, at least one message: what the drain holds in memory.
pub const HANDED_BYTES: usize = 4 << 20;
/// Pauses of the drain while storage takes nothing: doubled from the first to the last.
pub const PAUSE_MIN: Duration = Duration::from_millis(50);
pub const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A message that storage defers is tried again after so long, and others are handed over meanwhile. Longer than several of the drain's pauses.
pub const ASIDE_FOR: Duration = Duration::from_secs(15);
/// Messages looked at for one hand-over while none waits aside: the next of each address is found without reading a long backlog again and again.
pub const LOOKED_AT_MAX: usize = 256;
/// Copies whose time is over are looked for so often while nothing waits.
pub const TRIMMED_EVERY: Duration = Duration::from_secs(600);
/// What cannot be handed over is tried again after so long.
pub const STUCK_FOR: Duration = Duration::from_secs(3_600);
