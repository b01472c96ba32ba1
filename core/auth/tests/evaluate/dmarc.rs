//! DMARC: RFC 9989, whole messages with SPF and DKIM that speak for the author's domain, or do not.

use auth::Disposition;

use super::*;

/// What a story's names are, for a message by `from` that `from`'s SPF or DKIM may speak for.
struct Story {
    /// `_dmarc` records by name.
    policies: Vec<(&'static str, Vec<&'static str>)>,
    from: &'static str,
    /// The domain of the reverse-path, and its SPF record.
    spf: Option<(&'static str, &'static str)>,
    /// Who signed.
    dkim: Option<&'static str>,
    failing: Option<&'static str>,
}

impl Default for Story {
    fn default() -> Story {
        Story {
            policies: vec![("example.net", vec!["v=DMARC1; p=reject"])],
            from: "sender@example.net",
            spf: None,
            dkim: None,
            failing: None,
        }
    }
}

fn of(story: Story) -> (Outcome, Disposition, String) {
    let content = message(story.from);
    let content = match story.dkim {
        Some(domain) => signed(ed25519(), domain, &content),
        None => content,
    };
    let (domain, record) = story.spf.unwrap_or(("bounces.test", "v=spf1 -all"));
    let mail_from = format!("bounce@{domain}");
    let case = Case {
        mail_from: &mail_from,
        content,
        ..Case::default()
    };
    let fill = |table: &Table| {
        table.set_addresses("exists.example.net", &[address("198.51.100.1")]);
        for (name, records) in &story.policies {
            table.set_texts(&format!("_dmarc.{name}"), records);
        }
        table.set_texts(domain, &[record]);
        if let Some(domain) = story.dkim {
            table.set_texts(&format!("s._domainkey.{domain}"), &[ED25519_KEY]);
        }
        if let Some(name) = story.failing {
            table.set_failing(name, Some("SERVFAIL"));
        }
    };
    let (verdict, field, _) = evaluate(fill, case);
    let dmarc = &verdict.dmarc;
    (dmarc.found.outcome, dmarc.disposition, field)
}

fn brief(story: Story) -> (Outcome, Disposition) {
    let (outcome, disposition, _) = of(story);
    (outcome, disposition)
}

const PASS: (Outcome, Disposition) = (Outcome::Pass, Disposition::Deliver);
const REJECT: (Outcome, Disposition) = (Outcome::Fail, Disposition::Reject);
const QUARANTINE: (Outcome, Disposition) = (Outcome::Fail, Disposition::Quarantine);
const NONE: (Outcome, Disposition) = (Outcome::None, Disposition::Deliver);
const UNKNOWN: (Outcome, Disposition) = (Outcome::TempError, Disposition::Deliver);

fn policy(name: &'static str, record: &'static str) -> Vec<(&'static str, Vec<&'static str>)> {
    vec![(name, vec![record])]
}

#[test]
fn spf_or_dkim_speaks_for_the_author_or_the_policy_is_applied() {
    let all = "v=spf1 +all";
    let spf = |domain| Story {
        spf: Some((domain, all)),
        ..Story::default()
    };
    let dkim = |domain| Story {
        dkim: Some(domain),
        ..Story::default()
    };
    for domain in ["example.net", "bounce.example.net"] {
        assert_eq!(brief(spf(domain)), PASS, "{domain}");
        assert_eq!(brief(dkim(domain)), PASS, "{domain}");
    }
    for domain in ["example.com", "notexample.net", "net.test"] {
        assert_eq!(brief(spf(domain)), REJECT, "{domain}");
        assert_eq!(brief(dkim(domain)), REJECT, "{domain}");
    }
    let (.., field) = of(Story::default());
    assert!(
        field.contains("dmarc=fail (p=reject dis=reject)\r\n\t header.from=example.net"),
        "{field}"
    );
    // An SPF that fails does not speak for its domain.
    let failed = Story {
        spf: Some(("example.net", "v=spf1 ~all")),
        ..Story::default()
    };
    assert_eq!(brief(failed), REJECT);
}

