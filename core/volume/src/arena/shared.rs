//! What readers of the arena on other threads share with the owner: where pages are, and which of them need repair.
//!
//! A reader takes a copy of the view and reads from the legs without the lock: a leg that hangs must not hold up the owner, which changes the
//! view at the very moment when that leg leaves. What an old view gives is right or is found wrong by its check: segments are only added.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use device::{BLOCK_BYTES, BlockingRead};

use super::page_check;
use crate::ArenaRead;
use crate::limits::ARENA_REPAIRS_MAX;
use crate::types::*;

/// What readers on other threads share with the owner.
#[derive(Default)]
pub(crate) struct ArenaShared {
    /// Legs and segments as they are now.
    view: RwLock<View>,
    /// Pages and their checks, which readers want repaired.
    repairs: Mutex<VecDeque<(u64, u64)>>,
    /// There is something in `repairs`: looked at on each turn without the lock.
    wanted: AtomicBool,
}

/// What a reader needs to find a page. A copy of it costs two counts, however many segments there are.
#[derive(Clone, Default)]
struct View {
    /// A blocking reader of each leg that serves.
    legs: Arc<[Arc<dyn BlockingRead>]>,
    /// Byte offset on every leg of each arena segment, by ordinal.
    segments: Arc<[u64]>,
    /// Pages of one segment; 0 before the owner has shown any.
    pages_per_segment: u64,
}

impl View {
    /// Byte offset of a page on every leg; `None`: the arena does not reach that far.
    fn at(&self, page: u64) -> Option<u64> {
        let segment = self
            .segments
            .get(usize::try_from(page.checked_div(self.pages_per_segment)?).ok()?)?;
        Some(segment + page % self.pages_per_segment * BLOCK_BYTES as u64)
    }
}

impl ArenaShared {
    /// The readers read from these legs from now on.
    pub fn show_legs(&self, readers: Vec<Arc<dyn BlockingRead>>) {
        self.view
            .write()
            .expect("no holder of this lock panics")
            .legs = readers.into();
    }

    /// The arena is in these segments from now on: the byte offset of each on every leg, by ordinal.
    pub fn show_segments(&self, segments: Vec<u64>, pages_per_segment: u64) {
        let mut view = self.view.write().expect("no holder of this lock panics");
        view.segments = segments.into();
        view.pages_per_segment = pages_per_segment;
    }

    /// The repairs that readers asked for; `None`: none since the last call.
    pub fn take_repairs(&self) -> Option<VecDeque<(u64, u64)>> {
        let wanted = self.wanted.swap(false, Ordering::AcqRel);
        wanted.then(|| {
            std::mem::take(&mut *self.repairs.lock().expect("no holder of this lock panics"))
        })
    }

    /// The view as it is now.
    fn view(&self) -> View {
        self.view
            .read()
            .expect("no holder of this lock panics")
            .clone()
    }

    /// Remembers a page that one leg has and another has not. Past the bound it is forgotten until it is read again.
    fn ask_repair(&self, page: u64, check: u64) {
        let mut repairs = self.repairs.lock().expect("no holder of this lock panics");
        if repairs.len() < ARENA_REPAIRS_MAX && !repairs.contains(&(page, check)) {
            repairs.push_back((page, check));
            self.wanted.store(true, Ordering::Release);
        }
    }
}

impl ArenaRead for ArenaShared {
    fn read_page(&self, page: u64, check: u64, into: &mut [u8]) -> Result<(), ReadFault> {
        assert_eq!(into.len(), BLOCK_BYTES);
        let view = self.view();
        let at = view.at(page).ok_or(ReadFault::Stale)?;
        let mut answered = false;
        // Neighbouring pages are spread over the legs in stretches that a device's read-ahead likes.
        let first = (page / 64) as usize;
        for step in 0..view.legs.len() {
            let leg = &view.legs[(first + step) % view.legs.len()];
            let read = leg.read_at(at, into);
            answered |= read.is_ok();
            if read.is_ok() && page_check(page, into) == check {
                if step > 0 {
                    self.ask_repair(page, check);
                }
                return Ok(());
            }
        }
        Err(if answered {
            ReadFault::Damaged
        } else {
            ReadFault::Unavailable
        })
    }

