//! What addresses lead to, with the real directory on simulated legs.

use super::*;
use crate::rig;

const NOW: u64 = 1_790_000_000;
const KEY: [u8; 32] = [5; 32];

fn at(text: &str) -> Address {
    Address::from_path(text).expect("an address")
}

/// Accounts alice and bob at example.org.
fn with_people(story: impl AsyncFnOnce(Mailboxes)) {
    let (world, mailboxes) = rig::mailboxes();
    world.block_on(async {
        for local in ["alice", "bob"] {
            let address = at(&format!("{local}@example.org"));
            mailboxes
                .add_account(&address, "$hash", 0)
                .await
                .expect("an account");
        }
        story(mailboxes).await;
    });
}

async fn alias(mailboxes: &Mailboxes, name: &str, targets: &[&str]) {
    let targets = targets.iter().map(|target| at(target)).collect();
    mailboxes
        .directory()
        .put_alias(name, targets)
        .await
        .expect("a new alias");
}

async fn group(mailboxes: &Mailboxes, name: &str, posters: Posters, members: &[&str]) {
    let directory = mailboxes.directory();
    let owner = at("alice@example.org");
    directory
        .make_group(name, posters, owner, "")
        .await
        .expect("a new group");
    let members = members.iter().map(|member| at(member)).collect();
    directory
        .add_members(name, members)
        .await
        .expect("new members");
}

/// Paths here and elsewhere, or why not.
async fn led(mailboxes: &Mailboxes, to: &str) -> Result<(Vec<String>, Vec<String>), Refused> {
    let led = lead(mailboxes, &at(to), NOW)
        .await
        .expect("it can be looked up")?;
    let here = led.here.iter().map(|(_, address)| address.to_path());
    let elsewhere = led.elsewhere.iter().map(Address::to_path);
    Ok((here.collect(), elsewhere.collect()))
}

fn paths(of: &[&str]) -> Vec<String> {
    of.iter().map(|path| (*path).to_owned()).collect()
}

#[test]
fn an_alias_leads_to_each_mailbox_once_however_often_it_is_named() {
    with_people(async |mailboxes| {
        let m = &mailboxes;
        alias(
            m,
            "sales@example.org",
            &[
                "bob@example.org",
                "Alice+sales@example.org",
                "x@example.net",
            ],
        )
        .await;
        alias(
            m,
            "info@example.org",
            &[
                "sales@example.org",
                "alice@example.org",
                "X@example.net",
                "gone@example.org",
            ],
        )
        .await;
        let wanted = (
            paths(&["bob@example.org", "alice@example.org"]),
            paths(&["x@example.net"]),
        );
        assert_eq!(led(m, "sales@example.org").await, Ok(wanted.clone()));
        assert_eq!(led(m, "Info@EXAMPLE.org").await, Ok(wanted.clone()));
        assert_eq!(led(m, "info+tag@example.org").await, Ok(wanted));
        assert_eq!(led(m, "nothing@example.org").await, Err(Refused::Unknown));
        alias(m, "empty@example.org", &["gone@example.org"]).await;
        assert_eq!(led(m, "empty@example.org").await, Err(Refused::Unknown));
    });
}

#[test]
fn loops_end_and_so_do_chains() {
    with_people(async |mailboxes| {
        let m = &mailboxes;
        alias(m, "a@example.org", &["b@example.org"]).await;
        alias(m, "b@example.org", &["a@example.org"]).await;
        assert_eq!(led(m, "a@example.org").await, Err(Refused::Loop));
        // With a way out it is taken.
        alias(m, "b@example.org", &["a@example.org", "bob@example.org"]).await;
        assert_eq!(
            led(m, "a@example.org").await,
            Ok((paths(&["bob@example.org"]), vec![]))
        );
        for step in 0..DEPTH_MAX + 1 {
            let next = format!("c{}@example.org", step + 1);
            alias(m, &format!("c{step}@example.org"), &[&next]).await;
        }
        alias(
            m,
            &format!("c{}@example.org", DEPTH_MAX + 1),
            &["bob@example.org"],
        )
        .await;
        assert_eq!(led(m, "c0@example.org").await, Err(Refused::Loop));
        assert_eq!(
            led(m, "c2@example.org").await,
            Ok((paths(&["bob@example.org"]), vec![]))
        );
    });
}

