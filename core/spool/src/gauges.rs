//! What waits, for any thread to read. Written by the spool's thread.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use queue::UnixSeconds;

#[derive(Debug)]
pub struct Gauges {
    messages_max: usize,
    bytes_max: u64,
    waiting: AtomicUsize,
    bytes: AtomicU64,
    /// 0: none.
    oldest: AtomicU64,
    taken: AtomicU64,
    handed: AtomicU64,
    kept: AtomicUsize,
    kept_bytes: AtomicU64,
    stuck: AtomicUsize,
    /// Of them, those that new mail does not wait for.
    aside: AtomicUsize,
}

impl Gauges {
    pub(crate) fn new(messages_max: usize, bytes_max: u64) -> Gauges {
        Gauges {
            messages_max,
            bytes_max,
            waiting: AtomicUsize::default(),
            bytes: AtomicU64::default(),
            oldest: AtomicU64::default(),
            taken: AtomicU64::default(),
            handed: AtomicU64::default(),
            kept: AtomicUsize::default(),
            kept_bytes: AtomicU64::default(),
            stuck: AtomicUsize::default(),
            aside: AtomicUsize::default(),
        }
    }

    /// Nothing more fits.
    pub fn is_full(&self) -> bool {
        self.waiting() >= self.messages_max || self.bytes() >= self.bytes_max
    }

    /// Messages that wait or are being taken.
    pub fn waiting(&self) -> usize {
        // Acquire: what a sender sees after its 250 is not older than the 250.
        self.waiting.load(Ordering::Acquire)
    }

    /// Of them, as they were received.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When the oldest of them arrived.
    pub fn oldest(&self) -> Option<UnixSeconds> {
        let oldest = self.oldest.load(Ordering::Relaxed);
        (oldest > 0).then_some(UnixSeconds(oldest))
    }

    /// Messages taken since the start.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Messages that storage took over since the start.
    pub fn handed(&self) -> u64 {
        self.handed.load(Ordering::Relaxed)
    }

    /// The most that may wait, in messages and bytes.
    pub fn max(&self) -> (usize, u64) {
        (self.messages_max, self.bytes_max)
    }

    /// Copies of messages that storage has, and their bytes.
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    pub fn kept_bytes(&self) -> u64 {
        self.kept_bytes.load(Ordering::Relaxed)
    }

    /// Messages among those that wait which cannot be handed over: damaged on every leg, or refused for good by storage. They are kept.
    pub fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Whether anything waits that is to go to storage before what comes now. A stuck message is not, unless it is doubtful whether storage has
    /// a part of it.
    pub fn waits(&self) -> bool {
        self.waiting() > self.aside.load(Ordering::Acquire)
    }

    /// `doubtful`: so many of the stuck ones may be with some of their recipients.
    pub fn note_stuck(&self, count: usize, doubtful: usize) {
        self.stuck.store(count, Ordering::Relaxed);
        let aside = count.saturating_sub(doubtful);
        self.aside.store(aside, Ordering::Release);
    }

    pub(crate) fn note_handed(&self, count: usize) {
        self.handed.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_oldest(&self, oldest: Option<UnixSeconds>) {
        let oldest = oldest.map_or(0, |oldest| oldest.0.max(1));
        self.oldest.store(oldest, Ordering::Relaxed);
    }

    pub(crate) fn keep(&self, bytes: u64) {
        self.kept.fetch_add(1, Ordering::Relaxed);
        self.kept_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn unkeep(&self, bytes: u64) {
        self.kept.fetch_sub(1, Ordering::Relaxed);
        self.kept_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn enter(&self, bytes: u64) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self, bytes: u64) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
