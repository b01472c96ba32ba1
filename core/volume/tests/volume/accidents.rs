//! One accident each: rot, a torn tail, a leg that fails, stalls, vanishes, returns old, returns blank.

use crate::common::*;
use device::DeviceIndex;
use device::sim::{Faults, Medium};
use volume::*;

const SEGMENTS_AT: u64 = 256 << 10;

pub fn at(address: &BatchAddress) -> u64 {
    SEGMENTS_AT
        + u64::from(address.segment.0) * settings().segment_bytes
        + u64::from(address.block) * 4096
}

pub fn medium(bench: &Bench, disk: usize) -> Medium {
    bench.world.snapshot(bench.disks[disk])
}

pub fn state(volume: &Volume, leg: usize) -> LegState {
    volume.legs()[leg].state
}

/// Waits until every leg is in sync.
pub fn wait_in_sync(bench: &Bench, volume: &Volume) {
    for _ in 0..100 {
        if volume
            .legs()
            .iter()
            .all(|leg| leg.state == LegState::InSync)
        {
            return;
        }
        bench.world.run_for_us(100_000).expect("the copy goes on");
    }
    panic!("legs never came in sync: {:?}", volume.legs());
}

/// Every live batch is byte-equal on all disks.
pub fn assert_legs_equal(bench: &Bench, volume: &Volume) {
    for segment in volume.segments() {
        if matches!(segment.state, SegmentState::Open | SegmentState::Sealed) {
            let from = SEGMENTS_AT + u64::from(segment.index.0) * settings().segment_bytes;
            let first = bench
                .world
                .peek(bench.disks[0], from, segment.used_bytes as usize);
            for disk in &bench.disks[1..] {
                let other = bench.world.peek(*disk, from, segment.used_bytes as usize);
                assert!(first == other, "segment {:?} differs", segment.index);
            }
        }
    }
}

#[test]
fn a_vanished_leg_is_recorded_before_the_next_acknowledgement_and_never_serves() {
    let bench = Bench::new(14, 2);
    let volume = bench.open();
    bench.append(&volume, b"on both").expect("durable");
    let old = medium(&bench, 1);
    bench.world.remove(bench.disks[1]);
    bench
        .append(&volume, b"on one")
        .expect("one copy is acknowledged");
    let record = bench.witness.record.borrow().clone().expect("recorded");
    assert_eq!(record.in_sync, [volume.legs()[0].id]);
    assert_eq!(state(&volume, 1), LegState::Stale);
    drop(volume);
    bench.world.crash();

    // The stale leg comes back alone: nothing opens.
    bench.world.insert(bench.disks[1]);
    bench.world.restore(bench.disks[1], &old);
    let refusal = bench.try_open(&bench.disks[1..]).err().expect("refused");
    assert!(
        refusal.to_string().contains("stale legs never serve"),
        "{refusal}"
    );
    // Together with the other it is left out.
    let volume = bench.open();
    assert_eq!(bench.payloads(&volume), [&b"on both"[..], b"on one"]);
    assert!(volume.open_report().left_out[0].contains("is stale"));
    assert_eq!(state(&volume, 1), LegState::Stale);
}

/// A disk overwritten here and there: past so many repairs nothing on it is trusted any more. Bringing it back copies
/// everything, not only what it missed while it was out.
#[test]
fn a_returned_leg_gets_exactly_what_it_missed() {
    let bench = Bench::new(15, 2);
    let volume = bench.open();
    let mut before = Vec::new();
    for number in 0..20 {
        before.push(
            bench
                .append(&volume, &letter(number, 30_000))
                .expect("durable"),
        );
    }
    bench.world.remove(bench.disks[1]);
    let mut missed = Vec::new();
    for number in 20..30 {
        missed.push(
            bench
                .append(&volume, &letter(number, 30_000))
                .expect("durable"),
        );
    }
    bench.world.insert(bench.disks[1]);
    bench.world.log_writes();
    let leg = bench
        .world
        .block_on(volume.attach(bench.disks[1]))
        .expect("it may come back");
    assert_eq!(leg, LegIndex(1));
    wait_in_sync(&bench, &volume);
    let copied: u64 = bench
        .world
        .take_write_log()
        .iter()
        .filter(|write| write.device == bench.disks[1] && write.at >= SEGMENTS_AT)
        .filter(|write| write.at < LEG_BYTES - (128 << 10))
        .map(|write| {
            assert!(
                before.iter().all(|address| at(address) != write.at),
                "an old batch was copied"
            );
            write.bytes as u64
        })
        .sum();
    let missed_bytes = missed.len() as u64 * 36_864;
    assert!(
        copied >= missed_bytes && copied <= missed_bytes + 3 * 4096,
        "{copied} for {missed_bytes}"
    );
    assert_legs_equal(&bench, &volume);

    // Now the other one goes: the returned leg alone has everything.
    bench.world.remove(bench.disks[0]);
    bench.append(&volume, b"last").expect("durable");
    drop(volume);
    bench.world.crash();
    let volume = bench.try_open(&bench.disks[1..]).expect("it is in sync");
    assert_eq!(bench.payloads(&volume).len(), 31);
}

