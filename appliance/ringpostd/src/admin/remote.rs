//! Administration over HTTPS: the same requests as on the control socket, from another machine, with a client certificate.
//!
//! `POST /admin/v1` carries one request and brings one reply, both JSON. `PUT /admin/v1/upload/NAME` brings an
//! image or its signature to the appliance, for `update apply`.

use ::admin::limits::REQUEST_BYTES_MAX;
use ::admin::places::{UPLOADS, uploads};
use ::admin::reply::Reply;
use ::admin::request::Request;
use files::{Mode, Replacement};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes};
use tokio::io::AsyncWriteExt;

use crate::admin::caller::Caller;
use crate::admin::limits::UPLOAD_BYTES_MAX;
use crate::admin::perform::answer_logged;
use crate::admin::shared::Admin;

/// One request, answered.
pub(crate) async fn request<B>(admin: &Admin, caller: &Caller, body: B) -> Reply
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let whole = match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
        Ok(whole) => whole.to_bytes(),
        Err(error) => return Reply::Refused(format!("the request is incomplete: {error}")),
    };
    match serde_json::from_slice::<Request>(&whole) {
        Ok(request) => answer_logged(admin, request, caller).await,
        Err(error) => Reply::Refused(format!("not a request: {error}")),
    }
}

/// Keeps one uploaded file; an earlier one of the same name is replaced once the new one is whole.
pub(crate) async fn keep<B>(admin: &Admin, name: &str, body: B) -> Result<(), String>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if !UPLOADS.contains(&name) {
        return Err(format!("only {} are accepted", UPLOADS.join(" and ")));
    }
    let directory = uploads(&admin.plan().state);
    let told = |error: std::io::Error| format!("{}: {error}", directory.display());
    tokio::fs::create_dir_all(&directory).await.map_err(told)?;
    let path = directory.join(name);
    let part = directory.join(format!("{name}.part"));
    let begun = blocking(move || Replacement::begin_as(&path, &part, Mode::Umask)).await;
    let mut whole = begun.map_err(told)?;
    let file = whole.file().try_clone().map_err(told)?;
    receive(&mut tokio::fs::File::from_std(file), body)
        .await
        .map_err(|reason| format!("{name} was not stored: {reason}"))?;
    blocking(move || whole.put()).await.map_err(told)
}

/// Work on the disk, beside the thread that serves.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

async fn receive<B>(file: &mut tokio::fs::File, mut body: B) -> Result<(), String>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.to_string())?;
        if let Ok(data) = frame.into_data() {
            bytes += data.len() as u64;
            if bytes > UPLOAD_BYTES_MAX {
                return Err(format!("it has more than {} MiB", UPLOAD_BYTES_MAX >> 20));
            }
            file.write_all(&data)
                .await
                .map_err(|error| error.to_string())?;
        }
    }
    file.flush().await.map_err(|error| error.to_string())
}
