//! The keeper with its spool and the drain, on virtual time, beside real mailboxes.

mod again;
mod credits;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use base::host::oneshot;
use base::{BodyName, Host};
use bytes::Bytes;
use device::sim::SimWorld;
use mail::{Address, InternalDate, Summary};
use mailbox::{AccountId, MailboxFault, Mailboxes};
use queue::{Addressee, Envelope, Queue, Terms, UnixSeconds};
use runtime::{Budget, SessionHost};
use spool::Spool;
use spool::rig::Disks;
use storage::arrival::{Arrival, Found};
use storage::outgoing::{Outgoing, Submission};
use storage::owner::{Ask, Busy};
use store::BodyIn;
use tracing::Span;

use super::limits::*;
use super::*;
use crate::receive::Keeper;

/// What the lane does with closures.
#[derive(Clone, Copy, PartialEq)]
enum Lane {
    Goes,
    Full,
    /// It takes them, and they do not begin until it goes again.
    Stands,
}

type Held = Box<dyn FnOnce()>;

#[derive(Clone)]
struct Way {
    host: Rc<dyn Host>,
    outgoing: Outgoing,
    lane: Rc<RefCell<Lane>>,
    held: Rc<RefCell<Vec<Held>>>,
}

impl Way {
    fn set(&self, lane: Lane) {
        *self.lane.borrow_mut() = lane;
    }

    /// What waited in the lane begins.
    fn let_go(&self) {
        self.set(Lane::Goes);
        let held = std::mem::take(&mut *self.held.borrow_mut());
        held.into_iter().for_each(|begin| begin());
    }
}

impl Ask for Way {
    async fn ask<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Mailboxes) -> F + Send + 'static,
    {
        self.ask_outgoing(|outgoing| work(outgoing.mailboxes().clone()))
            .await
    }

    async fn ask_outgoing<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Outgoing) -> F + Send + 'static,
    {
        let (sender, receiver) = oneshot();
        let (host, outgoing) = (self.host.clone(), self.outgoing.clone());
        let begin: Held = Box::new(move || {
            let task = work(outgoing);
            host.spawn(Box::pin(async move { sender.send(task.await) }));
        });
        match *self.lane.borrow() {
            Lane::Full => return Err(Busy),
            Lane::Stands => self.held.borrow_mut().push(begin),
            Lane::Goes => begin(),
        }
        receiver.await.ok_or(Busy)
    }

    fn refuses_mail(&self) -> bool {
        false
    }
}

/// Bytes of messages under way.
const CREDITS: usize = 64 << 10;

struct House {
    world: SimWorld,
    way: Way,
    spool: Spool,
    keeper: Spooled<Way, Spool>,
    alice: AccountId,
    host: SessionHost,
    disks: Disks,
    credits: Budget,
}

/// Alice has room, and the spool has room for 6 messages.
fn house() -> House {
    house_of(6)
}

fn house_of(messages_max: usize) -> House {
    house_keeping(messages_max, 0)
}

/// One whose spool keeps copies.
fn house_keeping(messages_max: usize, keep_s: u64) -> House {
    let world = SimWorld::new(1);
    let (mail, disks) = (Disks::new(&world, 1), Disks::new(&world, 2));
    let io = world.io();
    let outgoing = world.block_on(outgoing(&world, &mail));
    let way = Way {
        host: io.host.clone(),
        outgoing: outgoing.clone(),
        lane: Rc::new(RefCell::new(Lane::Goes)),
        held: Rc::default(),
    };
    let host = SessionHost::on(io.host.clone());
    let (spool, alice) = world.block_on(async {
        let spool = disks.open_keeping(&world, 1 << 20, messages_max, keep_s);
        let spool = spool.await;
        (spool, account(&outgoing, "alice", 0).await)
    });
    let credits = super::credits(CREDITS, 8_000);
    let keeper = Spooled::new(host.clone(), way.clone(), spool.clone(), credits.clone());
    House {
        world,
        way,
        spool,
        keeper,
        alice,
        host,
        disks,
        credits,
    }
}

