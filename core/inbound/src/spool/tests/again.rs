//! What was handed over and is handed over again.

use super::*;

/// Storage lost mail: what was handed over lately comes back once, and who has it still gets no second copy.
#[test]
fn a_redelivery_brings_back_what_is_lost_and_nothing_else() {
    let house = house_keeping(6, 3_600);
    house.world.block_on(async {
        let spool = &house.spool;
        house.way.set(Lane::Full);
        for text in ["one", "two", "three"] {
            assert_eq!(house.deliver(text).await, Ok(()));
        }
        house.way.set(Lane::Goes);
        assert_eq!(house.drain().await, Round::Nothing);
        assert_eq!(house.inbox().await, ["one", "two", "three"]);
        assert_eq!((spool.gauges().waiting(), spool.gauges().kept()), (0, 3));

        // Two of them are gone.
        let mailboxes = house.way.outgoing.mailboxes();
        let folders = mailboxes.list(house.alice).await.expect("its folders");
        let inbox = folders.iter().find(|folder| folder.name == "INBOX");
        let inbox = inbox.expect("an INBOX").id;
        let view = mailboxes.view(inbox).await.expect("readable");
        let uids: Vec<_> = view.messages.iter().take(2).map(|each| each.uid).collect();
        let deleted = mail::Flags::system(mail::SystemFlags::DELETED);
        let add = mailbox::FlagChange::Add;
        mailboxes
            .flag(inbox, &uids, add, &deleted)
            .await
            .expect("flagged");
        mailboxes.expunge(inbox, &uids).await.expect("expunged");
        assert_eq!(house.inbox().await, ["three"]);

        // Storage need not be there for the wish.
        house.way.set(Lane::Full);
        assert_eq!(spool.redeliver(UnixSeconds(0)).await, Ok(3));
        assert_eq!(house.drain().await, Round::Later);
        house.way.set(Lane::Goes);
        assert_eq!(house.drain().await, Round::Nothing);
        assert_eq!(house.inbox().await, ["three", "one", "two"]);
        assert_eq!((spool.gauges().waiting(), spool.gauges().kept()), (0, 3));
        // Again: nothing is lost.
        assert_eq!(spool.redeliver(UnixSeconds(0)).await, Ok(3));
        assert_eq!(house.drain().await, Round::Nothing);
        assert_eq!(house.inbox().await, ["three", "one", "two"]);
    });
}

/// It would wait for ever, with an alarm that no operator can end.
#[test]
fn a_damaged_copy_that_is_asked_for_again_is_not_stuck() {
    let house = house_keeping(6, 3_600);
    house.world.block_on(async {
        house.way.set(Lane::Full);
        for text in ["one", "two"] {
            assert_eq!(house.deliver(text).await, Ok(()));
        }
        house.way.set(Lane::Goes);
        assert_eq!(house.drain().await, Round::Nothing);
        house.disks.rot(&house.world, &body("one").raw);
        let spool = &house.spool;
        assert_eq!(spool.redeliver(UnixSeconds(0)).await, Ok(2));
        assert_eq!(house.drain().await, Round::Nothing);
        let gauges = spool.gauges();
        assert_eq!((gauges.waiting(), gauges.stuck()), (0, 0));
        assert_eq!(gauges.kept(), 2);
        assert_eq!(house.inbox().await, ["one", "two"]);
    });
}
