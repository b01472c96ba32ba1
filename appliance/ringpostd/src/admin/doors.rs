//! The open doors: the control socket and the HTTP listeners. They live on the main thread.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::admin::places::SOCKET;
use plan::Service;
use runtime::Counters;
use tokio::task::JoinHandle;

use crate::admin::shared::Admin;
use crate::admin::{http, socket};

/// The open doors; dropping them closes the socket and its listeners.
pub struct Doors {
    tasks: Vec<JoinHandle<()>>,
    socket: PathBuf,
}

impl Doors {
    /// Opens the control socket in `state` and serves HTTP on `http`: under `tls` on HTTPS, under `shown` what strangers fetch. Must run inside a runtime with a `LocalSet`.
    pub fn open(
        admin: &Admin,
        state: &Path,
        (tls, shown): (Arc<rustls::ServerConfig>, Arc<rustls::ServerConfig>),
        http: Vec<(Service, StdListener)>,
    ) -> io::Result<Doors> {
        let path = state.join(SOCKET);
        // The state directory is locked: a socket that is here belongs to a dead process.
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = socket::bind(&path)?;
        let mut tasks = vec![tokio::task::spawn_local(socket::serve(
            admin.clone(),
            listener,
        ))];
        // One for all addresses of a service: its bound is theirs together.
        let mut counted = BTreeMap::new();
        for (service, listener) in http {
            let counters = counted.entry(service.name()).or_insert_with(|| {
                let counters = Arc::new(Counters::default());
                admin.metrics().add_listener(service, counters.clone());
                counters
            });
            let counters = counters.clone();
            let tls = match service {
                Service::Https => Some(tls.clone()),
                // Strangers fetch policies and settings by the names of our domains, and the certificate is chosen by the name that they ask for. The
                // door of administrators shows one certificate and asks for another.
                Service::Policy => Some(shown.clone()),
                _ => None,
            };
            // The plan's own bound, which its memory was counted by.
            let connections_max = admin
                .plan()
                .listener(service)
                .map_or(0, |planned| planned.connections_max);
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let serving = http::serve(
                admin.clone(),
                (service, listener),
                tls,
                counters,
                connections_max,
            );
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
        // What stays behind would do no harm; a client that finds it is refused at once, where without it the reason is plainer.
        let _ = std::fs::remove_file(&self.socket);
    }
}
