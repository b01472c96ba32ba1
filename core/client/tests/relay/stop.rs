//! A stop ends everything within seconds, and loses nothing.

use std::time::Duration;

use client::relay::limits::STOP_PATIENCE;

use crate::rig::{MX, run};
use crate::server::{Answer, Script};

#[test]
fn a_stop_ends_tries_that_hang_and_their_messages_are_due_again() {
    for verb in ["", "EHLO", "MAIL", "DATA", "."] {
        run(|rig| async move {
            rig.server("a.example", 1, Script::at(verb, Some(Answer::Silence)));
            let running = rig.send(MX);
            let id = rig.put("hello", &["x@a.example"]).await;
            rig.until(5, "it is under way", || rig.outgoing.is_under_way(id))
                .await;
            rig.sleep(2).await;
            rig.stop.request();
            let host = rig.sessions();
            let ended = host
                .within(STOP_PATIENCE + Duration::from_secs(1), running.ended)
                .await;
            assert_eq!(ended, Some(Some(())), "at {verb:?}");
            rig.sleep(1).await;
            assert!(!rig.outgoing.is_under_way(id));
            assert_eq!(rig.dial.open(), 0);
            assert_eq!(running.memory.used_bytes(), 0);
            let entry = rig.entry(id).expect("it waits");
            assert_eq!(
                (entry.recipients[0].tries, entry.next_try()),
                (0, Some(entry.arrived))
            );
        });
    }
}
