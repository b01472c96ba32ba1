//! TLS of `--host`: what is wrong with the client's own files, reported before a connection is tried, and why a server refused
//! the certificate, where the connection broke before its reason was read.

use std::io::{self, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore};

use crate::places::Remote;

/// How long one step of `alert` may take.
const ALERT_WITHIN: Duration = Duration::from_secs(5);

/// A configuration that shows the client's certificate. `Err`: one sentence about the file that is wrong.
pub(crate) fn config(remote: &Remote) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates(&remote.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&remote.key)?)
        .map_err(|_| format!("{} contains no PEM private key", remote.key.display()))?;
    // As `with_client_auth_cert` does, with words for what it finds.
    CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).map_err(|error| {
        let (certificate, key) = (remote.certificate.display(), remote.key.display());
        match error {
            rustls::Error::InconsistentKeys(_) => format!(
                "{key} is not the key of {certificate}: give the two that were made together"
            ),
            rustls::Error::InvalidCertificate(_) => format!(
                "{certificate} cannot be a client's certificate ({error}): an X.509 v3 one is needed, as `ringpostctl admin-cert` makes it"
            ),
            error => format!("{key} cannot be used: {error}"),
        }
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&remote.authority)? {
        roots.add(certificate).map_err(|error| {
            format!(
                "{} cannot be used as the CA of the appliance's certificate: {error}",
                remote.authority.display()
            )
        })?;
    }
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots))
        .and_then(|builder| builder.with_client_auth_cert(chain, key))
        .map_err(|error| format!("{}: {error}", remote.certificate.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{} contains no PEM certificate", path.display())),
    }
}

/// One sentence about a connection that failed with `error`: the server's own reason where it gave one. A server that
/// refuses a certificate says so after the handshake is over for the client (RFC 8446 §4.4.2.4); a client that
/// is writing by then gets EPIPE instead. So a second connection is made that only listens.
pub(crate) fn explain(remote: &Remote, error: &ureq::Error) -> String {
    let broke = match error {
        ureq::Error::Io(error) => match alert_in(error) {
            Some(alert) => return refused(remote, alert),
            None => !matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut
            ),
        },
        ureq::Error::Protocol(_) => true,
        _ => false,
    };
    if broke
        && let Ok(config) = config(remote)
        && let Some(alert) = alert(&remote.host, config)
    {
        return refused(remote, alert);
    }
    format!("{}: {error}", remote.host)
}

fn refused(remote: &Remote, alert: AlertDescription) -> String {
    let (host, certificate) = (&remote.host, remote.certificate.display());
    match alert {
        // The authorities that `admin-cert` makes have one name: of another box's the signature is wrong, not the name unknown.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => format!(
            "{host} does not trust the CA that signed {certificate}: put the ca.pem of that CA into [admin] client_ca of its settings"
        ),
        AlertDescription::CertificateExpired => format!(
            "{host} refuses {certificate}: it has expired or is not valid yet by the clock there; make a new one with `ringpostctl admin-cert`"
        ),
        AlertDescription::CertificateRevoked => {
            format!("{host} refuses {certificate}: it was revoked")
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::CertificateRequired => format!(
            "{host} refuses {certificate} as a client's certificate ({alert:?}): give one that `ringpostctl admin-cert` made with the CA of that appliance"
        ),
        alert => format!("{host} ended the TLS session ({alert:?})"),
    }
}

