//! Policies of other domains (MTA-STS) are kept through a power cut, and within bounds.

use super::*;
use crate::limits::{KEPT_POLICIES_BYTES_MAX, KEPT_POLICIES_MAX, KEPT_POLICY_BYTES_MAX};
use crate::whole::{Named, Noun};

fn policy(id: &str, ends_unix_s: u64) -> KeptPolicy {
    KeptPolicy {
        id: id.to_owned(),
        text: "version: STSv1\r\nmode: none\r\nmax_age: 1\r\n".to_owned(),
        read_unix_s: 7,
        ends_unix_s,
    }
}

#[test]
fn a_policy_is_there_after_a_crash_with_a_checkpoint_and_without() {
    let rig = Rig::new(91);
    rig.world.block_on(async {
        let directory = rig.open().await;
        for (domain, id) in [("a.example", "1"), ("b.example", "1")] {
            let kept = directory.keep_policy(domain, policy(id, 100), 10).await;
            assert_eq!(kept, Ok(()));
        }
        directory.inner.tenancy.checkpoint().await.unwrap();
        let kept = directory.keep_policy("a.example", policy("2", 200), 20);
        assert_eq!(kept.await, Ok(()));
    });
    for _ in 0..2 {
        rig.reopened(async |directory| {
            assert_eq!(directory.kept_policy("a.example"), Some(policy("2", 200)));
            assert_eq!(directory.kept_policy("b.example"), Some(policy("1", 100)));
            assert_eq!(directory.kept_policy("c.example"), None);
            directory.inner.tenancy.checkpoint().await.unwrap();
        });
    }
}

/// Reclaim frees the segment that a policy's record is in.
#[test]
fn reclaim_carries_the_present_policy_and_a_removal() {
    let rig = Rig::new(92);
    rig.world.block_on(async {
        let directory = rig.open().await;
        for id in ["1", "2"] {
            let kept = directory.keep_policy("a.example", policy(id, 100), 10);
            kept.await.unwrap();
        }
        let record = |name: &str| {
            let name = name.to_owned();
            let row = policy("1", 100);
            (Lsn(1), Entry::KeptPolicy(Named::Put { name, row }).encode())
        };
        let records = vec![record("a.example"), record("gone.example")];
        directory.inner.carry_forward(records).await.unwrap();
    });
    rig.reopened(async |directory| {
        assert_eq!(directory.kept_policy("a.example"), Some(policy("2", 100)));
        assert_eq!(directory.kept_policy("gone.example"), None);
    });
}

#[test]
fn policies_are_bounded_and_those_that_ended_make_room() {
    let rig = Rig::new(93);
    rig.world.block_on(async {
        let directory = rig.open().await;
        let put = |name: &str, row: KeptPolicy| {
            let name = name.to_owned();
            let put = Named::Put { name, row };
            put.apply(&mut directory.inner.state.borrow_mut());
        };
        for number in 0..KEPT_POLICIES_MAX {
            put(&format!("{number}.example"), policy("1", 100));
        }
        let keep = async |name: &str, now| {
            let kept = directory.keep_policy(name, policy("2", 1_000), now);
            kept.await
        };
        let full = Err(DirectoryFault::TooMany("kept policies"));
        assert_eq!(keep("new.example", 99).await, full);
        assert_eq!(
            keep("7.example", 99).await,
            Ok(()),
            "it takes its own place"
        );
        assert_eq!(keep("new.example", 100).await, Ok(()));
        assert_eq!(directory.kept_policy("7.example"), Some(policy("2", 1_000)));
        assert_eq!(directory.kept_policy("0.example"), None, "it had ended");
        let mut long = policy("1", 100);
        long.text = "x".repeat(KEPT_POLICY_BYTES_MAX);
        for number in 0..KEPT_POLICIES_BYTES_MAX / KEPT_POLICY_BYTES_MAX {
            put(&format!("long{number}.example"), long.clone());
        }
        long.ends_unix_s = 1_000;
        let kept = directory.keep_policy("more.example", long.clone(), 99);
        assert_eq!(kept.await, full);
        long.text.push('x');
        let kept = directory.keep_policy("more.example", long, 100).await;
        assert!(matches!(kept, Err(DirectoryFault::Refused(_))));
    });
}

/// Counted as rows come and go, so that a policy that is kept costs no look at the others.
#[test]
fn the_octets_of_all_policies_are_known_live_and_after_a_crash() {
    let rig = Rig::new(94);
    let counted = |directory: &Directory| {
        let state = directory.inner.state.borrow();
        let each = state.kept_policies.after(None);
        let sum: usize = each.map(|(name, row)| row.octets(name)).sum();
        assert_eq!(state.kept_policies.octets(), sum);
        sum
    };
    let before = rig.world.block_on(async {
        let directory = rig.open().await;
        for (domain, id) in [
            ("a.example", "1"),
            ("longer.example", "1"),
            ("a.example", "a-longer-id"),
        ] {
            let kept = directory.keep_policy(domain, policy(id, 100), 10);
            kept.await.unwrap();
        }
        directory.inner.tenancy.checkpoint().await.unwrap();
        let kept = directory.keep_policy("a.example", policy("22", 200), 20);
        kept.await.unwrap();
        let with_both = counted(&directory);
        let name = "longer.example".to_owned();
        Named::<KeptPolicy>::Remove { name }.apply(&mut directory.inner.state.borrow_mut());
        assert!(counted(&directory) < with_both);
        with_both
    });
    rig.reopened(async |directory| assert_eq!(counted(&directory), before));
}
