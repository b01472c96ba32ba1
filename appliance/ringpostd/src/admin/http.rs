//! `/healthz`, `/readyz` and `/metrics`, over HTTP/1.1 with and without TLS; administration for those with a client certificate.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ::admin::places::{ADMIN, UPLOAD};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use plan::Service;
use runtime::{AcceptTrouble, Counters, Peers};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::admin::caller::Caller;
use crate::admin::limits::HTTP_IDLE;
use crate::admin::shared::Admin;
use crate::admin::{autoconfig, certificates, policies, remote};
use crate::certificate::ACME_TLS;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// RFC 8555 §8.3.
const CHALLENGE: &str = "/.well-known/acme-challenge/";
const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Accepts until dropped.
pub async fn serve(
    admin: Admin,
    (of, listener): (Service, TcpListener),
    tls: Option<Arc<rustls::ServerConfig>>,
    counters: Arc<Counters>,
    connections_max: usize,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let peers = Rc::new(Peers::of(connections_max));
    let mut trouble = AcceptTrouble::default();
    loop {
        // until the doors are closed
        let (stream, peer) = match listener.accept().await {
            Ok((stream, peer)) => (stream, peer.ip()),
            Err(error) => {
                tokio::time::sleep(trouble.pause("http", &error)).await;
                continue;
            }
        };
        trouble.is_over();
        // As everywhere: one address leaves half of them to others.
        if counters.open.load(Relaxed) >= connections_max as u64 || !peers.has_room(peer) {
            counters.refused.fetch_add(1, Relaxed);
            continue;
        }
        counters.accepted.fetch_add(1, Relaxed);
        counters.open.fetch_add(1, Relaxed);
        let (admin, acceptor, counters) = (admin.clone(), acceptor.clone(), counters.clone());
        let entered = Peers::enter(&peers, peer);
        tokio::task::spawn_local(async move {
            let _entered = entered;
            connection((admin, of), stream, acceptor, &counters).await;
            counters.open.fetch_sub(1, Relaxed);
        });
    }
}

async fn connection(
    (admin, of): (Admin, Service),
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    counters: &Counters,
) {
    match acceptor {
        None => requests((admin, of), stream, None).await,
        Some(acceptor) => match tokio::time::timeout(HTTP_IDLE, acceptor.accept(stream)).await {
            // RFC 8737 §3: the look is over with the handshake.
            // (The certificate that was shown is the whole answer; a request over it would be from nobody who has a question.)
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS) => {}
            Ok(Ok(stream)) => {
                // The handshake verified it against the configured authority, or it would have failed.
                let shown = stream.get_ref().1.peer_certificates();
                let caller = shown.map(|shown| {
                    let own = shown.first().map_or(&[][..], |certificate| certificate);
                    Caller::new("https", certificates::whose(own))
                });
                requests((admin, of), stream, caller).await
            }
            _ => {
                counters.tls_failures.fetch_add(1, Relaxed);
            }
        },
    }
}

