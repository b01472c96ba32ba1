//! Reports among what leaves: read from what was counted, queued with the mark that they were sent, and what others report written down.
//!
//! What must hold: a report and its mark are one group: it is sent once, and not at all where the group was not written.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use base::Host;
use base::host::sleep_us;
use mailbox::Mailboxes;
use queue::limits::ENTRY_ROWS;
use queue::{Envelope, QueueFault};
use reports::limits::ADDITIONS_PER_GROUP_MAX;
use reports::{Addition, Day, Key, ReportFault, Sheet};
use store::BodyIn;

use super::Outgoing;
use crate::tallies::{DMARC_SEEN, KEPT_DAYS, TLS_SEEN};

#[derive(Debug, thiserror::Error)]
pub enum SendFault {
    #[error(transparent)]
    Report(#[from] ReportFault),
    #[error(transparent)]
    Queue(#[from] QueueFault),
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
        for additions in tallies.take_heard() {
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
        let mut ours: Vec<Addition> = Vec::new();
        for mut one in additions {
            let Some(name) = our_domain(self.mailboxes(), &one.key.name) else {
                continue;
            };
            one.key.name = name;
            // Several names below one domain of ours are one sheet.
            let count = ours.len();
            match ours.iter_mut().find(|there| there.key == one.key) {
                Some(there) => {
                    there.lines.append(&mut one.lines);
                    there.other = there.other.saturating_add(one.other);
                }
                None if count < ADDITIONS_PER_GROUP_MAX => ours.push(one),
                None => {}
            }
        }
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

const FLUSH_EVERY_US: u64 = 60_000_000;
/// A name has at most 127 labels (RFC 1035 §2.3.4); one that is ours is not far down.
const LABELS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use queue::{Addressee, Terms, UnixSeconds};
    use reports::Subject;

    use super::*;
    use crate::rig;
    use crate::tallies::DMARC_HEARD;

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
    fn a_count_that_no_volume_takes_keeps_no_other_waiting() {
        let (world, outgoing) = rig::outgoing();
        world.block_on(async {
            let (reports, tallies) = outgoing.reports().expect("the rig has some");
            tallies.note(&key(DMARC_SEEN, &"a".repeat(300)), b"", b"x");
            let of = key(TLS_SEEN, "b.example");
            (0..20).for_each(|each| {
                let of = key(DMARC_SEEN, &format!("{each}.example"));
                tallies.note(&of, b"", b"x");
            });
            tallies.note(&of, b"", b"x");
            tallies.flush_gathered(reports).await.expect("room");
            assert_eq!(reports.with(&of, Sheet::total), Some(1));
        });
    }

    #[test]
    fn a_report_is_queued_once_with_its_mark() {
        let (world, outgoing) = rig::outgoing();
        world.block_on(async {
            let (reports, tallies) = outgoing.reports().expect("the rig has some");
            let of = key(DMARC_SEEN, "a.example");
            tallies.note(&of, b"p=none", b"x");
            tallies.flush_gathered(reports).await.expect("room");
            assert_eq!(outgoing.open_reports(), std::slice::from_ref(&of));
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
    fn a_request_for_reports_ends_when_nothing_makes_them() {
        let (world, outgoing) = rig::outgoing();
        world.block_on(async {
            let wanted = crate::tallies::Wanted::default;
            assert_eq!(outgoing.want_reports(wanted()).await, None, "nothing does");
            outgoing.wake_reporter_with(std::sync::Arc::default());
            let end = async { outgoing.reporter_ends() };
            let (answer, ()) = tokio::join!(outgoing.want_reports(wanted()), end);
            assert_eq!(answer, None);
            outgoing.wake_reporter_with(std::sync::Arc::default());
            let answers = async {
                for asked in outgoing.take_wanted_reports() {
                    asked.answer.send(Vec::new());
                }
            };
            let (answer, ()) = tokio::join!(outgoing.want_reports(wanted()), answers);
            assert_eq!(answer, Some(Vec::new()));
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
            // One report of TLS is about several names.
            let mut two = figures("a.example.org");
            two.extend(figures("b.example.org"));
            two.iter_mut()
                .for_each(|one| one.once = Some(b"org 2".to_vec()));
            assert!(tallies.hear(two));
            outgoing.flush_reports().await.expect("room");
            assert_eq!(tallies.figures().heard.load(Relaxed), 3);
            assert_eq!(reports.count().0, 1, "that of strangers is not kept");
            let of = key(DMARC_HEARD, "example.org");
            assert_eq!(
                reports.with(&of, |sheet| sheet.lines[&b"failed"[..]]),
                Some(9)
            );
        });
    }
}
