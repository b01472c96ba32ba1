//! Whom access lists name: groups that come and go, and addresses with a tag.

use mail::{Rights, RightsChange};

use super::access::{rights, seen, set};
use super::*;

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
