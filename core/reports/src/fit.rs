//! What of an addition fits the bounds: decided before it is written, so that a record is applied as it is, live and in replay.

use std::collections::BTreeMap;

use crate::limits::*;
use crate::sheet::{Addition, Sheet, Subject, line_cost};
use crate::state::State;

/// Additions that fit, on top of a state and of each other.
pub(crate) struct Fitting<'s> {
    state: &'s State,
    /// What `fitted` cost more, and how many sheets of it are new, by subject.
    more: BTreeMap<Subject, (usize, usize)>,
    pub fitted: Vec<Addition>,
    /// What was counted and is not in any sheet.
    pub lost: u64,
}

impl<'s> Fitting<'s> {
    pub fn on(state: &'s State) -> Fitting<'s> {
        Fitting {
            state,
            more: BTreeMap::new(),
            fitted: Vec::new(),
            lost: 0,
        }
    }

    /// Takes what fits of it; lines past a bound are counted as `other`, or as lost where there is no sheet for them.
    pub fn take(&mut self, mut addition: Addition) {
        let counted = addition.lines.iter().map(|(_, count)| *count);
        let total = counted.fold(addition.other, u64::saturating_add);
        let key = &addition.key;
        let there = self.state.sheets.get(key);
        if let (Some(once), Some(sheet)) = (&addition.once, there)
            && sheet.lines.contains_key(once)
        {
            return;
        }
        let (bytes, sheets) = self.more.get(&key.subject).copied().unwrap_or_default();
        let cost = self.state.bytes_of(key.subject) + bytes;
        let is_new = there.is_none();
        let room = match there {
            Some(sheet) => !sheet.is_closed,
            None => {
                let on_day = self.state.count_on(key.subject, key.day) + sheets;
                let costs = SHEET_COST_BYTES + key.name.len() + HEAD_BYTES_MAX;
                self.state.count_of(key.subject) + sheets < SHEETS_MAX
                    && on_day < SHEETS_PER_DAY_MAX
                    && cost + costs <= CONTENT_BYTES_MAX
            }
        };
        if !room || key.day < self.state.floor(key.subject) {
            self.lost = self.lost.saturating_add(total);
            return;
        }
        let empty = Sheet::default();
        let sheet = there.unwrap_or(&empty);
        let before = match is_new {
            true => 0,
            false => sheet.cost(&key.name),
        };
        let heads = addition.head.len().saturating_sub(sheet.head.len());
        let mut grown = match is_new {
            true => SHEET_COST_BYTES + key.name.len() + heads,
            false => heads,
        };
        let mut count = sheet.lines.len();
        // A sheet has room for the longest head from its beginning.
        let spare = HEAD_BYTES_MAX
            - sheet
                .head
                .len()
                .max(addition.head.len())
                .min(HEAD_BYTES_MAX);
        let fits = |more: usize, count: usize| {
            count < LINES_PER_SHEET_MAX
                && before + more + spare <= SHEET_BYTES_MAX
                && cost + more <= CONTENT_BYTES_MAX
        };
        if let Some(once) = &addition.once {
            let more = grown + line_cost(once);
            if !fits(more, count) {
                // Without its mark it would count again.
                self.lost = self.lost.saturating_add(total);
                return;
            }
            (grown, count) = (more, count + 1);
        }
        let mut other = addition.other;
        addition.lines.retain(|(line, counted)| {
            if sheet.lines.contains_key(line) {
                return true;
            }
            let more = grown + line_cost(line);
            let is_taken = line.len() <= LINE_BYTES_MAX && fits(more, count);
            match is_taken {
                true => (grown, count) = (more, count + 1),
                false => other = other.saturating_add(*counted),
            }
            is_taken
        });
        addition.other = other;
        let more = (bytes + grown, sheets + usize::from(is_new));
        self.more.insert(addition.key.subject, more);
        self.fitted.push(addition);
    }
}
