//! Records as a world in memory has them, and what the check says.

use device::sim::SimWorld;
use dns::Table;

use super::*;
use crate::admin::domain_dns::records;
use crate::admin::domain_dns::tests::facts;

/// What is checked of `example.org`, once `change` had its way with a world in which all is right.
fn checked(change: impl FnOnce(&Table, &DomainDns)) -> Vec<(String, String, Verdict, String)> {
    let dns = records(&facts()).expect("records");
    let world = SimWorld::new(1);
    let table = Table::new(&world.io().host, 1);
    publish(&table, &dns);
    change(&table, &dns);
    let result = world.block_on(async { check(&table, &dns).await });
    let all_right = result
        .lines
        .iter()
        .all(|line| line.verdict == Verdict::Right);
    assert_eq!(result.right, all_right);
    let lines = result.lines.into_iter();
    lines
        .map(|line| (line.kind, line.name, line.verdict, line.why))
        .collect()
}

fn publish(table: &Table, dns: &DomainDns) {
    let host = dns.host.as_str();
    let addresses = |name: &str| -> Vec<IpAddr> {
        dns.records
            .iter()
            .filter(|record| record.name == name && matches!(record.kind.as_str(), "A" | "AAAA"))
            .map(|record| record.value.parse().expect("an address"))
            .collect()
    };
    let policy_server = policy_server(&dns.domain);
    table.set_addresses(&policy_server, &addresses(&policy_server));
    let addresses = addresses(host);
    table.set_addresses(host, &addresses);
    for address in addresses {
        table.set_names_of(address, &[host]);
    }
    table.set_exchangers(&dns.domain, &[(10, host)]);
    for record in &dns.records {
        match record.kind.as_str() {
            "TXT" => table.set_texts(&record.name, &[&record.value]),
            "SRV" => {
                let mut words = record.value.split(' ');
                let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
                let (priority, weight, port) = (number(), number(), number());
                table.set_services(&record.name, &[(priority, weight, port, host)]);
            }
            _ => {}
        }
    }
}

/// The verdict on the one record of `kind` whose name begins with `name`, and its reason.
fn verdict(kind: &str, name: &str, change: impl FnOnce(&Table, &DomainDns)) -> (Verdict, String) {
    let lines = checked(change);
    let mut found = lines
        .into_iter()
        .filter(|(of, at, _, _)| of == kind && at.starts_with(name));
    let (_, _, verdict, why) = found.next().expect("it is checked");
    (verdict, why)
}

#[test]
fn all_is_right_as_it_is_printed() {
    for (kind, name, verdict, why) in checked(|_, _| {}) {
        assert_eq!(verdict, Verdict::Right, "{kind} {name}: {why}");
    }
}

#[test]
fn nothing_published_is_missing_and_no_answer_is_unknown() {
    let all = checked(|table, dns| {
        for record in &dns.records {
            table.remove(&record.name);
        }
    });
    // A certificate need not be published, and neither need the names under which mail programs ask.
    let verdict_of = |kind: &str, name: &str| {
        let is_for_programs = name.contains("autoconfig") || name.contains("autodiscover");
        match kind == "TLSA" || is_for_programs {
            true => Verdict::Right,
            false => Verdict::Missing,
        }
    };
    let is_as_wanted =
        |line: &(String, String, Verdict, String)| line.2 == verdict_of(&line.0, &line.1);
    assert!(all.len() == 23 && all.iter().all(is_as_wanted), "{all:?}");
    let (found, _) = verdict("A", "autoconfig", |table, _| {
        let other = "198.51.100.9".parse().expect("an address");
        table.set_addresses("autoconfig.example.org", &[other]);
    });
    assert_eq!(found, Verdict::Wrong);
    let all = checked(|table, dns| {
        for record in &dns.records {
            table.set_failing(&record.name, Some("SERVFAIL"));
        }
    });
    assert!(all.iter().all(|line| line.2 == Verdict::Unknown), "{all:?}");
    assert!(
        all.iter().all(|line| line.3.contains("SERVFAIL")),
        "{all:?}"
    );
    // A name with other records than the one that is wanted.
    let (found, _) = verdict("TXT", "_dmarc", |table, _| {
        table.set_texts("_dmarc.example.org", &["google-site-verification=1"]);
    });
    assert_eq!(found, Verdict::Missing);
}

