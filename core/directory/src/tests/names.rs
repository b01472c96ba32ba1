//! Nouns that are a name and what it stands for: aliases, groups, routes, grants, keys.

use super::*;
use crate::limits::{
    ALIAS_TARGETS_IN_ALL_MAX, ALIAS_TARGETS_MAX, GRANTS_EACH_MAX, GROUP_MEMBERS_MAX, KEYS_MAX,
};
use crate::whole::Named;

fn at(text: &str) -> Address {
    let (local, domain) = text.rsplit_once('@').expect("an address");
    Address::from_parts(local, domain).expect("an address")
}

fn all(texts: &[&str]) -> Vec<Address> {
    texts.iter().map(|text| at(text)).collect()
}

fn is_refused<T>(result: Result<T, DirectoryFault>) -> bool {
    matches!(result, Err(DirectoryFault::Refused(_)))
}

/// What is on a leg must be readable for ever.
#[test]
fn records_are_written_in_these_bytes() {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let written: Vec<String> = fuzzing::named()
        .iter()
        .map(|entry| {
            let record = entry.encode();
            format!("{} {}", record.kind.0, hex(&record.payload))
        })
        .collect();
    let golden: Vec<&str> = include_str!("golden.txt").lines().collect();
    assert_eq!(written, golden);
}

#[test]
fn all_of_it_is_there_after_a_crash_with_a_checkpoint_and_without() {
    let rig = Rig::new(71);
    let ada = rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("example.org").await.unwrap();
        let ada = add(&directory, "ada").await.unwrap();
        directory
            .put_alias("Sales@Example.org", all(&["ada@example.org"]))
            .await
            .unwrap();
        directory
            .put_alias("old@example.org", all(&["ada@example.org"]))
            .await
            .unwrap();
        let owner = at("ada@example.org");
        directory
            .make_group("all@example.org", Posters::Members, owner, "All")
            .await
            .unwrap();
        let some = all(&["ada@example.org", "bob@example.net", "BOB@example.net"]);
        assert_eq!(directory.add_members("all@example.org", some).await, Ok(2));
        directory.put_route("*", Route::Here).await.unwrap();
        assert_eq!(directory.key("srs", [1; 32]).await, Ok([1; 32]));
        directory.inner.tenancy.checkpoint().await.unwrap();
        directory.remove_alias("old@example.org").await.unwrap();
        directory
            .put_alias("sales@example.org", all(&["eve@example.net"]))
            .await
            .unwrap();
        directory
            .put_alias("@example.org", all(&["ada@example.org"]))
            .await
            .unwrap();
        assert_eq!(
            directory
                .drop_members("all@example.org", all(&["Bob@example.net"]))
                .await,
            Ok(1)
        );
        directory
            .grant(&at("sales@example.org"), ada, true)
            .await
            .unwrap();
        directory.remove_route("*").await.unwrap();
        directory.set_allowance(ada, 9).await.unwrap();
        ada
    });
    for _ in 0..2 {
        rig.reopened(async |directory| {
            let names: Vec<String> = directory
                .aliases(None, 9)
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            assert_eq!(names, ["@example.org", "sales@example.org"]);
            let (_, sales) = directory.alias("SALES@example.org").unwrap();
            assert_eq!(sales.targets, all(&["eve@example.net"]));
            let groups = directory.groups(None, 9);
            let (name, group, count) = &groups[0];
            assert_eq!(
                (groups.len(), name.as_str(), *count),
                (1, "all@example.org", 1)
            );
            assert_eq!(
                (group.posters, group.title.as_str()),
                (Posters::Members, "All")
            );
            assert_eq!(directory.members(name, group), all(&["ada@example.org"]));
            assert_eq!(directory.grants(&at("sales@example.org")), [ada]);
            assert_eq!(directory.routes(None, 9), []);
            let allowances = (directory.allowance(ada), directory.allowance(AccountId(99)));
            assert_eq!(allowances, (9, 1));
            assert_eq!(
                directory.key("srs", [2; 32]).await,
                Ok([1; 32]),
                "it is made once"
            );
            directory.inner.tenancy.checkpoint().await.unwrap();
        });
    }
}

