//! Compiled scripts, bounded in bytes; the one that was used least lately goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ::scripts::Version;
use sieve::Script;

/// Of compiled scripts in memory: some 3,000 of ten rules, which take 5 KiB each. The plan counts them (`plan::limits::FILTER_BYTES`).
pub const CACHE_BYTES_MAX: usize = 16 << 20;
/// What an entry takes beside its script: its version twice, and its places in two tables.
const ENTRY_BYTES: usize = 200;

pub(super) struct Cache {
    bytes_max: usize,
    bytes: usize,
    scripts: HashMap<Version, (Arc<Script>, u64)>,
    /// By when they were used last.
    order: BTreeMap<u64, Version>,
    turn: u64,
}

impl Cache {
    pub fn new(bytes_max: usize) -> Cache {
        Cache {
            bytes_max,
            bytes: 0,
            scripts: HashMap::new(),
            order: BTreeMap::new(),
            turn: 0,
        }
    }

    pub fn find(&mut self, version: Version) -> Option<Arc<Script>> {
        let (script, used) = self.scripts.get_mut(&version)?;
        self.turn += 1;
        self.order.remove(used);
        self.order.insert(self.turn, version);
        *used = self.turn;
        Some(script.clone())
    }

    /// The same text is there once, however many owners have it. One that was replaced stays until it is the least used one.
    pub fn keep(&mut self, version: Version, script: Arc<Script>) {
        if self.scripts.contains_key(&version) {
            return;
        }
        self.turn += 1;
        self.bytes += bytes_of(&script);
        self.order.insert(self.turn, version);
        self.scripts.insert(version, (script, self.turn));
        // Ends: each turn takes one out.
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            if let Some((script, _)) = self.scripts.remove(&oldest) {
                self.bytes -= bytes_of(&script);
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn bytes_of(script: &Script) -> usize {
    ENTRY_BYTES + script.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u8) -> Version {
        Version::of(&[number])
    }

    /// What the bound means for people: the figures of STATUS.md.
    #[test]
    fn so_many_scripts_of_fifty_rules_are_kept() {
        let mut text = "require [\"fileinto\", \"imap4flags\"];\r\n".to_owned();
        for rule in 0..25 {
            text += &format!(
                "if header :contains [\"Subject\", \"List-Id\"] \"project {rule}\" {{ fileinto \"Projects/{rule}\"; stop; }}\r\n\
                 if address :is \"From\" [\"person{rule}@example.com\", \"other{rule}@example.com\"] {{ addflag \"\\\\Flagged\"; }}\r\n"
            );
        }
        let script = Script::compile(text.as_bytes()).expect("a script");
        let kept = CACHE_BYTES_MAX / bytes_of(&script);
        assert!(
            (SCRIPTS_MIN..2 * SCRIPTS_MIN).contains(&kept),
            "{kept} of {} bytes",
            bytes_of(&script)
        );
    }

    const SCRIPTS_MIN: usize = 400;

    #[test]
    fn the_least_used_script_goes_and_the_bytes_stay_bounded() {
        let script = Arc::new(Script::compile(b"keep;").expect("a script"));
        let each = bytes_of(&script);
        let mut cache = Cache::new(3 * each);
        for number in 0..3 {
            cache.keep(version(number), script.clone());
        }
        assert!(cache.find(version(0)).is_some());
        cache.keep(version(3), script.clone());
        assert!(cache.find(version(1)).is_none(), "it was used least lately");
        assert!(cache.find(version(0)).is_some() && cache.find(version(3)).is_some());
        assert_eq!(cache.bytes(), 3 * each);
        assert_eq!(cache.order.len(), cache.scripts.len());
    }
}
