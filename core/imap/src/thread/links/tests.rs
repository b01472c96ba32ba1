use std::collections::BTreeMap;

use mail::InternalDate;
use proptest::prelude::*;

use super::super::Threader;
use super::*;

#[derive(Debug, Clone)]
struct Letter {
    header: String,
    date: i64,
}

fn letters() -> impl Strategy<Value = Letter> {
    let id = "[a-h]";
    (
        prop::option::of(id),
        prop::collection::vec(id, 0..4),
        any::<bool>(),
        "(Re: )?[xyz]?",
        0i64..9,
    )
        .prop_map(|(own, references, replies, subject, date)| {
            let mut header = format!("Subject: {subject}\r\n");
            if let Some(own) = own {
                header += &format!("Message-ID: <{own}@x>\r\n");
            }
            let ids: Vec<String> = references.iter().map(|id| format!("<{id}@x>")).collect();
            let name = if replies { "In-Reply-To" } else { "References" };
            header += &format!("{name}: {}\r\n", ids.join(" "));
            Letter { header, date }
        })
}

/// What happens to a mailbox between two THREADs.
#[derive(Debug, Clone)]
struct Step {
    delivered: Vec<Letter>,
    expunged: u32,
    found: u32,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let delivered = prop::collection::vec(letters(), 0..12);
    let step = (delivered, 0u32..8, 1u32..4).prop_map(|(delivered, expunged, found)| Step {
        delivered,
        expunged,
        found,
    });
    prop::collection::vec(step, 1..8)
}

fn threader(algorithm: ThreadAlgorithm, letters: &[&Letter]) -> Threader {
    let mut threader = Threader::new(algorithm);
    for letter in letters {
        threader.add(InternalDate::utc(letter.date), letter.header.as_bytes());
    }
    threader
}

proptest! {
    /// Whatever was kept, the trees are those of what is there.
    #[test]
    fn kept_links_give_the_trees_of_fresh_headers(steps in steps()) {
        let mut mailbox: BTreeMap<u32, Letter> = BTreeMap::new();
        let mut kept: Option<Links> = None;
        let mut next = 1;
        for step in steps {
            for letter in step.delivered {
                mailbox.insert(next, letter);
                next += 1;
            }
            if step.expunged > 0 {
                mailbox.retain(|uid, _| uid % 8 != step.expunged);
            }
            let uids: Vec<u32> = mailbox.keys().copied().filter(|uid| uid % step.found == 0).collect();
            let missing: Vec<u32> = match &kept {
                None => uids.clone(),
                Some(old) => {
                    let known = uids.iter().zip(old.knows(&uids));
                    known.filter(|(_, known)| !known).map(|(uid, _)| *uid).collect()
                }
            };
            let fresh: Vec<&Letter> = missing.iter().map(|uid| &mailbox[uid]).collect();
            let fresh = threader(ThreadAlgorithm::References, &fresh).links(missing);
            let links = match &kept {
                Some(old) => Links::merged(old, &fresh, mailbox.keys().copied()),
                None => fresh,
            };
            prop_assert!(links.uids.iter().all(|uid| mailbox.contains_key(uid)));
            prop_assert!(links.gone <= links.len() / 4);
            let letters: Vec<&Letter> = uids.iter().map(|uid| &mailbox[uid]).collect();
            for (_, algorithm) in ThreadAlgorithm::ALL {
                let wanted = threader(algorithm, &letters).trees(|place| uids[place as usize]);
                let found = links.trees(algorithm, &uids, |place| uids[place as usize]);
                prop_assert_eq!(String::from_utf8(found), String::from_utf8(wanted));
            }
            kept = Some(links);
        }
    }
}

/// A mailbox that is emptied as fast as it fills.
#[test]
fn texts_of_messages_that_are_gone_are_forgotten() {
    let mut kept = Links::default();
    for uid in 1..2_000u32 {
        let letter = Letter {
            header: format!(
                "Message-ID: <{uid}@x>\r\nReferences: <of-{uid}@x>\r\nSubject: {uid}\r\n"
            ),
            date: uid.into(),
        };
        let fresh = threader(ThreadAlgorithm::References, &[&letter]).links(vec![uid]);
        kept = Links::merged(&kept, &fresh, uid.saturating_sub(9)..=uid);
        assert!(kept.len() <= 10);
        assert!(kept.texts() <= 3 * 13, "{}", kept.texts());
    }
    assert!(kept.memory_bytes() < 16 * 1_024, "{}", kept.memory_bytes());
}

#[test]
fn what_could_not_be_read_is_taken_out_again() {
    let letter = |id: &str| Letter {
        header: format!("Message-ID: <{id}@x>\r\nReferences: <b@x>\r\nSubject: {id}\r\n"),
        date: 1,
    };
    let letters = ["a", "b", "c"].map(letter);
    let letters: Vec<&Letter> = letters.iter().collect();
    let all = threader(ThreadAlgorithm::References, &letters).links(vec![1, 2, 3]);
    let left = all.without(&[2]);
    assert_eq!(
        left.knows(&[1, 2, 3]).collect::<Vec<_>>(),
        [true, false, true]
    );
    let trees = left.trees(ThreadAlgorithm::References, &[1, 3], |place| {
        [1, 3][place as usize]
    });
    assert_eq!(trees, b"((1)(3))");
}
