//! Tables of recipients: what they say is what the mailboxes say; what is damaged is not taken.

use mail::Address;
use mailbox::names::Route;
use mailbox::{MailboxFault, Mailboxes};

use super::snapshot::snapshot_within;
use super::*;
use crate::arrival;
use crate::rig;

fn address(text: &str) -> Address {
    Address::from_path(text).expect("an address")
}

fn of(addresses: &[(&str, Sign)]) -> Bytes {
    let addresses = addresses.iter();
    let draft = Draft {
        domains: vec![("example.org".to_owned(), Rest::default())],
        addresses: addresses
            .map(|(key, sign)| ((*key).to_owned(), *sign))
            .collect(),
    };
    Bytes::from(draft.encode().expect("it fits"))
}

async fn table(mailboxes: &Mailboxes) -> Result<Recipients, MailboxFault> {
    let bytes = snapshot(mailboxes).await?.encode().expect("it fits");
    Ok(Recipients::decode(bytes.into()).expect("well-formed"))
}

#[test]
fn the_quarantine_is_in_no_table() {
    let (world, mailboxes) = rig::mailboxes();
    world.block_on(async move {
        let settled = crate::quarantine::settle(&mailboxes, 1 << 20).await;
        settled.expect("an account");
        let table = table(&mailboxes).await.expect("readable");
        let found = table.find(&crate::reserved::address());
        assert_eq!(found, Found::NotOurs);
    });
}

#[test]
fn a_table_says_of_each_address_what_the_mailboxes_say() {
    let (world, mailboxes) = rig::mailboxes();
    world.block_on(async move {
        let directory = mailboxes.directory();
        mailboxes.add_domain("catch.example").await.expect("added");
        mailboxes.add_domain("routed.example").await.expect("added");
        for local in ["alice", "bob", "both"] {
            let new = address(&format!("{local}@example.org"));
            let added = mailboxes.add_account(&new, "$argon2id$x", 0).await;
            added.expect("an account");
        }
        let to = vec![address("alice@example.org")];
        for name in ["sales@example.org", "@catch.example"] {
            let put = directory.put_alias(name, to.clone()).await;
            put.expect("an alias");
        }
        let route = Route::Host {
            host: "192.0.2.1".to_owned(),
            port: 25,
            needs_tls: false,
        };
        for scope in ["routed.example", "both@example.org"] {
            let put = directory.put_route(scope, route.clone()).await;
            put.expect("a route");
        }
        let table = table(&mailboxes).await.expect("readable");
        for path in [
            "alice@example.org",
            "ALICE+lists@Example.ORG",
            "both@example.org",
            "sales@example.org",
            "sales+x@example.org",
            "nobody@example.org",
            "anyone@catch.example",
            "anyone@routed.example",
            "alice@example.net",
        ] {
            let wanted = address(path);
            let said = arrival::look_up(&mailboxes, &wanted).await.found;
            assert_eq!(Ok(table.find(&wanted)), said, "{path}");
        }
    });
}

#[test]
fn a_used_up_quota_is_said_and_changes_the_version() {
    let account = AccountId(7);
    let room = Recipients::decode(of(&[("a@example.org", Sign::Account(account))]));
    let full = Recipients::decode(of(&[("a@example.org", Sign::Full(account))]));
    let (room, full) = (room.expect("good"), full.expect("good"));
    assert_ne!(room.version(), full.version());
    assert_eq!(version_of(full.bytes()).as_deref(), Some(full.version()));
    let left = |table: &Recipients| match table.find(&address("a@example.org")) {
        Found::Account(resident) => resident.left_bytes,
        other => panic!("{other:?}"),
    };
    assert_eq!((left(&room), left(&full)), (None, Some(0)));
}

#[test]
fn no_secret_is_in_a_table() {
    let (world, mailboxes) = rig::mailboxes();
    world.block_on(async move {
        let new = address("alice@example.org");
        let added = mailboxes.add_account(&new, "$argon2id$secret", 0).await;
        added.expect("an account");
        let table = table(&mailboxes).await.expect("readable");
        let bytes = table.bytes();
        assert!(bytes.windows(5).any(|part| part == b"alice"));
        assert!(!bytes.windows(6).any(|part| part == b"argon2"));
    });
}

#[test]
fn a_table_that_was_cut_or_changed_is_not_taken() {
    let whole = of(&[
        ("a@example.org", Sign::Listed),
        ("b@example.org", Sign::Listed),
    ]);
    for length in 0..whole.len() {
        assert!(Recipients::decode(whole.slice(..length)).is_err());
    }
    for at in 0..whole.len() {
        let mut changed = whole.to_vec();
        changed[at] ^= 1;
        assert!(Recipients::decode(changed.into()).is_err(), "byte {at}");
    }
    let mut longer = whole.to_vec();
    longer.push(0);
    assert_eq!(
        Recipients::decode(longer.into()).err(),
        Some(NoTable::Damaged)
    );
}

#[test]
fn the_first_entry_of_a_key_counts() {
    let bytes = of(&[
        ("a@example.org", Sign::Listed),
        ("a@example.org", Sign::Account(AccountId(1))),
    ]);
    let table = Recipients::decode(bytes).expect("well-formed");
    assert_eq!(table.addresses(), 1);
    assert_eq!(table.find(&address("a@example.org")), Found::Listed);
}

#[test]
fn a_table_past_the_bound_is_not_made() {
    let long = "x".repeat(TABLE_BYTES_MAX);
    let draft = Draft {
        addresses: vec![(long, Sign::Listed)],
        ..Draft::default()
    };
    assert_eq!(draft.encode(), Err(NoTable::TooLarge));
}

#[test]
fn more_addresses_than_a_table_has_are_not_collected() {
    let (world, mailboxes) = rig::mailboxes();
    world.block_on(async move {
        for local in ["alice", "bob"] {
            let new = address(&format!("{local}@example.org"));
            let added = mailboxes.add_account(&new, "$argon2id$x", 0).await;
            added.expect("an account");
        }
        let bytes = "alice@example.orgbob@example.org".len() + 2 * 9;
        assert!(snapshot_within(&mailboxes, bytes).await.is_ok());
        let told = snapshot_within(&mailboxes, bytes - 1).await.err();
        assert!(matches!(told, Some(MailboxFault::TooMany(_))), "{told:?}");
    });
}

/// Each would take ten times its bytes in memory.
#[test]
fn a_table_with_too_many_domains_is_not_taken() {
    let table = |count: usize| {
        let domains = (0..count).map(|number| (number.to_string(), Rest::default()));
        let draft = Draft {
            domains: domains.collect(),
            addresses: Vec::new(),
        };
        Recipients::decode(draft.encode().expect("it fits").into())
    };
    assert!(table(DOMAINS_MAX).is_ok());
    assert_eq!(table(DOMAINS_MAX + 1).err(), Some(NoTable::TooLarge));
}
