//! Administration from another machine: HTTPS, with a client certificate or not at all.

use std::path::Path;
use std::process::{Command, Output};

use crate::daemon::{Home, bounded, said};

/// Makes an authority with one administrator in `directory`.
fn administrators(home: &Home, directory: &str) -> std::path::PathBuf {
    let to = home.directory.path().join(directory);
    home.ctl_ok(&["admin-cert", &to.to_string_lossy(), "--name", "anna"]);
    to
}

/// `ringpostctl --host …` as who is named in `directory`.
fn remote(home: &Home, directory: &Path, arguments: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_ringpostd")).with_file_name("ringpostctl");
    bounded(
        Command::new(program)
            .arg("--host")
            .arg(format!("https://{}", home.at(443)))
            .arg("--cert")
            .arg(directory.join("anna.pem"))
            .arg("--key")
            .arg(directory.join("anna-key.pem"))
            .arg("--ca")
            .arg(home.state().join("certificate.pem"))
            .args(arguments),
    )
}

#[test]
fn an_administrator_with_a_certificate_does_everything_from_afar() {
    let home = Home::new();
    let anna = administrators(&home, "ours");
    let authority = std::fs::read_to_string(anna.join("ca.pem")).expect("made");
    home.configure(&format!("[admin]\nclient_ca = \"\"\"\n{authority}\"\"\"\n"));
    let _daemon = home.start();
    for arguments in [
        &["domain", "add", "example.com"][..],
        &[
            "account",
            "add",
            "dora@example.com",
            "--password",
            "a secret",
        ],
        &["leg", "list"],
        &["fsck", "quick"],
        &["time"],
    ] {
        let output = remote(&home, &anna, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    }
    let accounts = remote(&home, &anna, &["account", "list"]);
    assert!(
        said(&accounts).contains("dora@example.com"),
        "{}",
        said(&accounts)
    );
    let logs = remote(&home, &anna, &["logs"]);
    assert!(said(&logs).contains("AccountAdd"), "{}", said(&logs));
    let bundle = remote(&home, &anna, &["support-bundle"]);
    let text = said(&bundle);
    assert!(
        text.contains("ringpost_leg") && text.contains("in_sync"),
        "{text}"
    );
    assert!(
        !text.contains("argon2") && !text.contains("PRIVATE KEY"),
        "a secret is in it"
    );
}

#[test]
fn who_has_no_certificate_of_ours_administers_nothing() {
    let home = Home::new();
    let anna = administrators(&home, "ours");
    let stranger = administrators(&home, "theirs");
    home.configure(&format!("[admin]\nclient_ca = {:?}\n", anna.join("ca.pem")));
    let _daemon = home.start();
    // The reason, every time: also when the connection breaks while the request is being written.
    for _ in 0..6 {
        let refused = remote(&home, &stranger, &["status"]);
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        assert!(said(&refused).contains("ca.pem"), "{}", said(&refused));
    }
    std::fs::copy(anna.join("anna.pem"), stranger.join("anna.pem")).expect("our own files");
    let refused = remote(&home, &stranger, &["status"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(
        said(&refused).contains("is not the key of"),
        "{}",
        said(&refused)
    );

    let url = |path: &str| format!("https://{}{path}", home.at(443));
    let curl = |arguments: &[&str], path: &str| {
        said(&bounded(
            Command::new("curl")
                .args(["-sk", "--max-time", "20"])
                .args(arguments)
                .arg(url(path)),
        ))
    };
    let status = r#"{"verb":"status"}"#;
    assert!(curl(&["-d", status], "/admin/v1").contains("client certificate"));
    assert!(
        curl(&["-T", "/dev/null"], "/admin/v1/upload/ringpost.efi").contains("client certificate")
    );
    assert!(
        curl(&[], "/healthz").contains("alive"),
        "monitoring needs none"
    );
    assert!(remote(&home, &anna, &["status"]).status.success());
}

#[test]
fn without_an_authority_nobody_administers_from_afar() {
    let home = Home::new();
    let anna = administrators(&home, "ours");
    home.configure("");
    let _daemon = home.start();
    let refused = remote(&home, &anna, &["status"]);
    assert!(said(&refused).contains("client_ca"), "{}", said(&refused));
}

#[test]
fn what_only_an_appliance_can_do_is_refused_elsewhere() {
    let home = Home::new();
    home.configure("");
    let _daemon = home.start();
    for arguments in [
        &["update", "status"][..],
        &["reboot"],
        &["factory-reset", "--yes"],
    ] {
        let refused = home.ctl(arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        assert!(
            said(&refused).contains("not an appliance"),
            "{arguments:?}: {}",
            said(&refused)
        );
    }
    assert!(!home.state().join("factory-reset").exists());
}

fn an_ended_certificate_is_shown_only_when_that_is_meant(home: &Home) {
    let [chain, key] = ["ended.pem", "ended-key.pem"].map(|name| {
        let path = home.directory.path().join(name);
        path.to_string_lossy().into_owned()
    });
    let mut params =
        rcgen::CertificateParams::new(["mail.example.org".to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let pair = rcgen::KeyPair::generate().expect("a key");
    let ended = params.self_signed(&pair).expect("signed");
    std::fs::write(&chain, ended.pem()).expect("written");
    std::fs::write(&key, pair.serialize_pem()).expect("written");
    let refused = home.ctl(&["certificate", "set", &chain, &key]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let words = said(&refused);
    assert!(
        words.contains("2021-01-01") && words.contains("--yes"),
        "{words}"
    );
    assert!(
        !home.ctl_ok(&["status"]).contains("2021-01-01"),
        "nothing has changed"
    );
    home.ctl_ok(&["certificate", "set", "--yes", &chain, &key]);
    let status = home.ctl_ok(&["status"]);
    assert!(
        status.contains("expired on 2021-01-01"),
        "an alarm: {status}"
    );
}

#[test]
fn a_new_certificate_is_shown_without_a_restart() {
    let home = Home::new();
    let anna = administrators(&home, "ours");
    home.configure(&format!("[admin]\nclient_ca = {:?}\n", anna.join("ca.pem")));
    let _daemon = home.start();
    assert!(
        home.ctl_ok(&["certificate", "show"])
            .contains("mail.example.org")
    );
    let path = |name: &str| anna.join(name).to_string_lossy().into_owned();
    let refused = home.ctl(&["certificate", "set", &path("anna.pem"), &path("ca-key.pem")]);
    assert_eq!(
        refused.status.code(),
        Some(1),
        "another's key: {}",
        said(&refused)
    );
    assert!(
        remote(&home, &anna, &["status"]).status.success(),
        "nothing has changed"
    );
    home.ctl_ok(&[
        "certificate",
        "set",
        &path("anna.pem"),
        &path("anna-key.pem"),
    ]);
    assert!(home.ctl_ok(&["certificate", "show"]).contains("anna"));
    assert!(
        home.ctl_ok(&["metrics"])
            .contains("ringpost_certificate_ends_timestamp_seconds ")
    );
    let refused = remote(&home, &anna, &["status"]);
    assert_eq!(
        refused.status.code(),
        Some(1),
        "anna's is not for this host: {}",
        said(&refused)
    );
    an_ended_certificate_is_shown_only_when_that_is_meant(&home);
}

/// The second version of autodiscover and Apple's profile; `get`: what a host has at a path, with the status and the media type behind it.
fn programs_find_the_other_forms(get: impl Fn(&str, &str) -> String) {
    let second = "/autodiscover/autodiscover.json?Email=someone%40example.org&Protocol=";
    let first = format!("{second}AutodiscoverV1");
    let served = get("autodiscover.example.org", &first);
    let wanted = "{\"Protocol\":\"AutodiscoverV1\",\"Url\":\"https://autodiscover.example.org/autodiscover/autodiscover.xml\"}200 application/json";
    assert!(served.starts_with(wanted), "{served}");
    let profile = "/email.mobileconfig?email=someone%40example.org";
    let served = get("autoconfig.example.org", profile);
    for wanted in [
        "<key>IncomingMailServerHostName</key>\n      <string>mail.example.org</string>",
        "<string>someone@example.org</string>",
        "200 application/x-apple-aspen-config",
    ] {
        assert!(served.contains(wanted), "{wanted} in {served}");
    }
    let exchange = format!("{second}ActiveSync");
    let abroad = first.replace("example.org", "example.net");
    for (host, path) in [
        ("autodiscover.example.org", exchange.as_str()),
        ("autodiscover.example.net", first.as_str()),
        ("autodiscover.example.net", abroad.as_str()),
        ("autoconfig.example.net", profile),
        ("mail.example.org", profile),
    ] {
        let refused = get(host, path);
        assert!(refused.contains("404"), "{host}{path}: {refused}");
    }
}

/// MTA-STS: what senders fetch is on a listener of its own, without metrics and administration.
#[test]
fn strangers_fetch_the_policy_of_our_domains_and_nothing_else() {
    let home = Home::new();
    let (policy, pop3s, submissions) = (home.at(444), home.at(995), home.at(465));
    home.configure(&format!(
        "policy = [\"{policy}\"]\npop3s = [\"{pop3s}\"]\nsubmissions = [\"{submissions}\"]\n"
    ));
    let path = home.directory.path().join("ringpost.toml");
    let text = std::fs::read_to_string(&path).expect("written");
    let text = text.replace("[inbound]\n", "[inbound]\npolicy = \"enforce\"\n");
    std::fs::write(&path, text).expect("written");
    let _daemon = home.start();
    home.ctl_ok(&["domain", "add", "example.org"]);
    let get = |host: &str, path: &str| {
        let output = bounded(
            Command::new("curl")
                .args([
                    "-sk",
                    "--max-time",
                    "20",
                    "-w",
                    "%{http_code} %{content_type}",
                ])
                .args(["-H", &format!("Host: {host}")])
                .arg(format!("https://{}{path}", home.at(444))),
        );
        said(&output)
    };
    let policy = "/.well-known/mta-sts.txt";
    let served = get("mta-sts.example.org", policy);
    let wanted = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmax_age: 1209600\r\n200 text/plain";
    assert!(served.starts_with(wanted), "{served}");
    for (host, path) in [
        ("mta-sts.example.net", policy),
        ("example.org", policy),
        ("mta-sts.example.org", "/metrics"),
        ("mta-sts.example.org", "/admin/v1"),
    ] {
        let refused = get(host, path);
        assert!(refused.contains("404"), "{host}{path}: {refused}");
    }
    // What mail programs are set up with says nothing of who is here.
    let document = "/mail/config-v1.1.xml?emailaddress=someone%40example.org";
    let served = get("autoconfig.example.org", document);
    for wanted in [
        "<hostname>mail.example.org</hostname>",
        "<socketType>SSL</socketType>",
        "<incomingServer type=\"pop3\">",
        "%EMAILADDRESS%",
        "200 text/xml",
    ] {
        assert!(served.contains(wanted), "{wanted} in {served}");
    }
    let place = |kind: &str| served.find(&format!("type=\"{kind}\""));
    assert!(place("imap") < place("pop3"), "{served}");
    let refused = get("autoconfig.example.net", document);
    assert!(refused.contains("404"), "{refused}");
    let discover = |host: &str, body: &str| {
        let url = format!("https://{}/autodiscover/autodiscover.xml", home.at(444));
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--max-time", "20", "-w", "%{http_code}"]);
        curl.args(["-H", &format!("Host: {host}"), "--data-binary", body, &url]);
        said(&bounded(&mut curl))
    };
    let request = "<EMailAddress>someone@example.org</EMailAddress>";
    let served = discover("autodiscover.example.org", request);
    for wanted in [
        "<LoginName>someone@example.org</LoginName>",
        "<Type>POP3</Type>",
        "<Port>",
        "200",
    ] {
        assert!(served.contains(wanted), "{wanted} in {served}");
    }
    let long = "x".repeat(20_000);
    for (host, body, wanted) in [
        ("autodiscover.example.net", request, "404"),
        ("autodiscover.example.org", "<EMailAddress>", "404"),
        ("autodiscover.example.org", long.as_str(), "413"),
    ] {
        let refused = discover(host, body);
        assert!(refused.ends_with(wanted), "{host}: {refused}");
    }
    programs_find_the_other_forms(get);
    let url = format!("https://{}{policy}", home.at(444));
    let twice = bounded(
        Command::new("curl")
            .args([
                "-sk",
                "--max-time",
                "20",
                "-o",
                "/dev/null",
                "-o",
                "/dev/null",
            ])
            .args(["-w", "%{num_connects} ", "-H", "Host: mta-sts.example.org"])
            .args([&url, &url]),
    );
    assert_eq!(said(&twice), "1 1 ", "a stranger's place is given back");
    let dns = said(&home.ctl(&["domain", "dns", "example.org"]));
    assert!(
        dns.contains("_mta-sts.example.org. IN TXT \"v=STSv1; id="),
        "{dns}"
    );
    let record = format!(
        "_pop3s._tcp.example.org. IN SRV 10 1 {} mail.example.org.",
        pop3s.port()
    );
    assert!(dns.contains(&record), "{dns}");
}