#[test]
fn strict_alignment_wants_the_same_domain() {
    for (domain, expected) in [("example.net", PASS), ("a.example.net", REJECT)] {
        let spf = Story {
            policies: policy("example.net", "v=DMARC1; p=reject; aspf=s"),
            spf: Some((domain, "v=spf1 +all")),
            ..Story::default()
        };
        assert_eq!(brief(spf), expected, "{domain}");
        let dkim = Story {
            policies: policy("example.net", "v=DMARC1; p=reject; adkim=s"),
            dkim: Some(domain),
            ..Story::default()
        };
        assert_eq!(brief(dkim), expected, "{domain}");
    }
}

#[test]
fn each_policy_has_its_disposition() {
    let of = |record, from| {
        brief(Story {
            policies: policy("example.net", record),
            from,
            ..Story::default()
        })
    };
    let delivered = (Outcome::Fail, Disposition::Deliver);
    let own = "a@example.net";
    assert_eq!(of("v=DMARC1; p=quarantine", own), QUARANTINE);
    assert_eq!(of("v=DMARC1; p=none", own), delivered);
    assert_eq!(of("v=DMARC1; p=reject; t=y", own), QUARANTINE);
    assert_eq!(of("v=DMARC1; p=quarantine; t=y", own), delivered);
    let record = "v=DMARC1; p=none; sp=quarantine; np=reject";
    assert_eq!(of(record, own), delivered);
    assert_eq!(of(record, "a@exists.example.net"), QUARANTINE);
    assert_eq!(of(record, "a@absent.example.net"), REJECT);
    assert_eq!(of("v=DMARC1; p=reject", "a@absent.example.net"), REJECT);
}

#[test]
fn records_that_are_none_are_as_if_they_were_not_there() {
    for records in [
        vec!["v=DMARC1; v=DMARC1; p=reject"],
        vec!["v=DMARC1; p=reject", "v=DMARC1; p=none"],
        vec!["p=reject"],
        vec!["v=DMARC1"],
        vec!["v=spf1 -all"],
        vec![],
    ] {
        let story = Story {
            policies: vec![("example.net", records.clone())],
            ..Story::default()
        };
        assert_eq!(brief(story), NONE, "{records:?}");
    }
    // Other texts beside it do not count.
    let beside = vec![("example.net", vec!["v=spf1 -all", "v=DMARC1; p=reject"])];
    let story = Story {
        policies: beside,
        ..Story::default()
    };
    assert_eq!(brief(story), REJECT);
}

#[test]
fn the_walk_up_the_tree_finds_the_organization_without_a_list() {
    let deep = "sender@a.b.c.d.e.f.g.h.i.example.net";
    let far = Story {
        from: deep,
        dkim: Some("z.example.net"),
        ..Story::default()
    };
    assert_eq!(brief(far), PASS);
    // A suffix that registers for others: its names are not one organization.
    let suffix = || {
        let mut policies = policy("co.test", "v=DMARC1; p=reject; psd=y");
        policies.push(("one.co.test", vec!["v=DMARC1; p=reject"]));
        policies
    };
    let of = |from, dkim| {
        brief(Story {
            policies: suffix(),
            from,
            dkim: Some(dkim),
            ..Story::default()
        })
    };
    assert_eq!(of("a@one.co.test", "mail.one.co.test"), PASS);
    assert_eq!(of("a@one.co.test", "two.co.test"), REJECT);
    assert_eq!(of("a@two.co.test", "one.co.test"), REJECT);
    // psd=n: an organization of its own below another.
    let apart = |dkim| {
        let mut policies = policy("example.net", "v=DMARC1; p=none");
        policies.push(("dept.example.net", vec!["v=DMARC1; p=reject; psd=n"]));
        brief(Story {
            policies,
            from: "a@dept.example.net",
            dkim: Some(dkim),
            ..Story::default()
        })
    };
    assert_eq!(apart("x.dept.example.net"), PASS);
    assert_eq!(apart("example.net"), REJECT);
}

#[test]
fn what_is_unknown_never_fails() {
    let of = |failing, spf, dkim| {
        brief(Story {
            failing: Some(failing),
            spf,
            dkim,
            ..Story::default()
        })
    };
    assert_eq!(of("_dmarc.example.net", None, None), UNKNOWN);
    let spf = Some(("example.net", "v=spf1 +all"));
    assert_eq!(of("example.net", spf, None), UNKNOWN);
    let key = "s._domainkey.example.net";
    assert_eq!(of(key, None, Some("example.net")), UNKNOWN);
    // The other one speaks for the domain, or the unknown one could not.
    assert_eq!(of(key, spf, Some("example.net")), PASS);
    let key = "s._domainkey.example.com";
    assert_eq!(of(key, None, Some("example.com")), REJECT);
}

