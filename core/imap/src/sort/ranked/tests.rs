use std::collections::BTreeMap;

use mail::InternalDate;
use proptest::prelude::*;

use super::super::{SortCriterion, SortField};
use super::*;

type Mailbox = BTreeMap<u32, Letter>;

#[derive(Debug, Clone)]
struct Letter {
    subject: String,
    from: String,
    seconds: i64,
    size: u32,
}

fn letters() -> impl Strategy<Value = Letter> {
    // The first sixteen bytes may be the same, and zeros are letters too.
    let subject = "(Re: )?(one beginning of )?[a-c\0]{0,3}";
    (subject, "[a-c]{1,2}", 0i64..4, 0u32..4).prop_map(|(subject, from, seconds, size)| Letter {
        subject,
        from,
        seconds,
        size,
    })
}

fn criteria() -> impl Strategy<Value = Vec<SortCriterion>> {
    let field = prop::sample::select(SortField::ALL.to_vec());
    let criterion =
        (field, any::<bool>()).prop_map(|((_, field), reverse)| SortCriterion { field, reverse });
    prop::collection::vec(criterion, 1..5)
}

fn sorter(criteria: &[SortCriterion], letters: &[&Letter]) -> Sorter {
    let mut sorter = Sorter::new(criteria, letters.len());
    for letter in letters {
        let header = format!(
            "Subject: {}\r\nFrom: Some One <{}@x>\r\nDate: {} Jan 2001 00:00:00 +0000\r\n",
            letter.subject,
            letter.from,
            9 - letter.seconds
        );
        sorter.add(
            InternalDate::utc(letter.seconds),
            letter.size,
            header.as_bytes(),
        );
    }
    sorter
}

/// What happens to a mailbox between two sorts.
#[derive(Debug, Clone)]
struct Step {
    delivered: Vec<Letter>,
    /// Every so many messages one is expunged; 0: none.
    expunged: u32,
    criteria: Vec<SortCriterion>,
    /// Of the messages only every so many are sorted.
    found: u32,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let delivered = prop::collection::vec(letters(), 0..12);
    let step = (delivered, 0u32..5, criteria(), 1u32..4).prop_map(
        |(delivered, expunged, criteria, found)| Step {
            delivered,
            expunged,
            criteria,
            found,
        },
    );
    prop::collection::vec(step, 1..8)
}

proptest! {
    /// Whatever was kept, the order is that of a sort of what is there.
    #[test]
    fn kept_ranks_give_the_order_of_fresh_keys(steps in steps()) {
        let mut mailbox = Mailbox::new();
        let mut kept: BTreeMap<SortField, Ranked> = BTreeMap::new();
        let mut next = 1;
        for step in steps {
            for letter in step.delivered {
                mailbox.insert(next, letter);
                next += 1;
            }
            if step.expunged > 0 {
                mailbox.retain(|uid, _| uid % 7 != step.expunged);
            }
            let uids: Vec<u32> = mailbox.keys().copied().filter(|uid| uid % step.found == 0).collect();
            for criterion in &step.criteria {
                let old = kept.remove(&criterion.field);
                let missing: Vec<u32> = match &old {
                    None => uids.clone(),
                    Some(old) => {
                        let known = uids.iter().zip(old.knows(&uids));
                        known.filter(|(_, known)| !known).map(|(uid, _)| *uid).collect()
                    }
                };
                let letters: Vec<&Letter> = missing.iter().map(|uid| &mailbox[uid]).collect();
                let sorter = sorter(&[*criterion], &letters);
                let (_, fresh) = sorter.ranked(&missing).next().unwrap();
                let live = mailbox.keys().copied();
                let now = match &old {
                    Some(old) => Ranked::merged(old, &fresh, live),
                    None => fresh,
                };
                prop_assert!(now.uids.iter().all(|uid| mailbox.contains_key(uid)));
                let used: std::collections::BTreeSet<u32> = now.ranks.iter().copied().collect();
                prop_assert!(used.into_iter().eq(0..now.keys.len() as u32), "no key is left over");
                kept.insert(criterion.field, now);
            }
            let letters: Vec<&Letter> = uids.iter().map(|uid| &mailbox[uid]).collect();
            let wanted = sorter(&step.criteria, &letters).order();
            let of = |criterion: &SortCriterion| (&kept[&criterion.field], criterion.reverse);
            let columns: Vec<(&Ranked, bool)> = step.criteria.iter().map(of).collect();
            prop_assert_eq!(order(&columns, &uids), wanted);
        }
    }
}

fn by_subject(subjects: &[String]) -> Ranked {
    let letter = |subject: &String| Letter {
        subject: subject.clone(),
        from: "a".into(),
        seconds: 0,
        size: 0,
    };
    let letters: Vec<Letter> = subjects.iter().map(letter).collect();
    let letters: Vec<&Letter> = letters.iter().collect();
    let criterion = SortCriterion {
        field: SortField::Subject,
        reverse: false,
    };
    let uids: Vec<u32> = (1..=subjects.len() as u32).collect();
    let sorter = sorter(&[criterion], &letters);
    let ranked = sorter.ranked(&uids).next();
    ranked.expect("one field").1
}

#[test]
fn few_of_many_are_sorted_by_the_same_ranks() {
    let subjects: Vec<String> = (0..1_000)
        .map(|n| format!("{}", n * 7_919 % 1_000))
        .collect();
    let ranked = by_subject(&subjects);
    let uids: Vec<u32> = (1..=1_000).step_by(100).collect();
    for reverse in [false, true] {
        let mut wanted: Vec<u32> = (0..10).collect();
        wanted.sort_by_key(|&at| &subjects[uids[at as usize] as usize - 1]);
        if reverse {
            wanted.reverse();
        }
        assert_eq!(order(&[(&ranked, reverse)], &uids), wanted);
    }
}

#[test]
fn a_subject_of_many_messages_is_kept_once() {
    let long = "x".repeat(500);
    let same = by_subject(&vec![long.clone(); 1_000]);
    assert!(
        same.memory_bytes() < 1_000 * 16 + 1_000,
        "{}",
        same.memory_bytes()
    );
    let other: Vec<String> = (0..1_000).map(|n| format!("{n}{long}")).collect();
    assert!(by_subject(&other).memory_bytes() > 1_000 * 500);
}

#[test]
fn what_could_not_be_read_is_taken_out_again() {
    let subjects = ["b", "", "a", "c"].map(String::from);
    let ranked = by_subject(&subjects);
    let left = ranked.without(&[2]);
    assert_eq!(left.uids, [1, 3, 4]);
    assert_eq!(left.ranks, [1, 0, 2]);
    assert_eq!(
        left.knows(&[1, 2, 3]).collect::<Vec<_>>(),
        [true, false, true]
    );
}
