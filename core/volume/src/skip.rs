//! Stretches of the log that were given up.

use crate::format::{Header, Inline, Kind};
use crate::types::*;

/// A stretch of the log that was given up: it held only the volume's own batches, or the operator accepted its loss.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Skip {
    /// The last batch before the stretch.
    pub after: Lsn,
    /// The last number in the stretch.
    pub until: Lsn,
    /// The chain value of the batch numbered `until`.
    pub chain: u128,
}

impl Skip {
    /// What this batch says was given up.
    pub fn all_of(header: &Header) -> Vec<Skip> {
        if header.kind != Kind::Records {
            return Vec::new();
        }
        let records = header.records().unwrap_or_default().into_iter();
        let skips = records.filter_map(|record| match record {
            Inline::Skip {
                after,
                until,
                chain,
            } => Some(Skip {
                after,
                until,
                chain,
            }),
            _ => None,
        });
        skips.collect()
    }

    /// The record that says so.
    pub fn record(&self) -> Inline {
        Inline::Skip {
            after: self.after,
            until: self.until,
            chain: self.chain,
        }
    }

    /// Whether `lsn` is in the stretch.
    pub fn covers(&self, lsn: Lsn) -> bool {
        self.after < lsn && lsn <= self.until
    }
}
