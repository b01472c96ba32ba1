//! Two Ringposts report to each other on the Internet of `internet.rs`: one what it saw of the other's mail (DMARC), the other what it saw of
//! the first one's servers (TLS). Each reads what it gets into figures, and nothing is reported about the reports.

use std::time::Instant;

use serde_json::Value;

use crate::daemon::{Home, PASSWORD};
use crate::internet::{Internet, WITHIN, configuration, forged, letter, missing, record, submit};

const HERE: &str = "127.25.25.27";
const THERE: &str = "127.25.25.26";

fn json(home: &Home, arguments: &[&str]) -> Value {
    let all = [&["--json"], arguments].concat();
    serde_json::from_str(&home.ctl_ok(&all)).expect("JSON")
}

/// The figures of a domain that `is_it` waits for.
fn figures(home: &Home, domain: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        // until they are there; bounded by WITHIN
        let shown = match home.ctl(&["--json", "report", "show", domain]) {
            output if output.status.success() => {
                serde_json::from_slice(&output.stdout).expect("JSON")
            }
            _ => Value::Null,
        };
        let days = shown["days"].as_array().cloned().unwrap_or_default();
        if let Some(day) = days.into_iter().find(&is_it) {
            return day;
        }
        assert!(begin.elapsed() < WITHIN, "no figures of {domain}: {shown}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn forged_mail_and_failed_tls_are_reported_to_their_domains_and_read_there() {
    if let Some(what) = missing(HERE).or(missing(THERE)) {
        assert!(std::env::var_os("RINGPOST_CI").is_none(), "{what}: missing");
        eprintln!("skipped: {what}: missing");
        return;
    }
    let internet = Internet::new();
    let (home, there) = (Home::with_leg_size("128MiB"), Home::with_leg_size("128MiB"));
    let begin = |home: &Home, name: &str, listen: &str, domains: &[&str], people: &[&str]| {
        let text = configuration(home, &internet, name, &format!("{listen}:25"));
        std::fs::write(home.directory.path().join("ringpost.toml"), text).expect("it is ours");
        let daemon = home.start();
        for domain in domains {
            home.ctl_ok(&["domain", "add", domain]);
        }
        for person in people {
            home.ctl_ok(&["account", "add", person, "--password", PASSWORD]);
        }
        home.ctl_ok(&["dkim", "make", domains[0], "--selector", "k1"]);
        home.ctl_ok(&["dkim", "activate", domains[0], "k1"]);
        daemon
    };
    let _there = begin(
        &there,
        "mx.there.example",
        THERE,
        &["there.example", "wrong.example"],
        &["carol@there.example", "postmaster@there.example"],
    );
    let _home = begin(
        &home,
        "mx.here.example",
        HERE,
        &["here.example"],
        &["alice@here.example", "postmaster@here.example"],
    );
    let key = record(&home, "here.example", "TXT", "k1._domainkey.");
    let their_key = record(&there, "there.example", "TXT", "k1._domainkey.");
    // What `domain dns` prints of reports is published, with a stricter policy.
    let dmarc = record(&home, "here.example", "TXT", "_dmarc.").replace("p=none", "p=reject");
    assert!(
        dmarc.contains("rua=mailto:postmaster@here.example"),
        "{dmarc}"
    );
    let their_dmarc = record(&there, "there.example", "TXT", "_dmarc.");
    let other = "00".repeat(32);
    let _internet = internet.serve(&[
        ("example", false, ""),
        (
            "here.example",
            false,
            &format!("@ MX 10 mx\nmx A {HERE}\n@ TXT \"v=spf1 -all\"\n{dmarc}\n{key}"),
        ),
        (
            "there.example",
            false,
            &format!("@ MX 10 mx\nmx A {THERE}\n{their_dmarc}\n{their_key}"),
        ),
        (
            "wrong.example",
            true,
            &format!(
                "@ MX 10 mx\nmx A {THERE}\n_25._tcp.mx TLSA 3 1 1 {other}\n_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:postmaster@there.example\""
            ),
        ),
    ]);
    submit(&home, "carol@there.example");
    submit(&home, "carol@wrong.example");
    letter(&there, "carol@there.example");
    let refused = forged(THERE, "alice@here.example", "carol@there.example");
    assert!(refused.starts_with("550 5.7.1"), "{refused}");

    // What they saw of our mail: one message good, one forged.
    let counted = figures(&there, "here.example", |day| {
        day["passed"] == 1 && day["failed"] == 1
    });
    assert_eq!(counted["received"], false);
    let sent = json(&there, &["report", "send", "--domain", "here.example"]);
    assert_eq!(sent[0]["to"][0], "mailto:postmaster@here.example", "{sent}");
    let again = json(&there, &["report", "send", "--domain", "here.example"]);
    assert_eq!(again.as_array().map(Vec::len), Some(0), "once: {again}");
    let report = letter(&home, "postmaster@here.example");
    for wanted in [
        "Report Domain: here.example",
        "\nDKIM-Signature: v=1; a=rsa-sha256",
        "Content-Type: application/gzip",
        "filename=\"mx.there.example!here.example!",
        "dkim=pass",
    ] {
        assert!(report.contains(wanted), "{wanted} is missing: {report}");
    }
    let heard = figures(&home, "here.example", |day| {
        day["received"] == true && day["kind"] == "dmarc"
    });
    assert_eq!(
        (&heard["passed"], &heard["failed"]),
        (&Value::from(1), &Value::from(1))
    );
    let lines = heard["lines"].as_array().expect("lines");
    let has_rejected = |line: &Value| line["fields"][1] == "reject" && line["passed"] == false;
    assert!(lines.iter().any(has_rejected), "{heard}");

    // What we saw of their servers: a certificate that is not the published one.
    figures(&home, "wrong.example", |day| {
        day["kind"] == "tls" && day["failed"].as_u64() > Some(0)
    });
    let sent = json(&home, &["report", "send", "--domain", "wrong.example"]);
    assert_eq!(
        sent[0]["to"][0], "mailto:postmaster@there.example",
        "{sent}"
    );
    let report = letter(&there, "postmaster@there.example");
    for wanted in [
        "TLS-Report-Domain: wrong.example",
        "TLS-Report-Submitter: mx.here.example",
        "Content-Type: application/tlsrpt+gzip",
    ] {
        assert!(report.contains(wanted), "{wanted} is missing: {report}");
    }
    let heard = figures(&there, "wrong.example", |day| {
        day["received"] == true && day["kind"] == "tls"
    });
    assert!(heard["failed"].as_u64() > Some(0), "{heard}");
    let fields = heard["lines"][0]["fields"].to_string();
    assert!(
        fields.contains("tlsa") && fields.contains("validation-failure"),
        "{fields}"
    );

    // Their domain wants reports too, and the only mail that came from it was a report.
    let all = json(&home, &["report", "list"]);
    let of_theirs = all.as_array().expect("a list").iter();
    let of_theirs = of_theirs.filter(|one| one["domain"] == "there.example");
    assert_eq!(of_theirs.count(), 0, "a report was reported on: {all}");
}
