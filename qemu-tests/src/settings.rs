//! `ringpost.toml` for a guest: zero touch, everything in one file.

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::ledger::{ALICE, PASSWORD};
use crate::shape::{By, Credential, Disk, Shape};

/// The credential that carries the settings.
pub const CREDENTIAL: &str = "ringpost.config";

/// What differs from guest to guest beside the shape.
pub struct Words<'a> {
    /// The name of the host.
    pub name: &'a str,
    /// `inbound.authentication`.
    pub authentication: &'a str,
    /// More lines of `[listen]`.
    pub listen: &'a str,
}

impl Default for Words<'_> {
    fn default() -> Self {
        Words {
            name: "mx.example.org",
            // A guest's mail comes from the machine that runs it.
            authentication: "off",
            listen: "",
        }
    }
}

/// Settings whose mirror lies on the disks called `leg-…`, and that accept the ledger's mail. The tables that make
/// domains and accounts come last.
pub fn text(shape: &Shape) -> String {
    text_with(shape, &Words::default())
}

/// The same with other words.
pub fn text_with(shape: &Shape, words: &Words<'_>) -> String {
    let legs: Vec<String> = shape
        .disks
        .iter()
        .filter(|disk| disk.name.starts_with("leg-"))
        .map(|disk| disk.by_id())
        .chain(shape.away.iter().cloned())
        .map(|name| format!("{name:?}"))
        .collect();
    format!(
        r#"[server]
name = "{}"
state = "/var/lib/ringpost"
{}

[volume]
create = true
legs = [{}]

[inbound]
authentication = "{}"

[listen]
smtp = ["0.0.0.0:25"]
imap = ["0.0.0.0:143"]
imaps = ["0.0.0.0:993"]
http = ["0.0.0.0:80"]
https = ["0.0.0.0:443"]
{}
{}
[[domain]]
name = "example.org"

[[account]]
address = "{ALICE}"
password_hash = "{}"
"#,
        words.name,
        shape
            .profile
            .as_ref()
            .map_or(String::new(), |name| format!("profile = {name:?}")),
        legs.join(", "),
        words.authentication,
        words.listen,
        shape.settings,
        password_hash()
    )
}

/// The same, with nobody listening for mail: a daemon that starts and does not do its work.
pub fn without_smtp(shape: &Shape) -> String {
    text(shape).replace("smtp = [\"0.0.0.0:25\"]\n", "")
}

/// The shape with these settings given to it.
pub fn provisioned(shape: Shape, by: By) -> Shape {
    provisioned_with(shape, by, "")
}

/// The same with `more` tables behind them.
pub fn provisioned_with(mut shape: Shape, by: By, more: &str) -> Shape {
    let text = text(&shape) + more;
    shape
        .credentials
        .push(Credential::new(CREDENTIAL, text, by));
    shape
}

/// Cheap on purpose: an emulated CPU would spend seconds on a hash fit for people.
fn password_hash() -> String {
    let params = Params::new(64, 1, 1, None).expect("within argon2's bounds");
    let salt = SaltString::encode_b64(b"ringpost-qemu").expect("a salt of fitting length");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(PASSWORD.as_bytes(), &salt)
        .expect("a short password")
        .to_string()
}

/// The legs of a shape, in order.
pub fn legs(shape: &Shape) -> impl Iterator<Item = &Disk> {
    shape
        .disks
        .iter()
        .filter(|disk| disk.name.starts_with("leg-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_the_legs_by_their_ids() {
        let text = text(&Shape::default());
        assert!(text.contains(
            r#"legs = ["/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_leg-a", "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_leg-b"]"#
        ));
        assert!(text.contains("$argon2id$v=19$m=64,t=1,p=1$"));
        assert!(text.contains("smtp =") && !without_smtp(&Shape::default()).contains("smtp ="));
    }
}
