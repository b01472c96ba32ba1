//! What the lane bounds, and what happens to work whose result is awaited no more.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, Waker};

use tokio::task::LocalSet;

use super::*;
use crate::rig;

/// Polls once.
fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls once, on behalf of this task.
async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Lets every other task of this thread go on.
async fn others() {
    tokio::task::yield_now().await;
}

fn on_a_thread(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), story);
}

#[test]
fn a_full_lane_is_busy_at_once_and_counts_what_it_refused() {
    let (owner, _end) = owner();
    let mut waiting: Vec<_> = (0..LANE_ITEMS_MAX)
        .map(|_| Box::pin(owner.ask(|_| async {})))
        .collect();
    assert!(waiting.iter_mut().all(|ask| poll(ask).is_pending()));
    assert_eq!(owner.waiting(), LANE_ITEMS_MAX);
    let mut more = Box::pin(owner.ask(|_| async {}));
    assert_eq!(poll(&mut more), Poll::Ready(Err(Busy)));
    let gauges = owner.gauges();
    assert_eq!(gauges.refused.load(Ordering::Relaxed), 1);
    assert_eq!(gauges.asked.load(Ordering::Relaxed), LANE_ITEMS_MAX as u64);
}

#[test]
fn work_still_in_the_lane_when_the_owner_goes_is_busy() {
    let (owner, end) = owner();
    let mut waiting = Box::pin(owner.ask(|_| async {}));
    assert!(poll(&mut waiting).is_pending());
    drop(end);
    assert_eq!(poll(&mut waiting), Poll::Ready(Err(Busy)));
    let mut late = Box::pin(owner.ask(|_| async {}));
    assert_eq!(poll(&mut late), Poll::Ready(Err(Busy)));
}

#[test]
fn work_runs_to_its_end_though_its_result_is_awaited_no_more() {
    let (_world, mailboxes) = rig::mailboxes();
    on_a_thread(async {
        let (owner, end) = owner();
        let gauges = end.gauges();
        let (stop, stopped) = oneshot::<()>();
        let mut run = pin!(end.run(mailboxes, async {
            stopped.await;
        }));
        let (release, released) = oneshot();
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        let mut ask = Box::pin(owner.ask(move |_| async move {
            released.await;
            flag.store(true, Ordering::Relaxed);
        }));
        assert!(poll(&mut ask).is_pending());
        // Begun, then given up.
        while gauges.under_way.load(Ordering::Relaxed) == 0 {
            assert!(poll_once(run.as_mut()).await.is_pending());
            others().await;
        }
        drop(ask);
        // The owner stops only once it ended.
        stop.send(());
        assert!(poll_once(run.as_mut()).await.is_pending());
        assert!(!done.load(Ordering::Relaxed));
        release.send(());
        run.await;
        assert!(done.load(Ordering::Relaxed));
    });
}

#[test]
fn a_thread_serves_the_owners_of_two_volumes_and_keeps_their_work_apart() {
    let ((_first_world, first), (_second_world, second)) =
        (rig::mailboxes_of(1), rig::mailboxes_of(2));
    on_a_thread(async {
        let ((one, one_end), (other, other_end)) = (owner(), owner());
        let ids = [&first, &second].map(|mailboxes| mailboxes.store().volume().id());
        assert_ne!(ids[0], ids[1]);
        let (stop, stopped) = oneshot::<()>();
        let mut run = pin!(one_end.run(first, async {
            stopped.await;
        }));
        {
            let mut other_run = pin!(other_end.run(second, std::future::pending()));
            assert!(poll_once(run.as_mut()).await.is_pending());
            assert!(poll_once(other_run.as_mut()).await.is_pending());
            for (owner, id) in [(&one, ids[0]), (&other, ids[1])] {
                let asked = owner.ask(|mailboxes| async move { mailboxes.store().volume().id() });
                assert_eq!(asked.await, Ok(id), "and by no lane: neither is polled");
            }
        }
        // The other one is gone, without having been stopped; this one serves on.
        let late = other.ask(|_| async {});
        assert_eq!(late.await, Err(Busy));
        let asked = one.ask(|mailboxes| async move { mailboxes.store().volume().id() });
        assert_eq!(asked.await, Ok(ids[0]));
        stop.send(());
        run.await;
        assert_eq!(one.ask(|_| async {}).await, Err(Busy));
    });
}
