//! SPF: RFC 7208, by client and record.

use super::*;

/// The result for `client` when example.net has `record`, among other names.
fn of(record: &str, client: &str) -> (Outcome, &'static str) {
    let (verdict, ..) = evaluate(
        |table| {
            table.set_texts("example.net", &["unrelated", record]);
            fill(table);
        },
        Case {
            client,
            ..Case::default()
        },
    );
    assert_eq!(verdict.spf.domain, "example.net");
    (verdict.spf.found.outcome, verdict.spf.found.why)
}

fn fill(table: &Table) {
    let add = |name: &str, record: &str| table.set_texts(name, &[record]);
    table.set_addresses("example.net", &[address(CLIENT), address("2001:db8::25")]);
    table.set_exchangers("example.net", &[(10, "a.mx.test."), (20, "b.mx.test.")]);
    table.set_addresses("a.mx.test", &[address("198.51.100.1")]);
    table.set_addresses("b.mx.test", &[address("198.51.100.2")]);
    let many: Vec<(u16, &str)> = (0..11).map(|at| (at, "a.mx.test.")).collect();
    table.set_exchangers("many.test", &many);
    add("pass.test", "v=spf1 ip4:192.0.2.0/24 -all");
    add("soft.test", "v=spf1 ~all");
    add("broken.test", "v=spf1 whatever:else -all");
    table.set_texts("two.test", &["v=spf1 -all", "v=spf1 +all"]);
    table.set_texts("bare.test", &[]);
    add("loop.test", "v=spf1 include:loop.test -all");
    add("deep.test", "v=spf1 a:bare.test a:bare.test -all");
    table.set_texts("failing.test", &[]);
    table.set_failing("failing.test", Some("SERVFAIL"));
    table.set_addresses("25.2.0.192.listed.test", &[address("127.0.0.2")]);
    table.set_addresses("sender+tag.local.test", &[address("127.0.0.2")]);
    table.set_names_of(address(CLIENT), &["other.test", "host.example.net"]);
    table.set_addresses("host.example.net", &[address(CLIENT)]);
}

#[test]
fn mechanisms_match_as_the_standard_says() {
    use Outcome::*;
    for (record, outcome) in [
        ("v=spf1 ip4:192.0.2.25 -all", Pass),
        ("v=spf1 ip4:192.0.2.26 -all", Fail),
        ("v=spf1 ip4:192.0.2.99/25 ~all", Pass),
        ("v=spf1 ip4:192.0.2.129/25 ~all", SoftFail),
        ("v=spf1 ip6:2001:db8::/32 ?all", Neutral),
        ("v=spf1", Neutral),
        ("v=spf1 a -all", Pass),
        ("v=spf1 a:a.mx.test -all", Fail),
        ("v=spf1 mx -all", Fail),
        ("v=spf1 mx/0 -all", Pass),
        ("v=spf1 -a +all", Fail),
        ("v=spf1 include:pass.test -all", Pass),
        ("v=spf1 -include:pass.test +all", Fail),
        ("v=spf1 include:soft.test -all", Fail),
        ("v=spf1 redirect=pass.test", Pass),
        ("v=spf1 redirect=soft.test", SoftFail),
        ("v=spf1 exists:%{ir}.listed.test -all", Pass),
        ("v=spf1 exists:%{ir}.unlisted.test -all", Fail),
        ("v=spf1 ptr -all", Pass),
        ("v=spf1 ptr:other.test -all", Fail),
        ("v=spf1 x-new=%{d} all", Pass),
    ] {
        assert_eq!(of(record, CLIENT).0, outcome, "{record}");
    }
    assert_eq!(of("v=spf1 mx -all", "198.51.100.2").0, Pass);
    assert_eq!(of("v=spf1 a -all", "2001:db8::25").0, Pass);
    assert_eq!(of("v=spf1 a -all", "::ffff:192.0.2.25").0, Pass);
    assert_eq!(of("v=spf1 ip4:0.0.0.0/0 -all", "2001:db8::25").0, Fail);
}

