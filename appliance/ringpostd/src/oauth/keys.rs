//! The keys of one provider: fetched by a thread, kept for some time when the provider is away, and fetched again when a token names one that is not among them.
//!
//! What must hold: a token costs the provider nothing, unless it names a key that is new, and such tokens cost it one fetch a minute at most, however many there are. A key that
//! is not among ours is unknown only where the provider has just said so; as long as it is away, that cannot be said.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::admin::certificate::now_s;
use client::login::Unavailable;
use oauth::provider::{configuration_url, keys_url};
use oauth::{Flaw, KeySet, Rules, Token};
use plan::Misfit;
use tokio::sync::watch;

use super::Checked;
use super::web::{WITHIN, Web};

/// Between two fetches, whatever asks for them.
pub(super) const APART: Duration = Duration::from_secs(60);
/// Without a reason.
const REFRESH: Duration = Duration::from_secs(3_600);
/// Two requests, and a little.
const WAIT_MAX: Duration = Duration::from_secs(2 * WITHIN.as_secs() + 1);
/// Logins that wait for a fetch at a time, of one provider.
pub(super) const WAITING_MAX: usize = 64;

pub(super) struct Keys {
    web: Web,
    issuer: String,
    url: Option<String>,
    keep: Duration,
    kept: Mutex<Kept>,
    bell: Condvar,
    /// Changes when a fetch has ended.
    fetched: watch::Sender<u64>,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Kept {
    keys: Arc<KeySet>,
    /// When they were fetched.
    at: Option<Instant>,
    at_s: Option<i64>,
    tried: Option<Instant>,
    /// A fetch is under way, or due at once.
    fetching: bool,
    /// Why the last fetch failed; the keys are those from before.
    error: Option<String>,
}

/// What can be said of a token now.
enum Look {
    Said(Result<String, Flaw>),
    /// When the fetch has ended.
    Later,
    /// The provider is away.
    Away,
}

impl Keys {
    pub(super) fn start(web: Web, settings: &plan::oauth::Oauth) -> Result<Arc<Keys>, Misfit> {
        let keys = Arc::new(Keys {
            web,
            issuer: settings.issuer.clone(),
            url: settings.keys_url.clone(),
            keep: settings.keep_keys.0,
            kept: Mutex::new(Kept {
                fetching: true,
                ..Kept::default()
            }),
            bell: Condvar::new(),
            fetched: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
        });
        let fetcher = Arc::downgrade(&keys);
        let thread = std::thread::Builder::new().name("oauth-keys".to_owned());
        let started = thread.spawn(move || {
            // until the last user is gone
            while let Some(keys) = fetcher.upgrade() {
                keys.turn();
            }
        });
        started.map_err(|error| Misfit::new(format!("cannot start a thread: {error}")))?;
        Ok(keys)
    }

    /// How many there are, since when, and what is wrong.
    pub(super) fn facts(&self) -> (usize, Option<i64>, Option<String>) {
        let kept = self.kept();
        (kept.keys.len(), kept.at_s, kept.error.clone())
    }

    pub(super) async fn check(&self, token: &str, rules: &Rules, now: fn() -> i64) -> Checked {
        let mut fetched = self.fetched.subscribe();
        let token = match Token::parse(token).and_then(|token| token.precheck().map(|()| token)) {
            Ok(token) => token,
            Err(flaw) => return Ok(Err(flaw)),
        };
        for _ in 0..2 {
            match self.look(&token, rules, now()) {
                Look::Said(said) => return Ok(said),
                Look::Away => return Err(Unavailable),
                Look::Later => {}
            }
            let _waiting = Waiting::enter(&self.waiting).ok_or(Unavailable)?;
            let waited = tokio::time::timeout(WAIT_MAX, fetched.changed()).await;
            if !matches!(waited, Ok(Ok(()))) {
                return Err(Unavailable);
            }
        }
        match self.look(&token, rules, now()) {
            Look::Said(said) => Ok(said),
            Look::Away | Look::Later => Err(Unavailable),
        }
    }

    fn look(&self, token: &Token<'_>, rules: &Rules, now_s: i64) -> Look {
        let is_young = |at: Instant| at.elapsed() < self.keep;
        let keys = {
            let kept = self.kept();
            kept.at.is_some_and(is_young).then(|| kept.keys.clone())
        };
        // Signatures are checked without the lock.
        let checked = keys.map(|keys| token.check(&keys, rules, now_s));
        match checked {
            Some(Ok(claims)) => return Look::Said(Ok(claims.name)),
            Some(Err(flaw)) if flaw != Flaw::Key => return Look::Said(Err(flaw)),
            _ => {}
        }
        let has_keys = checked.is_some();
        let mut kept = self.kept();
        if kept.fetching {
            return Look::Later;
        }
        if kept.tried.is_none_or(|tried| tried.elapsed() >= APART) {
            kept.fetching = true;
            self.bell.notify_all();
            return Look::Later;
        }
        match has_keys && kept.error.is_none() {
            // The provider said a moment ago which keys it has.
            true => Look::Said(Err(Flaw::Key)),
            false => Look::Away,
        }
    }

    /// One wait of the thread, and a fetch where it is due.
    fn turn(&self) {
        let kept = self.kept();
        let pause = match (kept.fetching, kept.error.is_some()) {
            (true, _) => Duration::ZERO,
            (false, true) => APART,
            (false, false) => REFRESH,
        };
        let since = kept.tried.map_or(pause, |tried| tried.elapsed());
        let left = pause.saturating_sub(since).min(LOOK_EVERY);
        if !left.is_zero() {
            let asleep = |kept: &mut Kept| !kept.fetching;
            let waited = self.bell.wait_timeout_while(kept, left, asleep);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            return;
        }
        let mut kept = kept;
        kept.fetching = true;
        drop(kept);
        let found = self.fetch();
        let mut kept = self.kept();
        kept.fetching = false;
        kept.tried = Some(Instant::now());
        match found {
            Ok(keys) => {
                kept.keys = Arc::new(keys);
                kept.at = kept.tried;
                kept.at_s = Some(now_s());
                kept.error = None;
            }
            Err(error) => {
                let issuer = &self.issuer;
                if kept.error.is_none() {
                    tracing::warn!(
                        issuer,
                        error,
                        "the keys of a provider of tokens cannot be fetched"
                    );
                }
                kept.error = Some(error);
            }
        }
        drop(kept);
        self.fetched
            .send_modify(|turn| *turn = turn.wrapping_add(1));
    }

    fn fetch(&self) -> Result<KeySet, String> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => {
                let configuration = self.web.get(&configuration_url(&self.issuer))?;
                keys_url(&configuration, &self.issuer)?
            }
        };
        KeySet::parse(&self.web.get(&url)?)
    }

    /// As if the last fetch had been so much earlier.
    #[cfg(test)]
    pub(super) fn grow_old(&self, span: Duration) {
        let mut kept = self.kept();
        let earlier = |at: Option<Instant>| at.and_then(|at| at.checked_sub(span));
        (kept.at, kept.tried) = (earlier(kept.at), earlier(kept.tried));
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        let locked = self.kept.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait; given back when dropped, also by a session that ends meanwhile.
pub(super) struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    /// `None`: `WAITING_MAX` wait.
    pub(super) fn enter(count: &AtomicUsize) -> Option<Waiting<'_>> {
        // Made first: one too many is taken back by its drop.
        let (before, waiting) = (count.fetch_add(1, Relaxed), Waiting(count));
        (before < WAITING_MAX).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// So often the thread looks whether its keys are still used.
const LOOK_EVERY: Duration = Duration::from_secs(2);
