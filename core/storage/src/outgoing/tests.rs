//! How a message enters, who has it, and what came of it.

use base::BodyName;
use mail::{Flags, Summary};
use mailbox::AccountId;
use mailbox::names::Posters;
use queue::{RecipientState, Terms};

use super::*;
use crate::addresses;
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
        junk: Vec::new(),
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
        age_counts: true,
        warns: true,
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

/// Leads the only recipient of a message from `from` on, and answers what waits then: the reverse-path, and each path with its original.
async fn led_on(outgoing: &Outgoing, to: &str) -> Vec<(String, Vec<Addressee>)> {
    let id = outgoing.submit(submission(vec![], &[to])).await;
    let id = id.expect("taken").expect("it waits");
    let led = outgoing.lead_on(id, UnixSeconds(1_001), body("hello"), 0);
    assert_eq!(led.await, Ok(Placing::Placed));
    let mut found = Vec::new();
    for entry in outgoing.queue.entries(Some(id), usize::MAX) {
        let to = entry.recipients.into_iter().map(|each| each.to);
        found.push((entry.from, to.collect()));
    }
    found
}

/// RFC 3461 §4.2: ORCPT is xtext. A server that checks it refuses the recipient for ever.
#[test]
fn the_original_address_of_what_is_led_on_is_xtext() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        outgoing.set_fresh_key([7; 32]);
        account(&outgoing, "alice", 0).await;
        let directory = outgoing.mailboxes.directory();
        let elsewhere = || vec![Address::from_path("x@example.net").expect("an address")];
        for name in ["info@example.org", "@example.org"] {
            directory.put_alias(name, elsewhere()).await.expect("new");
        }
        let owner = Address::from_path("x@example.net").expect("an address");
        let made = directory.make_group("all@example.org", Posters::Anyone, owner, "");
        made.await.expect("a new group");
        for (to, original) in [
            ("info@example.org", "rfc822;info@example.org"),
            ("info+shop@example.org", "rfc822;info+2Bshop@example.org"),
            ("all+owner@example.org", "rfc822;all+2Bowner@example.org"),
            ("a=b@example.org", "rfc822;a+3Db@example.org"),
            ("\"a b\"@example.org", "rfc822;\"a+20b\"@example.org"),
            ("m\u{fc}ller@example.org", ""),
        ] {
            let found = led_on(&outgoing, to).await;
            let [(_, led)] = &found[..] else {
                panic!("{found:?}")
            };
            assert_eq!(led.len(), 1);
            assert_eq!(
                (&led[0].path[..], &led[0].original[..]),
                ("x@example.net", original)
            );
        }
    });
}

/// An alias to a group passes its own name on to every member: the step that leads on must fit one group of the log all the same.
#[test]
fn an_alias_with_a_long_name_leads_to_all_members_of_a_group() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        outgoing.set_fresh_key([7; 32]);
        account(&outgoing, "alice", 0).await;
        let directory = outgoing.mailboxes.directory();
        let at = |path: &str| Address::from_path(path).expect("an address");
        let owner = at("alice@example.org");
        let made = directory.make_group("all@example.org", Posters::Anyone, owner, "");
        made.await.expect("a new group");
        for some in 0..10 {
            let each = 500 * some..500 * (some + 1);
            let members = each.map(|number| at(&format!("{number}@example.net")));
            let added = directory.add_members("all@example.org", members.collect());
            assert_eq!(added.await, Ok(500));
        }
        let long = format!("{}@example.org", "x".repeat(180));
        let targets = vec![at("all@example.org"), at("alice@example.org")];
        directory.put_alias(&long, targets).await.expect("new");
        let found = led_on(&outgoing, &long).await;
        let (here, elsewhere) = found.split_first().expect("messages");
        assert_eq!(here.1[0].original, format!("rfc822;{long}"));
        let all: Vec<&Addressee> = elsewhere.iter().flat_map(|(_, to)| to).collect();
        assert_eq!(all.len(), 5_000);
        assert!(all.iter().all(|to| to.original.is_empty()));
    });
}

