//! One input made into another, by one seeded random source.

use fastrand::Rng;

/// Inputs stay below this: longer ones only make a run slow.
pub const INPUT_BYTES_MAX: usize = 16 * 1_024;

/// Numbers that sit on edges, as little-endian bytes of 1, 2, 4 or 8.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    u64::MAX - 1,
    u64::MAX,
];

/// Changes `input` a few times. `other` is a second seed to borrow from; `words` are what the target's grammar is made of.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut Rng) {
    for _ in 0..1 + random.usize(..4) {
        once(input, other, words, random);
    }
    input.truncate(INPUT_BYTES_MAX);
}

fn once(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut Rng) {
    let at = random.usize(..=input.len());
    match random.u8(..12) {
        0 | 1 if !input.is_empty() => {
            let at = random.usize(..input.len());
            input[at] ^= 1 << random.u8(..8);
        }
        2 if !input.is_empty() => {
            let at = random.usize(..input.len());
            input[at] = random.u8(..);
        }
        3 => {
            let bytes = EDGES[random.usize(..EDGES.len())].to_le_bytes();
            let width = 1usize << random.u8(..4);
            let end = (at + width).min(input.len());
            input[at..end].copy_from_slice(&bytes[..end - at]);
        }
        4 => {
            let end = run(at, input.len(), random);
            input.drain(at..end);
        }
        5 => {
            let end = run(at, input.len(), random);
            let piece = input[at..end].to_vec();
            let copies_max = if random.u8(..8) == 0 { 200 } else { 3 };
            let copies = 1 + random.usize(..copies_max);
            let piece = piece.repeat(copies.min(1 + INPUT_BYTES_MAX / (piece.len() + 1)));
            input.splice(at..at, piece);
        }
        6 => {
            let piece: Vec<u8> = (0..random.usize(..8)).map(|_| random.u8(..)).collect();
            input.splice(at..at, piece);
        }
        7 => input.truncate(at),
        8 if !other.is_empty() => {
            let from = random.usize(..other.len());
            let end = run(from, other.len(), random);
            input.splice(at..at, other[from..end].iter().copied());
        }
        9 if !other.is_empty() => {
            input.truncate(at);
            input.extend_from_slice(&other[random.usize(..other.len())..]);
        }
        _ if !words.is_empty() => input
            .splice(at..at, words[random.usize(..words.len())].iter().copied())
            .for_each(drop),
        _ => input.push(random.u8(..)),
    }
}

/// The end of a stretch that begins at `at`: mostly short, now and then anything.
fn run(at: usize, length: usize, random: &mut Rng) -> usize {
    let left = length - at;
    let bound = if random.u8(..4) == 0 {
        left
    } else {
        left.min(24)
    };
    at + random.usize(..=bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_inputs_stay_bounded() {
        let sequence = |seed| {
            let mut random = Rng::with_seed(seed);
            let mut input = b"EHLO x\r\n".to_vec();
            let mut sums = Vec::new();
            for _ in 0..5_000 {
                mutate(
                    &mut input,
                    b"MAIL FROM:<>\r\n",
                    &[b"\r\n", b"BDAT"],
                    &mut random,
                );
                assert!(input.len() <= INPUT_BYTES_MAX);
                sums.push(base::hash::xxh3_64(&input, 0));
            }
            sums
        };
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
    }
}
