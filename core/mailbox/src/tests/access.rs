//! Access lists: what they give, how long they last, and what is left of them after a power cut.

use mail::{Rights, RightsChange};

use super::*;
use crate::limits::{ACCESS_PER_FOLDER_MAX, SHARED_WITH_MAX};

pub(super) fn rights(text: &str) -> Rights {
    Rights::parse(text).unwrap()
}

pub(super) async fn set(
    mailboxes: &Mailboxes,
    owner: AccountId,
    folder: &str,
    who: &str,
    change: &str,
) {
    let change = RightsChange::parse(change).unwrap();
    mailboxes
        .change_access(owner, folder, who, change)
        .await
        .unwrap();
}

async fn reach(mailboxes: &Mailboxes, viewer: AccountId, owner: &str, folder: &str) -> Reached {
    mailboxes
        .reach(viewer, &address(owner), false, folder)
        .await
        .unwrap()
}

/// `owner/folder rights` of all that the viewer is shown.
pub(super) async fn seen(mailboxes: &Mailboxes, viewer: AccountId) -> Vec<String> {
    let (foreign, is_whole) = mailboxes.foreign(viewer).await.unwrap();
    assert!(is_whole);
    let mut lines = Vec::new();
    for Foreign { owner, folders, .. } in foreign {
        lines.extend(
            folders
                .iter()
                .map(|(name, _, rights)| format!("{}/{name} {rights}", owner.local())),
        );
    }
    lines
}

#[test]
fn rights_are_the_sum_of_what_names_the_account_less_what_is_taken() {
    let rig = Rig::new(610);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        let cyd = add(&mailboxes, "cyd").await;
        let directory = mailboxes.directory();
        let posters = names::Posters::Members;
        let made = directory.make_group("team@example.org", posters, address("ada"), "");
        made.await.unwrap();
        let members = vec![address("bob"), address("cyd")];
        directory
            .add_members("team@example.org", members)
            .await
            .unwrap();
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        assert_eq!(mailboxes.rights_on(ada, inbox).await.unwrap(), Rights::ALL);
        assert_eq!(mailboxes.rights_on(bob, inbox).await.unwrap(), Rights::NONE);

        set(&mailboxes, ada, "INBOX", "anyone", "l").await;
        set(&mailboxes, ada, "INBOX", "Team@example.org", "rsw").await;
        set(&mailboxes, ada, "INBOX", "bob@example.org", "+i").await;
        set(&mailboxes, ada, "INBOX", "-cyd@example.org", "wt").await;
        assert_eq!(
            mailboxes.rights_on(bob, inbox).await.unwrap(),
            rights("lrswi")
        );
        assert_eq!(
            mailboxes.rights_on(cyd, inbox).await.unwrap(),
            rights("lrs")
        );
        assert_eq!(mailboxes.rights_on(ada, inbox).await.unwrap(), Rights::ALL);

        let shown = mailboxes.access(ada, "INBOX").await.unwrap();
        let shown: Vec<String> = shown
            .iter()
            .map(|line| format!("{} {}", line.identifier, line.rights))
            .collect();
        let all = [
            "anyone l",
            "bob@example.org i",
            "team@example.org rsw",
            "-cyd@example.org wt",
        ];
        assert_eq!(shown, all);

        // A group that a member leaves, and an account that goes.
        let members = vec![address("bob")];
        directory
            .drop_members("team@example.org", members)
            .await
            .unwrap();
        assert_eq!(mailboxes.rights_on(bob, inbox).await.unwrap(), rights("li"));
        mailboxes.remove_account(cyd).await.unwrap();
        assert_eq!(mailboxes.access(ada, "INBOX").await.unwrap().len(), 3);
        let cyd = add(&mailboxes, "cyd").await;
        set(&mailboxes, ada, "INBOX", "anyone", "lw").await;
        assert_eq!(
            mailboxes.rights_on(cyd, inbox).await.unwrap(),
            rights("lrsw")
        );
    });
}

