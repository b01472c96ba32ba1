//! How nodes of one system prove themselves to each other: certificates of an authority of their own, on both sides of TLS.
//!
//! What must hold: a handshake with a peer that has no certificate of that authority, or one with a name that is not let in, fails; so no service sees
//! such a peer. The authority vouches for nodes alone: certificates of the web are not accepted, and ours is not shown to mail servers.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base::Network;
use plan::Misfit;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
};

/// Both sides of TLS between nodes.
#[derive(Clone)]
pub struct Peers {
    /// For nodes that come.
    pub server: Arc<ServerConfig>,
    /// For nodes that are dialled.
    pub client: Arc<ClientConfig>,
    /// Networks that QMQP is taken from without TLS.
    pub networks: Vec<Network>,
}

/// As the settings have it; `None`: this node knows no others. The files are read once, at the start.
pub fn open(settings: &plan::zones::Peers) -> Result<Option<Peers>, Misfit> {
    let (Some(authority), Some(certificate), Some(key)) =
        (&settings.authority, &settings.certificate, &settings.key)
    else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    for root in certificates("authority", authority)? {
        let added = roots.add(root);
        added.map_err(|error| wrong("authority", authority, &error.to_string()))?;
    }
    let roots = Arc::new(roots);
    let own = certificates("certificate", certificate)?;
    let pem = read("key", key)?;
    let own_key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        wrong(
            "key",
            key,
            "it contains no PEM private key: write one, or name another file",
        )
    })?;
    let client = ClientConfig::builder()
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(own.clone(), own_key.clone_key())
        .map_err(|error| wrong("certificate", certificate, &fits(&error)))?;
    let chain = WebPkiClientVerifier::builder(roots).build();
    let chain = chain.map_err(|error| wrong("authority", authority, &error.to_string()))?;
    let names = settings.names.iter().map(|name| {
        ServerName::try_from(name.clone())
            .map_err(|_| Misfit::new(format!("peers.names: \"{name}\" is not a host name")))
    });
    let verifier = Named {
        chain,
        names: names.collect::<Result<_, _>>()?,
    };
    let server = ServerConfig::builder()
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(own, own_key)
        .map_err(|error| wrong("certificate", certificate, &fits(&error)))?;
    let networks = settings.networks.iter().map(|text| {
        text.parse()
            .map_err(|fix| Misfit::new(format!("peers.networks: \"{text}\": {fix}")))
    });
    Ok(Some(Peers {
        server: Arc::new(server),
        client: Arc::new(client),
        networks: networks.collect::<Result<_, _>>()?,
    }))
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
    chain: Arc<dyn ClientCertVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
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
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