    fn read_pages(&self, first: u64, checks: &[u64], into: &mut [u8]) -> Result<(), ReadFault> {
        assert_eq!(into.len(), checks.len() * BLOCK_BYTES);
        let read_together = {
            let view = self.view();
            let inside = first % view.pages_per_segment.max(1) + checks.len() as u64;
            let leg = view
                .legs
                .get((first / 64) as usize % view.legs.len().max(1));
            match (view.at(first), leg) {
                (Some(at), Some(leg)) if inside <= view.pages_per_segment => {
                    leg.read_at(at, into).is_ok()
                }
                _ => false,
            }
        };
        let pages = into.chunks_mut(BLOCK_BYTES).zip(checks);
        for (page, (bytes, check)) in (first..).zip(pages) {
            if !read_together || page_check(page, bytes) != *check {
                self.read_page(page, *check, bytes)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use device::IoFault;

    use super::*;

    /// A leg that answers a read only when it is let go.
    struct Hanging {
        began: mpsc::Sender<()>,
        let_go: Mutex<mpsc::Receiver<()>>,
    }

    impl BlockingRead for Hanging {
        fn read_at(&self, _at: u64, _into: &mut [u8]) -> Result<(), IoFault> {
            self.began.send(()).expect("the test waits for it");
            let let_go = self.let_go.lock().expect("no holder of this lock panics");
            let_go.recv().expect("the test lets go");
            Err(IoFault::Gone)
        }
    }

    /// A leg that has every page, full of sevens.
    struct Sevens;

    impl BlockingRead for Sevens {
        fn read_at(&self, _at: u64, into: &mut [u8]) -> Result<(), IoFault> {
            into.fill(7);
            Ok(())
        }
    }

    /// Reads page 1 on another thread from a leg that hangs, does `meanwhile` while it hangs, and gives what the reader got.
    fn read_while_a_leg_hangs(
        others: &[Arc<dyn BlockingRead>],
        read: fn(&ArenaShared, u64) -> Result<(), ReadFault>,
        meanwhile: impl FnOnce(&ArenaShared),
    ) -> Result<(), ReadFault> {
        let (began, has_begun) = mpsc::channel();
        let (go, let_go) = mpsc::channel();
        let let_go = Mutex::new(let_go);
        let hanging: Arc<dyn BlockingRead> = Arc::new(Hanging { began, let_go });
        let shared = ArenaShared::default();
        let mut legs = vec![hanging];
        legs.extend_from_slice(others);
        shared.show_legs(legs);
        shared.show_segments(vec![0], 16);
        let check = page_check(1, &[7; BLOCK_BYTES]);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| read(&shared, check));
            has_begun.recv().expect("the reader reads");
            // Asked, not waited for: with the lock held `show_legs` would wait for the leg that it takes out.
            let is_free = shared.view.try_write().is_ok();
            if is_free {
                meanwhile(&shared);
            }
            // Twice: a run that cannot be read is read page by page.
            go.send(()).expect("the leg hangs");
            let _ = go.send(());
            let got = reader.join().expect("the reader does not panic");
            assert!(is_free, "a leg that hangs holds up the owner");
            got
        })
    }

    fn one(shared: &ArenaShared, check: u64) -> Result<(), ReadFault> {
        shared.read_page(1, check, &mut [0; BLOCK_BYTES])
    }

    fn run(shared: &ArenaShared, check: u64) -> Result<(), ReadFault> {
        shared.read_pages(1, &[check], &mut [0; BLOCK_BYTES])
    }

    #[test]
    fn a_leg_that_hangs_under_a_reader_does_not_hold_up_the_owner() {
        let gone = |shared: &ArenaShared| shared.show_legs(Vec::new());
        let got = read_while_a_leg_hangs(&[], one, gone);
        assert_eq!(got, Err(ReadFault::Unavailable));
    }

    #[test]
    fn a_run_under_way_goes_on_with_the_legs_that_are_left() {
        let left = |shared: &ArenaShared| shared.show_legs(vec![Arc::new(Sevens)]);
        assert_eq!(read_while_a_leg_hangs(&[], run, left), Ok(()));
    }

    #[test]
    fn a_reader_of_an_old_view_finds_the_page_on_another_leg_and_asks_for_its_repair() {
        let grown = |shared: &ArenaShared| shared.show_segments(vec![0, 1 << 20], 16);
        fn one_that_asks(shared: &ArenaShared, check: u64) -> Result<(), ReadFault> {
            let got = one(shared, check);
            assert_eq!(shared.take_repairs(), Some([(1, check)].into()));
            got
        }
        let got = read_while_a_leg_hangs(&[Arc::new(Sevens)], one_that_asks, grown);
        assert_eq!(got, Ok(()));
    }
}
