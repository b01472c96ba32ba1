//! The directory and the folder tree.

use super::*;

#[test]
fn accounts_are_found_by_any_case_and_with_details() {
    let rig = Rig::new(20);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert!(matches!(
            mailboxes.add_account(&address("ada"), "", 0).await,
            Err(MailboxFault::Refused(_))
        ));
        let generation = mailboxes.directory_generation();
        let before = generation.load(std::sync::atomic::Ordering::Acquire);
        assert_eq!(mailboxes.account(&address("ada")).await.unwrap(), None);
        let ada = add(&mailboxes, "Ada").await;
        assert!(generation.load(std::sync::atomic::Ordering::Acquire) > before);
        assert_eq!(
            mailboxes.add_account(&address("aDa"), "", 0).await,
            Err(MailboxFault::Exists)
        );
        for local in ["ada", "ADA", "ada+lists", "ada+a+b"] {
            assert_eq!(
                mailboxes
                    .account(&address(local))
                    .await
                    .unwrap()
                    .map(|account| account.id),
                Some(ada),
                "{local}"
            );
        }
        let exact = add(&mailboxes, "ada+lists").await;
        assert_eq!(
            mailboxes
                .account(&address("ada+lists"))
                .await
                .unwrap()
                .unwrap()
                .id,
            exact
        );
        assert_eq!(mailboxes.account(&address("+lists")).await.unwrap(), None);
        mailboxes.set_password_hash(ada, "new").await.unwrap();
        assert_eq!(
            mailboxes
                .account(&address("ada"))
                .await
                .unwrap()
                .unwrap()
                .password_hash,
            "new"
        );
        assert!(mailboxes.remove_domain("example.org").await.is_err());
        mailboxes.remove_account(ada).await.unwrap();
        assert_eq!(mailboxes.account(&address("ada")).await.unwrap(), None);
        assert_eq!(mailboxes.list(ada).await, Err(MailboxFault::NoAccount));
        assert_eq!(
            mailboxes.remove_account(ada).await,
            Err(MailboxFault::NoAccount)
        );
        mailboxes.remove_account(exact).await.unwrap();
        mailboxes.remove_domain("EXAMPLE.org").await.unwrap();
        assert_eq!(mailboxes.domains(), Vec::<String>::new());
    });
}

#[test]
fn accounts_are_listed_in_order_whatever_is_checkpointed() {
    let rig = Rig::new(21);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let mut ids = BTreeMap::new();
        for number in 0..30 {
            let local = format!("user{:02}", number * 7 % 30);
            ids.insert(local.clone(), add(&mailboxes, &local).await);
            if number % 8 == 0 {
                mailboxes.checkpoint().await.unwrap();
            }
        }
        for local in ["user03", "user04", "user29"] {
            mailboxes.remove_account(ids[local]).await.unwrap();
            ids.remove(local);
        }
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = mailboxes.accounts(after.as_deref(), 4).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.address.key());
            found.extend(
                page.iter()
                    .map(|account| account.address.local().to_owned()),
            );
        }
        assert_eq!(found, ids.into_keys().collect::<Vec<_>>());
    });
}

#[test]
fn a_new_account_has_the_usual_folders() {
    let rig = Rig::new(22);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let list = mailboxes.list(ada).await.unwrap();
        let names: Vec<&str> = list.iter().map(|info| info.name.as_str()).collect();
        assert_eq!(
            names,
            ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]
        );
        assert!(list.iter().all(|info| info.subscribed && info.selectable));
        assert_eq!(list[3].special_use, Some(SpecialUse::Junk));
        assert_eq!(list[2].special_use, None);
    });
}

#[test]
fn parents_are_made_on_the_way_and_stay_as_names() {
    let rig = Rig::new(23);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        mailboxes.create(ada, "a/b/c/", None).await.unwrap();
        assert_eq!(
            mailboxes.create(ada, "a/b", None).await,
            Err(MailboxFault::Exists)
        );
        mailboxes.delete(ada, "a/b").await.unwrap();
        let list = mailboxes.list(ada).await.unwrap();
        let b = list.iter().find(|info| info.name == "a/b").unwrap();
        assert!(!b.selectable);
        assert_eq!(
            mailboxes.find(ada, "a/b").await,
            Err(MailboxFault::NoMailbox)
        );
        assert!(matches!(
            mailboxes.delete(ada, "a/b").await,
            Err(MailboxFault::Refused(_))
        ));
        mailboxes.create(ada, "a/b", None).await.unwrap();
        mailboxes.delete(ada, "a/b/c").await.unwrap();
        assert_eq!(
            mailboxes.delete(ada, "a/b/c").await,
            Err(MailboxFault::NoMailbox)
        );
        assert!(matches!(
            mailboxes.delete(ada, "inbox").await,
            Err(MailboxFault::Refused(_))
        ));
    });
}