#[test]
fn an_owner_keeps_all_rights_and_strangers_are_refused() {
    let rig = Rig::new(611);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let change = RightsChange::Replace(rights("l"));
        for who in [
            "ada@example.org",
            "-ada@example.org",
            "eve@example.org",
            "eve",
            "",
            "-",
        ] {
            let refused = mailboxes.change_access(ada, "INBOX", who, change).await;
            assert!(matches!(refused, Err(MailboxFault::Refused(_))), "{who}");
        }
        let none = mailboxes.change_access(ada, "Nope", "anyone", change).await;
        assert_eq!(none, Err(MailboxFault::NoMailbox));
        set(&mailboxes, ada, "INBOX", "-anyone", "lra").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        assert_eq!(mailboxes.rights_on(ada, inbox).await.unwrap(), Rights::ALL);
    });
}

#[test]
fn a_list_goes_along_with_a_rename_is_inherited_and_ends_with_its_folder() {
    let rig = Rig::new(612);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        mailboxes.create(ada, "Plans", None).await.unwrap();
        set(&mailboxes, ada, "Plans", "bob@example.org", "lrk").await;
        mailboxes.create(ada, "Plans/2026/May", None).await.unwrap();
        mailboxes.create(ada, "Planned", None).await.unwrap();
        let all = [
            "ada/Plans lrk",
            "ada/Plans/2026 lrk",
            "ada/Plans/2026/May lrk",
        ];
        assert_eq!(seen(&mailboxes, bob).await, all);
        set(&mailboxes, ada, "Plans/2026", "bob@example.org", "r").await;
        mailboxes.rename(ada, "Plans", "Old/Plans").await.unwrap();
        let all = ["ada/Old/Plans lrk", "ada/Old/Plans/2026/May lrk"];
        assert_eq!(seen(&mailboxes, bob).await, all);
        let reached = reach(&mailboxes, bob, "ada", "Old/Plans/2026/June").await;
        assert_eq!((reached.mailbox, reached.rights), (None, Rights::NONE));
        assert_eq!(reached.rights_above, rights("r"));
        assert_eq!(
            reach(&mailboxes, bob, "ada", "New").await.rights_above,
            Rights::NONE
        );
        for name in ["Old/Plans/2026/May", "Old/Plans/2026", "Old/Plans"] {
            mailboxes.delete(ada, name).await.unwrap();
        }
        assert!(seen(&mailboxes, bob).await.is_empty());
        assert!(mailboxes.inner.state.borrow().shares.is_empty());
        // The name is taken again, by a folder that nobody else may see.
        mailboxes.create(ada, "Old/Plans", None).await.unwrap();
        assert!(seen(&mailboxes, bob).await.is_empty());
        // INBOX gives its messages and its list away.
        set(&mailboxes, ada, "INBOX", "bob@example.org", "lr").await;
        mailboxes.rename(ada, "INBOX", "Before").await.unwrap();
        assert_eq!(seen(&mailboxes, bob).await, ["ada/Before lr"]);
    });
}

#[test]
fn a_shared_account_is_reached_in_its_own_namespace_only() {
    let rig = Rig::new(613);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let info = add(&mailboxes, "info").await;
        let bob = add(&mailboxes, "bob").await;
        set(&mailboxes, info, "INBOX", "anyone", "lr").await;
        assert!(!mailboxes.mark_shared(info, true).await.unwrap());
        assert!(mailboxes.mark_shared(info, true).await.unwrap());
        let at = |is_shared| {
            let mailboxes = mailboxes.clone();
            async move {
                mailboxes
                    .reach(bob, &address("info"), is_shared, "INBOX")
                    .await
            }
        };
        assert_eq!(at(true).await.unwrap().rights, rights("lr"));
        assert_eq!(at(false).await, Err(MailboxFault::NoMailbox));
        let own = mailboxes.reach(info, &address("info"), true, "INBOX").await;
        assert_eq!(
            own,
            Err(MailboxFault::NoMailbox),
            "one's own folders have their own names"
        );
        let (foreign, _) = mailboxes.foreign(bob).await.unwrap();
        assert!(foreign[0].is_shared);
        let none = mailboxes.reach(bob, &address("eve"), false, "INBOX").await;
        assert_eq!(none, Err(MailboxFault::NoMailbox));
        mailboxes.create(bob, "Shared-old", None).await.unwrap();
        assert!(!mailboxes.has_root(bob, "Shared").await.unwrap());
        mailboxes.create(bob, "Shared/a", None).await.unwrap();
        assert!(mailboxes.has_root(bob, "Shared").await.unwrap());
    });
}

