//! One simulated disk: durable content, a volatile cache over it, bad blocks, and its faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;

use super::faults::{FaultCounts, Faults, strikes};
use super::image::{Block, Image, block_of};
use crate::limits::SECTOR_BYTES;
use crate::{BLOCK_BYTES, BlockingRead, IoFault};

/// Sectors of one block.
const BLOCK_SECTORS: usize = BLOCK_BYTES / SECTOR_BYTES;

/// Which part of an unfinished write reaches the medium when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landing {
    Nothing,
    All,
    /// Only the sectors before this one.
    Before(usize),
    /// Only this sector and what follows it.
    From(usize),
    /// Each sector by the disk's own dice.
    Random,
}

/// What becomes of completed writes that no flush covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheLanding {
    Lost,
    Kept,
    /// Each sector by the disk's own dice.
    Random,
}

/// A block whose newest content is only in the volatile cache.
#[derive(Clone)]
pub struct CachedBlock {
    /// What a read sees.
    bytes: Arc<Block>,
    /// When the block entered the cache, and when it last changed there (counted in writes).
    born: u64,
    /// By this a flush knows whether the block has changed again since it began.
    changed: u64,
}

/// What a flush promised to make durable when it started.
pub struct FlushScope {
    /// The blocks and their content when the flush began.
    blocks: Vec<(u64, Arc<Block>)>,
    /// Writes completed until then.
    writes: u64,
}

/// The content of one disk and what goes wrong with it.
#[derive(Clone)]
pub struct Medium {
    /// What a power cut leaves.
    image: Image,
    /// Completed writes that no flush has covered, by block.
    cache: BTreeMap<u64, CachedBlock>,
    /// Blocks that cannot be read until they are rewritten.
    bad: BTreeSet<u64>,
    /// Writes completed so far: the clock of the cache.
    writes: u64,
    /// The disk's own dice.
    rng: Rng,
    /// `false`: it was pulled. Every operation answers `Gone`.
    pub present: bool,
    /// How likely each fault is.
    pub faults: Faults,
    /// How often each fault has struck.
    pub counts: FaultCounts,
}

/// A disk shared between the world and blocking readers.
#[derive(Clone)]
pub struct Disk {
    medium: Arc<Mutex<Medium>>,
}

impl Disk {
    /// A blank disk of `bytes`; `seed` decides its faults.
    pub fn new(bytes: u64, seed: u64) -> Disk {
        let medium = Medium {
            image: Image::new(bytes),
            cache: BTreeMap::new(),
            bad: BTreeSet::new(),
            writes: 0,
            rng: Rng::with_seed(seed),
            present: true,
            faults: Faults::default(),
            counts: FaultCounts::default(),
        };
        Disk::of(medium)
    }

    /// A disk with this content.
    pub fn of(medium: Medium) -> Disk {
        Disk {
            medium: Arc::new(Mutex::new(medium)),
        }
    }

    /// The content. Held for one operation at most.
    pub fn lock(&self) -> MutexGuard<'_, Medium> {
        self.medium.lock().expect("no holder of this lock panics")
    }
}

impl BlockingRead for Disk {
    fn read_at(&self, at: u64, into: &mut [u8]) -> Result<(), IoFault> {
        self.lock().read(at, into)
    }
}

impl Medium {
    pub fn capacity_bytes(&self) -> u64 {
        self.image.blocks() * BLOCK_BYTES as u64
    }

    /// Other dice from here on. A replay of a run calls it at the same moments.
    pub fn reseed(&mut self, seed: u64) {
        self.rng = Rng::with_seed(seed);
    }

