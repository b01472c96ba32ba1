//! The state partition is wiped: the record of a volume is made again from its legs, or not at all.

use device::DeviceIndex;
use device::sim::{Halt, SimWorld};
use volume::*;

use crate::common::*;

fn adopt(bench: &Bench, disks: &[DeviceIndex]) -> Result<Option<VolumeId>, OpenRefusal> {
    let (io, disks, witness) = (bench.world.io(), disks.to_vec(), bench.witness.clone());
    bench
        .world
        .block_on(async move { Volume::adopt(&io, &disks, &settings(), &*witness).await })
}

fn create(bench: &Bench, seed: u64) -> Result<VolumeId, OpenRefusal> {
    let (io, disks, witness) = (bench.world.io(), bench.disks.clone(), bench.witness.clone());
    let over = Settings {
        format_over: true,
        ..settings()
    };
    bench
        .world
        .block_on(async move { Volume::create(&io, &disks, &over, &*witness, seed).await })
}

fn wipe_state(bench: &Bench) {
    bench.world.crash();
    *bench.witness.record.borrow_mut() = None;
}

#[test]
fn with_every_leg_here_nothing_is_lost_but_the_record() {
    let bench = Bench::new(40, 2);
    let volume = bench.open();
    for number in 0..20 {
        bench
            .append(&volume, &letter(number, 5_000))
            .expect("durable");
    }
    let id = volume.id();
    drop(volume);
    wipe_state(&bench);
    assert!(bench.try_open(&bench.disks).is_err(), "nothing is guessed");
    assert_eq!(adopt(&bench, &bench.disks), Ok(Some(id)));
    let volume = bench.open();
    assert_eq!(bench.payloads(&volume).len(), 20);
    assert!(
        volume
            .legs()
            .iter()
            .all(|leg| leg.state == LegState::InSync)
    );
    bench.append(&volume, b"and on").expect("durable");
}

/// Leg 1 was pulled, leg 0 acknowledged alone. Leg 1's own superblock still counts both: alone it proves nothing.
#[test]
fn a_leg_that_missed_mail_is_never_taken_for_the_whole() {
    let bench = Bench::new(41, 2);
    let volume = bench.open();
    bench.append(&volume, b"on both").expect("durable");
    bench.world.remove(bench.disks[1]);
    bench.append(&volume, b"on one").expect("durable");
    // Acknowledged as soon as the record says so; the superblock that says the same follows at once.
    bench.world.run_for_us(100_000).expect("nothing fails");
    drop(volume);
    wipe_state(&bench);
    bench.world.insert(bench.disks[1]);
    let refusal = adopt(&bench, &bench.disks[1..]).expect_err("refused");
    assert!(refusal.to_string().contains("reconnect"), "{refusal}");
    assert_eq!(*bench.witness.record.borrow(), None);
    // Together they know better, and so does the leg that stayed.
    assert!(adopt(&bench, &bench.disks).expect("adopted").is_some());
    let volume = bench.open();
    assert_eq!(bench.payloads(&volume), [&b"on both"[..], b"on one"]);
    assert_eq!(volume.legs()[1].state, LegState::Stale);
}

#[test]
fn a_record_that_is_there_is_not_replaced_and_blank_devices_are_nobody_s() {
    let bench = Bench::new(42, 2);
    let before = bench.witness.record.borrow().clone();
    assert!(adopt(&bench, &bench.disks).is_err());
    assert_eq!(*bench.witness.record.borrow(), before);
    let blank = [bench.world.add_disk(LEG_BYTES)];
    assert_eq!(adopt(&bench, &blank), Ok(None));
}

/// The power goes between the record and the superblock that follows it: the legs' own word is one step old, and the
/// union of both logs still has everything.
#[test]
fn a_record_lost_before_the_superblock_followed_costs_nothing() {
    let bench = Bench::new(45, 2);
    let volume = bench.open();
    bench.append(&volume, b"on both").expect("durable");
    bench.world.remove(bench.disks[1]);
    bench.append(&volume, b"on one").expect("durable");
    drop(volume);
    wipe_state(&bench);
    bench.world.insert(bench.disks[1]);
    assert!(adopt(&bench, &bench.disks).expect("adopted").is_some());
    let volume = bench.open();
    assert_eq!(bench.payloads(&volume), [&b"on both"[..], b"on one"]);
}

/// A first start that was cut short is made again over its own remains. A state directory that lost everything but the
/// mark of such a start must not cost the mail of another volume.
#[test]
fn a_new_volume_is_never_made_over_the_legs_of_another() {
    let bench = Bench::new(43, 2);
    let volume = bench.open();
    bench.append(&volume, b"precious").expect("durable");
    drop(volume);
    wipe_state(&bench);
    let refusal = create(&bench, 44).expect_err("refused");
    assert!(
        refusal.to_string().contains("nothing was written"),
        "{refusal}"
    );
    assert!(adopt(&bench, &bench.disks).expect("adopted").is_some());
    assert_eq!(bench.payloads(&bench.open()), [&b"precious"[..]]);
    // Not even with the same seed: it has been opened, so it may hold mail.
    wipe_state(&bench);
    assert!(create(&bench, 43).is_err());
    // One that was never opened is the remains of its own making.
    let bench = Bench::new(46, 2);
    wipe_state(&bench);
    assert!(create(&bench, 46).is_ok());
}

