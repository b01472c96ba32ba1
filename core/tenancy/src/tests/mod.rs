//! Two tenants of one log on the simulated machine.

mod toy;

use store::{Purpose, Record, RecordKind};

use crate::*;
use toy::{Rig, body_of};

/// One group puts the same body with both tenants: a copy in Sent and an entry in the queue, in one durable step.
async fn put_with_both(open: &toy::Open, key: u64) -> Result<(), StoreFault> {
    open.tenancy.room_for(Purpose::Keep, true, 2).await?;
    let parts = vec![open.first.put(key), open.second.put(key)];
    let committed = open
        .tenancy
        .commit(Purpose::Keep, vec![body_of(key)], parts);
    committed.await.map(drop)
}

#[test]
fn a_group_of_two_tenants_is_there_with_both_or_with_none() {
    let mut seen = [0, 0];
    for seed in 0..60 {
        let rig = Rig::new(seed);
        let acked = rig.run(async {
            let open = rig.try_open().await?;
            let cut = rig.world.draw(1..12);
            rig.world.crash_at(rig.world.boundaries() + cut);
            put_with_both(&open, 1).await
        });
        rig.world.crash();
        let there = rig.world.block_on(async {
            let open = rig.try_open().await.expect("it opens");
            assert_eq!(open.first.keys(), open.second.keys(), "seed {seed}");
            open.first.verify().await;
            !open.second.keys().is_empty()
        });
        assert!(there || !matches!(acked, Ok(Ok(()))), "seed {seed}");
        seen[usize::from(there)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 3), "{seen:?}");
}

#[test]
fn a_checkpoint_stands_for_one_position_of_all_tenants() {
    let rig = Rig::new(3);
    rig.world.block_on(async {
        let open = rig.try_open().await.unwrap();
        for key in 1..=20 {
            put_with_both(&open, key).await.unwrap();
        }
        open.tenancy.checkpoint().await.unwrap();
        put_with_both(&open, 21).await.unwrap();
    });
    rig.world.crash();
    rig.world.block_on(async {
        let open = rig.try_open().await.unwrap();
        assert_eq!(
            open.report.replayed_groups, 0,
            "nothing is read before the tenants are there"
        );
        assert_eq!(open.tenancy.store().open_report().replayed_groups, 1);
        let all: Vec<u64> = (1..=21).collect();
        assert_eq!((open.first.keys(), open.second.keys()), (all.clone(), all));
        open.second.verify().await;
    });
}

#[test]
fn what_only_one_tenant_wants_stays_where_the_other_one_threw_it_away() {
    let rig = Rig::new(4);
    let left: Vec<u64> = (1..=800).filter(|key| key % 10 == 0).collect();
    rig.world.block_on(async {
        let open = rig.try_open().await.unwrap();
        for key in 1..=800 {
            put_with_both(&open, key).await.unwrap();
            let mut parts = vec![open.first.take(key)];
            if key % 10 != 0 {
                parts.push(open.second.take(key));
            }
            open.tenancy
                .commit(Purpose::Delete, vec![], parts)
                .await
                .unwrap();
        }
        let mut freed = 0;
        for _ in 0..12 {
            open.tenancy.checkpoint().await.unwrap();
            freed += open.tenancy.reclaim().await;
        }
        assert!(freed > 3, "{freed} segments were freed");
        assert!(open.first.passes_ended.get() > 0);
        assert_eq!(
            (open.first.keys(), open.second.keys()),
            (vec![], left.clone())
        );
        open.second.verify().await;
        // The bare log gives the same: records were carried forward by their owners.
        open.tenancy.store().request_rebuild().await.unwrap();
    });
    rig.world.crash();
    rig.world.block_on(async {
        let open = rig.try_open().await.unwrap();
        assert!(open.report.rebuilt);
        assert_eq!((open.first.keys(), open.second.keys()), (vec![], left));
        open.second.verify().await;
    });
}

#[test]
fn a_record_that_no_tenant_owns_refuses_the_opening() {
    let rig = Rig::new(5);
    rig.world.block_on(async {
        let open = rig.try_open().await.unwrap();
        let stray = Record {
            kind: RecordKind(77),
            payload: Default::default(),
        };
        let group = Group {
            records: vec![stray],
            ..Group::default()
        };
        open.tenancy.store().append(group).await.unwrap();
    });
    rig.world.crash();
    let refused = rig.world.block_on(async { rig.try_open().await.map(drop) });
    let Err(StoreFault::Misfit(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("kind 77"), "{why}");
}

#[test]
fn a_closed_log_takes_nothing() {
    let rig = Rig::new(6);
    rig.world.block_on(async {
        let open = rig.try_open().await.unwrap();
        open.tenancy.close().await.unwrap();
        let refused = put_with_both(&open, 1).await;
        assert!(
            matches!(refused, Err(StoreFault::Deferred(_))),
            "{refused:?}"
        );
        assert!(open.first.keys().is_empty());
    });
}

#[test]
#[should_panic(expected = "toy")]
fn two_tenants_never_own_the_same_kind() {
    let share = |kinds, tables| Share {
        name: "toy",
        kinds,
        tables,
    };
    share::check(&[share(1..=9, 1..=9), share(9..=12, 20..=22)]);
}

#[test]
fn upkeep_ends_with_the_last_tenant() {
    let rig = Rig::new(7);
    rig.world.block_on(async {
        let open = rig.try_open().await.unwrap();
        put_with_both(&open, 1).await.unwrap();
        let weak = std::rc::Rc::downgrade(&open.tenancy.inner);
        drop(open);
        base::host::sleep_us(&*rig.world.io().host, 200_000_000).await;
        assert!(weak.upgrade().is_none());
    });
}