    /// A completed read: what the operating system sees, faults included.
    pub fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), IoFault> {
        self.check_range(at, into.len() as u64);
        if !self.present {
            return Err(IoFault::Gone);
        }
        let blocks = (into.len() / BLOCK_BYTES) as u64;
        let mut first = at / BLOCK_BYTES as u64;
        if strikes(&mut self.rng, self.faults.sticky_read_error) {
            let bad = first + self.rng.u64(..blocks);
            self.bad.insert(bad);
        }
        if strikes(&mut self.rng, self.faults.read_error)
            || self.bad.range(first..first + blocks).next().is_some()
        {
            self.counts.read_errors += 1;
            return Err(IoFault::Medium);
        }
        if strikes(&mut self.rng, self.faults.misdirected_read) {
            self.counts.misdirected_reads += 1;
            first = self.rng.u64(..=self.image.blocks() - blocks);
        }
        self.copy_out(first, into);
        Ok(())
    }

    /// A completed write.
    pub fn write(&mut self, at: u64, bytes: &[u8], durable: bool) -> Result<(), IoFault> {
        self.check_range(at, bytes.len() as u64);
        if !self.present {
            return Err(IoFault::Gone);
        }
        let mut first = at / BLOCK_BYTES as u64;
        let blocks = (bytes.len() / BLOCK_BYTES) as u64;
        if let Some(fault) = self.faults.refuses_writes {
            self.counts.write_errors += 1;
            return Err(fault);
        }
        if strikes(&mut self.rng, self.faults.write_error) {
            self.counts.write_errors += 1;
            self.land(at, bytes, Landing::Random);
            return Err(IoFault::Medium);
        }
        if strikes(&mut self.rng, self.faults.lost_write) {
            self.counts.lost_writes += 1;
            return Ok(());
        }
        if strikes(&mut self.rng, self.faults.misdirected_write) {
            self.counts.misdirected_writes += 1;
            first = self.rng.u64(..=self.image.blocks() - blocks);
        }
        let lies = durable && strikes(&mut self.rng, self.faults.lying_flush);
        if lies {
            self.counts.lying_flushes += 1;
        }
        self.writes += 1;
        for (index, bytes) in bytes.chunks_exact(BLOCK_BYTES).enumerate() {
            let block = first + index as u64;
            self.bad.remove(&block);
            if durable && !lies {
                self.cache.remove(&block);
                self.image.set(block, block_of(bytes));
            } else {
                let born = self
                    .cache
                    .get(&block)
                    .map_or(self.writes, |cached| cached.born);
                let cached = CachedBlock {
                    bytes: block_of(bytes),
                    born,
                    changed: self.writes,
                };
                self.cache.insert(block, cached);
            }
        }
        if strikes(&mut self.rng, self.faults.rot) {
            let bit = self.rng.u64(..bytes.len() as u64 * 8);
            self.flip_bit(first * BLOCK_BYTES as u64 + bit / 8, (bit % 8) as u8);
        }
        Ok(())
    }

    /// A flush covers the writes completed before it starts.
    pub fn flush_begins(&self) -> FlushScope {
        let blocks = self
            .cache
            .iter()
            .map(|(block, cached)| (*block, cached.bytes.clone()))
            .collect();
        FlushScope {
            blocks,
            writes: self.writes,
        }
    }

    /// The flush is over: what it covered is durable, unless the disk lies. A block that changed since stays in the
    /// cache as well.
    pub fn flush_ends(&mut self, scope: FlushScope) -> Result<(), IoFault> {
        if !self.present {
            return Err(IoFault::Gone);
        }
        if strikes(&mut self.rng, self.faults.lying_flush) {
            self.counts.lying_flushes += 1;
            return Ok(());
        }
        for (block, bytes) in scope.blocks {
            let Some(cached) = self.cache.get(&block) else {
                continue;
            };
            if cached.born > scope.writes {
                continue; // a durable write came between: the flush's bytes are older than the medium's
            }
            if cached.changed <= scope.writes {
                self.cache.remove(&block);
            }
            self.image.set(block, bytes);
        }
        Ok(())
    }

    /// What a discarded range reads as is undefined: what was there, zeroes or noise, block by block.
    pub fn discard(&mut self, at: u64, bytes: u64) -> Result<(), IoFault> {
        self.check_range(at, bytes);
        if !self.present {
            return Err(IoFault::Gone);
        }
        let first = at / BLOCK_BYTES as u64;
        for block in first..first + bytes / BLOCK_BYTES as u64 {
            match self.rng.u8(..3) {
                0 => {}
                1 => self.store(block, Arc::new([0; BLOCK_BYTES])),
                _ => {
                    let mut noise = [0; BLOCK_BYTES];
                    self.rng.fill(&mut noise);
                    self.store(block, Arc::new(noise));
                }
            }
        }
        Ok(())
    }

    /// Stores the part of an unfinished write that `landing` names.
    pub fn land(&mut self, at: u64, bytes: &[u8], landing: Landing) {
        if !self.present || landing == Landing::Nothing {
            return;
        }
        let (mut stored, mut missing) = (0, 0);
        for (index, sector) in bytes.chunks_exact(SECTOR_BYTES).enumerate() {
            let lands = match landing {
                Landing::Nothing => false,
                Landing::All => true,
                Landing::Before(end) => index < end,
                Landing::From(begin) => index >= begin,
                Landing::Random => self.rng.bool(),
            };
            if !lands {
                missing += 1;
                continue;
            }
            stored += 1;
            let at = at + (index * SECTOR_BYTES) as u64;
            self.store_sector(at, sector);
        }
        if stored > 0 && missing > 0 {
            self.counts.torn_writes += 1;
        }
    }

    /// Decides what a power cut leaves of the volatile cache.
    pub fn land_cache(&mut self, landing: CacheLanding) {
        for (block, cached) in std::mem::take(&mut self.cache) {
            match landing {
                CacheLanding::Lost => self.counts.cache_blocks_lost += 1,
                CacheLanding::Kept => self.image.set(block, cached.bytes),
                CacheLanding::Random => {
                    let mut lost = false;
                    for sector in 0..BLOCK_SECTORS {
                        if self.rng.bool() {
                            let begin = sector * SECTOR_BYTES;
                            let from = &cached.bytes[begin..begin + SECTOR_BYTES];
                            self.image.block_mut(block)[begin..begin + SECTOR_BYTES]
                                .copy_from_slice(from);
                        } else {
                            lost = true;
                        }
                    }
                    self.counts.cache_blocks_lost += u64::from(lost);
                }
            }
        }
    }

    /// The disk's bytes as a reader without faults would see them.
    pub fn peek(&self, at: u64, into: &mut [u8]) {
        let mut done = 0;
        while done < into.len() {
            let from = at + done as u64;
            let (block, within) = (
                from / BLOCK_BYTES as u64,
                (from % BLOCK_BYTES as u64) as usize,
            );
            let count = (BLOCK_BYTES - within).min(into.len() - done);
            match self.content(block) {
                Some(bytes) => {
                    into[done..done + count].copy_from_slice(&bytes[within..within + count])
                }
                None => into[done..done + count].fill(0),
            }
            done += count;
        }
    }

    /// As `peek`, of what a power cut with nothing kept would leave.
    pub fn peek_durable(&self, at: u64, into: &mut [u8]) {
        let mut done = 0;
        while done < into.len() {
            let from = at + done as u64;
            let (block, within) = (
                from / BLOCK_BYTES as u64,
                (from % BLOCK_BYTES as u64) as usize,
            );
            let count = (BLOCK_BYTES - within).min(into.len() - done);
            match self.image.block(block) {
                Some(bytes) => {
                    into[done..done + count].copy_from_slice(&bytes[within..within + count])
                }
                None => into[done..done + count].fill(0),
            }
            done += count;
        }
    }

    /// Changes stored bytes without the engine's knowledge, durably.
    pub fn poke(&mut self, at: u64, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            let at = at + index as u64;
            self.change(at, |old| *old = *byte);
        }
    }

    /// Rot: one bit of the stored content changes.
    pub fn flip_bit(&mut self, at: u64, bit: u8) {
        assert!(bit < 8);
        self.counts.bit_flips += 1;
        self.change(at, |old| *old ^= 1 << bit);
    }

    /// Another, blank disk of the same size takes this one's place.
    pub fn wipe(&mut self) {
        self.image = Image::new(self.capacity_bytes());
        self.cache.clear();
        self.bad.clear();
    }

    /// The disk ends after `bytes` from now on, as a file or a LUN that was made smaller. Call it between two runs: a device
    /// under the code's feet keeps the size it was opened with.
    pub fn cut_short(&mut self, bytes: u64) {
        self.image.cut_short(bytes);
        let blocks = self.image.blocks();
        self.cache.retain(|&block, _| block < blocks);
        self.bad.retain(|&block| block < blocks);
    }

    /// Every block can be read again: what made reads fail has passed.
    pub fn clear_bad(&mut self) {
        self.bad.clear();
    }

    /// Reads of this block fail until it is rewritten.
    pub fn mark_bad(&mut self, block: u64) {
        assert!(block < self.image.blocks());
        self.bad.insert(block);
    }

    /// Blocks that cannot be read, ascending.
    pub fn bad_blocks(&self) -> Vec<u64> {
        self.bad.iter().copied().collect()
    }

    /// Blocks that hold anything, ascending; those only in the cache included.
    pub fn written_blocks(&self) -> Vec<u64> {
        let mut blocks: BTreeSet<u64> = self.image.written().collect();
        blocks.extend(self.cache.keys());
        blocks.into_iter().collect()
    }

    /// Changes one stored byte, where a read would find it.
    fn change(&mut self, at: u64, change: impl Fn(&mut u8)) {
        let (block, within) = (at / BLOCK_BYTES as u64, (at % BLOCK_BYTES as u64) as usize);
        match self.cache.get_mut(&block) {
            Some(cached) => change(&mut Arc::make_mut(&mut cached.bytes)[within]),
            None => change(&mut self.image.block_mut(block)[within]),
        }
    }

    /// What a read of the block sees; `None`: it was never written.
    fn content(&self, block: u64) -> Option<&Arc<Block>> {
        match self.cache.get(&block) {
            Some(cached) => Some(&cached.bytes),
            None => self.image.block(block),
        }
    }

    /// Copies whole blocks. A block that was never written reads as zeros.
    fn copy_out(&self, first: u64, into: &mut [u8]) {
        for (index, into) in into.chunks_exact_mut(BLOCK_BYTES).enumerate() {
            match self.content(first + index as u64) {
                Some(bytes) => into.copy_from_slice(&bytes[..]),
                None => into.fill(0),
            }
        }
    }

    /// The block is durable with this content, and can be read again.
    fn store(&mut self, block: u64, bytes: Arc<Block>) {
        self.bad.remove(&block);
        self.cache.remove(&block);
        self.image.set(block, bytes);
    }

    /// One sector is durable with this content. The cached block, if there is one, changes as well.
    fn store_sector(&mut self, at: u64, sector: &[u8]) {
        let (block, within) = (at / BLOCK_BYTES as u64, (at % BLOCK_BYTES as u64) as usize);
        if let Some(cached) = self.cache.get_mut(&block) {
            Arc::make_mut(&mut cached.bytes)[within..within + sector.len()].copy_from_slice(sector);
        }
        self.image.block_mut(block)[within..within + sector.len()].copy_from_slice(sector);
    }

    /// The engine asks for whole blocks within the disk only; anything else is a fault of ours.
    fn check_range(&self, at: u64, bytes: u64) {
        assert!(
            at.is_multiple_of(BLOCK_BYTES as u64) && bytes.is_multiple_of(BLOCK_BYTES as u64),
            "unaligned: {at}+{bytes}"
        );
        assert!(
            bytes > 0
                && at
                    .checked_add(bytes)
                    .is_some_and(|end| end <= self.capacity_bytes()),
            "out of range: {at}+{bytes}"
        );
    }
}