/// The power goes after each step; what was answered is there, from the log, from the projection, and from the log alone.
#[test]
fn lists_and_whom_they_name_outlast_power_cuts() {
    let rig = Rig::new(614);
    let look = async |mailboxes: &Mailboxes, bob| {
        let lists = mailboxes.all_access(AccountId(1)).await.unwrap();
        (lists, seen(mailboxes, bob).await)
    };
    let (bob, mut before) = rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        assert_eq!(ada, AccountId(1));
        let bob = add(&mailboxes, "bob").await;
        set(&mailboxes, ada, "INBOX", "bob@example.org", "lrs").await;
        (bob, look(&mailboxes, bob).await)
    });
    assert_eq!(before.1, ["ada/INBOX lrs"]);
    for step in 0..6 {
        rig.crash();
        before = rig.block_on(async {
            let mailboxes = rig.open().await;
            assert_eq!(look(&mailboxes, bob).await, before, "step {step}");
            let ada = AccountId(1);
            match step {
                0 => mailboxes.checkpoint().await.unwrap(),
                1 => set(&mailboxes, ada, "Archive", "anyone", "l").await,
                2 => {
                    mailboxes.checkpoint().await.unwrap();
                    set(&mailboxes, ada, "INBOX", "bob@example.org", "").await;
                    assert!(!mailboxes.mark_shared(ada, true).await.unwrap());
                }
                3 => {
                    mailboxes.checkpoint().await.unwrap();
                    mailboxes.store().request_rebuild().await.unwrap();
                }
                4 => {
                    assert!(mailboxes.store().open_report().rebuilt);
                    mailboxes.delete(ada, "Archive").await.unwrap();
                    mailboxes.checkpoint().await.unwrap();
                }
                _ => {}
            }
            look(&mailboxes, bob).await
        });
    }
    assert!(before.0.0, "it is marked as shared");
    assert_eq!((before.0.1.len(), before.1.len()), (0, 0));
}

/// The power goes at each moment of a change: the list is the old one or the new one, and what was answered is kept.
#[test]
fn a_change_of_rights_is_whole_or_not_there() {
    let mut states = std::collections::BTreeSet::new();
    for boundary in 1..60 {
        let rig = Rig::new(615);
        let answered = std::cell::Cell::new(false);
        let bob = rig.block_on(async {
            let mailboxes = rig.open().await;
            let ada = add(&mailboxes, "ada").await;
            let bob = add(&mailboxes, "bob").await;
            set(&mailboxes, ada, "INBOX", "bob@example.org", "l").await;
            bob
        });
        rig.crash();
        let begun = rig.world.boundaries();
        rig.world.crash_at(begun + 4 * boundary);
        let halted = rig.world.run(async {
            let mailboxes = rig.open().await;
            set(&mailboxes, AccountId(1), "INBOX", "bob@example.org", "lrs").await;
            answered.set(true);
        });
        rig.crash();
        let now = rig.block_on(async { seen(&rig.open().await, bob).await });
        assert!(
            now == ["ada/INBOX l"] || now == ["ada/INBOX lrs"],
            "{now:?}"
        );
        assert!(
            !answered.get() || now == ["ada/INBOX lrs"],
            "an answer is kept"
        );
        states.insert(now);
        if halted.is_ok() {
            assert_eq!(
                states.len(),
                2,
                "the power went on both sides of the change"
            );
            return;
        }
    }
    panic!("the change never came to its end");
}

#[test]
fn lists_are_bounded_and_rights_can_still_be_taken() {
    let rig = Rig::new(616);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..=ACCESS_PER_FOLDER_MAX {
            add(&mailboxes, &format!("p{number}")).await;
        }
        for number in 0..ACCESS_PER_FOLDER_MAX {
            set(
                &mailboxes,
                ada,
                "INBOX",
                &format!("p{number}@example.org"),
                "lr",
            )
            .await;
        }
        let change = RightsChange::Add(rights("l"));
        let who = format!("p{ACCESS_PER_FOLDER_MAX}@example.org");
        let refused = mailboxes.change_access(ada, "INBOX", &who, change).await;
        assert!(matches!(refused, Err(MailboxFault::TooMany(_))));
        set(&mailboxes, ada, "INBOX", "p0@example.org", "").await;
        mailboxes
            .change_access(ada, "INBOX", &who, change)
            .await
            .unwrap();
        let count = mailboxes.inner.state.borrow().shares_count;
        assert_eq!(count, ACCESS_PER_FOLDER_MAX);
        assert!(count < SHARED_WITH_MAX);
        // What it takes is counted in the cache, and given back.
        mailboxes.remove_account(ada).await.unwrap();
        assert_eq!(mailboxes.inner.state.borrow().shares_count, 0);
    });
}

