//! What a script refuses, and senders who may be forged.

use super::*;

#[test]
fn no_reply_goes_to_a_sender_who_may_be_forged() {
    let house = house();
    house.world.block_on(async {
        house
            .script(house.ann, "require \"vacation\"; vacation \"away\";")
            .await;
        let to = [(house.ann, "ann@example.org")];
        let junk = Arrival {
            junk: vec![house.ann],
            ..house.arrival(LETTER, &to, Refusing::Report)
        };
        assert_eq!(house.outgoing.deliver(junk).await, [Ok(())]);
        let failed = LETTER.replace("From:", "Authentication-Results: mx; spf=fail\r\nFrom:");
        assert_eq!(house.to_ann(&failed).await, Ok(()));
        assert_eq!(house.queued().await.len(), 0);
    });
}

#[test]
fn a_refusal_is_a_reply_where_one_can_carry_it() {
    let house = house();
    house.world.block_on(async {
        house
            .script(house.ann, "require \"reject\"; reject \"not today\";")
            .await;
        let rejected = || Err(MailboxFault::Rejected("not today".to_owned()));
        let both = [
            (house.ann, "ann@example.org"),
            (house.bob, "bob@example.org"),
        ];
        let each = house.arrival(LETTER, &both, Refusing::Each);
        assert_eq!(house.outgoing.deliver(each).await, [rejected(), Ok(())]);
        let alone = house.arrival(LETTER, &both[..1], Refusing::Together);
        assert_eq!(house.outgoing.deliver(alone).await, [rejected()]);
        assert_eq!(house.queued().await.len(), 0);
        // Of two with one answer it is one's alone: the queue reports.
        let together = house.arrival(LETTER, &both, Refusing::Together);
        assert_eq!(house.outgoing.deliver(together).await, [Ok(()), Ok(())]);
        assert_eq!(house.count_in(house.ann, "INBOX").await, 0);
        assert_eq!(house.count_in(house.bob, "INBOX").await, 2);
        let queued = house.queued().await;
        let [(entry, raw)] = &queued[..] else {
            panic!("one waits: {}", queued.len());
        };
        assert_eq!(
            (&entry.from[..], &entry.recipients[0].to.path[..]),
            ("eve@else.example", "ann@example.org")
        );
        assert_eq!(raw, LETTER);
        let placed = house
            .outgoing
            .deliver_here(entry.id, UnixSeconds(5), body(raw), 0)
            .await;
        assert_eq!(placed, Ok(Placing::Rejected("not today".to_owned())));
    });
}

#[test]
fn no_report_of_a_refusal_goes_to_a_sender_who_may_be_forged() {
    let house = house();
    house.world.block_on(async {
        house
            .script(house.ann, "require \"reject\"; reject \"no\";")
            .await;
        let to = [(house.ann, "ann@example.org")];
        let mut of_null = house.arrival(LETTER, &to, Refusing::Report);
        of_null.posted.from.clear();
        let junk = Arrival {
            junk: vec![house.ann],
            ..house.arrival(LETTER, &to, Refusing::Report)
        };
        let failed = LETTER.replace("From:", "Authentication-Results: mx; spf=fail\r\nFrom:");
        let forged = house.arrival(&failed, &to, Refusing::Report);
        for arrival in [of_null, junk, forged] {
            assert_eq!(house.outgoing.deliver(arrival).await, [Ok(())]);
        }
        assert_eq!(house.queued().await.len(), 0);
        assert_eq!(house.count_in(house.ann, "INBOX").await, 0);
        assert_eq!(house.counters().rejected.load(Relaxed), 3);
    });
}
