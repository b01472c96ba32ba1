//! Many messages, and destinations that are dead.

use std::net::{IpAddr, SocketAddr};

use runtime::dial::memory::Manner;

use crate::rig::{MX, run};
use crate::server::Script;

/// A thousand destinations that hang, with a message each, and one that lives: its mail flows.
#[test]
fn a_thousand_dead_destinations_do_not_stop_a_live_one() {
    run(|rig| async move {
        for number in 0..1_000_u32 {
            let domain = format!("d{number}.example");
            let address = IpAddr::from([10, 0, (number >> 8) as u8, number as u8]);
            rig.names.set_addresses(&domain, &[address]);
            rig.dial.set(SocketAddr::new(address, 25), Manner::Hangs);
            rig.put("hello", &[&format!("x@{domain}")]).await;
        }
        let live = rig.server("live.example", 1, Script::usual());
        let running = rig.send(MX);
        rig.put("first", &["x@live.example"]).await;
        // Once round all that is not known: fifty at a time, fifteen seconds each.
        rig.until(330, "it arrives", || live.count() == 1).await;
        for number in 0..300 {
            rig.put(&format!("m{number}"), &["x@live.example"]).await;
        }
        rig.until(5, "the rest flows", || live.count() == 301).await;
        let (_, most) = live.connections();
        assert!((2..=20).contains(&most), "{most} at a time");
        assert_eq!(rig.outgoing.queue().count(), 1_000);
        assert!(rig.dial.open() <= 100);
        rig.until(60, "memory comes back", || running.memory.used_bytes() == 0)
            .await;
    });
}

/// What waits for a site that is asleep is not tried one by one.
#[test]
fn a_dead_site_is_asked_once_and_not_for_each_message() {
    run(|rig| async move {
        let server = rig.server("dead.example", 1, Script::usual());
        let at = SocketAddr::from(([192, 0, 2, 1], 25));
        rig.dial.set(at, Manner::Refuses);
        for number in 0..50 {
            rig.put(&format!("m{number}"), &["x@dead.example"]).await;
        }
        let running = rig.send(MX);
        rig.sleep(900).await;
        assert!(rig.dial.dialled() <= 6, "{} dials", rig.dial.dialled());
        // It comes back: all of it leaves within the site's rest.
        rig.dial.set(at, Manner::Answers);
        rig.until(2_400, "all arrive", || server.count() == 50)
            .await;
        rig.until(600, "and are noted", || rig.outgoing.queue().count() == 0)
            .await;
        rig.at_rest(&running).await;
    });
}

/// An administrator knows that it is back: nothing waits for its rest.
#[test]
fn a_retry_wakes_a_site_that_is_left_alone() {
    run(|rig| async move {
        let server = rig.server("dead.example", 1, Script::usual());
        let at = SocketAddr::from(([192, 0, 2, 1], 25));
        rig.dial.set(at, Manner::Refuses);
        let id = rig.put("hello", &["x@dead.example"]).await;
        let running = rig.send(MX);
        rig.until(5, "it failed", || !rig.reply(id).is_empty())
            .await;
        rig.dial.set(at, Manner::Answers);
        rig.outgoing.retry(id, rig.now()).await.expect("it waits");
        rig.until(3, "it arrives", || server.count() == 1).await;
        rig.at_rest(&running).await;
    });
}

/// A large message is read in pieces: what is held of it is bounded.
#[test]
fn a_large_message_passes_in_pieces() {
    run(|rig| async move {
        let server = rig.server("a.example", 1, Script::usual().offering(&["PIPELINING"]));
        let running = rig.send(MX);
        let line = "0123456789abcdef".repeat(4);
        let text = vec![line; 40_000].join("\r\n");
        let id = rig.put(&text, &["x@a.example"]).await;
        let raw_bytes = rig.entry(id).expect("it waits").body.raw_bytes as usize;
        assert!(raw_bytes > 4_000_000);
        rig.until(60, "it arrives", || server.count() == 1).await;
        // The end of the last line, and a dot doubled.
        assert_eq!(server.got()[0].content.len(), raw_bytes - 2 + 1);
        rig.at_rest(&running).await;
    });
}
