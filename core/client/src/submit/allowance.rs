//! How much a person may send: messages and recipients in an hour and in a day, so that a password that was stolen does not send a
//! million messages before it is noticed.
//!
//! Counted in this process, for all its cores together; a restart begins again. An hour and a day begin with the first message. The limits are
//! settings; an administrator may give one account so many times as much (`directory::Directory::allowance`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::Time;
use mailbox::AccountId;

/// Of one account; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    pub messages_per_hour: u32,
    pub messages_per_day: u32,
    /// Recipients in an hour, counted for each message.
    pub recipients_per_hour: u32,
    pub recipients_per_day: u32,
}

/// What each account sent lately. Clones share it.
#[derive(Clone, Default)]
pub struct Spent {
    /// Of each account: the hour, and the day.
    accounts: Arc<Mutex<HashMap<AccountId, [Window; 2]>>>,
}

/// Since the first message of this hour, or day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// When its first message was sent.
    began: Time,
    messages: u32,
    recipients: u32,
}

/// The limit is reached; some of it is free again after this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    pub wait: Duration,
}

impl std::fmt::Display for Exceeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let minutes = self.wait.as_secs().div_ceil(60).max(1);
        match minutes {
            1 => f.write_str("try again in 1 minute"),
            2..=90 => write!(f, "try again in {minutes} minutes"),
            _ => write!(f, "try again in {} hours", minutes.div_ceil(60)),
        }
    }
}

impl Spent {
    /// Whether one message more, to so many recipients, is within `times` the limits. Nothing is counted.
    pub fn allows(
        &self,
        account: AccountId,
        (rates, times): (&Rates, u32),
        recipients: usize,
        now: Time,
    ) -> Result<(), Exceeded> {
        let table = self.table();
        let windows = table.get(&account).copied();
        fits(
            windows.unwrap_or([Window::new(now); 2]),
            rates,
            times,
            recipients,
            now,
        )
        .map(drop)
    }

    /// As `allows`, and counts it.
    pub fn take(
        &self,
        account: AccountId,
        (rates, times): (&Rates, u32),
        recipients: usize,
        now: Time,
    ) -> Result<(), Exceeded> {
        let mut table = self.table();
        let windows = table.get(&account).copied();
        let windows = fits(
            windows.unwrap_or([Window::new(now); 2]),
            rates,
            times,
            recipients,
            now,
        )?;
        if table.len() >= ACCOUNTS_MAX {
            table.retain(|_, [hour, _]| now.since_us(hour.began) < SPANS_US[0]);
        }
        if table.len() < ACCOUNTS_MAX || table.contains_key(&account) {
            table.insert(account, windows);
        }
        Ok(())
    }

    fn table(&self) -> MutexGuard<'_, HashMap<AccountId, [Window; 2]>> {
        // A panic elsewhere leaves the table whole: each change is one step.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// A window that begins now.
    fn new(now: Time) -> Window {
        Window {
            began: now,
            messages: 0,
            recipients: 0,
        }
    }
}

/// The windows with one message more.
fn fits(
    windows: [Window; 2],
    rates: &Rates,
    times: u32,
    recipients: usize,
    now: Time,
) -> Result<[Window; 2], Exceeded> {
    let recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
    let limits = [
        (rates.messages_per_hour, rates.recipients_per_hour),
        (rates.messages_per_day, rates.recipients_per_day),
    ];
    let mut after = windows;
    let mut exceeded: Option<Exceeded> = None;
    for ((window, span_us), (messages_max, recipients_max)) in
        after.iter_mut().zip(SPANS_US).zip(limits)
    {
        if now.since_us(window.began) >= span_us {
            *window = Window::new(now);
        }
        window.messages = window.messages.saturating_add(1);
        window.recipients = window.recipients.saturating_add(recipients);
        let is_over = |count: u32, max: u32| max > 0 && count > max.saturating_mul(times);
        if is_over(window.messages, messages_max) || is_over(window.recipients, recipients_max) {
            let left_us = span_us - now.since_us(window.began);
            let wait = Duration::from_micros(left_us);
            let known = exceeded.map_or(Duration::ZERO, |known| known.wait);
            exceeded = Some(Exceeded {
                wait: known.max(wait),
            });
        }
    }
    match exceeded {
        Some(exceeded) => Err(exceeded),
        None => Ok(after),
    }
}

const HOUR_US: u64 = 3_600_000_000;
/// The spans of an account's two windows.
const SPANS_US: [u64; 2] = [HOUR_US, 24 * HOUR_US];
/// Accounts that are counted at a time, some 60 bytes each. When it is full those that sent nothing in this hour are forgotten, and a
/// new one that still finds no room is not counted: so many senders are no stolen password.
const ACCOUNTS_MAX: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: AccountId = AccountId(1);
    const NOW: Time = Time(5);
    const RATES: Rates = Rates {
        messages_per_hour: 2,
        messages_per_day: 3,
        recipients_per_hour: 10,
        recipients_per_day: 0,
    };

    fn minutes(of: Result<(), Exceeded>) -> Option<u64> {
        of.err().map(|exceeded| exceeded.wait.as_secs() / 60)
    }

    #[test]
    fn an_hour_and_a_day_are_counted_apart() {
        let spent = Spent::default();
        let take = |at: Time| minutes(spent.take(ANN, (&RATES, 1), 1, at));
        let later = |minutes: u64| NOW.after_us(minutes * 60_000_000);
        assert_eq!((take(NOW), take(later(1))), (None, None));
        assert_eq!(take(later(20)), Some(40));
        assert_eq!(
            minutes(spent.allows(ANN, (&RATES, 1), 1, later(20))),
            Some(40)
        );
        assert_eq!(take(later(60)), None, "what was refused is not counted");
        assert_eq!(take(later(61)), Some(23 * 60 - 1));
        assert_eq!(take(later(24 * 60)), None);
        // Another one has an allowance of their own, and twice the limit is twice as much.
        assert_eq!(minutes(spent.take(AccountId(2), (&RATES, 1), 1, NOW)), None);
        for _ in 0..4 {
            assert_eq!(minutes(spent.take(AccountId(3), (&RATES, 2), 1, NOW)), None);
        }
        assert!(spent.take(AccountId(3), (&RATES, 2), 1, NOW).is_err());
    }

    #[test]
    fn recipients_count_and_zero_is_no_limit() {
        let spent = Spent::default();
        assert!(spent.take(ANN, (&RATES, 1), 11, NOW).is_err());
        assert!(spent.take(ANN, (&RATES, 1), 8, NOW).is_ok());
        assert!(spent.take(ANN, (&RATES, 1), 3, NOW).is_err());
        assert!(spent.take(ANN, (&RATES, 1), 2, NOW).is_ok());
        for _ in 0..100 {
            assert!(
                spent
                    .take(AccountId(2), (&Rates::default(), 1), usize::MAX, NOW)
                    .is_ok()
            );
        }
    }

    #[test]
    fn the_time_is_said_in_words() {
        let shown = |seconds| {
            Exceeded {
                wait: Duration::from_secs(seconds),
            }
            .to_string()
        };
        assert_eq!(shown(1), "try again in 1 minute");
        assert_eq!(shown(61), "try again in 2 minutes");
        assert_eq!(shown(20 * 3_600), "try again in 20 hours");
    }
}
