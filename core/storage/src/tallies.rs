//! Counts for reports: gathered in memory by the cores that see something, written down together, and read by what reports.
//!
//! What must hold:
//! - Accepting or sending mail waits for nothing here: a note is a short look at a map, and one flush a minute takes all of them to the log.
//!   A power cut loses the counts of that minute.
//! - What is gathered is bounded; beyond it a count loses its line, and then itself, and both are counted. `places.rs` bounds what one network brings.
//!
//! `outgoing/reporting.rs` puts reports into the queue and runs the flush.

mod places;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::host::{Sender, oneshot};
use reports::limits::ADDITIONS_PER_GROUP_MAX;
use reports::{Addition, Day, Key, ReportFault, Reports, Subject};

use places::Places;

/// How mail of a domain's authors was authenticated here, by the domain whose record was applied.
pub const DMARC_SEEN: Subject = Subject(0);
/// How connections to a domain's servers went.
pub const TLS_SEEN: Subject = Subject(1);
/// What others report of mail that claims to be from a domain of ours.
pub const DMARC_HEARD: Subject = Subject(2);
/// What others report of connections to our servers.
pub const TLS_HEARD: Subject = Subject(3);

/// Shared by all cores. Clones are the same.
#[derive(Clone, Default)]
pub struct Tallies {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    gathered: Mutex<Gathered>,
    places: Mutex<Places>,
    /// Reports of others that wait for the next flush, and their bytes.
    heard: Mutex<(Vec<Vec<Addition>>, usize)>,
    figures: Figures,
}

/// Any thread may read them.
#[derive(Debug, Default)]
pub struct Figures {
    /// Noted since start.
    pub noted: AtomicU64,
    /// Of them, those that found no room.
    pub lost: AtomicU64,
    /// Reports of others that were counted.
    pub heard: AtomicU64,
    /// Reports that entered the queue, or were posted.
    pub sent: AtomicU64,
    /// Reports that could not be made or went nowhere.
    pub failed: AtomicU64,
    /// Now: sheets on the volume, and what they cost in bytes.
    pub sheets: AtomicU64,
    pub bytes: AtomicU64,
}

/// What waits for the next flush.
#[derive(Default)]
struct Gathered {
    sheets: BTreeMap<Key, Counts>,
    bytes: usize,
}

/// Of one sheet.
#[derive(Default)]
struct Counts {
    head: Vec<u8>,
    lines: BTreeMap<Vec<u8>, u64>,
    other: u64,
}

/// Which reports are wanted at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    pub day: Option<Day>,
    pub domain: Option<String>,
}

/// A request for reports, and where to answer.
pub struct Asked {
    pub wanted: Wanted,
    pub answer: Sender<Vec<Done>>,
}

/// What came of one sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub key: Key,
    /// Where it goes; empty: nowhere.
    pub to: Vec<String>,
    /// Why not, for people.
    pub why: String,
}

impl Tallies {
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// As `note`, of what a stranger at `peer` sent: its network brings so many new domains into a day.
    pub fn note_from(&self, peer: IpAddr, key: &Key, head: &[u8], line: &[u8]) {
        let places = self.shared.places.lock();
        let mut places = places.unwrap_or_else(PoisonError::into_inner);
        if !places.admits(key, peer) {
            drop(places);
            self.shared.figures.noted.fetch_add(1, Relaxed);
            self.shared.figures.lost.fetch_add(1, Relaxed);
            return;
        }
        drop(places);
        self.note(key, head, line);
    }

    /// One more of `line`. `head` is kept with the sheet; the last one counts.
    pub fn note(&self, key: &Key, head: &[u8], line: &[u8]) {
        self.shared.figures.noted.fetch_add(1, Relaxed);
        // No sheet takes it: with it, its group would be refused.
        if !key.is_valid() || head.len() > reports::limits::HEAD_BYTES_MAX {
            self.shared.figures.lost.fetch_add(1, Relaxed);
            return;
        }
        let mut gathered = self.gathered();
        let cost = line.len() + LINE_COST_BYTES;
        let is_full = gathered.bytes + cost > GATHERED_BYTES_MAX;
        if !gathered.sheets.contains_key(key) {
            let more = SHEET_COST_BYTES + key.name.len() + head.len();
            if is_full || gathered.bytes + more + cost > GATHERED_BYTES_MAX {
                self.shared.figures.lost.fetch_add(1, Relaxed);
                return;
            }
            gathered.bytes += more;
            let counts = Counts {
                head: head.to_vec(),
                ..Counts::default()
            };
            gathered.sheets.insert(key.clone(), counts);
        }
        let room = GATHERED_BYTES_MAX.saturating_sub(gathered.bytes);
        let Some(sheet) = gathered.sheets.get_mut(key) else {
            return;
        };
        let mut grown = 0;
        let longer = head.len().saturating_sub(sheet.head.len());
        if sheet.head != head && longer <= room {
            // A shorter one leaves its room counted until the flush.
            sheet.head = head.to_vec();
            grown += longer;
        }
        match sheet.lines.get_mut(line) {
            Some(count) => *count += 1,
            None if is_full || grown + cost > room => sheet.other += 1,
            None => {
                sheet.lines.insert(line.to_vec(), 1);
                grown += cost;
            }
        }
        gathered.bytes += grown;
    }

