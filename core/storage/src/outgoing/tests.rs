//! How a message enters, who has it, and what came of it.

use base::BodyName;
use mail::Summary;
use mailbox::AccountId;
use queue::Terms;

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
    Envelope {
        from: "alice@example.org".to_owned(),
        recipients: recipients
            .iter()
            .map(|path| Addressee::new(*path))
            .collect(),
        arrived: UnixSeconds(1_000),
        warns: UnixSeconds(15_400),
        expires: UnixSeconds(433_000),
        terms: Terms::default(),
    }
}

fn submission(here: Vec<Local>, elsewhere: &[&str]) -> Submission {
    Submission {
        body: body("hello"),
        internal_date: InternalDate::utc(1_000),
        here,
        elsewhere: envelope(elsewhere),
    }
}

async fn account(outgoing: &Outgoing, local: &str, quota_bytes: u64) -> AccountId {
    let address = Address::from_parts(local, "example.org").expect("plain words");
    let made = outgoing
        .mailboxes
        .add_account(&address, "$hash", quota_bytes);
    made.await.expect("a new account")
}

fn local(account: AccountId, mailbox: &str, to: Option<&str>) -> Local {
    Local {
        place: Recipient {
            account,
            mailbox: mailbox.to_owned(),
            flags: Flags::default(),
        },
        to: to.map(Addressee::new),
    }
}

async fn count_in(outgoing: &Outgoing, account: AccountId, name: &str) -> u32 {
    let folders = outgoing.mailboxes.list(account).await.expect("an account");
    let folder = folders.iter().find(|folder| folder.name == name);
    let status = outgoing.mailboxes.status(folder.expect("usual").id).await;
    status.expect("it is there").messages
}

fn wanted(now: u64) -> Wanted {
    Wanted {
        now: UnixSeconds(now),
        count_max: 100,
        each_max: 100,
        here_max: 100,
        rooms: HashMap::new(),
    }
}

fn recipients(lease: &Lease) -> Vec<&str> {
    let each = lease.entry.recipients.iter();
    each.map(|recipient| recipient.to.path.as_str()).collect()
}

#[test]
fn what_is_submitted_is_in_mailboxes_and_in_the_queue() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let alice = account(&outgoing, "alice", 0).await;
        let bob = account(&outgoing, "bob", 0).await;
        let here = || {
            vec![
                local(alice, "Sent", None),
                local(bob, "INBOX", Some("bob@example.org")),
            ]
        };
        let queued = outgoing
            .submit(submission(here(), &["x@example.net"]))
            .await;
        assert_eq!(queued, Ok(Some(QueueId(1))));
        assert_eq!(outgoing.submit(submission(here(), &[])).await, Ok(None));
        assert_eq!(count_in(&outgoing, alice, "Sent").await, 2);
        assert_eq!(count_in(&outgoing, bob, "INBOX").await, 2);
        let queued = outgoing
            .submit(submission(vec![], &["y@example.net"]))
            .await;
        assert_eq!(queued, Ok(Some(QueueId(2))));
        assert_eq!(outgoing.queue.count(), 2);
    });
}

/// A mailbox without room does not make the message be sent twice to the others, and its owner's copy is not lost.
#[test]
fn a_local_recipient_without_room_is_tried_by_the_queue() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let alice = account(&outgoing, "alice", 0).await;
        let full = account(&outgoing, "full", 1).await;
        let to_full = || local(full, "INBOX", Some("full@example.org"));
        let here = vec![local(alice, "INBOX", Some("alice@example.org")), to_full()];
        outgoing
            .submit(submission(here, &["x@example.net"]))
            .await
            .expect("taken");
        let leases = outgoing.due(&wanted(1_000));
        let paths: Vec<_> = leases.iter().map(recipients).collect();
        assert_eq!(paths, [["x@example.net"], ["full@example.org"]]);
        assert_eq!(leases[1].here, [0]);
        // Nobody of them has room: one entry for all who wait.
        outgoing
            .submit(submission(vec![to_full()], &["y@example.net"]))
            .await
            .expect("taken");
        let third = outgoing.due(&wanted(1_000));
        assert_eq!(recipients(&third[0]), ["y@example.net", "full@example.org"]);
        assert_eq!(count_in(&outgoing, alice, "INBOX").await, 1);
        // The sender's own copy is done without.
        let copy = vec![local(full, "Sent", None)];
        outgoing
            .submit(submission(copy, &["z@example.net"]))
            .await
            .expect("taken");
        assert_eq!(
            recipients(&outgoing.due(&wanted(1_000))[0]),
            ["z@example.net"]
        );
    });
}