async fn outgoing(world: &SimWorld, disks: &Disks) -> Outgoing {
    let (store, replay) = disks.store(world).await;
    let settings = mailbox::Settings {
        cache_bytes: 16 << 20,
        checkpoint_groups: u64::MAX,
        checkpoint_bytes: u64::MAX,
        checkpoint_us: u64::MAX,
    };
    let mut queue = None;
    let others = |tenancy: &_| vec![queue.insert(Queue::new(tenancy)).tenant()];
    let opened = Mailboxes::open_beside(world.io(), store, replay, settings, others).await;
    let mailboxes = opened.expect("new mailboxes");
    mailboxes.add_domain("example.org").await.expect("a domain");
    Outgoing::new(mailboxes, queue.expect("made just now"))
}

async fn account(outgoing: &Outgoing, local: &str, quota_bytes: u64) -> AccountId {
    let mailboxes = outgoing.mailboxes();
    let address = address(local);
    let made = mailboxes.add_account(&address, "$hash", quota_bytes);
    made.await.expect("a new account")
}

fn address(local: &str) -> Address {
    Address::from_parts(local, "example.org").expect("plain words")
}

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

impl House {
    async fn deliver(&self, text: &str) -> Result<(), MailboxFault> {
        self.deliver_to(text, &[(self.alice, "alice@example.org")])
            .await
            .remove(0)
    }

    async fn deliver_to(
        &self,
        text: &str,
        to: &[(AccountId, &str)],
    ) -> Vec<Result<(), MailboxFault>> {
        let arrival = Arrival {
            junk: Vec::new(),
            posted: Default::default(),
            body: body(text),
            internal_date: InternalDate::utc(1_000),
            accounts: to.iter().map(|(account, _)| *account).collect(),
        };
        let on_behalf = |accounts: &[AccountId]| {
            let whose = to.iter().filter(|(account, _)| accounts.contains(account));
            envelope(&whose.map(|(_, path)| *path).collect::<Vec<_>>())
        };
        let span = Span::none();
        let delivered = self.keeper.deliver(arrival, &on_behalf, &span);
        delivered.await.expect("it has a spool")
    }

    fn waiting(&self) -> usize {
        self.spool.gauges().waiting()
    }

    /// Hands over until nothing waits or storage takes nothing.
    async fn drain(&self) -> Round {
        let mut drain = Drain::new(self.host.clone(), self.spool.clone(), self.way.clone());
        loop {
            // until nothing moves
            match drain.round().await {
                Round::Moved => {}
                round => return round,
            }
        }
    }

    /// Subjects in Alice's INBOX, in order.
    async fn inbox(&self) -> Vec<String> {
        let mailboxes = self.way.outgoing.mailboxes();
        let folders = mailboxes.list(self.alice).await.expect("its folders");
        let inbox = folders.iter().find(|folder| folder.name == "INBOX");
        let view = mailboxes.view(inbox.expect("an INBOX").id).await;
        let mut subjects = Vec::new();
        for message in view.expect("readable").messages.iter() {
            let raw = mailboxes.store().body(&message.body).await;
            let raw = raw.expect("its bytes");
            let line = raw.split(|byte| *byte == b'\r').next().expect("a line");
            subjects.push(String::from_utf8_lossy(&line[9..]).into_owned());
        }
        subjects
    }

    /// Whom the outbound queue has messages for.
    fn queued(&self) -> Vec<String> {
        let entries = self.way.outgoing.queue().entries(None, 99).into_iter();
        let paths = entries.flat_map(|entry| entry.recipients.into_iter().map(|each| each.to.path));
        paths.collect()
    }
}

