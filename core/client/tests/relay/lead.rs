//! Mail for addresses that lead on: from the inbound listener through the queue to mailboxes here and servers elsewhere, and reports on their way back.

use std::cell::Cell;
use std::rc::Rc;

use device::sim::Halt;
use mail::Address;
use mailbox::AccountId;
use mailbox::names::{self, Posters};

use crate::door::Door;
use crate::rig::{Disks, MX, Rig, run};
use crate::server::{Script, say};

const STRANGER: &str = "s@stranger.example";
const CONTENT: &str = "From: s@stranger.example\r\nSubject: hello\r\n\r\nhello";

fn at(path: &str) -> Address {
    Address::from_path(path).expect("an address")
}

fn all(paths: &[&str]) -> Vec<Address> {
    paths.iter().map(|path| at(path)).collect()
}

async fn alias(rig: &Rig, name: &str, targets: &[&str]) {
    let directory = rig.outgoing.mailboxes().directory();
    directory
        .put_alias(name, all(targets))
        .await
        .expect("a new alias");
}

async fn account(rig: &Rig, path: &str) -> AccountId {
    let address = at(path);
    let made = rig.outgoing.mailboxes().add_account(&address, "$hash", 0);
    made.await.expect("a new account")
}

/// What stands between the brackets.
fn path_of(line: &str) -> String {
    let (_, rest) = line.split_once('<').expect("a path");
    rest.split_once('>').expect("a path").0.to_owned()
}

#[test]
fn an_alias_reaches_each_target_once_and_reports_find_their_way_back() {
    run(|rig| async move {
        let alice = rig.alice().await;
        alias(
            &rig,
            "sales@example.org",
            &[
                "alice+sales@example.org",
                "x@a.example",
                "alice@example.org",
            ],
        )
        .await;
        let elsewhere = rig.server("a.example", 1, Script::usual());
        let home = rig.server("stranger.example", 2, Script::usual());
        let door = Door::new(&rig, 1);
        let running = rig.send(MX);
        let replies = door
            .send(
                &rig,
                STRANGER,
                &["sales@example.org", "alice@example.org"],
                CONTENT,
            )
            .await;
        assert!(
            replies.iter().all(|reply| reply.starts_with("250 ")),
            "{replies:?}"
        );
        rig.until(60, "it arrives", || elsewhere.count() == 1).await;
        rig.sleep(5).await;
        let got = elsewhere.got().remove(0);
        let sender = path_of(&got.mail);
        assert!(
            sender.starts_with("SRS0=") && sender.ends_with("=stranger.example=s@example.org"),
            "{sender}"
        );
        assert_eq!(got.recipients, ["RCPT TO:<x@a.example>"]);
        assert!(
            got.content
                .starts_with("Delivered-To: sales@example.org\r\nReceived: "),
            "{}",
            got.content
        );
        let inbox = rig.inbox(alice).await;
        assert_eq!(
            inbox.len(),
            2,
            "one under her own address, and one as sales"
        );
        let led: Vec<&String> = inbox
            .iter()
            .filter(|text| text.contains("Delivered-To: sales@example.org\r\n"))
            .collect();
        assert_eq!(led.len(), 1);
        assert!(
            led[0].starts_with("Return-Path: <s@stranger.example>\r\n"),
            "{}",
            led[0]
        );

        // The other server took it and reports later: through our listener, to the sealed path.
        let report = "Subject: failed\r\n\r\nno such user";
        let replies = door.send(&rig, "", &[&sender], report).await;
        assert!(replies[1].starts_with("250 "), "{replies:?}");
        rig.until(60, "the report arrives", || home.count() == 1)
            .await;
        let got = home.got().remove(0);
        assert!(
            got.mail.starts_with("MAIL FROM:<>"),
            "null stays null: {}",
            got.mail
        );
        assert_eq!(got.recipients, ["RCPT TO:<s@stranger.example>"]);
        // Changed by one letter it is not taken.
        let forged = sender.replace("=s@", "=t@");
        let replies = door.send(&rig, "", &[&forged], report).await;
        assert!(replies[0].starts_with("550 5.7.1"), "{replies:?}");
        rig.at_rest(&running).await;
    });
}

