//! A SORT or THREAD by what the last ones worked out (`crate::orders`): only messages that are not in it are read, and are added to it.
//!
//! What must hold: the answer is the same as without. What could not be read counts in this answer as it always did, and is not kept: another time
//! it may be readable. Where there is no memory for what could be kept, or for adding to it, the command does without.

use std::sync::Arc;

use imap::sort::SortField;
use mailbox::AccountId;
use runtime::Connection;
use storage::holder;
use storage::owner::Ask;

use super::super::Imap;
use super::super::limits::{ORDERS_MERGING_TIMES, ORDERS_STALE_SHARE, ROW_WORK_BYTES};
use super::super::progress::{Progress, Stop};
use super::super::search::{Place, Search};
use super::super::selected::Selected;
use super::jobs::Job;
use super::{Gathered, TOO_MUCH};
use crate::orders::{Key, Order, Orders, Paid};

/// What is kept for each field of a job.
type Known<O> = Vec<(Key, Option<Arc<Paid<O>>>)>;

/// What the first look found.
enum Looked<A> {
    /// Nothing is missing.
    Answer(A),
    /// Fields that lack some messages, and these, by their places among those that were found.
    Lacking(Vec<Option<SortField>>, Vec<u32>),
}

/// An order that this command uses.
enum Used<O> {
    Kept(Arc<Paid<O>>),
    Made(Key, O, Option<Arc<Paid<O>>>),
}

impl<O: Order> Used<O> {
    fn order(&self) -> &O {
        match self {
            Used::Kept(kept) => &kept.of,
            Used::Made(_, made, _) => made,
        }
    }
}

impl<K: Ask> Imap<K> {
    /// The answer of `job` for the messages `found`.
    pub(super) async fn work_out<J: Job>(
        &self,
        account: AccountId,
        selected: &Selected,
        (search, found): (&Search, &[Place]),
        job: J,
        progress: &mut Progress<'_, impl Connection>,
    ) -> Result<J::Answer, Stop> {
        let key = |field| Key {
            mailbox: selected.id,
            validity: search.validity,
            field,
        };
        let keys: Vec<Key> = job.fields().into_iter().map(key).collect();
        let known = keys.iter().map(|&key| (key, self.memory.orders.find(key)));
        let known: Known<J::Order> = known.collect();
        let none = || keys.iter().map(|&key| (key, None)).collect();
        let uses_kept = known.iter().any(|(_, kept)| kept.is_some());
        let (of, job) = ((account, selected), &job);
        match self.with(of, search, found, (job, known), progress).await {
            // What is kept of all messages may be more than what these few need.
            Err(Stop::Failure(failure)) if uses_kept && failure == TOO_MUCH => {
                self.with(of, search, found, (job, none()), progress).await
            }
            answered => answered,
        }
    }

    async fn with<J: Job>(
        &self,
        (account, selected): (AccountId, &Selected),
        search: &Search,
        found: &[Place],
        (job, known): (&J, Known<J::Order>),
        progress: &mut Progress<'_, impl Connection>,
    ) -> Result<J::Answer, Stop> {
        let uids = Arc::new(search.named(found, true));
        let (lacking, missing) = match self.look(account, search, &uids, (job, &known)).await? {
            Looked::Answer(answer) => return Ok(answer),
            Looked::Lacking(lacking, missing) => (lacking, missing),
        };
        let places: Vec<Place> = missing.iter().map(|&at| found[at as usize]).collect();
        let gatherer = |count| job.gatherer(&lacking, count);
        let mut gathered = self
            .gather(account, selected, search, &places, gatherer, progress)
            .await?;
        let fresh_uids: Vec<u32> = missing.iter().map(|&at| uids[at as usize]).collect();
        let has_room = has_room(job, &mut gathered, &lacking, &known, uids.len());
        if !has_room && known.iter().any(|(_, kept)| kept.is_some()) {
            return Err(TOO_MUCH.into());
        }
        let (messages, orders) = (search.messages.clone(), self.memory.orders.clone());
        let holder = holder::of_account(account);
        let bytes = gathered.bytes() + search.messages.len() * ROW_WORK_BYTES;
        let job = job.clone();
        let make = move || {
            let Gathered {
                of, charge, unread, ..
            } = gathered;
            if !has_room {
                let answer = job.plain(of);
                drop(charge);
                return answer;
            }
            let mut made = J::made(of, fresh_uids);
            let live = || messages.iter().map(|message| message.uid.0);
            let used = known.into_iter().map(|(key, old)| {
                let fresh = made.iter().position(|(field, _)| *field == key.field);
                match (fresh.map(|at| made.swap_remove(at).1), old) {
                    (None, old) => Used::Kept(old.expect("it lacks nothing")),
                    (Some(fresh), None) => Used::Made(key, fresh, None),
                    (Some(fresh), Some(old)) => {
                        Used::Made(key, J::merged(&old.of, &fresh, live()), Some(old))
                    }
                }
            });
            let used: Vec<Used<J::Order>> = used.collect();
            let all: Vec<&J::Order> = used.iter().map(Used::order).collect();
            let answer = job.answer(&all, &uids);
            keep::<J>(&orders, holder, used, &unread);
            // The charge goes back once the keys did.
            drop(charge);
            answer
        };
        Ok(self.host.work(bytes, make).await)
    }

