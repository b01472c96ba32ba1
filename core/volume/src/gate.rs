//! Small waiting tools for one thread: a lock held across awaits, and a race against the clock.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use base::host::{Bell, Host, LocalTask};
use device::IoFault;

/// One at a time, across awaits. Not fair; its users are few and brief.
#[derive(Default)]
pub(crate) struct Gate {
    locked: Cell<bool>,
    opened: Bell,
}

pub(crate) struct Pass<'a> {
    gate: &'a Gate,
}

impl Gate {
    pub async fn enter(&self) -> Pass<'_> {
        // until it is ours
        while self.locked.get() {
            self.opened.wait().await;
        }
        self.locked.set(true);
        Pass { gate: self }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.locked.set(false);
        self.gate.opened.ring();
    }
}

/// Runs all of them side by side and resolves when the last has ended, in the order given.
pub(crate) async fn all<K, F: Future + Unpin>(
    items: impl Iterator<Item = (K, F)>,
) -> Vec<(K, F::Output)> {
    let mut items: Vec<(K, Option<F>, Option<F::Output>)> = items
        .map(|(key, future)| (key, Some(future), None))
        .collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (_, future, output) in &mut items {
            let Some(running) = future else { continue };
            match Pin::new(running).poll(context) {
                Poll::Ready(value) => (*future, *output) = (None, Some(value)),
                Poll::Pending => waiting = true,
            }
        }
        if waiting {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    items
        .into_iter()
        .map(|(key, _, output)| (key, output.expect("all have ended")))
        .collect()
}

/// No answer within the deadline (ETIMEDOUT): not the medium's verdict, and not absence.
pub(crate) const TIMED_OUT: IoFault = IoFault::Other(110);

/// Resolves with what `future` does, or with `None` after `us` microseconds. A device keeps its buffer either way.
pub(crate) fn within<F: Future + Unpin>(host: &dyn Host, us: u64, future: F) -> Within<F> {
    Within {
        future,
        clock: base::host::sleep_us(host, us),
    }
}

pub(crate) struct Within<F> {
    future: F,
    clock: LocalTask,
}

impl<F: Future + Unpin> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = Pin::new(&mut self.future).poll(context) {
            return Poll::Ready(Some(value));
        }
        self.clock.as_mut().poll(context).map(|()| None)
    }
}