#[test]
fn a_message_that_storage_takes_sees_no_spool() {
    let house = house();
    house.world.block_on(async {
        assert_eq!(house.deliver("one").await, Ok(()));
        assert_eq!(
            (house.inbox().await, house.waiting()),
            (vec!["one".into()], 0)
        );
        assert_eq!(house.spool.gauges().taken(), 0);
    });
}

#[test]
fn what_finds_the_lane_full_is_spooled_and_handed_over_in_order() {
    let house = house();
    house.world.block_on(async {
        house.way.set(Lane::Full);
        for text in ["one", "two", "three"] {
            assert_eq!(house.deliver(text).await, Ok(()));
        }
        assert_eq!(house.drain().await, Round::Later);
        house.way.set(Lane::Goes);
        // What waits is not overtaken.
        assert_eq!(house.deliver("four").await, Ok(()));
        assert_eq!((house.inbox().await, house.waiting()), (vec![], 4));
        assert_eq!(house.drain().await, Round::Nothing);
        assert_eq!(house.inbox().await, ["one", "two", "three", "four"]);
        assert_eq!(house.waiting(), 0);
        assert_eq!(house.deliver("five").await, Ok(()));
        assert_eq!(house.inbox().await.len(), 5);
    });
}

/// The direct delivery begins long after the message was accepted, before or after the hand-over.
#[test]
fn silence_has_a_deadline_and_a_late_delivery_doubles_nothing() {
    for hands_over_first in [false, true] {
        let house = house();
        house.world.block_on(async {
            house.way.set(Lane::Stands);
            let began = house.host.now();
            assert_eq!(house.deliver("one").await, Ok(()));
            let waited_us = house.host.now().since_us(began);
            assert!(waited_us >= DIRECT_MAX.as_micros() as u64);
            assert_eq!(
                house
                    .keeper
                    .counters()
                    .silent
                    .load(std::sync::atomic::Ordering::Relaxed),
                1
            );
            // Behind it no message waits for storage once more.
            let began = house.host.now();
            assert_eq!(house.deliver("two").await, Ok(()));
            assert!(house.host.now().since_us(began) < DIRECT_MAX.as_micros() as u64);
            if hands_over_first {
                house.way.set(Lane::Goes);
                assert_eq!(house.drain().await, Round::Nothing);
                house.way.let_go();
            } else {
                house.way.let_go();
            }
            house.host.sleep(Duration::from_secs(1)).await;
            assert_eq!(house.drain().await, Round::Nothing);
            assert_eq!(house.inbox().await, ["one", "two"]);
            assert_eq!(house.waiting(), 0);
        });
    }
}

#[test]
fn a_full_spool_refuses_and_nothing_of_it_is_lost() {
    let house = house();
    house.world.block_on(async {
        house.way.set(Lane::Full);
        for text in ["1", "2", "3", "4", "5", "6"] {
            assert_eq!(house.deliver(text).await, Ok(()));
        }
        assert!(!house.keeper.takes_known());
        assert_eq!(house.deliver("7").await, Err(MailboxFault::Full));
        house.way.set(Lane::Goes);
        assert_eq!(house.drain().await, Round::Nothing);
        assert_eq!(house.inbox().await, ["1", "2", "3", "4", "5", "6"]);
        assert!(house.keeper.takes_known());
    });
}

#[test]
fn a_refusal_of_one_recipient_is_heard_at_once_and_in_the_spool_it_is_the_queues() {
    let house = house();
    house.world.block_on(async {
        let full = account(&house.way.outgoing, "full", 1).await;
        let both = [
            (house.alice, "alice@example.org"),
            (full, "full@example.org"),
        ];
        let answers = house.deliver_to("one", &both).await;
        assert_eq!(answers, [Ok(()), Err(MailboxFault::OverQuota)]);
        assert_eq!(house.waiting(), 0);
        house.way.set(Lane::Full);
        let answers = house.deliver_to("two", &both).await;
        assert_eq!(answers, [Ok(()), Ok(())], "storage is not there to say it");
        house.way.set(Lane::Goes);
        assert_eq!(house.drain().await, Round::Nothing);
        assert_eq!(house.inbox().await, ["one", "two"]);
        assert_eq!(house.queued(), ["full@example.org"]);
    });
}

