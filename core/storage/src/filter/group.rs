//! The plans of one message as one group of the log.

use std::sync::atomic::Ordering::Relaxed;

use ::scripts::limits::KEYS_ROWS;
use mail::InternalDate;
use mailbox::{AccountId, Bundle, BundleCopy, MailboxFault, Mailboxes};
use queue::limits::ENTRY_ROWS;
use runtime::events::MESSAGE;
use sieve::Remember;
use store::BodyIn;
use tenancy::Part;

use super::plan::Plan;
use crate::outgoing::{Outgoing, mailbox_fault};

/// Bodies that scripts made, copies, letters, and bytes of records and summaries that scripts may add to one group: with them it stays below what a
/// group takes (`store::limits::GROUP_FIXED_BYTES_MAX`), beside as many recipients without scripts as a message has. One plan alone is always
/// within that.
const MADE_MAX: usize = 64;
const COPIES_MAX: usize = mailbox::limits::RECIPIENTS_MAX / 2;
const LETTERS_MAX: usize = 128;
const FIXED_BYTES_MAX: usize = 256 * 1_024;
/// A copy, and a letter, beside their texts.
const COPY_BYTES: usize = 64;
const LETTER_BYTES: usize = 128;
/// A key that is remembered, with its end.
const KEY_BYTES: usize = 32;

/// What plans take of a group.
/// Counted before the group is built: a group that turns out too large would be refused as a whole, with the recipients that have no script.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    made: usize,
    copies: usize,
    letters: usize,
    bytes: usize,
}

impl Size {
    fn with(self, plan: &Plan) -> Size {
        let summaries: usize = plan.made.iter().map(|body| body.summary.len()).sum();
        let copies = plan.copies.iter().map(|(recipient, _)| {
            let keywords = recipient.flags.keywords.iter();
            COPY_BYTES + keywords.map(|one| one.as_str().len() + 2).sum::<usize>()
        });
        let letters = plan.letters.iter().map(|letter| {
            let to = letter.envelope.recipients.iter();
            LETTER_BYTES
                + letter.envelope.from.len()
                + to.map(|to| to.path.len() + to.original.len())
                    .sum::<usize>()
        });
        Size {
            made: self.made + plan.made.len(),
            copies: self.copies + plan.copies.len(),
            letters: self.letters + plan.letters.len(),
            bytes: self.bytes
                + summaries
                + copies.sum::<usize>()
                + letters.sum::<usize>()
                + plan.remember.len() * KEY_BYTES,
        }
    }

    fn fits(self) -> bool {
        self.made <= MADE_MAX
            && self.copies <= COPIES_MAX
            && self.letters <= LETTERS_MAX
            && self.bytes <= FIXED_BYTES_MAX
    }
}

/// What is written with the plans of a message.
pub(crate) struct Group {
    pub body: BodyIn,
    pub internal_date: InternalDate,
    /// Each with its account.
    pub plans: Vec<(AccountId, Plan)>,
    /// Rows of the parts beside them.
    pub rows_beside: u64,
    /// The parts beside them may need the message, which is body 0 then.
    pub is_queued: bool,
}

/// What came of it.
pub(crate) struct Written {
    /// One result for each plan.
    pub plans: Vec<Result<(), MailboxFault>>,
    /// Something was written.
    pub is_written: bool,
}

impl Group {
    /// Takes out what is more than one group takes: the indexes of those plans, which the caller defers.
    pub fn split_off(&mut self) -> Vec<usize> {
        let (mut size, mut is_first) = (Size::default(), true);
        let mut over = Vec::new();
        for (index, (_, plan)) in self.plans.iter().enumerate() {
            let is_simple = plan.is_simple();
            let next = size.with(plan);
            // The first plan that is not simple always goes: alone it fits, and otherwise a message could be deferred for ever.
            if !is_simple && !is_first && !next.fits() {
                over.push(index);
                continue;
            }
            if !is_simple {
                (size, is_first) = (next, false);
            }
        }
        over
    }

    /// Makes all of it durable in one step. `more` is asked in the same turn, for the parts beside the plans, with what is known of each plan; not
    /// if no plan can be done. `outgoing`: none where nothing but copies is planned.
    pub async fn write(
        self,
        mailboxes: &Mailboxes,
        outgoing: Option<&Outgoing>,
        more: impl FnOnce(&[Result<(), MailboxFault>]) -> Result<Vec<Part>, MailboxFault>,
    ) -> Written {
        let Group {
            body,
            internal_date,
            mut plans,
            rows_beside,
            is_queued,
        } = self;
        let first = (body, is_queued);
        let (bundle, places) = bundle(first, internal_date, &mut plans, rows_beside);
        let mut queued = Vec::new();
        let mut is_asked = false;
        let parts = |copies: &[Result<mailbox::Placed, MailboxFault>]| {
            is_asked = true;
            let results = results(&plans, copies);
            let mut parts = Vec::new();
            for (((account, plan), places), result) in plans.iter().zip(&places).zip(&results) {
                if let (Ok(()), Some(outgoing)) = (result, outgoing) {
                    let (ids, some) = beside(outgoing, *account, plan, places)?;
                    queued.extend(ids);
                    parts.extend(some);
                }
            }
            parts.extend(more(&results)?);
            Ok(parts)
        };
        let bundled = mailboxes.deliver_bundle(bundle, parts).await;
        let mut results = results(&plans, &bundled.copies);
        // Letters and keys are in the same commit. When it failed nothing of any plan happened, the copies included.
        if let Err(fault) = &bundled.beside {
            for result in &mut results {
                if result.is_ok() {
                    *result = Err(fault.clone());
                }
            }
        }
        let is_written = is_asked && bundled.beside.is_ok();
        if is_written {
            for ((account, plan), result) in plans.iter().zip(&results) {
                if result.is_ok() {
                    // Only now: a counter of what was planned would count a message again at each try.
                    note(outgoing, *account, plan);
                }
            }
            for (queue, what) in queued {
                tracing::info!(target: MESSAGE, queue, "{what}");
            }
            if let Some(outgoing) = outgoing {
                outgoing.wake();
            }
        }
        Written {
            plans: results,
            is_written,
        }
    }
}

