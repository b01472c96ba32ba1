//! Which outcomes of a power cut to try: every one while there are few, the telling ones beyond.

use device::sim::{Landing, PowerCut};
use fastrand::Rng;

use crate::limits::{OUTCOMES_MAX, SUBSET_WRITES_MAX, TORN_WRITES_MAX};

/// A landing for each write in flight.
pub type Outcome = Vec<Landing>;

/// Every combination for up to `TORN_WRITES_MAX` writes; every subset (and each write torn alone) up to
/// `SUBSET_WRITES_MAX`; beyond, every prefix and a draw of `OUTCOMES_MAX`.
pub fn outcomes(cut: &PowerCut, rng: &mut Rng) -> Vec<Outcome> {
    let writes = cut.writes.len();
    if writes <= TORN_WRITES_MAX {
        return combinations(cut);
    }
    if writes <= SUBSET_WRITES_MAX {
        let mut all: Vec<Outcome> = (0..1_usize << writes)
            .map(|subset| whole(writes, |at| subset >> at & 1 == 1))
            .collect();
        for torn in 0..writes {
            let mut outcome = whole(writes, |_| true);
            outcome[torn] = Landing::Before(1);
            all.push(outcome);
            let mut outcome = whole(writes, |_| false);
            outcome[torn] = Landing::From(1);
            all.push(outcome);
        }
        return all;
    }
    let mut all: Vec<Outcome> = (0..=writes)
        .map(|count| whole(writes, |at| at < count))
        .collect();
    while all.len() < OUTCOMES_MAX {
        let draw = |rng: &mut Rng| match rng.u8(..4) {
            0 => Landing::Nothing,
            1 => Landing::All,
            2 => Landing::Before(1),
            _ => Landing::Random,
        };
        all.push((0..writes).map(|_| draw(rng)).collect());
    }
    all
}

fn whole(writes: usize, lands: impl Fn(usize) -> bool) -> Outcome {
    (0..writes)
        .map(|at| {
            if lands(at) {
                Landing::All
            } else {
                Landing::Nothing
            }
        })
        .collect()
}

fn combinations(cut: &PowerCut) -> Vec<Outcome> {
    let mut all = vec![Vec::new()];
    for write in &cut.writes {
        let sectors = write.bytes().len() / device::limits::SECTOR_BYTES;
        // The header alone, everything but the header, and all but the last sector: what a checksum must tell apart.
        let choices = [
            Landing::Nothing,
            Landing::All,
            Landing::Before(1),
            Landing::From(1),
            Landing::Before(sectors - 1),
        ];
        let longer = all.iter().flat_map(|outcome| {
            choices.iter().map(move |choice| {
                let mut longer: Outcome = outcome.clone();
                longer.push(*choice);
                longer
            })
        });
        all = longer.collect();
    }
    all
}
