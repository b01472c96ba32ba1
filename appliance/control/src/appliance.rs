//! What concerns the box rather than its mail: updates, reboot, factory reset, the clock, a support bundle.
//!
//! The daemon has no right to do any of this itself. It leaves a small file where a systemd path unit of the image waits for it
//! (`/run/ringpost/reboot`, …), or asks the updater (`update::request`). On a machine that is no appliance the places are
//! missing and the request is refused.

use std::path::Path;

use serde_json::{Value, json};
use update::request::{self, Outcome};

use crate::admin::{Admin, Caller};
use crate::answer::Refused;
use crate::limits::{LOG_LINES_MAX, UPDATE_DEADLINE};
use crate::logs;
use crate::words::Request;

/// Made by the image before the daemon starts, for it alone.
const RUN: &str = "/run/ringpost";
/// In the state directory; looked for by `ringpost-boot`.
pub const FACTORY_RESET: &str = "factory-reset";

/// Files of the image that help to understand a box; none holds a secret.
const TOLD: [&str; 9] = [
    "/run/ringpost/boot.json",
    "/run/ringpost/system-disks.json",
    "/etc/os-release",
    "/proc/version",
    "/proc/cmdline",
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/interrupts",
    "/proc/partitions",
];
const TOLD_BYTES_MAX: usize = 64 << 10;

/// Leaves the file that a unit of the image waits for.
pub(crate) fn signal(name: &str) -> Result<Value, Refused> {
    let run = Path::new(RUN);
    if !run.join("boot.json").exists() {
        return Err("this is no appliance image: use the system's own tools".into());
    }
    std::fs::write(run.join(name), b"").map_err(|error| format!("{RUN}/{name}: {error}"))?;
    Ok(json!({ "next": format!("{name} begins now") }))
}

/// Forgets settings, certificates and the witness at the next start. Mail stays on its legs.
pub(crate) fn factory_reset(state: &Path) -> Result<Value, Refused> {
    let path = state.join(FACTORY_RESET);
    std::fs::write(&path, b"").map_err(|error| format!("{}: {error}", path.display()))?;
    signal("reboot").inspect_err(|_| {
        let _ = std::fs::remove_file(&path); // refused means refused
    })
}

/// Hands an update request to the updater and waits beside everything else.
pub(crate) async fn update(wanted: request::Request) -> Result<Value, Refused> {
    let exchange = Path::new(request::EXCHANGE);
    if !exchange.is_dir() {
        return Err("this is no appliance image: there are no slots to update".into());
    }
    let outcome = tokio::task::spawn_blocking(move || {
        request::ask(exchange, &wanted, UPDATE_DEADLINE, |_, _| {})
    });
    match outcome.await.map_err(|error| error.to_string())?? {
        Outcome::Done { version, next } => Ok(json!({ "version": version, "next": next })),
        Outcome::Slots { status } => Ok(status),
        Outcome::Refused { reason } => Err(reason),
        Outcome::Running { .. } => Err("the updater has not finished".into()),
    }
}

/// Whether the kernel's clock is disciplined, and by how much it may be off (adjtimex, RFC 5905 "maxerror").
pub(crate) fn time() -> Value {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    // systemd-timesyncd leaves this file once a server has been heard.
    let synchronized = Path::new("/run/systemd/timesync/synchronized").exists();
    json!({ "unix_s": now, "synchronized": synchronized })
}

/// One JSON document with everything a helper from afar asks for first.
pub(crate) async fn bundle(admin: &Admin, caller: &Caller) -> Result<Value, Refused> {
    let mut parts = serde_json::Map::new();
    let requests = [
        ("status", Request::Status),
        ("plan", Request::Plan),
        ("volume", Request::VolumeShow),
        ("legs", Request::LegList),
        ("fsck", Request::Fsck { full: false }),
        ("disks", Request::Disks),
        ("network", Request::Network),
        ("settings", Request::SettingsShow),
        ("settings_history", Request::SettingsHistory),
    ];
    for (name, request) in requests {
        // What cannot be had is part of the picture.
        let part = Box::pin(admin.perform(request, caller)).await;
        parts.insert(
            name.into(),
            part.unwrap_or_else(|refused| json!({ "refused": refused })),
        );
    }
    parts.insert("metrics".into(), admin.open_metrics().await.into());
    parts.insert("time".into(), time());
    let incidents = hardware::incident::list(&admin.plan().state);
    parts.insert("incidents".into(), json!(incidents));
    parts.insert("log".into(), logs::last(LOG_LINES_MAX).into());
    for path in TOLD {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => format!("cannot be read: {error}"),
            Ok(text) => text,
        };
        let text: String = text.chars().take(TOLD_BYTES_MAX).collect();
        parts.insert(path.into(), text.into());
    }
    Ok(Value::Object(parts))
}