#[test]
fn a_leg_is_resynced_while_new_batches_and_pages_come_in() {
    let bench = Bench::new(16, 2);
    let volume = bench.open();
    bench.world.block_on(volume.arena_grow()).expect("room");
    let page = |number: u64, round: usize| (number, bytes::Bytes::from(letter(round, 4096)));
    bench
        .world
        .block_on(volume.arena_write((0..30).map(|n| page(n, 0)).collect()))
        .expect("durable");
    for number in 0..10 {
        bench
            .append(&volume, &letter(number, 30_000))
            .expect("durable");
    }
    bench.world.remove(bench.disks[1]);
    for number in 10..20 {
        bench
            .append(&volume, &letter(number, 30_000))
            .expect("durable");
    }
    bench
        .world
        .block_on(volume.arena_write((5..9).map(|n| page(n, 1)).collect()))
        .expect("durable");
    bench.world.insert(bench.disks[1]);
    bench
        .world
        .block_on(volume.attach(bench.disks[1]))
        .expect("it may come back");
    for number in 20..30 {
        bench
            .append(&volume, &letter(number, 30_000))
            .expect("durable");
        let pages = (0..3).map(|n| page(n, number)).collect();
        bench
            .world
            .block_on(volume.arena_write(pages))
            .expect("durable");
    }
    wait_in_sync(&bench, &volume);
    assert_legs_equal(&bench, &volume);
    let arena = volume
        .segments()
        .into_iter()
        .find(|s| s.state == SegmentState::Arena)
        .expect("grown");
    let from = SEGMENTS_AT + u64::from(arena.index.0) * settings().segment_bytes;
    let [first, second] = [0, 1].map(|disk| bench.world.peek(bench.disks[disk], from, 30 * 4096));
    assert!(first == second, "arena pages differ");
}

#[test]
fn a_blank_device_is_rebuilt_and_can_then_open_alone() {
    let bench = Bench::new(17, 2);
    let volume = bench.open();
    bench.world.block_on(volume.arena_grow()).expect("room");
    let pages: Vec<_> = (0..9u64)
        .map(|n| (n, bytes::Bytes::from(letter(n as usize, 4096))))
        .collect();
    bench
        .world
        .block_on(volume.arena_write(pages.clone()))
        .expect("durable");
    let letters: Vec<_> = (0..40).map(|number| letter(number, 25_000)).collect();
    let mut last = Lsn(0);
    for letter in &letters {
        last = bench.append(&volume, letter).expect("durable").lsn;
    }
    bench
        .world
        .block_on(volume.set_checkpoint(Checkpoint {
            lsn: last,
            note: vec![],
        }))
        .expect("durable");
    bench.world.remove(bench.disks[1]);
    let fresh = bench.world.add_disk(LEG_BYTES);
    let leg = bench
        .world
        .block_on(volume.attach(fresh))
        .expect("blank devices are welcome");
    for _ in 0..100 {
        bench.world.run_for_us(100_000).expect("the copy goes on");
        if state(&volume, usize::from(leg.0)) == LegState::InSync {
            break;
        }
    }
    assert_eq!(state(&volume, usize::from(leg.0)), LegState::InSync);
    bench.world.remove(bench.disks[0]);
    bench.append(&volume, b"on the new leg").expect("durable");
    drop(volume);
    bench.world.crash();
    let volume = bench.try_open(&[fresh]).expect("it is whole");
    assert_eq!(bench.payloads(&volume).len(), 41);
    let mut into = vec![0; 4096];
    for (number, bytes) in &pages {
        volume
            .arena_reader()
            .read_page(*number, page_check(*number, bytes), &mut into)
            .expect("copied");
    }
}

