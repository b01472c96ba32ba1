//! Stage 3, the judge: what it writes into a message and for whom it files it.

use spam::{Whose, Words};

use super::authentic::{FROM_NET, Story, Told, accepting, tell};
use super::*;

fn junk_of(told: &Told) -> Vec<Vec<u32>> {
    told.script.junk.lock().unwrap().clone()
}

fn words(junk_permille: u16, whose: Whose) -> Option<Words> {
    Some(Words {
        junk_permille,
        whose,
    })
}

/// Junk by its structure and its author, without a policy that refuses it.
fn suspicious(table: &dns::Table) {
    table.set_texts("example.net", &["v=spf1 ip4:192.0.2.99 -all"]);
    table.set_texts("_dmarc.example.net", &["v=DMARC1; p=none"]);
}

const PHISHING: &str = "From: \"service@bank.example\" <a@example.net>\r\nSubject: YOUR ACCOUNT IS CLOSED\r\nX-Ringpost-Spam: no, -9.9 of 5.0\r\n\t(words\r\n\tof good mail -9.9)\r\n\r\nhttp://192.0.2.7/login\r\n";

#[test]
fn a_field_says_why_and_one_from_outside_is_removed() {
    let told = tell(Story {
        judge: Some((50, None)),
        fill: &suspicious,
        contents: vec![PHISHING.to_owned()],
        ..Story::default()
    });
    assert!(
        told.replies[0].starts_with("250 2.0.0"),
        "{:?}",
        told.replies
    );
    let raw = &told.handed[0];
    let field = "X-Ringpost-Spam: yes, 8.5 of 5.0\r\n\t(DMARC fails 2.5;\r\n\tSPF fails 1.2;\r\n\tno Date 0.6;\r\n\tno Message-ID 0.6;\r\n\tthe author's name is another address 1.5;\r\n\ta link to a bare address 1.5;\r\n\ta subject in capitals 0.6)\r\nReturn-Path: ";
    assert!(raw.contains(field), "{raw}");
    assert_eq!(raw.matches("X-Ringpost-Spam").count(), 1, "{raw}");
    assert!(!raw.contains("-9.9"), "{raw}");
    assert_eq!(junk_of(&told), [[1, 2]]);
    assert_eq!(told.counters.judged[2].load(Relaxed), 1);
}

#[test]
fn without_a_judge_and_over_lmtp_nothing_is_judged_or_asked() {
    let off = tell(Story {
        fill: &accepting,
        ..Story::default()
    });
    let lmtp = tell(Story {
        role: Role::Lmtp,
        judge: Some((1, Some(1))),
        contents: vec![PHISHING.to_owned()],
        ..Story::default()
    });
    for told in [off, lmtp] {
        assert!(
            told.replies[0].starts_with("250 2.0.0"),
            "{:?}",
            told.replies
        );
        assert!(junk_of(&told)[0].is_empty());
        assert!(told.script.asked.lock().unwrap().is_empty());
        assert!(!told.handed[0].contains("X-Ringpost-Spam: yes"));
    }
}

/// One message to alice and bob: a person's own words decide for that person alone, and the field shows neither's.
#[test]
fn a_persons_words_file_that_persons_copy_and_stay_out_of_the_others_field() {
    let told = tell(Story {
        judge: Some((50, Some(60))),
        fill: &accepting,
        words: Some(Answer::Words(vec![
            words(1_000, Whose::Person),
            words(0, Whose::Person),
        ])),
        ..Story::default()
    });
    assert!(
        told.replies[0].starts_with("250 2.0.0"),
        "{:?}",
        told.replies
    );
    assert_eq!(junk_of(&told), [[1]]);
    assert!(told.handed[0].contains("X-Ringpost-Spam: no, 0.7 of 5.0\r\n"));
    let asked = told.script.asked.lock().unwrap();
    assert!(!asked[0].tokens.is_empty());
    let of: Vec<_> = asked[0]
        .of
        .iter()
        .map(|of| (of.account, of.domain.as_str()))
        .collect();
    let both = [1, 2].map(|account| (Some(AccountId(account)), "example.org"));
    assert_eq!(of, both);
}

#[test]
fn words_of_the_domain_are_in_the_field_of_its_people() {
    let told = tell(Story {
        judge: Some((50, None)),
        fill: &accepting,
        words: Some(Answer::Words(vec![words(1_000, Whose::Domain); 2])),
        ..Story::default()
    });
    let field = "X-Ringpost-Spam: yes, 5.2 of 5.0\r\n\t(DMARC passes -0.5;\r\n\tno Date 0.6;\r\n\tno Message-ID 0.6;\r\n\twords of this domain's junk 4.5)\r\n";
    assert!(told.handed[0].contains(field), "{}", told.handed[0]);
    assert_eq!(junk_of(&told), [[1, 2]]);
}

#[test]
fn a_busy_owner_gives_no_words_and_is_left_alone_for_a_while() {
    for (answer, asked) in [
        (None, 1),
        (Some(Answer::Untrained), 1),
        (Some(Answer::Words(vec![None; 2])), 2),
    ] {
        let told = tell(Story {
            judge: Some((50, None)),
            fill: &accepting,
            words: answer,
            contents: vec![FROM_NET.to_owned(); 2],
            ..Story::default()
        });
        assert!(
            told.replies.iter().all(|reply| reply.starts_with("250 ")),
            "{:?}",
            told.replies
        );
        assert_eq!(told.script.asked.lock().unwrap().len(), asked);
        assert_eq!(junk_of(&told), [[0u32; 0], []]);
    }
}

/// Otherwise each message waits for it, one after another, and leaves a question more behind.
#[test]
fn a_slow_owner_is_left_alone_as_a_busy_one_is() {
    let told = tell(Story {
        judge: Some((50, None)),
        fill: &accepting,
        words: Some(Answer::Words(vec![None; 2])),
        contents: vec![FROM_NET.to_owned(); 4],
        then: &|_, script| script.slow.store(true, Relaxed),
        ..Story::default()
    });
    assert_eq!(told.replies.len(), 4);
    assert!(
        told.replies.iter().all(|reply| reply.starts_with("250 ")),
        "{:?}",
        told.replies
    );
    assert_eq!(told.script.asked.lock().unwrap().len(), 2);
}

#[test]
fn what_is_refused_is_refused_only_where_all_recipients_score_so() {
    let refusing = |words| {
        tell(Story {
            judge: Some((50, Some(60))),
            fill: &suspicious,
            contents: vec![PHISHING.to_owned()],
            words,
            ..Story::default()
        })
    };
    let told = refusing(None);
    assert_eq!(told.replies, ["550 5.7.1 this message looks like spam\r\n"]);
    assert!(told.handed.is_empty());
    assert_eq!(told.counters.junk_refused.load(Relaxed), 1);
    let told = refusing(Some(Answer::Words(vec![words(0, Whose::Person), None])));
    assert!(told.replies[0].starts_with("250 "), "{:?}", told.replies);
    assert_eq!(junk_of(&told), [[2]]);
}

#[test]
fn what_a_domain_asks_to_quarantine_is_filed_as_junk_whatever_its_score() {
    let quarantine = |table: &dns::Table| {
        suspicious(table);
        table.set_texts("_dmarc.example.net", &["v=DMARC1; p=quarantine"]);
    };
    let told = tell(Story {
        judge: Some((100, None)),
        fill: &quarantine,
        ..Story::default()
    });
    assert_eq!(junk_of(&told), [[1, 2]]);
}