#[test]
fn the_authors_own_record_decides_without_the_zones_above_it() {
    let of = |record, spf, dkim| {
        brief(Story {
            policies: policy("example.net", record),
            failing: Some("_dmarc.net"),
            spf,
            dkim,
            ..Story::default()
        })
    };
    let (reject, strict) = ("v=DMARC1; p=reject", "v=DMARC1; p=reject; adkim=s");
    // The same domain is aligned, whatever the organization is.
    assert_eq!(of(reject, None, Some("example.net")), PASS);
    let spf = |domain| Some((domain, "v=spf1 +all"));
    assert_eq!(of(reject, spf("example.net"), None), PASS);
    // Nothing passes: no organization could make that aligned.
    assert_eq!(of(reject, None, None), REJECT);
    let quarantine = "v=DMARC1; p=quarantine";
    assert_eq!(of(quarantine, None, None), QUARANTINE);
    // What passes shares no name with the author, or the record wants the same domain.
    assert_eq!(of(reject, spf("other.test"), None), REJECT);
    assert_eq!(of(strict, None, Some("a.example.net")), REJECT);
    // It may be of the same organization, or not.
    assert_eq!(of(reject, None, Some("a.example.net")), UNKNOWN);
    // Without a record of its own the organization's counts, which is unknown.
    let below = Story {
        from: "a@below.example.net",
        failing: Some("_dmarc.net"),
        ..Story::default()
    };
    assert_eq!(brief(below), UNKNOWN);
}

/// The disposition for a message with these From fields, whose domain example.net asks to reject; example.com speaks for itself.
fn of_fields(fields: &str) -> (Outcome, Disposition) {
    let case = Case {
        content: format!("{fields}Subject: x\r\n\r\nx\r\n"),
        mail_from: "a@example.com",
        ..Case::default()
    };
    let fill = |table: &Table| {
        table.set_texts("example.com", &["v=spf1 +all"]);
        table.set_texts("_dmarc.example.com", &["v=DMARC1; p=none"]);
        table.set_texts("_dmarc.example.net", &["v=DMARC1; p=reject"]);
    };
    let (verdict, ..) = evaluate(fill, case);
    (verdict.dmarc.found.outcome, verdict.dmarc.disposition)
}

#[test]
fn no_spelling_of_from_hides_an_author() {
    for forged in [
        "From : a@example.net\r\n",
        "From\t: a@example.net\r\n",
        "FROM \r\n : a@example.net\r\n",
        "a line that is not a field\r\nFrom: a@example.net\r\n",
        "X: y\r\na line that is not a field\r\nFrom: a@example.net\r\n",
    ] {
        assert_eq!(of_fields(forged), REJECT, "{forged:?}");
        let own = "From: a@example.com\r\n";
        assert_eq!(of_fields(&format!("{own}{forged}")), REJECT, "{forged:?}");
        assert_eq!(of_fields(&format!("{forged}{own}")), REJECT, "{forged:?}");
    }
    assert_eq!(of_fields("From: a@example.com\r\n"), PASS);
    assert_eq!(of_fields("From : a@example.com\r\n"), PASS);
}

#[test]
fn of_several_authors_the_strictest_policy_counts() {
    let many = |count: usize| {
        let own = "a@example.com, ".repeat(count);
        format!("From: {own}b@example.net\r\n")
    };
    assert_eq!(of_fields(&many(1)), REJECT);
    assert_eq!(of_fields(&many(60)), REJECT);
    assert_eq!(of_fields("From: a@example.com, b@example.com\r\n"), PASS);
    // More domains than are checked, by their number or by their bytes: nothing speaks for all of them.
    let domains: String = (0..50).map(|at| format!("a@n{at}.test, ")).collect();
    let fields = format!("From: {domains}b@example.net\r\n");
    assert_eq!(of_fields(&fields), QUARANTINE);
    let long = format!(
        "From: {}b@example.com\r\n",
        "a@example.com,\r\n ".repeat(20_000)
    );
    assert_eq!(
        of_fields(&format!("{long}From: b@example.net\r\n")),
        QUARANTINE
    );
}

