//! Flags: what a session may conclude from the answer to a change, \Recent.

use super::*;
use mail::ModSeq;

/// (UID, modification sequence before, is it the last change)
fn facts(flagged: &[Flagged]) -> Vec<(u32, Option<ModSeq>, bool)> {
    let fact = |flagged: &Flagged| (flagged.message.uid.0, flagged.before, flagged.is_last);
    flagged.iter().map(fact).collect()
}

#[test]
fn the_answer_says_which_state_was_changed() {
    let rig = Rig::new(71);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..2 {
            deliver(&mailboxes, number, ada).await;
        }
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let view = mailboxes.view(inbox).await.unwrap();
        let [one, two] = [0, 1].map(|index| view.messages[index].modseq);
        let seen = flags(SystemFlags::SEEN);
        let flagged = mailboxes
            .change_flags(inbox, &[Uid(2)], FlagChange::Add, &seen, None)
            .await
            .unwrap();
        assert_eq!(facts(&flagged), [(2, Some(two), true)]);
        let two = flagged[0].message.modseq;
        // One message changes, the other one had the flag already.
        let flagged = mailboxes
            .change_flags(inbox, &[Uid(1), Uid(2)], FlagChange::Add, &seen, None)
            .await
            .unwrap();
        assert_eq!(
            facts(&flagged),
            [(1, Some(one), true), (2, Some(two), true)]
        );
        assert_eq!(flagged[1].message.modseq, two);
    });
}

#[test]
fn changes_that_overtake_each_other_say_so() {
    let rig = Rig::new(72);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..2 {
            deliver(&mailboxes, number, ada).await;
        }
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let before = mailboxes.view(inbox).await.unwrap();
        let before = [0, 1].map(|index| before.messages[index].modseq);
        // The second is given its number while the first is on its way to the log.
        let (both, [one, two]) = (
            [Uid(1), Uid(2)],
            [SystemFlags::SEEN, SystemFlags::FLAGGED].map(flags),
        );
        let (first, second) = futures_of(
            mailboxes.change_flags(inbox, &both[..1], FlagChange::Add, &one, None),
            mailboxes.change_flags(inbox, &both, FlagChange::Add, &two, None),
        )
        .await;
        let (first, second) = (first.unwrap(), second.unwrap());
        let [ours, theirs] = [ModSeq(before[1].0 + 1), ModSeq(before[1].0 + 2)];
        assert_eq!(second[0].message.modseq, theirs);
        assert_eq!(
            facts(&second),
            [(1, Some(ours), true), (2, Some(before[1]), true)]
        );
        // Whether the first hears of it depends on when it looks; what it says must be true.
        assert_eq!(first[0].before, Some(before[0]));
        assert_eq!(first[0].is_last, first[0].message.modseq == ours);
    });
}

#[test]
fn a_recent_message_is_claimed_once() {
    let rig = Rig::new(73);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let end = Uid(u32::MAX);
        assert_eq!(mailboxes.recent(inbox, end, true), None);
        for number in 0..4 {
            deliver(&mailboxes, number, ada).await;
        }
        assert_eq!(mailboxes.recent_count(inbox).await.unwrap(), 4);
        // A look claims nothing; a session claims what it knows of.
        let all = Some((Uid(1), Uid(4)));
        assert_eq!(mailboxes.recent(inbox, end, false), all);
        assert_eq!(
            mailboxes.recent(inbox, Uid(3), true),
            Some((Uid(1), Uid(2)))
        );
        assert_eq!(mailboxes.recent_count(inbox).await.unwrap(), 2);
        // Expunged ones are not counted.
        let deleted = flags(SystemFlags::DELETED);
        let one = [Uid(3)];
        mailboxes
            .flag(inbox, &one, FlagChange::Add, &deleted)
            .await
            .unwrap();
        mailboxes.expunge(inbox, &one).await.unwrap();
        assert_eq!(mailboxes.recent_count(inbox).await.unwrap(), 1);
        assert_eq!(mailboxes.recent(inbox, end, true), Some((Uid(3), Uid(4))));
        assert_eq!(mailboxes.recent(inbox, end, true), None);
        // Copies are recent where they arrive.
        let work = mailboxes.create(ada, "Work", None).await.unwrap();
        mailboxes
            .copy(inbox, &[Uid(1), Uid(4)], work)
            .await
            .unwrap();
        assert_eq!(mailboxes.recent(work, end, true), Some((Uid(1), Uid(2))));
        deliver(&mailboxes, 9, ada).await;
        assert_eq!(mailboxes.recent(inbox, end, true), Some((Uid(5), Uid(5))));
    });
}