#[test]
fn an_address_is_one_of_account_alias_and_group() {
    let rig = Rig::new(72);
    rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("b\u{fc}cher.example").await.unwrap();
        directory.add_domain("example.org").await.unwrap();
        let owner = || at("root@example.net");
        let make = |name| directory.make_group(name, Posters::Anyone, owner(), "");
        let exists = Err(DirectoryFault::Exists);
        add(&directory, "ada").await.unwrap();
        assert_eq!(
            directory
                .put_alias("Ada@example.org", all(&["x@y.example"]))
                .await,
            exists
        );
        assert_eq!(make("ADA@example.org").await, exists);
        directory
            .put_alias("sales@example.org", all(&["x@y.example"]))
            .await
            .unwrap();
        assert_eq!(add(&directory, "Sales").await, Err(DirectoryFault::Exists));
        assert_eq!(make("sales@example.org").await, exists);
        make("all@xn--bcher-kva.example").await.unwrap();
        assert_eq!(make("all@b\u{fc}cher.example").await, exists);
        let taken = directory
            .put_alias("ALL@B\u{dc}CHER.example", all(&["x@y.example"]))
            .await;
        assert_eq!(taken, exists);
        // Both at once.
        let both = together(
            directory.put_alias("new@example.org", all(&["x@y.example"])),
            add(&directory, "new"),
        )
        .await;
        assert_eq!(both, (Ok(()), Err(DirectoryFault::Exists)));
        assert!(is_refused(directory.remove_domain("example.org").await));
        assert!(is_refused(
            directory
                .put_alias("x@foreign.example", all(&["x@y.example"]))
                .await
        ));
        assert!(is_refused(make("@example.org").await));
        directory.remove_alias("new@example.org").await.unwrap();
        assert!(is_refused(directory.remove_alias("new@example.org").await));
        assert!(
            add(&directory, "new").await.is_ok(),
            "the address is free again"
        );
    });
}

#[test]
fn bounds_are_refusals() {
    let rig = Rig::new(73);
    rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("example.org").await.unwrap();
        let many = |count: usize| -> Vec<Address> {
            (0..count)
                .map(|index| at(&format!("m{index}@example.net")))
                .collect()
        };
        let put = |targets| directory.put_alias("a@example.org", targets);
        assert!(is_refused(put(many(ALIAS_TARGETS_MAX + 1)).await));
        assert!(is_refused(put(vec![]).await));
        assert!(
            is_refused(put(all(&["A@example.org"])).await),
            "not to itself"
        );
        assert_eq!(put(many(ALIAS_TARGETS_MAX)).await, Ok(()));
        let more = |address: &'static str| {
            directory.alter_alias("b@example.org", move |mut targets| {
                targets.push(at(address));
                Ok(targets)
            })
        };
        let both = together(more("x@example.net"), more("y@example.net")).await;
        assert_eq!(both, (Ok(()), Ok(())));
        let (_, alias) = directory.alias("b@example.org").unwrap();
        assert_eq!(alias.targets, all(&["x@example.net", "y@example.net"]));
        let owner = at("ada@example.org");
        directory
            .make_group("g@example.org", Posters::Anyone, owner, "")
            .await
            .unwrap();
        assert!(is_refused(
            directory.add_members("g@example.org", many(501)).await
        ));
        assert!(is_refused(
            directory
                .add_members("g@example.org", all(&["G@example.org"]))
                .await
        ));
        assert!(is_refused(
            directory.add_members("h@example.org", many(1)).await
        ));
        for some in many(GROUP_MEMBERS_MAX).chunks(500) {
            assert_eq!(
                directory.add_members("g@example.org", some.to_vec()).await,
                Ok(500)
            );
        }
        let more = directory
            .add_members("g@example.org", all(&["one@example.net"]))
            .await;
        assert_eq!(more, Err(DirectoryFault::TooMany("members")));
        let title = GroupChange {
            title: Some("a\r\nX: y".into()),
            ..GroupChange::default()
        };
        assert!(is_refused(
            directory.change_group("g@example.org", title).await
        ));
        let host = |host: &str, port| Route::Host {
            host: host.into(),
            port,
            needs_tls: false,
        };
        assert!(is_refused(
            directory.put_route("example.net", host("", 25)).await
        ));
        assert!(is_refused(
            directory.put_route("example.net", host("a", 0)).await
        ));
        assert!(is_refused(directory.put_route("", Route::Here).await));
    });
}

