//! What reclaim carries forward, so that freeing a segment loses no script, no key and no removal.

use super::*;

/// The segment of a removal is freed, and that of the scripts that it removed is not: they stay away.
#[test]
fn a_removal_is_said_again_while_its_owner_has_nothing() {
    let rig = Rig::new(6);
    rig.world.block_on(async {
        let scripts = rig.open().await;
        let inner = &scripts.inner;
        scripts
            .put(&person(), "a", text("keep;"), true)
            .await
            .unwrap();
        scripts.forget(&person()).await.unwrap();
        let gone = Change::Gone { owner: person() };
        let records = [(inner.tenancy.applied(), gone.encode())];
        assert_eq!(inner.owed(&records), Ok(vec![gone]));
        scripts
            .put(&person(), "b", text("stop;"), true)
            .await
            .unwrap();
        assert_eq!(inner.owed(&records), Ok(Vec::new()), "its list says so");
    });
}

/// Scripts that were stored long ago, whose lists changed later or not at all, and keys: reclaim empties the segments of all of them, several times. The
/// projection is thrown away, and what is left of the log gives the same.
#[test]
fn reclaim_carries_scripts_forward_and_a_rebuild_finds_them() {
    let rig = Rig::new(8);
    let (far, filler) = (1 << 40, Owner::Account(99));
    let expected = rig.world.block_on(async {
        let scripts = rig.open().await;
        let tenancy = scripts.inner.tenancy.clone();
        let (mut freed, mut filled) = (0, 0);
        for owner in 1..6 {
            let owner = Owner::Account(owner);
            scripts.put(&owner, "a", body(1), true).await.unwrap();
            scripts.put(&owner, "b", body(2), false).await.unwrap();
        }
        remember(&scripts, 1, &[([1; 16], far), ([2; 16], 50)]).await;
        scripts.forget(&Owner::Account(5)).await.unwrap();
        for round in 0..8u16 {
            for _ in 0..300 {
                filled += 1;
                let other = body(100 + filled % 3);
                scripts.put(&filler, "a", other, false).await.unwrap();
                if filled % 60 == 0 {
                    tenancy.checkpoint().await.unwrap();
                }
            }
            // A list that is newer than its texts, and a text that is newer than the rest of its list.
            let active = if round % 2 == 0 { "b" } else { "a" };
            let one = Owner::Account(1);
            scripts.activate(&one, Some(active)).await.unwrap();
            let two = Owner::Account(2);
            scripts
                .put(&two, "b", body(10 + round), true)
                .await
                .unwrap();
            remember(&scripts, 3, &[([round as u8; 16], far)]).await;
            for _ in 0..6 {
                tenancy.checkpoint().await.unwrap();
                freed += tenancy.reclaim().await;
            }
        }
        assert!(freed > 40, "{freed} segments were freed");
        let seen = seen(&scripts).await;
        tenancy.store().request_rebuild().await.unwrap();
        seen
    });
    rig.reopened(async |scripts| {
        assert!(scripts.inner.tenancy.store().open_report().rebuilt);
        assert_eq!(seen(&scripts).await, expected);
        assert_eq!(scripts.owners().len(), 5);
        assert!(scripts.remembers(1, &[1; 16], 1));
        assert!((0..8).all(|round| scripts.remembers(3, &[round; 16], 1)));
    });
}
