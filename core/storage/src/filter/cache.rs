//! Compiled scripts, bounded in bytes; the one that was used least lately goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sieve::Script;

use super::Head;

/// Of compiled scripts in memory. A script of ten rules takes some 5 KiB.
pub const CACHE_BYTES_MAX: usize = 64 << 20;
/// What an entry takes beside its script: its head twice, and its places in two tables.
const ENTRY_BYTES: usize = 400;

pub(super) struct Cache {
    bytes_max: usize,
    bytes: usize,
    scripts: HashMap<Head, (Arc<Script>, u64)>,
    /// By when they were used last.
    order: BTreeMap<u64, Head>,
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

    pub fn find(&mut self, head: &Head) -> Option<Arc<Script>> {
        let (script, used) = self.scripts.get_mut(head)?;
        self.turn += 1;
        if let Some(head) = self.order.remove(used) {
            self.order.insert(self.turn, head);
        }
        *used = self.turn;
        Some(script.clone())
    }

    /// An older version of the same script stays until it is the least used one.
    pub fn keep(&mut self, head: Head, script: Arc<Script>) {
        if self.scripts.contains_key(&head) {
            return;
        }
        self.turn += 1;
        self.bytes += bytes_of(&head, &script);
        self.order.insert(self.turn, head.clone());
        self.scripts.insert(head, (script, self.turn));
        // Ends: each turn takes one out.
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            if let Some((script, _)) = self.scripts.remove(&oldest) {
                self.bytes -= bytes_of(&oldest, &script);
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn bytes_of(head: &Head, script: &Script) -> usize {
    ENTRY_BYTES + 2 * head.name.len() + script.bytes()
}

#[cfg(test)]
mod tests {
    use mailbox::AccountId;

    use super::*;
    use crate::filter::Owner;

    fn head(number: u32) -> Head {
        Head {
            owner: Owner::Account(AccountId(number)),
            name: "main".to_owned(),
            version: 1,
        }
    }

    #[test]
    fn the_least_used_script_goes_and_the_bytes_stay_bounded() {
        let script = Arc::new(Script::compile(b"keep;").expect("a script"));
        let each = bytes_of(&head(0), &script);
        let mut cache = Cache::new(3 * each);
        for number in 0..3 {
            cache.keep(head(number), script.clone());
        }
        assert!(cache.find(&head(0)).is_some());
        cache.keep(head(3), script.clone());
        assert!(cache.find(&head(1)).is_none(), "it was used least lately");
        assert!(cache.find(&head(0)).is_some() && cache.find(&head(3)).is_some());
        assert_eq!(cache.bytes(), 3 * each);
        let changed = Head {
            version: 2,
            ..head(0)
        };
        assert!(
            cache.find(&changed).is_none(),
            "another text is another script"
        );
        assert_eq!(cache.order.len(), cache.scripts.len());
    }
}
