//! SORT and THREAD as the two kinds of one job: something of each message is gathered, made into what may be kept, and answered from that.

use std::sync::Arc;

use imap::sort::ranked::{self, Ranked};
use imap::sort::{SortCriterion, SortField, Sorter};
use imap::thread::links::Links;
use imap::thread::{ThreadAlgorithm, Threader};

use super::Gather;
use crate::orders::Order;

/// Clones are the same job.
pub trait Job: Clone + Send + 'static {
    /// Takes what counts out of messages.
    type From: Gather;
    /// What may be kept.
    type Order: Order;
    type Answer: Send + 'static;

    /// What it needs, each once.
    fn fields(&self) -> Vec<Option<SortField>>;

    /// For `count` messages and some of `fields`; and whether headers are looked at.
    fn gatherer(&self, fields: &[Option<SortField>], count: usize) -> (Self::From, bool);

    /// What was gathered, by field; `uids` are those of the messages.
    fn made(from: Self::From, uids: Vec<u32>) -> Vec<(Option<SortField>, Self::Order)>;

    /// What `made` adds to what `from` holds, its answer included.
    fn making_bytes(from: &Self::From) -> usize;

    /// Which of `uids` are there.
    fn knows<'o>(order: &'o Self::Order, uids: &'o [u32]) -> impl Iterator<Item = bool> + 'o;

    /// Both as one, without what is not in `live`.
    fn merged(
        old: &Self::Order,
        fresh: &Self::Order,
        live: impl Iterator<Item = u32>,
    ) -> Self::Order;

    /// Without `uids`.
    fn without(order: &Self::Order, uids: &[u32]) -> Self::Order;

    /// `orders` are of `fields`, in their order.
    fn answer(&self, orders: &[&Self::Order], uids: &[u32]) -> Self::Answer;

    /// What `answer` holds for so many messages.
    fn answer_bytes(&self, orders: &[&Self::Order], count: usize) -> usize;

    /// The answer where there is no memory for what could be kept.
    fn plain(&self, from: Self::From) -> Self::Answer;
}

/// Answers places in the order that was asked for.
#[derive(Clone)]
pub struct Sorting {
    pub criteria: Arc<[SortCriterion]>,
}

/// Answers the list of threads.
#[derive(Clone)]
pub struct Threading {
    pub algorithm: ThreadAlgorithm,
    /// What the client calls each message.
    pub numbers: Arc<Vec<u32>>,
}

impl Job for Sorting {
    type From = Sorter;
    type Order = Ranked;
    type Answer = Vec<u32>;

    fn fields(&self) -> Vec<Option<SortField>> {
        let mut fields: Vec<Option<SortField>> = Vec::new();
        for criterion in &*self.criteria {
            if !fields.contains(&Some(criterion.field)) {
                fields.push(Some(criterion.field));
            }
        }
        fields
    }

    fn gatherer(&self, fields: &[Option<SortField>], count: usize) -> (Sorter, bool) {
        let named = |criterion: &&SortCriterion| fields.contains(&Some(criterion.field));
        let criteria = self.criteria.iter().filter(named).copied();
        let criteria: Vec<SortCriterion> = criteria.collect();
        let needs_header = Sorter::needs_header(&criteria);
        (Sorter::new(&criteria, count), needs_header)
    }

    fn made(from: Sorter, uids: Vec<u32>) -> Vec<(Option<SortField>, Ranked)> {
        let ranked = from.ranked(&uids);
        ranked
            .map(|(field, ranked)| (Some(field), ranked))
            .collect()
    }

    fn making_bytes(from: &Sorter) -> usize {
        from.ranking_bytes()
    }

    fn knows<'o>(order: &'o Ranked, uids: &'o [u32]) -> impl Iterator<Item = bool> + 'o {
        order.knows(uids)
    }

    fn merged(old: &Ranked, fresh: &Ranked, live: impl Iterator<Item = u32>) -> Ranked {
        Ranked::merged(old, fresh, live)
    }

    fn without(order: &Ranked, uids: &[u32]) -> Ranked {
        order.without(uids)
    }

    fn answer(&self, orders: &[&Ranked], uids: &[u32]) -> Vec<u32> {
        let fields = self.fields();
        let criteria = self.criteria.iter().map(|criterion| {
            let field = Some(criterion.field);
            let at = fields.iter().position(|other| *other == field);
            let at = at.expect("each criterion's field is there");
            (orders[at], criterion.reverse)
        });
        ranked::order(&criteria.collect::<Vec<_>>(), uids)
    }

    fn answer_bytes(&self, orders: &[&Ranked], count: usize) -> usize {
        let largest = orders.iter().map(|order| order.len()).max().unwrap_or(0);
        (count + largest) * ranked::ORDER_BYTES
    }

    fn plain(&self, from: Sorter) -> Vec<u32> {
        from.order()
    }
}

impl Job for Threading {
    type From = Threader;
    type Order = Links;
    type Answer = Vec<u8>;

    fn fields(&self) -> Vec<Option<SortField>> {
        vec![None]
    }

    fn gatherer(&self, _fields: &[Option<SortField>], _count: usize) -> (Threader, bool) {
        (Threader::new(self.algorithm), true)
    }

    fn made(from: Threader, uids: Vec<u32>) -> Vec<(Option<SortField>, Links)> {
        vec![(None, from.links(uids))]
    }

    /// What is gathered is what may be kept.
    fn making_bytes(_from: &Threader) -> usize {
        0
    }

    fn knows<'o>(order: &'o Links, uids: &'o [u32]) -> impl Iterator<Item = bool> + 'o {
        order.knows(uids)
    }

    fn merged(old: &Links, fresh: &Links, live: impl Iterator<Item = u32>) -> Links {
        Links::merged(old, fresh, live)
    }

    fn without(order: &Links, uids: &[u32]) -> Links {
        order.without(uids)
    }

    fn answer(&self, orders: &[&Links], uids: &[u32]) -> Vec<u8> {
        let number = |place: u32| self.numbers[place as usize];
        orders[0].trees(self.algorithm, uids, number)
    }

    fn answer_bytes(&self, orders: &[&Links], count: usize) -> usize {
        orders.iter().map(|order| order.trees_bytes(count)).sum()
    }

    fn plain(&self, from: Threader) -> Vec<u8> {
        from.trees(|place| self.numbers[place as usize])
    }
}
