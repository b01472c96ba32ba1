//! How nodes of one system prove themselves to each other: certificates of an authority of their own, on both sides of TLS.
//!
//! What must hold: a handshake with a peer that has no certificate of that authority, or one with a name that is not let in, fails; so no service sees
//! such a peer. The authority vouches for nodes alone: certificates of the web are not accepted, and ours is not shown to mail servers.

mod trust;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base::Network;
use plan::Misfit;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{ResolvesClientCert, Resumption, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};

use trust::{Dialled, Trust};

/// Both sides of TLS between nodes.
#[derive(Clone)]
pub struct Peers {
    /// For nodes that come and hand mail over.
    pub server: Arc<ServerConfig>,
    /// For fronts, which pass people on.
    pub fronts: Arc<ServerConfig>,
    /// For both, which fetch the table of recipients.
    pub tables: Arc<ServerConfig>,
    /// For nodes that are dialled.
    pub client: Arc<ClientConfig>,
    /// Networks that QMQP is taken from without TLS.
    pub networks: Vec<Network>,
    /// What both sides show.
    pub own: Arc<Own>,
}

/// This node's own certificate, and the authority of all. They can be changed while the node serves: connections from then on see the new ones.
#[derive(Debug)]
pub struct Own {
    current: RwLock<Arc<CertifiedKey>>,
    certificate: PathBuf,
    key: PathBuf,
    trust: Arc<Trust>,
}

impl Own {
    /// Reads the files again, and the authority's. `Err`: nothing changed.
    pub fn reload(&self) -> Result<(), Misfit> {
        let read = pair(&self.certificate, &self.key)?;
        self.trust.replace(self.trust.read_again()?);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(read);
        Ok(())
    }

    /// DER, the node's own first.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        let current = self.current();
        current.cert.iter().map(|one| one.to_vec()).collect()
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The certificate and the key that belongs to it.
fn pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, Misfit> {
    let chain = certificates("certificate", certificate)?;
    let pem = read("key", key)?;
    let own_key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        wrong(
            "key",
            key,
            "it contains no PEM private key: write one, or name another file",
        )
    })?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, own_key, &provider)
        .map_err(|error| wrong("certificate", certificate, &fits(&error)))
}

/// As the settings have it; `None`: this node knows no others. The names are read once, at the start.
pub fn open(settings: &plan::zones::Peers) -> Result<Option<Peers>, Misfit> {
    let (Some(authority), Some(certificate), Some(key)) =
        (&settings.authority, &settings.certificate, &settings.key)
    else {
        return Ok(None);
    };
    let trust = Arc::new(Trust::open(authority)?);
    let own = Arc::new(Own {
        current: RwLock::new(Arc::new(pair(certificate, key)?)),
        certificate: certificate.clone(),
        key: key.clone(),
        trust: trust.clone(),
    });
    let mut client = ClientConfig::builder()
        // Not less than webpki asks: `Dialled` is its verifier with the authority of the moment.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Dialled(trust.clone())))
        .with_client_cert_resolver(own.clone());
    // A session that is taken up again would show nothing: each connection proves both sides.
    client.resumption = Resumption::disabled();
    let names = host_names("names", &settings.names)?;
    let fronts = host_names("fronts", &settings.fronts)?;
    let both = [&names[..], &fronts].concat();
    let lets_in = |names| {
        let trust = trust.clone();
        let mut server = ServerConfig::builder()
            .with_client_cert_verifier(Arc::new(Named { trust, names }))
            .with_cert_resolver(own.clone());
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Arc::new(server)
    };
    let networks = settings.networks.iter().map(|text| {
        text.parse()
            .map_err(|fix| Misfit::new(format!("peers.networks: \"{text}\": {fix}")))
    });
    Ok(Some(Peers {
        server: lets_in(names),
        fronts: lets_in(fronts),
        tables: lets_in(both),
        client: Arc::new(client),
        networks: networks.collect::<Result<_, _>>()?,
        own: own.clone(),
    }))
}

fn host_names(key: &str, names: &[String]) -> Result<Vec<ServerName<'static>>, Misfit> {
    let names = names.iter().map(|name| {
        ServerName::try_from(name.clone())
            .map_err(|_| Misfit::new(format!("peers.{key}: \"{name}\" is not a host name")))
    });
    names.collect()
}

fn fits(error: &Error) -> String {
    format!("{error}: write the certificate that belongs to peers.key")
}