#[test]
fn a_rename_takes_the_children_and_the_mail_along() {
    let rig = Rig::new(24);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        mailboxes.create(ada, "work/old/2020", None).await.unwrap();
        mailboxes.create(ada, "workshop", None).await.unwrap();
        mailboxes
            .deliver(delivery(1, vec![to(ada, "work/old/2020")]))
            .await
            .pop()
            .unwrap()
            .unwrap();
        let before = mailboxes
            .status(mailboxes.find(ada, "work/old/2020").await.unwrap())
            .await
            .unwrap();
        mailboxes.rename(ada, "work", "x/y").await.unwrap();
        let names: Vec<String> = mailboxes
            .list(ada)
            .await
            .unwrap()
            .into_iter()
            .map(|info| info.name)
            .collect();
        assert!(
            !names.iter().any(|name| name.starts_with("work/"))
                && names.contains(&"workshop".to_owned())
        );
        let after = mailboxes
            .status(mailboxes.find(ada, "x/y/old/2020").await.unwrap())
            .await
            .unwrap();
        assert_eq!(after, before, "UIDVALIDITY and all");
        assert!(matches!(
            mailboxes.rename(ada, "x", "x/y/z").await,
            Err(MailboxFault::Refused(_))
        ));
        assert_eq!(
            mailboxes.rename(ada, "x/y", "Sent").await,
            Err(MailboxFault::Exists)
        );
        assert_eq!(
            mailboxes.rename(ada, "nothing", "more").await,
            Err(MailboxFault::NoMailbox)
        );
    });
}

#[test]
fn renaming_inbox_leaves_a_new_one_and_tells_who_had_it_open() {
    let rig = Rig::new(25);
    let before = rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        mailboxes.create(ada, "INBOX/child", None).await.unwrap();
        deliver(&mailboxes, 1, ada).await;
        let old = mailboxes.find(ada, "INBOX").await.unwrap();
        let seen = mailboxes.view(old).await.unwrap().status;
        mailboxes.rename(ada, "INBOX", "Saved/2026").await.unwrap();
        assert!(
            mailboxes
                .changes(old, seen.highest_modseq)
                .await
                .unwrap()
                .gone
        );
        let saved = mailboxes.find(ada, "Saved/2026").await.unwrap();
        let fresh = mailboxes.view(saved).await.unwrap().status;
        assert!(
            !mailboxes
                .changes(saved, fresh.highest_modseq)
                .await
                .unwrap()
                .gone
        );
        assert_eq!((fresh.messages, fresh.uid_validity), (1, seen.uid_validity));
        let new = mailboxes.find(ada, "INBOX").await.unwrap();
        let status = mailboxes.status(new).await.unwrap();
        assert_eq!(status.messages, 0);
        assert!(status.uid_validity > seen.uid_validity);
        assert!(mailboxes.find(ada, "INBOX/child").await.is_ok());
        assert_eq!(deliver(&mailboxes, 2, ada).await.mailbox, new);
        picture(&mailboxes).await
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert_same(&picture(&mailboxes).await, &before);
    });
}

#[test]
fn a_name_used_again_has_a_higher_uidvalidity() {
    let rig = Rig::new(26);
    let mut last = None;
    for _ in 0..4 {
        rig.block_on(async {
            let mailboxes = rig.open().await;
            let ada = match mailboxes.account(&address("ada")).await.unwrap() {
                Some(account) => account.id,
                None => add(&mailboxes, "ada").await,
            };
            for _ in 0..3 {
                let id = mailboxes.create(ada, "again", None).await.unwrap();
                let status = mailboxes.status(id).await.unwrap();
                assert!(Some(status.uid_validity) > last);
                last = Some(status.uid_validity);
                mailboxes.delete(ada, "again").await.unwrap();
                assert!(mailboxes.changes(id, mail::ModSeq(1)).await.unwrap().gone);
            }
        });
        rig.crash();
    }
}

#[test]
fn subscriptions_outlive_their_mailboxes() {
    let rig = Rig::new(27);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        mailboxes.delete(ada, "Junk").await.unwrap();
        mailboxes.subscribe(ada, "Not/There", true).await.unwrap();
        mailboxes.subscribe(ada, "Sent", false).await.unwrap();
        let names = mailboxes.subscriptions(ada).await.unwrap();
        assert_eq!(
            names,
            ["Archive", "Drafts", "INBOX", "Junk", "Not/There", "Trash"]
        );
        assert!(mailboxes.subscribe(ada, "a//b", true).await.is_err());
    });
}

