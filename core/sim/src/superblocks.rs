//! Damage to the newest superblock of a leg: only where its copies lie is known here (`core/volume/FORMAT.md`, the small frame).

use base::hash;
use device::DeviceIndex;
use device::sim::SimWorld;

const RING_SLOTS: u64 = 16;
const BLOCK_BYTES: u64 = 4096;
/// The number of a superblock in its slot: behind the slot's head (64 bytes) and the volume's name (16).
const NUMBER_AT: usize = 64 + 16;
/// The checksum of a slot, at its end, over all before it and seeded with its offset.
const CHECK_BYTES: usize = 16;

/// The rings H0, T0, H1, T1 of a leg below 64 MiB.
fn rings(capacity_bytes: u64) -> [u64; 4] {
    assert!(capacity_bytes < 64 << 20, "the small frame only");
    [
        64 << 10,
        capacity_bytes - (128 << 10),
        128 << 10,
        capacity_bytes - (64 << 10),
    ]
}

/// Number and byte offset of every copy of a superblock on `leg` that a reader would accept.
fn copies(world: &SimWorld, leg: DeviceIndex) -> Vec<(u64, u64)> {
    world.with_disk(leg, |medium| {
        let bad = medium.bad_blocks();
        let slots = rings(medium.capacity_bytes()).into_iter();
        let slots =
            slots.flat_map(|ring| (0..RING_SLOTS).map(move |slot| ring + slot * BLOCK_BYTES));
        let whole = slots.filter(|at| !bad.contains(&(at / BLOCK_BYTES)));
        whole
            .filter_map(|at| {
                let mut slot = [0; BLOCK_BYTES as usize];
                medium.peek(at, &mut slot);
                let (said, check) = slot.split_last_chunk::<CHECK_BYTES>()?;
                let number = said[NUMBER_AT..].first_chunk()?;
                let good = slot.starts_with(b"RPSUPER1")
                    && *check == hash::xxh3_128(said, hash::seed(&[at])).to_le_bytes();
                good.then(|| (u64::from_le_bytes(*number), at))
            })
            .collect()
    })
}

/// Byte offsets of the copies of the newest superblock on `leg`, and how many copies there are of the one before.
fn newest(world: &SimWorld, leg: DeviceIndex) -> (Vec<u64>, usize) {
    let copies = copies(world, leg);
    let numbers = || copies.iter().map(|(number, _)| *number);
    let newest = numbers().max();
    let before = numbers().filter(|number| Some(*number) != newest).max();
    let older = numbers().filter(|number| Some(*number) == before).count();
    let of_newest = copies.iter().filter(|(number, _)| Some(*number) == newest);
    (of_newest.map(|(_, at)| *at).collect(), older)
}

/// Spoils `count` copies of the newest superblock on `leg`, chosen by `dice`: flipped bits, or blocks that cannot be read. Nothing where not
/// all four copies were written: a power cut may have done as much already. Two copies are left where there is no older superblock that has
/// two: a leg without any such superblock does not say what it is, and the volume is right to refuse it.
pub fn damage(world: &SimWorld, leg: DeviceIndex, count: usize, dice: &mut fastrand::Rng) {
    let (mut copies, older) = newest(world, leg);
    if copies.len() < 4 {
        return;
    }
    let count = if older < 2 { count.min(2) } else { count };
    dice.shuffle(&mut copies);
    for at in copies.into_iter().take(count) {
        if dice.bool() {
            world.flip_bit(leg, at + dice.u64(..BLOCK_BYTES), dice.u8(..8));
        } else {
            world.with_disk(leg, |medium| medium.mark_bad(at / BLOCK_BYTES));
        }
    }
}
