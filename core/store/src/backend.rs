//! redb's storage on the volume's arena.
//!
//! redb runs on the index thread and must not wait for the volume's thread. So every page it writes stays in memory: in `dirty` until
//! it syncs, then in `burst` until the owner thread has written it to every leg and logged its check (`checkpoint.rs`). What is
//! in neither map is read from the arena and held against the page table. Page 0, the only one that redb rewrites in
//! place, is always in memory.
//!
//! Between calls: a page is in the newest of dirty, burst, table. `burst` changes only inside a commit, and no commit runs
//! while a burst is being written (one checkpoint at a time).

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use redb::StorageBackend;
use volume::{ArenaRead, ReadFault};

use crate::ahead::Ahead;
use crate::limits::{PAGE_BYTES, PROJECTION_PAGES_MAX};
use crate::pages::{PageTable, check_of};

/// redb's storage: pages in memory over pages on the legs. Used from the index thread and from the owner thread.
pub(crate) struct Arena {
    /// Reads pages from the legs without the owner thread.
    reader: Arc<dyn ArenaRead>,
    state: Mutex<State>,
}

/// What both threads see, under one lock.
struct State {
    /// Size of the file that redb believes to have.
    logical_bytes: u64,
    /// Always in memory.
    page0: Vec<u8>,
    /// Pages that redb wrote and has not synced.
    dirty: HashMap<u64, Bytes>,
    /// Pages of the commit that is being written to the legs.
    burst: HashMap<u64, Bytes>,
    /// The check of every page on the legs.
    table: PageTable,
    /// Pages read together with others during a replay.
    ahead: Ahead,
    /// The first read that failed, and how; redb answers nothing after it.
    fault: Option<ReadFault>,
    /// Every call of redb fails from here on.
    closed: bool,
}

/// The pages of one commit, taken to be written.
pub(crate) struct Burst {
    /// Page, content, check; ascending. Without page 0.
    pub pages: Vec<(u64, Bytes, u64)>,
    /// Page 0, which the log keeps whole.
    pub page0: Bytes,
    /// Size of redb's file at the commit.
    pub logical_bytes: u64,
}

impl State {
    /// The newest version of a page in memory.
    fn in_memory(&self, page: u64) -> Option<&[u8]> {
        let bytes = self.dirty.get(&page).or_else(|| self.burst.get(&page));
        bytes.map(|bytes| &bytes[..])
    }
}

impl Arena {
    /// An arena as the last checkpoint left it.
    pub fn new(
        reader: Arc<dyn ArenaRead>,
        table: PageTable,
        page0: Vec<u8>,
        logical_bytes: u64,
    ) -> Arena {
        let (dirty, burst) = (HashMap::new(), HashMap::new());
        Arena {
            reader,
            state: Mutex::new(State {
                logical_bytes,
                page0,
                dirty,
                burst,
                table,
                ahead: Ahead::default(),
                fault: None,
                closed: false,
            }),
        }
    }

    /// Held while pages are copied in memory, never while the legs are read: the owner thread must not wait for a device.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Everything that redb synced and that is not on the legs yet. On the index thread: it computes the checks.
    pub fn take_burst(&self) -> Burst {
        let (mut pages, page0, logical_bytes) = {
            let state = self.state();
            let pages: Vec<(u64, Bytes, u64)> = state
                .burst
                .iter()
                .map(|(page, bytes)| (*page, bytes.clone(), 0))
                .collect();
            (
                pages,
                Bytes::copy_from_slice(&state.page0),
                state.logical_bytes,
            )
        };
        pages.sort_unstable_by_key(|(page, ..)| *page);
        for (page, bytes, check) in &mut pages {
            *check = check_of(*page, bytes);
        }
        Burst {
            pages,
            page0,
            logical_bytes,
        }
    }

    /// The burst is on every leg and logged: from here its pages are read from there.
    pub fn retire(&self, burst: &Burst) {
        let mut state = self.state();
        for (page, _, check) in &burst.pages {
            state.table.set(*page, *check);
            state.burst.remove(page);
        }
        state.table.cut(burst.logical_bytes);
    }

    /// The table as it will be once `burst` is logged.
    pub fn table_with(&self, burst: &Burst) -> PageTable {
        let mut table = self.state().table.clone();
        for (page, _, check) in &burst.pages {
            table.set(*page, *check);
        }
        table.cut(burst.logical_bytes);
        table
    }

    pub fn table_bytes(&self) -> usize {
        self.state().table.bytes()
    }

    /// The check of what the legs hold of `page`. `None`: nothing, or it is not certain, because a newer version is on its way there.
    pub fn settled_check(&self, page: u64) -> Option<u64> {
        let state = self.state();
        let check = state.table.check(page);
        (check != 0 && page != 0 && state.in_memory(page).is_none()).then_some(check)
    }

