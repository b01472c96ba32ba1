//! Entries and groups as servers have them, those of Active Directory among them.

use super::*;
use crate::ber::{constructed, element};
use crate::settings::Secret;

fn active_directory() -> Settings {
    Settings {
        servers: vec![],
        bind_dn: String::new(),
        bind_password: Secret::default(),
        base: "dc=example,dc=org".into(),
        user_filter: Filter::parse("(sAMAccountName={user})").expect("a filter"),
        mail: vec!["mail".into(), "userPrincipalName".into()],
        aliases: vec!["proxyAddresses".into()],
        disabled: "userAccountControl".into(),
        domains: vec!["example.org".into()],
        required_group: Some("cn=Mail (all),dc=example,dc=org".into()),
        has_chain_rule: true,
        groups: None,
        group_base: "dc=example,dc=org".into(),
        member: "member".into(),
        user: "sAMAccountName".into(),
        deadline: Duration::from_secs(5),
    }
}

fn entry(attributes: &[(&str, &[&str])]) -> Entry {
    let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let attributes = attributes.iter();
    Entry {
        dn: "cn=Ada,dc=example,dc=org".into(),
        attributes: attributes
            .map(|(name, all)| (name.to_ascii_lowercase(), values(all)))
            .collect(),
    }
}

#[test]
fn the_address_in_capitals_is_the_account_and_other_kinds_are_left_out() {
    let settings = active_directory();
    let addresses: &[&str] = &[
        "smtp:A@Example.org",
        "SMTP:Ada@example.org",
        "X500:/o=x/cn=ada@example.org",
        "smtp:ada@elsewhere.example",
        "smtp:@example.org",
    ];
    let found = entry(&[
        ("proxyAddresses", addresses),
        ("mail", &["old@example.org"]),
        ("userPrincipalName", &["ada@corp.local"]),
        ("userAccountControl", &["512"]),
        ("sAMAccountName", &["ada"]),
    ]);
    let ada = person_of(&settings, &found);
    assert_eq!(ada.address.as_deref(), Some("ada@example.org"));
    assert_eq!(ada.aliases, ["old@example.org", "a@example.org"]);
    assert_eq!(ada.user.as_deref(), Some("ada"));
    assert!(!ada.is_disabled);
    // Without mail the name of the principal will do, if it is of ours.
    let found = entry(&[("userPrincipalName", &["bob@example.org"])]);
    assert_eq!(
        person_of(&settings, &found).address.as_deref(),
        Some("bob@example.org")
    );
    assert_eq!(person_of(&settings, &entry(&[])).address, None);
}

#[test]
fn a_bit_or_a_word_says_that_a_user_is_disabled() {
    let mut settings = active_directory();
    for (bits, is_disabled) in [("512", false), ("514", true), ("66050", true), ("x", false)] {
        let found = entry(&[("userAccountControl", &[bits])]);
        assert_eq!(
            person_of(&settings, &found).is_disabled,
            is_disabled,
            "{bits}"
        );
    }
    settings.disabled = "nsAccountLock".into();
    for (word, is_disabled) in [
        ("TRUE", true),
        ("false", false),
        ("0", false),
        ("20260101", true),
    ] {
        let found = entry(&[("nsAccountLock", &[word])]);
        assert_eq!(
            person_of(&settings, &found).is_disabled,
            is_disabled,
            "{word}"
        );
    }
    assert!(!person_of(&settings, &entry(&[])).is_disabled);
}

/// The server follows groups in groups, and the group's name is not syntax of the filter.
#[test]
fn active_directory_is_asked_for_the_chain_of_groups() {
    let user = element(0x87, b"cn");
    let asked = required(&active_directory(), user.clone()).expect("a filter");
    let chain = constructed(
        0xa9,
        &[
            element(0x81, b"1.2.840.113556.1.4.1941"),
            element(0x82, b"memberOf"),
            element(0x83, b"cn=Mail (all),dc=example,dc=org"),
        ],
    );
    assert_eq!(asked, constructed(0xa0, &[user, chain]));
}

fn found(name: &str, members: &[&str]) -> Found {
    Found {
        dn: format!("cn={name}"),
        address: Some(format!("{name}@example.org")),
        title: String::new(),
        members: members.iter().map(|member| (*member).to_owned()).collect(),
        is_partial: false,
    }
}

#[test]
fn groups_end_at_cycles_and_at_their_depth_and_a_part_is_not_the_whole() {
    let cycle = [
        found("a", &["cn=b", "uid=1"]),
        found("b", &["cn=a", "cn=b", "uid=2"]),
    ];
    let mut all = members("CN=A", &by_dn(&cycle), GROUP_DEPTH_MAX).expect("whole");
    all.sort();
    assert_eq!(all, ["uid=1", "uid=2"]);
    let chain: Vec<Found> = (0..30)
        .map(|level| found(&level.to_string(), &[&format!("cn={}", level + 1)]))
        .collect();
    assert!(
        members("cn=0", &by_dn(&chain), GROUP_DEPTH_MAX).is_err(),
        "too deep"
    );
    assert!(members("cn=20", &by_dn(&chain), GROUP_DEPTH_MAX).is_ok());
    let mut partial = [found("a", &["cn=b"]), found("b", &[])];
    partial[1].is_partial = true;
    assert!(members("cn=a", &by_dn(&partial), GROUP_DEPTH_MAX).is_err());
    assert!(members("cn=elsewhere", &by_dn(&partial), GROUP_DEPTH_MAX).is_err());
    let names: Vec<String> = (0..10_001).map(|number| format!("uid={number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(
        members("cn=a", &by_dn(&[found("a", &names)]), 16).is_err(),
        "too many"
    );
}

/// All of them are in each of many groups: what is held has a bound.
#[test]
fn members_of_all_groups_together_are_bounded() {
    let people: Vec<Person> = (0..10_000)
        .map(|number| Person {
            dn: format!("uid={number}"),
            address: Some(format!("p{number}@example.org")),
            ..Person::default()
        })
        .collect();
    let names: Vec<String> = people.iter().map(|person| person.dn.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let inner = found("inner", &names);
    let outer = (0..100).map(|number| found(&format!("g{number}"), &["cn=inner"]));
    let groups: Vec<Found> = outer.chain([inner]).collect();
    let groups = addressed(&people, &groups);
    let held: usize = groups
        .iter()
        .flat_map(|group| &group.members)
        .map(Vec::len)
        .sum();
    assert_eq!(held, MEMBERS_IN_ALL_MAX);
    assert!(groups.last().expect("groups").members.is_err());
}
