//! Requests to one provider: from a thread of their own, within a deadline, and with a bound on the answer.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;
use oauth::limits::DOCUMENT_BYTES_MAX;
use plan::Misfit;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::certificate::parse_chain;

/// One request, from the look-up of the name to the end of the answer.
pub(super) const WITHIN: Duration = Duration::from_secs(4);

#[derive(Clone)]
pub(super) struct Web {
    agent: ureq::Agent,
    /// `Basic …` for those that need one.
    proof: Option<String>,
    plain: bool,
}

impl Web {
    /// `plain`: URLs may be without TLS, which the settings allow for the loopback alone.
    pub(super) fn new(authorities: Option<&Path>, plain: bool) -> Result<Web, Misfit> {
        // The first caller in a process decides; every one of ours decides the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let roots = match authorities {
            None => RootCerts::WebPki,
            Some(path) => {
                let wrong = |why: String| {
                    Misfit::new(format!("oauth.authorities: {}: {why}", path.display()))
                };
                let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
                let chain = parse_chain(&pem).map_err(wrong)?;
                let all = chain
                    .iter()
                    .map(|one| Certificate::from_der(one).to_owned());
                RootCerts::from(all)
            }
        };
        let tls = TlsConfig::builder().root_certs(roots).build();
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(WITHIN))
            // A redirect could lead to a host that the settings do not name.
            .max_redirects(0)
            .https_only(!plain)
            .proxy(None)
            .tls_config(tls)
            .build();
        Ok(Web {
            agent: agent.into(),
            proof: None,
            plain,
        })
    }

    /// RFC 6749 §2.3.1.
    pub(super) fn proving(mut self, id: &str, secret: &str) -> Web {
        let pair = format!("{}:{}", encoded(id), encoded(secret));
        self.proof = Some(format!("Basic {}", BASE64.encode(pair.as_bytes())));
        self
    }

    pub(super) fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        // A key set's address is the provider's word: it is held to what the settings allow.
        let is_allowed = url.starts_with("https://") || (self.plain && is_on_loopback(url));
        if !is_allowed {
            return Err("the provider names an address without TLS".to_owned());
        }
        let request = self.agent.get(url).header("Accept", "application/json");
        read(request.call())
    }

    /// RFC 7662 §2.1.
    pub(super) fn ask(&self, url: &str, token: &str) -> Result<Vec<u8>, String> {
        let proof = self.proof.as_deref().unwrap_or_default();
        let request = self
            .agent
            .post(url)
            .header("Accept", "application/json")
            .header("Authorization", proof)
            .header("Content-Type", "application/x-www-form-urlencoded");
        let form = format!("token={}&token_type_hint=access_token", encoded(token));
        read(request.send(form.as_str()))
    }
}

fn read(called: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Vec<u8>, String> {
    let mut response = called.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(format!("the provider answers with status {status}"));
    }
    let body = response.body_mut().with_config();
    let read = body.limit(DOCUMENT_BYTES_MAX as u64).read_to_vec();
    read.map_err(|error| error.to_string())
}

fn is_on_loopback(url: &str) -> bool {
    let host = url.strip_prefix("http://").unwrap_or_default();
    let host = host.split('/').next().unwrap_or_default();
    let parsed = host.parse::<std::net::SocketAddr>();
    parsed.is_ok_and(|address| address.ip().is_loopback())
}

/// RFC 6749 appendix B, with nothing left that has a meaning in a form.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte.into());
            }
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}
