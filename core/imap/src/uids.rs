//! Lists of UIDs beside each other: what is known of a mailbox, what is asked for, and what is in it now. All ascend.

/// The row of each of `asked` in `known`; `None`: it is not there. Few in many are found by leaps.
pub(crate) fn rows<'u>(
    known: &'u [u32],
    asked: &'u [u32],
) -> impl Iterator<Item = Option<u32>> + 'u {
    let mut at = 0;
    asked.iter().map(move |&uid| {
        at = seek(known, at, uid);
        (known.get(at) == Some(&uid)).then_some(at as u32)
    })
}

/// The first place from `from` on that holds `uid` or a greater one.
fn seek(known: &[u32], from: usize, uid: u32) -> usize {
    let (mut low, mut leap) = (from, 1);
    while known.get(low + leap).is_some_and(|&there| there < uid) {
        // each leap is twice the last
        low += leap;
        leap *= 2;
    }
    let high = (low + leap + 1).min(known.len());
    low + known[low..high].partition_point(|&there| there < uid)
}

/// A message of a merged list, and its row in the list that it comes from.
pub(crate) struct Origin {
    pub uid: u32,
    pub row: u32,
    /// It is a row of the second list.
    pub is_fresh: bool,
}

/// Both lists as one, without what is not in `live`. Of a UID in both the first list's row counts.
pub(crate) fn merged(old: &[u32], fresh: &[u32], live: impl Iterator<Item = u32>) -> Vec<Origin> {
    let mut live = live.peekable();
    let mut all = Vec::with_capacity(old.len() + fresh.len());
    let (mut one, mut other) = (0, 0);
    loop {
        // each turn takes a row of one list
        let is_fresh = match (old.get(one), fresh.get(other)) {
            (None, None) => return all,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some(known), Some(new)) => {
                other += usize::from(known == new);
                new < known
            }
        };
        let (list, row) = match is_fresh {
            true => (fresh, &mut other),
            false => (old, &mut one),
        };
        let uid = list[*row];
        while live.next_if(|&there| there < uid).is_some() {}
        if live.peek() == Some(&uid) {
            let row = *row as u32;
            all.push(Origin { uid, row, is_fresh });
        }
        *row += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_are_searched_and_merged_as_sets_are(
            old in prop::collection::btree_set(0u32..60, 0..40),
            fresh in prop::collection::btree_set(0u32..60, 0..40),
            live in prop::collection::btree_set(0u32..60, 0..60),
        ) {
            let list = |set: &BTreeSet<u32>| set.iter().copied().collect::<Vec<u32>>();
            let (known, asked) = (list(&old), list(&fresh));
            let found: Vec<Option<u32>> = rows(&known, &asked).collect();
            let wanted = asked.iter().map(|uid| known.iter().position(|known| known == uid));
            prop_assert_eq!(found, wanted.map(|row| row.map(|row| row as u32)).collect::<Vec<_>>());
            let all = merged(&known, &asked, live.iter().copied());
            let uids: Vec<u32> = all.iter().map(|one| one.uid).collect();
            let wanted = old.union(&fresh).filter(|uid| live.contains(uid));
            prop_assert_eq!(uids, wanted.copied().collect::<Vec<u32>>());
            for one in all {
                prop_assert_eq!(one.is_fresh, !old.contains(&one.uid));
                let list = if one.is_fresh { &asked } else { &known };
                prop_assert_eq!(list[one.row as usize], one.uid);
            }
        }
    }
}
