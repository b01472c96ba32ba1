//! Memory that many connections share, in bytes, with a bound: past it a caller is refused or waits; memory does not grow.
//!
//! A budget may have shares: one holder (an account, a peer) then has at most its share at a time, over all its connections and
//! cores, so that one holder never spends what the others need. Two ways to take, for two kinds of use:
//!
//! - `take`, `take_for`: now or not at all. For what is held at a peer's pace: the caller refuses, or does with less.
//! - `wait_for`: in turn. Only for what is held at our own pace, since the wait ends when others are done.
//!
//! What must hold: holders wait in a circle, and each gets one turn a round however many of its connections wait. The holder
//! whose turn it is is not overtaken by those who need less, except while its own share is spent.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use base::host::{Receiver, Sender, oneshot};

/// Whose share is used: whatever number the caller has for accounts and peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder(pub u64);

/// A number of bytes that may be in use at once. Clones share it, across threads.
#[derive(Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

/// What the clones share.
struct Shared {
    /// All holders together.
    bytes_max: usize,
    /// One holder.
    share_bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bytes in use, with and without a holder.
    used_bytes: usize,
    /// Holders that hold something, and how much.
    held: HashMap<Holder, usize>,
    /// Holders with waits, in the order of their turns; each once.
    turns: VecDeque<Holder>,
    /// Waits of each holder, in the order of their calls.
    waits: HashMap<Holder, VecDeque<Wait>>,
    /// Waits since the beginning: the next one's number.
    queued: u64,
}

/// A caller in the row.
struct Wait {
    /// By which a place that is given up is found.
    number: u64,
    /// How much it waits for: at most a share.
    bytes: usize,
    /// Gets the bytes, paid for.
    answer: Sender<Charge>,
}

/// A place in the row. Dropped before the answer came, it is given up, and those behind it may be next.
struct Place {
    budget: Budget,
    /// Whose row it is in.
    holder: Holder,
    /// The number of the wait.
    number: u64,
    /// The answer has not come yet.
    stands: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.stands {
            self.budget.shared.state().give_up(self.holder, self.number);
            self.budget.settle();
        }
    }
}

/// Bytes taken from a budget; given back when dropped.
pub struct Charge {
    budget: Budget,
    holder: Option<Holder>,
    bytes: usize,
}

impl Budget {
    /// Without shares: one holder may have all of it.
    pub fn new(bytes_max: usize) -> Budget {
        Budget::with_shares(bytes_max, bytes_max)
    }

    /// One holder has at most `share_bytes_max` of it.
    pub fn with_shares(bytes_max: usize, share_bytes_max: usize) -> Budget {
        Budget {
            shared: Arc::new(Shared {
                bytes_max,
                share_bytes_max: share_bytes_max.min(bytes_max),
                state: Mutex::default(),
            }),
        }
    }

    /// Takes `bytes` without a holder, or `None` when that many are not left.
    pub fn take(&self, bytes: usize) -> Option<Charge> {
        self.take_now(None, bytes)
    }

    /// Takes `bytes` for `holder`, or `None` when that many are not left, or not left of its share.
    pub fn take_for(&self, holder: Holder, bytes: usize) -> Option<Charge> {
        self.take_now(Some(holder), bytes)
    }

    /// Takes without waiting, whether or not others wait.
    fn take_now(&self, holder: Option<Holder>, bytes: usize) -> Option<Charge> {
        let taken = self.shared.take(&mut self.shared.state(), holder, bytes);
        taken.then(|| self.charge(holder, bytes))
    }

    /// Takes `bytes` for `holder`, in turn. More than a share is taken as a whole share: the largest item must go
    /// through. Dropping the wait gives up the place in the row.
    pub async fn wait_for(&self, holder: Holder, bytes: usize) -> Charge {
        let bytes = bytes.min(self.shared.share_bytes_max);
        let (mut place, answered) = self.queue(holder, bytes);
        self.settle();
        let charge = answered.await;
        place.stands = false;
        charge.expect("a wait is answered before it is forgotten")
    }