    /// Whether redb has written anything that no checkpoint has logged.
    pub fn has_unlogged(&self) -> bool {
        let state = self.state();
        !state.burst.is_empty() || !state.dirty.is_empty()
    }

    /// From here until `replay_ended` a page that is read brings its neighbours along.
    pub fn replay_begins(&self) {
        self.state().ahead.begin();
    }

    /// Pages come one by one again; what was read ahead is given up.
    pub fn replay_ended(&self) {
        self.state().ahead.end();
    }

    /// Why redb answers nothing any more.
    pub fn fault(&self) -> Option<ReadFault> {
        self.state().fault.clone()
    }

    /// From here every call of redb fails at once: the devices may be gone, and nothing it still wants to write counts.
    pub fn close(&self) {
        self.state().closed = true;
    }

    /// Reads every page of the last logged checkpoint, which repairs what one leg has lost; says how many there are and how many no
    /// leg has.
    pub fn scrub(&self) -> (u64, u64) {
        let pages: Vec<u64> = self.state().table.written().map(|(page, _)| page).collect();
        let mut bytes = vec![0; PAGE_BYTES];
        // As redb reads them: a page rewritten meanwhile has another check.
        let lost = |page: &&u64| self.read_pages(**page, &mut bytes).is_err();
        (pages.len() as u64, pages.iter().filter(lost).count() as u64)
    }

    /// Fills `out`, whole pages, from the newest place of each: memory, or the legs.
    fn read_pages(&self, first: u64, out: &mut [u8]) -> Result<(), (u64, ReadFault)> {
        let mut missing: Vec<(u64, u64)> = Vec::new();
        {
            let state = self.state();
            for (page, bytes) in (first..).zip(out.chunks_mut(PAGE_BYTES)) {
                let in_memory = match page {
                    0 => Some(state.page0.as_slice()),
                    _ => state.in_memory(page),
                };
                match (in_memory, state.table.check(page)) {
                    (Some(found), _) => bytes.copy_from_slice(found),
                    (None, 0) => bytes.fill(0),
                    (None, check) => match state.ahead.page(page, check) {
                        Some(kept) => bytes.copy_from_slice(kept),
                        None => missing.push((page, check)),
                    },
                }
            }
        }
        // Without the lock: the owner thread must not wait for these reads.
        for run in missing.chunk_by(|(page, _), (next, _)| page + 1 == *next) {
            let checks: Vec<u64> = run.iter().map(|(_, check)| *check).collect();
            let (page, begin) = (run[0].0, (run[0].0 - first) as usize * PAGE_BYTES);
            let into = &mut out[begin..begin + run.len() * PAGE_BYTES];
            if !self.read_around(page, into) {
                let read = self.reader.read_pages(page, &checks, into);
                read.map_err(|fault| (page, fault))?;
            }
        }
        Ok(())
    }

    /// Fills `out` from page `first` on together with its neighbours, which are kept. `false`: nothing was done, or one of them cannot be
    /// read, and `out` is to be read by itself.
    fn read_around(&self, first: u64, out: &mut [u8]) -> bool {
        let wanted = first..first + (out.len() / PAGE_BYTES) as u64;
        let (around, checks) = {
            let state = self.state();
            let is_on_legs = |page: u64| {
                page != 0 && state.table.check(page) != 0 && state.in_memory(page).is_none()
            };
            let Some(around) = state.ahead.around(wanted, is_on_legs) else {
                return false;
            };
            let checks: Vec<u64> = around.clone().map(|page| state.table.check(page)).collect();
            (around, checks)
        };
        let mut bytes = vec![0; checks.len() * PAGE_BYTES];
        let read = self.reader.read_pages(around.start, &checks, &mut bytes);
        if read.is_err() {
            return false;
        }
        let begin = (first - around.start) as usize * PAGE_BYTES;
        out.copy_from_slice(&bytes[begin..begin + out.len()]);
        self.state()
            .ahead
            .keep(around.start, &checks, &bytes.into());
        true
    }

