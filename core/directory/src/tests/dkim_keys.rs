//! DKIM keys: changed, found after a power cut, carried forward, and never shown.

use super::*;
use crate::dkim_key::{DkimKeyEntry, KeyName};
use crate::limits::{DKIM_KEYS_PER_DOMAIN_MAX, DKIM_PRIVATE_KEY_BYTES_MAX};
use crate::{DkimAlgorithm, DkimKey, DkimState, PrivateKey};

fn key(domain: &str, selector: &str) -> DkimKey {
    DkimKey {
        domain: domain.to_owned(),
        selector: selector.to_owned(),
        algorithm: DkimAlgorithm::Rsa2048,
        state: DkimState::Made,
        made_unix_s: 7,
        private: PrivateKey::new(format!("$private {selector}").as_bytes()).unwrap(),
    }
}

async fn states(directory: &Directory, domain: &str) -> Vec<(String, DkimState)> {
    let keys = directory.dkim_keys(domain).await.expect("keys");
    let each = keys.into_iter().map(|key| (key.selector, key.state));
    each.collect()
}

fn is_refused<T: std::fmt::Debug>(result: Result<T, DirectoryFault>) {
    assert!(
        matches!(result, Err(DirectoryFault::Refused(_))),
        "{result:?}"
    );
}

#[test]
fn keys_are_there_after_a_crash_with_a_checkpoint_and_without() {
    let rig = Rig::new(71);
    rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("example.org").await.unwrap();
        // A neighbour in the order of names: its keys are not this domain's.
        directory.add_domain("example.org.uk").await.unwrap();
        for (domain, selector) in [
            ("Example.ORG", "One"),
            ("example.org", "two"),
            ("example.org.uk", "other"),
        ] {
            directory.add_dkim_key(key(domain, selector)).await.unwrap();
        }
        directory.inner.tenancy.checkpoint().await.unwrap();
        let active = DkimState::Active;
        let set = directory.set_dkim_key_state("EXAMPLE.org", "ONE", active);
        set.await.unwrap();
        directory
            .remove_dkim_key("example.org", "two")
            .await
            .unwrap();
        directory
            .add_dkim_key(key("example.org", "three"))
            .await
            .unwrap();
    });
    let expected = [
        ("one".to_owned(), DkimState::Active),
        ("three".to_owned(), DkimState::Made),
    ];
    rig.reopened(async |directory| {
        assert_eq!(states(&directory, "example.org").await, expected);
        directory.inner.tenancy.checkpoint().await.unwrap();
        assert_eq!(states(&directory, "example.org").await, expected);
    });
    rig.reopened(async |directory| {
        assert_eq!(states(&directory, "example.org").await, expected);
        let keys = directory.dkim_keys("example.org").await.unwrap();
        assert_eq!(keys[0].private.secret(), b"$private One");
        assert_eq!(keys[0].made_unix_s, 7);
        assert_eq!(states(&directory, "example.net").await, []);
    });
}

#[test]
fn what_may_not_be_a_key_is_refused() {
    let rig = Rig::new(72);
    rig.world.block_on(async {
        let directory = rig.open().await;
        is_refused(directory.add_dkim_key(key("example.org", "s")).await);
        directory.add_domain("example.org").await.unwrap();
        for bad in [
            "",
            "a b",
            "-a",
            "a-",
            ".",
            "a..b",
            "ä",
            "a_b",
            &"a".repeat(64),
        ] {
            is_refused(directory.add_dkim_key(key("example.org", bad)).await);
        }
        let long = format!("{}.example", ["a"; 110].join("."));
        directory.add_domain(&long).await.unwrap();
        is_refused(directory.add_dkim_key(key(&long, &"s".repeat(63))).await);
        directory
            .add_dkim_key(key("example.org", "S"))
            .await
            .unwrap();
        let again = directory.add_dkim_key(key("example.org", "s")).await;
        assert_eq!(again, Err(DirectoryFault::Exists));
        for more in 1..DKIM_KEYS_PER_DOMAIN_MAX {
            let one = key("example.org", &format!("s{more}"));
            directory.add_dkim_key(one).await.unwrap();
        }
        let more = directory.add_dkim_key(key("example.org", "more")).await;
        assert!(matches!(more, Err(DirectoryFault::TooMany(_))), "{more:?}");
        let none = directory.set_dkim_key_state("example.org", "none", DkimState::Active);
        is_refused(none.await);
        let active = directory.set_dkim_key_state("example.org", "s", DkimState::Active);
        active.await.unwrap();
        is_refused(directory.remove_dkim_key("example.org", "s").await);
    });
    assert_eq!(PrivateKey::new(b""), None);
    assert_eq!(PrivateKey::new(&[0; DKIM_PRIVATE_KEY_BYTES_MAX + 1]), None);
}

