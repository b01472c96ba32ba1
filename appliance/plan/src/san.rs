//! `[[san]]`: disks that stand elsewhere, and the ways to them.
//!
//! One table is one target: a subsystem of NVMe over TCP, an iSCSI target, or what is zoned to the Fibre Channel ports. Every
//! address of it is a path. What must hold once `check` has passed: a leg is named once and by a name that means the disk and
//! never one of several paths to it; nothing in a name or a secret ends a line or a word of the files and orders that are made of it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use crate::limits::*;
use crate::load::{Misfit, Source};
use crate::shape::San;

/// One target. Serialised it has no secret, so that it may be shown and handed on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub kind: San,
    /// The subsystem's NQN, or the target's IQN.
    #[serde(default)]
    pub target: String,
    /// Address and port; several are several paths to the same disks.
    #[serde(default, deserialize_with = "addresses")]
    pub address: Vec<SocketAddr>,
    /// The name by which the target knows this box: host NQN, or initiator's IQN.
    #[serde(default)]
    pub host: String,
    /// CHAP, iSCSI only.
    pub user: Option<String>,
    /// CHAP's secret, or NVMe's DH-HMAC-CHAP key (`DHHC-1:…`).
    // By type and not by care: what shows settings cannot show this.
    #[serde(default, skip_serializing)]
    pub secret: Option<Secret>,
    /// A checksum over every packet of data. Left out: yes.
    pub digests: Option<bool>,
    /// Those of `volume.legs` that are on it.
    pub legs: Vec<String>,
}