#[test]
fn the_exact_name_comes_before_the_tag_and_both_before_the_catch_all() {
    with_people(async |mailboxes| {
        let m = &mailboxes;
        alias(m, "@example.org", &["bob@example.org"]).await;
        alias(m, "alice+shop@example.org", &["x@example.net"]).await;
        let bob = Ok((paths(&["bob@example.org"]), vec![]));
        let alice = Ok((paths(&["alice@example.org"]), vec![]));
        assert_eq!(
            led(m, "alice+shop@example.org").await,
            Ok((vec![], paths(&["x@example.net"])))
        );
        assert_eq!(led(m, "alice+other@example.org").await, alice);
        assert_eq!(led(m, "anybody@example.org").await, bob);
        assert_eq!(led(m, "\"quoted one\"@example.org").await, bob);
        // Of our domain only.
        assert_eq!(
            meaning(m, &at("anybody@sub.example.org")).await,
            Ok(Meaning::NotOurs)
        );
        assert_eq!(meaning(m, &at("x@example.net")).await, Ok(Meaning::NotOurs));
        // A catch-all that leads to an address of its own domain that is not there does not go round.
        alias(m, "@example.org", &["gone@example.org"]).await;
        assert_eq!(led(m, "anybody@example.org").await, Err(Refused::Loop));
    });
}

#[test]
fn a_group_takes_posts_from_whom_it_should_and_reports_from_no_one() {
    with_people(async |mailboxes| {
        let m = &mailboxes;
        group(
            m,
            "any@example.org",
            Posters::Anyone,
            &["bob@example.org", "x@example.net"],
        )
        .await;
        group(
            m,
            "own@example.org",
            Posters::OwnDomain,
            &["bob@example.org"],
        )
        .await;
        group(
            m,
            "us@example.org",
            Posters::Members,
            &["bob@example.org", "x@example.net"],
        )
        .await;
        let may = async |group: &str, sender: Option<&str>| {
            let sender = sender.map(at);
            let group = at(&format!("{group}@example.org"));
            let admitted = admit(m, &group, sender.as_ref(), NOW);
            admitted.await.expect("it can be looked up").is_ok()
        };
        for (group, sender, wanted) in [
            ("any", Some("y@example.com"), true),
            ("any", None, false),
            ("own", Some("nobody@Example.ORG"), true),
            ("own", Some("x@example.net"), false),
            ("own", Some("x@sub.example.org"), false),
            ("us", Some("X+tag@example.net"), true),
            ("us", Some("alice@example.org"), false),
            ("us", None, false),
            // Reports to the group reach its owner.
            ("us+bounces", None, true),
            ("us+owner", Some("y@example.com"), true),
        ] {
            assert_eq!(may(group, sender).await, wanted, "{sender:?} to {group}");
        }
        let owner = Ok((paths(&["alice@example.org"]), vec![]));
        assert_eq!(led(m, "us+bounces@example.org").await, owner);
        let bob = Ok((paths(&["bob@example.org"]), paths(&["x@example.net"])));
        assert_eq!(led(m, "us@example.org").await, bob);
        assert_eq!(bounces_of("us@example.org"), "us+bounces@example.org");
    });
}

#[test]
fn fields_of_a_list_stand_in_front() {
    let group = Group::for_tests(Posters::Anyone, at("alice@example.org"), "All \"of\" us");
    let group = ("all@example.org".to_owned(), group);
    let wanted = "Delivered-To: all@example.org\r\n\
        List-Id: \"All 'of' us\" <all.example.org>\r\n\
        List-Post: <mailto:all@example.org>\r\n\
        List-Owner: <mailto:all+owner@example.org>\r\n\
        List-Unsubscribe: <mailto:all+owner@example.org?subject=unsubscribe>\r\n\
        Precedence: list\r\n";
    assert_eq!(fields(Some(&group), &at("all@example.org")), wanted);
    let alias = fields(None, &at("\"a b\"@example.org"));
    assert_eq!(alias, "Delivered-To: \"a b\"@example.org\r\n");
}

