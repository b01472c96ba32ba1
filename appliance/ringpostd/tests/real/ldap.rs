//! People in another directory: two servers of OpenLDAP (the package `slapd`), logins over IMAP, accounts made and disabled, and what is done while both
//! are away.

#[path = "../../../../core/ldap/tests/slapd/server.rs"]
mod server;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use server::{BASE, SEARCH, SECRET, Slapd, group, is_installed, person};

use crate::daemon::{Home, said};

fn people() -> String {
    [
        person("ada", &["ada@example.org", "a.lovelace@example.org"]),
        person("bob", &["bob@example.org"]),
        person("eve", &["eve@example.org"]),
        person("zoe", &["zoe@example.org"]),
        group("team", Some("team@example.org"), &["uid=ada", "cn=inner"]),
        group("inner", None, &["uid=bob", "cn=team"]),
    ]
    .concat()
}

/// A certificate for `localhost`, and its key.
fn pair() -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let made = params.self_signed(&key).expect("a certificate");
    (made.pem(), key.serialize_pem())
}

/// The daemon asks these servers, over StartTLS.
fn configure(home: &Home, servers: &[&Slapd], authorities: &str, more: &str) {
    let place = home.directory.path();
    fs::write(place.join("ca.pem"), authorities).expect("it is ours");
    let secret = place.join("ldap.password");
    fs::write(&secret, format!("{SECRET}\n")).expect("it is ours");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let urls: Vec<String> = servers
        .iter()
        .map(|slapd| format!("ldap://localhost:{}", slapd.port()))
        .collect();
    home.configure(&format!(
        "imap = [\"{}\"]\n[login]\nplaintext = \"loopback\"\n[[domain]]\nname = \"example.org\"\n\
         [ldap]\nservers = {urls:?}\nca = {:?}\nbind_dn = \"{SEARCH}\"\nbind_password_file = {secret:?}\nbase = \"{BASE}\"\n\
         domains = [\"example.org\"]\ndisabled = \"employeeType\"\ndeadline = \"20s\"\n{more}",
        home.at(143),
        place.join("ca.pem"),
    ));
}

/// The answer to LOGIN.
fn login(home: &Home, user: &str, password: &str) -> String {
    let stream = TcpStream::connect(home.imap()).expect("a connection");
    let within = Some(std::time::Duration::from_secs(120));
    stream.set_read_timeout(within).expect("a socket");
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).expect("a greeting");
    let command = format!("a LOGIN \"{user}\" \"{password}\"\r\n");
    stream
        .get_mut()
        .write_all(command.as_bytes())
        .expect("sent");
    loop {
        // until it is answered
        line.clear();
        assert!(stream.read_line(&mut line).expect("a line") > 0, "closed");
        if let Some(answer) = line.strip_prefix("a ") {
            return answer.trim_end().to_owned();
        }
    }
}

fn json(home: &Home, arguments: &[&str]) -> Value {
    let text = home.ctl_ok(&[&["--json", "ldap"], arguments].concat());
    serde_json::from_str(&text).expect("JSON")
}

const AWAY: &str = "NO [UNAVAILABLE]";
const WRONG: &str = "NO [AUTHENTICATIONFAILED]";

#[test]
fn a_person_logs_in_also_while_servers_are_away() {
    if !is_installed() {
        return;
    }
    let (one, two) = (pair(), pair());
    let mut first = Slapd::start(&people(), Some((&one.0, &one.1)));
    let mut second = Slapd::start(&people(), Some((&two.0, &two.1)));
    let home = Home::new();
    let authorities = format!("{}{}", one.0, two.0);
    configure(
        &home,
        &[&first, &second],
        &authorities,
        "create_accounts = true\n",
    );
    let daemon = home.start();
    home.ctl_ok(&[
        "account",
        "add",
        "local@example.org",
        "--password",
        "local secret",
    ]);
    for (user, password) in [
        ("ada", "pass bob"),
        ("ada", ""),
        ("stranger", "pass ada"),
        ("*)(uid=*", "pass ada"),
    ] {
        assert!(login(&home, user, password).starts_with(WRONG), "{user}");
    }
    assert!(!home.ctl_ok(&["account", "list"]).contains("ada"));
    assert!(login(&home, "a.lovelace@example.org", "pass ada").starts_with("OK "));
    assert!(
        home.ctl_ok(&["account", "list"])
            .contains("ada@example.org")
    );
    assert!(login(&home, "ada", "pass ada").starts_with("OK "));
    assert!(login(&home, "local", "local secret").starts_with("OK "));
    let ada = json(&home, &["check", "ada@example.org"]);
    assert_eq!(
        (&ada["account"], &ada["found"]),
        (&"ldap".into(), &true.into()),
        "{ada}"
    );
    assert_eq!(
        json(&home, &["check", "local@example.org"])["account"],
        "local"
    );
    // The first one is gone: a new user is let in by the second.
    first.stop();
    assert!(login(&home, "bob", "pass bob").starts_with("OK "));
    let status = json(&home, &["status"]);
    assert_eq!(status["servers"][0]["up"], false, "{status}");
    assert_eq!(status["servers"][1]["up"], true, "{status}");
    let metrics = home.ctl_ok(&["metrics"]);
    let down = format!(
        "ringpost_ldap_up{{server=\"ldap://localhost:{}\"}} 0\n",
        first.port()
    );
    assert!(metrics.contains(&down), "{metrics}");
    assert!(home.ctl_ok(&["status"]).contains("does not serve"));
    // Both are, and what was remembered is gone with a restart.
    second.stop();
    daemon.kill();
    let daemon = home.start();
    assert!(
        login(&home, "ada", "pass ada").starts_with("OK "),
        "it is kept"
    );
    for (user, password) in [("ada", "pass new"), ("zoe", "pass zoe")] {
        assert!(login(&home, user, password).starts_with(AWAY), "{user}");
    }
    assert!(login(&home, "local", "local secret").starts_with("OK "));
    assert!(login(&home, "local", "wrong").starts_with(WRONG));
    let output = home.ctl(&["ldap", "sync"]);
    assert!(
        !output.status.success() && said(&output).contains("was not read"),
        "{}",
        said(&output)
    );
    let words = daemon.words();
    for secret in [SECRET, "pass ada", "pass new"] {
        assert!(!words.contains(secret), "in the log");
    }
}