/// Two blank disks, and a first start whose power goes at device operation `boundary`; `None` when it was over by then.
fn cut_short(boundary: u64) -> Option<Bench> {
    let world = SimWorld::new(boundary);
    let bench = Bench {
        disks: vec![world.add_disk(LEG_BYTES), world.add_disk(LEG_BYTES)],
        world,
        witness: Default::default(),
    };
    bench.world.crash_at(boundary);
    let (io, disks, witness) = (bench.world.io(), bench.disks.clone(), bench.witness.clone());
    let made = bench
        .world
        .run(async move { Volume::create(&io, &disks, &settings(), &*witness, 47).await });
    match made {
        Err(Halt::PowerCut) => {
            bench.world.crash();
            Some(bench)
        }
        Ok(_) => None,
        Err(halt) => panic!("at {boundary}: {halt:?}"),
    }
}

#[test]
fn a_first_start_cut_short_anywhere_is_made_again_over_its_own_remains() {
    let mut cuts = 0;
    for boundary in (1..).step_by(2) {
        // until the first start ends before its power cut
        let Some(bench) = cut_short(boundary) else {
            break;
        };
        cuts += 1;
        create(&bench, 47).unwrap_or_else(|refusal| panic!("cut at {boundary}: {refusal}"));
        bench.append(&bench.open(), b"taken").expect("durable");
    }
    assert!(cuts > 10, "{cuts} cuts: that was not a first start");
}

/// The mark of a first start allows its own bytes to be written over. A disk that was put in the place of one of them is not that.
#[test]
fn what_is_not_the_remains_of_a_first_start_is_never_formatted_over() {
    let places = [
        0,
        96,
        1 << 12,
        64 << 10,
        (64 << 10) + 4096,
        256 << 10,
        LEG_BYTES - (64 << 10),
        LEG_BYTES - 4096,
    ];
    for at in places {
        let bench = cut_short(30).expect("a first start takes more operations");
        let before = bench.world.peek(bench.disks[1], at, 8);
        let theirs: Vec<u8> = before.iter().map(|byte| byte ^ 0x55).collect();
        bench.world.poke(bench.disks[1], at, &theirs);
        let whole = |disk| bench.world.peek(disk, 0, LEG_BYTES as usize);
        let both = [whole(bench.disks[0]), whole(bench.disks[1])];
        let refusal = create(&bench, 47).expect_err("it holds eight bytes of another owner");
        assert!(!refusal.to_string().is_empty());
        let after = [whole(bench.disks[0]), whole(bench.disks[1])];
        assert!(both == after, "byte {at}: a refused start wrote");
    }
}

/// Both ends of a leg were wiped; what lies between them can still be rescued.
#[test]
fn a_disk_whose_ends_alone_are_blank_is_not_blank() {
    const BYTES: u64 = 64 << 20;
    let bench = Bench::new(48, 2);
    let samples: Vec<u64> = blank_samples(BYTES).collect();
    assert_eq!(samples.first(), Some(&(4 << 20)), "where segments begin");
    assert!(samples.len() > 10 && blank_samples(1 << 40).count() <= 256);
    let disks = [bench.world.add_disk(BYTES), bench.world.add_disk(BYTES)];
    bench.world.poke(disks[1], samples[3] + 17, b"mail");
    let (io, settings) = (bench.world.io(), settings());
    let blank = |disks: Vec<DeviceIndex>| {
        let (io, settings) = (io.clone(), settings.clone());
        bench
            .world
            .block_on(async move { Volume::check_blank(&io, &disks, &settings, 1).await })
    };
    assert!(blank(vec![disks[0]]).is_ok());
    assert!(blank(disks.to_vec()).is_err());
}

/// Likewise a disk that cannot be read: that is not blank.
#[test]
fn a_disk_that_cannot_be_read_is_never_formatted_over() {
    let bench = cut_short(30).expect("a first start takes more operations");
    bench
        .world
        .with_disk(bench.disks[0], |disk| disk.mark_bad(16));
    let before = bench.world.peek(bench.disks[0], 0, 1 << 20);
    create(&bench, 47).expect_err("one block does not answer");
    assert!(before == bench.world.peek(bench.disks[0], 0, 1 << 20));
}

/// Every whole superblock copy on `disk`, as if format `major` had written it.
fn rewrite_as(bench: &Bench, disk: DeviceIndex, major: u16) {
    let bytes = bench.world.peek(disk, 0, LEG_BYTES as usize);
    for at in (0..bytes.len()).step_by(4096) {
        if !bytes[at..].starts_with(b"RPSUPER1") {
            continue;
        }
        let mut slot = bytes[at..at + 4096].to_vec();
        slot[8..10].copy_from_slice(&major.to_le_bytes());
        let check = base::hash::xxh3_128(&slot[..4080], base::hash::seed(&[at as u64]));
        slot[4080..].copy_from_slice(&check.to_le_bytes());
        bench.world.poke(disk, at as u64, &slot);
    }
}

#[test]
fn a_leg_of_another_format_is_refused_with_the_fix_and_nothing_is_written_to_it() {
    for (major, says) in [
        (1, "format 1, which only development versions"),
        (3, "newer release"),
    ] {
        let bench = Bench::new(48, 2);
        let volume = bench.open();
        bench.append(&volume, &letter(1, 500)).expect("durable");
        drop(volume);
        bench.world.crash();
        bench
            .disks
            .iter()
            .for_each(|disk| rewrite_as(&bench, *disk, major));
        let whole = |disk: usize| bench.world.peek(bench.disks[disk], 0, LEG_BYTES as usize);
        let before = [whole(0), whole(1)];
        let refusal = bench
            .try_open(&bench.disks)
            .map(drop)
            .expect_err("it is not opened");
        assert!(refusal.to_string().contains(says), "{major}: {refusal}");
        assert!(before == [whole(0), whole(1)], "{major}");
        let refusal = create(&bench, 1).expect_err("a leg is never formatted over");
        assert!(refusal.to_string().contains(says), "{major}: {refusal}");
    }
}
