//! What is on a disk, and whose leg it is: the one that the engine reported by its id.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hardware::content::{self, HEAD_BYTES};
use hardware::health::Holds;

/// What is on a device, and the id of the leg whose it is. `None` proves nothing: its superblocks may be damaged.
pub fn look(path: &Path) -> (Holds, Option<String>) {
    match content::look(path) {
        Holds::Leg => (Holds::Leg, leg_on(path)),
        holds => (holds, None),
    }
}

fn leg_on(path: &Path) -> Option<String> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let file = File::open(path).ok()?;
    file.take(HEAD_BYTES as u64).read_to_end(&mut head).ok()?;
    let (_, leg) = volume::leg_on(&head)?;
    Some(leg.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `hardware` may not see the engine; here both are seen. That a real leg is known as one is in `tests/real/operator.rs`.
    #[test]
    fn what_is_looked_at_is_where_the_engine_writes() {
        assert_eq!(HEAD_BYTES, volume::HEAD_BYTES);
        for length in [0, 1, 8 << 20, 9 << 20, 1 << 30, 3 << 40] {
            let ours: Vec<u64> = content::blank_samples(length).collect();
            let engine: Vec<u64> = volume::blank_samples(length).collect();
            assert_eq!(ours, engine, "{length}");
        }
    }
}
