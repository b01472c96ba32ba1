//! What a sender, or two scripts that do not agree, could have done without an end.

use super::*;

/// The fields by which a loop is found are no script's to remove.
#[test]
fn two_who_send_on_to_each_other_and_hide_it_come_to_an_end() {
    let house = house();
    house.world.block_on(async {
        let hiding = |to: &str| {
            format!("require \"editheader\"; deleteheader \"Delivered-To\"; redirect \"{to}\";")
        };
        house.script(house.ann, &hiding("bob@example.org")).await;
        house.script(house.bob, &hiding("ann@example.org")).await;
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        for _hop in 0..9 {
            let queued = house.queued().await;
            let Some((entry, raw)) = queued.first() else {
                break;
            };
            let outgoing = &house.outgoing;
            let placed = outgoing.deliver_here(entry.id, UnixSeconds(5), body(raw), 0);
            assert_eq!(placed.await, Ok(Placing::Placed));
        }
        assert_eq!(house.queued().await.len(), 0);
        assert_eq!(house.count_in(house.ann, "INBOX").await, 1);
    });
}

/// More than is looked up for one delivery is a failure, and the message is in INBOX: deferred, it would come again until its sender gives up.
#[test]
fn scripts_that_include_more_than_is_looked_up_keep_the_message() {
    let house = house();
    house.world.block_on(async {
        let including = |whose: &str| {
            let mut text = "require \"include\";\r\n".to_owned();
            for number in 0..60 {
                text += &format!("include :global :optional \"{whose}{number}\";\r\n");
            }
            text
        };
        house.put(Owner::Box, &including("a")).await;
        house.script(house.ann, &including("b")).await;
        assert_eq!(house.to_ann(LETTER).await, Ok(()));
        let texts = house.texts_in(house.ann, "INBOX").await;
        assert!(texts.iter().any(|text| text == LETTER));
        assert_eq!(house.counters().failures.load(Relaxed), 1);
    });
}
