//! Messages that arrive.

use queue::{Notify, Returned, Terms};

use crate::rig::{Disks, MX, run};
use crate::server::{Script, say};

#[test]
fn a_message_reaches_the_server_of_its_domain_as_it_is() {
    run(|rig| async move {
        let server = rig.server("a.example", 1, Script::usual());
        let running = rig.send(MX);
        rig.put("hello", &["bob@a.example"]).await;
        rig.until(5, "it arrives", || server.count() == 1).await;
        let got = server.got().remove(0);
        assert_eq!(got.mail, "MAIL FROM:<alice@example.org> SIZE=51");
        assert_eq!(got.recipients, ["RCPT TO:<bob@a.example>"]);
        assert_eq!(
            got.content,
            "From: alice@example.org\r\nSubject: hello\r\n\r\n..hello"
        );
        rig.at_rest(&running).await;
    });
}

/// Recipients of one domain share a transaction, and messages for it a connection.
#[test]
fn what_goes_the_same_way_goes_together() {
    run(|rig| async move {
        let a = rig.server("a.example", 1, Script::usual());
        let b = rig.server("b.example", 2, Script::usual());
        let to = ["x@a.example", "y@b.example", "z@A.example"];
        for number in 0..5 {
            rig.put(&format!("message {number}"), &to).await;
        }
        let running = rig.send(MX);
        rig.until(20, "all arrive", || a.count() == 5 && b.count() == 5)
            .await;
        assert_eq!(
            a.got()[0].recipients,
            ["RCPT TO:<x@a.example>", "RCPT TO:<z@A.example>"]
        );
        assert_eq!(b.got()[0].recipients, ["RCPT TO:<y@b.example>"]);
        let (connections, _) = a.connections();
        assert!(connections < 5, "{connections} for five messages");
        rig.at_rest(&running).await;
    });
}

#[test]
fn more_recipients_than_a_transaction_takes_come_in_several() {
    run(|rig| async move {
        let server = rig.server("a.example", 1, Script::usual());
        let to: Vec<String> = (0..250)
            .map(|number| format!("x{number}@a.example"))
            .collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let running = rig.send(MX);
        rig.put("hello", &to).await;
        rig.until(20, "all arrive", || server.count() == 3).await;
        let mut counts: Vec<usize> = server
            .got()
            .iter()
            .map(|got| got.recipients.len())
            .collect();
        counts.sort();
        assert_eq!(counts, [50, 100, 100]);
        rig.at_rest(&running).await;
    });
}

/// 452 to those past the tenth: they come with the next transaction, at once.
#[test]
fn a_server_that_takes_ten_recipients_gets_ten_at_a_time() {
    run(|rig| async move {
        let count = std::cell::Cell::new(0);
        let script = Script::with(move |line| {
            let counted = if line.starts_with("RCPT") {
                count.get() + 1
            } else {
                0
            };
            count.set(counted);
            if counted > 10 {
                say("452 4.5.3 too many recipients")
            } else {
                None
            }
        });
        let server = rig.server("a.example", 1, script);
        let to: Vec<String> = (0..25)
            .map(|number| format!("x{number}@a.example"))
            .collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let running = rig.send(MX);
        rig.put("hello", &to).await;
        rig.until(30, "all arrive", || server.count() == 3).await;
        let all: usize = server.got().iter().map(|got| got.recipients.len()).sum();
        assert_eq!(all, 25);
        rig.at_rest(&running).await;
    });
}

#[test]
fn the_second_server_takes_what_the_first_does_not() {
    run(|rig| async move {
        let server = rig.server("b.example", 2, Script::usual());
        let hosts = [
            (10, "dead.example"),
            (20, "gone.example"),
            (30, "mx.b.example"),
        ];
        rig.names.set_exchangers("a.example", &hosts);
        rig.names
            .set_addresses("dead.example", &[[192, 0, 2, 99].into()]);
        let running = rig.send(MX);
        rig.put("hello", &["bob@a.example"]).await;
        rig.until(10, "it arrives", || server.count() == 1).await;
        rig.at_rest(&running).await;
    });
}

