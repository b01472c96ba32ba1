//! What one account may teach its domain.

use super::*;

/// A person files a folder of hundreds: the person's own model learns all of it, and the domain's no more than a share.
#[test]
fn one_account_has_a_share_of_its_domain_a_day_and_the_others_theirs() {
    let rig = Rig::new(1);
    rig.world.block_on(async {
        let lessons = rig.open().await;
        let of = |account| [Whom::Account(account), domain()];
        let totals = |whom: &Whom| lessons.with(whom, Model::totals).unwrap_or_default();
        let share = u64::from(DOMAIN_SHARE);
        for number in 1..=share + 9 {
            let junk = lesson(2 * number, Some(Kind::Junk));
            assert_eq!(lessons.learn(&of(1), junk).await, Ok(true));
        }
        assert_eq!(totals(&Whom::Account(1)), (DOMAIN_SHARE + 9, 0));
        assert_eq!(totals(&domain()), (DOMAIN_SHARE, 0));
        // The other kind, and another account.
        let good = lesson(2_000, Some(Kind::Good));
        assert_eq!(lessons.learn(&of(1), good).await, Ok(true));
        let junk = lesson(2_002, Some(Kind::Junk));
        assert_eq!(lessons.learn(&of(2), junk).await, Ok(true));
        assert_eq!(totals(&domain()), (DOMAIN_SHARE + 1, 1));
        // What the domain was taught can be taken back, and what it was not taught is nothing to it.
        let back = lesson(2, Some(Kind::Good));
        assert_eq!(lessons.learn(&of(1), back).await, Ok(true));
        assert_eq!(totals(&domain()), (DOMAIN_SHARE, 2));
        // For the domain alone nothing is to be written.
        let known = lesson(2 * (share + 9), Some(Kind::Junk));
        assert_eq!(lessons.learn(&of(1), known).await, Ok(false));
    });
    rig.reopened(async |lessons| {
        let there = lessons.with(&domain(), Model::totals);
        assert_eq!(there, Some((DOMAIN_SHARE, 2)));
    });
}