/// Old records of lists go with their segments, because the account is written again.
#[test]
fn reclaim_keeps_access_lists() {
    let mut rig = Rig::of_size(617, 40 << 20, 1 << 20);
    rig.settings.checkpoint_bytes = 2 << 20;
    let bob = rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        set(&mailboxes, ada, "INBOX", "bob@example.org", "lrsw").await;
        let inbox = mailboxes.find(bob, "INBOX").await.unwrap();
        for round in 0..120u64 {
            for number in 0..5 {
                let mut delivery = delivery(number, vec![to(bob, "INBOX")]);
                let bytes = raw(round * 5 + number, 60_000);
                delivery.body = BodyIn {
                    name: BodyName::of(&bytes),
                    raw: bytes,
                    summary: Bytes::new(),
                };
                mailboxes.deliver(delivery).await.pop().unwrap().unwrap();
            }
            let view = mailboxes.view(inbox).await.unwrap();
            let all: Vec<Uid> = view.messages.iter().map(|message| message.uid).collect();
            mailboxes.remove(inbox, &all).await.unwrap();
            drop(view);
            if round % 20 == 19 {
                mailboxes.checkpoint().await.unwrap();
                mailboxes.reclaim().await;
            }
        }
        assert!(mailboxes.store().counters().reclaimed_segments > 5);
        mailboxes.store().request_rebuild().await.unwrap();
        bob
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert!(mailboxes.store().open_report().rebuilt);
        assert_eq!(seen(&mailboxes, bob).await, ["ada/INBOX lrsw"]);
    });
}

/// Some rights on the flags: what may not be changed stays, also where all flags are to be replaced.
#[test]
fn flags_are_changed_within_the_rights() {
    let rig = Rig::new(618);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        for number in 0..4 {
            deliver(&mailboxes, number, ada).await;
        }
        let flag = |uids: &[u32], flags: &Flags| {
            let uids: Vec<Uid> = uids.iter().copied().map(Uid).collect();
            let (mailboxes, flags) = (mailboxes.clone(), flags.clone());
            async move {
                mailboxes
                    .flag(inbox, &uids, FlagChange::Add, &flags)
                    .await
                    .unwrap()
            }
        };
        flag(&[1, 2], &flags(SystemFlags::DELETED)).await;
        flag(&[2, 3], &keyword("$Work")).await;
        let uids: Vec<Uid> = (1..=4).map(Uid).collect();
        let mut wanted = keyword("$Home");
        wanted.system = SystemFlags::SEEN;
        let changed = mailboxes
            .change_flags_within(
                inbox,
                &uids,
                FlagChange::Replace,
                &wanted,
                None,
                rights("lrs"),
            )
            .await
            .unwrap();
        let seen = SystemFlags::SEEN;
        let now: Vec<(u32, Flags)> = changed
            .iter()
            .map(|flagged| (flagged.message.uid.0, flagged.message.flags.clone()))
            .collect();
        let with = |system, mut flags: Flags| {
            flags.system = system;
            flags
        };
        let deleted = seen.with(SystemFlags::DELETED);
        let expected = [
            (1, flags(deleted)),
            (2, with(deleted, keyword("$Work"))),
            (3, with(seen, keyword("$Work"))),
            (4, flags(seen)),
        ];
        assert_eq!(now, expected);
        // A condition refuses what changed after it, and nothing is tried again.
        let changed = mailboxes
            .change_flags_within(
                inbox,
                &uids,
                FlagChange::Replace,
                &Flags::default(),
                Some(mail::ModSeq(1)),
                rights("s"),
            )
            .await
            .unwrap();
        assert!(changed.iter().all(|flagged| flagged.is_refused));
        let add = FlagChange::Add;
        let changed = mailboxes
            .change_flags_within(inbox, &uids[..1], add, &wanted, None, rights("t"))
            .await
            .unwrap();
        assert_eq!(changed[0].message.flags, flags(deleted));
    });
}