#[test]
fn a_forward_that_is_refused_is_reported_to_who_wrote() {
    run(|rig| async move {
        alias(&rig, "sales@example.org", &["x@a.example"]).await;
        rig.server(
            "a.example",
            1,
            Script::at("RCPT", say("550 5.1.1 no such user")),
        );
        let home = rig.server("stranger.example", 2, Script::usual());
        let door = Door::new(&rig, 1);
        let running = rig.send(MX);
        door.send(&rig, STRANGER, &["sales@example.org"], CONTENT)
            .await;
        rig.until(60, "the report arrives", || home.count() == 1)
            .await;
        let report = home.got().remove(0);
        assert!(report.mail.starts_with("MAIL FROM:<>"));
        assert_eq!(report.recipients, ["RCPT TO:<s@stranger.example>"]);
        assert!(
            report.content.contains("sales@example.org"),
            "under the address that was written to"
        );
        // A report about a message without a sender goes nowhere.
        door.send(&rig, "", &["sales@example.org"], CONTENT).await;
        rig.until(60, "nothing is left", || rig.outgoing.queue().count() == 0)
            .await;
        rig.sleep(60).await;
        assert_eq!(home.count(), 1);
        rig.at_rest(&running).await;
    });
}

#[test]
fn a_post_reaches_all_members_and_their_reports_the_owner() {
    run(|rig| async move {
        let alice = rig.alice().await;
        let bob = account(&rig, "bob@example.org").await;
        let directory = rig.outgoing.mailboxes().directory();
        let made = directory.make_group(
            "all@example.org",
            Posters::Members,
            at("alice@example.org"),
            "All of us",
        );
        made.await.expect("a new group");
        let members = all(&["bob@example.org", "x@a.example", "y@b.example", STRANGER]);
        directory
            .add_members("all@example.org", members)
            .await
            .expect("new members");
        let good = rig.server("a.example", 1, Script::usual());
        rig.server(
            "b.example",
            2,
            Script::at("RCPT", say("550 5.1.1 no such user")),
        );
        let home = rig.server("stranger.example", 3, Script::usual());
        let door = Door::new(&rig, 1);
        let running = rig.send(MX);
        let replies = door
            .send(&rig, STRANGER, &["all@example.org"], CONTENT)
            .await;
        assert!(replies[1].starts_with("250 "), "{replies:?}");
        rig.until(60, "it arrives", || good.count() == 1 && home.count() == 1)
            .await;
        rig.until(60, "the rest is done", || rig.outgoing.queue().count() == 0)
            .await;
        let got = good.got().remove(0);
        assert_eq!(path_of(&got.mail), "all+bounces@example.org");
        assert!(
            got.content
                .contains("List-Id: \"All of us\" <all.example.org>\r\n"),
            "{}",
            got.content
        );
        assert_eq!(rig.inbox(bob).await.len(), 1);
        let owner = rig.inbox(alice).await;
        assert_eq!(owner.len(), 1, "the report of b.example");
        assert!(owner[0].contains("y@b.example") && owner[0].contains("5.1.1"));
        assert_eq!(home.count(), 1, "the poster has the post alone");
        let refused = door
            .send(&rig, "eve@else.example", &["all@example.org"], CONTENT)
            .await;
        assert!(refused[0].starts_with("550 5.7.2"), "{refused:?}");
        rig.at_rest(&running).await;
    });
}

#[test]
fn a_message_that_was_here_before_goes_back_as_a_loop() {
    run(|rig| async move {
        alias(&rig, "sales@example.org", &["x@a.example"]).await;
        let elsewhere = rig.server("a.example", 1, Script::usual());
        let home = rig.server("stranger.example", 2, Script::usual());
        let door = Door::new(&rig, 1);
        let running = rig.send(MX);
        let again = format!("Delivered-To: Sales@example.org\r\n{CONTENT}");
        door.send(&rig, STRANGER, &["sales@example.org"], &again)
            .await;
        rig.until(60, "it is reported", || home.count() == 1).await;
        assert!(home.got()[0].content.contains("5.4.6"));
        assert_eq!(elsewhere.count(), 0);
        // The address of another mailbox is no sign of a loop.
        let other = format!("Delivered-To: x@a.example\r\n{CONTENT}");
        door.send(&rig, STRANGER, &["sales@example.org"], &other)
            .await;
        rig.until(60, "it leaves", || elsewhere.count() == 1).await;
        rig.at_rest(&running).await;
    });
}