    /// The figures of a report of others, one addition for each domain. `false`: there is no room until the next flush.
    pub fn hear(&self, additions: Vec<Addition>) -> bool {
        let cost = |one: &Addition| {
            let lines = one.lines.iter();
            let bytes: usize = lines.map(|(line, _)| line.len() + LINE_COST_BYTES).sum();
            let mark = one.once.as_ref().map_or(0, Vec::len);
            bytes + SHEET_COST_BYTES + one.key.name.len() + one.head.len() + mark
        };
        let bytes: usize = additions.iter().map(cost).sum();
        let mut heard = self.heard();
        if heard.1 + bytes > HEARD_BYTES_MAX {
            self.shared.figures.lost.fetch_add(1, Relaxed);
            return false;
        }
        heard.1 += bytes;
        heard.0.push(additions);
        true
    }

    /// What was heard, taken out.
    pub(crate) fn take_heard(&self) -> Vec<Vec<Addition>> {
        std::mem::take(&mut *self.heard()).0
    }

    fn heard(&self) -> MutexGuard<'_, (Vec<Vec<Addition>>, usize)> {
        let heard = self.shared.heard.lock();
        heard.unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what was gathered. `Err`: the rest stays gathered.
    pub(crate) async fn flush_gathered(&self, reports: &Reports) -> Result<(), ReportFault> {
        let all = std::mem::take(&mut *self.gathered());
        let mut rest = all.sheets.into_iter();
        loop {
            // until all is written
            let some = rest.by_ref().take(ADDITIONS_PER_GROUP_MAX);
            let additions: Vec<Addition> = some.map(|(key, sheet)| addition(key, sheet)).collect();
            if additions.is_empty() {
                break;
            }
            match reports.add(additions.clone()).await {
                Ok(lost) => _ = self.shared.figures.lost.fetch_add(lost, Relaxed),
                // They would be refused for ever, and keep the others waiting.
                Err(fault @ ReportFault::Refused(_)) => {
                    let lost = additions.len() as u64;
                    self.shared.figures.lost.fetch_add(lost, Relaxed);
                    tracing::warn!(%fault, "counts for reports are lost");
                }
                Err(fault) => {
                    let rest = rest.map(|(key, sheet)| addition(key, sheet));
                    self.put_back(additions.into_iter().chain(rest));
                    return Err(fault);
                }
            }
        }
        let (sheets, bytes) = reports.count();
        self.shared.figures.sheets.store(sheets as u64, Relaxed);
        self.shared.figures.bytes.store(bytes as u64, Relaxed);
        Ok(())
    }

    /// What could not be written waits again, beside what came meanwhile and within the same bound: what has no room is a sum, or is lost.
    fn put_back(&self, additions: impl Iterator<Item = Addition>) {
        let mut gathered = self.gathered();
        let Gathered { sheets, bytes } = &mut *gathered;
        for one in additions {
            let more = SHEET_COST_BYTES + one.key.name.len() + one.head.len();
            let sheet = match sheets.entry(one.key) {
                Entry::Vacant(_) if *bytes + more > GATHERED_BYTES_MAX => {
                    let lines = one.lines.iter();
                    let lost = lines.fold(one.other, |sum, (_, count)| sum.saturating_add(*count));
                    self.shared.figures.lost.fetch_add(lost, Relaxed);
                    continue;
                }
                Entry::Vacant(place) => {
                    *bytes += more;
                    place.insert(Counts {
                        head: one.head,
                        ..Counts::default()
                    })
                }
                Entry::Occupied(there) => there.into_mut(),
            };
            sheet.other = sheet.other.saturating_add(one.other);
            for (line, count) in one.lines {
                let cost = line.len() + LINE_COST_BYTES;
                match sheet.lines.entry(line) {
                    Entry::Occupied(mut there) => {
                        *there.get_mut() = there.get().saturating_add(count);
                    }
                    Entry::Vacant(_) if *bytes + cost > GATHERED_BYTES_MAX => {
                        sheet.other = sheet.other.saturating_add(count);
                    }
                    Entry::Vacant(place) => {
                        *bytes += cost;
                        place.insert(count);
                    }
                }
            }
        }
    }