    /// A read of any range. The first fault is kept: redb's own error type cannot carry it.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check_range(offset, out.len())?;
        let (first, inside) = split(offset);
        let result = if inside == 0 && out.len().is_multiple_of(PAGE_BYTES) {
            self.read_pages(first, out)
        } else {
            let mut whole = vec![0; (inside + out.len()).next_multiple_of(PAGE_BYTES)];
            let result = self.read_pages(first, &mut whole);
            out.copy_from_slice(&whole[inside..inside + out.len()]);
            result
        };
        result.map_err(|(page, fault)| {
            tracing::warn!(page, %fault, "a page of the projection cannot be read");
            let message = format!("page {page}: {fault}");
            self.state().fault.get_or_insert(fault);
            io::Error::other(message)
        })
    }

    /// A write of any range. A part of a page is read first and written whole.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check_range(offset, data.len())?;
        let whole_pages =
            offset.is_multiple_of(PAGE_BYTES as u64) && data.len().is_multiple_of(PAGE_BYTES);
        // One copy for all pages of this write; each page is a slice of it.
        let shared = if whole_pages && offset > 0 {
            Bytes::copy_from_slice(data)
        } else {
            Bytes::new()
        };
        let mut done = 0;
        while done < data.len() {
            let (page, inside) = split(offset + done as u64);
            let count = (PAGE_BYTES - inside).min(data.len() - done);
            let piece = &data[done..done + count];
            if page == 0 {
                self.state().page0[inside..inside + count].copy_from_slice(piece);
            } else if whole_pages && offset > 0 {
                self.state()
                    .dirty
                    .insert(page, shared.slice(done..done + count));
            } else {
                let mut whole = vec![0; PAGE_BYTES];
                self.read(page * PAGE_BYTES as u64, &mut whole)?;
                whole[inside..inside + count].copy_from_slice(piece);
                self.state().dirty.insert(page, whole.into());
            }
            done += count;
        }
        Ok(())
    }

    /// redb asks for ranges within its file only; a closed arena answers an error.
    fn check_range(&self, offset: u64, bytes: usize) -> io::Result<()> {
        let state = self.state();
        if state.closed {
            return Err(io::Error::other("the projection is closed"));
        }
        if offset
            .checked_add(bytes as u64)
            .is_none_or(|end| end > state.logical_bytes)
        {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(())
    }
}

/// Page, and offset in it.
fn split(offset: u64) -> (u64, usize) {
    (
        offset / PAGE_BYTES as u64,
        (offset % PAGE_BYTES as u64) as usize,
    )
}