#[test]
fn a_large_group_is_served_in_parts() {
    run(|rig| async move {
        let directory = rig.outgoing.mailboxes().directory();
        let made = directory.make_group(
            "all@example.org",
            Posters::Anyone,
            at("alice@example.org"),
            "",
        );
        made.await.expect("a new group");
        let members: Vec<Address> = (0..1_200)
            .map(|number| at(&format!("m{number}@a.example")))
            .collect();
        for some in members.chunks(400) {
            directory
                .add_members("all@example.org", some.to_vec())
                .await
                .expect("new members");
        }
        let elsewhere = rig.server("a.example", 1, Script::usual());
        let door = Door::new(&rig, 1);
        let running = rig.send(MX);
        door.send(&rig, STRANGER, &["all@example.org"], CONTENT)
            .await;
        rig.until(600, "all of them have it", || {
            let got = elsewhere.got();
            got.iter().map(|got| got.recipients.len()).sum::<usize>() == 1_200
        })
        .await;
        rig.until(60, "it is noted", || rig.outgoing.queue().count() == 0)
            .await;
        rig.at_rest(&running).await;
    });
}

/// A smart host for a domain, for a person, for everything, and for the people of a domain of ours that are not here.
#[test]
fn routes_lead_past_the_names_and_the_narrowest_one_counts() {
    run(|rig| async move {
        let alice = rig.alice().await;
        let directory = rig.outgoing.mailboxes().directory();
        let hosts = ["all", "domain", "person", "cloud"];
        let servers: Vec<_> = (10..)
            .zip(hosts)
            .map(|(last, name)| {
                let address = std::net::IpAddr::from([192, 0, 2, last]);
                rig.names
                    .set_addresses(&format!("{name}.smart.example"), &[address]);
                let listener = rig.dial.listen(std::net::SocketAddr::new(address, 2525));
                crate::server::Server::start(&rig.host, listener, Script::usual())
            })
            .collect();
        let own = rig.server("direct.example", 1, Script::usual());
        let by = |name: &str| names::Route::Host {
            host: format!("{name}.smart.example"),
            port: 2525,
            needs_tls: false,
        };
        for (scope, route) in [
            ("*", by("all")),
            ("a.example", by("domain")),
            ("boss@a.example", by("person")),
            ("direct.example", names::Route::Here),
            ("example.org", by("cloud")),
        ] {
            directory
                .put_route(scope, route)
                .await
                .expect("a new route");
        }
        let running = rig.send(MX);
        let to = [
            "x@a.example",
            "Boss@A.example",
            "y@b.example",
            "z@direct.example",
            "bob@example.org",
            "alice@example.org",
        ];
        rig.put("hello", &to).await;
        rig.until(60, "all of them have it", || {
            rig.outgoing.queue().count() == 0
        })
        .await;
        let got = |server: &crate::server::Server| {
            let got = server.got().into_iter();
            got.flat_map(|got| got.recipients).collect::<Vec<_>>()
        };
        assert_eq!(got(&servers[0]), ["RCPT TO:<y@b.example>"]);
        assert_eq!(got(&servers[1]), ["RCPT TO:<x@a.example>"]);
        assert_eq!(got(&servers[2]), ["RCPT TO:<Boss@A.example>"]);
        assert_eq!(got(&servers[3]), ["RCPT TO:<bob@example.org>"]);
        assert_eq!(got(&own), ["RCPT TO:<z@direct.example>"]);
        assert_eq!(rig.inbox(alice).await.len(), 1);

        // From outside the people who are not here are taken too, with their sender as it was; another domain is not.
        let door = Door::new(&rig, 1);
        let replies = door
            .send(&rig, STRANGER, &["bob@example.org"], CONTENT)
            .await;
        assert!(replies[1].starts_with("250 "), "{replies:?}");
        rig.until(60, "it arrives", || servers[3].count() == 2)
            .await;
        assert!(
            servers[3].got()[1]
                .mail
                .starts_with("MAIL FROM:<s@stranger.example>")
        );
        let refused = door.send(&rig, STRANGER, &["x@a.example"], CONTENT).await;
        assert!(
            refused[0].starts_with("550 5.7.1"),
            "strangers cannot relay by a route: {refused:?}"
        );

        // Where TLS is required the message waits.
        let secure = names::Route::Host {
            host: "domain.smart.example".into(),
            port: 2525,
            needs_tls: true,
        };
        directory
            .put_route("a.example", secure)
            .await
            .expect("another route");
        let id = rig.put("secret", &["x@a.example"]).await;
        rig.until(60, "it was tried", || !rig.reply(id).is_empty())
            .await;
        assert_eq!(servers[1].count(), 1);
        rig.outgoing.queue().remove(id).await.expect("it waits");
        rig.at_rest(&running).await;
    });
}

