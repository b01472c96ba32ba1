//! Marks: what another directory owns stays so over crashes, and a change of them takes the password's hash with it.

use super::*;

const SEEN: &str = "$hash";

async fn ada(directory: &Directory) -> AccountId {
    directory.add_domain("example.org").await.expect("a domain");
    let found = directory.account(&address("ada")).await.expect("read");
    match found {
        Some(account) => account.id,
        None => {
            let vacancy = directory.vacancy(&address("ada")).await.expect("vacant");
            let (account, part) = vacancy.take(SEEN, 0).expect("room");
            let mark = directory.new_mark(account, Mark::default());
            let parts = vec![part, mark];
            let tenancy = &directory.inner.tenancy;
            let made = tenancy.commit(Purpose::Keep, Vec::new(), parts).await;
            made.expect("durable");
            account
        }
    }
}

fn new(seen: &str, hash: &str) -> Option<NewHash> {
    Some(NewHash {
        seen: seen.to_owned(),
        hash: hash.to_owned(),
    })
}

#[test]
fn an_account_and_its_mark_are_there_after_a_crash_with_a_checkpoint_and_without() {
    let rig = Rig::new(91);
    let account = rig.world.block_on(async {
        let directory = rig.open().await;
        let account = ada(&directory).await;
        directory
            .mark(Marked::Alias, "a@example.org", true)
            .await
            .unwrap();
        directory
            .mark(Marked::Alias, "b@example.org", true)
            .await
            .unwrap();
        directory
            .mark(Marked::Group, "all@example.org", true)
            .await
            .unwrap();
        directory.inner.tenancy.checkpoint().await.unwrap();
        directory
            .mark(Marked::Alias, "b@example.org", false)
            .await
            .unwrap();
        let change = |mark: &mut Mark| mark.proved_unix_s = 7;
        directory
            .alter_mark(account, new(SEEN, "$new"), change)
            .await
            .unwrap();
        account
    });
    for _ in 0..2 {
        rig.reopened(async |directory| {
            let mark = Mark {
                is_disabled: false,
                proved_unix_s: 7,
            };
            assert_eq!(directory.account_mark(account), Some(mark));
            assert_eq!(directory.marked_accounts(), [(account, mark)]);
            assert_eq!(directory.marked_names(Marked::Alias), ["a@example.org"]);
            assert_eq!(directory.marked_names(Marked::Group), ["all@example.org"]);
            let found = directory.account_by_id(account).await.unwrap().unwrap();
            assert_eq!(found.password_hash, "$new");
            directory.inner.tenancy.checkpoint().await.unwrap();
        });
    }
}

#[test]
fn a_hash_that_was_changed_meanwhile_is_left_as_it_is() {
    let rig = Rig::new(92);
    rig.world.block_on(async {
        let directory = rig.open().await;
        let account = ada(&directory).await;
        directory
            .set_password_hash(account, "$other")
            .await
            .unwrap();
        let prove = |mark: &mut Mark| mark.proved_unix_s = 7;
        directory
            .alter_mark(account, new(SEEN, "$new"), prove)
            .await
            .unwrap();
        let found = directory.account_by_id(account).await.unwrap().unwrap();
        assert_eq!(found.password_hash, "$other");
        assert_eq!(directory.account_mark(account), Some(Mark::default()));
        // What changes nothing writes nothing.
        let before = directory.inner.tenancy.applied();
        directory
            .alter_mark(account, new("$other", "$other"), |_| ())
            .await
            .unwrap();
        directory.alter_mark(account, None, |_| ()).await.unwrap();
        assert_eq!(directory.inner.tenancy.applied(), before);
    });
}

#[test]
fn an_account_of_this_directory_alone_is_never_marked_later() {
    let rig = Rig::new(93);
    rig.world.block_on(async {
        let directory = rig.open().await;
        let account = ada(&directory).await;
        directory.remove_mark(account).await.unwrap();
        assert_eq!(directory.account_mark(account), None);
        let disable = |mark: &mut Mark| mark.is_disabled = true;
        let altered = directory.alter_mark(account, None, disable).await;
        assert!(
            matches!(altered, Err(DirectoryFault::Refused(_))),
            "{altered:?}"
        );
        let gone = directory.alter_mark(AccountId(99), None, |_| ()).await;
        assert_eq!(gone, Err(DirectoryFault::NoAccount));
    });
}
