//! Whom access lists name: groups that come and go, addresses with a tag, and how much of it there may be.

use mail::{Rights, RightsChange};

use super::access::{rights, seen, set};
use super::*;
use crate::limits::ACCESS_PER_FOLDER_MAX;

/// The rights of a group end with it: the next group of its name has other members, who were given nothing.
#[test]
fn a_group_made_again_has_no_rights_of_the_earlier_one() {
    let rig = Rig::new(621);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        let cyd = add(&mailboxes, "cyd").await;
        let directory = mailboxes.directory();
        let make = async |member: &str| {
            let posters = names::Posters::Members;
            let made = directory.make_group("team@example.org", posters, address("ada"), "");
            made.await.unwrap();
            let members = vec![address(member)];
            let added = directory.add_members("team@example.org", members);
            added.await.unwrap();
        };
        make("bob").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        set(&mailboxes, ada, "INBOX", "team@example.org", "lrs").await;
        let rights_of = async |who| mailboxes.rights_on(who, inbox).await.unwrap();
        assert_eq!(rights_of(bob).await, rights("lrs"));
        directory.remove_group("team@example.org").await.unwrap();
        assert_eq!(rights_of(bob).await, Rights::NONE);
        assert!(mailboxes.access(ada, "INBOX").await.unwrap().is_empty());
        make("cyd").await;
        assert_eq!(rights_of(cyd).await, Rights::NONE);
        assert!(seen(&mailboxes, cyd).await.is_empty());
        set(&mailboxes, ada, "INBOX", "team@example.org", "+l").await;
        assert_eq!(rights_of(cyd).await, rights("l"));
        let state = mailboxes.inner.state.borrow();
        assert_eq!(state.shares_count, 1, "the entry of the earlier one went");
    });
}

/// Mail to a member goes past an account whose address has a tag more, and so do the rights.
#[test]
fn an_account_with_a_tag_is_not_the_one_without() {
    let rig = Rig::new(622);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        let guest = add(&mailboxes, "bob+guest").await;
        let directory = mailboxes.directory();
        let posters = names::Posters::Members;
        let made = directory.make_group("team@example.org", posters, address("ada"), "");
        made.await.unwrap();
        let added = directory.add_members("team@example.org", vec![address("bob")]);
        added.await.unwrap();
        set(&mailboxes, ada, "INBOX", "team@example.org", "lr").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let rights_of = async |who| mailboxes.rights_on(who, inbox).await.unwrap();
        assert_eq!(rights_of(bob).await, rights("lr"));
        assert_eq!(rights_of(guest).await, Rights::NONE);
        // An identifier is an account, and not where mail for it would go.
        let change = RightsChange::Replace(rights("l"));
        let other = mailboxes.change_access(ada, "INBOX", "bob+x@example.org", change);
        assert!(matches!(other.await, Err(MailboxFault::Refused(_))));
        set(&mailboxes, ada, "INBOX", "bob+guest@example.org", "l").await;
        assert_eq!(rights_of(guest).await, rights("l"));
    });
}

/// All of an account's tree is written again as one record, so names of groups must not fill it.
#[test]
fn lists_are_bounded_in_bytes() {
    let rig = Rig::new(623);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        mailboxes.create(ada, "Plans", None).await.unwrap();
        let directory = mailboxes.directory();
        let posters = names::Posters::Members;
        for number in 0..ACCESS_PER_FOLDER_MAX {
            let name = format!("{number:0>170}@example.org");
            let made = directory.make_group(&name, posters, address("ada"), "");
            made.await.unwrap();
            set(&mailboxes, ada, "Plans", &name, "l").await;
        }
        let mut made_count = 0;
        let refused = loop {
            let name = format!("Plans/{made_count}");
            match mailboxes.create(ada, &name, None).await {
                Ok(_) => made_count += 1,
                Err(fault) => break fault,
            }
        };
        assert_eq!(refused, MailboxFault::TooMany("entries of access lists"));
        assert!((5..20).contains(&made_count), "{made_count}");
        let change = RightsChange::Replace(rights("l"));
        let more = mailboxes.change_access(ada, "Archive", "anyone", change);
        more.await.unwrap();
        set(
            &mailboxes,
            ada,
            "Plans/0",
            &format!("{:0>170}@example.org", 0),
            "",
        )
        .await;
        mailboxes.create(ada, "Elsewhere", None).await.unwrap();
    });
}

/// A LIST past many who share lets the other tasks of the thread go on.
#[test]
fn a_look_at_many_sharers_gives_way() {
    let rig = Rig::new(624);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        set(&mailboxes, ada, "INBOX", "bob@example.org", "l").await;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        {
            let mut look = std::pin::pin!(mailboxes.foreign(bob));
            assert!(look.as_mut().poll(&mut context).is_ready());
        }
        for number in 0..5_000u32 {
            let with = crate::row::Who::Account(AccountId(100_000 + number));
            let mut state = mailboxes.inner.state.borrow_mut();
            state
                .shares
                .insert(AccountId(10_000 + number), [with].into());
        }
        let mut look = std::pin::pin!(mailboxes.foreign(bob));
        for _ in 0..4 {
            assert!(look.as_mut().poll(&mut context).is_pending());
        }
        let (found, is_whole) = look.await.unwrap();
        assert_eq!((found.len(), is_whole), (1, true));
    });
}
