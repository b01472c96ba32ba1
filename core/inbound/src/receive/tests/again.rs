//! Contents that come again: tries of one transaction, and others that only look like them.

use super::*;

#[test]
fn a_try_again_places_only_what_is_missing() {
    let served = serve(Options::default());
    served.then(Ok(vec![
        Ok(()),
        Err(MailboxFault::Unavailable("no leg".into())),
    ]));
    let sent = served.send(Role::Smtp, vec![mail(&["alice", "bob"])]);
    assert_eq!(
        outcome(&sent[0]),
        (
            451,
            "4.2.0 delivery failed for some recipients, try again later"
        )
    );
    assert_eq!(served.handed()[0].1, [1, 2]);

    let sent = served.send(Role::Smtp, vec![mail(&["alice", "bob"])]);
    assert_eq!(outcome(&sent[0]).0, 250);
    assert_eq!(served.handed()[0].1, [2], "alice has it already");

    // All is settled: the same content again is a new message for both.
    let sent = served.send(Role::Smtp, vec![mail(&["alice", "bob"])]);
    assert_eq!(outcome(&sent[0]).0, 250);
    assert_eq!(served.handed()[0].1, [1, 2]);
    served.stop();
}

/// What a transaction for `recipients` is answered, and the accounts that it was placed for.
fn sent_to(served: &Served, recipients: &[&str]) -> (u16, Vec<u32>) {
    let sent = served.send(Role::Smtp, vec![mail(recipients)]);
    let placed = served.handed().into_iter().flat_map(|handed| handed.1);
    (outcome(&sent[0]).0, placed.collect())
}

/// Alice has it, bob does not, and the sender gets 451.
fn deferred_for_bob() -> Served {
    let served = serve(Options::default());
    served.then(Ok(vec![
        Ok(()),
        Err(MailboxFault::Unavailable("no leg".into())),
    ]));
    assert_eq!(sent_to(&served, &["alice", "bob"]), (451, vec![1, 2]));
    served
}

#[test]
fn the_same_content_to_those_who_have_it_is_another_message() {
    let served = deferred_for_bob();
    assert_eq!(sent_to(&served, &["alice"]), (250, vec![1]));
    assert_eq!(sent_to(&served, &["alice"]), (250, vec![1]));
    // The try that was promised to the sender still places the rest only.
    assert_eq!(sent_to(&served, &["alice", "bob"]), (250, vec![2]));
    served.stop();
}

#[test]
fn the_same_content_to_others_is_another_message() {
    let served = deferred_for_bob();
    assert_eq!(sent_to(&served, &["alice", "small"]), (250, vec![1, 4]));
    served.stop();
}

/// A sender may try for each recipient apart. Once bob has it too, nothing is owed any more.
#[test]
fn nothing_is_remembered_once_the_rest_was_placed_apart() {
    let served = deferred_for_bob();
    assert_eq!(sent_to(&served, &["bob"]), (250, vec![2]));
    assert_eq!(sent_to(&served, &["alice", "bob"]), (250, vec![1, 2]));
    served.stop();
}

/// The content is known, and alice has it; but what failed for her now is another message.
#[test]
fn what_failed_for_those_who_have_the_same_content_is_placed_at_the_next_try() {
    let served = deferred_for_bob();
    served.then(Ok(vec![Err(MailboxFault::Unavailable("no leg".into()))]));
    assert_eq!(sent_to(&served, &["alice"]), (451, vec![1]));
    assert_eq!(sent_to(&served, &["alice"]), (250, vec![1]));
    served.stop();
}