#[test]
fn what_is_wrong_for_good_is_a_permanent_error() {
    let ten: String = (0..10).map(|_| " include:soft.test").collect();
    assert_eq!(of(&format!("v=spf1{ten} +all"), CLIENT).0, Outcome::Pass);
    for (record, why) in [
        (
            format!("v=spf1{ten} include:pass.test -all"),
            "more than 10 look-ups",
        ),
        (
            "v=spf1 include:loop.test -all".into(),
            "more than 10 look-ups",
        ),
        (
            "v=spf1 redirect=broken.test".into(),
            "the record has an error",
        ),
        ("v=spf1 foo:bar -all".into(), "the record has an error"),
        ("v=spf1 include:two.test -all".into(), "several records"),
        (
            "v=spf1 include:bare.test -all".into(),
            "an included record is missing",
        ),
        (
            "v=spf1 include:absent.test -all".into(),
            "an included record is missing",
        ),
        (
            "v=spf1 redirect=absent.test".into(),
            "the record that it leads to is missing",
        ),
        (
            "v=spf1 mx:many.test -all".into(),
            "more than 10 hosts of one mx",
        ),
        (
            "v=spf1 a:bare.test exists:absent.test mx:bare.test -all".into(),
            "more than 2 look-ups without a result",
        ),
        (
            "v=spf1 include:deep.test a:bare.test -all".into(),
            "more than 2 look-ups without a result",
        ),
    ] {
        let found = of(&record, CLIENT);
        assert_eq!(found, (Outcome::PermError, why), "{record}");
    }
    assert_eq!(
        of("v=spf1 a:bare.test a:bare.test -all", CLIENT).0,
        Outcome::Fail
    );
}

#[test]
fn what_cannot_be_looked_up_is_a_temporary_error() {
    for record in [
        "v=spf1 a:failing.test -all",
        "v=spf1 mx:failing.test -all",
        "v=spf1 include:failing.test -all",
        "v=spf1 exists:failing.test -all",
        "v=spf1 redirect=failing.test",
    ] {
        assert_eq!(of(record, CLIENT).0, Outcome::TempError, "{record}");
    }
    // What comes before it counts, and `ptr` does not match then.
    assert_eq!(
        of("v=spf1 ip4:192.0.2.25 a:failing.test -all", CLIENT).0,
        Outcome::Pass
    );
    assert_eq!(of("v=spf1 ptr:failing.test -all", CLIENT).0, Outcome::Fail);
}

#[test]
fn the_identity_is_the_sender_or_the_hello_of_a_report() {
    let of = |mail_from, helo| {
        let case = Case {
            mail_from,
            helo,
            ..Case::default()
        };
        let fill = |table: &Table| {
            table.set_texts("example.net", &["v=spf1 -all"]);
            table.set_texts("mail.example.net", &["v=spf1 +all"]);
            table.set_texts(
                "xn--bcher-kva.example",
                &["v=spf1 exists:%{l}.local.test -all"],
            );
            table.set_addresses("sender+tag.local.test", &[address("127.0.0.2")]);
        };
        let (verdict, field, _) = evaluate(fill, case);
        (verdict.spf.found.outcome, field)
    };
    let (outcome, field) = of("", "mail.example.net");
    assert_eq!(outcome, Outcome::Pass);
    assert!(
        field.contains("spf=pass\r\n\t smtp.helo=mail.example.net"),
        "{field}"
    );
    assert_eq!(
        of("sender@Example.Net", "mail.example.net").0,
        Outcome::Fail
    );
    assert_eq!(of("sender+tag@Bücher.example", "x").0, Outcome::Pass);
    for (mail_from, helo) in [
        ("", "[192.0.2.25]"),
        ("", "localhost"),
        ("a@[192.0.2.25]", "x"),
        ("a@absent.test", "x"),
    ] {
        assert_eq!(of(mail_from, helo).0, Outcome::None, "{mail_from} {helo}");
    }
}

#[test]
fn the_look_ups_of_a_message_are_bounded_in_number_and_in_time() {
    let fill = |table: &Table| {
        table.set_texts("example.net", &["v=spf1 mx:m0.test mx:m1.test mx:m2.test mx:m3.test mx:m4.test mx:m5.test mx:m6.test mx:m7.test mx:m8.test mx:m9.test -all"]);
        let hosts: Vec<(u16, &str)> = (0..10).map(|at| (at, "absent.test.")).collect();
        for at in 0..10 {
            table.set_exchangers(&format!("m{at}.test"), &hosts);
        }
    };
    let (verdict, _, lookups) = evaluate(fill, Case::default());
    assert_eq!(verdict.spf.found.outcome, Outcome::Fail);
    assert!(lookups <= auth::limits::LOOKUPS_MAX, "{lookups}");
    // Each look-up takes 19 seconds: the second is the last of SPF. DMARC has time of its own, for two more.
    let fill = |table: &Table| {
        table.set_texts("example.net", &["v=spf1 a:a.test a:b.test a:c.test -all"]);
        for name in ["example.net", "a.test", "b.test", "c.test"] {
            table.set_addresses(name, &[address("198.51.100.1")]);
            table.set_slow(name, std::time::Duration::from_secs(19));
        }
    };
    let (verdict, _, lookups) = evaluate(fill, Case::default());
    assert_eq!(verdict.spf.found.outcome, Outcome::TempError);
    assert_eq!(lookups, 4);
}
