//! The clock of the day jumps: nothing bounces for it, and nothing waits for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

use client::relay::limits::STEADY;
use queue::UnixSeconds;
use storage::outgoing::LIFE_S;
use store::BodyIn;

use crate::rig::{Disks, MX, Rig};
use crate::server::{Script, Server, say};

const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// The server of a.example is there from now on.
fn comes_back(rig: &Rig) -> Server {
    let listener = rig.dial.listen(SocketAddr::new(A, 25));
    Server::start(&rig.host, listener, Script::usual())
}

/// A server that refuses connections, and a message that waits for it.
async fn waits(rig: &Rig) {
    rig.names
        .set_exchangers("a.example", &[(10, "mx.a.example")]);
    rig.names.set_addresses("mx.a.example", &[A]);
    rig.alice().await;
    let id = rig.put("hello", &["x@a.example"]).await;
    rig.until(60, "it was tried", || !rig.reply(id).is_empty())
        .await;
}

#[test]
fn a_clock_set_on_by_days_bounces_nothing() {
    let disks = Disks::new(1);
    let (rig, running) = disks.world.block_on(async {
        let rig = disks.open().await;
        let running = rig.send(MX);
        waits(&rig).await;
        (rig, running)
    });
    disks.pass(1 + STEADY.as_secs() / 3_600);
    disks.world.set_clock_by(LIFE_S as i64 + 86_400);
    disks.pass(2);
    assert_eq!(
        rig.outgoing.queue().count(),
        1,
        "it is neither given up nor reported"
    );
    let server = comes_back(&rig);
    disks.pass(STEADY.as_secs() / 3_600 + 1);
    assert_eq!(server.count(), 1);
    disks.world.block_on(rig.at_rest(&running));
}

/// The box was off for a week: what waits is tried for hours before it is given up, and then it is.
#[test]
fn what_is_old_at_the_start_is_tried_before_it_is_given_up() {
    let disks = Disks::new(2);
    disks.world.block_on(async {
        let rig = disks.open().await;
        rig.alice().await;
        rig.put("hello", &["x@a.example"]).await;
    });
    disks.world.crash();
    disks.world.set_clock_by(7 * 86_400);
    let (rig, _running) = disks.world.block_on(async {
        let rig = disks.open().await;
        rig.names
            .set_exchangers("a.example", &[(10, "mx.a.example")]);
        rig.names.set_addresses("mx.a.example", &[A]);
        let running = rig.send(MX);
        (rig, running)
    });
    disks.pass(STEADY.as_secs() / 3_600 - 1);
    let entries = rig.outgoing.queue().entries(None, 9);
    assert!(
        entries.len() == 1 && entries[0].recipients[0].tries > 1,
        "{entries:?}"
    );
    disks.pass(2);
    assert_eq!(
        rig.outgoing.queue().count(),
        0,
        "given up, and reported to alice"
    );
}

#[test]
fn a_clock_set_back_by_days_delays_nothing() {
    let disks = Disks::new(3);
    let (rig, running, server) = disks.world.block_on(async {
        let rig = disks.open().await;
        let busy = std::cell::Cell::new(true);
        let script = Script::with(move |line| match line.starts_with("RCPT") && busy.take() {
            true => say("450 4.2.1 later"),
            false => None,
        });
        let server = rig.server("a.example", 1, script);
        let running = rig.send(MX);
        let id = rig.put("hello", &["x@a.example"]).await;
        rig.until(60, "it was tried", || !rig.reply(id).is_empty())
            .await;
        (rig, running, server)
    });
    assert_eq!(server.count(), 0);
    disks.world.set_clock_by(-30 * 86_400);
    disks.pass(1);
    assert_eq!(server.count(), 1);
    disks.world.block_on(rig.at_rest(&running));
}

/// The volume is full and takes no report: what is past its time is tried on now and then, not at every look, and is reported when there is room.
#[test]
fn what_cannot_be_reported_is_not_taken_up_at_every_look() {
    for warns in [false, true] {
        let disks = Disks::new(4);
        let (rig, running, filling) = disks.world.block_on(async {
            let rig = disks.open().await;
            rig.names
                .set_exchangers("a.example", &[(10, "mx.a.example")]);
            rig.names.set_addresses("mx.a.example", &[A]);
            rig.alice().await;
            let mut envelope = rig.envelope("alice@example.org", &["x@a.example"]);
            if !warns {
                envelope.warns = UnixSeconds(0);
                envelope.expires = UnixSeconds(rig.now().0 + STEADY.as_secs() + 1_800);
            }
            rig.submit("hello", envelope).await;
            let queue = rig.outgoing.queue();
            let mut filling = Vec::new();
            loop {
                // until it is full
                let raw = bytes::Bytes::from(noise(filling.len() as u64));
                let body = BodyIn {
                    name: base::BodyName::of(&raw),
                    summary: bytes::Bytes::from(mail::Summary::of(&raw).encode()),
                    raw,
                };
                let envelope = rig.envelope("", &["y@b.example"]);
                let Ok(id) = queue.enqueue(body, envelope).await else {
                    break;
                };
                queue.hold(id, true).await.expect("it is there");
                filling.push(id);
            }
            let running = rig.send(MX);
            (rig, running, filling)
        });
        disks.pass(STEADY.as_secs() / 3_600 + 1);
        let tried = running.counters.reports.load(Relaxed);
        disks.pass(1);
        let again = running.counters.reports.load(Relaxed) - tried;
        let queue = rig.outgoing.queue();
        assert!(
            tried > 0 && again <= 4,
            "{tried}, then {again} within an hour"
        );
        assert_eq!(queue.count(), filling.len() + 1, "it is there");
        disks.world.block_on(async {
            queue.remove_all(&filling).await.expect("room is made");
        });
        disks.pass(2);
        let entries = queue.entries(None, 9);
        let heard = entries.iter().all(|entry| entry.warned);
        assert!(heard && entries.len() == usize::from(warns), "{entries:?}");
        disks.world.block_on(async {
            let left: Vec<_> = entries.iter().map(|entry| entry.id).collect();
            queue.remove_all(&left).await.expect("they are there");
            rig.at_rest(&running).await;
        });
    }
}

/// Half a megabyte that cannot be made smaller.
fn noise(seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..512 * 1_024)
        .map(|_| random.alphanumeric() as u8)
        .collect()
}
