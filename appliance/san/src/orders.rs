//! Targets → orders to the kernel, open-iscsi and multipathd. Pure; `plan::san` has checked every word.

use std::fmt::Write;
use std::net::SocketAddr;

use plan::san::Target;
use plan::shape::San;

use crate::limits::*;

/// One line for `/dev/nvme-fabrics`: connects one path. Has the secret in it.
pub fn fabrics(target: &Target, address: SocketAddr) -> String {
    let mut line = format!(
        "transport=tcp,traddr={},trsvcid={},nqn={},hostnqn={},hostid={},keep_alive_tmo={NVME_KEEP_ALIVE_S},reconnect_delay={NVME_RECONNECT_EVERY_S},ctrl_loss_tmo={NVME_CONTROLLER_LOSS_S},fast_io_fail_tmo={NVME_FAIL_AFTER_S}",
        address.ip(),
        address.port(),
        target.target,
        target.host,
        host_id(&target.host),
    );
    if target.has_digests() {
        line.push_str(",hdr_digest,data_digest");
    }
    if let Some(secret) = &target.secret {
        let _ = write!(line, ",dhchap_secret={}", secret.reveal());
    }
    line
}

/// The kernel wants a host ID of its own for each host name: the UUID that the name ends in, else one made of it (RFC 9562 §5.8).
fn host_id(name: &str) -> String {
    let end = name.rsplit(':').next().unwrap_or_default();
    let parts: Vec<usize> = end.split('-').map(str::len).collect();
    let is_hex = end.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    if parts == [8, 4, 4, 4, 12] && is_hex {
        return end.to_ascii_lowercase();
    }
    let mut bytes = base::hash::xxh3_128(name.as_bytes(), 0).to_be_bytes();
    // Version 8 and variant of RFC 9562, for a UUID made by a rule of one's own.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// `/etc/iscsi/initiatorname.iscsi`.
pub fn initiator(target: &Target) -> String {
    format!("InitiatorName={}\n", target.host)
}

/// What stands in open-iscsi's record of a path in the place of its defaults. By the record's file, and not by arguments that
/// any process may read, the secret gets there.
pub fn record(target: &Target) -> Vec<(&'static str, String)> {
    let fail_after = match target.is_mapped() {
        true => ISCSI_FAIL_AFTER_MAPPED_S,
        false => ISCSI_FAIL_AFTER_S,
    };
    let digest = match target.has_digests() {
        true => "CRC32C",
        false => "None",
    };
    let mut lines = vec![
        // This program logs in, and not the boot scripts of open-iscsi, which would do so before the settings are there.
        ("node.startup", "manual".to_owned()),
        ("node.session.scan", "auto".to_owned()),
        ("node.session.initial_login_retry_max", 1.to_string()),
        (
            "node.session.timeo.replacement_timeout",
            fail_after.to_string(),
        ),
        (
            "node.session.err_timeo.abort_timeout",
            ISCSI_ABORT_WITHIN_S.to_string(),
        ),
        (
            "node.session.err_timeo.lu_reset_timeout",
            ISCSI_ABORT_WITHIN_S.to_string(),
        ),
        (
            "node.session.err_timeo.tgt_reset_timeout",
            ISCSI_ABORT_WITHIN_S.to_string(),
        ),
        (
            "node.conn[0].timeo.login_timeout",
            ISCSI_LOGIN_WITHIN_S.to_string(),
        ),
        (
            "node.conn[0].timeo.logout_timeout",
            ISCSI_LOGIN_WITHIN_S.to_string(),
        ),
        (
            "node.conn[0].timeo.noop_out_interval",
            ISCSI_PING_EVERY_S.to_string(),
        ),
        (
            "node.conn[0].timeo.noop_out_timeout",
            ISCSI_PING_WITHIN_S.to_string(),
        ),
        ("node.conn[0].iscsi.HeaderDigest", digest.to_owned()),
        ("node.conn[0].iscsi.DataDigest", digest.to_owned()),
    ];
    if let (Some(user), Some(secret)) = (&target.user, &target.secret) {
        lines.push(("node.session.auth.authmethod", "CHAP".to_owned()));
        lines.push(("node.session.auth.username", user.clone()));
        lines.push(("node.session.auth.password", secret.reveal().to_owned()));
    }
    lines
}

/// The record with these lines in the place of its own.
pub fn with_lines(record: &str, lines: &[(&str, String)]) -> String {
    let is_ours = |line: &str| {
        let key = line.split('=').next().unwrap_or_default().trim();
        lines.iter().any(|(name, _)| *name == key)
    };
    let mut text = String::new();
    for line in record.lines() {
        // In front of the end mark: open-iscsi reads nothing behind it.
        if line.trim() == RECORD_END {
            for (key, value) in lines {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        if !is_ours(line) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// A record's last line.
pub const RECORD_END: &str = "# END RECORD";

/// Whether this record is of this path.
pub fn is_record_of(record: &str, address: SocketAddr) -> bool {
    let value = |key: &str| {
        record.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim())
        })
    };
    let ip = value("node.conn[0].address").and_then(|word| word.parse().ok());
    let port = value("node.conn[0].port").and_then(|word| word.parse().ok());
    ip == Some(address.ip()) && port == Some(address.port())
}

/// `iscsiadm`'s arguments about one path.
pub fn iscsiadm(target: &Target, address: SocketAddr, order: &[&str]) -> Vec<String> {
    let portal = address.to_string();
    let mut arguments: Vec<String> = ["--mode", "node", "--targetname"].map(String::from).into();
    arguments.push(target.target.clone());
    arguments.extend(["--portal".into(), portal]);
    arguments.extend(order.iter().map(|word| word.to_string()));
    arguments
}

pub const NEW: [&str; 2] = ["--op", "new"];
pub const LOGIN: [&str; 1] = ["--login"];

/// `/etc/multipath.conf`: the maps that the settings name and nothing else, least of all a local disk. A map without paths
/// fails its I/O, whatever the array's maker proposes.
pub fn multipath(targets: &[Target]) -> Option<String> {
    let maps: Vec<&str> = targets.iter().flat_map(Target::maps).collect();
    if maps.is_empty() {
        return None;
    }
    let mut text = String::from(
        "defaults {\n\tuser_friendly_names no\n\tfind_multipaths no\n\tpolling_interval 5\n}\n\
         overrides {\n\tno_path_retry fail\n\tfast_io_fail_tmo 5\n\tdev_loss_tmo 600\n}\n\
         blacklist {\n\twwid \".*\"\n}\n\
         blacklist_exceptions {\n",
    );
    for map in maps {
        let _ = writeln!(text, "\twwid \"^{}$\"", literally(map));
    }
    text.push_str("}\n");
    Some(text)
}

/// In a regular expression.
fn literally(text: &str) -> String {
    let mut pattern = String::new();
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() && c != '_' {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

pub fn has(targets: &[Target], kind: San) -> bool {
    targets.iter().any(|target| target.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        toml::from_str(text).expect("right")
    }

    #[test]
    fn an_nvme_path_fails_soon_and_comes_back_by_itself() {
        let target = target(
            "kind = \"nvme-tcp\"\ntarget = \"nqn.2026-11.org.example:mail\"\nhost = \"nqn.2014-08.org.nvmexpress:uuid:0B1C2D3E-0000-1000-8000-00805F9B34FB\"\naddress = [\"192.0.2.20:4420\"]\nsecret = \"DHHC-1:00:x:\"\nlegs = [\"/x\"]\n",
        );
        assert_eq!(
            fabrics(&target, target.address[0]),
            "transport=tcp,traddr=192.0.2.20,trsvcid=4420,nqn=nqn.2026-11.org.example:mail,\
             hostnqn=nqn.2014-08.org.nvmexpress:uuid:0B1C2D3E-0000-1000-8000-00805F9B34FB,hostid=0b1c2d3e-0000-1000-8000-00805f9b34fb,\
             keep_alive_tmo=5,reconnect_delay=2,ctrl_loss_tmo=-1,fast_io_fail_tmo=5,hdr_digest,data_digest,dhchap_secret=DHHC-1:00:x:"
        );
    }

    #[test]
    fn every_host_name_has_an_id_of_its_own_that_stays() {
        let (one, other) = (
            host_id("nqn.2026-11.org.example:box1"),
            host_id("nqn.2026-11.org.example:box2"),
        );
        assert_ne!(one, other);
        assert_eq!(one, host_id("nqn.2026-11.org.example:box1"));
        assert_eq!((one.len(), &one[14..15]), (36, "8"));
    }

    #[test]
    fn an_iscsi_secret_is_in_the_file_and_in_no_argument() {
        let target = target(
            "kind = \"iscsi\"\ntarget = \"iqn.2026-11.org.example:mail\"\nhost = \"iqn.2026-11.org.example:box1\"\naddress = [\"[2001:db8::20]:3260\"]\nuser = \"box1\"\nsecret = \"open-sesame-1\"\ndigests = false\nlegs = [\"/x\"]\n",
        );
        let made = "# BEGIN RECORD 2.1.11\nnode.name = iqn.2026-11.org.example:mail\nnode.conn[0].address = 2001:db8::20\nnode.conn[0].port = 3260\n\
            node.session.auth.authmethod = None\nnode.session.timeo.replacement_timeout = 120\n# END RECORD\n";
        assert!(is_record_of(made, target.address[0]));
        assert!(!is_record_of(
            made,
            "[2001:db8::21]:3260".parse().expect("right")
        ));
        let text = with_lines(made, &record(&target));
        assert!(text.contains("auth.authmethod = CHAP\nnode.session.auth.username = box1\nnode.session.auth.password = open-sesame-1\n# END RECORD\n"));
        assert!(
            text.contains("replacement_timeout = 10\n") && text.contains("DataDigest = None\n")
        );
        assert!(
            !text.contains("120") && !text.contains("= None\nnode.session.timeo"),
            "{text}"
        );
        assert!(
            text.starts_with("# BEGIN RECORD 2.1.11\nnode.name = iqn"),
            "{text}"
        );
        let arguments = iscsiadm(&target, target.address[0], &LOGIN);
        assert_eq!(
            arguments.join(" "),
            "--mode node --targetname iqn.2026-11.org.example:mail --portal [2001:db8::20]:3260 --login"
        );
        assert_eq!(
            initiator(&target),
            "InitiatorName=iqn.2026-11.org.example:box1\n"
        );
    }

    #[test]
    fn multipathd_gets_the_maps_that_are_named_and_nothing_else() {
        let mapped = target(
            "kind = \"iscsi\"\nlegs = [\"/dev/disk/by-id/dm-uuid-mpath-360000000000000000e00000000010001\", \"/dev/disk/by-id/dm-uuid-mpath-eui.0a\"]\n",
        );
        let single = target("kind = \"fc\"\nlegs = [\"/dev/disk/by-id/wwn-0x5000c50000000001\"]\n");
        assert_eq!(multipath(std::slice::from_ref(&single)), None);
        let text = multipath(&[single, mapped.clone()]).expect("maps");
        assert!(text.contains("blacklist {\n\twwid \".*\"\n}"));
        assert!(
            text.contains(
                "\twwid \"^360000000000000000e00000000010001$\"\n\twwid \"^eui\\.0a$\"\n"
            )
        );
        assert!(text.contains("no_path_retry fail") && !text.contains("5000c5"));
        assert!(
            record(&mapped).contains(&("node.session.timeo.replacement_timeout", "5".to_owned()))
        );
    }
}