#[test]
fn a_copy_brings_the_flags_that_may_be_set_there() {
    let rig = Rig::new(619);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        deliver(&mailboxes, 1, ada).await;
        deliver(&mailboxes, 2, ada).await;
        let from = mailboxes.find(ada, "INBOX").await.unwrap();
        let to = mailboxes.find(bob, "INBOX").await.unwrap();
        let mut all = keyword("$Work");
        all.system = SystemFlags::SEEN.with(SystemFlags::DELETED);
        mailboxes
            .flag(from, &[Uid(1), Uid(2)], FlagChange::Add, &all)
            .await
            .unwrap();
        let used = mailboxes.usage(bob).await.unwrap().used_bytes;
        mailboxes
            .copy_with(from, &[Uid(1)], to, rights("is"))
            .await
            .unwrap();
        let view = mailboxes.view(to).await.unwrap();
        assert_eq!(view.messages[0].flags, flags(SystemFlags::SEEN));
        // The room is the target's owner's.
        assert!(mailboxes.usage(bob).await.unwrap().used_bytes > used);
        let now = mailboxes.usage(bob).await.unwrap().used_bytes;
        mailboxes.set_quota(bob, now).await.unwrap();
        let moved = mailboxes.move_with(from, &[Uid(2)], to, rights("i")).await;
        assert_eq!(moved, Err(MailboxFault::OverQuota));
        assert_eq!(
            uids(&mailboxes.view(from).await.unwrap()),
            [1, 2],
            "nothing is lost"
        );
        mailboxes.set_quota(bob, 0).await.unwrap();
        mailboxes
            .move_with(from, &[Uid(2)], to, rights("i"))
            .await
            .unwrap();
        let view = mailboxes.view(to).await.unwrap();
        assert_eq!(view.messages[1].flags, Flags::default());
        assert_eq!(uids(&mailboxes.view(from).await.unwrap()), [1]);
    });
}

#[test]
fn notes_stay_with_their_folder_and_within_their_bounds() {
    let rig = Rig::new(620);
    let note = |name: &str, value: &[u8]| vec![(name.to_owned(), Some(value.to_vec()))];
    let ada = rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let comment = note("/private/comment", b"mine");
        mailboxes
            .set_notes(ada, None, comment.clone())
            .await
            .unwrap();
        mailboxes
            .set_notes(ada, Some("Archive"), note("/shared/a", b"1"))
            .await
            .unwrap();
        mailboxes
            .set_notes(ada, Some("Junk"), note("/shared/a", b"2"))
            .await
            .unwrap();
        let nope = mailboxes.set_notes(ada, Some("Nope"), comment).await;
        assert_eq!(nope, Err(MailboxFault::NoMailbox));
        mailboxes.rename(ada, "Archive", "Old").await.unwrap();
        mailboxes.delete(ada, "Junk").await.unwrap();
        mailboxes.create(ada, "Junk", None).await.unwrap();
        ada
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        mailboxes.checkpoint().await.unwrap();
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let names =
            |notes: NoteList| -> Vec<String> { notes.into_iter().map(|(name, _)| name).collect() };
        assert_eq!(
            names(mailboxes.notes(ada, None).await.unwrap()),
            ["/private/comment"]
        );
        assert_eq!(
            names(mailboxes.notes(ada, Some("Old")).await.unwrap()),
            ["/shared/a"]
        );
        assert!(mailboxes.notes(ada, Some("Junk")).await.unwrap().is_empty());
        let large = vec![7; crate::limits::NOTES_BYTES_PER_ACCOUNT_MAX];
        let refused = mailboxes
            .set_notes(ada, None, note("/private/large", &large))
            .await;
        assert!(matches!(refused, Err(MailboxFault::TooMany(_))));
        // Both or neither.
        let mut both = note("/private/b", b"1");
        both.extend(note("/private/large", &large));
        assert!(mailboxes.set_notes(ada, None, both).await.is_err());
        assert_eq!(mailboxes.notes(ada, None).await.unwrap().len(), 1);
        let gone = vec![("/private/comment".to_owned(), None)];
        mailboxes.set_notes(ada, None, gone).await.unwrap();
        assert!(mailboxes.notes(ada, None).await.unwrap().is_empty());
    });
}