#[test]
fn mail_must_come_here() {
    let with = |exchangers: &[(u16, &str)]| {
        verdict("MX", "example.org", |table, _| {
            table.set_exchangers("example.org", exchangers);
        })
    };
    let (found, why) = with(&[(10, "other.example"), (20, ".")]);
    assert_eq!(found, Verdict::Wrong);
    assert!(
        why.contains("other.example") && why.contains("not to mx.example.org"),
        "{why}"
    );
    let (found, why) = with(&[(10, "MX.example.ORG."), (20, "other.example")]);
    assert_eq!(found, Verdict::Right);
    assert!(why.contains("and to other.example"), "{why}");
}

#[test]
fn spf_names_this_appliance_once_and_not_everybody() {
    let with = |texts: &[&str]| {
        verdict("TXT", "example.org", |table, _| {
            table.set_texts("example.org", texts);
        })
    };
    for (texts, expected) in [
        (&["v=spf1 mx -all"][..], Verdict::Right),
        (
            &["v=spf1 include:x.example +MX -all", "other=1"],
            Verdict::Right,
        ),
        (&["V=SPF1 a:mx.example.org ~all"], Verdict::Right),
        (&["v=spf1 include:x.example -all"], Verdict::Unknown),
        (&["v=spf1 ip4:192.0.2.1 -all"], Verdict::Unknown),
        (&["v=spf1 redirect=x.example"], Verdict::Unknown),
        (&["v=spf1 -all"], Verdict::Wrong),
        (&["v=spf1 mx +all"], Verdict::Wrong),
        (&["v=spf1 mx all"], Verdict::Wrong),
        (&["v=spf1 mx -all", "v=spf1 -all"], Verdict::Wrong),
        (&["v=spf10 mx -all"], Verdict::Missing),
        (&[], Verdict::Missing),
    ] {
        let (found, why) = with(texts);
        assert_eq!(found, expected, "{texts:?}: {why}");
    }
}