    /// A place at the end of the holder's row. A holder without other waits joins the circle at its end.
    fn queue(&self, holder: Holder, bytes: usize) -> (Place, Receiver<Charge>) {
        let (answer, answered) = oneshot();
        let mut state = self.shared.state();
        let number = state.queued;
        state.queued += 1;
        let waits = state.waits.entry(holder).or_default();
        let first = waits.is_empty();
        waits.push_back(Wait {
            number,
            bytes,
            answer,
        });
        if first {
            state.turns.push_back(holder);
        }
        let place = Place {
            budget: self.clone(),
            holder,
            number,
            stands: true,
        };
        (place, answered)
    }

    /// Answers the waits that can be answered now.
    fn settle(&self) {
        loop {
            // until nothing more can be given; each turn answers one wait
            let given = self.shared.next(&mut self.shared.state());
            let Some((holder, wait)) = given else { return };
            // Outside the lock: a wait that was given up meanwhile gives its charge back at once.
            wait.answer.send(self.charge(Some(holder), wait.bytes));
        }
    }

    fn charge(&self, holder: Option<Holder>, bytes: usize) -> Charge {
        Charge {
            budget: self.clone(),
            holder,
            bytes,
        }
    }

    pub fn used_bytes(&self) -> usize {
        self.shared.state().used_bytes
    }

    pub fn bytes_max(&self) -> usize {
        self.shared.bytes_max
    }

    /// What one holder has now.
    pub fn held_bytes(&self, holder: Holder) -> usize {
        let state = self.shared.state();
        state.held.get(&holder).copied().unwrap_or(0)
    }

    /// What one holder may have at a time.
    pub fn share_bytes_max(&self) -> usize {
        self.shared.share_bytes_max
    }
}

impl Shared {
    /// Held for a few instructions at a time, never over an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Whether the budget has so much left.
    fn fits(&self, state: &State, bytes: usize) -> bool {
        let sum = state.used_bytes.checked_add(bytes);
        sum.is_some_and(|sum| sum <= self.bytes_max)
    }

    /// Whether the holder's share has so much left.
    fn fits_share(&self, state: &State, holder: Holder, bytes: usize) -> bool {
        let held = state.held.get(&holder).copied().unwrap_or(0);
        let sum = held.checked_add(bytes);
        sum.is_some_and(|sum| sum <= self.share_bytes_max)
    }

    /// Takes `bytes` if budget and share have them.
    fn take(&self, state: &mut State, holder: Option<Holder>, bytes: usize) -> bool {
        let has_share = holder.is_none_or(|holder| self.fits_share(state, holder, bytes));
        if !has_share || !self.fits(state, bytes) {
            return false;
        }
        state.used_bytes += bytes;
        if let Some(holder) = holder
            && bytes > 0
        {
            *state.held.entry(holder).or_default() += bytes;
        }
        true
    }

    /// Gives `bytes` back. A holder that holds nothing is forgotten, so the table is bounded by what is in use.
    fn give_back(&self, holder: Option<Holder>, bytes: usize) {
        let mut state = self.state();
        assert!(state.used_bytes >= bytes, "a budget is given back once");
        state.used_bytes -= bytes;
        if let Some(holder) = holder
            && bytes > 0
        {
            let held = state.held.get_mut(&holder);
            let held = held.expect("what is given back was taken");
            *held -= bytes;
            if *held == 0 {
                state.held.remove(&holder);
            }
        }
    }

    /// The next wait whose turn it is and that can be met, taken out of the row and paid for.
    fn next(&self, state: &mut State) -> Option<(Holder, Wait)> {
        let mut at = 0;
        while at < state.turns.len() {
            let holder = state.turns[at];
            let bytes = state.waits[&holder][0].bytes;
            if !self.fits_share(state, holder, bytes) {
                at += 1;
                continue;
            }
            if !self.take(state, Some(holder), bytes) {
                return None;
            }
            state.turns.remove(at);
            let waits = state.waits.get_mut(&holder);
            let waits = waits.expect("a holder with a turn has waits");
            let wait = waits.pop_front().expect("looked at just now");
            if waits.is_empty() {
                state.waits.remove(&holder);
            } else {
                state.turns.push_back(holder);
            }
            return Some((holder, wait));
        }
        None
    }
}

