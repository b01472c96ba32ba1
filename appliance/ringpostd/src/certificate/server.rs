//! The configurations of TLS that listeners get. Each is made once and shared by all cores, and so are the sessions that can be resumed: a client
//! that comes back to another core pays no second handshake.

use std::fs;
use std::sync::Arc;

use plan::Misfit;
use plan::acme::Challenge;
use plan::settings::Settings;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use super::{ACME_TLS, Shown, parse_chain};

/// Sessions of TLS 1.2 that are kept for clients without tickets; each is below 1 KiB, and the oldest makes room.
const SESSIONS_MAX: usize = 256;

/// TLS for mail: no certificate is asked of clients.
pub fn for_mail(shown: &Arc<Shown>) -> Result<Arc<ServerConfig>, Misfit> {
    without_client_auth(shown).map(Arc::new)
}

/// TLS for people's programs: that of `mail`, and a request for the program's certificate where `[client] certificates_from` says whose log in. A program without one goes on as
/// before; one with another certificate gets an alert of TLS. Strangers' mail has its own configuration, because servers show certificates of any kind.
pub fn for_people(
    settings: &plan::oauth::Client,
    shown: &Arc<Shown>,
    mail: &Arc<ServerConfig>,
) -> Result<Arc<ServerConfig>, Misfit> {
    let Some(path) = &settings.certificates_from else {
        return Ok(mail.clone());
    };
    let told = |why: String| {
        Misfit::new(format!(
            "client.certificates_from: {}: {why}",
            path.display()
        ))
    };
    let pem = fs::read(path).map_err(|error| told(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in parse_chain(&pem).map_err(told)? {
        roots
            .add(certificate)
            .map_err(|error| told(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()
        .map_err(|error| told(error.to_string()))?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown.clone());
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    // A session that is resumed has the certificate of its beginning: a login looks at the dates again.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()
        .map_err(|error| Misfit::new(format!("cannot make keys for TLS tickets: {error}")))?;
    Ok(Arc::new(config))
}

/// HTTPS for strangers.
pub fn for_strangers(
    shown: &Arc<Shown>,
    acme: &plan::acme::Acme,
) -> Result<Arc<ServerConfig>, Misfit> {
    let mut config = without_client_auth(shown)?;
    if acme.is_on() && acme.challenge == Challenge::TlsAlpn {
        // From then on a client that names other protocols only is refused, so the one that we speak is among them.
        config.alpn_protocols = vec![b"http/1.1".to_vec(), ACME_TLS.to_vec()];
    }
    Ok(Arc::new(config))
}

/// The state of a session is in the ticket that the client keeps; its keys are this process's own, and replaced every six hours. Sessions of
/// different configurations are not resumed in each other's place.
fn without_client_auth(shown: &Arc<Shown>) -> Result<ServerConfig, Misfit> {
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(shown.clone());
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()
        .map_err(|error| Misfit::new(format!("cannot make keys for TLS tickets: {error}")))?;
    Ok(config)
}

/// What HTTPS shows: the same certificate, and a request for the client's where `[admin] client_ca` says whose are believed.
/// A client without one is served too (`/metrics`); what it may ask is for `admin/http.rs` to say.
pub fn for_https(settings: &Settings, shown: &Arc<Shown>) -> Result<Arc<ServerConfig>, Misfit> {
    let Some(authority) = &settings.admin.client_ca else {
        return for_mail(shown);
    };
    let inline = authority.trim_start().starts_with("-----BEGIN");
    let told = |why: String| Misfit::new(format!("[admin] client_ca: {why}"));
    let pem = if inline {
        authority.clone().into_bytes()
    } else {
        fs::read(authority).map_err(|error| told(format!("{authority}: {error}")))?
    };
    let trusted = parse_chain(&pem).map_err(|_| {
        told("it contains no PEM certificate: paste ca.pem of `ringpostctl admin-cert`".into())
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots
            .add(certificate)
            .map_err(|error| told(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()
        .map_err(|error| told(error.to_string()))?;
    // Without tickets: an administrator's certificate that is withdrawn opens nothing by a session from before.
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown.clone());
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use plan::settings::Tls;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection};

    use super::*;
    use crate::state::State;

    /// How a handshake in memory went; the client has its tickets afterwards.
    fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> HandshakeKind {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut client = ClientConnection::new(client.clone(), name).expect("a client");
        let mut server = ServerConnection::new(server.clone()).expect("a server");
        while client.wants_write() || server.wants_write() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).expect("into memory");
            }
            server.read_tls(&mut &wire[..]).expect("from memory");
            server.process_new_packets().expect("a right handshake");
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).expect("into memory");
            }
            let mut rest = &wire[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).expect("from memory");
                client.process_new_packets().expect("a right handshake");
            }
        }
        server.handshake_kind().expect("it is over")
    }

    fn client_that_trusts(
        shown: &Shown,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let own = shown.current().find(None).cert[0].clone().into_owned();
        roots.add(own).expect("readable");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("they exist")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    #[test]
    fn a_session_that_one_core_made_is_resumed_by_another() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let directory = tempfile::tempdir().expect("a directory");
        let state = State::open(directory.path()).expect("free");
        let shown = Shown::open(&Tls::default(), &state, "mail.example.org").expect("shown");
        let config = for_mail(&shown).expect("a configuration");
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let client = client_that_trusts(&shown, &[version]);
            // Each core has its own thread and shares what the daemon made once.
            let on_a_core = || {
                let (client, config) = (client.clone(), config.clone());
                std::thread::spawn(move || shake(&client, &config, "mail.example.org"))
                    .join()
                    .expect("no panic")
            };
            assert_eq!(on_a_core(), HandshakeKind::Full);
            assert_eq!(on_a_core(), HandshakeKind::Resumed);
            let others =
                for_strangers(&shown, &plan::acme::Acme::default()).expect("a configuration");
            let kind = shake(&client, &others, "mail.example.org");
            assert_eq!(kind, HandshakeKind::Full, "a ticket of another service");
        }
    }
}
