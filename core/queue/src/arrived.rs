//! Deliveries that came in lately, by their ids: one that comes twice, directly and from an inbound spool, is placed once.
//!
//! Row of `ARRIVED`: number of a block modulo `BLOCKS` (u32 big-endian) → the block. Blocks are filled one behind the other, and the one that is
//! `BLOCKS` older goes. So memory, rows and records are bounded, and a checkpoint writes the blocks that changed.
//!
//! What must hold: an id is forgotten only when `WINDOW` deliveries and more came in after it; fewer where many of them were refused for some of
//! several hundred recipients, and never fewer than `WINDOW_BLOCKS` (`BLOCK_PLACES`). That is enough: the question is asked of a delivery that was
//! begun and whose end the spool does not know, and while one such waits in a spool, every new message goes to the spool as well. (A stuck one lets
//! mail past it only once storage has said that no recipient has it and that no delivery of it is under way.) What can come in between are the
//! deliveries that were begun before, and these are bounded by the owner's lane (`storage::owner::LANE_ITEMS_MAX`) and by what is under way behind
//! it.
//!
//! Reclaim writes the newest `WINDOW` ids again where their records go. In a projection that is built from the bare log an id is at the place of its
//! first record that is left, at most `WINDOW` of older ones come behind it, and `BLOCKS` have room for twice as many.

use std::collections::{BTreeSet, HashMap, VecDeque};

use base::cursor::{Reader, Write};
use store::{Change as Row, Table};
use tenancy::encoding::{Broken, read_u32};

use crate::limits::RECIPIENTS_MAX;

pub(crate) const ARRIVED: Table = Table(66);

/// A delivery: the first half of the BLAKE3 name of its bytes, of which our trace fields with an id of their own are a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub [u8; 16]);

impl DeliveryId {
    pub fn of(name: &base::BodyName) -> DeliveryId {
        let mut id = [0; 16];
        id.copy_from_slice(&name.0[..16]);
        DeliveryId(id)
    }

    /// Of the same bytes when they are delivered once more on purpose; `round` 0 is the first time.
    pub fn again(name: &base::BodyName, round: u32) -> DeliveryId {
        match round {
            0 => DeliveryId::of(name),
            _ => {
                let mut bytes = name.0.to_vec();
                bytes.extend_from_slice(&round.to_le_bytes());
                DeliveryId::of(&base::BodyName::of(&bytes))
            }
        }
    }
}

/// Who has what was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// Every recipient: in a mailbox or in the queue.
    All,
    /// These alone, ascending; the layer above says what the numbers mean. Others were refused.
    Only(Vec<u32>),
}

impl Served {
    pub fn has(&self, place: u32) -> bool {
        match self {
            Served::All => true,
            Served::Only(places) => places.binary_search(&place).is_ok(),
        }
    }

    fn join(&mut self, more: &Served) {
        match (&mut *self, more) {
            (Served::Only(places), Served::Only(more)) => {
                places.extend(more);
                places.sort_unstable();
                places.dedup();
                places.truncate(RECIPIENTS_MAX);
            }
            _ => *self = Served::All,
        }
    }

    fn places(&self) -> &[u32] {
        match self {
            Served::All => &[],
            Served::Only(places) => places,
        }
    }

    /// `All` is a list of length 0: nothing is noted that served nobody.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.places().len() as u64);
        for place in self.places() {
            out.put_varint(u64::from(*place));
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Served, Broken> {
        let count = crate::entry::count(reader, RECIPIENTS_MAX)?;
        let mut places: Vec<u32> = Vec::with_capacity(count);
        for _ in 0..count {
            let place = read_u32(reader)?;
            if places.last().is_some_and(|last| *last >= place) {
                return Err(Broken);
            }
            places.push(place);
        }
        Ok(match places.is_empty() {
            true => Served::All,
            false => Served::Only(places),
        })
    }
}

pub(crate) fn read_id(reader: &mut Reader<'_>) -> Result<DeliveryId, Broken> {
    let mut id = [0; 16];
    for byte in &mut id {
        *byte = reader.u8()?;
    }
    Ok(DeliveryId(id))
}

pub(crate) fn put_id(out: &mut Vec<u8>, id: DeliveryId) {
    out.extend_from_slice(&id.0);
}

/// Ids that came in one behind the other.
#[derive(Default)]
struct Block {
    ids: Vec<(DeliveryId, Served)>,
    places: usize,
}

#[derive(Default)]
pub(crate) struct Arrived {
    /// The first of them has the number `first`.
    blocks: VecDeque<Block>,
    first: u64,
    /// Each id's block and its index there.
    at: HashMap<DeliveryId, (u64, usize)>,
    /// Blocks that differ from the projection since the last `collect`, and those that a checkpoint writes.
    dirty: BTreeSet<u64>,
    writing: BTreeSet<u64>,
}

impl Arrived {
    pub fn find(&self, id: DeliveryId) -> Option<&Served> {
        let (block, index) = self.at.get(&id)?;
        let block = &self.blocks[(block - self.first) as usize];
        Some(&block.ids[*index].1)
    }