#[test]
fn after_a_restart_old_mail_is_not_recent() {
    let rig = Rig::new(74);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        deliver(&mailboxes, 1, ada).await;
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = mailboxes
            .account(&address("ada"))
            .await
            .unwrap()
            .unwrap()
            .id;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        assert_eq!(mailboxes.recent(inbox, Uid(u32::MAX), true), None);
        deliver(&mailboxes, 2, ada).await;
        let recent = mailboxes.recent(inbox, Uid(u32::MAX), true);
        assert_eq!(recent, Some((Uid(2), Uid(2))));
    });
}

fn keywords(range: std::ops::Range<usize>) -> Flags {
    let keyword = |number| Keyword::parse(&format!("k{number}")).unwrap();
    Flags {
        keywords: range.map(keyword).collect(),
        ..Flags::default()
    }
}

/// Finding O10.
#[test]
fn no_keyword_is_lost_in_silence() {
    let rig = Rig::new(75);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..2 {
            deliver(&mailboxes, number, ada).await;
        }
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let both = [Uid(1), Uid(2)];
        let too_many = MailboxFault::TooMany("keywords on one message");
        let change = async |uids: &[Uid], change, flags: &Flags| {
            let flagged = mailboxes
                .change_flags(inbox, uids, change, flags, None)
                .await;
            flagged.map(|flagged| flagged.len())
        };
        let (add, replace) = (FlagChange::Add, FlagChange::Replace);
        assert_eq!(change(&both[..1], add, &keywords(0..33)).await, Ok(1));
        assert_eq!(change(&both[..1], add, &keywords(33..64)).await, Ok(1));
        // One message is full: neither is changed.
        let one_more = keywords(64..65);
        assert_eq!(change(&both, add, &one_more).await, Err(too_many.clone()));
        let view = mailboxes.view(inbox).await.unwrap();
        assert_eq!(view.messages[0].flags, keywords(0..64));
        assert_eq!(view.messages[1].flags, Flags::default());
        // What is there already, fewer and all at once.
        assert_eq!(change(&both, add, &keywords(3..4)).await, Ok(2));
        assert_eq!(
            change(&both, replace, &keywords(0..65)).await,
            Err(too_many.clone())
        );
        assert_eq!(change(&both[..1], replace, &keywords(9..73)).await, Ok(1));
        // A copy keeps them all; a delivery with more is refused.
        let work = mailboxes.create(ada, "Work", None).await.unwrap();
        mailboxes.copy(inbox, &both[..1], work).await.unwrap();
        let view = mailboxes.view(work).await.unwrap();
        assert_eq!(view.messages[0].flags, keywords(9..73));
        let mut appended = delivery(7, vec![to(ada, "INBOX")]);
        appended.recipients[0].flags = keywords(0..65);
        assert_eq!(mailboxes.deliver(appended).await, [Err(too_many)]);
    });
}

#[test]
fn the_room_for_keywords_is_not_given_twice() {
    let rig = Rig::new(76);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        deliver(&mailboxes, 0, ada).await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let one = [Uid(1)];
        let (first, second) = (keywords(0..40), keywords(40..80));
        // Both look before either is durable.
        let (first, second) = futures_of(
            mailboxes.change_flags(inbox, &one, FlagChange::Add, &first, None),
            mailboxes.change_flags(inbox, &one, FlagChange::Add, &second, None),
        )
        .await;
        assert!(first.is_ok());
        assert_eq!(
            second,
            Err(MailboxFault::TooMany("keywords on one message"))
        );
    });
}

/// Both at once on this thread, polled in this order.
pub(super) async fn futures_of<A, B>(
    one: impl Future<Output = A>,
    other: impl Future<Output = B>,
) -> (A, B) {
    use std::task::Poll;
    let (mut one, mut other) = (Box::pin(one), Box::pin(other));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(move |context| {
        if first.is_none()
            && let Poll::Ready(done) = one.as_mut().poll(context)
        {
            first = Some(done);
        }
        if second.is_none()
            && let Poll::Ready(done) = other.as_mut().poll(context)
        {
            second = Some(done);
        }
        match (first.take(), second.take()) {
            (Some(one), Some(other)) => Poll::Ready((one, other)),
            (one, other) => {
                (first, second) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}
