//! A pinned thread with its runtime, and the handle that stops it.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use base::host::Bell;

use crate::limits::*;
use crate::process;
use crate::stall::{self, Stalls};
use crate::stop::Stop;

/// How a core is started.
#[derive(Debug, Clone)]
pub struct CoreSettings {
    /// The thread's name: its zone or zones, at most 15 bytes for the kernel.
    pub name: String,
    /// The CPU to stay on; `None`: wherever the scheduler likes.
    pub cpu: Option<usize>,
}

/// Why a core did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The system has no thread for us.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The kernel refuses the ring for sockets.
    #[error("cannot set up io_uring for sockets: {0}")]
    Ring(io::Error),
}

/// This thread's core. Clones share it; it never leaves its thread.
#[derive(Clone)]
pub struct Core {
    shared: Rc<Shared>,
}

/// What the clones share.
struct Shared {
    /// Requested once, from any thread; every session of the core sees it.
    stop: Stop,
    /// Sessions that are open now.
    sessions: Cell<usize>,
    /// Rung when a session ends.
    quiet: Bell,
}

/// The outside view of a running core.
pub struct CoreHandle {
    /// As in `CoreSettings`.
    name: String,
    stop: Stop,
    /// How long tasks kept others from running.
    stalls: Arc<Stalls>,
    thread: JoinHandle<()>,
}

impl Core {
    /// Starts the thread and runs `main` on it; the thread ends when `main` does. Answers once the runtime stands.
    ///
    /// A CPU that this process may not use is logged and is not a fault: the core then runs unpinned.
    pub fn start<M, F>(settings: CoreSettings, main: M) -> Result<CoreHandle, StartFault>
    where
        M: FnOnce(Core) -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let stop = Stop::new();
        let heard = stop.clone();
        let name = settings.name.clone();
        let stalls = Arc::new(Stalls::default());
        let watched = stalls.clone();
        let (began, ready) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(settings.name.clone())
            .spawn(move || {
                pin(&settings);
                let runtime = match runtime() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        let _ = began.send(Err(error));
                        return;
                    }
                };
                let _ = began.send(Ok(()));
                runtime.block_on(async move {
                    let core = Core {
                        shared: Rc::new(Shared {
                            stop: heard,
                            sessions: Cell::new(0),
                            quiet: Bell::new(),
                        }),
                    };
                    let watch = tokio::task::spawn_local(stall::watch(watched));
                    main(core).await;
                    watch.abort();
                });
                // Dropping the runtime would wait for operations whose peers may never answer: the sockets were shut down
                // by their owners, and the process ends soon.
                std::mem::forget(runtime);
            })
            .map_err(StartFault::Thread)?;
        match ready.recv() {
            Ok(Ok(())) => Ok(CoreHandle {
                name,
                stop,
                stalls,
                thread,
            }),
            Ok(Err(error)) => Err(StartFault::Ring(error)),
            Err(_) => Err(StartFault::Thread(io::Error::other(
                "the thread ended at once",
            ))),
        }
    }

    /// To wait for the stop beside the work of a session.
    pub fn stop(&self) -> &Stop {
        &self.shared.stop
    }

    /// Sessions open on this core, over all listeners.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.get()
    }

    /// After a stop: waits until every session has ended, at most `grace`. Says how many are left.
    pub async fn drain(&self, grace: Duration) -> usize {
        assert!(self.shared.stop.is_requested());
        let empty = async {
            while self.sessions() > 0 {
                self.shared.quiet.wait().await;
            }
        };
        let _ = tokio::time::timeout(grace, empty).await;
        self.sessions()
    }

    /// A session begins; `drain` waits for its end.
    pub(crate) fn session_began(&self) {
        self.shared.sessions.set(self.shared.sessions.get() + 1);
    }

    pub(crate) fn session_ended(&self) {
        self.shared.sessions.set(self.shared.sessions.get() - 1);
        self.shared.quiet.ring();
    }
}

impl CoreHandle {
    /// As the plan calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long it did not come back.
    pub fn stalls(&self) -> &Arc<Stalls> {
        &self.stalls
    }

    /// Asks the core to stop accepting; its `main` decides what follows. `join` waits for it.
    pub fn stop(&self) {
        self.stop.request();
    }

    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread's end. A panic on it aborts the process where the daemon's hook says so; elsewhere it is
    /// passed on.
    pub fn join(self) {
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// The runtime with the best flags that this kernel knows.
fn runtime() -> io::Result<tokio_uring::Runtime> {
    runtime_with(true).or_else(|_| runtime_with(false))
}

/// `patient`: a core that is at work gets completions when it next calls the kernel, not by an interrupt at once. Kernels
/// before 5.19 do not know the flag.
fn runtime_with(patient: bool) -> io::Result<tokio_uring::Runtime> {
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(RING_COMPLETIONS);
    if patient {
        ring.setup_coop_taskrun();
    }
    let mut builder = tokio_uring::builder();
    builder.entries(RING_ENTRIES).uring_builder(&ring);
    tokio_uring::Runtime::new(&builder)
}

/// Keeps the thread on its CPU. A CPU that may not be used is logged: an unpinned core serves as well, only less
/// evenly.
fn pin(settings: &CoreSettings) {
    let Some(cpu) = settings.cpu else { return };
    if let Err(error) = process::set_affinity(&[cpu]) {
        tracing::warn!(core = settings.name, cpu, %error, "cannot pin this thread; it runs unpinned");
    }
}