/// A client creates the same folder from two connections; only one may win.
#[test]
fn of_two_creations_one_is_told_that_it_exists() {
    let rig = Rig::new(28);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let answers: Rc<RefCell<Vec<bool>>> = Rc::default();
        for _ in 0..5 {
            let (mailboxes, answers) = (mailboxes.clone(), answers.clone());
            rig.world.io().host.spawn(Box::pin(async move {
                let made = mailboxes.create(ada, "p/q", None).await.is_ok();
                answers.borrow_mut().push(made);
            }));
        }
        while answers.borrow().len() < 5 {
            base::host::sleep_us(&*rig.world.io().host, 1_000).await;
        }
        assert_eq!(answers.borrow().iter().filter(|made| **made).count(), 1);
    });
}

/// O12: `u` and U+0308, and a domain in letters and in ASCII.
#[test]
fn an_address_is_found_in_every_spelling() {
    let rig = Rig::new(26);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let of = |local, domain| Address::from_parts(local, domain).unwrap();
        let (letters, ascii) = ("b\u{fc}cher.example", "xn--bcher-kva.example");
        let apart = "bu\u{308}cher.example";
        mailboxes.add_domain(apart).await.unwrap();
        for same in [letters, ascii, apart, "B\u{dc}CHER.example"] {
            assert_eq!(mailboxes.add_domain(same).await, Err(MailboxFault::Exists));
            assert!(mailboxes.has_domain(same));
        }
        let address = of("mu\u{308}ller", ascii);
        let account = mailboxes.add_account(&address, "", 0).await.unwrap();
        for local in [
            "m\u{fc}ller",
            "mu\u{308}ller",
            "M\u{dc}LLER",
            "MU\u{308}ller+list",
        ] {
            for domain in [letters, ascii, apart] {
                let found = mailboxes.account(&of(local, domain)).await.unwrap();
                assert_eq!(
                    found.map(|found| found.id),
                    Some(account),
                    "{local}@{domain}"
                );
            }
        }
        let again = mailboxes
            .add_account(&of("m\u{fc}ller", letters), "", 0)
            .await;
        assert_eq!(again, Err(MailboxFault::Exists));
        assert_eq!(mailboxes.account(&of("muller", ascii)).await.unwrap(), None);
        assert!(!mailboxes.has_domain("bucher.example"));
        mailboxes.remove_account(account).await.unwrap();
        mailboxes.remove_domain(ascii).await.unwrap();
        assert!(!mailboxes.has_domain(letters));
    });
}

#[test]
fn a_folder_is_found_in_every_spelling() {
    let rig = Rig::new(27);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let made = mailboxes
            .create(ada, "Entwu\u{308}rfe/A\u{30a}r", None)
            .await
            .unwrap();
        let find = |name| mailboxes.find(ada, name);
        assert_eq!(find("Entw\u{fc}rfe/\u{c5}r").await, Ok(made));
        assert_eq!(find("Entwu\u{308}rfe/\u{c5}r").await, Ok(made));
        let again = mailboxes.create(ada, "Entw\u{fc}rfe", None).await;
        assert_eq!(again, Err(MailboxFault::Exists));
        let names: Vec<String> = (mailboxes.list(ada).await.unwrap().into_iter())
            .map(|info| info.name)
            .filter(|name| !name.is_ascii())
            .collect();
        assert_eq!(names, ["Entw\u{fc}rfe", "Entw\u{fc}rfe/\u{c5}r"]);
        mailboxes
            .rename(ada, "Entwu\u{308}rfe", "U\u{308}ber")
            .await
            .unwrap();
        assert_eq!(find("\u{dc}ber/\u{c5}r").await, Ok(made));
        mailboxes.subscribe(ada, "U\u{308}ber", true).await.unwrap();
        let subscribed = mailboxes.subscriptions(ada).await.unwrap();
        assert!(
            subscribed.contains(&"\u{dc}ber".to_owned()),
            "{subscribed:?}"
        );
        mailboxes
            .delete(ada, "U\u{308}ber/A\u{30a}r")
            .await
            .unwrap();
        assert_eq!(
            find("\u{dc}ber/\u{c5}r").await,
            Err(MailboxFault::NoMailbox)
        );
    });
}