#[test]
fn a_return_path_opens_for_reports_only() {
    with_people(async |mailboxes| {
        let m = &mailboxes;
        let sealed =
            |sender: &str, key| return_path::seal(&at(sender), "example.org", key, NOW).unwrap();
        let report = async |to: &Address, now| {
            admit(m, to, None, now)
                .await
                .expect("it can be looked up")
                .is_ok()
        };
        let genuine = sealed("x@example.net", &KEY);
        assert!(!report(&genuine, NOW).await, "no key was ever made");
        m.directory()
            .key(RETURN_PATH_KEY, KEY)
            .await
            .expect("a new key");
        assert!(report(&genuine, NOW).await);
        assert_eq!(
            led(m, &genuine.to_path()).await,
            Ok((vec![], paths(&["x@example.net"])))
        );
        let other = at("y@example.com");
        let admitted = admit(m, &genuine, Some(&other), NOW).await;
        assert_eq!(admitted, Ok(Err(Refused::NoReport)));
        assert!(!report(&genuine, NOW + 30 * 86_400).await);
        assert!(!report(&sealed("x@example.net", &[6; 32]), NOW).await);
        assert!(
            !report(&sealed("bob@example.org", &KEY), NOW).await,
            "no sender of ours is sealed"
        );
        // Not by way of a catch-all either.
        alias(m, "@example.org", &["bob@example.org"]).await;
        assert!(!report(&sealed("x@example.net", &[6; 32]), NOW).await);
    });
}

/// A chain that is too long must not silently cost those at its end the message, while others get it.
#[test]
fn what_is_too_deep_is_refused_as_a_whole() {
    with_people(async |mailboxes| {
        let m = &mailboxes;
        for step in 0..DEPTH_MAX {
            let next = format!("c{}@example.org", step + 1);
            alias(m, &format!("c{step}@example.org"), &[&next]).await;
        }
        let last = format!("c{DEPTH_MAX}@example.org");
        alias(m, &last, &["bob@example.org"]).await;
        alias(m, "d@example.org", &["alice@example.org", "c0@example.org"]).await;
        alias(m, "e@example.org", &["c0@example.org", &last]).await;
        for name in ["d@example.org", "e@example.org"] {
            assert_eq!(led(m, name).await, Err(Refused::Loop), "{name}");
        }
        let within = (paths(&["alice@example.org", "bob@example.org"]), vec![]);
        alias(m, "f@example.org", &["alice@example.org", "c2@example.org"]).await;
        assert_eq!(led(m, "f@example.org").await, Ok(within));
    });
}

/// A stranger may repeat RCPT as often as they like: it looks no further than to the first mailbox.
#[test]
fn admission_looks_for_one_mailbox_only() {
    with_people(async |mailboxes| {
        let m = &mailboxes;
        let members = ["alice@example.org", "bob@example.org", "x@example.net"];
        group(m, "us@example.org", Posters::Anyone, &members).await;
        let targets = ["gone@example.org", "us@example.org", "y@example.net"];
        alias(m, "all@example.org", &targets).await;
        let to = at("all@example.org");
        let count = async |enough| {
            let led = follow(m, &to, NOW, enough).await.expect("looked up");
            let led = led.expect("it leads on");
            led.here.len() + led.elsewhere.len()
        };
        assert_eq!(count(Enough::First).await, 1);
        assert_eq!(count(Enough::All).await, 4);
        alias(m, "none@example.org", &["gone@example.org"]).await;
        let refused = admit(m, &at("none@example.org"), None, NOW).await;
        assert_eq!(refused, Ok(Err(Refused::Unknown)));
    });
}
