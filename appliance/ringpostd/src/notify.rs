//! Word to systemd (sd_notify(3)): ready, stopping, and alive for as long as storage answers.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use storage::owner::Owner;

pub const READY: &str = "READY=1";
pub const STOPPING: &str = "STOPPING=1";
const ALIVE: &str = "WATCHDOG=1";

/// Sends a word to systemd; in a terminal there is no receiver.
pub fn tell(word: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let bytes = socket.as_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&socket),
    };
    let sent = address.and_then(|address| {
        let from = UnixDatagram::unbound()?;
        from.send_to_addr(word.as_bytes(), &address)
    });
    if let Err(error) = sent {
        tracing::warn!(word, %error, "systemd cannot be notified");
    }
}

/// Until dropped: reports to systemd that this process is alive, as long as the volume's owner does work; without storage, as long as this
/// thread does. Ends at once where no watchdog waits.
pub async fn stay_alive(owner: Option<Owner>) {
    let Some(every) = interval(std::env::var("WATCHDOG_USEC").ok().as_deref()) else {
        return;
    };
    let Some(owner) = owner else {
        loop {
            // until the process stops
            tell(ALIVE);
            tokio::time::sleep(every).await;
        }
    };
    let mut began = 0;
    loop {
        // until the process stops
        let answered = tokio::time::timeout(every, owner.ask(|_| async {})).await;
        // A full lane is not a sign of death while work is taken from it.
        let taken = owner
            .gauges()
            .asked
            .load(std::sync::atomic::Ordering::Relaxed);
        if matches!(answered, Ok(Ok(()))) || taken != began {
            tell(ALIVE);
        } else {
            tracing::error!(
                "the storage thread does not answer; systemd's watchdog will kill this process"
            );
        }
        began = owner
            .gauges()
            .asked
            .load(std::sync::atomic::Ordering::Relaxed);
        tokio::time::sleep(every).await;
    }
}

/// A quarter of systemd's patience: an unanswered question of that length and a pause still fit into it.
fn interval(usec: Option<&str>) -> Option<Duration> {
    let usec: u64 = usec?.parse().ok().filter(|usec| *usec > 0)?;
    Some(Duration::from_micros((usec / 4).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemds_patience_is_cut_in_four() {
        assert_eq!(interval(Some("20000000")), Some(Duration::from_secs(5)));
        assert_eq!(interval(Some("0")), None);
        assert_eq!(interval(Some("x")), None);
        assert_eq!(interval(None), None);
    }
}
