//! The other end of the control socket, and of administration over HTTPS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::limits::{REPLY_BYTES_MAX, REQUEST_DEADLINE};
use crate::words::{Reply, Request};
use crate::{remote, tls};

/// Bytes that fit a Unix socket's address (unix(7): 108 with the final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The way to an appliance on another machine.
#[derive(Debug, Clone)]
pub struct Remote {
    /// `https://HOST:PORT`.
    pub host: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Who signed the appliance's own certificate; its self-signed certificate itself will do.
    pub authority: PathBuf,
}

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
            .map_err(|_| format!("{} holds no PEM private key", self.key.display()))?;
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
        let url = format!("{}{}", self.host.trim_end_matches('/'), remote::ADMIN);
        let mut response = self.agent()?.post(url).send(&body[..]).map_err(told)?;
        let limited = response
            .body_mut()
            .with_config()
            .limit(REPLY_BYTES_MAX as u64);
        let text = limited.read_to_string().map_err(told)?;
        match response.status().as_u16() {
            200 => reply(&text),
            status => Err(format!("{} answers {status}: {}", self.host, text.trim())),
        }
    }

    /// Brings a file to the appliance as `name`. `progress` hears bytes sent.
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
        let url = format!(
            "{}{}{name}",
            self.host.trim_end_matches('/'),
            remote::UPLOAD
        );
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

fn reply(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(Reply::Done(value)) => Ok(value),
        Ok(Reply::Refused(why)) => Err(why),
        Err(error) => Err(format!("ringpostd's answer cannot be read: {error}")),
    }
}

/// Sends `request` to the daemon behind `socket`. `Err`: the one sentence why not.
pub fn ask(socket: &Path, request: &Request) -> Result<Value, String> {
    let stream =
        with_short_path(socket, UnixStream::connect).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
                "no ringpostd answers at {}: start it, or name its state directory with --state",
                socket.display()
            ),
            io::ErrorKind::PermissionDenied => {
                format!(
                    "{} belongs to another user: run ringpostctl as the one that runs ringpostd",
                    socket.display()
                )
            }
            _ => format!("{}: {error}", socket.display()),
        })?;
    let told = |error: io::Error| format!("ringpostd went away: {error}");
    let mut line = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    line.push(b'\n');
    (&stream).write_all(&line).map_err(told)?;
    let mut answer = String::new();
    BufReader::new(stream.take(REPLY_BYTES_MAX as u64))
        .read_line(&mut answer)
        .map_err(told)?;
    if answer.is_empty() {
        return Err("ringpostd went away without an answer".into());
    }
    reply(&answer)
}

/// Calls `open` with `path`, or where it is too long for a socket address with a short name for the same file.
pub fn with_short_path<T>(
    path: &Path,
    open: impl FnOnce(PathBuf) -> io::Result<T>,
) -> io::Result<T> {
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return open(path.to_owned());
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = std::fs::File::open(parent)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    open(short)
}
