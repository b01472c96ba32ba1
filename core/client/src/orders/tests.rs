use imap::sort::{SortCriterion, SortField, Sorter};
use mail::InternalDate;

use super::*;

const ALICE: Holder = Holder(1);
const BOB: Holder = Holder(2);

fn key(mailbox: u64) -> Key {
    Key {
        mailbox: MailboxId(mailbox),
        validity: UidValidity(1),
        field: Some(SortField::Arrival),
    }
}

fn ranked(count: u32) -> Ranked {
    let criterion = SortCriterion {
        field: SortField::Arrival,
        reverse: false,
    };
    let mut sorter = Sorter::new(&[criterion], 0);
    for number in 0..count {
        sorter.add(InternalDate::utc(number.into()), 1, b"");
    }
    let uids: Vec<u32> = (1..=count).collect();
    let mut ranked = sorter.ranked(&uids);
    ranked.next().expect("one field").1
}

/// What keeping `ranked(100)` takes.
fn each() -> usize {
    ranked(100).memory_bytes() + ORDER_ENTRY_BYTES
}

fn find(orders: &Orders, mailbox: u64) -> Option<Arc<Paid<Ranked>>> {
    orders.find(key(mailbox))
}

fn is_consistent(orders: &Orders) {
    let state = orders.state();
    assert_eq!(state.by_use.len(), state.entries.len());
    assert_eq!(state.by_holder.len(), state.entries.len());
    for (key, entry) in &state.entries {
        assert_eq!(state.by_use[&entry.used], *key);
        assert!(state.by_holder.contains(&(entry.holder.0, entry.used)));
    }
}

#[test]
fn what_was_not_used_for_the_longest_time_goes_first() {
    let orders = Orders::new(3 * each(), 3 * each());
    for mailbox in 1..=3 {
        orders.keep(key(mailbox), ALICE, ranked(100), None);
    }
    assert!(find(&orders, 1).is_some());
    orders.keep(key(4), BOB, ranked(100), None);
    let kept = [1, 2, 3, 4].map(|mailbox| find(&orders, mailbox).is_some());
    assert_eq!(kept, [true, false, true, true]);
    assert_eq!(orders.budget().used_bytes(), 3 * each());
    is_consistent(&orders);
}

#[test]
fn an_account_makes_room_within_its_share() {
    let orders = Orders::new(4 * each(), 2 * each());
    orders.keep(key(1), BOB, ranked(100), None);
    for mailbox in 2..20 {
        orders.keep(key(mailbox), ALICE, ranked(100), None);
    }
    let kept: Vec<u64> = (1..20)
        .filter(|&mailbox| find(&orders, mailbox).is_some())
        .collect();
    assert_eq!(kept, [1, 18, 19], "the other one's stays");
    orders.keep(key(20), ALICE, ranked(1_000), None);
    assert!(find(&orders, 20).is_none(), "it is larger than a share");
    assert!(find(&orders, 19).is_some(), "and no other goes for it");
    is_consistent(&orders);
}

#[test]
fn what_a_command_uses_stays_paid_for_until_it_ends() {
    let orders = Orders::new(2 * each(), 2 * each());
    orders.keep(key(1), ALICE, ranked(100), None);
    let used = find(&orders, 1);
    orders.keep(key(2), ALICE, ranked(100), None);
    orders.keep(key(3), ALICE, ranked(100), None);
    let kept = [1, 2, 3].map(|mailbox| find(&orders, mailbox).is_some());
    assert_eq!(
        kept,
        [true, false, true],
        "to forget what is in use makes no room"
    );
    orders.forget(MailboxId(1));
    orders.forget(MailboxId(3));
    assert!(find(&orders, 1).is_none());
    assert_eq!(orders.budget().used_bytes(), each());
    drop(used);
    assert_eq!(orders.budget().used_bytes(), 0);
    is_consistent(&orders);
}

#[test]
fn what_has_more_messages_stays_unless_it_is_the_one_that_was_changed() {
    let orders = Orders::new(1 << 20, 1 << 20);
    let count = || find(&orders, 1).map(|kept| kept.of.len());
    orders.keep(key(1), ALICE, ranked(100), None);
    orders.keep(key(1), BOB, ranked(50), None);
    assert_eq!(count(), Some(100));
    orders.keep(key(1), BOB, ranked(150), None);
    assert_eq!(count(), Some(150));
    let old = find(&orders, 1);
    orders.keep(key(1), ALICE, ranked(70), old);
    assert_eq!(count(), Some(70), "messages are gone");
    let bytes = ranked(70).memory_bytes() + ORDER_ENTRY_BYTES;
    assert_eq!(
        orders.budget().used_bytes(),
        bytes,
        "the others are not paid for any more"
    );
    is_consistent(&orders);
}

/// RFC 3501 §2.3.1.1: UIDs of another UIDVALIDITY are other messages.
#[test]
fn another_validity_is_another_mailbox() {
    let orders = Orders::new(1 << 20, 1 << 20);
    orders.keep(key(1), ALICE, ranked(10), None);
    orders.keep(key(2), ALICE, ranked(10), None);
    let other = Key {
        validity: UidValidity(2),
        ..key(1)
    };
    assert!(orders.find::<Ranked>(other).is_none());
    orders.keep(other, ALICE, ranked(20), None);
    orders.forget(MailboxId(1));
    assert!(orders.find::<Ranked>(other).is_none() && find(&orders, 1).is_none());
    assert!(find(&orders, 2).is_some());
    is_consistent(&orders);
}

#[test]
fn nothing_is_kept_where_there_is_no_memory_for_it() {
    let orders = Orders::new(0, 0);
    orders.keep(key(1), ALICE, ranked(1), None);
    assert!(find(&orders, 1).is_none());
    assert_eq!(orders.budget().used_bytes(), 0);
    is_consistent(&orders);
}