#[test]
fn a_reading_brings_everybody_here_and_disables_who_is_gone() {
    if !is_installed() {
        return;
    }
    let pair = pair();
    let slapd = Slapd::start(&people(), Some((&pair.0, &pair.1)));
    let home = Home::new();
    configure(&home, &[&slapd], &pair.0, "sync_disables_max = 50\n");
    let _daemon = home.start();
    // This address is taken already.
    home.ctl_ok(&[
        "account",
        "add",
        "zoe@example.org",
        "--password",
        "local secret",
    ]);
    let dry = json(&home, &["sync", "--dry-run"]);
    assert_eq!(dry["changes_total"], 6, "{dry}");
    assert!(!home.ctl_ok(&["account", "list"]).contains("ada"));
    let made = json(&home, &["sync"]);
    assert_eq!(
        (&made["changes_total"], &made["failed"]),
        (&5.into(), &0.into()),
        "{made}"
    );
    assert!(
        made["notes"].to_string().contains("zoe@example.org"),
        "{made}"
    );
    let accounts = home.ctl_ok(&["account", "list"]);
    for name in ["ada@", "bob@", "eve@"] {
        assert!(accounts.contains(name), "{accounts}");
    }
    assert!(
        home.ctl_ok(&["alias", "show", "a.lovelace@example.org"])
            .contains("ada@example.org")
    );
    let team = home.ctl_ok(&["group", "show", "team@example.org"]);
    assert!(team.contains("ada@") && team.contains("bob@"), "{team}");
    assert!(
        login(&home, "zoe", "local secret").starts_with("OK "),
        "it stays as it is"
    );
    assert!(login(&home, "eve", "pass eve").starts_with("OK "));
    // One is gone, one is disabled, an address and a member too.
    slapd.change(&format!("dn: uid=eve,{BASE}\nchangetype: delete\n"));
    slapd.change(&format!(
        "dn: uid=ada,{BASE}\nchangetype: modify\ndelete: mail\nmail: a.lovelace@example.org\n"
    ));
    slapd.change(&format!(
        "dn: cn=inner,{BASE}\nchangetype: modify\ndelete: member\nmember: uid=bob,{BASE}\n"
    ));
    let changed = json(&home, &["sync"]);
    assert_eq!(changed["stopped"], Value::Null, "{changed}");
    assert!(login(&home, "eve", "pass eve").starts_with(WRONG));
    assert!(
        home.ctl_ok(&["account", "list"]).contains("eve@"),
        "its mail is kept"
    );
    assert!(
        !home
            .ctl(&["alias", "show", "a.lovelace@example.org"])
            .status
            .success()
    );
    assert!(
        !home
            .ctl_ok(&["group", "show", "team@example.org"])
            .contains("bob@")
    );
    assert_eq!(json(&home, &["status"])["disabled"], 1);
    // A directory that was emptied locks no user out.
    for name in ["ada", "bob"] {
        slapd.change(&format!("dn: uid={name},{BASE}\nchangetype: delete\n"));
    }
    let output = home.ctl(&["--json", "ldap", "sync"]);
    assert_eq!(output.status.code(), Some(1));
    let stopped: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(
        stopped["stopped"]
            .as_str()
            .is_some_and(|why| why.contains("2 of 2")),
        "{stopped}"
    );
    assert!(home.ctl_ok(&["status"]).contains("changed nothing"));
    assert_eq!(json(&home, &["status"])["disabled"], 1);
    json(&home, &["sync", "--force"]);
    assert_eq!(json(&home, &["status"])["disabled"], 3);
    // They come back.
    slapd.change(&format!("dn: uid=bob,{BASE}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: bob\ncn: bob\nsn: bob\nuserPassword: pass bob\nmail: bob@example.org\n"));
    json(&home, &["sync"]);
    assert!(login(&home, "bob", "pass bob").starts_with("OK "));
}

#[test]
fn settings_that_cannot_work_are_refused_before_a_leg_is_made() {
    let home = Home::new();
    let secret = home.directory.path().join("secret");
    fs::write(&secret, "secret\n").expect("it is ours");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let begin = "[ldap]\nservers = [\"ldaps://localhost\"]\nbase = \"dc=example\"\ndomains = [\"example.org\"]\n";
    for (more, why) in [
        (
            format!("bind_dn = \"cn=a\"\nbind_password_file = {secret:?}\n"),
            "chmod 600",
        ),
        (
            "user_filter = \"(uid={user}\"\n".to_owned(),
            "ldap.user_filter",
        ),
        ("ca = \"/nowhere.pem\"\n".to_owned(), "ldap.ca"),
    ] {
        home.configure(&format!("{begin}{more}"));
        let Err(words) = home.try_start() else {
            panic!("{more} was taken")
        };
        assert!(words.contains(why), "{words}");
        assert!(home.legs().is_empty());
    }
}