async fn requests(
    (admin, of): (Admin, Service),
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    certified: Option<Caller>,
) {
    let certified = certified.map(Arc::new);
    let service = service_fn(move |request| {
        let (admin, certified) = (admin.clone(), certified.clone());
        async move {
            Ok::<_, Infallible>(match of {
                Service::Policy => fetched(&admin, request).await,
                Service::Challenge => looked(&admin, &request),
                _ => respond(&admin, request, certified.as_deref()).await,
            })
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_IDLE)
        // A stranger asks once, and gives its place back.
        .keep_alive(!matches!(of, Service::Policy | Service::Challenge))
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTP client went away");
    }
}

async fn respond(
    admin: &Admin,
    request: Request<Incoming>,
    certified: Option<&Caller>,
) -> Response<Full<Bytes>> {
    // By the path, before the method: what is under it is refused without a certificate, whatever it is.
    if request.uri().path().starts_with(ADMIN) {
        return administer(admin, request, certified).await;
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        // With the list of what is allowed, as RFC 9110 §15.5.6 wants it.
        let mut refused = response(
            StatusCode::METHOD_NOT_ALLOWED,
            PLAIN,
            "only GET and HEAD are allowed\n".into(),
        );
        refused
            .headers_mut()
            .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/healthz" => response(StatusCode::OK, PLAIN, "alive\n".into()),
        "/readyz" => match not_ready(admin).await {
            None => response(StatusCode::OK, PLAIN, "ready\n".into()),
            Some(why) => response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n")),
        },
        "/metrics" => response(StatusCode::OK, OPEN_METRICS, admin.open_metrics().await),
        _ => response(
            StatusCode::NOT_FOUND,
            PLAIN,
            "there are /healthz, /readyz and /metrics\n".into(),
        ),
    }
}

/// What strangers fetch: the policy of one of our domains (RFC 8461 §3.3), or what a mail program is to be set up with.
async fn fetched(admin: &Admin, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let server = &admin.plan().server_name;
    let (text, kind) = if let Some(domain) = policies::asked(method, uri, headers) {
        (policies::text(admin, domain).await, PLAIN)
    } else if let Some(asked) = autoconfig::asked(method, uri, headers, server) {
        let kind = asked.kind();
        let body = Limited::new(request.into_body(), autoconfig::BODY_BYTES_MAX).collect();
        let body = match tokio::time::timeout(HTTP_IDLE, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => {
                return response(StatusCode::PAYLOAD_TOO_LARGE, PLAIN, "too large\n".into());
            }
            Err(_) => return response(StatusCode::REQUEST_TIMEOUT, PLAIN, "too slow\n".into()),
        };
        (autoconfig::answer(admin, asked, &body).await, kind)
    } else {
        (Ok(None), PLAIN)
    };
    match text {
        Ok(Some(text)) => response(StatusCode::OK, kind, text),
        Ok(None) => response(StatusCode::NOT_FOUND, PLAIN, "not here\n".into()),
        Err(_) => response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "later\n".into()),
    }
}

/// What an authority looks for under one of our names (RFC 8555 §8.3): there only while an order is under way.
fn looked(admin: &Admin, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let token = request.uri().path().strip_prefix(CHALLENGE);
    // The token is compared with those that wait, and never becomes part of a path.
    let found = token.filter(|_| is_read).and_then(|token| {
        let acme = admin.acme()?;
        acme.answers().text(token)
    });
    match found {
        Some(text) => response(StatusCode::OK, "application/octet-stream", text),
        None => response(StatusCode::NOT_FOUND, PLAIN, "not here\n".into()),
    }
}

/// Administration: refused without a certificate, for every request.
async fn administer(
    admin: &Admin,
    request: Request<Incoming>,
    certified: Option<&Caller>,
) -> Response<Full<Bytes>> {
    // The same answer for every path: whoever has no certificate learns nothing of what there is.
    let Some(caller) = certified else {
        return response(
            StatusCode::FORBIDDEN,
            PLAIN,
            "administration needs HTTPS with a client certificate that [admin] client_ca signed\n"
                .into(),
        );
    };
    let path = request.uri().path().to_owned();
    match (request.method(), path.strip_prefix(UPLOAD)) {
        (&Method::PUT, Some(name)) => match remote::keep(admin, name, request.into_body()).await {
            Ok(()) => response(StatusCode::CREATED, PLAIN, "kept\n".into()),
            Err(why) => response(StatusCode::BAD_REQUEST, PLAIN, format!("{why}\n")),
        },
        (&Method::POST, None) if path == ADMIN => {
            let reply = remote::request(admin, caller, request.into_body()).await;
            match serde_json::to_string(&reply) {
                Ok(text) => response(StatusCode::OK, JSON, text),
                Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, error.to_string()),
            }
        }
        _ => response(
            StatusCode::NOT_FOUND,
            PLAIN,
            format!("there are POST {} and PUT {}NAME\n", ADMIN, UPLOAD),
        ),
    }
}

/// Why no mail is served just now.
async fn not_ready(admin: &Admin) -> Option<String> {
    if admin.is_stopping() {
        return Some("stopping".into());
    }
    match admin.trouble().await {
        Ok(None) => None,
        Ok(Some(why)) => Some(format!("no mail is served: {why}")),
        Err(refused) => Some(refused),
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
