//! Legs that cannot be what they say (cut short, moved, copied), repairs that do not hold, and who counts when a leg leaves.

use crate::accidents::{assert_legs_equal, at, medium, state, wait_in_sync};
use crate::common::*;
use crate::trust::{attach, crash, letters, refusal_of, rings_of, write};
use device::sim::Faults;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use volume::*;

/// Finding E4: a leg shorter than the volume is left out by name, at open and at return; nothing panics.
#[test]
fn a_leg_cut_short_is_left_out_by_name() {
    for short in [LEG_BYTES / 2, LEG_BYTES - (256 << 10), 512 << 10] {
        let bench = Bench::new(360, 2);
        let volume = bench.open();
        write(&bench, &volume, 0, 60);
        crash(&bench, volume);
        bench.world.cut_short(bench.disks[1], short);
        let volume = bench.open();
        assert_eq!(state(&volume, 1), LegState::Stale);
        let left_out = volume.open_report().left_out.join("; ");
        assert!(
            left_out.contains("device sim-1 is shorter than its leg"),
            "{left_out}"
        );
        let refusal = bench.world.block_on(volume.attach(bench.disks[1]));
        let refusal = refusal.expect_err("still short").to_string();
        assert!(refusal.contains("shorter"), "{refusal}");
        write(&bench, &volume, 60, 120);
        assert_eq!(bench.payloads(&volume), letters(120));
        crash(&bench, volume);
        // Alone it is no leg to start from.
        assert!(refusal_of(&bench, 1).contains("shorter"));
    }
}

/// Finding E11: one leg on another device does not keep the volume from starting.
#[test]
fn a_leg_on_another_device_is_left_out_by_name() {
    let bench = Bench::new(361, 2);
    let volume = bench.open();
    write(&bench, &volume, 0, 10);
    crash(&bench, volume);
    let moved = bench.world.add_disk(LEG_BYTES);
    let content = medium(&bench, 1);
    bench.world.restore(moved, &content);
    bench.world.remove(bench.disks[1]);
    let volume = bench
        .try_open(&[bench.disks[0], moved])
        .expect("the other leg is enough");
    assert_eq!(state(&volume, 1), LegState::Stale);
    let left_out = volume.open_report().left_out.join("; ");
    assert!(
        left_out.contains("is now on another device (sim-2)"),
        "{left_out}"
    );
    bench.append(&volume, b"mail goes on").expect("durable");
    crash(&bench, volume);
    // It is the only one here: then the start is refused, with the same sentence.
    let refused = bench.try_open(&[moved]).err().expect("refused").to_string();
    assert!(
        refused.contains("stale legs never serve") && refused.contains("another device"),
        "{refused}"
    );
    // Original and copy together: the original is the leg.
    bench.world.insert(bench.disks[1]);
    let volume = bench
        .try_open(&[moved, bench.disks[1], bench.disks[0]])
        .expect("opens");
    let report = volume.open_report().left_out.join("; ");
    assert!(
        report.contains("(sim-2)") && report.contains("sim-1 is stale"),
        "{report}"
    );
}

/// A repair that does not hold: the leg is known to lack a batch, so it does not count any more.
#[test]
fn a_leg_on_which_a_repair_does_not_hold_leaves() {
    for weak in 0..2 {
        let bench = Bench::new(362, 2);
        let volume = bench.open();
        let addresses = write(&bench, &volume, 0, 10);
        crash(&bench, volume);
        bench
            .world
            .flip_bit(bench.disks[weak], at(&addresses[5]) + 5_000, 0);
        // Its tail can be read, and nothing it is told to write is there afterwards.
        bench.world.set_faults(
            bench.disks[weak],
            Faults {
                lost_write: 1.0,
                ..Faults::default()
            },
        );
        let volume = bench.open();
        let leg = volume.legs()[weak].clone();
        assert_eq!(leg.state, LegState::Stale, "{leg:?}");
        assert!(leg.stale_since < Some(addresses[5].lsn), "{leg:?}");
        bench.world.set_faults(bench.disks[weak], Faults::default());
        attach(&bench, &volume, bench.disks[weak]);
        wait_in_sync(&bench, &volume);
        assert_legs_equal(&bench, &volume);
    }
}

/// Finding E13: the witness counts one leg; until its superblocks say so, nothing is acknowledged for that set.
#[test]
fn nothing_is_acknowledged_before_the_survivors_superblocks_say_who_counts() {
    let bench = Bench::new(363, 2);
    let volume = bench.open();
    bench.append(&volume, b"on both").expect("durable");
    let slow = Faults {
        stall: 1.0,
        stall_us: 400_000,
        ..Faults::default()
    };
    bench.world.remove(bench.disks[1]);
    let waiting = append(volume.clone(), b"on one".to_vec());
    let (done, answer) = base::host::oneshot();
    let host = bench.world.io().host;
    host.spawn(Box::pin(async move { done.send(waiting.await) }));
    // Batches are quick, superblocks take their time.
    bench.world.run_for_us(200).expect("time goes by");
    bench.world.set_faults(bench.disks[0], slow);
    let rings = rings_of(&bench, bench.disks[0]);
    bench
        .world
        .block_on(answer)
        .expect("sent")
        .expect("one copy is acknowledged");
    let now = rings_of(&bench, bench.disks[0]);
    let written = rings
        .iter()
        .zip(&now)
        .filter(|(before, now)| before != now)
        .count();
    assert!(
        written >= 3,
        "acknowledged with {written} of four superblock copies"
    );
}

/// Two administrators attach the same blank disk in the same moment: it becomes one member.
#[test]
fn a_blank_disk_that_is_attached_twice_at_once_becomes_one_leg() {
    for legs in [1, 2] {
        let bench = Bench::new(76, legs);
        let volume = bench.open();
        let fresh = bench.world.add_disk(LEG_BYTES);
        let answers = bench.world.block_on(async {
            let (first, second) = (volume.attach(fresh), volume.attach(fresh));
            let (mut first, mut second) = (pin!(first), pin!(second));
            let mut answers = [None, None];
            poll_fn(|context| {
                let attaches = [first.as_mut(), second.as_mut()];
                for (attach, answer) in attaches.into_iter().zip(&mut answers) {
                    if answer.is_none()
                        && let Poll::Ready(result) = attach.poll(context)
                    {
                        *answer = Some(result);
                    }
                }
                match answers.iter().all(Option::is_some) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
            answers.map(|answer| answer.expect("both ended"))
        });
        assert!(answers[0].is_ok(), "{answers:?}");
        let refusal = answers[1].as_ref().expect_err("it is a leg already");
        assert!(refusal.to_string().contains("already a leg"), "{refusal}");
        let on_it = volume.legs().into_iter();
        assert_eq!(on_it.filter(|leg| leg.device == Some(fresh)).count(), 1);
    }
}