/// A group that was removed and made again has none of the earlier one's members, in a rebuild from a log of which parts are gone too.
#[test]
fn a_rebuild_without_what_reclaim_took_gives_the_same() {
    let rig = Rig::new(74);
    rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("example.org").await.unwrap();
        let owner = at("ada@example.org");
        let make = || directory.make_group("g@example.org", Posters::Anyone, owner.clone(), "");
        make().await.unwrap();
        directory
            .add_members("g@example.org", all(&["old@example.net"]))
            .await
            .unwrap();
        directory.remove_group("g@example.org").await.unwrap();
        make().await.unwrap();
        directory
            .add_members("g@example.org", all(&["new@example.net"]))
            .await
            .unwrap();
        directory
            .put_alias("a@example.org", all(&["x@example.net"]))
            .await
            .unwrap();
        directory
            .put_alias("a@example.org", all(&["y@example.net"]))
            .await
            .unwrap();
        directory
            .put_alias("b@example.org", all(&["x@example.net"]))
            .await
            .unwrap();
        directory.remove_alias("b@example.org").await.unwrap();
        let lsn = directory.inner.tenancy.applied();
        let removal = |name: &str| Named::<Group>::Remove { name: name.into() };
        let gone = Named::<Alias>::Remove {
            name: "b@example.org".into(),
        };
        let records = vec![
            (lsn, Entry::Group(removal("g@example.org")).encode()),
            (lsn, Entry::Alias(gone).encode()),
        ];
        let weighed = directory.inner.carried_bytes(&records).await.unwrap();
        assert!(weighed >= 1_024, "{weighed}");
        directory.inner.carry_forward(records).await.unwrap();
        directory
            .inner
            .tenancy
            .store()
            .request_rebuild()
            .await
            .unwrap();
    });
    rig.reopened(async |directory| {
        let groups = directory.groups(None, 9);
        let (name, group, count) = &groups[0];
        assert_eq!((groups.len(), *count), (1, 1));
        assert_eq!(directory.members(name, group), all(&["new@example.net"]));
        let aliases = directory.aliases(None, 9);
        assert_eq!(aliases.len(), 1);
        assert_eq!(aliases[0].1.targets, all(&["y@example.net"]));
    });
}

#[test]
fn a_member_whose_group_is_gone_is_dropped_after_a_replay() {
    let mut state = crate::state::State::new();
    let entries = fuzzing::named();
    let of = |wanted: &str| {
        let is = |entry: &&Entry| entry.named().is_some_and(|(noun, _)| noun == wanted);
        entries.iter().find(is).expect("one of each")
    };
    state.apply(Lsn(1), of("Member"));
    state.drop_orphans();
    assert_eq!(state.members.count(), 0);
    state.apply(Lsn(2), of("Group"));
    state.apply(Lsn(3), of("Member"));
    state.drop_orphans();
    assert_eq!(state.members.count(), 1);
}

#[test]
fn the_narrowest_route_counts() {
    let rig = Rig::new(75);
    rig.world.block_on(async {
        let directory = rig.open().await;
        let host = |host: &str| Route::Host {
            host: host.into(),
            port: 25,
            needs_tls: false,
        };
        assert_eq!(directory.route("ann", "example.net"), None);
        directory.put_route("*", host("all.example")).await.unwrap();
        directory
            .put_route("b\u{fc}cher.example", host("domain.example"))
            .await
            .unwrap();
        directory
            .put_route("Ann@example.net", host("person.example"))
            .await
            .unwrap();
        directory
            .put_route("example.com", Route::Here)
            .await
            .unwrap();
        for (local, domain, wanted) in [
            ("ann", "example.net", host("person.example")),
            ("bob", "example.net", host("all.example")),
            ("ann", "XN--BCHER-KVA.example", host("domain.example")),
            ("ann", "example.com", Route::Here),
        ] {
            assert_eq!(
                directory.route(local, domain),
                Some(wanted),
                "{local}@{domain}"
            );
        }
        assert_eq!(directory.route_of_domain("example.net"), None);
    });
}

/// Who comes to have an address next did not grant it.
#[test]
fn grants_go_with_the_address() {
    let rig = Rig::new(76);
    let ada = rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("example.org").await.unwrap();
        let ada = add(&directory, "ada").await.unwrap();
        let (sales, all_of_us) = (at("sales@example.org"), at("all@example.org"));
        let put = || directory.put_alias("sales@example.org", all(&["x@example.net"]));
        put().await.unwrap();
        let owner = at("ada@example.org");
        let made = directory.make_group("all@example.org", Posters::Anyone, owner, "");
        made.await.unwrap();
        for address in [&sales, &all_of_us] {
            directory.grant(address, ada, true).await.unwrap();
            assert_eq!(directory.grants(address), [ada]);
        }
        directory.remove_alias("sales@example.org").await.unwrap();
        directory.remove_group("all@example.org").await.unwrap();
        put().await.unwrap();
        add(&directory, "all").await.unwrap();
        for address in [&sales, &all_of_us] {
            assert_eq!(directory.grants(address), []);
        }
        assert!(
            is_refused(directory.grant(&all_of_us, ada, true).await),
            "an account's"
        );
        directory.grant(&sales, ada, true).await.unwrap();
        ada
    });
    rig.reopened(async |directory| {
        assert_eq!(directory.grants(&at("all@example.org")), []);
        assert!(directory.grants(&at("sales@example.org")).contains(&ada));
    });
}

