//! What sessions that watch accounts hear of, and what is made for them.

use std::cell::RefCell;
use std::rc::Rc;

use mail::Rights;

use super::access::set;
use super::*;
use crate::folder::FolderEntry;
use crate::record::Entry;
use crate::{MailboxId, Notice};

type Heard = Rc<RefCell<Vec<Notice>>>;

async fn watch(mailboxes: &Mailboxes, key: u64, viewer: AccountId, account: AccountId) -> Heard {
    let heard = Heard::default();
    let told = heard.clone();
    let bell = Box::new(move |notice| {
        told.borrow_mut().push(notice);
        true
    });
    let watching = mailboxes.watch_accounts(key, viewer, vec![account], bell);
    watching.await.unwrap();
    heard
}

#[test]
fn a_viewer_hears_of_what_it_may_see_by_the_names_that_it_may_see() {
    let rig = Rig::new(640);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        let hidden = mailboxes.create(ada, "hidden", None).await.unwrap();
        let own = watch(&mailboxes, 1, ada, ada).await;
        let other = watch(&mailboxes, 2, bob, ada).await;
        let place = async |name: &str| {
            let delivered = mailboxes.deliver(delivery(1, vec![to(ada, name)])).await;
            delivered.into_iter().for_each(|placed| _ = placed.unwrap());
        };
        place("hidden").await;
        assert_eq!(own.take().len(), 1);
        assert_eq!(other.take(), []);
        mailboxes.rename(ada, "hidden", "open").await.unwrap();
        let named = |name: &str, from: Option<&str>| Notice::Named {
            account: ada,
            name: name.into(),
            from: from.map(Into::into),
        };
        assert_eq!(own.take(), [named("open", Some("hidden"))]);
        assert_eq!(other.take(), [named("open", None)]);
        let access = |name: &str, before| Notice::Access {
            account: ada,
            mailbox: hidden,
            name: name.into(),
            before,
        };
        set(&mailboxes, ada, "open", "bob@example.org", "lr").await;
        assert_eq!(other.take(), [access("open", Rights::NONE)]);
        place("open").await;
        assert!(matches!(other.take()[..], [Notice::Messages { .. }]));
        set(&mailboxes, ada, "open", "bob@example.org", "+s").await;
        assert_eq!(other.take(), [], "neither l nor r");
        mailboxes.rename(ada, "open", "more").await.unwrap();
        assert_eq!(other.take(), [named("more", Some("open"))]);
        set(&mailboxes, ada, "more", "bob@example.org", "-lrs").await;
        let before = Rights::parse("lrs").unwrap();
        assert_eq!(other.take(), [access("more", before)]);
        own.take();
        mailboxes.delete(ada, "more").await.unwrap();
        assert!(matches!(own.take()[..], [Notice::Unnamed { .. }]));
        assert_eq!(other.take(), []);
    });
}

/// A rename of many folders in an account that thousands watch.
#[test]
fn what_a_group_makes_is_not_more_with_more_watches() {
    let rig = Rig::new(641);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let mut heard = Vec::new();
        for key in 0..500 {
            heard.push(watch(&mailboxes, key, ada, ada).await);
        }
        let renamed = |number: u64| FolderEntry::Rename {
            account: ada,
            mailbox: MailboxId(number),
            from: format!("a/{number}"),
            to: format!("b/{number}"),
            uid_validity: mail::UidValidity(9),
            moved_at: None,
        };
        let entries: Vec<Entry> = (0..100).map(|number| renamed(number).into()).collect();
        let watchers = &mailboxes.inner.account_watchers;
        let notices = watchers
            .borrow()
            .notices(&mailboxes.inner.state.borrow(), &entries);
        assert_eq!(notices.count(), 100);
        notices.ring(watchers);
        assert!(heard.iter().all(|heard| heard.borrow().len() == 100));
    });
}
