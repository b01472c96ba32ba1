//! The one word that ends a core's listeners and, in time, its sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Requested once, from any thread; every clone sees it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    requested: AtomicBool,
    bell: Notify,
}

impl Stop {
    pub fn new() -> Stop {
        Stop::default()
    }

    pub fn request(&self) {
        self.shared.requested.store(true, Ordering::Release);
        self.shared.bell.notify_waiters();
    }

    pub fn is_requested(&self) -> bool {
        self.shared.requested.load(Ordering::Acquire)
    }

    /// Resolves once a stop was requested; at once when it already was.
    pub async fn requested(&self) {
        let heard = self.shared.bell.notified();
        tokio::pin!(heard);
        // Listen before looking, so that a request between the two is not missed.
        heard.as_mut().enable();
        if self.is_requested() {
            return;
        }
        heard.await;
    }
}