/// Two changes at a time both see room for the last row. What was taken so must not keep the volume shut at its next start.
#[test]
fn a_row_past_the_bound_does_not_refuse_the_opening() {
    let rig = Rig::new(79);
    let made = rig.world.block_on(async {
        let directory = rig.open().await;
        let mut made = Vec::new();
        for number in 1..KEYS_MAX as u8 {
            let name = format!("key {number}");
            assert!(directory.key(&name, [number; 32]).await.is_ok());
            made.push(name);
        }
        let (one, other) = together(
            directory.key("one", [90; 32]),
            directory.key("other", [91; 32]),
        )
        .await;
        made.extend(one.is_ok().then(|| "one".to_owned()));
        made.extend(other.is_ok().then(|| "other".to_owned()));
        assert_eq!(made.len(), KEYS_MAX + 1, "both saw room");
        let full = directory.key("next", [92; 32]).await;
        assert_eq!(full, Err(DirectoryFault::TooMany("keys")));
        directory.inner.tenancy.checkpoint().await.unwrap();
        made
    });
    rig.reopened(async |directory| {
        let is_there = |name: &String| directory.known_key(name).is_some();
        assert!(made.iter().all(is_there));
    });
}

/// Reports about a group's mail go to `name+bounces@`; where that is not an address they would go to all members.
#[test]
fn a_group_has_room_for_its_tags() {
    let rig = Rig::new(80);
    rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("example.org").await.unwrap();
        let make = async |bytes: usize| {
            let name = format!("{}@example.org", "x".repeat(bytes));
            let owner = at("ada@example.org");
            directory
                .make_group(&name, Posters::Anyone, owner, "")
                .await
        };
        assert_eq!(make(184).await, Ok(()));
        assert!(is_refused(make(185).await));
        assert!(is_refused(make(192).await));
    });
}

#[test]
fn targets_of_all_aliases_together_are_bounded() {
    let rig = Rig::new(81);
    rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("example.org").await.unwrap();
        let targets = |count: usize| -> Vec<Address> {
            let each = (0..count).map(|number| at(&format!("{number}@example.net")));
            each.collect()
        };
        let many = targets(ALIAS_TARGETS_MAX);
        let full = ALIAS_TARGETS_IN_ALL_MAX / ALIAS_TARGETS_MAX;
        for number in 0..full {
            let put = Named::Put {
                name: format!("a{number}@example.org"),
                row: Alias {
                    targets: many.clone(),
                },
            };
            put.apply(&mut directory.inner.state.borrow_mut());
        }
        let put = async |name: &str, count| directory.put_alias(name, targets(count)).await;
        let too_many = Err(DirectoryFault::TooMany("targets of aliases"));
        assert_eq!(put("new@example.org", 2).await, too_many);
        assert_eq!(put("new@example.org", 1).await, Ok(()));
        // One that is there becomes smaller, and makes room.
        assert_eq!(put("a0@example.org", ALIAS_TARGETS_MAX - 3).await, Ok(()));
        assert_eq!(put("new@example.org", 3).await, Ok(()));
        assert_eq!(put("new@example.org", 4).await, too_many);
    });
}

/// People leave, and an administrator names a grant by the address that is gone with them.
#[test]
fn grants_of_accounts_that_are_gone_make_room() {
    let rig = Rig::new(82);
    rig.world.block_on(async {
        let directory = rig.open().await;
        directory.add_domain("example.org").await.unwrap();
        let sales = at("sales@example.org");
        let put = directory.put_alias("sales@example.org", all(&["x@example.net"]));
        put.await.unwrap();
        let mut people = Vec::new();
        for number in 0..GRANTS_EACH_MAX + 1 {
            people.push(add(&directory, &format!("a{number}")).await.unwrap());
        }
        let (last, people) = people.split_last().unwrap();
        for account in people {
            assert_eq!(directory.grant(&sales, *account, true).await, Ok(()));
        }
        let too_many = Err(DirectoryFault::TooMany("grants for one address"));
        assert_eq!(directory.grant(&sales, *last, true).await, too_many);
        assert_eq!(directory.grants(&sales).len(), GRANTS_EACH_MAX);
        for account in &people[..2] {
            remove(&directory, *account).await.unwrap();
        }
        assert_eq!(directory.grant(&sales, *last, true).await, Ok(()));
        let mut wanted = people[2..].to_vec();
        wanted.push(*last);
        let mut left = directory.grants(&sales);
        left.sort_unstable();
        assert_eq!(left, wanted);
    });
}