    /// Whether reclaim has to write it again.
    pub fn is_recent(&self, id: DeliveryId) -> bool {
        let newest = self.first + self.blocks.len() as u64;
        let recent = newest.saturating_sub(WINDOW_BLOCKS);
        self.at.get(&id).is_some_and(|(block, _)| *block >= recent)
    }

    /// Of an id that is there already, what is known grows: the order of two records about one id makes no difference.
    pub fn note(&mut self, id: DeliveryId, served: &Served) {
        if let Some((number, index)) = self.at.get(&id) {
            let block = &mut self.blocks[(number - self.first) as usize];
            let known = &mut block.ids[*index].1;
            if *known != *served {
                known.join(served);
                self.dirty.insert(*number);
            }
            return;
        }
        let is_full = |block: &Block| block.ids.len() >= BLOCK_IDS || block.places >= BLOCK_PLACES;
        if self.blocks.back().is_none_or(is_full) {
            self.blocks.push_back(Block::default());
            if self.blocks.len() > BLOCKS {
                self.drop_first();
            }
        }
        let number = self.first + self.blocks.len() as u64 - 1;
        let block = self.blocks.back_mut().expect("pushed where there was none");
        self.at.insert(id, (number, block.ids.len()));
        block.places += served.places().len();
        block.ids.push((id, served.clone()));
        self.dirty.insert(number);
    }

    fn drop_first(&mut self) {
        let Some(gone) = self.blocks.pop_front() else {
            return;
        };
        for (id, _) in gone.ids {
            self.at.remove(&id);
        }
        // Its row is the new block's from now on.
        self.dirty.remove(&self.first);
        self.writing.remove(&self.first);
        self.first += 1;
    }

    // Rows.

    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.writing.is_empty()
    }

    pub fn dirty_rows(&self) -> usize {
        self.dirty.len() + self.writing.len()
    }

    pub fn collect(&mut self, rows: &mut Vec<Row>) {
        self.writing.append(&mut self.dirty);
        for number in &self.writing {
            let block = &self.blocks[(number - self.first) as usize];
            let mut out = Vec::with_capacity(20 + block.ids.len() * 18);
            encode_block(*number, &block.ids, &mut out);
            rows.push(Row {
                table: ARRIVED,
                key: ((number % BLOCKS as u64) as u32).to_be_bytes().to_vec(),
                value: Some(out),
            });
        }
    }

    pub fn settle(&mut self) {
        self.writing.clear();
    }

    /// The rows of the table, in any order. They are the newest blocks without a gap: blocks are written oldest first, all at once.
    pub fn install(&mut self, rows: &[Vec<u8>]) -> Result<(), Broken> {
        let mut blocks = Vec::with_capacity(rows.len());
        for row in rows {
            blocks.push(decode_block(row)?);
        }
        blocks.sort_by_key(|(number, _)| *number);
        self.first = blocks.first().map_or(0, |(number, _)| *number);
        for (index, (number, ids)) in blocks.into_iter().enumerate() {
            if number != self.first + index as u64 || index >= BLOCKS {
                return Err(Broken);
            }
            for (at, (id, _)) in ids.iter().enumerate() {
                if self.at.insert(*id, (number, at)).is_some() {
                    return Err(Broken);
                }
            }
            let places = ids.iter().map(|(_, served)| served.places().len()).sum();
            self.blocks.push_back(Block { ids, places });
        }
        Ok(())
    }

    /// What must hold between calls; for tests and the simulator.
    pub fn check(&self) {
        assert!(self.blocks.len() <= BLOCKS);
        let ids: usize = self.blocks.iter().map(|block| block.ids.len()).sum();
        assert_eq!(ids, self.at.len());
        for (id, (number, index)) in &self.at {
            let block = &self.blocks[(number - self.first) as usize];
            assert_eq!(block.ids[*index].0, *id);
        }
    }
}