#[test]
fn a_leg_that_stalls_past_the_deadline_is_ejected_and_comes_back_after_its_zombies() {
    let bench = Bench::new(18, 2);
    let volume = bench.open();
    bench.append(&volume, b"before").expect("durable");
    bench.world.set_faults(
        bench.disks[1],
        Faults {
            hang: 1.0,
            ..Faults::default()
        },
    );
    bench
        .append(&volume, b"during")
        .expect("acknowledged once the leg is out");
    assert_eq!(state(&volume, 1), LegState::Stale);
    bench.world.set_faults(bench.disks[1], Faults::default());
    let refusal = bench
        .world
        .block_on(volume.attach(bench.disks[1]))
        .expect_err("zombies");
    assert!(
        refusal.to_string().contains("operations from before"),
        "{refusal}"
    );
    bench.world.release(bench.disks[1]);
    bench.world.run_for_us(10_000).expect("zombies end");
    bench
        .world
        .block_on(volume.attach(bench.disks[1]))
        .expect("no zombies any more");
    wait_in_sync(&bench, &volume);
    assert_legs_equal(&bench, &volume);
}

#[test]
fn both_legs_slow_at_once_ejects_nobody() {
    let bench = Bench::new(19, 2);
    let volume = bench.open();
    let slow = Faults {
        stall: 1.0,
        stall_us: 5_000_000,
        ..Faults::default()
    };
    for disk in &bench.disks {
        bench.world.set_faults(*disk, slow.clone());
    }
    bench.append(&volume, b"slowly").expect("durable");
    assert_eq!(
        [state(&volume, 0), state(&volume, 1)],
        [LegState::InSync; 2]
    );
}

#[test]
fn a_segment_that_refuses_writes_is_given_up_and_its_batches_move() {
    let bench = Bench::new(20, 2);
    let volume = bench.open();
    let mut letters = Vec::new();
    for number in 0..60 {
        // Now and then the medium refuses for a moment long enough to fail the second attempt too.
        let refuse = if number % 20 == 7 { 1.0 } else { 0.0 };
        bench.world.set_faults(
            bench.disks[1],
            Faults {
                write_error: refuse,
                ..Faults::default()
            },
        );
        let payload = letter(number, 8_000);
        let commit = append(volume.clone(), payload.clone());
        let (world, disk) = (bench.world.clone(), bench.disks[1]);
        let host = world.io().host;
        host.spawn(Box::pin({
            let host = host.clone();
            async move {
                base::host::sleep_us(&*host, 700).await;
                world.set_faults(disk, Faults::default());
            }
        }));
        bench.world.block_on(commit).expect("durable");
        letters.push(payload);
    }
    assert!(volume.counters().segments_spoiled > 0);
    assert_eq!(state(&volume, 1), LegState::InSync);
    assert_eq!(bench.payloads(&volume), letters);
    assert_legs_equal(&bench, &volume);
    drop(volume);
    bench.world.crash();
    assert_eq!(bench.payloads(&bench.open()), letters);
}

#[test]
fn without_the_witness_nothing_degraded_is_acknowledged() {
    let bench = Bench::new(21, 2);
    let volume = bench.open();
    *bench.witness.away.borrow_mut() = true;
    bench
        .append(&volume, b"no change of membership is needed")
        .expect("durable");
    bench.world.remove(bench.disks[1]);
    let waiting = append(volume.clone(), b"waits".to_vec());
    let (done, answer) = base::host::oneshot();
    bench
        .world
        .io()
        .host
        .spawn(Box::pin(async move { done.send(waiting.await) }));
    bench.world.run_for_us(5_000_000).expect("time goes by");
    assert!(volume.refuses().is_some());
    assert!(matches!(
        bench.append(&volume, b"refused"),
        Err(CommitFault::Deferred(_))
    ));
    *bench.witness.away.borrow_mut() = false;
    let answer = bench.world.block_on(answer).expect("sent");
    answer.expect("acknowledged once the witness knows");
    bench.append(&volume, b"goes on").expect("durable");
    assert_eq!(bench.payloads(&volume).len(), 3);
}

#[test]
fn the_last_leg_gone_acknowledges_nothing_and_nothing_is_lost() {
    let bench = Bench::new(22, 2);
    let volume = bench.open();
    bench.append(&volume, b"kept").expect("durable");
    bench.world.remove(bench.disks[0]);
    bench.append(&volume, b"kept too").expect("durable");
    bench.world.remove(bench.disks[1]);
    let unanswered = crate::outage::start(&bench, &volume, b"lost?");
    bench.world.run_for_us(1_000_000).expect("time goes by");
    assert!(volume.refuses().is_some());
    drop((volume, unanswered));
    bench.world.crash();
    bench.world.insert(bench.disks[0]);
    bench.world.insert(bench.disks[1]);
    // The leg that left first must not be believed, whatever order they are named in.
    let volume = bench.open();
    let payloads = bench.payloads(&volume);
    assert_eq!(payloads[..2], [&b"kept"[..], b"kept too"]);
}