/// Of each plan the indexes of its bodies in the group: that of the message first.
type Places = Vec<Vec<u32>>;

/// Bodies that anything needs, and the copies of each plan as one unit.
fn bundle(
    (message, is_queued): (BodyIn, bool),
    internal_date: InternalDate,
    plans: &mut [(AccountId, Plan)],
    rows_beside: u64,
) -> (Bundle, Places) {
    let needs = |plan: &Plan| {
        plan.copies.iter().any(|(_, body)| *body == 0)
            || plan.letters.iter().any(|letter| letter.body == 0)
    };
    let mut bodies = Vec::new();
    // A message that every script discards or rewrites is not written at all.
    if is_queued || plans.iter().any(|(_, plan)| needs(plan)) {
        bodies.push(message);
    }
    let (mut copies, mut places, mut rows) = (Vec::new(), Vec::new(), rows_beside);
    for (unit, (_, plan)) in plans.iter_mut().enumerate() {
        // Place 0 is the message in every plan; the bodies that a script made follow, by their index in the group.
        let mut own = vec![0];
        for made in std::mem::take(&mut plan.made) {
            own.push(bodies.len() as u32);
            bodies.push(made);
        }
        for (recipient, body) in &plan.copies {
            copies.push(BundleCopy {
                recipient: recipient.clone(),
                body: own[*body],
                unit,
            });
        }
        rows += plan.letters.len() as u64 * ENTRY_ROWS;
        if !plan.remember.is_empty() {
            rows += KEYS_ROWS;
        }
        places.push(own);
    }
    let stands_alone = plans.iter().any(|(_, plan)| plan.copies.is_empty());
    let bundle = Bundle {
        bodies,
        internal_date,
        copies,
        rows_beside: rows,
        stands_alone,
    };
    (bundle, places)
}

/// A plan is done if its copies are placed: all of them, or none.
fn results(
    plans: &[(AccountId, Plan)],
    copies: &[Result<mailbox::Placed, MailboxFault>],
) -> Vec<Result<(), MailboxFault>> {
    let mut at = 0;
    let each = plans.iter().map(|(_, plan)| {
        let own = &copies[at..at + plan.copies.len()];
        at += plan.copies.len();
        match own.iter().find_map(|copy| copy.as_ref().err()) {
            Some(fault) => Err(fault.clone()),
            None => Ok(()),
        }
    });
    each.collect()
}

type Beside = (Vec<(u64, &'static str)>, Vec<Part>);

/// A plan's letters and keys.
fn beside(
    outgoing: &Outgoing,
    account: AccountId,
    plan: &Plan,
    places: &[u32],
) -> Result<Beside, MailboxFault> {
    let (mut ids, mut parts) = (Vec::new(), Vec::new());
    let mut is_remembered = true;
    if let (Some(filter), false) = (outgoing.filter(), plan.remember.is_empty()) {
        let now = filter.now();
        let until = |each: &Remember| (each.key.0, now.saturating_add(each.kept_s));
        let keys = plan.remember.iter().map(until).collect();
        match filter.inner.scripts.remember(account.0, keys, now) {
            Ok(part) => parts.push(part),
            // The message goes on without: a second notice or copy is better than none.
            Err(fault) => {
                tracing::warn!(account = account.0, %fault, "what a script did is not remembered");
                is_remembered = false;
            }
        }
    }
    for letter in &plan.letters {
        // A vacation reply that cannot be remembered would go out again for each message.
        if letter.is_remembered && !is_remembered {
            continue;
        }
        let put = outgoing
            .queue()
            .put(letter.envelope.clone(), places[letter.body]);
        let (id, part) = put.map_err(mailbox_fault)?;
        ids.push((id.0, letter.what));
        parts.push(part);
    }
    Ok((ids, parts))
}

/// Counts what is durable now.
pub(super) fn note(outgoing: Option<&Outgoing>, account: AccountId, plan: &Plan) {
    let Some(filter) = outgoing.and_then(Outgoing::filter) else {
        return;
    };
    let (effects, counters) = (&plan.effects, filter.counters());
    if !effects.ran {
        return;
    }
    counters.runs.fetch_add(1, Relaxed);
    for (counter, count) in [
        (&counters.failures, u64::from(effects.failed)),
        (&counters.discarded, u64::from(effects.discarded)),
        (&counters.filed, effects.filed),
        (&counters.redirected, effects.redirected),
        (&counters.loops, effects.loops),
        (&counters.replies, effects.replies),
        (&counters.notifications, effects.notifications),
    ] {
        counter.fetch_add(count, Relaxed);
    }
    if effects.discarded {
        tracing::info!(target: MESSAGE, account = account.0, "discarded by the recipient's script");
    }
}
