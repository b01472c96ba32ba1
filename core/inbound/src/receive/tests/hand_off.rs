//! Stage 4: what the keeper says, and what the sender is answered.

use super::*;
use crate::receive::keeper::refusal_for;
use storage::arrival::Refusing;

#[test]
fn lmtp_answers_for_each_recipient() {
    let served = serve(Options {
        role: Role::Lmtp,
        ..Options::default()
    });
    served.then(Ok(vec![Ok(()), Err(MailboxFault::OverQuota)]));
    let sent = served.send(Role::Lmtp, vec![mail(&["bob", "nobody", "alice", "bob"])]);
    // The store was asked for accounts 1 and 2, in that order: alice has it, bob's mailbox is full.
    assert_eq!(
        codes(&sent[0].outcomes),
        [(452, "4.2.2"), (250, "2.0.0"), (452, "4.2.2")]
    );
    served.stop();
}

/// RFC 5429 §2.1: a recipient's script refuses, and its words are behind the reply's text, on one line of ASCII.
#[test]
fn the_words_of_a_script_stand_behind_its_refusal() {
    let rejected = || {
        Err(MailboxFault::Rejected(
            "write to\r\nbob, please – soon".into(),
        ))
    };
    let served = serve(Options::default());
    served.then(Ok(vec![rejected()]));
    served.then(Ok(vec![Ok(()), rejected()]));
    let sent = served.send(Role::Smtp, vec![mail(&["alice"]), mail(&["bob", "alice"])]);
    let reply = sent[0].outcomes[0].lines.join(" ");
    assert_eq!(codes(&sent[0].outcomes), [(550, "5.7.1")]);
    assert!(
        reply.contains("refuses this message write to  bob, please ? soon"),
        "{reply}"
    );
    let posted = std::mem::take(&mut *served.script.posted.lock().unwrap());
    assert_eq!(posted[0].from, "sender@example.net");
    assert_eq!(posted[0].to[0].path, "alice@example.org");
    // As the accounts are asked for: alice is account 1.
    let to: Vec<&str> = posted[1].to.iter().map(|to| &to.path[..]).collect();
    assert_eq!(to, ["alice@example.org", "bob@example.org"]);
    assert!(
        posted
            .iter()
            .all(|posted| posted.refusing == Refusing::Together)
    );
    served.stop();
}

#[test]
fn lmtp_says_which_recipient_refuses() {
    let served = serve(Options {
        role: Role::Lmtp,
        ..Options::default()
    });
    let rejected = Err(MailboxFault::Rejected("no".into()));
    served.then(Ok(vec![Ok(()), rejected]));
    let sent = served.send(Role::Lmtp, vec![mail(&["alice", "bob"])]);
    assert_eq!(codes(&sent[0].outcomes), [(250, "2.0.0"), (550, "5.7.1")]);
    let posted = std::mem::take(&mut *served.script.posted.lock().unwrap());
    assert_eq!(posted[0].refusing, Refusing::Each);
    served.stop();
}

#[test]
fn storage_that_cannot_is_a_temporary_answer() {
    let served = serve(Options::default());
    served.then(Err(Busy));
    served.then(Ok(vec![Err(MailboxFault::Unavailable("full".into()))]));
    served.then(Ok(vec![Err(MailboxFault::NoAccount)]));
    let sent = served.send(
        Role::Smtp,
        vec![
            mail(&["alice"]),
            mail(&["alice"]),
            mail(&["alice"]),
            mail(&["alice"]),
        ],
    );
    let answers: Vec<_> = sent.iter().map(|sent| codes(&sent.outcomes)[0]).collect();
    assert_eq!(
        answers,
        [
            (451, "4.3.2"),
            (451, "4.3.0"),
            (550, "5.1.1"),
            (250, "2.0.0")
        ]
    );
    assert_eq!(
        (
            served.counters.deferred.load(Relaxed),
            served.counters.refused.load(Relaxed)
        ),
        (2, 1)
    );
    served.stop();
}

#[test]
fn one_answer_for_all_is_never_final_where_anything_may_yet_succeed() {
    let (ok, full, unknown) = (
        Ok(()),
        Err(Refusal::MailboxFull),
        Err(Refusal::UnknownRecipient),
    );
    assert_eq!(one_answer(&[ok, ok]), None);
    assert_eq!(one_answer(&[unknown, ok]), Some(Refusal::SomeFailed));
    assert_eq!(one_answer(&[unknown, full]), Some(Refusal::MailboxFull));
    assert_eq!(
        one_answer(&[unknown, unknown]),
        Some(Refusal::UnknownRecipient)
    );
    for fault in [
        MailboxFault::NoMailbox,
        MailboxFault::Exists,
        MailboxFault::OverQuota,
        MailboxFault::Refused("x"),
        MailboxFault::TooMany("x"),
        MailboxFault::Damaged,
        MailboxFault::Unavailable("x".into()),
    ] {
        assert!(refusal_for(&fault).is_temporary(), "{fault:?}");
    }
    assert!(!refusal_for(&MailboxFault::NoAccount).is_temporary());
}

/// RFC 3463 §3.4: a full system is not a full mailbox, and a message that never fits is refused for good.
#[test]
fn what_the_store_cannot_take_is_named_to_the_sender() {
    assert_eq!(refusal_for(&MailboxFault::Full), Refusal::StorageFull);
    assert_eq!(refusal_for(&MailboxFault::TooLarge), Refusal::TooBig);
    assert_eq!(refusal_for(&MailboxFault::OverQuota), Refusal::MailboxFull);
    assert!(refusal_for(&MailboxFault::Full).is_temporary());
    assert!(!refusal_for(&MailboxFault::TooLarge).is_temporary());
}

/// All of it in one step: the next try after a refusal doubles nothing.
#[test]
fn an_address_that_leads_on_goes_to_the_queue_with_all_the_rest() {
    let served = serve(Options::default());
    let mut several = mail(&["alice", "sales", "alice", "sales", "postmaster"]);
    several.parameters = " SMTPUTF8 BODY=8BITMIME".into();
    served.then(Ok(vec![Err(MailboxFault::Unavailable("full".into()))]));
    let sent = served.send(Role::Smtp, vec![several.clone(), several]);
    let answers: Vec<_> = sent.iter().map(|sent| codes(&sent.outcomes)[0]).collect();
    assert_eq!(answers, [(451, "4.3.0"), (250, "2.0.0")]);
    assert!(served.handed().is_empty(), "nothing goes another way");
    let submitted = std::mem::take(&mut *served.script.submitted.lock().unwrap());
    assert_eq!(submitted.len(), 2);
    let Submission {
        here, elsewhere, ..
    } = &submitted[1];
    let here: Vec<(u32, &str)> = here
        .iter()
        .map(|local| {
            let to = local.to.as_ref().expect("it stands for a recipient");
            (local.place.account.0, to.path.as_str())
        })
        .collect();
    assert_eq!(here, [(1, "alice@example.org"), (2, "bob@example.org")]);
    assert_eq!(elsewhere.from, "sender@example.net");
    let listed: Vec<&str> = elsewhere
        .recipients
        .iter()
        .map(|to| to.path.as_str())
        .collect();
    assert_eq!(listed, ["sales@example.org"]);
    assert!(elsewhere.terms.is_utf8 && elsewhere.terms.is_eight_bit);
    served.stop();
}
