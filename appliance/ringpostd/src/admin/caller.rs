//! The administrator at the other end of a connection.

use std::path::Path;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub door: &'static str,
    /// The name on the client certificate, or the user on this machine.
    pub who: String,
    /// When the connection was accepted: milliseconds of the machine's uptime.
    pub connected_ms: u64,
}

impl Caller {
    /// Accepted just now.
    pub(crate) fn new(door: &'static str, who: String) -> Caller {
        // Unknown is never new: such a connection proves nothing.
        let connected_ms = boot::probation::uptime_ms(Path::new("/")).unwrap_or(0);
        Caller {
            door,
            who,
            connected_ms,
        }
    }
}
