//! Messages from accounts elsewhere: with the person's scripts, without a word to their senders, and with their marks in one step.

use mailbox::names::{FetchProtocol, FetchRow, FetchTls, Keep, Noting, Sealed, SeenMark};

use super::*;
use crate::outgoing::Fetched;

fn row() -> FetchRow {
    FetchRow {
        serial: 7,
        protocol: FetchProtocol::Pop3,
        tls: FetchTls::Inside,
        host: "pop.else.example".to_owned(),
        port: 995,
        user: "ann".to_owned(),
        sealed: Sealed::default(),
        folder: "INBOX".to_owned(),
        every_s: 900,
        keep: Keep::Days(0),
        is_filtered: true,
        is_judged: false,
        may_be_private: false,
        stopped: String::new(),
        refusals: 0,
        validity: 0,
        uid: 0,
    }
}

fn noting(ids: std::ops::Range<u64>) -> Noting {
    Noting {
        serial: 7,
        marks: vec![(0, ids.map(|id| SeenMark { id, day: 1 }).collect())],
        ..Noting::default()
    }
}

impl House {
    fn fetched(&self, text: &str, noting: Noting) -> Fetched {
        Fetched {
            account: self.ann,
            number: 1,
            body: body(text),
            internal_date: InternalDate::utc(1_790_000_000),
            is_junk: false,
            is_filtered: true,
            noting,
        }
    }

    async fn has_fetch(&self) {
        let directory = self.outgoing.mailboxes().directory();
        assert_eq!(directory.add_fetch(self.ann, row()).await, Ok(1));
    }

    fn marked(&self) -> usize {
        self.outgoing
            .mailboxes()
            .directory()
            .fetched_count(self.ann, 1)
    }
}

#[test]
fn scripts_file_and_send_on_and_no_sender_hears_of_it() {
    let house = house();
    house.world.block_on(async {
        house.has_fetch().await;
        let place = async |marks| house.outgoing.deliver_fetched(house.fetched(LETTER, noting(marks))).await;
        house.script(house.ann, "require [\"fileinto\", \"mailbox\", \"vacation\", \"copy\"]; vacation \"away\"; redirect :copy \"x@away.example\"; fileinto :create \"Else\";").await;
        assert_eq!(place(0..1).await, Ok(()));
        assert_eq!((house.count_in(house.ann, "Else").await, house.marked()), (1, 1));
        let queued = house.queued().await;
        assert_eq!(queued.len(), 1, "sent on, and no reply");
        assert_eq!((queued[0].0.from.as_str(), queued[0].0.recipients[0].to.path.as_str()), ("", "x@away.example"));
        // What came back from where it was sent on stays here.
        let again = format!("Delivered-To: ann@example.org\r\n{LETTER}");
        let fetched = house.fetched(&again, noting(0..2));
        assert_eq!(house.outgoing.deliver_fetched(fetched).await, Ok(()));
        assert_eq!(house.queued().await.len(), 1, "it goes in no circle");
        // A refusal could reach no sender: the message is kept.
        house.script(house.ann, "require \"reject\"; reject \"no\";").await;
        assert_eq!(place(0..3).await, Ok(()));
        assert_eq!((house.count_in(house.ann, "INBOX").await, house.marked()), (1, 3));
        assert_eq!(house.queued().await.len(), 1);
        // What a script discards is marked all the same: it does not come again.
        house.script(house.ann, "discard;").await;
        assert_eq!(place(0..4).await, Ok(()));
        assert_eq!((house.count_in(house.ann, "INBOX").await, house.marked()), (1, 4));
        // Without its scripts.
        let fetched = Fetched {
            is_filtered: false,
            ..house.fetched(LETTER, noting(0..5))
        };
        assert_eq!(house.outgoing.deliver_fetched(fetched).await, Ok(()));
        assert_eq!((house.count_in(house.ann, "INBOX").await, house.marked()), (2, 5));
    });
}

#[test]
fn what_is_not_placed_is_not_marked() {
    let house = house();
    house.world.block_on(async {
        house.has_fetch().await;
        let mailboxes = house.outgoing.mailboxes();
        mailboxes
            .set_quota(house.ann, 10)
            .await
            .expect("an account");
        let place = async |marks| {
            house
                .outgoing
                .deliver_fetched(house.fetched(LETTER, noting(marks)))
                .await
        };
        assert_eq!(place(0..1).await, Err(MailboxFault::OverQuota));
        assert_eq!(house.marked(), 0);
        mailboxes.set_quota(house.ann, 0).await.expect("an account");
        // It was removed meanwhile: nothing is placed either.
        mailboxes
            .directory()
            .remove_fetch(house.ann, 1)
            .await
            .expect("it is there");
        assert!(matches!(place(0..1).await, Err(MailboxFault::Refused(_))));
        assert_eq!(house.count_in(house.ann, "INBOX").await, 0);
    });
}

/// The power goes at any moment of a delivery: message and mark are both there, or neither; and what comes again comes once.
#[test]
fn a_message_and_its_mark_are_one_step_whenever_the_power_goes() {
    let mut seen = [0; 2];
    for round in 0..60 {
        // Few writes and flushes: each of those moments with several outcomes of what was under way.
        let cut = round % 6;
        let rig = rig::Rig::new(300 + round);
        let world = &rig.world;
        let (outgoing, ann) = world.block_on(async {
            let outgoing = rig.open().await;
            let address = Address::from_path("ann@example.org").expect("an address");
            let mailboxes = outgoing.mailboxes();
            let ann = mailboxes.add_account(&address, "$argon2id$x", 0).await;
            let ann = ann.expect("an account");
            let added = mailboxes.directory().add_fetch(ann, row()).await;
            assert_eq!(added, Ok(1));
            (outgoing, ann)
        });
        let house = |outgoing: Outgoing| House {
            world: rig.world.clone(),
            outgoing,
            ann,
            bob: AccountId(0),
        };
        let first = house(outgoing);
        world.crash_at(world.boundaries() + 1 + cut);
        let fetched = first.fetched(LETTER, noting(0..1));
        let answer = world.run(first.outgoing.deliver_fetched(fetched));
        drop(first);
        world.crash();
        let again = house(world.block_on(rig.open()));
        world.block_on(async {
            let found = (again.count_in(ann, "INBOX").await, again.marked());
            assert!(
                [(0, 0), (1, 1)].contains(&found),
                "round {round}: {found:?}"
            );
            let is_there = found.0 == 1;
            assert!(is_there || !matches!(answer, Ok(Ok(()))), "round {round}");
            seen[usize::from(is_there)] += 1;
            // A conversation fetches it again where it has no mark.
            if !is_there {
                let fetched = again.fetched(LETTER, noting(0..1));
                assert_eq!(again.outgoing.deliver_fetched(fetched).await, Ok(()));
            }
            assert_eq!((again.count_in(ann, "INBOX").await, again.marked()), (1, 1));
        });
    }
    assert!(
        seen.iter().all(|count| *count > 3),
        "both were seen: {seen:?}"
    );
}