impl State {
    /// Takes a wait out of its row, unless it was answered meanwhile.
    fn give_up(&mut self, holder: Holder, number: u64) {
        let Some(row) = self.waits.get_mut(&holder) else {
            return;
        };
        row.retain(|wait| wait.number != number);
        if row.is_empty() {
            self.waits.remove(&holder);
            self.turns.retain(|with_waits| *with_waits != holder);
        }
    }
}

impl Charge {
    /// Takes `bytes` more; `false`, and nothing taken, when they are not left.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let shared = &self.budget.shared;
        let taken = shared.take(&mut shared.state(), self.holder, bytes);
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// Takes over what `other` holds. Both are of one holder and of one budget.
    pub fn join(&mut self, mut other: Charge) {
        let is_same = Arc::ptr_eq(&self.budget.shared, &other.budget.shared);
        assert!(is_same && self.holder == other.holder, "one holder's");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whose it is.
    pub fn holder(&self) -> Option<Holder> {
        self.holder
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.shared.give_back(self.holder, self.bytes);
        self.budget.settle();
    }
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Budget({} of {} used)",
            self.used_bytes(),
            self.bytes_max()
        )
    }
}

impl std::fmt::Debug for Charge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Charge({} for {:?})", self.bytes, self.holder)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    const ALICE: Holder = Holder(1);
    const BOB: Holder = Holder(2);

    type Waiting = Pin<Box<dyn Future<Output = Charge>>>;

    /// A wait that stands in the row.
    fn waiting(budget: &Budget, holder: Holder, bytes: usize) -> Waiting {
        let budget = budget.clone();
        let mut wait: Waiting = Box::pin(async move { budget.wait_for(holder, bytes).await });
        assert!(answered(&mut wait).is_none(), "it has to wait");
        wait
    }

    fn answered(wait: &mut Waiting) -> Option<Charge> {
        match wait.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(charge) => Some(charge),
            Poll::Pending => None,
        }
    }

    fn at_once(budget: &Budget, holder: Holder, bytes: usize) -> Charge {
        let wait = pin!(budget.wait_for(holder, bytes));
        match wait.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(charge) => charge,
            Poll::Pending => panic!("there is room"),
        }
    }

    #[test]
    fn a_spent_budget_says_no_until_a_charge_comes_back() {
        let budget = Budget::new(100);
        let mut first = budget.take(60).expect("room");
        assert!(budget.take(50).is_none());
        assert!(first.grow(40));
        assert!(!first.grow(1));
        assert!(!first.grow(usize::MAX));
        assert_eq!(budget.used_bytes(), 100);
        drop(first);
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.take(100).is_some());
    }

    #[test]
    fn a_holder_with_its_share_spent_leaves_the_rest_to_others() {
        let budget = Budget::with_shares(100, 40);
        let mut held = budget.take_for(ALICE, 30).expect("room");
        assert!(budget.take_for(ALICE, 11).is_none());
        assert!(!held.grow(11));
        assert!(held.grow(10));
        assert_eq!(budget.held_bytes(ALICE), 40);
        assert_eq!(budget.held_bytes(BOB), 0);
        let other = budget.take_for(BOB, 40).expect("room for another");
        assert!(
            budget.take_for(Holder(3), 21).is_none(),
            "all is bounded too"
        );
        drop((held, other));
        assert_eq!(budget.used_bytes(), 0);
        assert!(
            budget.shared.state().held.is_empty(),
            "nothing is kept of a peer that left"
        );
    }

    #[test]
    fn joined_charges_come_back_once() {
        let budget = Budget::with_shares(100, 40);
        let mut first = budget.take_for(ALICE, 10).expect("room");
        first.join(at_once(&budget, ALICE, 30));
        assert_eq!((first.bytes(), budget.used_bytes()), (40, 40));
        drop(first);
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.shared.state().held.is_empty());
    }

    #[test]
    fn a_charge_of_nothing_may_outlive_all_others() {
        let budget = Budget::with_shares(100, 40);
        let mut nothing = budget.take_for(ALICE, 0).expect("nothing");
        drop(budget.take_for(ALICE, 40).expect("room"));
        assert!(nothing.grow(5));
        drop(nothing);
        let nothing = budget.take_for(ALICE, 0).expect("nothing");
        drop(budget.take_for(ALICE, 1).expect("room"));
        drop(nothing);
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.shared.state().held.is_empty());
    }

    #[test]
    fn a_thousand_waits_of_one_holder_cost_another_a_single_turn() {
        let budget = Budget::with_shares(100, 90);
        let held = at_once(&budget, ALICE, 90);
        let mut of_alice: Vec<Waiting> = (0..1_000).map(|_| waiting(&budget, ALICE, 90)).collect();
        let mut of_bob = waiting(&budget, BOB, 50);
        drop(held);
        let second = answered(&mut of_alice[0]).expect("Alice waited first");
        assert!(answered(&mut of_bob).is_none());
        drop(second);
        let bobs = answered(&mut of_bob).expect("then it is Bob's turn");
        assert!(answered(&mut of_alice[1]).is_none());
        drop(bobs);
        assert!(answered(&mut of_alice[1]).is_some());
    }

    #[test]
    fn whoever_is_over_its_share_does_not_stop_those_behind() {
        let budget = Budget::with_shares(100, 60);
        let held = at_once(&budget, ALICE, 60);
        let _stuck = waiting(&budget, ALICE, 10);
        let _bob = at_once(&budget, BOB, 40);
        drop(held);
    }

    #[test]
    fn a_large_wait_is_not_overtaken_by_small_ones() {
        let budget = Budget::with_shares(100, 100);
        let held = at_once(&budget, Holder(3), 50);
        let mut large = waiting(&budget, ALICE, 80);
        let mut small = waiting(&budget, BOB, 10);
        drop(held);
        assert!(answered(&mut large).is_some());
        assert!(answered(&mut small).is_some());
    }

    #[test]
    fn a_wait_that_is_given_up_takes_nothing_and_blocks_nobody() {
        let budget = Budget::with_shares(100, 100);
        let held = at_once(&budget, Holder(3), 50);
        let large = waiting(&budget, ALICE, 80);
        let mut small = waiting(&budget, BOB, 10);
        drop(large);
        drop(held);
        assert!(answered(&mut small).is_some());
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.shared.state().waits.is_empty());
    }

    /// What is held may be held for long (a literal at its client's pace), so no other caller would look at the row.
    #[test]
    fn those_behind_a_wait_that_is_given_up_are_next_at_once() {
        let budget = Budget::with_shares(100, 100);
        let _held = at_once(&budget, Holder(3), 50);
        let large = waiting(&budget, ALICE, 80);
        let mut small = waiting(&budget, BOB, 10);
        drop(large);
        assert!(answered(&mut small).is_some());
        let large = waiting(&budget, ALICE, 80);
        let second = waiting(&budget, ALICE, 70);
        let mut small = waiting(&budget, ALICE, 10);
        drop(second);
        assert!(
            answered(&mut small).is_none(),
            "its holder's first wait stands"
        );
        drop(large);
        assert!(answered(&mut small).is_some());
        assert!(budget.shared.state().waits.is_empty());
    }

    #[test]
    fn waits_that_are_given_up_behind_one_that_stands_are_forgotten() {
        let budget = Budget::with_shares(100, 100);
        let _held = at_once(&budget, Holder(3), 50);
        let _stands = waiting(&budget, ALICE, 80);
        for _ in 0..100 {
            drop(waiting(&budget, ALICE, 80));
        }
        assert_eq!(budget.shared.state().waits[&ALICE].len(), 1);
    }

    #[test]
    fn more_than_a_share_is_taken_as_a_share() {
        let budget = Budget::with_shares(100, 40);
        assert_eq!(at_once(&budget, ALICE, 1_000).bytes(), 40);
    }
}