fn alert_in(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// The alert with which the server at `host` answers a handshake with `config`; `None`: it takes it, or does not say.
fn alert(host: &str, config: ClientConfig) -> Option<AlertDescription> {
    let uri: ureq::http::Uri = host.parse().ok()?;
    let name = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(443);
    let address = (name, port).to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&address, ALERT_WITHIN).ok()?;
    stream.set_read_timeout(Some(ALERT_WITHIN)).ok()?;
    stream.set_write_timeout(Some(ALERT_WITHIN)).ok()?;
    let name = ServerName::try_from(name.to_owned()).ok()?;
    let mut session = ClientConnection::new(Arc::new(config), name).ok()?;
    // Nothing is asked: what comes first is the alert, or nothing within the time.
    let answered = rustls::Stream::new(&mut session, &mut stream).read(&mut [0; 1]);
    answered.err().as_ref().and_then(alert_in)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };
    use rustls::server::WebPkiClientVerifier;
    use rustls::{ServerConfig, ServerConnection};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::path::PathBuf;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Files {
            let files = Files(tempfile::tempdir().expect("a directory"));
            for directory in ["ours", "theirs"] {
                issue(&files.0.path().join(directory));
            }
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
            std::fs::write(files.at("server.pem"), made.cert.pem()).expect("written");
            std::fs::write(files.at("server-key.pem"), made.signing_key.serialize_pem())
                .expect("written");
            files
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn remote(&self, certificate: &str, key: &str) -> Remote {
            Remote {
                host: "https://127.0.0.1:1".into(),
                certificate: self.at(certificate),
                key: self.at(key),
                authority: self.at("server.pem"),
            }
        }

        /// Takes one connection of clients of `ours`, reads nothing beyond the handshake, and answers `HTTP` to one.
        fn serve(&self) -> SocketAddr {
            let mut roots = RootCertStore::empty();
            for authority in certificates(&self.at("ours/ca.pem")).expect("made") {
                roots.add(authority).expect("an authority");
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
                .build()
                .expect("right");
            let config = ServerConfig::builder()
                .with_client_cert_verifier(verifier)
                .with_single_cert(
                    certificates(&self.at("server.pem")).expect("made"),
                    PrivateKeyDer::from_pem_file(self.at("server-key.pem")).expect("made"),
                )
                .expect("right");
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let address = listener.local_addr().expect("bound");
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut session = ServerConnection::new(Arc::new(config)).expect("right");
                while session.is_handshaking() {
                    if session.complete_io(&mut stream).is_err() {
                        let _ = session.write_tls(&mut stream); // the alert
                        return;
                    }
                }
                session.send_close_notify();
                let _ = session.complete_io(&mut stream);
            });
            address
        }
    }

    /// An authority and a client's certificate of it.
    fn issue(to: &Path) {
        std::fs::create_dir(to).expect("our own");
        let write = |name: &str, text: String| std::fs::write(to.join(name), text).expect("ours");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().expect("a key");
        write("ca.pem", authority.self_signed(&key).expect("made").pem());
        let issuer = Issuer::new(authority, key);
        let mut client = CertificateParams::default();
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        client.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        write(
            "anna.pem",
            client.signed_by(&key, &issuer).expect("made").pem(),
        );
        write("anna-key.pem", key.serialize_pem());
    }

    fn install() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }

    #[test]
    fn a_key_of_another_certificate_is_a_sentence() {
        install();
        let files = Files::new();
        let told = config(&files.remote("ours/anna.pem", "theirs/anna-key.pem")).expect_err("two");
        assert!(
            told.contains("is not the key of") && told.contains("anna.pem"),
            "{told}"
        );
        assert!(config(&files.remote("ours/anna.pem", "ours/anna-key.pem")).is_ok());
        let told =
            config(&files.remote("ours/anna-key.pem", "ours/anna-key.pem")).expect_err("a key");
        assert!(told.contains("contains no PEM certificate"), "{told}");
        let told = config(&files.remote("ours/anna.pem", "ours/anna.pem")).expect_err("no key");
        assert!(told.contains("contains no PEM private key"), "{told}");
    }

    /// RFC 5280 §4.1.2.1: version 1 has no version field. One is made from a v3 certificate by leaving the field out; its
    /// signature is not looked at before its version.
    #[test]
    fn a_certificate_of_version_1_is_a_sentence() {
        install();
        let files = Files::new();
        let v3 = certificates(&files.at("ours/anna.pem"))
            .expect("made")
            .remove(0);
        let body = without_version(&v3);
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            base64(&body)
        );
        std::fs::write(files.at("v1.pem"), pem).expect("written");
        let told = config(&files.remote("v1.pem", "ours/anna-key.pem")).expect_err("version 1");
        assert!(
            told.contains("X.509 v3") && told.contains("v1.pem"),
            "{told}"
        );
    }

    #[test]
    fn the_server_s_reason_is_known_without_writing_anything() {
        install();
        let files = Files::new();
        for (who, expected) in [
            ("theirs", Some(AlertDescription::UnknownCA)),
            ("ours", None),
        ] {
            let remote = files.remote(&format!("{who}/anna.pem"), &format!("{who}/anna-key.pem"));
            let config = config(&remote).expect("right");
            let got = alert(&format!("https://{}", files.serve()), config);
            match expected {
                Some(_) => assert!(got.is_some(), "{who} was refused without a reason"),
                None => assert_eq!(got, None),
            }
        }
        let remote = files.remote("theirs/anna.pem", "theirs/anna-key.pem");
        for alert in [
            AlertDescription::UnknownCA,
            AlertDescription::CertificateExpired,
        ] {
            let told = refused(&remote, alert);
            assert!(
                told.contains("anna.pem") && told.lines().count() == 1,
                "{told}"
            );
        }
    }

    /// A broken pipe is what the client saw; the sentence is the server's.
    #[test]
    fn a_broken_pipe_is_explained_by_the_server_s_alert() {
        install();
        let files = Files::new();
        let mut remote = files.remote("theirs/anna.pem", "theirs/anna-key.pem");
        remote.host = format!("https://{}", files.serve());
        let told = explain(&remote, &ureq::Error::Io(io::ErrorKind::BrokenPipe.into()));
        assert!(
            told.contains("anna.pem") && !told.contains("pipe"),
            "{told}"
        );
    }

    /// Takes `[0] EXPLICIT INTEGER 2` out of a certificate and corrects the two lengths before it.
    fn without_version(der: &[u8]) -> Vec<u8> {
        const VERSION: [u8; 5] = [0xa0, 3, 2, 1, 2];
        let at = der
            .windows(5)
            .position(|bytes| bytes == VERSION)
            .expect("version 3");
        let mut short = [&der[..at], &der[at + 5..]].concat();
        // Both SEQUENCEs before it have long lengths of two bytes (0x30 0x82 hi lo).
        for header in [0, 4] {
            assert_eq!(short[header..header + 2], [0x30, 0x82]);
            let length = u16::from_be_bytes([short[header + 2], short[header + 3]]) - 5;
            short[header + 2..header + 4].copy_from_slice(&length.to_be_bytes());
        }
        short
    }

    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let bits = chunk
                .iter()
                .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for place in 0..4 {
                if place <= chunk.len() {
                    text.push(LETTERS[(bits >> (18 - 6 * place)) as usize & 63].into());
                } else {
                    text.push('=');
                }
            }
        }
        text
    }
}
