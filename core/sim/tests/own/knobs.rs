//! Kinds of accidents: each is drawn, unless the engine does not survive it yet.

use fastrand::Rng;
use sim::knobs::{Knobs, NOT_YET_SURVIVED, is_survived};

#[test]
fn what_is_not_yet_survived_is_a_knob_and_is_not_drawn() {
    for (name, finding) in NOT_YET_SURVIVED {
        assert!(Knobs::NAMES.contains(name), "{name}");
        assert!(finding.starts_with('E'), "{finding}");
    }
    let mut rng = Rng::with_seed(1);
    let drawn: Vec<Knobs> = (0..50).map(|_| Knobs::draw(&mut rng)).collect();
    assert!(drawn.iter().any(|knobs| knobs.superblocks));
    let off = |name: &str| !is_survived(name);
    assert!(!off("full_volume") || drawn.iter().all(|knobs| !knobs.full_volume));
}