/// A domain that is kept in letters has a spelling that servers without SMTPUTF8 take: what we write ourselves is in that one.
#[test]
fn reverse_paths_of_ours_are_in_ascii_where_the_domain_is_kept_in_letters() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        outgoing.set_fresh_key([7; 32]);
        let at = |path: &str| Address::from_path(path).expect("an address");
        let directory = outgoing.mailboxes.directory();
        let made = directory.add_domain("b\u{fc}cher.example").await;
        made.expect("a new domain");
        let put = directory.put_alias("info@b\u{fc}cher.example", vec![at("x@example.net")]);
        put.await.expect("a new alias");
        let group = "all@b\u{fc}cher.example";
        let made = directory.make_group(group, Posters::Anyone, at("x@example.net"), "");
        made.await.expect("a new group");
        let added = directory.add_members(group, vec![at("x@example.net")]);
        added.await.expect("a new member");
        let from = async |sender: &str, to: &str| {
            let mut given = submission(vec![], &[to]);
            given.elsewhere.from = sender.to_owned();
            let id = outgoing.submit(given).await.expect("taken");
            let id = id.expect("it waits");
            let led = outgoing.lead_on(id, UnixSeconds(1_001), body("hello"), 0);
            assert_eq!(led.await, Ok(Placing::Placed));
            let found = outgoing.queue.entries(Some(id), 9);
            assert_eq!(found.len(), 1);
            found[0].from.clone()
        };
        let sealed = from("y@example.com", "info@xn--bcher-kva.example").await;
        assert!(sealed.starts_with("SRS0=") && sealed.ends_with("@xn--bcher-kva.example"));
        let bounces = from("y@example.com", "all@xn--bcher-kva.example").await;
        assert_eq!(bounces, "all+bounces@xn--bcher-kva.example");
        // Both lead back.
        for (back, to) in [(sealed, "y@example.com"), (bounces, "x@example.net")] {
            let led = addresses::lead(&outgoing.mailboxes, &at(&back), 1_001).await;
            let led = led.expect("looked up").expect("it leads on");
            assert_eq!(led.elsewhere, [at(to)]);
        }
        assert_eq!(from("", "info@xn--bcher-kva.example").await, "");
        let (name, row) = match directory.listed(&at(group)) {
            Some(mailbox::names::Listed::Group(name, row)) => (name, row),
            other => panic!("{other:?}"),
        };
        let fields = addresses::fields(Some(&(name, row)), &at("all@xn--bcher-kva.example"));
        assert!(fields.is_ascii(), "{fields}");
    });
}

/// A message for `to` that waits as junk.
async fn junk_for(outgoing: &Outgoing, to: &[&str]) -> QueueId {
    let mut submission = submission(vec![], to);
    submission.elsewhere.terms.is_junk = true;
    let taken = outgoing.submit(submission).await.expect("taken");
    taken.expect("it waits")
}

#[test]
fn junk_in_the_queue_is_delivered_to_the_folder_for_junk() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let [alice, bob, carol] = [
            account(&outgoing, "alice", 0).await,
            account(&outgoing, "bob", 0).await,
            account(&outgoing, "carol", 0).await,
        ];
        let mailboxes = &outgoing.mailboxes;
        mailboxes.rename(bob, "Junk", "Spam").await.expect("there");
        mailboxes.delete(carol, "Junk").await.expect("there");
        let to = ["alice@example.org", "bob@example.org", "carol@example.org"];
        let at = UnixSeconds(1_001);
        let id = junk_for(&outgoing, &to).await;
        for index in 0..3 {
            let placed = outgoing.deliver_here(id, at, body("prize"), index).await;
            assert_eq!(placed, Ok(Placing::Placed));
        }
        let submitted = outgoing.submit(submission(vec![], &to[..1])).await;
        let id = submitted.expect("taken").expect("it waits");
        let placed = outgoing.deliver_here(id, at, body("hello"), 0).await;
        assert_eq!(placed, Ok(Placing::Placed));
        assert_eq!(count_in(&outgoing, alice, "Junk").await, 1);
        assert_eq!(count_in(&outgoing, alice, "INBOX").await, 1);
        assert_eq!(count_in(&outgoing, bob, "Spam").await, 1);
        assert_eq!(count_in(&outgoing, carol, "INBOX").await, 1);
    });
}

