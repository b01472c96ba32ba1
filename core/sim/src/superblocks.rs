//! Damage to the newest superblock of a leg: only where its copies lie is known here (`core/volume/FORMAT.md`, the small frame).

use device::DeviceIndex;
use device::sim::SimWorld;

const RING_SLOTS: u64 = 16;
const BLOCK_BYTES: u64 = 4096;
/// The number of a superblock in its slot: behind the slot's head (64 bytes) and the volume's name (16).
const NUMBER_AT: u64 = 64 + 16;

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

/// Byte offsets of the copies of the newest superblock on `leg`, and how many copies there are of the one before.
fn newest(world: &SimWorld, leg: DeviceIndex) -> (Vec<u64>, usize) {
    world.with_disk(leg, |medium| {
        let mut copies: Vec<(u64, u64)> = Vec::new();
        for ring in rings(medium.capacity_bytes()) {
            for slot in 0..RING_SLOTS {
                let at = ring + slot * BLOCK_BYTES;
                let mut magic = [0; 8];
                medium.peek(at, &mut magic);
                let mut number = [0; 8];
                medium.peek(at + NUMBER_AT, &mut number);
                if magic == *b"RPSUPER1" {
                    copies.push((u64::from_le_bytes(number), at));
                }
            }
        }
        let newest = copies.iter().map(|(number, _)| *number).max().unwrap_or(0);
        let before = copies
            .iter()
            .map(|(number, _)| *number)
            .filter(|number| *number < newest)
            .max();
        let older = copies
            .iter()
            .filter(|(number, _)| Some(*number) == before)
            .count();
        copies.retain(|(number, _)| *number == newest);
        (copies.into_iter().map(|(_, at)| at).collect(), older)
    })
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