#[test]
fn mail_that_leads_on_waits_in_the_spool_as_well() {
    let house = house();
    house.world.block_on(async {
        let submit = |text: &str| Submission {
            junk: Vec::new(),
            body: body(text),
            internal_date: InternalDate::utc(1_000),
            here: Vec::new(),
            elsewhere: envelope(&["sales@example.org"]),
        };
        let span = Span::none();
        assert_eq!(house.keeper.submit(submit("one"), &span).await, Ok(Ok(())));
        house.way.set(Lane::Stands);
        assert_eq!(house.keeper.submit(submit("two"), &span).await, Ok(Ok(())));
        assert_eq!(house.waiting(), 1);
        house.way.let_go();
        house.host.sleep(Duration::from_secs(1)).await;
        assert_eq!(house.drain().await, Round::Nothing);
        assert_eq!(house.queued(), ["sales@example.org", "sales@example.org"]);
    });
}

#[test]
fn a_look_up_does_not_wait_again_and_again_for_a_silent_storage() {
    let house = house();
    house.world.block_on(async {
        let alice = address("alice");
        let look = || house.keeper.look_up(&alice);
        let found = look().await.expect("it answers").found;
        assert!(matches!(found, Ok(Found::Account(_))), "{found:?}");
        house.way.set(Lane::Stands);
        let began = house.host.now();
        for _ in 0..100 {
            assert!(look().await.is_err());
        }
        let waited_us = house.host.now().since_us(began);
        assert!(waited_us < 2 * LOOK_UP_MAX.as_micros() as u64);
        house.way.let_go();
        house.host.sleep(SILENCE_NOTED).await;
        assert!(look().await.is_ok());
    });
}

#[test]
fn the_task_hands_over_by_itself_and_ends_at_the_stop() {
    let house = house();
    house.world.block_on(async {
        house.way.set(Lane::Full);
        assert_eq!(house.deliver("one").await, Ok(()));
        let stop = runtime::Stop::new();
        let (ended, end) = oneshot();
        let task = drain(
            house.host.clone(),
            house.spool.clone(),
            house.way.clone(),
            stop.clone(),
        );
        house.host.spawn(Box::pin(async move {
            task.await;
            ended.send(());
        }));
        house.host.sleep(Duration::from_secs(60)).await;
        assert_eq!(house.waiting(), 1);
        house.way.set(Lane::Goes);
        house.host.sleep(2 * PAUSE_MAX).await;
        assert_eq!(house.inbox().await, ["one"]);
        // It heard of the next one.
        house.way.set(Lane::Full);
        assert_eq!(house.deliver("two").await, Ok(()));
        house.way.set(Lane::Goes);
        house.host.sleep(2 * PAUSE_MAX).await;
        assert_eq!(house.inbox().await, ["one", "two"]);
        stop.request();
        assert_eq!(end.await, Some(()));
    });
}

/// A message that cannot be read any more is kept, and mail goes to storage directly again.
#[test]
fn a_stuck_message_does_not_send_all_mail_round() {
    let house = house();
    house.world.block_on(async {
        house.way.set(Lane::Full);
        assert_eq!(house.deliver("one").await, Ok(()));
        assert_eq!(house.deliver("two").await, Ok(()));
        house.disks.rot(&house.world, &body("one").raw);
        house.way.set(Lane::Goes);
        assert_eq!(house.drain().await, Round::Nothing);
        let gauges = house.spool.gauges();
        assert_eq!((gauges.waiting(), gauges.stuck()), (1, 1));
        assert_eq!(house.deliver("three").await, Ok(()));
        assert_eq!(gauges.taken(), 2, "it saw no spool");
        assert_eq!(house.inbox().await, ["two", "three"]);
        // What waits beside it counts as ever.
        house.way.set(Lane::Full);
        assert_eq!(house.deliver("four").await, Ok(()));
        house.way.set(Lane::Goes);
        assert_eq!(house.deliver("five").await, Ok(()));
        assert_eq!(gauges.taken(), 4);
        assert_eq!(house.drain().await, Round::Nothing);
        assert_eq!(house.inbox().await, ["two", "three", "four", "five"]);
    });
}

