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
