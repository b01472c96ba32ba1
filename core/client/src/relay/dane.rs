//! DANE: a domain publishes, in signed zones, which certificates its mail servers show (RFC 7672, RFC 6698). Where it does, mail to it goes to
//! a server that shows one of them, or it waits; an attacker on the way can neither read it nor send it elsewhere.
//!
//! What must hold: TLSA records count only where a validator vouches for them, for the MX records that lead to the host, and for the host's
//! addresses; where it gives no answer, the host is not used (§2.1). Records that no program can match still ask for TLS.

use std::sync::Arc;

use dns::{Kind, NameFault, Names, Value};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::limits::TLSA_MAX;

/// One TLSA record that we can match (RFC 7672 §3.1): usage 2 or 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Association {
    /// It is that of an authority which the server's certificate leads to (usage 2), and not of the certificate itself (usage 3).
    is_authority: bool,
    /// It speaks of the key alone (selector 1), and not of the whole certificate.
    is_key: bool,
    matching: Matching,
    data: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Matching {
    Whole,
    Sha256,
    Sha512,
}

/// What a host's TLS must be like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Demand {
    /// Nothing is known: TLS where it is offered and works.
    #[default]
    None,
    /// TLS, with any certificate: there are TLSA records, and none that we can match.
    Tls,
    /// TLS, with a certificate that matches one of `associations`.
    Dane {
        associations: Arc<[Association]>,
        /// The domain that the mail is for: a certificate of an authority may name it in place of the host.
        domain: String,
    },
    /// A policy of the domain (MTA-STS, RFC 8461) is in force, and there are no TLSA records that can be matched.
    Policy {
        /// TLS with a valid certificate for the host, or nothing is sent to it. Otherwise the domain is testing.
        is_enforced: bool,
        /// The policy names the host. Always where it is enforced.
        is_named: bool,
    },
}

impl Demand {
    /// Nothing is sent where it is not met.
    pub fn holds(&self) -> bool {
        match self {
            Demand::None => false,
            Demand::Tls | Demand::Dane { .. } => true,
            Demand::Policy { is_enforced, .. } => *is_enforced,
        }
    }
}

impl Association {
    /// `None`: nothing that can be matched.
    fn of(value: &Value) -> Option<Association> {
        let Value::Certificate {
            usage,
            selector,
            matching,
            data,
        } = value
        else {
            return None;
        };
        let (matching, bytes) = match matching {
            0 => (Matching::Whole, None),
            1 => (Matching::Sha256, Some(32)),
            2 => (Matching::Sha512, Some(64)),
            _ => return None,
        };
        let fits = bytes.is_none_or(|bytes| bytes == data.len()) && !data.is_empty();
        match (usage, selector) {
            (2 | 3, 0 | 1) if fits => Some(Association {
                is_authority: *usage == 2,
                is_key: *selector == 1,
                matching,
                data: data.clone(),
            }),
            _ => None,
        }
    }

    /// As in a zone file, for reports.
    pub fn text(&self) -> String {
        let usage = if self.is_authority { 2 } else { 3 };
        let matching = match self.matching {
            Matching::Whole => 0,
            Matching::Sha256 => 1,
            Matching::Sha512 => 2,
        };
        let bytes = self.data.iter().take(64);
        let hex: String = bytes.map(|byte| format!("{byte:02x}")).collect();
        format!("{usage} {} {matching} {hex}", u8::from(self.is_key))
    }

    fn matches(&self, certificate: &CertificateDer<'_>) -> bool {
        let key;
        let bytes: &[u8] = match self.is_key {
            false => certificate,
            true => {
                let Ok(read) = webpki::EndEntityCert::try_from(certificate) else {
                    return false;
                };
                key = read.subject_public_key_info();
                &key
            }
        };
        let digest = match self.matching {
            Matching::Whole => return *bytes == *self.data,
            Matching::Sha256 => aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes),
            Matching::Sha512 => aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, bytes),
        };
        digest.as_ref() == self.data
    }
}

/// What a domain publishes of the key of its server's certificate (in DER): usage 3, selector 1, matching 1, as the text of a TLSA record. It stays
/// while the key does. `None`: not a certificate.
pub fn published(certificate: &[u8]) -> Option<String> {
    let certificate = CertificateDer::from(certificate);
    let read = webpki::EndEntityCert::try_from(&certificate).ok()?;
    let key = read.subject_public_key_info();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key);
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    Some(format!("3 1 1 {}", digits.collect::<String>()))
}

