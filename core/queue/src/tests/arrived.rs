//! Ids of deliveries over power cuts, reclaim and a projection that is thrown away.

use super::*;

fn id(number: u64) -> DeliveryId {
    DeliveryId::of(&BodyName::of(&number.to_le_bytes()))
}

async fn arrive(queue: &Queue, number: u64, served: Served) {
    let tenancy = &queue.inner.tenancy;
    let part = queue.note_arrived(id(number), served);
    let committed = tenancy.commit(Purpose::Keep, Vec::new(), vec![part]).await;
    committed.unwrap();
}

fn served(number: u64) -> Served {
    match number % 7 {
        0 => Served::Only(vec![1, number as u32 + 2]),
        _ => Served::All,
    }
}

#[test]
fn a_delivery_is_remembered_over_power_cuts_reclaim_and_a_lost_projection() {
    let rig = Rig::new(7);
    let all = |queue: &Queue| {
        for number in 0..400 {
            assert_eq!(queue.arrived(id(number)), Some(served(number)), "{number}");
        }
        assert_eq!(queue.arrived(id(400)), None);
    };
    rig.world.block_on(async {
        let queue = rig.open().await;
        for number in 0..200 {
            arrive(&queue, number, served(number)).await;
        }
        queue.inner.tenancy.checkpoint().await.unwrap();
        for number in 200..400 {
            arrive(&queue, number, served(number)).await;
        }
    });
    rig.reopened(async |queue| {
        all(&queue);
        // Segments are filled and emptied, and the records go with them.
        for number in 0..600 {
            let id = put(&queue, number).await.unwrap();
            queue.remove(id).await.unwrap();
        }
        let mut freed = 0;
        for _ in 0..14 {
            queue.inner.tenancy.checkpoint().await.unwrap();
            freed += queue.inner.tenancy.reclaim().await;
        }
        assert!(freed > 3, "{freed} segments were freed");
        all(&queue);
        queue.inner.tenancy.store().request_rebuild().await.unwrap();
    });
    rig.reopened(async |queue| {
        assert!(queue.inner.tenancy.store().open_report().rebuilt);
        all(&queue);
    });
}

#[test]
fn with_an_entry_in_one_group_both_are_there_or_none() {
    let mut seen = [0, 0];
    for seed in 0..40 {
        let rig = Rig::new(seed);
        let acked: Result<_, Halt> = rig.world.run(async {
            let queue = rig.open().await;
            let cut = rig.world.draw(1..12);
            rig.world.crash_at(rig.world.boundaries() + cut);
            let (_, entry) = queue.put(envelope(1), 0).unwrap();
            let parts = vec![queue.note_arrived(id(1), Served::All), entry];
            let tenancy = &queue.inner.tenancy;
            tenancy.commit(Purpose::Keep, vec![body(1)], parts).await
        });
        rig.reopened(async |queue| {
            let is_there = queue.arrived(id(1)).is_some();
            assert_eq!(queue.count(), usize::from(is_there), "seed {seed}");
            assert!(is_there || !matches!(acked, Ok(Ok(_))), "seed {seed}");
            seen[usize::from(is_there)] += 1;
        });
    }
    assert!(seen.iter().all(|count| *count > 3), "{seen:?}");
}
