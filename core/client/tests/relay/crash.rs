//! The power goes at any moment between the message's arrival in the queue and the note that it left: it is delivered, and twice at most.

use std::cell::Cell;
use std::rc::Rc;

use device::sim::Halt;

use crate::rig::{Disks, MX};
use crate::server::{Script, say};

#[test]
fn what_was_accepted_is_delivered_and_twice_only_around_the_answer() {
    let (mut once, mut twice) = (0, 0);
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
        let cut: Result<(), Halt> = disks.world.run(async {
            let rig = disks.open().await;
            rig.server("a.example", 1, server(&received));
            let _running = rig.send(MX);
            let cut = disks.world.draw(1..16);
            disks.world.crash_at(disks.world.boundaries() + cut);
            rig.put("hello", &["x@a.example"]).await;
            accepted.set(true);
            rig.until(60, "it left", || received.get() > 0).await;
            rig.until(60, "it is noted", || rig.outgoing.queue().count() == 0)
                .await;
            rig.sleep(60).await;
        });
        let before = received.get();
        assert!(before <= 1, "seed {seed}: {cut:?}");
        disks.world.crash();
        disks.world.block_on(async {
            let rig = disks.open().await;
            rig.server("a.example", 1, server(&received));
            let running = rig.send(MX);
            rig.until(600, "the queue is empty", || {
                rig.outgoing.queue().count() == 0
            })
            .await;
            rig.at_rest(&running).await;
        });
        match received.get() {
            0 => assert!(
                !accepted.get(),
                "seed {seed}: it was accepted and never left"
            ),
            1 => once += 1,
            2 if before == 1 => twice += 1,
            more => panic!("seed {seed}: delivered {more} times"),
        }
    }
    assert!(once > 5 && twice > 0, "{once} once, {twice} twice");
}

/// A failure and the report about it: whatever the moment of the cut, alice hears once.
#[test]
fn a_report_is_neither_lost_nor_doubled() {
    let mut cuts = 0;
    for seed in 0..60 {
        let disks = Disks::new(seed);
        let accepted = Rc::new(Cell::new(false));
        let cut: Result<(), Halt> = disks.world.run(async {
            let rig = disks.open().await;
            rig.alice().await;
            rig.server(
                "a.example",
                1,
                Script::at("RCPT", say("550 5.1.1 no such user")),
            );
            let _running = rig.send(MX);
            let cut = disks.world.draw(1..60);
            disks.world.crash_at(disks.world.boundaries() + cut);
            rig.put("hello", &["x@a.example"]).await;
            accepted.set(true);
            rig.sleep(60).await;
        });
        cuts += usize::from(cut.is_err());
        disks.world.crash();
        disks.world.block_on(async {
            let rig = disks.open().await;
            rig.server(
                "a.example",
                1,
                Script::at("RCPT", say("550 5.1.1 no such user")),
            );
            let running = rig.send(MX);
            rig.sleep(120).await;
            rig.at_rest(&running).await;
            let address = mail::Address::from_parts("alice", "example.org").expect("an address");
            let alice = rig.outgoing.mailboxes().account(&address).await;
            let alice = alice.expect("readable").expect("made before the cut").id;
            let reports = rig.inbox(alice).await.len();
            assert!(reports <= 1, "seed {seed}: {reports}");
            assert!(reports == 1 || !accepted.get(), "seed {seed}: no report");
        });
    }
    assert!(cuts > 10, "{cuts}");
}
