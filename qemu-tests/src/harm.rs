//! Hangs on demand, in the image as it is sold: it has no shell, so the means come from outside, as systemd credentials.
//!
//! Units given by `systemd.extra-unit.…` (systemd.system-credentials(7)) wait at a port each; a connection does the harm.

use std::net::{SocketAddr, TcpStream};

use crate::failure::{Doing, Told};
use crate::shape::{By, Credential};

/// Stops the engine's process for good (SIGSTOP): it lives and does nothing.
pub const ENGINE_HANGS: u16 = 9_001;
/// The kernel panics and does not restart: every CPU stands still.
pub const KERNEL_HANGS: u16 = 9_002;

/// What a guest is given so that it can be harmed. `engine_patience_s` takes the place of `WatchdogSec=` of the engine's unit, for a
/// story that is told in seconds; how long it is in the image changes nothing about what happens then.
pub fn credentials(engine_patience_s: u64) -> Vec<Credential> {
    let by_hand = |name: &str, text: String| Credential::new(name, text, By::Smbios);
    let socket = |port: u16| format!("[Socket]\nListenStream={port}\nAccept=yes\n");
    let unit = |name: &str| format!("systemd.extra-unit.{name}");
    vec![
        by_hand(&unit("harm-engine.socket"), socket(ENGINE_HANGS)),
        by_hand(
            &unit("harm-engine@.service"),
            "[Service]\nExecStart=/usr/bin/systemctl kill --kill-whom=main --signal=SIGSTOP ringpostd.service\n".into(),
        ),
        by_hand(&unit("harm-kernel.socket"), socket(KERNEL_HANGS)),
        by_hand(
            &unit("harm-kernel@.service"),
            // The image has no `echo`; this one prints its argument.
            "[Service]\nExecStart=/usr/bin/systemd-escape c\nStandardOutput=file:/proc/sysrq-trigger\n".into(),
        ),
        by_hand(
            "systemd.unit-dropin.multi-user.target",
            "[Unit]\nWants=harm-engine.socket harm-kernel.socket\n".into(),
        ),
        by_hand(
            "systemd.unit-dropin.ringpostd.service",
            format!("[Service]\nWatchdogSec={engine_patience_s}\n"),
        ),
        // The image's `panic=10` would restart it by itself; the watchdog is for what does not.
        by_hand("sysctl.extra", "kernel.panic = 0\n".into()),
    ]
}

/// Does it.
pub fn strike(at: SocketAddr) -> Told<()> {
    TcpStream::connect(at)
        .map(drop)
        .doing("doing harm by a connection")
}
