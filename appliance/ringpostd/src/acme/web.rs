//! HTTPS to the authority: one request at a time, each with a deadline, a bound on its answer, and the house's own resolver.
//!
//! The library of ACME wants a client whose futures may go to other threads, and the resolver stays on this one. So requests are handed to a task
//! (`serve`) that ends with the order.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use ::admin::certificate::now_s;
use dns::Names;
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use plan::Misfit;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::certificate::parse_chain;

/// For one request, from the look-up to the end of its answer.
const WITHIN: Duration = Duration::from_secs(30);
const CONNECT_WITHIN: Duration = Duration::from_secs(8);
const ADDRESSES_MAX: usize = 3;
/// A chain of certificates is the largest answer.
const ANSWER_BYTES_MAX: usize = 256 * 1_024;

type Asked = (
    Request<BodyWrapper<Bytes>>,
    oneshot::Sender<Result<Response<Bytes>, String>>,
);

/// The library's way to the task.
pub(super) struct Web(mpsc::Sender<Asked>);

/// The latest moment before which the authority does not want to be asked again, in seconds since 1970.
pub(super) type NotBefore = Arc<Mutex<Option<i64>>>;

/// A client, and the task's end of it.
pub(super) fn web() -> (Web, mpsc::Receiver<Asked>) {
    let (sender, receiver) = mpsc::channel(1);
    (Web(sender), receiver)
}

impl HttpClient for Web {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let to = self.0.clone();
        Box::pin(async move {
            let (sender, answer) = oneshot::channel();
            let gone = |_| Error::Str("the client has ended");
            to.send((request, sender)).await.map_err(|_| gone(()))?;
            match answer.await.map_err(|_| gone(()))? {
                Ok(response) => {
                    let (parts, body) = response.into_parts();
                    Ok(BytesResponse {
                        parts,
                        body: Box::new(body),
                    })
                }
                Err(why) => Err(Error::Other(why.into())),
            }
        })
    }
}

/// Whom the authority's own certificate may be from.
pub(super) fn trust(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, Misfit> {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = authorities {
        let wrong =
            |why: String| Misfit::new(format!("acme.authorities: {}: {why}", path.display()));
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        for one in parse_chain(&pem).map_err(wrong)? {
            roots.add(one).map_err(|error| wrong(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Misfit::new(error.to_string()))?;
    Ok(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
}

/// Performs what is asked until the client is dropped.
pub(super) async fn serve(
    mut asked: mpsc::Receiver<Asked>,
    names: impl Names,
    tls: Arc<ClientConfig>,
    limited: NotBefore,
) {
    while let Some((request, answer)) = asked.recv().await {
        let fetched = timeout(WITHIN, fetch(request, &names, &tls)).await;
        let fetched =
            fetched.unwrap_or_else(|_| Err("the authority took longer than 30 s".to_owned()));
        if let Ok(response) = &fetched
            && let Some(until_s) = not_before(response, now_s())
        {
            *limited.lock().expect("no holder panics") = Some(until_s);
        }
        let _ = answer.send(fetched); // the order may have ended meanwhile
    }
}

/// When the authority that refuses for now wants to be asked again (RFC 8555 §6.6).
fn not_before(response: &Response<Bytes>, now_s: i64) -> Option<i64> {
    let refuses = matches!(
        response.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    let value = response.headers().get(RETRY_AFTER).filter(|_| refuses)?;
    let value = value.to_str().ok()?.trim();
    match value.parse::<u32>() {
        Ok(seconds) => Some(now_s.saturating_add(seconds.into())),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            let since = date.duration_since(UNIX_EPOCH).ok()?;
            i64::try_from(since.as_secs()).ok()
        }
    }
}

/// The library adds `Retry-After` to the time of now, and panics where the sum is not a time: such a number is not passed on as it is.
fn believable(mut response: Response<Bytes>) -> Response<Bytes> {
    let value = response.headers().get(RETRY_AFTER);
    let seconds = value.and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    if seconds.is_some_and(|seconds| seconds > u64::from(u32::MAX)) {
        let most = HeaderValue::from(u32::MAX);
        response.headers_mut().insert(RETRY_AFTER, most);
    }
    response
}

async fn fetch(
    mut request: Request<BodyWrapper<Bytes>>,
    names: &impl Names,
    tls: &Arc<ClientConfig>,
) -> Result<Response<Bytes>, String> {
    let uri = request.uri().clone();
    if uri.scheme_str() != Some("https") {
        return Err(format!("{uri} is not https"));
    }
    let host = uri.host().ok_or_else(|| format!("{uri} names no host"))?;
    let authority = uri.authority().map(|one| one.as_str()).unwrap_or(host);
    let stream = dial(host, uri.port_u16().unwrap_or(443), names).await?;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
    let name = name.map_err(|_| format!("{host} is not a name"))?;
    let connected = TlsConnector::from(tls.clone()).connect(name, stream).await;
    let stream = connected.map_err(|error| format!("TLS with {host}: {error}"))?;
    let said = |error: hyper::Error| format!("{host}: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(said)?;
    // It ends with the connection, whose sender is dropped below; a server that goes on sending meets the deadline of its own task.
    let running = tokio::task::spawn_local(timeout(WITHIN, connection));
    let value = HeaderValue::from_str(authority).map_err(|_| format!("{host} is not a name"))?;
    request.headers_mut().insert(HOST, value);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(|error| error.to_string())?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(said)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| format!("{host}: {error}"))?;
        Ok(believable(Response::from_parts(parts, body.to_bytes())))
    };
    let answered = answered.await;
    running.abort();
    answered
}

async fn dial(host: &str, port: u16, names: &impl Names) -> Result<TcpStream, String> {
    let addresses = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => names
            .addresses(host)
            .await
            .map_err(|fault| format!("{host}: {fault}"))?,
    };
    let mut why = format!("{host} has no address");
    for address in addresses.into_iter().take(ADDRESSES_MAX) {
        let to = SocketAddr::new(address, port);
        match timeout(CONNECT_WITHIN, TcpStream::connect(to)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = format!("{host} ({to}): {error}"),
            Err(_) => why = format!("{host} ({to}) does not answer"),
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_none_is_not_passed_on() {
        for (after, wanted) in [
            ("18446744073709551615", "4294967295"),
            ("9223372036854775807", "4294967295"),
            ("120", "120"),
            (
                "Fri, 31 Dec 1999 23:59:59 GMT",
                "Fri, 31 Dec 1999 23:59:59 GMT",
            ),
        ] {
            let response = Response::builder().header(RETRY_AFTER, after);
            let response = believable(response.body(Bytes::new()).expect("right"));
            assert_eq!(response.headers()[RETRY_AFTER], wanted);
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        let response = |status: u16, after: &str| {
            let response = Response::builder().status(status);
            let response = response.header(RETRY_AFTER, after);
            response.body(Bytes::new()).expect("right")
        };
        for (status, after, wanted) in [
            (429, "120", Some(1_120)),
            (503, "Fri, 31 Dec 1999 23:59:59 GMT", Some(946_684_799)),
            (200, "120", None),
            (400, "120", None),
            (429, "-1", None),
            (429, "soon", None),
            (429, "99999999999999999999", None),
        ] {
            assert_eq!(
                not_before(&response(status, after), 1_000),
                wanted,
                "{status} {after}"
            );
        }
    }
}