/// Never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Target {
    /// Whether its legs are maps of device mapper. NVMe joins its paths by itself.
    pub fn is_mapped(&self) -> bool {
        self.legs.iter().any(|leg| leg.starts_with(MAP))
    }

    /// The world-wide identifiers of its maps, as multipathd knows them.
    pub fn maps(&self) -> impl Iterator<Item = &str> {
        self.legs.iter().filter_map(|leg| leg.strip_prefix(MAP))
    }

    /// On unless switched off: TCP's checksum misses what a faulty switch or card does to a few packets in a million, and here they are mail.
    pub fn has_digests(&self) -> bool {
        self.digests.unwrap_or(true)
    }

    /// For sentences: its name, or `Fibre Channel`.
    pub fn shown(&self) -> &str {
        match self.kind {
            San::Fc => "Fibre Channel",
            San::NvmeTcp | San::Iscsi => &self.target,
        }
    }

    fn check(&self) -> Result<(), String> {
        match self.kind {
            San::Fc => self.check_fc()?,
            San::NvmeTcp | San::Iscsi => self.check_names()?,
        }
        // Names first, so that the sentences about the rest can use them.
        self.check_secret()?;
        self.check_legs()
    }

    /// The adapters' firmware logs in; it needs no settings.
    fn check_fc(&self) -> Result<(), String> {
        let said = !self.target.is_empty()
            || !self.address.is_empty()
            || !self.host.is_empty()
            || self.digests.is_some();
        if said {
            return Err(
                "`kind = \"fc\"` takes `legs` only: the switches say which disks the adapters see"
                    .into(),
            );
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), String> {
        let kind = self.kind;
        let (like, host_like) = match kind {
            San::Iscsi => (
                "iqn.2026-11.org.example:mail",
                "iqn.2026-11.org.example:box1",
            ),
            _ => (
                "nqn.2026-11.org.example:mail",
                "nqn.2026-11.org.example:box1",
            ),
        };
        for (key, name, like) in [
            ("target", &self.target, like),
            ("host", &self.host, host_like),
        ] {
            if name.is_empty() {
                return Err(format!(
                    "{kind}: `{key}` is missing: write it like `{key} = \"{like}\"`"
                ));
            }
            if !is_name(kind, name) {
                return Err(format!(
                    "{kind}: {key} `{}` is not a valid name: write it like {like}, at most {SAN_NAME_BYTES_MAX} letters, digits, `-`, `.` and `:`",
                    name.escape_default()
                ));
            }
        }
        if self.address.is_empty() || self.address.len() > SAN_PATHS_MAX {
            return Err(format!(
                "{}: write 1 to {SAN_PATHS_MAX} addresses, like `address = [\"192.0.2.20:{}\"]`",
                self.target,
                port(kind)
            ));
        }
        for (index, address) in self.address.iter().enumerate() {
            let ip = address.ip();
            // Written from a template and not filled in: the kernel would try it for ever and say nothing that helps.
            if ip.is_unspecified() || ip.is_multicast() || is_broadcast(ip) || address.port() == 0 {
                return Err(format!(
                    "{}: {address} is not the address of a host: write the target's own address with its port",
                    self.target
                ));
            }
            if self.address[..index].contains(address) {
                return Err(format!(
                    "{}: {address} is written twice: each address is a path, remove one",
                    self.target
                ));
            }
        }
        Ok(())
    }

    fn check_secret(&self) -> Result<(), String> {
        let shown = self.shown();
        match (self.kind, &self.user, &self.secret) {
            (San::Fc, None, None) | (_, None, None) => Ok(()),
            (San::Fc, ..) => Err("`kind = \"fc\"` takes neither `user` nor `secret`".into()),
            (San::NvmeTcp, Some(_), _) => Err(format!(
                "{shown}: NVMe knows no `user`: the host is known by `host`, remove it"
            )),
            // The kernel refuses a malformed key only at the connection, with a number.
            (San::NvmeTcp, None, Some(secret)) if !is_dhchap(secret.reveal()) => Err(format!(
                "{shown}: `secret` is not a DH-HMAC-CHAP key: write the one that `nvme gen-dhchap-key` made, DHHC-1:00:…:"
            )),
            (San::NvmeTcp, None, Some(_)) => Ok(()),
            (San::Iscsi, Some(user), Some(secret)) => {
                if !is_word(user) || user.len() > CHAP_USER_BYTES_MAX {
                    return Err(format!(
                        "{shown}: `user` is 1 to {CHAP_USER_BYTES_MAX} visible ASCII characters"
                    ));
                }
                let bytes = CHAP_SECRET_BYTES_MIN..=CHAP_SECRET_BYTES_MAX;
                if !is_word(secret.reveal()) || !bytes.contains(&secret.reveal().len()) {
                    return Err(format!(
                        "{shown}: `secret` is {CHAP_SECRET_BYTES_MIN} to {CHAP_SECRET_BYTES_MAX} visible ASCII characters (RFC 7143 §9.2.1 asks for 96 bits)"
                    ));
                }
                Ok(())
            }
            (San::Iscsi, ..) => Err(format!(
                "{shown}: CHAP needs `user` and `secret` together: add the missing one"
            )),
        }
    }

    fn check_legs(&self) -> Result<(), String> {
        let shown = self.shown();
        if self.legs.is_empty() {
            return Err(format!(
                "{shown}: `legs` lists which of volume.legs are on this target: name at least one"
            ));
        }
        for leg in &self.legs {
            let named = leg.escape_default();
            let Some(id) = leg.strip_prefix(BY_ID).filter(|id| is_id(id)) else {
                return Err(format!(
                    "{shown}: {named} may refer to another disk after a restart: name it by {BY_ID}…"
                ));
            };
            // NVMe joins paths in the kernel. With SCSI each path is a disk of its own; a leg on one of them would miss the other when that fails,
            // and a leg on each would be the same disk twice in one mirror.
            let several = self.address.len() > 1;
            let mapped = leg.starts_with(MAP);
            match self.kind {
                San::NvmeTcp if !id.starts_with("nvme-") => {
                    return Err(format!(
                        "{shown}: {named} is not the name of an NVMe namespace: write {BY_ID}nvme-uuid.… or nvme-eui.…"
                    ));
                }
                San::Iscsi if several && !mapped => {
                    return Err(format!(
                        "{shown} has several paths and {named} is one of them: name the map that joins them, {MAP}3…"
                    ));
                }
                San::Iscsi if !several && mapped => {
                    return Err(format!(
                        "{shown} has one path, so {named} does not exist: name the disk, {BY_ID}scsi-3…, or write its second address"
                    ));
                }
                San::Iscsi | San::Fc
                    if !mapped && !SCSI_IDS.iter().any(|id_of| id.starts_with(id_of)) =>
                {
                    return Err(format!(
                        "{shown}: {named} is not a world-wide name: write {BY_ID}scsi-3…, wwn-0x… or dm-uuid-mpath-3…"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Every `[[san]]` of one file, beside the legs of its volume.
pub fn check(
    targets: &[Spanned<Target>],
    legs: &[String],
    source: &Source<'_>,
) -> Result<(), Misfit> {
    // Quadratic; `SAN_TARGETS_MAX` bounds it.
    let mut seen: Vec<&Target> = Vec::new();
    for spanned in targets {
        let target = spanned.get_ref();
        let told =
            |sentence: String| source.misfit(spanned.span().start, format!("[[san]]: {sentence}"));
        if seen.len() == SAN_TARGETS_MAX {
            return Err(told(format!("write at most {SAN_TARGETS_MAX} targets")));
        }
        target.check().map_err(told)?;
        for other in &seen {
            if target.kind != San::Fc && other.target == target.target {
                return Err(told(format!(
                    "{} is written twice: put all its addresses into one table",
                    target.target
                )));
            }
            // open-iscsi has one file for the name.
            if target.kind == San::Iscsi && other.kind == San::Iscsi && other.host != target.host {
                return Err(told(format!(
                    "this box has one initiator name: `host` is {} here and {} above, write the same",
                    target.host, other.host
                )));
            }
            if let Some(leg) = target.legs.iter().find(|leg| other.legs.contains(leg)) {
                return Err(told(format!("{leg} is already on another target")));
            }
        }
        if let Some(leg) = target.legs.iter().find(|leg| !legs.contains(leg)) {
            return Err(told(format!(
                "{leg} is not among volume.legs: write the same name there"
            )));
        }
        seen.push(target);
    }
    Ok(())
}

/// RFC 7143 §4.2.7.1; NVM Express base specification 2.0, 4.5. What the kernel and open-iscsi take as one word.
fn is_name(kind: San, name: &str) -> bool {
    let starts: &[&str] = match kind {
        San::Iscsi => &["iqn.", "eui.", "naa."],
        _ => &["nqn."],
    };
    let good = |c: char| c.is_ascii_alphanumeric() || "-.:_".contains(c);
    name.len() <= SAN_NAME_BYTES_MAX
        && name.chars().all(good)
        && starts
            .iter()
            .any(|start| name.len() > start.len() && name.starts_with(start))
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

/// One word of visible characters that no file format in our way gives a meaning to.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !"#\"'\\".contains(c))
}

/// NVM Express TCP transport specification 1.0, 8.6.1.5: `DHHC-1:` hash `:` base64 of 32, 48 or 64 bytes and a CRC-32 `:`.
fn is_dhchap(text: &str) -> bool {
    let mut parts = text.split(':');
    let (head, hash, key, end) = (parts.next(), parts.next(), parts.next(), parts.next());
    // The CRC is left to the kernel: what is to be found here is a password in the place of a key.
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    head == Some("DHHC-1")
        && hash.is_some_and(|hash| ["00", "01", "02", "03"].contains(&hash))
        && key.is_some_and(|key| [48, 72, 92].contains(&key.len()) && key.chars().all(base64))
        && end == Some("")
        && parts.next().is_none()
}

/// A file name below `/dev/disk/by-id`.
fn is_id(id: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.:=+@".contains(c);
    !id.is_empty() && id.len() <= 255 && id.chars().all(good)
}

fn port(kind: San) -> u16 {
    match kind {
        San::Iscsi => 3260,
        _ => 4420,
    }
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    let parsed = words.iter().map(|word| {
        word.parse().map_err(|_| {
            serde::de::Error::custom(format!(
                "`{}` is not an address with a port: write it like 192.0.2.20:4420 or [2001:db8::20]:3260",
                word.escape_default()
            ))
        })
    });
    parsed.collect()
}

const BY_ID: &str = "/dev/disk/by-id/";
/// A map that joins several paths.
pub const MAP: &str = "/dev/disk/by-id/dm-uuid-mpath-";
/// Names that a logical unit gives itself.
const SCSI_IDS: [&str; 3] = ["scsi-", "wwn-", "dm-uuid-mpath-"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    const NVME: &str = "/dev/disk/by-id/nvme-uuid.6f2a";
    const DISK: &str = "/dev/disk/by-id/scsi-360000000000000000e00000000010001";
    const MAPPED: &str = "/dev/disk/by-id/dm-uuid-mpath-360000000000000000e00000000010001";

    fn parse(leg: &str, rest: &str) -> Result<Settings, Misfit> {
        let text =
            format!("[volume]\nlegs = [\"/dev/disk/by-id/nvme-a\", \"{leg}\"]\n[[san]]\n{rest}");
        Settings::parse("ringpost.toml", &text)
    }

    fn iscsi(leg: &str, rest: &str) -> String {
        format!(
            "kind = \"iscsi\"\ntarget = \"iqn.2026-11.org.example:mail\"\nhost = \"iqn.2026-11.org.example:box1\"\nlegs = [\"{leg}\"]\n{rest}"
        )
    }

    fn nvme(rest: &str) -> String {
        format!(
            "kind = \"nvme-tcp\"\ntarget = \"nqn.2026-11.org.example:mail\"\nhost = \"nqn.2026-11.org.example:box1\"\nlegs = [\"{NVME}\"]\n{rest}"
        )
    }

    #[test]
    fn targets_of_every_kind_are_taken() {
        let key = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:";
        let taken = [
            (
                NVME,
                nvme(&format!(
                    "address = [\"192.0.2.20:4420\", \"[2001:db8::20]:4420\"]\nsecret = \"{key}\"\n"
                )),
            ),
            (
                DISK,
                iscsi(
                    DISK,
                    "address = [\"192.0.2.20:3260\"]\nuser = \"box1\"\nsecret = \"twelve-bytes\"\ndigests = false\n",
                ),
            ),
            (
                MAPPED,
                iscsi(
                    MAPPED,
                    "address = [\"192.0.2.20:3260\", \"192.0.2.21:3260\"]\n",
                ),
            ),
            (MAPPED, format!("kind = \"fc\"\nlegs = [\"{MAPPED}\"]\n")),
        ];
        for (leg, text) in taken {
            parse(leg, &text).unwrap_or_else(|misfit| panic!("{misfit}\n{text}"));
        }
    }

    #[test]
    fn what_is_wrong_with_a_target_is_one_sentence_with_the_fix() {
        let at = "address = [\"192.0.2.20:3260\"]\n";
        let two = "address = [\"192.0.2.20:3260\", \"192.0.2.21:3260\"]\n";
        let cases: Vec<(&str, String, &str)> = vec![
            (
                NVME,
                nvme("address = [\"192.0.2.20\"]\n"),
                "192.0.2.20:4420",
            ),
            (NVME, nvme("address = []\n"), "1 to 8 addresses"),
            (NVME, nvme(""), "1 to 8 addresses"),
            (
                NVME,
                nvme("address = [\"0.0.0.0:4420\"]\n"),
                "not the address of a host",
            ),
            (
                NVME,
                nvme("address = [\"192.0.2.2:4420\", \"192.0.2.2:4420\"]\n"),
                "written twice",
            ),
            (
                NVME,
                nvme("address = [\"192.0.2.20:4420\"]\nuser = \"x\"\n"),
                "no `user`",
            ),
            (
                NVME,
                nvme("address = [\"192.0.2.20:4420\"]\nsecret = \"open sesame\"\n"),
                "DHHC-1:00:",
            ),
            (
                DISK,
                nvme("address = [\"192.0.2.20:4420\"]\n"),
                "not among volume.legs",
            ),
            (
                NVME,
                nvme(at).replace("nqn.2026", "iqn.2026"),
                "not a valid name",
            ),
            (
                NVME,
                nvme(at).replace("org.example:mail", "org.example,mail"),
                "not a valid name",
            ),
            (
                DISK,
                iscsi(DISK, at).replace("host =", "hots ="),
                "write `host`",
            ),
            (
                DISK,
                iscsi(DISK, at).replace("iqn.2026-11.org.example:box1", ""),
                "`host` is missing",
            ),
            (
                DISK,
                iscsi(DISK, &format!("{at}user = \"x\"\n")),
                "`user` and `secret` together",
            ),
            (
                DISK,
                iscsi(DISK, &format!("{at}user = \"x\"\nsecret = \"short\"\n")),
                "12 to 255",
            ),
            (
                DISK,
                iscsi(
                    DISK,
                    &format!("{at}user = \"x\"\nsecret = \"twelve\\nbytes!\"\n"),
                ),
                "12 to 255",
            ),
            (DISK, iscsi(DISK, two), "name the map"),
            (MAPPED, iscsi(MAPPED, at), "has one path"),
            (NVME, iscsi(NVME, at), "not a world-wide name"),
            (
                "/dev/sdb",
                iscsi("/dev/sdb", at),
                "another disk after a restart",
            ),
            (
                "/dev/disk/by-id/../../sdb",
                iscsi("/dev/disk/by-id/../../sdb", at),
                "another disk after a restart",
            ),
            (
                DISK,
                iscsi(DISK, at).replace(&format!("[\"{DISK}\"]"), "[]"),
                "name at least one",
            ),
            (
                MAPPED,
                format!("kind = \"fc\"\nlegs = [\"{MAPPED}\"]\n{at}"),
                "takes `legs` only",
            ),
            (
                MAPPED,
                format!("kind = \"fibre\"\nlegs = [\"{MAPPED}\"]\n"),
                "write one of",
            ),
            (
                DISK,
                format!("{}[[san]]\n{}", iscsi(DISK, at), iscsi(DISK, at)),
                "written twice",
            ),
            (
                DISK,
                format!(
                    "{}[[san]]\n{}",
                    iscsi(DISK, at),
                    iscsi(DISK, at).replace(":mail", ":other")
                ),
                "already on another target",
            ),
            (
                DISK,
                format!(
                    "{}[[san]]\n{}",
                    iscsi(DISK, at),
                    iscsi(DISK, at)
                        .replace(":mail", ":other")
                        .replace(":box1", ":box2")
                ),
                "one initiator name",
            ),
        ];
        for (leg, text, what) in cases {
            let told = match parse(leg, &text) {
                Ok(_) => panic!("taken: {text}"),
                Err(misfit) => misfit.to_string(),
            };
            assert!(told.contains(what), "{text:?} gave: {told}");
            assert!(told.starts_with("ringpost.toml:"), "no line: {told}");
            assert!(!told.contains('\n'), "one sentence: {told}");
        }
    }

    #[test]
    fn a_secret_is_in_no_log_and_no_document() {
        let secret = "twelve-bytes";
        let text = iscsi(
            DISK,
            &format!("address = [\"192.0.2.20:3260\"]\nuser = \"box1\"\nsecret = \"{secret}\"\n"),
        );
        let settings = parse(DISK, &text).expect("right");
        assert!(!format!("{settings:?}").contains(secret));
        let target = settings.san[0].get_ref();
        let document = toml::to_string(target).expect("a table");
        assert!(document.contains("iqn.2026-11.org.example:mail") && !document.contains(secret));
        // Neither is it repeated by a refusal.
        let wrong = parse(DISK, &text.replace("twelve-bytes", "sesame")).expect_err("too short");
        assert!(!wrong.to_string().contains("sesame"), "{wrong}");
    }
}
