//! `ringpost.toml` as an operator, an attacker with his certificate, or a bad stick writes it.

use boot::{change, secret};
use plan::Settings;
use toml::{Table, Value};

pub const WORDS: &[&[u8]] = &[
    b"[volume]\n",
    b"[network]\n",
    b"[[network.interface]]\n",
    b"[[network.bond]]\n",
    b"[[network.vlan]]\n",
    b"[[account]]\n",
    b"[[domain]]\n",
    b"[[san]]\n",
    b"secret = \"open-sesame-1\"\n",
    b"secret = '\\open'\n",
    b"[server]\n",
    b"[listen]\n",
    b"[time]\n",
    b"password_hash = \"$argon2id$v=19$m=64,t=1,p=1$c2FsdA$aGFzaA\"\n",
    b"password_hash = \"\\u0024argon2id$x\"\n",
    b"password_hash = \"(kept)\"\n",
    b"$argon2",
    b"(kept)",
    b"legs = [\"/dev/a\", \"/dev/b\"]\n",
    b"address = [\"192.0.2.10/24\", \"2001:db8::1/64\"]\n",
    b"name = \"eth0\"\n",
    b"mac = \"52:54:00:12:34:56\"\n",
    b"id = 4095\n",
    b"mtu = 9000\n",
    b"smtp = [\"[::]:25\"]\n",
    b"ntp = [\"a\\r\\nb\"]\n",
    b"quota = \"1GiB\"\n",
    b"leg_size = \"18446744073709551615TiB\"\n",
    b"\"\"\"",
    b"'''",
    b"{",
    b"}",
    b"[",
    b"]",
    b".",
    b"=",
    b",",
    b"#",
    b"\"\\u001b[2J\" = 1\n",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff",
];

const WHOLE: &str = "# ours\n[server]\nname = \"mail.example.org\"\nprofile = \"qemu-small\"\n\n\
    [volume]\ncreate = true\nlegs = [\"/dev/disk/by-id/a\", \"/dev/disk/by-id/b\"]\nleg_size = \"1GiB\"\ncompression = 3\n\n\
    [listen]\nsmtp = [\"[::]:25\"]\nimaps = [\"0.0.0.0:993\"]\nhttps = [\"0.0.0.0:443\"]\n\n\
    [tls]\ncertificate = \"/c.pem\"\nkey = \"/k.pem\"\n\n[login]\nplaintext = \"loopback\"\n\n\
    [limits]\nmessage = \"50MiB\"\nimap_connections = 10\n\n[memory]\nreceive = \"64MiB\"\n\n[log]\nlevel = \"info\"\n\n\
    [network]\ndns = [\"192.0.2.53\"]\n[[network.interface]]\nname = \"eth0\"\naddress = [\"192.0.2.10/24\"]\ngateway = [\"192.0.2.1\"]\n\
    [[network.bond]]\nname = \"bond0\"\nmembers = [\"eth1\", \"eth2\"]\nmode = \"802.3ad\"\n\
    [[network.vlan]]\nname = \"mail\"\nid = 100\non = \"bond0\"\ndhcp = true\n\n[time]\nntp = [\"ntp.example.org\"]\n\n\
    [[domain]]\nname = \"example.org\"\n\n[[account]]\naddress = \"alice@example.org\"\npassword_hash = \"$argon2id$v=19$m=64,t=1,p=1$c2FsdA$aGFzaA\"\nquota = \"1GiB\"\n\n\
    [admin]\nclient_ca = \"\"\"\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n\"\"\"\n";

pub fn seeds() -> Vec<Vec<u8>> {
    let small = "[volume]\nlegs = [\"/a\"]\n[[account]]\naddress = \"a@b\"\npassword_hash = '$argon2id$x' # $argon2id$old\n[[domain]]\nname = \"b\"\n";
    let san = "[volume]\nlegs = [\"/dev/disk/by-id/scsi-360000000000000000e00000000010001\"]\n[[san]]\nkind = \"iscsi\"\ntarget = \"iqn.2026-11.org.example:mail\"\nhost = \"iqn.2026-11.org.example:box1\"\naddress = [\"192.0.2.20:3260\"]\nuser = \"box1\"\nsecret = \"open-sesame-1\"\nlegs = [\"/dev/disk/by-id/scsi-360000000000000000e00000000010001\"]\n";
    vec![WHOLE.into(), small.into(), san.into(), "[volume]\n".into()]
}

/// Refused in a sentence that a terminal can be shown, or taken; no hash is ever shown; nothing differs from itself.
/// The sentence goes to a terminal and to the console's screen: a control character in it could hide the rest of it.
pub fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Err(misfit) = Settings::parse_before_legs("box.toml", &text) {
        let sentence = misfit.to_string();
        assert!(
            !sentence.chars().any(char::is_control),
            "a sentence that a terminal obeys: {sentence:?}"
        );
    }
    let shown = secret::without(&text);
    let Ok(table) = text.parse::<Table>() else {
        return;
    };
    let hashes = |table: &Table| -> Vec<String> {
        let all = |list: &str, key: &str| -> Vec<String> {
            let tables = table.get(list).and_then(Value::as_array);
            let tables = tables.into_iter().flatten();
            tables
                .filter_map(|table| Some(table.get(key)?.as_str()?.to_owned()))
                .collect()
        };
        [all("account", "password_hash"), all("san", "secret")].concat()
    };
    let shown_table: Table = shown.parse().expect("still settings");
    let kept = hashes(&shown_table);
    assert!(kept.iter().all(|hash| hash == secret::KEPT), "{shown}");
    assert!(!shown.contains("$argon2"), "{shown}");
    assert_eq!(kept.len(), hashes(&table).len());
    if let Ok(back) = secret::with(&shown, &table) {
        let back: Table = back.parse().expect("settings again");
        assert_eq!(hashes(&back).len(), kept.len());
    }
    assert_eq!(change::between(&table, &table), Default::default());
    let whole: Table = WHOLE.parse().expect("our own");
    let forth = change::between(&whole, &table);
    let same = forth.changes.is_empty() && forth.mistakes.is_empty();
    let back = change::between(&table, &whole);
    assert_eq!(same, back.changes.is_empty() && back.mistakes.is_empty());
}
