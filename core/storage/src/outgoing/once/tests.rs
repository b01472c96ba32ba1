//! One delivery, directly and from a spool, in every order.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use base::BodyName;
use bytes::Bytes;
use mail::Summary;
use queue::{Terms, UnixSeconds};

use super::*;
use crate::rig;

fn body(text: &str) -> BodyIn {
    let raw = Bytes::from(format!("Subject: {text}\r\n\r\n{text}\r\n"));
    BodyIn {
        name: BodyName::of(&raw),
        summary: Bytes::from(Summary::of(&raw).encode()),
        raw,
    }
}

fn envelope(recipients: &[&str]) -> Envelope {
    let recipients = recipients.iter().map(|path| Addressee::new(*path));
    Envelope {
        from: "you@example.net".to_owned(),
        recipients: recipients.collect(),
        arrived: UnixSeconds(1_000),
        warns: UnixSeconds(15_400),
        expires: UnixSeconds(433_000),
        terms: Terms::default(),
    }
}

fn arrival(text: &str, accounts: &[AccountId]) -> Arrival {
    Arrival {
        junk: Vec::new(),
        posted: Default::default(),
        body: body(text),
        internal_date: InternalDate::utc(1_000),
        accounts: accounts.to_vec(),
    }
}

async fn account(outgoing: &Outgoing, local: &str, quota_bytes: u64) -> AccountId {
    let address = Address::from_parts(local, "example.org").expect("plain words");
    let mailboxes = outgoing.mailboxes();
    let made = mailboxes.add_account(&address, "$hash", quota_bytes);
    made.await.expect("a new account")
}

async fn count(outgoing: &Outgoing, account: AccountId) -> usize {
    let mailboxes = outgoing.mailboxes();
    let folders = mailboxes.list(account).await.expect("its folders");
    let inbox = folders.iter().find(|folder| folder.name == "INBOX");
    let view = mailboxes.view(inbox.expect("an INBOX").id).await;
    view.expect("readable").messages.iter().count()
}

/// Whom the queue has messages for.
fn waiting(outgoing: &Outgoing) -> Vec<String> {
    let entries = outgoing.queue().entries(None, 99).into_iter();
    let paths = entries.flat_map(|entry| entry.recipients.into_iter().map(|each| each.to.path));
    paths.collect()
}

#[test]
fn what_was_delivered_directly_is_not_placed_again() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let alice = account(&outgoing, "alice", 0).await;
        let direct = outgoing.deliver_once(arrival("one", &[alice])).await;
        assert_eq!(direct, [Ok(())]);
        let handed = outgoing.hand_over(body("one"), envelope(&["alice@example.org"]), 0);
        assert_eq!(handed.await, Ok(HandedOver::Before));
        assert_eq!(count(&outgoing, alice).await, 1);
        // Another message is another delivery.
        let handed = outgoing.hand_over(body("two"), envelope(&["alice@example.org"]), 0);
        assert_eq!(handed.await, Ok(HandedOver::Now));
        assert_eq!(count(&outgoing, alice).await, 2);
        // The direct one had waited in the lane all the time.
        let direct = outgoing.deliver_once(arrival("two", &[alice])).await;
        assert_eq!(direct, [Ok(())]);
        assert_eq!(count(&outgoing, alice).await, 2);
        assert_eq!(waiting(&outgoing), [""; 0]);
    });
}

#[test]
fn a_hand_over_waits_for_the_end_of_a_direct_delivery() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let alice = account(&outgoing, "alice", 0).await;
        let mut direct = pin!(outgoing.deliver_once(arrival("one", &[alice])));
        let begun = poll_fn(|context| Poll::Ready(direct.as_mut().poll(context)));
        assert!(begun.await.is_pending(), "it is on its way to the log");
        let hand_over = || outgoing.hand_over(body("one"), envelope(&["alice@example.org"]), 0);
        for _ in 0..3 {
            assert_eq!(hand_over().await, Ok(HandedOver::UnderWay));
        }
        assert_eq!(direct.await, [Ok(())]);
        assert_eq!(hand_over().await, Ok(HandedOver::Before));
        assert_eq!(count(&outgoing, alice).await, 1);
    });
}