/// The power goes at any moment between the RCPT and the last copy: each target has it, the mailbox once, the other server twice at most,
/// which is where its answer was lost.
#[test]
fn an_alias_with_two_targets_loses_and_doubles_nothing_in_a_power_cut() {
    let (mut cuts, mut accepted_count) = (0, 0);
    for seed in 0..60 {
        let disks = Disks::new(seed);
        let received = Rc::new(Cell::new(0));
        let accepted = Rc::new(Cell::new(false));
        let server = |received: &Rc<Cell<usize>>| {
            let received = received.clone();
            Script::with(move |line| {
                received.set(received.get() + usize::from(line == "."));
                None
            })
        };
        disks.world.block_on(async {
            let rig = disks.open().await;
            rig.alice().await;
            alias(
                &rig,
                "sales@example.org",
                &["alice@example.org", "x@a.example"],
            )
            .await;
        });
        disks.world.crash();
        let cut: Result<(), Halt> = disks.world.run(async {
            let rig = disks.open().await;
            rig.server("a.example", 1, server(&received));
            let door = Door::new(&rig, 1);
            let _running = rig.send(MX);
            let cut = disks.world.draw(1..80);
            disks.world.crash_at(disks.world.boundaries() + cut);
            let replies = door
                .send(&rig, STRANGER, &["sales@example.org"], CONTENT)
                .await;
            accepted.set(replies[1].starts_with("250 "));
            rig.until(60, "it is done", || {
                received.get() > 0 && rig.outgoing.queue().count() == 0
            })
            .await;
            rig.sleep(60).await;
        });
        cuts += usize::from(cut.is_err());
        accepted_count += usize::from(accepted.get());
        let before = received.get();
        disks.world.crash();
        disks.world.block_on(async {
            let rig = disks.open().await;
            rig.server("a.example", 1, server(&received));
            let running = rig.send(MX);
            rig.until(600, "the queue is empty", || {
                rig.outgoing.queue().count() == 0
            })
            .await;
            let alice = rig
                .outgoing
                .mailboxes()
                .account(&at("alice@example.org"))
                .await;
            let alice = alice.expect("readable").expect("made before the cut").id;
            let (here, there) = (rig.inbox(alice).await.len(), received.get());
            assert!(here <= 1, "seed {seed}: {here} copies");
            assert!(
                there <= 1 || there == 2 && before == 1,
                "seed {seed}: {there} sent, {before} before"
            );
            assert_eq!(here == 1, there > 0, "seed {seed}: both or none");
            assert!(
                here == 1 || !accepted.get(),
                "seed {seed}: it was accepted and is not there"
            );
            rig.at_rest(&running).await;
        });
    }
    assert!(
        cuts > 20 && accepted_count > 20,
        "{cuts} cuts, {accepted_count} accepted"
    );
}