    /// What is missing in `known`; where nothing is, the answer at once.
    async fn look<J: Job>(
        &self,
        account: AccountId,
        search: &Search,
        uids: &Arc<Vec<u32>>,
        (job, known): (&J, &Known<J::Order>),
    ) -> Result<Looked<J::Answer>, Stop> {
        let some: Vec<&J::Order> = orders(known).collect();
        if some.is_empty() {
            let missing = (0..uids.len() as u32).collect();
            return Ok(Looked::Lacking(job.fields(), missing));
        }
        let reading = &self.memory.reading;
        let bytes = job.answer_bytes(&some, uids.len()) + uids.len() * size_of::<(u32, bool)>();
        if bytes > reading.share_bytes_max() {
            return Err(TOO_MUCH.into());
        }
        let charge = reading.wait_for(holder::of_account(account), bytes).await;
        let (job, known, uids) = (job.clone(), known.clone(), uids.clone());
        let there = search.messages.len();
        // Tables as large as what is kept are made for a few messages too.
        let bytes = uids.len() * ROW_WORK_BYTES + bytes / ROW_WORK_BYTES;
        let look = move || {
            let mut lacking = Vec::new();
            let mut is_missing = vec![false; uids.len()];
            for (key, kept) in &known {
                let Some(kept) = kept.as_ref().map(|kept| &kept.of) else {
                    lacking.push(key.field);
                    is_missing.fill(true);
                    continue;
                };
                // What is gone is taken out when it is much.
                let mut lacks = kept.count() > there + there / ORDERS_STALE_SHARE;
                for (knows, missing) in J::knows(kept, &uids).zip(&mut is_missing) {
                    lacks |= !knows;
                    *missing |= !knows;
                }
                if lacks {
                    lacking.push(key.field);
                }
            }
            let looked = match lacking.is_empty() {
                true => Looked::Answer(job.answer(&orders(&known).collect::<Vec<_>>(), &uids)),
                false => {
                    let missing = (0..).zip(is_missing).filter(|(_, missing)| *missing);
                    Looked::Lacking(lacking, missing.map(|(at, _)| at).collect())
                }
            };
            drop(charge);
            looked
        };
        Ok(self.host.work(bytes, look).await)
    }
}

fn orders<O: Order>(known: &Known<O>) -> impl Iterator<Item = &O> {
    known.iter().flat_map(|(_, kept)| kept).map(|kept| &kept.of)
}

/// Pays for what is made of what was gathered, and of what is kept with it.
fn has_room<J: Job>(
    job: &J,
    gathered: &mut Gathered<J::From>,
    lacking: &[Option<SortField>],
    known: &Known<J::Order>,
    count: usize,
) -> bool {
    let held = gathered.bytes();
    let making = J::making_bytes(&gathered.of);
    let old = known.iter().filter(|(key, _)| lacking.contains(&key.field));
    let old: usize = old
        .flat_map(|(_, kept)| kept)
        .map(|kept| kept.of.memory_bytes())
        .sum();
    let mut bytes = making + job.answer_bytes(&orders(known).collect::<Vec<_>>(), count);
    if old > 0 || !gathered.unread.is_empty() {
        bytes += ORDERS_MERGING_TIMES * (old + held + making);
    }
    let missing = (held + bytes).saturating_sub(gathered.charge.bytes());
    missing == 0 || gathered.charge.grow(missing)
}

/// Keeps what was made, without the messages that could not be read.
fn keep<J: Job>(
    orders: &Orders,
    holder: runtime::Holder,
    used: Vec<Used<J::Order>>,
    unread: &[u32],
) {
    for one in used {
        if let Used::Made(key, made, old) = one {
            let made = match unread.is_empty() {
                true => made,
                false => J::without(&made, unread),
            };
            orders.keep(key, holder, made, old);
        }
    }
}

#[cfg(test)]
mod tests {
    use imap::sort::{SortCriterion, Sorter};
    use mail::{InternalDate, UidValidity};
    use mailbox::MailboxId;
    use runtime::{Budget, Holder};

    use super::super::jobs::Sorting;
    use super::*;

    /// A thousand messages are kept, of one that is new the key is at hand: what is paid for says whether it is put to them.
    #[test]
    fn adding_to_what_is_kept_is_paid_for_or_not_done() {
        let criterion = SortCriterion {
            field: SortField::Subject,
            reverse: false,
        };
        let job = Sorting {
            criteria: [criterion].into(),
        };
        let key = Key {
            mailbox: MailboxId(1),
            validity: UidValidity(1),
            field: Some(SortField::Subject),
        };
        let mut sorter = Sorter::new(&job.criteria, 0);
        for number in 0..1_000 {
            let header = format!("Subject: {number} {}\r\n", "x".repeat(80));
            sorter.add(InternalDate::utc(0), 1, header.as_bytes());
        }
        let old = Sorting::made(sorter, (1..=1_000).collect()).pop();
        let (_, old) = old.expect("one field");
        let old_bytes = old.memory_bytes();
        let orders = Orders::new(1 << 20, 1 << 20);
        orders.keep(key, Holder(1), old, None);
        let room = |bytes: usize, is_known: bool| {
            let budget = Budget::new(bytes);
            let mut of = Sorter::new(&job.criteria, 0);
            of.add(InternalDate::utc(0), 1, b"Subject: new\r\n");
            let mut gathered = Gathered {
                of,
                charge: budget.take_for(Holder(1), 0).expect("nothing"),
                unread: Vec::new(),
                bytes_max: usize::MAX,
                is_short: false,
            };
            let known = vec![(key, is_known.then(|| orders.find(key)).flatten())];
            let fields = [key.field];
            let has_room = has_room(&job, &mut gathered, &fields, &known, 1_001);
            assert!(!has_room || gathered.charge.bytes() > gathered.bytes());
            has_room
        };
        assert!(room(5 * old_bytes, true));
        assert!(!room(2 * old_bytes, true));
        assert!(room(2 * old_bytes, false), "without it there is less to do");
    }
}
