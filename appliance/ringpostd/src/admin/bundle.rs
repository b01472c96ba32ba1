//! The support bundle: one JSON document with everything that a helper from afar asks for first.

use ::admin::request::Request;
use ::admin::spool::Ask;
use serde_json::{Map, Value, json};

use crate::admin::limits::LOG_LINES_MAX;
use crate::admin::shared::{Admin, Refused};
use crate::admin::{appliance, logs};

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

/// What is asked first; the answers are parts of the document.
pub(crate) fn requests() -> [(&'static str, Request); 10] {
    [
        ("status", Request::Status),
        ("plan", Request::Plan),
        ("volume", Request::VolumeShow),
        ("legs", Request::LegList),
        ("spool", Request::Spool { ask: Ask::Show }),
        ("fsck", Request::Fsck { full: false }),
        ("disks", Request::Disks),
        ("network", Request::Network),
        ("settings", Request::SettingsShow),
        ("settings_history", Request::SettingsHistory),
    ]
}

/// The document: `answers` to `requests`, and what is read here.
pub(crate) async fn document(
    admin: &Admin,
    answers: Vec<(&'static str, Result<Value, Refused>)>,
) -> Value {
    let mut parts = Map::new();
    for (name, answer) in answers {
        // What cannot be had is part of the picture.
        let part = answer.unwrap_or_else(|refused| json!({ "refused": refused }));
        parts.insert(name.into(), part);
    }
    parts.insert("metrics".into(), admin.open_metrics().await.into());
    parts.insert("time".into(), appliance::time());
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
    Value::Object(parts)
}