#[test]
fn an_old_server_without_extensions_is_spoken_to_in_old_words() {
    run(|rig| async move {
        let server = rig.server("a.example", 1, Script::at("EHLO", say("502 5.5.1 what")));
        let running = rig.send(MX);
        rig.put("hello", &["bob@a.example", "carol@a.example"])
            .await;
        rig.until(10, "it arrives", || server.count() == 1).await;
        let got = server.got().remove(0);
        assert_eq!(got.mail, "MAIL FROM:<alice@example.org>");
        assert_eq!(got.recipients.len(), 2);
        rig.at_rest(&running).await;
    });
}

#[test]
fn what_the_sender_asked_for_goes_along_where_it_is_understood() {
    run(|rig| async move {
        let offers = ["DSN", "8BITMIME", "SMTPUTF8", "SIZE"];
        let a = rig.server("a.example", 1, Script::usual().offering(&offers));
        let b = rig.server("b.example", 2, Script::usual());
        let running = rig.send(MX);
        let mut envelope = rig.envelope("alice@example.org", &["bob@a.example", "bob@b.example"]);
        envelope.terms = Terms {
            returned: Returned::Headers,
            envelope_id: "QQ+3D1".to_owned(),
            is_eight_bit: true,
            ..Terms::default()
        };
        for to in &mut envelope.recipients {
            to.notify = Notify::FAILURE.and(Notify::DELAY);
            to.original = "rfc822;bob+40x".to_owned();
        }
        rig.submit("hello", envelope).await;
        rig.until(10, "it arrives", || a.count() == 1 && b.count() == 1)
            .await;
        let got = a.got().remove(0);
        assert!(
            got.mail
                .ends_with("SIZE=51 BODY=8BITMIME RET=HDRS ENVID=QQ+3D1"),
            "{}",
            got.mail
        );
        let wanted = "RCPT TO:<bob@a.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;bob+40x";
        assert_eq!(got.recipients, [wanted]);
        assert_eq!(b.got()[0].recipients, ["RCPT TO:<bob@b.example>"]);
        rig.at_rest(&running).await;
    });
}

#[test]
fn everything_goes_to_the_fixed_server_where_one_is_set() {
    run(|rig| async move {
        let server = rig.server("sink.example", 9, Script::usual());
        let route = client::relay::Route::Fixed("192.0.2.9:25".parse().expect("right"));
        let running = rig.send(route);
        rig.put("one", &["x@nowhere.example", "y@elsewhere.example"])
            .await;
        rig.put("two", &["z@absent.example"]).await;
        rig.until(10, "both arrive", || server.count() == 2).await;
        assert_eq!(
            server
                .got()
                .iter()
                .map(|got| got.recipients.len())
                .sum::<usize>(),
            3
        );
        rig.at_rest(&running).await;
    });
}

/// The connection had idled, and the server closed it just then: nothing is lost, and no try is counted.
#[test]
fn a_connection_that_ended_meanwhile_is_made_anew() {
    run(|rig| async move {
        let is_first = std::cell::Cell::new(true);
        let script = Script::with(move |line| {
            let again = line.starts_with("MAIL") && !is_first.replace(false);
            if again && !line.contains("three") {
                // From the second message on the first connection's time is over.
                is_first.set(true);
                return Some(crate::server::Answer::SayAndClose(
                    "421 4.4.2 idle\r\n".to_owned(),
                ));
            }
            None
        });
        let server = rig.server("a.example", 1, script);
        let running = rig.send(MX);
        rig.put("one", &["x@a.example"]).await;
        rig.until(5, "it arrives", || server.count() == 1).await;
        rig.put("two", &["x@a.example"]).await;
        rig.until(5, "so does the second", || server.count() == 2)
            .await;
        assert_eq!(
            running
                .counters
                .deferred
                .load(std::sync::atomic::Ordering::Relaxed),
            0
        );
        rig.at_rest(&running).await;
    });
}

#[test]
fn what_is_held_stays_until_it_is_released() {
    let disks = Disks::new(1);
    let rig = disks.world.block_on(disks.open());
    let server = rig.server("a.example", 1, Script::usual());
    let (id, running) = disks.world.block_on(async {
        let id = rig.put("one", &["x@a.example"]).await;
        rig.outgoing.queue().hold(id, true).await.expect("it waits");
        (id, rig.send(MX))
    });
    disks.pass(6 * 24);
    assert_eq!(server.count(), 0, "for longer than it lives");
    disks.world.block_on(async {
        rig.outgoing.hold(id, false).await.expect("it waits");
        rig.until(60, "it arrives", || server.count() == 1).await;
        rig.at_rest(&running).await;
    });
}