#[test]
fn the_keys_of_a_domain_go_with_it() {
    let rig = Rig::new(73);
    rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("example.org").await.unwrap();
        directory
            .add_dkim_key(key("example.org", "a"))
            .await
            .unwrap();
        directory.inner.tenancy.checkpoint().await.unwrap();
        directory
            .add_dkim_key(key("example.org", "b"))
            .await
            .unwrap();
        // A key on its way when the domain is removed goes too, or is refused.
        let both = together(
            directory.remove_domain("example.org"),
            directory.add_dkim_key(key("example.org", "late")),
        );
        let (removed, late) = both.await;
        removed.unwrap();
        is_refused(late);
        directory.add_domain("example.org").await.unwrap();
        assert_eq!(states(&directory, "example.org").await, []);
    });
    rig.reopened(async |directory| {
        assert_eq!(states(&directory, "example.org").await, []);
    });
}

/// DESIGN.md A6: the projection is thrown away after reclaim freed the records that made the keys.
#[test]
fn what_reclaim_carries_forward_stands_for_the_keys() {
    let rig = Rig::new(74);
    let old = |selector: &str| {
        let name = KeyName {
            domain: "example.org".to_owned(),
            selector: selector.to_owned(),
        };
        Entry::DkimKey(DkimKeyEntry::Remove { name }).encode()
    };
    rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("example.org").await.unwrap();
        for selector in ["kept", "gone"] {
            let key = key("example.org", selector);
            directory.add_dkim_key(key).await.unwrap();
        }
        let active = directory.set_dkim_key_state("example.org", "kept", DkimState::Active);
        active.await.unwrap();
        directory.inner.tenancy.checkpoint().await.unwrap();
        directory
            .remove_dkim_key("example.org", "gone")
            .await
            .unwrap();
        let lsn = directory.inner.tenancy.applied();
        let records = vec![(lsn, old("kept")), (lsn, old("gone"))];
        let inner = &directory.inner;
        let weighed = inner.carried_bytes(&records).await.unwrap();
        let before = directory.dkim_keys("example.org").await.unwrap();
        inner.carry_forward(records.clone()).await.unwrap();
        assert_eq!(directory.dkim_keys("example.org").await.unwrap(), before);
        // The record of the key is newer now, and is not written twice.
        let again = inner.carried_bytes(&records).await.unwrap();
        assert!(again < weighed, "{again} of {weighed}");
        inner.tenancy.store().request_rebuild().await.unwrap();
    });
    rig.reopened(async |directory| {
        let kept = [("kept".to_owned(), DkimState::Active)];
        assert_eq!(states(&directory, "example.org").await, kept);
    });
}

/// A change on its way is not undone by what reclaim reads before it is visible.
#[test]
fn a_change_of_a_key_on_its_way_is_not_undone_by_reclaim() {
    let rig = Rig::new(75);
    rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("example.org").await.unwrap();
        directory
            .add_dkim_key(key("example.org", "s"))
            .await
            .unwrap();
        let lsn = directory.inner.tenancy.applied();
        let name = KeyName {
            domain: "example.org".to_owned(),
            selector: "s".to_owned(),
        };
        let record = Entry::DkimKey(DkimKeyEntry::Remove { name }).encode();
        let carried = directory.inner.carry_forward(vec![(lsn, record)]);
        let removed = directory.remove_dkim_key("example.org", "s");
        let both = together(removed, carried).await;
        assert_eq!(both, (Ok(()), Ok(())));
        assert_eq!(states(&directory, "example.org").await, []);
    });
    rig.reopened(async |directory| {
        assert_eq!(states(&directory, "example.org").await, []);
    });
}

#[test]
fn a_private_key_is_not_shown() {
    let key = key("example.org", "s");
    let shown = format!("{key:?}");
    assert!(shown.contains("PrivateKey(…)"), "{shown}");
    for entry in fuzzing::entries() {
        let shown = format!("{entry:?}");
        assert!(
            !shown.contains("secret") && !shown.contains("36, 115"),
            "{shown}"
        );
    }
}

/// What is in some log is read for ever, and written so by every release that may be put back. A new kind adds its line; a line that is
/// here never changes.
#[test]
fn the_records_of_a_key_have_the_bytes_that_are_in_logs() {
    let entries = fuzzing::entries().into_iter();
    let of_keys = entries.filter(|entry| matches!(entry, Entry::DkimKey(_)));
    let hex = |entry: Entry| {
        let record = entry.encode();
        let bytes = [&[record.kind.0][..], &record.payload].concat();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let written: Vec<String> = of_keys.map(hex).collect();
    assert_eq!(
        written,
        [
            "0c0b6578616d706c652e6f726702733101010180a4a7da06090724736563726574",
            "0d676d796c69736f6e0b6578616d706c652e6f7267027331",
        ]
    );
}
