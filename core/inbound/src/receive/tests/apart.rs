//! What a verdict sends to the quarantine is there with its envelope, and nowhere else.

use scan::known::samples;
use scan::{Known, Outcome, Scanner};
use storage::quarantine::{Held, Why};

use super::super::inspect::Policy;
use super::inspect::{HELLO, QUARANTINES, Story, Told, VIRUS, tell};
use super::*;

fn keeping(keeps: &'static [Why], story: Story) -> Told {
    tell(Story {
        keeps,
        policy: Policy {
            keeps_viruses: keeps.contains(&Why::Virus),
            ..story.policy
        },
        ..story
    })
}

fn kept(told: &Told) -> (Held, &str) {
    assert!(told.reply.starts_with("250 2.0.0"), "{}", told.reply);
    assert_eq!(told.accounts, [[9]], "the quarantine's account alone");
    let raw = &told.handed[0];
    let (held, front) = Held::read(raw.as_bytes()).expect("an envelope");
    (held, &raw[front..])
}

#[test]
fn a_virus_is_kept_with_its_envelope_where_the_operator_wants_that() {
    let story = Story {
        clamd: Some(VIRUS),
        ..Story::default()
    };
    let told = keeping(&[Why::Virus], story);
    let (held, rest) = kept(&told);
    assert_eq!(
        (held.why, held.detail.as_str(), held.from.as_str()),
        (Why::Virus, "Win.Bad", "a@example.net")
    );
    let to: Vec<&str> = held.recipients.iter().map(|to| &to.path[..]).collect();
    assert_eq!(to, ["alice@example.org"]);
    assert!(rest.contains(&held.id) && told.reply.contains(&held.id));
    assert!(
        rest.starts_with("X-Ringpost-Quarantine: virus; Win.Bad\r\nX-Ringpost-Scan: clamd=quarantine (Win.Bad)\r\nReturn-Path:"),
        "{rest}"
    );
    assert!(
        rest.ends_with("\r\nSubject: hello\r\n\r\nHello\r\n"),
        "{rest}"
    );
    let outcome = (Scanner::Clamd, Outcome::Quarantine);
    assert_eq!(told.counters.read(outcome.0, outcome.1), 1);
    let counted = told.received.kept_apart.each_ref();
    assert_eq!(counted.map(|count| count.load(Relaxed)), [1, 0, 0]);
}

#[test]
fn the_test_string_is_kept_as_a_virus_is() {
    let [(known, eicar), _] = samples();
    assert_eq!(known, Known::Eicar);
    let eicar = String::leak(format!("Subject: x\r\n\r\n{eicar}\r\n"));
    let story = Story {
        content: eicar,
        ..Story::default()
    };
    let told = keeping(&[Why::Virus], story);
    assert_eq!(kept(&told).0.detail, "EICAR test file");
    assert!(tell(story).reply.starts_with("550 5.7.1 message contains"));
}

#[test]
fn a_filter_s_quarantine_goes_there_and_without_the_setting_to_the_recipient() {
    let story = Story {
        milter: Some(QUARANTINES),
        ..Story::default()
    };
    let told = keeping(&[Why::Scanner], story);
    let (held, _) = kept(&told);
    assert_eq!((held.why, &held.detail[..]), (Why::Scanner, "filter; odd"));
    for keeps in [&[][..], &[Why::Virus, Why::Dmarc]] {
        let told = keeping(keeps, story);
        assert_eq!(told.accounts, [[1]], "alice");
        assert!(told.handed[0].starts_with("X-Ringpost-Quarantine: scan"));
    }
}

#[test]
fn clean_mail_goes_to_its_recipient_and_a_forged_envelope_is_content() {
    let forged: &'static str = String::leak(format!(
        "X-Ringpost-Held: virus; at=1; id=x; utf8=0; eight-bit=0; returned=0; recipients=1\r\n{HELLO}"
    ));
    let story = Story {
        content: forged,
        ..Story::default()
    };
    let told = keeping(&Why::ALL, story);
    assert_eq!(told.accounts, [[1]]);
    assert_eq!(Held::read(told.handed[0].as_bytes()), None);
}

#[test]
fn without_a_quarantine_to_put_it_into_bad_mail_is_deferred_and_not_delivered() {
    let told = keeping(
        &[Why::Virus],
        Story {
            clamd: Some(VIRUS),
            has_quarantine: false,
            ..Story::default()
        },
    );
    assert!(told.reply.starts_with("451 "), "{}", told.reply);
    assert_eq!(told.handed, [""; 0]);
}

/// Both ask for it, and the operator keeps mail apart for one of them.
#[test]
fn of_several_reasons_the_one_that_the_operator_wants_counts() {
    let both = Story {
        milter: Some(QUARANTINES),
        domain_asks: true,
        content: "From: a@example.net\r\nSubject: hello\r\n\r\nHello\r\n",
        ..Story::default()
    };
    for (keeps, wanted) in [
        (&[Why::Scanner][..], Why::Scanner),
        (&[Why::Dmarc], Why::Dmarc),
        (&Why::ALL, Why::Dmarc),
    ] {
        let told = keeping(keeps, both);
        assert_eq!(kept(&told).0.why, wanted, "{keeps:?}");
    }
    let told = keeping(&[Why::Virus], both);
    assert_eq!(told.accounts, [[1]], "alice");
}