/// What the TLS of `host` at `port` must be like, where the way to it is proved so far. `Unavailable`: the host must not be used now.
pub async fn demand(
    names: &impl Names,
    host: &str,
    port: u16,
    domain: &str,
) -> Result<Demand, NameFault> {
    // RFC 7672 §2.2.2: where the addresses are not signed, the name server may be one that cannot answer for TLSA.
    let mut signed = false;
    for kind in [Kind::A, Kind::Aaaa] {
        signed |= match names.proved(host, kind).await {
            Ok(found) => found.is_some(),
            Err(NameFault::NoSuchDomain) => false,
            Err(fault) => return Err(fault),
        };
    }
    if !signed {
        return Ok(Demand::None);
    }
    let found = match names
        .proved(&format!("_{port}._tcp.{host}"), Kind::Tlsa)
        .await
    {
        Ok(found) => found.unwrap_or_default(),
        Err(NameFault::NoSuchDomain) => Vec::new(),
        Err(fault) => return Err(fault),
    };
    if found.is_empty() {
        return Ok(Demand::None);
    }
    let usable = found.iter().filter_map(Association::of).take(TLSA_MAX);
    let associations: Arc<[Association]> = usable.collect();
    Ok(match associations.is_empty() {
        true => Demand::Tls,
        false => Demand::Dane {
            associations,
            domain: domain.to_owned(),
        },
    })
}

/// TLS 1.2 and 1.3, with a certificate that one of `associations` matches.
pub fn config(associations: &Arc<[Association]>, domain: &str) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Published {
        associations: associations.clone(),
        domain: ServerName::try_from(domain.to_owned()).ok(),
        provider: provider.clone(),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3");
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Arc::new(config)
}

/// Takes what the domain published.
#[derive(Debug)]
struct Published {
    associations: Arc<[Association]>,
    domain: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Published {
    /// Usage 2: some certificate that the server shows is the one published, or has its key, and the server's own leads to it; names and
    /// dates count (RFC 7672 §3.1.2, §3.2.2).
    fn leads_to_authority(
        &self,
        end_entity: &CertificateDer<'_>,
        shown: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let read = webpki::EndEntityCert::try_from(end_entity).map_err(wrong)?;
        let mut why = CertificateError::UnknownIssuer;
        let authorities = self.associations.iter().filter(|one| one.is_authority);
        for authority in authorities {
            for anchor in shown.iter().filter(|one| authority.matches(one)) {
                let Ok(anchor) = webpki::anchor_from_trusted_cert(anchor) else {
                    continue;
                };
                let anchors = [anchor];
                let led = read.verify_for_usage(
                    self.provider.signature_verification_algorithms.all,
                    &anchors,
                    shown,
                    now,
                    webpki::KeyUsage::server_auth(),
                    None,
                    None,
                );
                match led {
                    Ok(_) => return self.is_named(&read, name),
                    Err(webpki::Error::CertExpired { .. }) => why = CertificateError::Expired,
                    Err(_) => {}
                }
            }
        }
        Err(why.into())
    }

    fn is_named(
        &self,
        read: &webpki::EndEntityCert<'_>,
        host: &ServerName<'_>,
    ) -> Result<(), Error> {
        let names = [Some(host), self.domain.as_ref()];
        let mut names = names.into_iter().flatten();
        match names.any(|name| read.verify_is_valid_for_subject_name(name).is_ok()) {
            true => Ok(()),
            false => Err(CertificateError::NotValidForName.into()),
        }
    }
}

fn wrong(_: webpki::Error) -> Error {
    CertificateError::BadEncoding.into()
}

impl ServerCertVerifier for Published {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // RFC 7672 §3.1.1: usage 3 binds the key to the name by itself; names and dates in the certificate do not count.
        let mut own = self.associations.iter().filter(|one| !one.is_authority);
        if own.any(|one| one.matches(end_entity)) {
            return Ok(ServerCertVerified::assertion());
        }
        self.leads_to_authority(end_entity, intermediates, server_name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