#[test]
fn slow_zones_of_a_stranger_leave_time_for_the_policy_of_the_author() {
    let slow = std::time::Duration::from_secs(19);
    let content = signed(ed25519(), "slow.test", &message("sender@example.net"));
    let case = Case {
        mail_from: "a@slow.test",
        content,
        ..Case::default()
    };
    let fill = |table: &Table| {
        table.set_texts("_dmarc.example.net", &["v=DMARC1; p=reject"]);
        table.set_texts("slow.test", &["v=spf1 a:a.test a:b.test -all"]);
        for name in ["slow.test", "a.test", "b.test", "s._domainkey.slow.test"] {
            table.set_addresses(name, &[address("198.51.100.1")]);
            table.set_slow(name, slow);
        }
    };
    let (verdict, ..) = evaluate(fill, case);
    assert_eq!(verdict.spf.found.outcome, Outcome::TempError);
    assert_eq!(verdict.dmarc.disposition, Disposition::Reject);
}

#[test]
fn a_message_without_a_domain_in_from_is_exempt() {
    let of = |from: &str| {
        let case = Case {
            content: format!("{from}Subject: x\r\n\r\nx\r\n"),
            ..Case::default()
        };
        let fill = |table: &Table| table.set_texts("_dmarc.example.net", &["v=DMARC1; p=reject"]);
        let (verdict, ..) = evaluate(fill, case);
        (verdict.dmarc.found.outcome, verdict.dmarc.disposition)
    };
    assert_eq!(of("From: a@example.net, B <b@Example.Net>\r\n"), REJECT);
    assert_eq!(of("From: group: a@example.net;\r\n"), REJECT);
    assert_eq!(of("From: postmaster\r\n"), NONE);
    assert_eq!(of(""), NONE);
    assert_eq!(of("From: \"x@other.test\" <a@example.net>\r\n"), REJECT);
    assert_eq!(of("From: a@localhost\r\n"), NONE);
}

#[test]
fn a_mailing_list_passes_where_it_keeps_the_message_or_writes_its_own_name() {
    let list = Some(("list.test", "v=spf1 +all"));
    // As it was: the author's signature still matches, though SPF is the list's.
    let kept = Story {
        spf: list,
        dkim: Some("example.net"),
        ..Story::default()
    };
    assert_eq!(brief(kept), PASS);
    // With its own signature only, as after a footer.
    let changed = Story {
        spf: list,
        dkim: Some("list.test"),
        ..Story::default()
    };
    assert_eq!(brief(changed), REJECT);
    // From rewritten.
    let mut policies = policy("example.net", "v=DMARC1; p=reject");
    policies.push(("list.test", vec!["v=DMARC1; p=reject"]));
    let rewritten = Story {
        policies,
        from: "sender.at.example.net@list.test",
        spf: list,
        ..Story::default()
    };
    assert_eq!(brief(rewritten), PASS);
}

#[test]
fn a_domain_in_from_is_one_short_line_whatever_stands_there() {
    let long = "a".repeat(60);
    let long = [long.as_str(); 40].join(".");
    for from in [
        "<a@\"x\r\n y\".example.net>".to_owned(),
        "=?utf-8?q?a=40x=0D=0AX-Forged=3A_1=0D=0A=2Eexample=2Enet?=".to_owned(),
        "<=?utf-8?q?a=40x=0D=0AX-Forged=3A_1=0D=0A=2Eexample=2Enet?=>".to_owned(),
        "<a@x\r\n\t.example.net>".to_owned(),
        "<a@x\ty.example.net>".to_owned(),
        "<a@x\u{85}y\u{2028}.example.net>".to_owned(),
        format!("<a@{}>", "b".repeat(2_000)),
        format!("<a@{long}.example.net>"),
    ] {
        let case = Case {
            content: format!("From: {from}\r\nSubject: x\r\n\r\nx\r\n"),
            ..Case::default()
        };
        let policy = "v=DMARC1; p=quarantine";
        let fill = |table: &Table| table.set_texts("_dmarc.example.net", &[policy]);
        let (verdict, ..) = evaluate(fill, case);
        let domain = &verdict.dmarc.domain;
        let is_plain = |char: char| !char.is_control() && !char.is_whitespace();
        assert!(domain.chars().all(is_plain), "{from:?}: {domain:?}");
        assert!(domain.len() <= 253 || !domain.contains('.'), "{from:?}");
    }
}
