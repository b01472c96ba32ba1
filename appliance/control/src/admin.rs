//! The daemon's administration: what it knows, the control socket, the HTTP doors. Lives on the main thread.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener as StdListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plan::{Plan, Service};
use runtime::{AcceptTrouble, Budget, Counters};
use storage::owner::Owner;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::http;
use crate::limits::*;
use crate::metrics::Metrics;
use crate::words::{Reply, Request};

/// The control socket's name in the state directory.
pub const SOCKET: &str = "control.sock";

/// The certificate that TLS listeners show.
pub trait Certificate: Send + Sync {
    /// DER, the server's own first.
    fn chain(&self) -> Vec<Vec<u8>>;
    /// Keeps and shows another one, both PEM. `Err`: one sentence, and nothing changed.
    fn replace(&self, chain: &str, key: &str) -> Result<(), String>;
    /// Reads the files again.
    fn reload(&self) -> Result<(), String>;
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub door: &'static str,
    /// The name on the client certificate, or the user on this machine.
    pub who: String,
    /// When the connection was accepted: milliseconds of the machine's uptime.
    pub connected_ms: u64,
}

impl Caller {
    /// Accepted just now.
    pub(crate) fn new(door: &'static str, who: String) -> Caller {
        // Unknown is never new: such a connection proves nothing.
        let connected_ms = boot::probation::uptime_ms(Path::new("/")).unwrap_or(0);
        Caller {
            door,
            who,
            connected_ms,
        }
    }
}

/// Everything administration works with. Clones share it.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

struct Shared {
    plan: Arc<Plan>,
    owner: Owner,
    metrics: Metrics,
    receive_memory: Budget,
    certificate: Arc<dyn Certificate>,
    stopping: AtomicBool,
    began: Instant,
}

impl Admin {
    pub fn new(
        plan: Arc<Plan>,
        owner: Owner,
        metrics: Metrics,
        receive_memory: Budget,
        certificate: Arc<dyn Certificate>,
    ) -> Admin {
        let shared = Shared {
            plan,
            owner,
            metrics,
            receive_memory,
            certificate,
            stopping: AtomicBool::new(false),
            began: Instant::now(),
        };
        Admin {
            shared: Arc::new(shared),
        }
    }

    /// From now on `/readyz` says no.
    pub fn stopping(&self) {
        self.shared.stopping.store(true, Ordering::Release);
    }

    /// Performs a request, and leaves a line of it in the log.
    pub(crate) async fn answer_logged(&self, request: Request, caller: &Caller) -> Reply {
        let (door, who) = (caller.door, caller.who.as_str());
        // A request may hold a password's hash or a private key: its verb alone is logged.
        let verb = format!("{request:?}");
        let verb = verb.split([' ', '{']).next().unwrap_or("").to_owned();
        // The console looks every second: that would leave nothing else in the log.
        let console = matches!(
            request,
            Request::Status | Request::Plan | Request::VolumeList
        );
        let reply = self.answer(request, caller).await;
        let refused = matches!(reply, Reply::Refused(_));
        if door == "socket" && console && !refused {
            tracing::debug!(verb, door, "control");
        } else {
            tracing::info!(verb, door, who, refused, "control");
        }
        reply
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.shared.owner
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn receive_memory(&self) -> &Budget {
        &self.shared.receive_memory
    }

    pub(crate) fn certificate(&self) -> &dyn Certificate {
        &*self.shared.certificate
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.shared.began.elapsed()
    }
}

/// The open doors; dropping them closes the socket and its listeners.
pub struct Doors {
    tasks: Vec<JoinHandle<()>>,
    socket: PathBuf,
}

impl Doors {
    /// Opens the control socket in `state` and serves HTTP on `http`. Must run inside a runtime with a `LocalSet`.
    pub fn open(
        admin: &Admin,
        state: &Path,
        tls: Arc<rustls::ServerConfig>,
        http: Vec<(Service, StdListener)>,
    ) -> io::Result<Doors> {
        let path = state.join(SOCKET);
        // The state directory is locked: a socket that lies here is a dead process's.
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let socket = bind(&path)?;
        let mut tasks = vec![tokio::task::spawn_local(serve(admin.clone(), socket))];
        // One for all addresses of a service: its bound is theirs together.
        let mut counted = BTreeMap::new();
        for (service, listener) in http {
            let counters = counted.entry(service.name()).or_insert_with(|| {
                let counters = Arc::new(Counters::default());
                admin.metrics().add_listener(service, counters.clone());
                counters
            });
            let counters = counters.clone();
            let tls = (service == Service::Https).then(|| tls.clone());
            let connections_max = admin
                .plan()
                .listener(service)
                .map_or(0, |planned| planned.connections_max);
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let serving = http::serve(admin.clone(), listener, tls, counters, connections_max);
            tasks.push(tokio::task::spawn_local(serving));
        }
        Ok(Doors {
            tasks,
            socket: path,
        })
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Binds at `path`, for us alone. A path longer than a socket address takes is reached through the directory's descriptor.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let listener = crate::client::with_short_path(path, UnixListener::bind)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn serve(admin: Admin, socket: UnixListener) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    let mut trouble = AcceptTrouble::default();
    loop {
        // until the doors are closed
        let place = places.clone().acquire_owned().await.expect("never closed");
        match socket.accept().await {
            Ok((stream, _)) => {
                trouble.is_over();
                let admin = admin.clone();
                tokio::task::spawn_local(async move {
                    let _place = place;
                    if let Err(error) = converse(&admin, stream).await {
                        tracing::debug!(%error, "a control client went away");
                    }
                });
            }
            Err(error) => tokio::time::sleep(trouble.pause("control socket", &error)).await,
        }
    }
}

/// One line in, one line out.
async fn converse(admin: &Admin, stream: UnixStream) -> io::Result<()> {
    let user = stream.peer_cred().map(|peer| peer.uid());
    let who = user.map_or("somebody on the box".into(), |uid| {
        format!("user {uid} on the box")
    });
    let caller = Caller::new("socket", who);
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(REQUEST_BYTES_MAX as u64));
    let got = tokio::time::timeout(REQUEST_DEADLINE, read.read_line(&mut line)).await;
    let reply = match got {
        Ok(Ok(_)) if line.ends_with('\n') => match serde_json::from_str::<Request>(&line) {
            Ok(request) => admin.answer_logged(request, &caller).await,
            Err(error) => Reply::Refused(format!("not a request: {error}")),
        },
        Ok(Ok(_)) => Reply::Refused(format!(
            "a request is one line of at most {REQUEST_BYTES_MAX} bytes"
        )),
        Ok(Err(error)) => return Err(error),
        Err(_) => Reply::Refused("no request came".into()),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    write.shutdown().await
}
