//! Authorities whose certificates count: those of the web (WebPKI), or a test's own.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};

#[derive(Debug, Clone)]
pub struct Authorities(Arc<WebPkiServerVerifier>);

/// What is wrong with what a server showed, in the words of RFC 8460 §4.3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    HostMismatch,
    Expired,
    NotTrusted,
    /// Any other fault of it.
    Invalid,
}

/// Whether a certificate (in DER) is for the host `name`; its signatures are not looked at.
pub fn names(certificate: &[u8], name: &str) -> bool {
    let certificate = CertificateDer::from(certificate);
    let read = webpki::EndEntityCert::try_from(&certificate);
    read.is_ok_and(|read| {
        ServerName::try_from(name)
            .is_ok_and(|name| read.verify_is_valid_for_subject_name(&name).is_ok())
    })
}

impl Flaw {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Flaw::HostMismatch => "its certificate is for another name",
            Flaw::Expired => "its certificate has expired or is not valid yet",
            Flaw::NotTrusted => "its certificate is not from an authority that is trusted",
            Flaw::Invalid => "its certificate is not valid",
        }
    }
}

impl Authorities {
    /// As Mozilla trusts them.
    pub fn of_web() -> Authorities {
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Authorities::with(roots).expect("there are some")
    }

    /// As Mozilla trusts them, and these. `None`: one of these is not the certificate of an authority.
    pub fn of_web_and(more: &[CertificateDer<'static>]) -> Option<Authorities> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let (_, ignored) = roots.add_parsable_certificates(more.iter().cloned());
        match ignored {
            0 => Authorities::with(roots),
            _ => None,
        }
    }

    /// `None`: none of them is the certificate of an authority.
    pub fn of(certificates: &[CertificateDer<'static>]) -> Option<Authorities> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        Authorities::with(roots)
    }

    fn with(roots: RootCertStore) -> Option<Authorities> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        Some(Authorities(verifier.build().ok()?))
    }

    /// Whether what a server showed (its own certificate first) leads to one of them and is valid for `name` at that time. That the server
    /// holds the key is the handshake's to prove.
    pub fn judge(
        &self,
        shown: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        unix_s: i64,
    ) -> Result<(), Flaw> {
        let (own, rest) = shown.split_first().ok_or(Flaw::Invalid)?;
        let now = std::time::Duration::from_secs(u64::try_from(unix_s).unwrap_or(0));
        let now = UnixTime::since_unix_epoch(now);
        match self.0.verify_server_cert(own, rest, name, &[], now) {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(error)) => Err(match error {
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Flaw::HostMismatch,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Flaw::Expired,
                // The other: its issuer has the name of an authority, and not the key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Flaw::NotTrusted
                }
                _ => Flaw::Invalid,
            }),
            Err(_) => Err(Flaw::Invalid),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd,
    };

    use super::*;

    #[test]
    fn each_flaw_has_its_name() {
        let mut of_authority = CertificateParams::new(Vec::new()).expect("no name");
        of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(of_authority, key).expect("signed");
        let authorities = Authorities::of(&[issuer.der().clone()]).expect("it is one");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["*.example.net".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        let issued = params.signed_by(&key, &issuer).expect("signed");
        let own = params.self_signed(&key).expect("signed");
        let issued = [issued.der().clone()];
        let judge = |shown: &[CertificateDer<'_>], name: &str, unix_s| {
            let name = ServerName::try_from(name.to_owned()).expect("a name");
            authorities.judge(shown, &name, unix_s)
        };
        let (in_time, late) = (1_780_000_000, 1_800_000_000);
        assert_eq!(judge(&issued, "mx.example.net", in_time), Ok(()));
        assert_eq!(judge(&issued, "mx.example.net", late), Err(Flaw::Expired));
        assert_eq!(judge(&issued, "mx.example.net", 0), Err(Flaw::Expired));
        for other in ["example.net", "a.mx.example.net", "mx.example.org"] {
            let found = judge(&issued, other, in_time);
            assert_eq!(found, Err(Flaw::HostMismatch), "{other}");
        }
        let own = [own.der().clone()];
        assert_eq!(
            judge(&own, "mx.example.net", in_time),
            Err(Flaw::NotTrusted)
        );
        assert!(names(&issued[0], "mx.example.net") && !names(&issued[0], "example.net"));
        assert!(!names(&[7; 99], "mx.example.net") && !names(&issued[0], "a b"));
        assert_eq!(judge(&[], "mx.example.net", in_time), Err(Flaw::Invalid));
        let nonsense = [CertificateDer::from(vec![7; 99])];
        assert_eq!(
            judge(&nonsense, "mx.example.net", in_time),
            Err(Flaw::Invalid)
        );
        let web = Authorities::of_web();
        let name = ServerName::try_from("mx.example.net").expect("a name");
        assert_eq!(web.judge(&issued, &name, in_time), Err(Flaw::NotTrusted));
        assert!(Authorities::of(&nonsense).is_none());
    }
}
