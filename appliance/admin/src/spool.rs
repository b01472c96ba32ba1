//! What is asked about the spool.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    Show,
    /// What waits, and behind it the copies.
    List {
        #[serde(default)]
        count: Option<usize>,
    },
    /// Copies that storage took over at this time or later are handed over again; `None`: all copies.
    Redeliver {
        #[serde(default)]
        since_unix_s: Option<u64>,
    },
    Scrub,
    /// Legs and known damage; `full`: also every live byte and every message.
    Fsck {
        full: bool,
    },
    /// What no leg has is named; `yes`: it is given up.
    AcceptDamage {
        yes: bool,
    },
    LegList,
    LegAttach {
        path: String,
        fresh: bool,
    },
    LegDetach {
        leg: String,
    },
    LegFail {
        leg: String,
    },
    LegRetire {
        leg: String,
    },
}
