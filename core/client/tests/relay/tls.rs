//! TLS where it is offered, and in clear where it does not work, but for messages that must not.

use std::sync::atomic::Ordering::Relaxed;

use crate::rig::{MX, run};
use crate::server::{Answer, Script, say};

const OFFERS: [&str; 3] = ["PIPELINING", "STARTTLS", "REQUIRETLS"];

#[test]
fn tls_is_used_where_it_is_offered() {
    run(|rig| async move {
        let server = rig.server("a.example", 1, Script::usual().offering(&OFFERS));
        let running = rig.send(MX);
        let mut envelope = rig.envelope("alice@example.org", &["x@a.example"]);
        envelope.terms.needs_tls = true;
        rig.submit("hello", envelope).await;
        rig.until(10, "it arrives", || server.count() == 1).await;
        let got = server.got().remove(0);
        assert!(got.in_tls && got.mail.ends_with(" REQUIRETLS"), "{got:?}");
        rig.at_rest(&running).await;
    });
}

#[test]
fn tls_that_fails_is_done_without_but_never_for_what_requires_it() {
    for fault in [
        Some(Answer::BadTls),
        say("454 4.7.0 not now"),
        say("250 what"),
        Some(Answer::SayAndClose(String::new())),
    ] {
        run(|rig| async move {
            let script = Script::at("STARTTLS", fault).offering(&OFFERS);
            let server = rig.server("a.example", 1, script);
            let running = rig.send(MX);
            let mut envelope = rig.envelope("alice@example.org", &["x@a.example"]);
            envelope.terms.needs_tls = true;
            let id = rig.submit("secret", envelope).await;
            rig.until(60, "it is put off", || !rig.reply(id).is_empty())
                .await;
            assert!(rig.reply(id).starts_with("4.7.5"), "{}", rig.reply(id));
            rig.put("open", &["x@a.example"]).await;
            rig.until(60, "the other arrives", || server.count() == 1)
                .await;
            let got = server.got().remove(0);
            assert!(!got.in_tls && got.content.contains("open"));
            assert!(running.counters.tls_failed.load(Relaxed) >= 1);
            rig.sleep(1_800).await;
            assert_eq!(server.count(), 1, "it never goes in clear");
            assert!(rig.entry(id).is_some());
        });
    }
}

const TLSA: &str = "_25._tcp.mx.a.example";

#[test]
fn what_a_domain_publishes_is_demanded_and_mail_waits_for_it() {
    for (offers, fault) in [
        (&OFFERS[..1], None),
        (&OFFERS[..], Some(Answer::BadTls)),
        (&OFFERS[..], say("454 4.7.0 not now")),
    ] {
        run(|rig| async move {
            let script = Script::at("STARTTLS", fault).offering(offers);
            let server = rig.server("a.example", 1, script);
            rig.publish("a.example", TLSA);
            let running = rig.send(MX);
            let id = rig.put("secret", &["x@a.example"]).await;
            rig.until(60, "it is put off", || !rig.reply(id).is_empty())
                .await;
            assert!(rig.reply(id).starts_with("4.7.5"), "{}", rig.reply(id));
            rig.sleep(1_800).await;
            assert_eq!(server.count(), 0, "it never goes in clear");
            assert_eq!(running.counters.proved.load(Relaxed), 0);
            assert!(rig.entry(id).is_some());
        });
    }
}

#[test]
fn a_refusal_before_tls_is_not_for_good_where_a_certificate_is_demanded() {
    for verb in ["", "STARTTLS"] {
        run(|rig| async move {
            let script = Script::at(verb, say("554 5.3.2 no service")).offering(&OFFERS);
            let server = rig.server("a.example", 1, script);
            rig.publish("a.example", TLSA);
            rig.send(MX);
            let id = rig.put("secret", &["x@a.example"]).await;
            rig.until(60, "it is put off", || !rig.reply(id).is_empty())
                .await;
            assert!(rig.reply(id).starts_with("4.7.5"), "{}", rig.reply(id));
            assert!(rig.entry(id).is_some(), "it is still there");
            assert_eq!(server.count(), 0);
        });
    }
}

#[test]
fn what_a_domain_publishes_is_used_and_counted() {
    run(|rig| async move {
        let server = rig.server("a.example", 1, Script::usual().offering(&OFFERS));
        rig.publish("a.example", TLSA);
        let running = rig.send(MX);
        rig.put("hello", &["x@a.example"]).await;
        rig.until(10, "it arrives", || server.count() == 1).await;
        assert!(server.got().remove(0).in_tls);
        assert_eq!(running.counters.proved.load(Relaxed), 1);
        rig.at_rest(&running).await;
    });
}

#[test]
fn a_signature_that_does_not_match_makes_mail_wait() {
    run(|rig| async move {
        let server = rig.server("a.example", 1, Script::usual().offering(&OFFERS));
        rig.names.set_bogus("a.example");
        rig.send(MX);
        let id = rig.put("hello", &["x@a.example"]).await;
        rig.until(60, "it is put off", || !rig.reply(id).is_empty())
            .await;
        assert!(rig.reply(id).starts_with("4.4.3"), "{}", rig.reply(id));
        assert_eq!(server.count(), 0);
    });
}