    /// What waits for the next flush, for tests: notes, then reports of others.
    #[doc(hidden)]
    pub fn waiting(&self) -> Vec<Addition> {
        let gathered = self.gathered();
        let notes = gathered.sheets.iter().map(|(key, sheet)| Addition {
            key: key.clone(),
            head: sheet.head.clone(),
            once: None,
            lines: sheet.lines.clone().into_iter().collect(),
            other: sheet.other,
        });
        let mut all: Vec<Addition> = notes.collect();
        drop(gathered);
        all.extend(self.heard().0.iter().flatten().cloned());
        all
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        // Whoever panicked in there left counts, which are counts still.
        let gathered = self.shared.gathered.lock();
        gathered.unwrap_or_else(PoisonError::into_inner)
    }
}

fn addition(key: Key, sheet: Counts) -> Addition {
    Addition {
        key,
        head: sheet.head,
        once: None,
        lines: sheet.lines.into_iter().collect(),
        other: sheet.other,
    }
}

/// A request and where its answer comes.
pub(crate) fn asked(wanted: Wanted) -> (Asked, base::host::Receiver<Vec<Done>>) {
    let (answer, receiver) = oneshot();
    (Asked { wanted, answer }, receiver)
}

/// How long sheets stay. What was seen is reported the day after; a report that finds no way by the end of the third day is not made any more.
pub const KEPT_DAYS: [(Subject, u32); 4] = [
    (DMARC_SEEN, 4),
    (TLS_SEEN, 4),
    (DMARC_HEARD, 60),
    (TLS_HEARD, 60),
];

/// Figures of others that come in within a minute.
const HEARD_BYTES_MAX: usize = 1 << 20;
/// What is gathered of one minute.
const GATHERED_BYTES_MAX: usize = 1 << 20;
const LINE_COST_BYTES: usize = 80;
const SHEET_COST_BYTES: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(subject: Subject, name: &str) -> Key {
        Key {
            subject,
            day: Day(20_000),
            name: name.to_owned(),
        }
    }

    #[test]
    fn what_is_gathered_is_bounded_and_what_is_lost_is_counted() {
        let tallies = Tallies::default();
        let of = key(TLS_SEEN, "a.example");
        for line in 0..20_000u32 {
            tallies.note(&of, b"", &line.to_be_bytes());
        }
        let other = tallies.gathered().sheets[&of].other;
        assert!(other > 0, "the sheet is there, and its lines are too many");
        assert!(tallies.gathered().bytes <= GATHERED_BYTES_MAX);
        tallies.note(&key(TLS_SEEN, "b.example"), b"", b"x");
        assert_eq!(tallies.figures().lost.load(Relaxed), 1);
    }

    /// What is gathered, counted again.
    fn bytes(tallies: &Tallies) -> usize {
        let gathered = tallies.gathered();
        let of = |(key, sheet): (&Key, &Counts)| {
            let lines = sheet.lines.keys();
            let lines: usize = lines.map(|line| line.len() + LINE_COST_BYTES).sum();
            SHEET_COST_BYTES + key.name.len() + sheet.head.len() + lines
        };
        gathered.sheets.iter().map(of).sum()
    }

    /// A volume that refuses for hours, while strangers fill what is gathered between two flushes.
    #[test]
    fn what_waits_for_a_volume_that_refuses_is_bounded() {
        let tallies = Tallies::default();
        let mut noted = 0;
        for turn in 0..8u32 {
            let taken = std::mem::take(&mut *tallies.gathered());
            for line in 0..12_000u32 {
                let of = key(TLS_SEEN, &format!("{turn}.{}.example", line % 9));
                tallies.note(&of, b"", &line.to_be_bytes());
                noted += 1;
            }
            let rest = taken.sheets.into_iter();
            tallies.put_back(rest.map(|(key, sheet)| addition(key, sheet)));
            assert!(bytes(&tallies) <= GATHERED_BYTES_MAX, "{}", bytes(&tallies));
        }
        let gathered = tallies.gathered();
        let kept = gathered.sheets.values();
        let kept: u64 = kept
            .map(|sheet| sheet.other + sheet.lines.values().sum::<u64>())
            .sum();
        assert_eq!(kept + tallies.figures().lost.load(Relaxed), noted);
    }

    #[test]
    fn a_head_that_grows_is_within_the_bound() {
        let tallies = Tallies::default();
        for head in [1, 2_000] {
            for domain in 0..4_000 {
                let of = key(DMARC_SEEN, &format!("{domain}.example"));
                tallies.note(&of, &vec![b'h'; head], b"x");
            }
        }
        assert!(bytes(&tallies) <= GATHERED_BYTES_MAX, "{}", bytes(&tallies));
    }
}