/// The sender never heard that one of them was refused: the spool answers for it.
#[test]
fn whom_the_direct_delivery_refused_is_served_by_the_hand_over() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let alice = account(&outgoing, "alice", 0).await;
        let full = account(&outgoing, "full", 1).await;
        let direct = outgoing.deliver_once(arrival("one", &[alice, full])).await;
        assert_eq!(direct, [Ok(()), Err(MailboxFault::OverQuota)]);
        let both = ["alice@example.org", "full@example.org"];
        let handed = outgoing.hand_over(body("one"), envelope(&both), 0).await;
        assert_eq!(handed, Ok(HandedOver::Now));
        assert_eq!(count(&outgoing, alice).await, 1);
        assert_eq!(waiting(&outgoing), ["full@example.org"]);
        let again = outgoing.hand_over(body("one"), envelope(&both), 0).await;
        assert_eq!(again, Ok(HandedOver::Before));
        assert_eq!(waiting(&outgoing), ["full@example.org"]);
    });
}

#[test]
fn whoever_has_no_mailbox_by_now_is_left_to_the_queue() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let alice = account(&outgoing, "alice", 0).await;
        let to = [
            "gone@example.org",
            "alice@example.org",
            "alice+tag@example.org",
        ];
        let handed = outgoing.hand_over(body("one"), envelope(&to), 0).await;
        assert_eq!(handed, Ok(HandedOver::Now));
        assert_eq!(
            count(&outgoing, alice).await,
            1,
            "one copy for two addresses"
        );
        assert_eq!(waiting(&outgoing), ["gone@example.org"]);
        // No recipient has one.
        let handed = outgoing.hand_over(body("two"), envelope(&["away@example.org"]), 0);
        assert_eq!(handed.await, Ok(HandedOver::Now));
        assert_eq!(waiting(&outgoing), ["gone@example.org", "away@example.org"]);
        let handed = outgoing.hand_over(body("two"), envelope(&["away@example.org"]), 0);
        assert_eq!(handed.await, Ok(HandedOver::Before));
    });
}

#[test]
fn mail_that_leads_on_is_submitted_once() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let submission = || Submission {
            junk: Vec::new(),
            body: body("one"),
            internal_date: InternalDate::utc(1_000),
            here: Vec::new(),
            elsewhere: envelope(&["sales@example.org"]),
        };
        assert_eq!(outgoing.submit_once(submission()).await, Ok(()));
        assert_eq!(outgoing.submit_once(submission()).await, Ok(()));
        let handed = outgoing.hand_over(body("one"), envelope(&["sales@example.org"]), 0);
        assert_eq!(handed.await, Ok(HandedOver::Before));
        assert_eq!(waiting(&outgoing), ["sales@example.org"]);
    });
}

/// Another node brings a message again under its id, because an answer was lost: the first try had served some.
#[test]
fn the_next_try_under_an_id_serves_whom_the_first_refused() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let alice = account(&outgoing, "alice", 0).await;
        let full = account(&outgoing, "full", 1).await;
        let id = DeliveryId([7; 16]);
        let first = outgoing.deliver_once_as(id, arrival("one", &[alice, full]));
        assert_eq!(first.await, [Ok(()), Err(MailboxFault::OverQuota)]);
        let next = outgoing.deliver_once_as(id, arrival("one again", &[alice, full]));
        assert_eq!(next.await, [Ok(()), Err(MailboxFault::OverQuota)]);
        let mailboxes = outgoing.mailboxes();
        mailboxes.set_quota(full, 0).await.expect("an account");
        for _ in 0..2 {
            let next = outgoing.deliver_once_as(id, arrival("one again", &[alice, full]));
            assert_eq!(next.await, [Ok(()), Ok(())]);
            assert_eq!(count(&outgoing, alice).await, 1);
            assert_eq!(count(&outgoing, full).await, 1);
        }
    });
}
