//! An IMAP server as one end of a transfer: where it is, and how its connection is trusted.

use std::path::Path;
use std::sync::Arc;

use mua::mover::{self, Mover};
use mua::stream::Stream;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::letter::Fault;
use super::limits::SILENCE_MAX;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// From the first byte.
    Inside,
    /// STARTTLS.
    Started,
    /// None at all: who listens sees the password and the mail.
    Absent,
}

impl Place {
    /// `imaps://HOST[:PORT]`, or `imap://HOST[:PORT]` with STARTTLS.
    pub(crate) fn parse(url: &str, is_plain: bool) -> Result<Place, String> {
        let why = || format!("`{url}`: write imaps://HOST, imaps://HOST:PORT or imap://HOST:PORT");
        let (scheme, rest) = url.split_once("://").ok_or_else(why)?;
        let (tls, port) = match scheme {
            "imaps" => (Tls::Inside, 993),
            "imap" if is_plain => (Tls::Absent, 143),
            "imap" => (Tls::Started, 143),
            _ => return Err(why()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = host_and_port(rest, port).ok_or_else(why)?;
        if host.is_empty() || host.contains(['/', '@', '?', ' ']) {
            return Err(why());
        }
        Ok(Place {
            host: host.to_owned(),
            port,
            tls,
        })
    }
}

/// `HOST`, `HOST:PORT`, or the same with an address of IPv6 in brackets.
fn host_and_port(text: &str, usual: u16) -> Option<(&str, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']')? {
            (host, "") => (host, None),
            (host, behind) => (host, Some(behind.strip_prefix(':')?)),
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    match port {
        None => Some((host, usual)),
        Some(port) => Some((host, port.parse().ok()?)),
    }
}

/// A server, and how its certificate is judged.
#[derive(Clone)]
pub(crate) struct Server {
    pub place: Place,
    pub config: Arc<ClientConfig>,
    /// The certificate must have the name of the host. `false`: it is a listener of this very machine.
    pub is_named: bool,
}

impl Server {
    /// A server of another owner: known to the authorities of the web, or to this file.
    pub(crate) fn of_others(place: Place, authorities: Option<&Path>) -> Result<Server, String> {
        let more = match authorities {
            Some(file) => certificates(file)?,
            None => Vec::new(),
        };
        let config = mua::tls::trusting(&more, true).map_err(|error| error.to_string())?;
        Ok(Server {
            place,
            config,
            is_named: true,
        })
    }

    /// A connection that is logged in.
    pub(crate) fn open(&self, user: &str, password: &str) -> Result<Mover, Fault> {
        let Place { host, port, tls } = &self.place;
        let away = |error: std::io::Error| Fault::Away(format!("{host}: {error}"));
        let stream = Stream::connect(host, *port, SILENCE_MAX).map_err(away)?;
        let opened = match tls {
            Tls::Inside => {
                let secured = match self.is_named {
                    true => stream.secure_as(&self.config, host),
                    false => stream.secure(&self.config),
                };
                // A certificate that is not trusted now will not be in a minute.
                let secured = secured.map_err(|error| match error.get_ref() {
                    Some(inner) if inner.is::<rustls::Error>() => Fault::Stop(format!(
                        "{host}: {error}; --server-ca names what is trusted"
                    )),
                    _ => away(error),
                })?;
                Mover::over(secured)
            }
            Tls::Started => {
                let name = self.is_named.then_some(host.as_str());
                Mover::over(stream).and_then(|line| line.start_tls(&self.config, name))
            }
            Tls::Absent => Mover::over(stream),
        };
        let told = |fault| self.told(fault);
        let mut line = opened.map_err(told)?;
        line.log_in(user, password).map_err(told)?;
        Ok(line)
    }

    pub(crate) fn told(&self, fault: mover::Fault) -> Fault {
        let host = &self.place.host;
        match fault {
            mover::Fault::Broken(why) | mover::Fault::Later(why) => {
                Fault::Away(format!("{host}: {why}"))
            }
            mover::Fault::Refused(why) => Fault::Refused(format!("{host}: {why}")),
        }
    }
}

/// The certificates of a PEM file.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{} contains no PEM certificate", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_a_port_and_its_tls() {
        let place = |url| Place::parse(url, false).map(|place| (place.host, place.port, place.tls));
        for (url, host, port, tls) in [
            (
                "imaps://mail.example.net",
                "mail.example.net",
                993,
                Tls::Inside,
            ),
            (
                "imaps://mail.example.net:1993/",
                "mail.example.net",
                1993,
                Tls::Inside,
            ),
            ("imap://127.0.0.1:3143", "127.0.0.1", 3143, Tls::Started),
            ("imap://[::1]", "::1", 143, Tls::Started),
            ("imap://[::1]:9", "::1", 9, Tls::Started),
        ] {
            assert_eq!(place(url), Ok((host.to_owned(), port, tls)), "{url}");
        }
        for url in [
            "mail.example.net",
            "pop3s://a",
            "imaps://",
            "imaps://a:x",
            "imaps://u@a",
            "imaps://a/INBOX",
            "imap://[::1]9",
            "imaps://a:99999",
        ] {
            assert!(place(url).is_err(), "{url}");
        }
        let plain = Place::parse("imap://a", true).expect("a place");
        assert_eq!(plain.tls, Tls::Absent);
    }
}