#[test]
fn a_key_is_the_one_of_the_directory() {
    let name = "e1._domainkey.example.org";
    let with = |change: &dyn Fn(&str) -> Vec<String>| {
        verdict("TXT", name, |table, dns| {
            let mut records = dns.records.iter();
            let record = records.find(|record| record.name == name).expect("a key");
            let texts = change(&record.value);
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            table.set_texts(name, &texts);
        })
    };
    let spaced = |text: &str| vec![text.replace("p=", " p = ").replace("; ", ";")];
    assert_eq!(with(&spaced).0, Verdict::Right);
    let short = |text: &str| vec![format!("p={}", tag(text, "p").unwrap())];
    assert_eq!(with(&short).0, Verdict::Right);
    for (change, word) in [
        (
            &(|_: &str| vec!["v=DKIM1; p=".to_owned()]) as &dyn Fn(&str) -> Vec<String>,
            "revokes",
        ),
        (
            &|_| vec!["v=DKIM1; k=ed25519; p=AAAA".to_owned()],
            "another key",
        ),
        (&|_| vec!["v=DKIM1".to_owned()], "no p="),
        (
            &|text| vec![text.to_owned(), text.to_owned()],
            "2 TXT records",
        ),
    ] {
        let (found, why) = with(change);
        assert_eq!(found, Verdict::Wrong, "{why}");
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn policies_are_single_and_complete() {
    let with = |name: &str, texts: &[&str]| {
        let name = format!("{name}.example.org");
        verdict("TXT", &name, |table, _| table.set_texts(&name, texts)).0
    };
    assert_eq!(
        with("_dmarc", &["v=DMARC1;p=reject; adkim=s"]),
        Verdict::Right
    );
    assert_eq!(with("_dmarc", &["v=DMARC1; p=nope"]), Verdict::Wrong);
    assert_eq!(
        with("_dmarc", &["v=DMARC1; p=none", "v=DMARC1; p=none"]),
        Verdict::Wrong
    );
    assert_eq!(
        with("_smtp._tls", &["v=TLSRPTv1; rua=https://x.example/"]),
        Verdict::Right
    );
    assert_eq!(with("_smtp._tls", &["v=TLSRPTv1"]), Verdict::Wrong);
}

#[test]
fn services_and_addresses_lead_here() {
    let name = "_submissions._tcp.example.org";
    let with = |port| {
        verdict("SRV", name, |table, _| {
            table.set_services(name, &[(9, 9, port, "MX.example.org.")]);
        })
    };
    assert_eq!(with(465).0, Verdict::Right);
    let (found, why) = with(587);
    assert_eq!(found, Verdict::Wrong);
    assert!(
        why.contains("587") && why.contains("0 1 465 mx.example.org."),
        "{why}"
    );
    let (found, why) = verdict("PTR", "1.2.0.192.in-addr.arpa", |table, _| {
        table.set_names_of("192.0.2.1".parse().unwrap(), &["dsl-1.provider.example"]);
    });
    assert_eq!(found, Verdict::Wrong);
    assert!(why.contains("dsl-1.provider.example"), "{why}");
    let (found, why) = verdict("A", "mx.example.org", |table, _| {
        table.set_addresses("mx.example.org", &["192.0.2.9".parse().unwrap()]);
    });
    assert_eq!(found, Verdict::Wrong, "{why}");
}

/// Behind a router no address of the machine is public: what DNS says of the host name is followed instead.
#[test]
fn without_a_public_address_here_the_host_name_is_followed() {
    let bare = crate::admin::domain_dns::Facts {
        addresses: Vec::new(),
        ..facts()
    };
    let dns = records(&bare).expect("records");
    let world = SimWorld::new(1);
    let table = Table::new(&world.io().host, 1);
    publish(&table, &dns);
    let address: IpAddr = "192.0.2.7".parse().unwrap();
    let line = |kind: &str| {
        let result = world.block_on(async { check(&table, &dns).await });
        let mut lines = result.lines.into_iter();
        lines
            .find(|line| line.kind == kind)
            .map(|line| line.verdict)
    };
    // `publish` made the name, without addresses.
    assert_eq!(line("A, AAAA"), Some(Verdict::Missing));
    assert_eq!(line("PTR"), None);
    table.set_addresses("mx.example.org", &[address]);
    assert_eq!(line("A, AAAA"), Some(Verdict::Right));
    assert_eq!(line("PTR"), Some(Verdict::Missing));
    table.set_names_of(address, &["mx.example.org"]);
    assert_eq!(line("PTR"), Some(Verdict::Right));
    table.set_failing("mx.example.org", Some("time"));
    assert_eq!(line("A, AAAA"), Some(Verdict::Unknown));
}

/// As in trial mode: all of it is published, and mail still cannot come.
#[test]
fn a_host_name_that_others_cannot_look_up_is_wrong_whatever_is_published() {
    let trial = crate::admin::domain_dns::Facts {
        host: "localhost".into(),
        addresses: Vec::new(),
        ..facts()
    };
    let dns = records(&trial).expect("records");
    let world = SimWorld::new(1);
    let table = Table::new(&world.io().host, 1);
    publish(&table, &dns);
    table.set_addresses("localhost", &["192.0.2.7".parse().unwrap()]);
    let result = world.block_on(async { check(&table, &dns).await });
    assert!(!result.right);
    let of_host = result.lines.iter().find(|line| line.kind == "A, AAAA");
    let of_host = of_host.expect("a line about the host");
    assert_eq!(of_host.verdict, Verdict::Wrong);
    assert!(of_host.why.contains("`server.name`"), "{}", of_host.why);
}

#[test]
fn a_policy_record_names_the_present_policy() {
    let (found, why) = verdict("TXT", "_mta-sts.", |table, _| {
        table.set_texts("_mta-sts.example.org", &["v=STSv1; id=20200101;"]);
    });
    assert_eq!(found, Verdict::Wrong);
    assert!(why.contains("another policy"), "{why}");
    let (found, _) = verdict("TXT", "_mta-sts.", |table, _| {
        table.remove("_mta-sts.example.org");
    });
    assert_eq!(found, Verdict::Missing);
    let (found, _) = verdict("A", "mta-sts.", |table, _| {
        table.remove("mta-sts.example.org");
    });
    assert_eq!(found, Verdict::Missing);
}