#[test]
fn a_message_is_in_one_lease_at_a_time_and_free_when_that_is_dropped() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        for number in 0..3 {
            let to = format!("x@site{number}.example");
            outgoing
                .submit(submission(vec![], &[&to]))
                .await
                .expect("taken");
        }
        assert!(outgoing.due(&wanted(999)).is_empty());
        let mut leases = outgoing.due(&wanted(1_000));
        assert_eq!(leases.len(), 3);
        assert!(outgoing.due(&wanted(1_000)).is_empty());
        let dropped = leases.remove(1).entry.id;
        assert!(!outgoing.is_under_way(dropped));
        let again = outgoing.due(&wanted(1_000));
        assert_eq!(
            again.iter().map(|lease| lease.entry.id).collect::<Vec<_>>(),
            [dropped]
        );
        drop((leases, again));
        // Sites without room are left alone until the sender is to hear of it.
        let mut some = wanted(1_000);
        some.rooms.insert("site0.example".to_owned(), 0);
        assert_eq!(outgoing.due(&some).len(), 2);
        some.now = UnixSeconds(15_400);
        assert_eq!(outgoing.due(&some).len(), 3);
    });
}

#[test]
fn a_delivery_here_takes_the_recipient_out_of_the_queue() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let alice = account(&outgoing, "alice", 0).await;
        let full = account(&outgoing, "full", 1).await;
        let to = [
            "alice@example.org",
            "full@example.org",
            "nobody@example.org",
        ];
        outgoing
            .submit(submission(vec![], &to))
            .await
            .expect("taken");
        let lease = outgoing.due(&wanted(1_000)).remove(0);
        assert_eq!(lease.here, [0, 1, 2]);
        let id = lease.entry.id;
        let mut placings = Vec::new();
        for index in lease.here {
            let at = UnixSeconds(1_001);
            placings.push(outgoing.deliver_here(id, at, body("hello"), index).await);
        }
        let over = Placing::Later(MailboxFault::OverQuota);
        assert_eq!(
            placings,
            [Ok(Placing::Placed), Ok(over), Ok(Placing::NoMailbox)]
        );
        assert_eq!(count_in(&outgoing, alice, "INBOX").await, 1);
        assert_eq!(count_in(&outgoing, full, "INBOX").await, 0);
        let entry = outgoing.queue.entry(id).expect("two of it wait");
        let states: Vec<bool> = entry
            .recipients
            .iter()
            .map(|each| each.state == RecipientState::Delivered)
            .collect();
        assert_eq!(states, [true, false, false]);
    });
}

#[test]
fn a_body_comes_in_pieces_while_its_message_is_there() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let mut raw = b"Subject: large\r\n\r\n".to_vec();
        let mut state = 1_u64;
        while raw.len() < 1_500_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            raw.extend_from_slice(format!("{state:016x}\r\n").as_bytes());
        }
        let raw = Bytes::from(raw);
        let large = BodyIn {
            name: BodyName::of(&raw),
            raw: raw.clone(),
            summary: Bytes::new(),
        };
        let queued = outgoing
            .queue
            .enqueue(large, envelope(&["x@example.net"]))
            .await;
        let id = queued.expect("taken");
        let mut read = Vec::new();
        while read.len() < raw.len() {
            let piece = outgoing
                .body(id, read.len() as u32)
                .await
                .expect("it waits");
            let piece = piece.expect("readable");
            assert!(!piece.is_empty() && piece.len() <= 1 << 20);
            read.extend_from_slice(&piece);
        }
        assert_eq!(read, raw);
        outgoing.queue.remove(id).await.expect("it is there");
        assert!(outgoing.body(id, 0).await.is_none());
    });
}
