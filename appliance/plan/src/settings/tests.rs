//! The page about the settings says what the code takes, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const PAGE: &str = include_str!("../../../REFERENCE-SETTINGS.md");

/// Tables with keys: as they are written, and the name before their keys.
const TABLES: &[(&str, &str)] = &[
    ("[server]", "server"),
    ("[volume]", "volume"),
    ("[spool]", "spool"),
    ("[listen]", "listen"),
    ("[tls]", "tls"),
    ("[[tls.certificates]]", "tls.certificates"),
    ("[acme]", "acme"),
    ("[acme.dns]", "acme.dns"),
    ("[login]", "login"),
    ("[ldap]", "ldap"),
    ("[fetch]", "fetch"),
    ("[[oauth]]", "oauth"),
    ("[client]", "client"),
    ("[inbound]", "inbound"),
    ("[dns]", "dns"),
    ("[admin]", "admin"),
    ("[limits]", "limits"),
    ("[zones]", "zones"),
    ("[peers]", "peers"),
    ("[front]", "front"),
    ("[[front.storage]]", "front.storage"),
    ("[inbound.recipients]", "inbound.recipients"),
    ("[[inbound.storage]]", "inbound.storage"),
    ("[memory]", "memory"),
    ("[log]", "log"),
    ("[trace]", "trace"),
    ("[outbound]", "outbound"),
    ("[[outbound.sources]]", "outbound.sources"),
    ("[time]", "time"),
    ("[network]", "network"),
    ("[[network.interface]]", "network.interface"),
    ("[[network.bond]]", "network.bond"),
    ("[[network.vlan]]", "network.vlan"),
    ("[door]", "door"),
    ("[[door.list]]", "door.list"),
    ("[scan]", "scan"),
    ("[[scan.milter]]", "scan.milter"),
    ("[spam]", "spam"),
    ("[quarantine]", "quarantine"),
    ("[imap]", "imap"),
    ("[[imap.hide]]", "imap.hide"),
    ("[pop3]", "pop3"),
    ("[[pop3.keep]]", "pop3.keep"),
    ("[reports]", "reports"),
    ("[[san]]", "san"),
    ("[[domain]]", "domain"),
    ("[[account]]", "account"),
];

/// Keys that the code knows in `table`, as serde lists them when it is given one that it does not know.
fn keys(table: &str) -> Vec<String> {
    let text = format!("{table}\nzzzzzzzzzzzzzzzzzzzzzzzzzz = 1\n");
    let refused = Settings::parse("s", &text)
        .expect_err("an unknown key")
        .to_string();
    let listed = refused
        .split_once("write one of ")
        .unwrap_or_else(|| panic!("{table}: {refused}"))
        .1;
    listed
        .split(", ")
        .map(|key| key.trim().trim_matches('`').to_owned())
        .collect()
}

/// The page's rows: key to the cell of its default.
fn rows() -> BTreeMap<String, String> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (key, rest) = row.split_once('`').expect("a closed key");
        let default = rest.split('|').nth(1).unwrap_or("").trim();
        (key.to_owned(), default.to_owned())
    })
    .collect()
}

#[test]
fn every_key_is_on_the_page_and_no_other() {
    let is_table = |name: &str| TABLES.iter().any(|(_, prefix)| *prefix == name);
    let mut known = BTreeSet::new();
    for (table, prefix) in TABLES {
        for key in keys(table) {
            let key = format!("{prefix}.{key}");
            // A table is described by its keys.
            if !is_table(&key) {
                known.insert(key);
            }
        }
    }
    let described: BTreeSet<String> = rows().into_keys().collect();
    let missing: Vec<_> = known.difference(&described).collect();
    let gone: Vec<_> = described.difference(&known).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "appliance/REFERENCE-SETTINGS.md: add {missing:?}, remove {gone:?}"
    );
    for table in keys("") {
        assert!(is_table(&table), "`{table}` is not looked at here");
    }
}

#[test]
fn the_page_names_the_defaults_of_the_code() {
    let server = Server::default();
    let limits = Limits::default();
    let number = |count: usize| count.to_string();
    let defaults = [
        ("server.name", server.name),
        ("server.state", server.state.display().to_string()),
        ("volume.leg_size", leg_size_default().to_string()),
        (
            "volume.compression",
            compression_default().get_ref().to_string(),
        ),
        ("spool.leg_size", Spool::default().leg_size.to_string()),
        ("limits.message", limits.message.get_ref().to_string()),
        ("limits.smtp_connections", number(SMTP_CONNECTIONS_DEFAULT)),
        ("limits.lmtp_connections", number(LMTP_CONNECTIONS_DEFAULT)),
        ("limits.imap_connections", number(IMAP_CONNECTIONS_DEFAULT)),
        ("limits.pop3_connections", number(POP3_CONNECTIONS_DEFAULT)),
        (
            "limits.managesieve_connections",
            number(MANAGESIEVE_CONNECTIONS_DEFAULT),
        ),
        ("limits.http_connections", number(HTTP_CONNECTIONS_DEFAULT)),
        ("log.level", Log::default().level),
        ("scan.message", Scan::default().message.to_string()),
        ("scan.connections", number(Scan::default().connections)),
    ];
    let rows = rows();
    for (key, default) in defaults {
        let cell = rows[key].trim_matches('`');
        assert!(
            cell == default || cell.starts_with(&format!("{default},")),
            "{key}: the page says `{cell}`, the code {default}"
        );
    }
}

/// What an image is tried out with can be started, and people can send with it.
#[test]
fn the_example_of_the_image_is_right_and_takes_submissions() {
    let text = include_str!("../../../../image/example.toml");
    let settings = Settings::parse("example.toml", text).expect("right");
    let ports = |addresses: &[SocketAddr]| {
        let ports = addresses.iter().map(|address| address.port());
        ports.collect::<Vec<u16>>()
    };
    assert_eq!(ports(&settings.listen.submission), [587]);
    assert_eq!(ports(&settings.listen.submissions), [465]);
    assert_eq!(settings.login.plaintext, Plaintext::Never);
}
