//! Replies to repeated offenders come late. A delay costs the session's slot and nothing else, and few sessions are delayed at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::limits::{DELAY_MAX, DELAY_STEP, DELAYED_MAX};

#[derive(Clone, Default)]
pub(crate) struct Tarpit {
    delayed: Arc<AtomicUsize>,
}

/// One reply that waits; dropped when it goes out.
pub struct Delay {
    pub span: Duration,
    delayed: Arc<AtomicUsize>,
}

impl Tarpit {
    /// How long the reply to a peer with `points` waits; `None`: not at all, or too many sessions wait. `from`: the points where delays
    /// begin; 0 is never.
    pub fn delay(&self, points: u32, from: u32) -> Option<Delay> {
        if from == 0 || points < from {
            return None;
        }
        let span = DELAY_STEP.saturating_mul(points - from + 1).min(DELAY_MAX);
        let enters = |delayed| (delayed < DELAYED_MAX).then_some(delayed + 1);
        self.delayed.fetch_update(Relaxed, Relaxed, enters).ok()?;
        let delayed = self.delayed.clone();
        Some(Delay { span, delayed })
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.delayed.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_with_the_points_and_are_bounded_in_length_and_number() {
        let tarpit = Tarpit::default();
        let span = |points| tarpit.delay(points, 5).map(|delay| delay.span);
        assert_eq!((span(0), span(4)), (None, None));
        assert_eq!(span(5), Some(DELAY_STEP));
        assert_eq!(span(6), Some(2 * DELAY_STEP));
        assert_eq!(span(u32::MAX), Some(DELAY_MAX));
        assert!(tarpit.delay(u32::MAX, 0).is_none());
        let held: Vec<Delay> = (0..DELAYED_MAX)
            .filter_map(|_| tarpit.delay(9, 5))
            .collect();
        assert_eq!(held.len(), DELAYED_MAX);
        assert!(tarpit.delay(9, 5).is_none(), "one more is not delayed");
        drop(held);
        assert!(tarpit.delay(9, 5).is_some());
    }
}
