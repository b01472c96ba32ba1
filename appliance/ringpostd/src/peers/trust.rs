//! The authority that vouches for nodes, on both sides of TLS. It can be changed while the node serves: handshakes from then on are proved by the new one.
//!
//! What must hold: a file that is of no use changes nothing; there is no moment at which any certificate counts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use plan::Misfit;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{certificates, wrong};

/// Shared by both sides.
#[derive(Debug)]
pub struct Trust {
    authority: PathBuf,
    current: RwLock<Anchors>,
}

/// What proves the peers of one authority.
#[derive(Debug, Clone)]
pub(super) struct Anchors {
    pub of_clients: Arc<dyn ClientCertVerifier>,
    of_servers: Arc<WebPkiServerVerifier>,
}

impl Trust {
    pub fn open(authority: &Path) -> Result<Trust, Misfit> {
        Ok(Trust {
            current: RwLock::new(Anchors::read(authority)?),
            authority: authority.to_owned(),
        })
    }

    /// The file as it is now; nothing changed yet.
    pub(super) fn read_again(&self) -> Result<Anchors, Misfit> {
        Anchors::read(&self.authority)
    }

    pub(super) fn replace(&self, anchors: Anchors) {
        let current = self.current.write();
        *current.unwrap_or_else(PoisonError::into_inner) = anchors;
    }

    pub(super) fn current(&self) -> Anchors {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Anchors {
    fn read(authority: &Path) -> Result<Anchors, Misfit> {
        let mut roots = RootCertStore::empty();
        for root in certificates("authority", authority)? {
            let added = roots.add(root);
            added.map_err(|error| wrong("authority", authority, &error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let of_clients = WebPkiClientVerifier::builder(roots.clone()).build();
        let of_servers = WebPkiServerVerifier::builder(roots).build();
        Ok(Anchors {
            of_clients: of_clients
                .map_err(|error| wrong("authority", authority, &error.to_string()))?,
            of_servers: of_servers
                .map_err(|error| wrong("authority", authority, &error.to_string()))?,
        })
    }
}

/// For nodes that are dialled.
#[derive(Debug)]
pub(super) struct Dialled(pub Arc<Trust>);

impl ServerCertVerifier for Dialled {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.current().of_servers.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verifier = self.0.current().of_servers;
        verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verifier = self.0.current().of_servers;
        verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.current().of_servers.supported_verify_schemes()
    }
}
