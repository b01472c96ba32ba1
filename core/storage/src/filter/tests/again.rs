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