/// Its direct delivery came through: nothing is missing, so it is not stuck. While that is under way it is not known.
#[test]
fn a_damaged_message_that_was_placed_leaves_the_spool() {
    let house = house();
    house.world.block_on(async {
        house.way.set(Lane::Stands);
        assert_eq!(house.deliver("one").await, Ok(()));
        house.disks.rot(&house.world, &body("one").raw);
        house.way.let_go();
        house.host.sleep(Duration::from_secs(1)).await;
        assert_eq!(house.drain().await, Round::Nothing);
        let gauges = house.spool.gauges();
        assert_eq!((gauges.waiting(), gauges.stuck()), (0, 0));
        assert_eq!(house.inbox().await, ["one"]);
    });
}

/// Some recipients have it: its id must not be forgotten, so no mail goes past the spool.
#[test]
fn a_stuck_message_that_some_have_keeps_all_mail_on_the_way_through_the_spool() {
    let house = house();
    house.world.block_on(async {
        let full = account(&house.way.outgoing, "full", 1).await;
        let both = [
            (house.alice, "alice@example.org"),
            (full, "full@example.org"),
        ];
        house.way.set(Lane::Stands);
        let answers = house.deliver_to("one", &both).await;
        assert_eq!(answers, [Ok(()), Ok(())]);
        house.disks.rot(&house.world, &body("one").raw);
        house.way.let_go();
        house.host.sleep(Duration::from_secs(1)).await;
        assert_eq!(house.drain().await, Round::Nothing);
        let gauges = house.spool.gauges();
        assert_eq!((gauges.waiting(), gauges.stuck()), (1, 1));
        assert_eq!(house.deliver("two").await, Ok(()));
        assert_eq!(gauges.taken(), 2);
    });
}

async fn take(house: &House, text: &str, path: &str) {
    let taken = house.spool.take(body(text), envelope(&[path])).await;
    taken.expect("it has room");
}

/// The queue is full for a long time: mail for mailboxes goes on, however many wait for the queue.
#[test]
fn what_storage_defers_alone_holds_up_its_own_addresses_only() {
    let house = house_of(2 * HANDED_AT_ONCE + 9);
    house.world.block_on(async {
        let queue = house.way.outgoing.queue();
        let many = || Envelope {
            recipients: vec![Addressee::new("a@b.example"); queue::limits::RECIPIENTS_MAX],
            ..envelope(&[])
        };
        let count = queue::limits::ADDRESSEES_MAX / queue::limits::RECIPIENTS_MAX;
        let parts: Vec<_> = (0..count).map(|_| queue.put(many(), 0)).collect();
        for number in 0..2 * HANDED_AT_ONCE {
            let path = format!("{number}@elsewhere.example");
            take(&house, &format!("to {number}"), &path).await;
        }
        take(&house, "one", "alice@example.org").await;
        take(&house, "late", "0@elsewhere.example").await;
        take(&house, "two", "alice@example.org").await;
        let mut drain = Drain::new(house.host.clone(), house.spool.clone(), house.way.clone());
        for _ in 0..5 {
            drain.round().await;
        }
        assert_eq!(house.inbox().await, ["one", "two"]);
        assert_eq!(house.waiting(), 2 * HANDED_AT_ONCE + 1);
        drop(parts);
        house.host.sleep(ASIDE_FOR).await;
        for _ in 0..5 {
            drain.round().await;
        }
        assert_eq!(house.waiting(), 0);
        assert_eq!(queue.count(), 2 * HANDED_AT_ONCE + 1);
    });
}
