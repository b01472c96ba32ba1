//! What a reading of the other directory would change.

use super::*;

fn person(address: &str, aliases: &[&str]) -> Person {
    Person {
        dn: format!("uid={address}"),
        address: Some(address.to_owned()),
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        is_disabled: false,
        user: None,
    }
}

fn group(address: &str, members: &[&str]) -> Group {
    Group {
        address: address.to_owned(),
        title: "All".to_owned(),
        members: Ok(members.iter().map(|member| (*member).to_owned()).collect()),
    }
}

fn here(accounts: &[(&str, bool)]) -> Here {
    let account = |(index, (name, is_disabled)): (usize, &(&str, bool))| {
        let account = HereAccount {
            id: AccountId(index as u32 + 1),
            is_disabled: *is_disabled,
        };
        ((*name).to_owned(), account)
    };
    Here {
        accounts: accounts.iter().enumerate().map(account).collect(),
        ..Here::default()
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_first_reading_makes_everything_and_the_second_nothing() {
    let people = [
        person("ada@x", &["a@x", "team@x"]),
        person("bob@x", &["team@x"]),
    ];
    let groups = [group("all@x", &["ada@x", "bob@x"])];
    let first = changes(&people, &groups, &Here::default(), 10);
    assert_eq!(first.stopped, None);
    assert_eq!(
        first.all,
        [
            Change::MakeAccount("ada@x".into()),
            Change::MakeAccount("bob@x".into()),
            Change::PutAlias("a@x".into(), set(&["ada@x"])),
            Change::PutAlias("team@x".into(), set(&["ada@x", "bob@x"])),
            Change::MakeGroup {
                name: "all@x".into(),
                title: "All".into(),
                members: set(&["ada@x", "bob@x"]),
            },
        ]
    );
    let mut known = here(&[("ada@x", false), ("bob@x", false)]);
    known.aliases.insert("a@x".into(), Some(set(&["ada@x"])));
    known
        .aliases
        .insert("team@x".into(), Some(set(&["ada@x", "bob@x"])));
    known
        .groups
        .insert("all@x".into(), Some(set(&["ada@x", "bob@x"])));
    assert_eq!(changes(&people, &groups, &known, 10), Changes::default());
}

#[test]
fn who_is_gone_or_disabled_is_disabled_and_comes_back() {
    let mut eve = person("eve@x", &["e@x"]);
    eve.is_disabled = true;
    let known = here(&[
        ("ada@x", false),
        ("eve@x", false),
        ("old@x", true),
        ("zoe@x", false),
    ]);
    let people = [person("ada@x", &[]), eve, person("old@x", &[])];
    let found = changes(&people, &[], &known, 100);
    assert_eq!(
        found.all,
        [
            Change::Disable("eve@x".into(), AccountId(2)),
            Change::Enable("old@x".into(), AccountId(3)),
            Change::Disable("zoe@x".into(), AccountId(4)),
            Change::PutAlias("e@x".into(), set(&["eve@x"])),
        ]
    );
    assert_eq!(found.stopped, None);
}

/// A server that was set up again answers well, and with nothing.
#[test]
fn an_empty_answer_locks_no_user_out() {
    for share in [0, 10, 50, 100] {
        let mut known = here(&[("ada@x", false), ("bob@x", false), ("eve@x", false)]);
        known.groups.insert("all@x".into(), Some(set(&[])));
        known.groups.insert("two@x".into(), Some(set(&[])));
        let found = changes(&[], &[], &known, share);
        let why = found.stopped.expect("it stops");
        assert!(why.contains("no people at all"), "{why}");
        let found = changes(&[person("new@x", &[])], &[], &known, share);
        assert!(found.stopped.expect("it stops").contains("3 of 3 accounts"));
        let people = ["ada@x", "bob@x", "eve@x"].map(|name| person(name, &[]));
        let found = changes(&people, &[], &known, share);
        assert!(found.stopped.expect("it stops").contains("2 of 2 groups"));
    }
}

/// One account may always go, but not because nothing came.
#[test]
fn an_empty_answer_does_not_lock_a_single_user_out() {
    let known = here(&[("ada@x", false)]);
    assert!(changes(&[], &[], &known, 100).stopped.is_some());
    let people = [person("bob@x", &[])];
    assert_eq!(changes(&people, &[], &known, 100).stopped, None);
    assert_eq!(changes(&[], &[], &here(&[("a@x", true)]), 10).stopped, None);
}

/// People are readable and the attribute with the members is not.
#[test]
fn groups_that_would_lose_all_members_are_counted() {
    let mut known = here(&[("ada@x", false), ("bob@x", false)]);
    let both = set(&["ada@x", "bob@x"]);
    known.groups.insert("all@x".into(), Some(both.clone()));
    known.groups.insert("two@x".into(), Some(both));
    known.groups.insert("empty@x".into(), Some(set(&[])));
    let people = ["ada@x", "bob@x"].map(|name| person(name, &[]));
    let all = |members: &[&str]| ["all@x", "two@x"].map(|name| group(name, members));
    let empty = group("empty@x", &[]);
    let groups = |members| [&all(members)[..], std::slice::from_ref(&empty)].concat();
    let found = changes(&people, &groups(&[]), &known, 10);
    assert!(found.stopped.expect("it stops").contains("2 of 3 groups"));
    assert_eq!(
        changes(&people, &groups(&["ada@x"]), &known, 10).stopped,
        None
    );
}

/// A login makes an account for a user without an address, under the user's name.
#[test]
fn an_account_of_a_user_without_an_address_stays() {
    let nameless = |user: &str, is_disabled| Person {
        address: None,
        user: Some(user.to_owned()),
        is_disabled,
        ..person("?", &[])
    };
    let known = here(&[("ada@x", false), ("bob@x", false)]);
    let people = [nameless("Ada", false), nameless("bob", true)];
    let found = changes(&people, &[], &known, 50);
    assert_eq!(found.all, [Change::Disable("bob@x".into(), AccountId(2))]);
    assert_eq!(found.stopped, None);
}

#[test]
fn of_two_entries_with_an_address_the_one_that_is_not_disabled_counts() {
    let mut old = person("ada@x", &[]);
    old.is_disabled = true;
    let known = here(&[("ada@x", false)]);
    let people = [old, person("ada@x", &[])];
    assert!(changes(&people, &[], &known, 100).all.is_empty());
}

#[test]
fn a_share_may_go_and_not_more() {
    let names: Vec<String> = (0..100).map(|number| format!("p{number:02}@x")).collect();
    let known: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), false)).collect();
    let known = here(&known);
    let people = |count: usize| -> Vec<Person> {
        names[..count]
            .iter()
            .map(|name| person(name, &[]))
            .collect()
    };
    assert_eq!(changes(&people(90), &[], &known, 10).stopped, None);
    assert!(changes(&people(89), &[], &known, 10).stopped.is_some());
    assert!(
        changes(&people(99), &[], &known, 0).stopped.is_some(),
        "0 disables none"
    );
    // One may go where a tenth is less than one.
    let few = here(&[("ada@x", false), ("bob@x", false)]);
    assert_eq!(
        changes(&[person("ada@x", &[])], &[], &few, 10).stopped,
        None
    );
}

