//! LDAP (RFC 4511) as a client: who a user is, whether a password is that user's, who else there is, and which groups.
//!
//! `ber.rs`, `filter.rs` and `message.rs` are bytes to meaning and back; `settings.rs` says how a directory is asked, `connection.rs` has one connection,
//! `servers.rs` several servers with their health, `people.rs` what is asked. Start reading at `Ldap`, below.
//!
//! What must hold:
//! * nothing that a server sends makes this crate panic, recurse or hold more than `limits.rs` says: replies are read by a grammar of known depth.
//! * every call ends at its deadline, whatever the server does, and costs no other caller anything: all of it runs on one thread of its own, and a connection on
//!   which anything went wrong is closed.
//! * no password is empty: a bind with a name and without a password succeeds and proves nothing (RFC 4513 §5.1.2).
//! * a user's name is never part of a filter's syntax (RFC 4515 §3).
//!
//! Why not `ldap3`: its reader panics on a reply that is not LDAP (an empty sequence is enough), and a panic ends the daemon; it recurses as deep as a reply
//! nests, holds a reply of any size, and its searches have no deadline. A fence around it would have to read the same grammar.
#![forbid(unsafe_code)]

mod ber;
mod connection;
mod filter;
#[doc(hidden)]
pub mod fuzzing;
pub mod limits;
mod message;
mod people;
mod servers;
mod settings;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use filter::{Filter, escape};
pub use people::{Checked, Group, Member, Person};
pub use servers::{Gauges, Health};
pub use settings::{Secret, Server, Settings, Tls};

use limits::{
    JOBS_UNDER_WAY_MAX, JOBS_WAITING_MAX, NAMES_LOOKED_UP_MAX, PASSWORD_BYTES_MAX, USER_BYTES_MAX,
};
use servers::Servers;

/// No server gave an answer; the text says why, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Away(pub String);

type Job = Box<dyn FnOnce(Rc<Servers>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The way to the directory's servers. Clones share it.
#[derive(Clone)]
pub struct Ldap {
    jobs: mpsc::Sender<Job>,
    settings: Arc<Settings>,
    gauges: Arc<Gauges>,
}

impl Ldap {
    /// Starts the thread that asks. `tls`: which authorities count. Nothing is asked yet.
    pub fn start(settings: Settings, tls: Arc<ClientConfig>) -> std::io::Result<Ldap> {
        let (jobs, queue) = mpsc::channel(JOBS_WAITING_MAX);
        let settings = Arc::new(settings);
        let gauges = Arc::new(Gauges::new(&settings.servers));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Names are looked up there, which cannot be cut short, and members of groups are put together.
            .max_blocking_threads(NAMES_LOOKED_UP_MAX)
            .thread_name("ldap/names")
            .build()?;
        let (given, counted) = (settings.clone(), gauges.clone());
        std::thread::Builder::new()
            .name("ldap".to_owned())
            .spawn(move || {
                let servers = Rc::new(Servers::new(given, tls, counted));
                tokio::task::LocalSet::new().block_on(&runtime, serve(queue, servers));
            })?;
        Ok(Ldap {
            jobs,
            settings,
            gauges,
        })
    }

    /// Whether the password is that of the user. `name` is an address, or a user's name without a domain.
    pub async fn check(&self, name: String, password: Vec<u8>) -> Result<Checked, Away> {
        // A server that is written in C may take one that begins with a zero for an empty one.
        if password.is_empty() || password.contains(&0) || password.len() > PASSWORD_BYTES_MAX {
            return Ok(Checked::Wrong);
        }
        if name.len() > USER_BYTES_MAX {
            return Ok(Checked::Unknown);
        }
        self.ask(async move |servers| people::check(&servers, &name, &password).await)
            .await
    }

    /// What the directory has about a user, without a password.
    pub async fn person(&self, name: String) -> Result<Option<Person>, Away> {
        if name.len() > USER_BYTES_MAX {
            return Ok(None);
        }
        self.ask(async move |servers| people::person(&servers, &name).await)
            .await
    }

    /// All people, and all groups. `Err`: not all of it was read.
    pub async fn everything(&self) -> Result<(Vec<Person>, Vec<Group>), Away> {
        self.ask(async move |servers| people::everything(&servers).await)
            .await
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How each server is, in the order of the settings.
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    async fn ask<T, W>(&self, work: W) -> Result<T, Away>
    where
        T: Send + 'static,
        W: AsyncFnOnce(Rc<Servers>) -> Result<T, Away> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let job: Job = Box::new(move |servers| {
            Box::pin(async move {
                let _ = sender.send(work(servers).await); // the caller may be gone
            })
        });
        let busy = |_| Away("too many questions wait for the directory".to_owned());
        self.jobs.try_send(job).map_err(busy)?;
        let ended = |_| Away("the thread that asks the directory has ended".to_owned());
        answer.await.map_err(ended)?
    }
}

/// Performs jobs until the last `Ldap` is dropped. Those that are under way are bounded, and so the queue fills up before memory does.
async fn serve(mut queue: mpsc::Receiver<Job>, servers: Rc<Servers>) {
    let places = Arc::new(Semaphore::new(JOBS_UNDER_WAY_MAX));
    while let Some(job) = queue.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let work = job(servers.clone());
        tokio::task::spawn_local(async move {
            work.await;
            drop(place);
        });
    }
}

/// What is left of a span that began at `began`.
fn left(within: Duration, began: tokio::time::Instant) -> Duration {
    within.saturating_sub(began.elapsed())
}

#[cfg(test)]
mod tests;
