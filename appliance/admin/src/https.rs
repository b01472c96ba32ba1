//! Administration of an appliance on another machine, over HTTPS with a client certificate.

use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use crate::limits::{REPLY_BYTES_MAX, REQUEST_DEADLINE};
use crate::places::{ADMIN, Remote, UPLOAD};
use crate::reply;
use crate::request::Request;
use crate::tls;

impl Remote {
    fn agent(&self) -> Result<ureq::Agent, String> {
        use ureq::tls::{
            Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider,
            parse_pem,
        };
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        if !self.host.starts_with("https://") {
            return Err(format!("{}: write https://HOST:PORT", self.host));
        }
        // ureq panics on what this refuses.
        tls::config(self)?;
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let certificates = |path: &Path| {
            let pem = read(path)?;
            let found: Vec<Certificate<'static>> = parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            Ok::<_, String>(found)
        };
        let key = PrivateKey::from_pem(&read(&self.key)?)
            .map_err(|_| format!("{} contains no PEM private key", self.key.display()))?;
        let client = ClientCert::new_with_certs(&certificates(&self.certificate)?, key);
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::new_with_certs(&certificates(&self.authority)?))
            .client_cert(Some(client))
            .build();
        Ok(ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_connect(Some(REQUEST_DEADLINE))
            .http_status_as_error(false)
            .max_redirects(0)
            .build()
            .into())
    }

    /// Sends `request`. `Err`: the one sentence why not.
    pub fn ask(&self, request: &Request) -> Result<Value, String> {
        let told = |error: ureq::Error| tls::explain(self, &error);
        let body = serde_json::to_vec(request).map_err(|error| error.to_string())?;
        let url = format!("{}{}", self.host.trim_end_matches('/'), ADMIN);
        let mut response = self.agent()?.post(url).send(&body[..]).map_err(told)?;
        let limited = response
            .body_mut()
            .with_config()
            .limit(REPLY_BYTES_MAX as u64);
        let text = limited.read_to_string().map_err(told)?;
        match response.status().as_u16() {
            200 => reply::read(&text),
            status => Err(format!("{} answers {status}: {}", self.host, text.trim())),
        }
    }

    /// Brings a file to the appliance as `name`. `progress` gets the bytes sent.
    pub fn upload(&self, file: &Path, name: &str, progress: impl FnMut(u64)) -> Result<(), String> {
        struct Counted<F>(std::fs::File, u64, F);
        impl<F: FnMut(u64)> Read for Counted<F> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = self.0.read(buffer)?;
                self.1 += count as u64;
                (self.2)(self.1);
                Ok(count)
            }
        }
        let opened =
            std::fs::File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let url = format!("{}{}{name}", self.host.trim_end_matches('/'), UPLOAD);
        let told = |error: ureq::Error| tls::explain(self, &error);
        let mut counted = Counted(opened, 0, progress);
        let mut response = self
            .agent()?
            .put(url)
            .send(ureq::SendBody::from_reader(&mut counted))
            .map_err(told)?;
        match response.status().as_u16() {
            201 => Ok(()),
            status => Err(format!(
                "{} answers {status}: {}",
                self.host,
                response
                    .body_mut()
                    .read_to_string()
                    .unwrap_or_default()
                    .trim()
            )),
        }
    }
}