pub(crate) fn encode_block(number: u64, ids: &[(DeliveryId, Served)], out: &mut Vec<u8>) {
    out.put_u8(ROW_VERSION);
    out.put_varint(number);
    out.put_varint(ids.len() as u64);
    for (id, served) in ids {
        put_id(out, *id);
        served.encode(out);
    }
}

type Ids = Vec<(DeliveryId, Served)>;

pub(crate) fn decode_block(row: &[u8]) -> Result<(u64, Ids), Broken> {
    let reader = &mut Reader::new(row);
    if reader.u8()? != ROW_VERSION {
        return Err(Broken);
    }
    let number = reader.varint()?;
    let mut ids = Vec::new();
    for _ in 0..crate::entry::count(reader, BLOCK_IDS)? {
        ids.push((read_id(reader)?, Served::decode(reader)?));
    }
    match reader.is_empty() {
        true => Ok((number, ids)),
        false => Err(Broken),
    }
}

const ROW_VERSION: u8 = 1;
/// Ids in one row, about 1 KiB.
const BLOCK_IDS: usize = 64;
/// A block with so many numbers of `Served::Only` takes no more ids: with one list of the greatest length its row has 8 KiB.
const BLOCK_PLACES: usize = 512;
/// 32,768 ids: some 3 MiB of memory, and 3 MiB more at most where every delivery had refused recipients.
pub(crate) const BLOCKS: usize = 512;
const WINDOW_BLOCKS: u64 = BLOCKS as u64 / 2;
/// Deliveries after which an id may be forgotten.
pub const WINDOW: usize = WINDOW_BLOCKS as usize * BLOCK_IDS;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> DeliveryId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        DeliveryId(id)
    }

    fn rows(arrived: &mut Arrived) -> HashMap<Vec<u8>, Vec<u8>> {
        let mut rows = Vec::new();
        arrived.collect(&mut rows);
        arrived.settle();
        let of = |row: Row| (row.key, row.value.unwrap());
        rows.into_iter().map(of).collect()
    }

    #[test]
    fn the_newest_are_known_and_it_stays_bounded() {
        let mut arrived = Arrived::default();
        let count = (3 * BLOCKS * BLOCK_IDS + 7) as u64;
        for number in 0..count {
            arrived.note(id(number), &Served::All);
        }
        arrived.check();
        let window = WINDOW as u64;
        assert!(
            (count - window..count).all(|number| arrived.find(id(number)) == Some(&Served::All))
        );
        assert_eq!(arrived.find(id(count - 2 * window - 64)), None);
        assert!(arrived.at.len() <= BLOCKS * BLOCK_IDS);
        assert!(arrived.is_recent(id(count - 1)) && !arrived.is_recent(id(count - window - 64)));
    }

    #[test]
    fn what_is_known_of_one_delivery_grows_in_any_order() {
        let notes = [
            Served::Only(vec![3, 9]),
            Served::Only(vec![1, 3]),
            Served::All,
        ];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut arrived = Arrived::default();
            arrived.note(id(1), &notes[order[0]]);
            arrived.note(id(1), &notes[order[1]]);
            if !order[..2].contains(&2) {
                let both = arrived.find(id(1)).unwrap();
                assert_eq!(*both, Served::Only(vec![1, 3, 9]));
                assert!(both.has(9) && !both.has(2));
            }
            arrived.note(id(1), &notes[order[2]]);
            assert_eq!(arrived.find(id(1)), Some(&Served::All));
        }
    }

    /// Rows of several checkpoints over each other, as the projection keeps them, over more blocks than there are rows.
    #[test]
    fn rows_give_what_was_in_memory() {
        let mut arrived = Arrived::default();
        let mut kept = HashMap::new();
        let mut number = 0;
        for round in 0..9 {
            for _ in 0..BLOCKS * BLOCK_IDS / 5 + round {
                let served = match number % 1_000 {
                    0 => Served::Only((0..700).collect()),
                    _ => Served::All,
                };
                arrived.note(id(number), &served);
                number += 1;
            }
            // One that is some blocks old becomes known better.
            arrived.note(id(number / 1_000 * 1_000), &Served::All);
            kept.extend(rows(&mut arrived));
            assert!(!arrived.is_dirty() && kept.len() <= BLOCKS);
            let mut again = Arrived::default();
            let read: Vec<Vec<u8>> = kept.values().cloned().collect();
            again.install(&read).unwrap();
            again.check();
            assert_eq!(again.first, arrived.first);
            assert_eq!(again.at, arrived.at);
            for id in arrived.at.keys() {
                assert_eq!(again.find(*id), arrived.find(*id));
            }
        }
    }
}