#[test]
fn a_leg_of_another_volume_is_refused_by_name() {
    let bench = Bench::new(24, 2);
    let volume = bench.open();
    let other = bench.world.add_disk(LEG_BYTES);
    let theirs = Memory::default();
    let id = bench
        .world
        .block_on(async {
            Volume::create(&bench.world.io(), &[other], &settings(), &theirs, 77).await
        })
        .expect("blank");
    let refusal = bench
        .world
        .block_on(volume.attach(other))
        .expect_err("not ours");
    assert!(
        refusal
            .to_string()
            .contains(&format!("belongs to volume {id}")),
        "{refusal}"
    );
    drop(volume);
    bench.world.crash();
    let both: Vec<DeviceIndex> = vec![bench.disks[0], other];
    // The witness knows one of the two: that one is opened, and the stranger is named and left as it was.
    let volume = bench.try_open(&both).expect("the witness knows ours");
    let left_out = volume.open_report().left_out.join("; ");
    assert!(
        left_out.contains(&format!("belongs to volume {id}")),
        "{left_out}"
    );
}

#[test]
fn a_retired_leg_s_place_is_taken_by_the_next_blank_device() {
    let bench = Bench::new(27, 2);
    let volume = bench.open();
    bench.append(&volume, b"something").expect("durable");
    assert!(
        bench.world.block_on(volume.retire(LegIndex(1))).is_err(),
        "in use"
    );
    bench
        .world
        .block_on(volume.eject(LegIndex(1), "a test"))
        .expect("the other one is enough");
    assert!(
        bench
            .world
            .block_on(volume.eject(LegIndex(0), "a test"))
            .is_err(),
        "the last one stays"
    );
    bench
        .world
        .block_on(volume.retire(LegIndex(1)))
        .expect("forgotten");
    let fresh = bench.world.add_disk(LEG_BYTES);
    assert_eq!(bench.world.block_on(volume.attach(fresh)), Ok(LegIndex(1)));
    wait_in_sync(&bench, &volume);
    let refusal = bench
        .world
        .block_on(volume.attach(bench.disks[1]))
        .expect_err("no member any more");
    assert!(
        refusal
            .to_string()
            .contains("no longer a member of this volume"),
        "{refusal}"
    );
}

#[test]
fn a_closed_volume_opens_clean_and_refuses_until_then() {
    let bench = Bench::new(28, 2);
    let volume = bench.open();
    bench.append(&volume, b"something").expect("durable");
    bench.world.block_on(volume.close()).expect("closed");
    assert!(matches!(
        bench.append(&volume, b"late"),
        Err(CommitFault::Deferred(_))
    ));
    drop(volume);
    bench.world.crash();
    let volume = bench.open();
    assert!(volume.open_report().clean);
    assert_eq!(bench.payloads(&volume), [&b"something"[..]]);
}

#[test]
fn a_leg_that_cannot_join_holds_nobody_up() {
    let bench = Bench::new(29, 2);
    let volume = bench.open();
    bench.append(&volume, b"before").expect("durable");
    bench
        .world
        .block_on(volume.eject(LegIndex(1), "a test"))
        .expect("the other one is enough");
    // The witness is away when the copy is done.
    *bench.witness.away.borrow_mut() = true;
    bench
        .world
        .block_on(volume.attach(bench.disks[1]))
        .expect("it may come back");
    for _ in 0..20 {
        bench.world.run_for_us(500_000).expect("time goes by");
        bench
            .append(&volume, b"meanwhile")
            .expect("one leg is enough");
    }
    assert_ne!(state(&volume, 1), LegState::InSync);
    *bench.witness.away.borrow_mut() = false;
    wait_in_sync(&bench, &volume);
    // A write to it hangs while it joins.
    bench
        .world
        .block_on(volume.eject(LegIndex(1), "a test"))
        .expect("the other one is enough");
    bench
        .world
        .block_on(volume.attach(bench.disks[1]))
        .expect("it may come back");
    bench.world.set_faults(
        bench.disks[1],
        Faults {
            hang: 1.0,
            ..Faults::default()
        },
    );
    for _ in 0..20 {
        bench.world.run_for_us(500_000).expect("time goes by");
        bench
            .append(&volume, b"meanwhile")
            .expect("one leg is enough");
    }
    assert_eq!(state(&volume, 1), LegState::Stale);
    bench.world.set_faults(bench.disks[1], Faults::default());
    bench.world.release(bench.disks[1]);
    bench.world.run_for_us(10_000).expect("zombies end");
    bench
        .world
        .block_on(volume.attach(bench.disks[1]))
        .expect("it may come back");
    wait_in_sync(&bench, &volume);
    assert_legs_equal(&bench, &volume);
}
