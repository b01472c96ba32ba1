//! Tokens that their provider is asked about (RFC 7662), by two threads.
//!
//! What must hold: what waits is bounded, and a provider that hangs costs each login a deadline and no core anything; an answer is remembered for a minute at most, under a
//! keyed hash, so that a program with several connections costs one question, and a token that was revoked is refused soon.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::admin::certificate::now_s;
use client::login::Unavailable;
use oauth::provider::introspected;
use oauth::{Claims, Flaw, Rules};
use plan::Misfit;
use tokio::sync::oneshot;

use super::Checked;
use super::web::{WITHIN, Web};

const THREADS: usize = 2;
/// Questions that wait for a thread.
const WAITING_MAX: usize = 64;
/// A question in the queue before it, and its own.
const WAIT_MAX: Duration = Duration::from_secs(2 * WITHIN.as_secs() + 1);
/// How long an answer is remembered at most.
const REMEMBERED_S: i64 = 60;
/// Answers that are remembered: some 200 bytes each.
const REMEMBERED_MAX: usize = 4_096;

pub(super) struct Asked {
    questions: SyncSender<Question>,
    state: Arc<Mutex<State>>,
    /// Of this process alone: what is remembered cannot be tried elsewhere.
    key: [u8; 32],
}

#[derive(Default)]
struct State {
    remembered: HashMap<[u8; 32], (Instant, Claims)>,
    answered_s: Option<i64>,
    error: Option<String>,
}

struct Question {
    token: String,
    since: Instant,
    answer: oneshot::Sender<Result<Result<Claims, Flaw>, Unavailable>>,
}

impl Asked {
    pub(super) fn start(web: Web, url: String, rules: Rules) -> Result<Arc<Asked>, Misfit> {
        let (questions, receiver) = sync_channel(WAITING_MAX);
        let (receiver, state) = (Arc::new(Mutex::new(receiver)), Arc::default());
        for _ in 0..THREADS {
            let worker = Worker {
                receiver: Arc::clone(&receiver),
                state: Arc::clone(&state),
                web: web.clone(),
                url: url.clone(),
                rules: rules.clone(),
            };
            let thread = std::thread::Builder::new().name("oauth-ask".to_owned());
            let started = thread.spawn(move || worker.run());
            started.map_err(|error| Misfit::new(format!("cannot start a thread: {error}")))?;
        }
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key)
            .map_err(|_| Misfit::new("the operating system has no random numbers"))?;
        Ok(Arc::new(Asked {
            questions,
            state,
            key,
        }))
    }

    /// When the provider last answered, and what is wrong since.
    pub(super) fn facts(&self) -> (Option<i64>, Option<String>) {
        let state = locked(&self.state);
        (state.answered_s, state.error.clone())
    }

    pub(super) async fn check(&self, token: String, now: fn() -> i64) -> Checked {
        let place = *blake3::keyed_hash(&self.key, token.as_bytes()).as_bytes();
        if let Some((until, claims)) = locked(&self.state).remembered.get(&place)
            && *until > Instant::now()
            && now() < claims.expires_s
        {
            return Ok(Ok(claims.name.clone()));
        }
        let (answer, answered) = oneshot::channel();
        let question = Question {
            token,
            since: Instant::now(),
            answer,
        };
        self.questions.try_send(question).map_err(|_| Unavailable)?;
        let waited = tokio::time::timeout(WAIT_MAX, answered).await;
        let claims = match waited
            .map_err(|_| Unavailable)?
            .map_err(|_| Unavailable)??
        {
            Ok(claims) => claims,
            Err(flaw) => return Ok(Err(flaw)),
        };
        let left_s = claims.expires_s.saturating_sub(now());
        let until =
            Instant::now() + Duration::from_secs(left_s.clamp(0, REMEMBERED_S).cast_unsigned());
        let name = claims.name.clone();
        let mut state = locked(&self.state);
        if state.remembered.len() >= REMEMBERED_MAX {
            state
                .remembered
                .retain(|_, (until, _)| *until > Instant::now());
            if state.remembered.len() >= REMEMBERED_MAX {
                // It saves questions, and decides nothing.
                state.remembered.clear();
            }
        }
        state.remembered.insert(place, (until, claims));
        Ok(Ok(name))
    }
}

struct Worker {
    receiver: Arc<Mutex<Receiver<Question>>>,
    state: Arc<Mutex<State>>,
    web: Web,
    url: String,
    rules: Rules,
}

impl Worker {
    fn run(self) {
        loop {
            // until there is nothing that asks
            let next = locked(&self.receiver).recv();
            let Ok(question) = next else { return };
            // Its login has ended, or ends before an answer can come.
            if question.answer.is_closed() || question.since.elapsed() > WAIT_MAX - WITHIN {
                continue;
            }
            let answer = self.answer(&question.token);
            let _ = question.answer.send(answer); // the login may have ended meanwhile
        }
    }

    fn answer(&self, token: &str) -> Result<Result<Claims, Flaw>, Unavailable> {
        let text = self.web.ask(&self.url, token).and_then(|text| {
            let now_s = now_s();
            match introspected(&text, &self.rules, now_s) {
                Ok(claims) => Ok(Ok(claims)),
                Err(Some(flaw)) => Ok(Err(flaw)),
                Err(None) => Err("the answer is not one of RFC 7662".to_owned()),
            }
        });
        let mut state = locked(&self.state);
        match text {
            Ok(said) => {
                (state.answered_s, state.error) = (Some(now_s()), None);
                Ok(said)
            }
            Err(error) => {
                let issuer = &self.rules.issuer;
                if state.error.is_none() {
                    tracing::warn!(issuer, error, "a provider cannot be asked about tokens");
                }
                state.error = Some(error);
                Err(Unavailable)
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
