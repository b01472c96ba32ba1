//! Counts for reports: gathered in memory by the cores that see something, written down together, and read by what reports.
//!
//! What must hold:
//! - Accepting or sending mail waits for nothing here: a note is a short look at a map, and one flush a minute takes all of them to the log.
//!   A power cut loses the counts of that minute.
//! - What is gathered is bounded; beyond it a count loses its line, and then itself, and both are counted.
//! - A report and the mark that it was sent are one group: it is sent once, and not at all where the group was not written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::Host;
use base::host::{Sender, oneshot, sleep_us};
use mailbox::Mailboxes;
use queue::limits::ENTRY_ROWS;
use queue::{Envelope, QueueFault};
use reports::limits::ADDITIONS_PER_GROUP_MAX;
use reports::{Addition, Day, Key, ReportFault, Reports, Sheet, Subject};
use store::BodyIn;

use crate::outgoing::Outgoing;

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

#[derive(Debug, thiserror::Error)]
pub enum SendFault {
    #[error(transparent)]
    Report(#[from] ReportFault),
    #[error(transparent)]
    Queue(#[from] QueueFault),
}

impl Tallies {
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// One more of `line`. `head` is kept with the sheet; the last one counts.
    pub fn note(&self, key: &Key, head: &[u8], line: &[u8]) {
        self.shared.figures.noted.fetch_add(1, Relaxed);
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
            gathered.sheets.insert(key.clone(), Counts::default());
        }
        let Some(sheet) = gathered.sheets.get_mut(key) else {
            return;
        };
        let mut grown = 0;
        if sheet.head != head && head.len() <= sheet.head.len().max(reports::limits::HEAD_BYTES_MAX)
        {
            // Its own room was counted when the sheet came, or is little.
            sheet.head = head.to_vec();
        }
        match sheet.lines.get_mut(line) {
            Some(count) => *count += 1,
            None if is_full => sheet.other += 1,
            None => {
                sheet.lines.insert(line.to_vec(), 1);
                grown = cost;
            }
        }
        gathered.bytes += grown;
    }

    /// The figures of a report of others, one addition for each domain. `false`: there is no room until the next flush.
    pub fn hear(&self, additions: Vec<Addition>) -> bool {
        let cost = |one: &Addition| {
            let lines = one.lines.iter();
            let bytes: usize = lines.map(|(line, _)| line.len() + LINE_COST_BYTES).sum();
            bytes + SHEET_COST_BYTES + one.key.name.len() + one.head.len()
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

    fn heard(&self) -> MutexGuard<'_, (Vec<Vec<Addition>>, usize)> {
        let heard = self.shared.heard.lock();
        heard.unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what was gathered. `Err`: the rest stays gathered.
    async fn flush_gathered(&self, reports: &Reports) -> Result<(), ReportFault> {
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

    /// What could not be written waits again, beside what came meanwhile: twice the bound at most, for as long as the volume refuses.
    fn put_back(&self, additions: impl Iterator<Item = Addition>) {
        let mut gathered = self.gathered();
        for one in additions {
            let more = SHEET_COST_BYTES + one.key.name.len() + one.head.len();
            let lines = one.lines.iter();
            let bytes: usize = lines.map(|(line, _)| line.len() + LINE_COST_BYTES).sum();
            gathered.bytes += more + bytes;
            match gathered.sheets.entry(one.key) {
                Entry::Vacant(place) => {
                    _ = place.insert(Counts {
                        head: one.head,
                        lines: one.lines.into_iter().collect(),
                        other: one.other,
                    })
                }
                Entry::Occupied(mut there) => {
                    let there = there.get_mut();
                    there.other += one.other;
                    for (line, count) in one.lines {
                        *there.lines.entry(line).or_default() += count;
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

impl Outgoing {
    /// Keys of sheets that were not reported yet, oldest first.
    pub fn open_reports(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        if let Some((reports, _)) = self.reports() {
            reports.each(|key, sheet| {
                let is_seen = key.subject == DMARC_SEEN || key.subject == TLS_SEEN;
                if is_seen && !sheet.is_closed {
                    keys.push(key.clone());
                }
            });
        }
        keys.sort_by_key(|key| key.day);
        keys
    }

    /// What was counted there; `None`: it was reported, or there is nothing.
    pub fn report_sheet(&self, key: &Key) -> Option<Sheet> {
        let (reports, _) = self.reports()?;
        let sheet = reports.with(key, Sheet::clone)?;
        (!sheet.is_closed).then_some(sheet)
    }

    /// Puts messages with a report into the queue, and marks what they are about as reported, in one group. `false`: it was reported before, and
    /// nothing was queued. Without messages it is marked alone.
    pub async fn send_report(
        &self,
        key: &Key,
        letters: Vec<(BodyIn, Envelope)>,
    ) -> Result<bool, SendFault> {
        let Some((reports, _)) = self.reports() else {
            return Ok(false);
        };
        let rows = letters.len() as u64 * ENTRY_ROWS;
        let (bodies, envelopes): (Vec<BodyIn>, Vec<Envelope>) = letters.into_iter().unzip();
        let beside = || {
            let each = envelopes.into_iter().zip(0u32..);
            let parts = each.map(|(envelope, index)| {
                let (_, part) = self.queue().put(envelope, index)?;
                Ok(part)
            });
            parts.collect::<Result<Vec<_>, SendFault>>()
        };
        let is_sent = reports.close_with(key, rows, bodies, beside).await?;
        self.wake();
        Ok(is_sent)
    }

    /// Writes down what was gathered and heard. `Err`: what was gathered stays so; what was heard is given up.
    pub async fn flush_reports(&self) -> Result<(), ReportFault> {
        let Some((reports, tallies)) = self.reports() else {
            return Ok(());
        };
        let (heard, _) = std::mem::take(&mut *tallies.heard());
        for additions in heard {
            if let Err(fault) = self.hear_report(additions).await {
                tallies.figures().lost.fetch_add(1, Relaxed);
                tracing::warn!(%fault, "a report of others is not counted");
            }
        }
        tallies.flush_gathered(reports).await
    }

    /// Counts the figures of a report that came in, once, if they are about a domain of ours; whether they are.
    async fn hear_report(&self, additions: Vec<Addition>) -> Result<bool, ReportFault> {
        let Some((reports, tallies)) = self.reports() else {
            return Ok(false);
        };
        let ours = additions.into_iter().filter_map(|mut one| {
            one.key.name = our_domain(self.mailboxes(), &one.key.name)?;
            Some(one)
        });
        let ours: Vec<Addition> = ours.take(ADDITIONS_PER_GROUP_MAX).collect();
        if ours.is_empty() {
            return Ok(false);
        }
        reports.add(ours).await?;
        tallies.figures().heard.fetch_add(1, Relaxed);
        Ok(true)
    }
}

/// The domain of ours that a name is, or is below.
fn our_domain(mailboxes: &Mailboxes, name: &str) -> Option<String> {
    let mut name = Some(name);
    for _ in 0..LABELS_MAX {
        if let Some(ours) = mailboxes.directory().our_domain(name?) {
            return Some(ours);
        }
        name = name?.split_once('.').map(|(_, rest)| rest);
    }
    None
}

/// A request and where its answer comes.
pub(crate) fn asked(wanted: Wanted) -> (Asked, base::host::Receiver<Vec<Done>>) {
    let (answer, receiver) = oneshot();
    (Asked { wanted, answer }, receiver)
}

/// Runs on the owner's thread until the thread ends: writes down what was gathered, and forgets what is old.
pub async fn watch(host: Rc<dyn Host>, unix_seconds: impl Fn() -> u64, outgoing: Outgoing) {
    let Some((reports, _)) = outgoing.reports() else {
        return;
    };
    loop {
        // until the thread ends
        sleep_us(&*host, FLUSH_EVERY_US).await;
        if let Err(fault) = outgoing.flush_reports().await {
            tracing::debug!(%fault, "counts for reports are written down later");
            continue;
        }
        let today = Day::of(unix_seconds());
        for (subject, days) in KEPT_DAYS {
            let first = Day(today.0.saturating_sub(days));
            if let Err(fault) = reports.forget_before(subject, first).await {
                tracing::debug!(%fault, "old counts are forgotten later");
            }
        }
    }
}

/// How long sheets stay. What was seen is reported the day after; a report that finds no way by the end of the third day is not made any more.
pub const KEPT_DAYS: [(Subject, u32); 4] = [
    (DMARC_SEEN, 4),
    (TLS_SEEN, 4),
    (DMARC_HEARD, 60),
    (TLS_HEARD, 60),
];

const FLUSH_EVERY_US: u64 = 60_000_000;
/// Figures of others that come in within a minute.
const HEARD_BYTES_MAX: usize = 1 << 20;
/// What is gathered of one minute.
const GATHERED_BYTES_MAX: usize = 1 << 20;
const LINE_COST_BYTES: usize = 80;
const SHEET_COST_BYTES: usize = 300;
/// A name has at most 127 labels (RFC 1035 §2.3.4); one that is ours is not far down.
const LABELS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use queue::{Addressee, Terms, UnixSeconds};

    use super::*;
    use crate::rig;

    fn key(subject: Subject, name: &str) -> Key {
        Key {
            subject,
            day: Day(20_000),
            name: name.to_owned(),
        }
    }

    fn letter(to: &str) -> (BodyIn, Envelope) {
        let raw = bytes::Bytes::from_static(b"Subject: report\r\n\r\n");
        let body = BodyIn {
            name: base::BodyName::of(&raw),
            raw,
            summary: bytes::Bytes::new(),
        };
        let envelope = Envelope {
            from: "dmarc@example.org".to_owned(),
            recipients: vec![Addressee::new(to)],
            arrived: UnixSeconds(1),
            warns: UnixSeconds(0),
            expires: UnixSeconds(1_000),
            terms: Terms {
                is_report: true,
                ..Terms::default()
            },
        };
        (body, envelope)
    }

    #[test]
    fn notes_are_summed_and_written_down_together() {
        let (world, outgoing) = rig::outgoing();
        world.block_on(async {
            let (reports, tallies) = outgoing.reports().expect("the rig has some");
            let of = key(DMARC_SEEN, "a.example");
            for _ in 0..10 {
                tallies.note(&of, b"p=none", b"x");
            }
            tallies.note(&of, b"p=reject", b"y");
            assert_eq!(reports.count().0, 0, "nothing was written yet");
            tallies.flush_gathered(reports).await.expect("room");
            let sheet = reports.with(&of, Sheet::clone).expect("it is there");
            assert_eq!(sheet.head, b"p=reject");
            assert_eq!((sheet.lines[&b"x"[..]], sheet.lines[&b"y"[..]]), (10, 1));
            tallies.flush_gathered(reports).await.expect("nothing");
            assert_eq!(reports.with(&of, Sheet::total), Some(11), "once");
        });
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

    #[test]
    fn a_report_is_queued_once_with_its_mark() {
        let (world, outgoing) = rig::outgoing();
        world.block_on(async {
            let (reports, tallies) = outgoing.reports().expect("the rig has some");
            let of = key(DMARC_SEEN, "a.example");
            tallies.note(&of, b"p=none", b"x");
            tallies.flush_gathered(reports).await.expect("room");
            assert_eq!(outgoing.open_reports(), [of.clone()]);
            assert!(outgoing.report_sheet(&of).is_some());
            let two = || vec![letter("a@b.example"), letter("c@d.example")];
            assert!(outgoing.send_report(&of, two()).await.expect("room"));
            assert_eq!(outgoing.queue().count(), 2);
            assert!(
                outgoing
                    .list(None, 9)
                    .iter()
                    .all(|entry| entry.terms.is_report)
            );
            assert!(!outgoing.send_report(&of, two()).await.expect("room"));
            assert_eq!(outgoing.queue().count(), 2, "once");
            assert!(outgoing.open_reports().is_empty());
            assert_eq!(outgoing.report_sheet(&of), None);
        });
    }

    #[test]
    fn figures_of_others_count_for_domains_of_ours_and_once() {
        let (world, outgoing) = rig::outgoing();
        world.block_on(async {
            let figures = |name: &str| {
                vec![Addition {
                    key: key(DMARC_HEARD, name),
                    head: Vec::new(),
                    once: Some(b"org 1".to_vec()),
                    lines: vec![(b"failed".to_vec(), 3)],
                    other: 0,
                }]
            };
            let (reports, tallies) = outgoing.reports().expect("the rig has some");
            for name in ["news.EXAMPLE.org", "a.example", "example.org"] {
                assert!(tallies.hear(figures(name)));
            }
            outgoing.flush_reports().await.expect("room");
            assert_eq!(tallies.figures().heard.load(Relaxed), 2);
            assert_eq!(reports.count().0, 1, "that of strangers is not kept");
            let of = key(DMARC_HEARD, "example.org");
            assert_eq!(
                reports.with(&of, |sheet| sheet.lines[&b"failed"[..]]),
                Some(3)
            );
        });
    }
}
