//! The control socket's end in the daemon: one line in, one line out.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use ::admin::client::with_short_path;
use ::admin::limits::{REQUEST_BYTES_MAX, REQUEST_DEADLINE};
use ::admin::reply::Reply;
use ::admin::request::Request;
use runtime::AcceptTrouble;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::admin::caller::Caller;
use crate::admin::limits::CLIENTS_MAX;
use crate::admin::perform::answer_logged;
use crate::admin::shared::Admin;

/// Binds at `path`, for us alone. A path longer than a socket address takes is reached through the directory's descriptor.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    let listener = with_short_path(path, UnixListener::bind)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Accepts until dropped.
pub(crate) async fn serve(admin: Admin, socket: UnixListener) {
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
    let who = user.map_or("a user of the appliance".into(), |uid| {
        format!("user {uid} of the appliance")
    });
    let caller = Caller::new("socket", who);
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(REQUEST_BYTES_MAX as u64));
    let got = tokio::time::timeout(REQUEST_DEADLINE, read.read_line(&mut line)).await;
    let reply = match got {
        Ok(Ok(_)) if line.ends_with('\n') => match serde_json::from_str::<Request>(&line) {
            Ok(request) => answer_logged(admin, request, &caller).await,
            Err(error) => Reply::Refused(format!("not a request: {error}")),
        },
        Ok(Ok(_)) => Reply::Refused(format!(
            "a request is one line of at most {REQUEST_BYTES_MAX} bytes"
        )),
        Ok(Err(error)) => return Err(error),
        Err(_) => Reply::Refused("no request arrived".into()),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    write.shutdown().await
}