fn wrong(key: &str, path: &Path, why: &str) -> Misfit {
    Misfit::new(format!("peers.{key}: {}: {why}", path.display()))
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, Misfit> {
    let fix = "copy the file there, or name another";
    fs::read(path).map_err(|error| wrong(key, path, &format!("{error}: {fix}")))
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Misfit> {
    let pem = read(key, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(|| {
        wrong(
            key,
            path,
            "it contains no PEM certificate: write one, or name another file",
        )
    })
}

/// A certificate of the authority, and one of these names in it (RFC 9525).
#[derive(Debug)]
struct Named {
    trust: Arc<Trust>,
    names: Vec<ServerName<'static>>,
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Nodes have one certificate and show it whatever the hints are; these could not change with the authority.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain = self.trust.current().of_clients;
        let verified = chain.verify_client_cert(end_entity, intermediates, now)?;
        let shown = ParsedCertificate::try_from(end_entity)?;
        let is_named = |name: &ServerName<'_>| verify_server_name(&shown, name).is_ok();
        match self.names.iter().any(is_named) {
            true => Ok(verified),
            false => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let chain = self.trust.current().of_clients;
        chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let chain = self.trust.current().of_clients;
        chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.current().of_clients.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of its own, in these files; its DER.
    fn write(certificate: &Path, key: &Path) -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed(["n1.example.org".to_owned()]);
        let made = made.expect("made");
        fs::write(certificate, made.cert.pem()).expect("written");
        fs::write(key, made.signing_key.serialize_pem()).expect("written");
        made.cert.der().to_vec()
    }

    #[test]
    fn a_renewed_certificate_is_shown_without_a_restart() {
        let directory = tempfile::tempdir().expect("a directory");
        let [certificate, key] = ["n.pem", "n.key"].map(|name| directory.path().join(name));
        let first = write(&certificate, &key);
        let settings = plan::zones::Peers {
            authority: Some(certificate.clone()),
            certificate: Some(certificate.clone()),
            key: Some(key.clone()),
            ..plan::zones::Peers::default()
        };
        let peers = open(&settings).expect("it fits").expect("it is named");
        assert_eq!(peers.own.chain(), std::slice::from_ref(&first));
        // A key of another certificate changes nothing.
        let other = directory.path().join("other.pem");
        write(&other, &key);
        let told = peers.own.reload().expect_err("no pair").to_string();
        assert!(told.starts_with("peers.certificate"), "{told}");
        assert_eq!(peers.own.chain(), [first]);
        let second = write(&certificate, &key);
        let before = std::sync::Arc::as_ptr(&peers.own.trust.current().of_clients);
        peers.own.reload().expect("a pair");
        // It is its own authority here, which was read again with it.
        let after = std::sync::Arc::as_ptr(&peers.own.trust.current().of_clients);
        assert!(!std::ptr::addr_eq(before, after));
        assert_eq!(peers.own.chain(), [second]);
        let shown = peers.client.client_auth_cert_resolver.resolve(&[], &[]);
        assert_eq!(shown.expect("one").cert, peers.own.current().cert);
    }

    /// Whether a node that shows the certificate of `client` is let in by `server`.
    fn lets_in(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> bool {
        let name = ServerName::try_from("n1.example.org").expect("a name");
        let client = rustls::ClientConnection::new(client.clone(), name);
        let mut client = client.expect("a client");
        let mut server = rustls::ServerConnection::new(server.clone()).expect("a server");
        for _ in 0..8 {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).expect("to memory");
            }
            let mut rest = &wire[..];
            while !rest.is_empty() {
                server.read_tls(&mut rest).expect("from memory");
                if server.process_new_packets().is_err() {
                    return false;
                }
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).expect("to memory");
            }
            let mut rest = &wire[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).expect("from memory");
                client.process_new_packets().expect("the server is right");
            }
        }
        !server.is_handshaking()
    }

    /// A front says whose address it speaks for: who hands mail over alone may not, and the other way round.
    #[test]
    fn each_door_is_for_the_nodes_that_are_named_for_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let [certificate, key] = ["n.pem", "n.key"].map(|name| directory.path().join(name));
        write(&certificate, &key);
        let named = |names: &[&str], fronts: &[&str]| {
            let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let settings = plan::zones::Peers {
                authority: Some(certificate.clone()),
                certificate: Some(certificate.clone()),
                key: Some(key.clone()),
                names: list(names),
                fronts: list(fronts),
                ..plan::zones::Peers::default()
            };
            let peers = open(&settings).expect("it fits").expect("it is named");
            let doors = [&peers.server, &peers.fronts, &peers.tables];
            doors.map(|door| lets_in(door, &peers.client))
        };
        let (this, other) = (&["n1.example.org"][..], &["n2.example.org"][..]);
        assert_eq!(named(this, other), [true, false, true]);
        assert_eq!(named(other, this), [false, true, true]);
        assert_eq!(named(&[], this), [false, true, true]);
        assert_eq!(named(this, &[]), [true, false, true]);
        assert_eq!(named(other, other), [false, false, false]);
    }
}