#[test]
fn what_is_led_on_stays_junk_for_an_alias_and_for_a_group() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let alice = account(&outgoing, "alice", 0).await;
        let directory = outgoing.mailboxes.directory();
        let to = |path| Address::from_path(path).expect("an address");
        let members = vec![to("alice@example.org"), to("x@example.net")];
        outgoing.set_fresh_key([7; 32]);
        let made = directory.put_alias("info@example.org", members.clone());
        made.await.expect("new");
        let owner = to("alice@example.org");
        let made = directory.make_group("all@example.org", Posters::Anyone, owner, "");
        made.await.expect("new");
        let added = directory.add_members("all@example.org", members).await;
        assert_eq!(added, Ok(2));
        let at = UnixSeconds(1_001);
        for (count, name) in (1..).zip(["info@example.org", "all@example.org"]) {
            let id = junk_for(&outgoing, &[name]).await;
            let led = outgoing.lead_on(id, at, body("prize"), 0).await;
            assert_eq!(led, Ok(Placing::Placed));
            let entries = outgoing.queue.entries(Some(id), usize::MAX);
            assert_eq!(entries.len(), 2, "here, and elsewhere");
            assert!(entries.iter().all(|entry| entry.terms.is_junk), "{name}");
            let here = entries.iter().find(|entry| {
                let path = &entry.recipients[0].to.path;
                path == "alice@example.org"
            });
            let here = here.expect("alice's").id;
            let placed = outgoing.deliver_here(here, at, body("prize"), 0).await;
            assert_eq!(placed, Ok(Placing::Placed));
            assert_eq!(count_in(&outgoing, alice, "Junk").await, count);
        }
        assert_eq!(count_in(&outgoing, alice, "INBOX").await, 0);
    });
}

/// The mark of the queue is that of the recipients in it: a mailbox without room must not get good mail as junk because the message was junk
/// for an address of another person, nor junk as good mail.
#[test]
fn a_recipient_that_waits_for_room_keeps_its_own_judgement() {
    let (world, outgoing) = rig::outgoing();
    world.block_on(async {
        let alice = account(&outgoing, "alice", 0).await;
        let full = account(&outgoing, "full", 1).await;
        let full_is = |is_junk: bool, elsewhere: &[&str], elsewhere_is_junk: bool, beside: bool| {
            let mut here = vec![local(full, "INBOX", Some("full@example.org"))];
            if beside {
                here.push(local(alice, "INBOX", Some("alice@example.org")));
            }
            let mut submission = submission(here, elsewhere);
            submission.junk = is_junk.then_some(full).into_iter().collect();
            submission.elsewhere.terms.is_junk = elsewhere_is_junk;
            submission
        };
        let led = &["x@example.net"][..];
        for (submission, wanted) in [
            (full_is(true, &[], false, true), vec![true]),
            (full_is(true, &[], false, false), vec![true]),
            (full_is(false, led, true, true), vec![true, false]),
            (full_is(true, led, false, true), vec![false, true]),
            // In one entry: in doubt it is good mail.
            (full_is(false, led, true, false), vec![false]),
            (full_is(true, led, false, false), vec![false]),
            (full_is(true, led, true, false), vec![true]),
        ] {
            let before = outgoing.queue.entries(None, usize::MAX);
            let before = before.last().map(|entry| entry.id);
            outgoing.submit(submission).await.expect("taken");
            let entries = outgoing.queue.entries(before, usize::MAX);
            let marks: Vec<_> = entries.iter().map(|entry| entry.terms.is_junk).collect();
            assert_eq!(marks, wanted);
        }
    });
}