#[test]
fn what_is_not_known_whole_stays_as_it_is() {
    let mut known = here(&[("ada@x", false)]);
    known.groups.insert("all@x".into(), Some(set(&["ada@x"])));
    let partial = Group {
        members: Err("a part"),
        ..group("all@x", &[])
    };
    let found = changes(&[person("ada@x", &[])], &[partial], &known, 10);
    assert!(
        found.all.is_empty() && found.notes[0].contains("a part"),
        "{found:?}"
    );
    // Only the member that came and the one that went are changed.
    let found = changes(
        &[person("ada@x", &[])],
        &[group("all@x", &["bob@x"])],
        &known,
        10,
    );
    assert_eq!(
        found.all,
        [Change::AlterGroup {
            name: "all@x".into(),
            add: set(&["bob@x"]),
            drop: set(&["ada@x"]),
        }]
    );
}

#[test]
fn an_address_of_two_is_the_first_ones_and_an_account_is_no_alias() {
    let nameless = Person {
        address: None,
        ..person("x@y", &[])
    };
    let people = [
        person("ada@x", &["bob@x"]),
        person("ada@x", &[]),
        person("bob@x", &[]),
        nameless,
    ];
    let found = changes(&people, &[], &Here::default(), 10);
    let made: Vec<String> = found.all.iter().map(|change| change.words().1).collect();
    assert_eq!(made, ["ada@x", "bob@x"]);
    assert_eq!(found.notes.len(), 3, "{:?}", found.notes);
}