/// redb's handle on an arena.
pub(crate) struct Backend(pub Arc<Arena>);

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Backend")
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.state().logical_bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    /// Both ways. Space is taken from the volume only for pages that are written, so redb's habit of doubling costs nothing.
    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.state();
        if len > (PROJECTION_PAGES_MAX * PAGE_BYTES) as u64 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        if len < state.logical_bytes {
            let pages = len.div_ceil(PAGE_BYTES as u64);
            // Nothing before the next crash needs the old checks, and after it the logged table counts.
            state.table.cut(len);
            state.dirty.retain(|page, _| *page < pages);
            state.burst.retain(|page, _| *page < pages);
        }
        state.logical_bytes = len;
        Ok(())
    }

    /// Hands what was written to the next burst. Durability is `checkpoint.rs`'s: it logs the burst before the next commit.
    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.state();
        let dirty = std::mem::take(&mut state.dirty);
        state.burst.extend(dirty);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An arena whose legs hold nothing.
    struct NoLegs;
    impl ArenaRead for NoLegs {
        fn read_page(&self, _page: u64, _check: u64, _into: &mut [u8]) -> Result<(), ReadFault> {
            Err(ReadFault::Damaged)
        }
        fn read_pages(&self, _: u64, _: &[u64], _: &mut [u8]) -> Result<(), ReadFault> {
            Err(ReadFault::Damaged)
        }
    }

    fn arena() -> Arc<Arena> {
        Arc::new(Arena::new(
            Arc::new(NoLegs),
            PageTable::default(),
            vec![0; PAGE_BYTES],
            0,
        ))
    }

    #[test]
    fn what_was_written_is_read_from_memory_until_it_is_on_the_legs() {
        let arena = arena();
        let backend = Backend(arena.clone());
        backend.set_len(8 * PAGE_BYTES as u64).unwrap();
        backend.write(0, b"header").unwrap();
        backend
            .write(PAGE_BYTES as u64, &[1; 2 * PAGE_BYTES])
            .unwrap();
        backend
            .write(5 * PAGE_BYTES as u64 + 10, b"unaligned")
            .unwrap();
        backend.sync_data().unwrap();
        backend
            .write(2 * PAGE_BYTES as u64, &[2; PAGE_BYTES])
            .unwrap();

        let mut out = [0; 9];
        backend.read(5 * PAGE_BYTES as u64 + 10, &mut out).unwrap();
        assert_eq!(&out, b"unaligned");
        let mut two = vec![9; 2 * PAGE_BYTES];
        backend.read(PAGE_BYTES as u64, &mut two).unwrap();
        assert_eq!((two[0], two[PAGE_BYTES]), (1, 2));
        backend.read(3 * PAGE_BYTES as u64, &mut two).unwrap();
        assert!(
            two.iter().all(|byte| *byte == 0),
            "never written reads as zeros"
        );
        assert!(
            backend.read(7 * PAGE_BYTES as u64, &mut two).is_err(),
            "past the end"
        );

        let burst = arena.take_burst();
        assert_eq!(
            burst
                .pages
                .iter()
                .map(|(page, ..)| *page)
                .collect::<Vec<_>>(),
            [1, 2, 5]
        );
        assert_eq!(&burst.page0[..6], b"header");
        arena.retire(&burst);
        assert!(
            backend.read(PAGE_BYTES as u64, &mut out).is_err(),
            "page 1 is on the legs now, and these have lost it"
        );
        assert_eq!(arena.fault(), Some(ReadFault::Damaged));
    }

    /// Legs that hold the same in every page, but for those that are lost; they count how often they are asked.
    struct Counting {
        lost: u64,
        reads: Mutex<usize>,
    }
    impl ArenaRead for Counting {
        fn read_page(&self, _: u64, _: u64, _: &mut [u8]) -> Result<(), ReadFault> {
            unreachable!("the arena asks for runs")
        }
        fn read_pages(&self, first: u64, checks: &[u64], into: &mut [u8]) -> Result<(), ReadFault> {
            *self.reads.lock().unwrap() += 1;
            into.fill(7);
            let pages = first..first + checks.len() as u64;
            if pages.contains(&self.lost) {
                return Err(ReadFault::Damaged);
            }
            Ok(())
        }
    }

    #[test]
    fn replay_reads_neighbours_once_and_a_lost_one_harms_only_itself() {
        let legs = Arc::new(Counting {
            lost: 70,
            reads: Mutex::new(0),
        });
        let mut table = PageTable::default();
        for page in 1..100 {
            table.set(page, 7);
        }
        let arena = Arc::new(Arena::new(
            legs.clone(),
            table,
            vec![0; PAGE_BYTES],
            100 * PAGE_BYTES as u64,
        ));
        let backend = Backend(arena.clone());
        let mut page = vec![0; PAGE_BYTES];
        let mut reads_of = |pages: std::ops::Range<u64>| {
            let before = *legs.reads.lock().unwrap();
            for at in pages {
                page.fill(0);
                backend.read(at * PAGE_BYTES as u64, &mut page).unwrap();
                assert!(page.iter().all(|byte| *byte == 7));
            }
            *legs.reads.lock().unwrap() - before
        };
        assert_eq!(reads_of(1..64), 63, "not outside replay");
        arena.replay_begins();
        assert_eq!(reads_of(1..64), 2);
        assert_eq!(reads_of(64..65), 2, "together in vain, then alone");
        arena.replay_ended();
        assert_eq!(reads_of(1..4), 3, "nothing is kept");
        assert_eq!(arena.fault(), None);
    }

    #[test]
    fn redb_rewrites_no_page_of_its_last_commit() {
        // The assumption under the arena: what commit N refers to is not written by commit N+1. Pages of commit N are those
        // written by it or before and still readable at N; here: an old snapshot of everything stays valid.
        let arena = arena();
        let database = redb::Builder::new()
            .create_with_backend(Backend(arena.clone()))
            .unwrap();
        let table = redb::TableDefinition::<u64, &[u8]>::new("t");
        let mut state = 1u64;
        let mut at_last_commit: Option<(HashMap<u64, Bytes>, Vec<u8>, u64)> = None;
        for round in 0..40u64 {
            let mut write = database.begin_write().unwrap();
            write.set_quick_repair(true);
            {
                let mut rows = write.open_table(table).unwrap();
                for _ in 0..200 {
                    state = state
                        .wrapping_mul(6364136223846793005)
                        .wrapping_add(1442695040888963407);
                    let key = (state >> 33) % 3000;
                    if state.is_multiple_of(3) {
                        rows.remove(key).unwrap();
                    } else {
                        rows.insert(
                            key,
                            vec![round as u8; (state >> 50) as usize % 900].as_slice(),
                        )
                        .unwrap();
                    }
                }
            }
            write.commit().unwrap();
            let (burst, page0, bytes) = {
                let state = arena.state();
                assert!(state.dirty.is_empty(), "a commit ends with a sync");
                (
                    state.burst.clone(),
                    state.page0.clone(),
                    state.logical_bytes,
                )
            };
            if let Some((old, old_page0, old_bytes)) = at_last_commit.take() {
                // Crash inside this checkpoint, every page of it on the legs already: page 0 and length go back, pages do not.
                let mut mixed = old;
                mixed.extend(burst.clone());
                let crashed = Arc::new(Arena::new(
                    Arc::new(NoLegs),
                    PageTable::default(),
                    old_page0,
                    old_bytes,
                ));
                crashed.state().burst = mixed;
                let mut reopened = redb::Builder::new()
                    .create_with_backend(Backend(crashed))
                    .unwrap();
                assert!(
                    reopened.check_integrity().unwrap(),
                    "round {round}: the last commit is whole"
                );
            }
            at_last_commit = Some((burst, page0, bytes));
        }
    }
}
