//! Where administration is reached: the control socket, the paths below an HTTPS listener.

use std::path::{Path, PathBuf};

/// The control socket's name in the state directory.
pub const SOCKET: &str = "control.sock";
/// Where requests go, below the host's URL.
pub const ADMIN: &str = "/admin/v1";
/// Where files go.
pub const UPLOAD: &str = "/admin/v1/upload/";
/// The names that are taken: an image and its signature.
pub const UPLOADS: [&str; 2] = ["ringpost.efi", "ringpost.efi.minisig"];

/// Where uploads of the daemon with this state directory are stored.
pub fn uploads(state: &Path) -> PathBuf {
    state.join("uploads")
}

/// The way to an appliance on another machine.
#[derive(Debug, Clone)]
pub struct Remote {
    /// `https://HOST:PORT`.
    pub host: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Who signed the appliance's own certificate; its self-signed certificate itself will do.
    pub authority: PathBuf,
}