/// What earlier releases took as it came stays where it is, and is found.
#[test]
fn names_kept_decomposed_stay_readable() {
    let rig = Rig::new(28);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let create = |mailbox, name: &str| {
            let create = crate::folder::FolderEntry::Create {
                account: ada,
                mailbox: MailboxId(mailbox),
                name: name.to_owned(),
                uid_validity: mail::UidValidity(4_000_000_000 + mailbox as u32),
                special_use: None,
            };
            create.into()
        };
        let (apart, together) = ("u\u{308}", "\u{fc}");
        let old = vec![
            create(1_000, apart),
            create(1_001, "o\u{308}"),
            create(1_002, "\u{f6}"),
        ];
        let hold = crate::hold::Hold::default();
        mailboxes.inner.commit(Vec::new(), old, hold).await.unwrap();
        let found = |name: &str| {
            let name = name.to_owned();
            let mailboxes = &mailboxes;
            async move { mailboxes.find(ada, &name).await.map(|id| id.0) }
        };
        assert_eq!(found(apart).await, Ok(1_000));
        assert_eq!(found(together).await, Ok(1_000));
        // Two that differ only in that: each by its own spelling.
        assert_eq!(found("o\u{308}").await, Ok(1_001));
        assert_eq!(found("\u{f6}").await, Ok(1_002));
        // A child lies below the parent that is there.
        let child = mailboxes
            .create(ada, "\u{fc}/a\u{308}", None)
            .await
            .unwrap();
        assert_eq!(found("u\u{308}/\u{e4}").await, Ok(child.0));
        let list = mailboxes.list(ada).await.unwrap();
        assert!(list.iter().any(|info| info.name == "u\u{308}/\u{e4}"));
        assert!(!list.iter().any(|info| info.name == together));
        mailboxes.delete(ada, "\u{fc}/\u{e4}").await.unwrap();
        mailboxes.delete(ada, together).await.unwrap();
        assert_eq!(found(apart).await, Err(MailboxFault::NoMailbox));
    });
}

/// RFC 3501 §2.3.1.1, findings of the simulator: what comes to a name by RENAME has no lower UIDVALIDITY than what had the name before.
#[test]
fn a_rename_never_lowers_the_uidvalidity_of_a_name() {
    let rig = Rig::new(26);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let validity = async |mailboxes: &Mailboxes, name: &str| {
            let mailbox = mailboxes.find(ada, name).await.unwrap();
            mailboxes.status(mailbox).await.unwrap().uid_validity
        };
        mailboxes.create(ada, "old/child", None).await.unwrap();
        let old = validity(&mailboxes, "old").await;
        // There and back again: nothing had the names but the mailbox itself.
        mailboxes.rename(ada, "old", "older").await.unwrap();
        mailboxes.rename(ada, "older", "old").await.unwrap();
        assert_eq!(validity(&mailboxes, "old").await, old);

        mailboxes.create(ada, "name/child", None).await.unwrap();
        let (name, child) = (
            validity(&mailboxes, "name").await,
            validity(&mailboxes, "name/child").await,
        );
        assert!(old < name && name < child);
        mailboxes.delete(ada, "name/child").await.unwrap();
        mailboxes.delete(ada, "name").await.unwrap();
        let open = mailboxes.find(ada, "old").await.unwrap();
        let seen = mailboxes.view(open).await.unwrap().status;
        mailboxes.rename(ada, "old", "name").await.unwrap();
        assert!(validity(&mailboxes, "name").await > name);
        assert!(validity(&mailboxes, "name/child").await > child);
        // A session that has it selected knows its messages under the old value.
        let changes = mailboxes.changes(open, seen.highest_modseq).await.unwrap();
        assert!(changes.gone);

        // INBOX too may go to a name that was another's.
        mailboxes.create(ada, "saved", None).await.unwrap();
        let saved = validity(&mailboxes, "saved").await;
        mailboxes.delete(ada, "saved").await.unwrap();
        mailboxes.rename(ada, "INBOX", "saved").await.unwrap();
        assert!(validity(&mailboxes, "saved").await > saved);

        let before = validity(&mailboxes, "name").await;
        drop(mailboxes);
        let mailboxes = rig.open().await;
        assert_eq!(validity(&mailboxes, "name").await, before);
        mailboxes.create(ada, "last", None).await.unwrap();
        let last = validity(&mailboxes, "last").await;
        mailboxes.delete(ada, "last").await.unwrap();
        drop(mailboxes);
        let mailboxes = rig.open().await;
        mailboxes.rename(ada, "name", "last").await.unwrap();
        assert!(validity(&mailboxes, "last").await > last, "after a restart");
    });
}

/// The same for an address that an account took again.
#[test]
fn an_address_taken_again_has_higher_uidvalidities() {
    let rig = Rig::new(27);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let mut highest = UidValidity(0);
        for _ in 0..3 {
            let ada = add(&mailboxes, "ada").await;
            for info in mailboxes.list(ada).await.unwrap() {
                let status = mailboxes.status(info.id).await.unwrap();
                assert!(status.uid_validity > highest, "{}", info.name);
            }
            for number in 0..5 {
                let name = format!("f{number}");
                let mailbox = mailboxes.create(ada, &name, None).await.unwrap();
                highest = mailboxes.status(mailbox).await.unwrap().uid_validity;
            }
            mailboxes.remove_account(ada).await.unwrap();
        }
        drop(mailboxes);
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        assert!(mailboxes.status(inbox).await.unwrap().uid_validity > highest);
    });
}
