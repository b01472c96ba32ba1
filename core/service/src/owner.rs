//! The way from any core to the mailboxes: a bounded lane of closures to the volume's owner thread.
#![allow(unused_variables, dead_code)]

use std::future::Future;

use mailbox::Mailboxes;

/// The owner's lane is full or the owner is gone: 451, NO [UNAVAILABLE].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("storage is busy")]
pub struct Busy;

/// Clonable, sendable handle to the mailboxes' owner.
#[derive(Clone)]
pub struct Owner {}

impl Owner {
    /// Runs `work` on the owner's thread and brings its result back to this one. `Busy` when the lane is full.
    ///
    /// `owner.ask(move |mailboxes| async move { mailboxes.status(id).await }).await`
    pub async fn ask<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Mailboxes) -> F + Send + 'static,
    {
        unimplemented!()
    }
}
