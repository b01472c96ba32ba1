//! The certificate that listeners show, and what a client's certificate says of its owner.

use std::net::{Ipv4Addr, Ipv6Addr};

use ::admin::acme::{CertificateStatus, HeldLine};
use ::admin::certificate;
use ::admin::limits::WHO_CHARS_MAX;
use ::admin::reply::CertificateLine;
use ::admin::request::Request;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::acme::Acme;
use crate::admin::held::Source;
use crate::admin::shared::{Admin, Refused, document};

/// Performs a request about the certificate.
pub(crate) fn perform(admin: &Admin, request: Request) -> Result<Value, Refused> {
    match request {
        Request::CertificateShow => {}
        Request::CertificateSet { chain, key, yes } => set(admin, &chain, &key, yes)?,
        Request::CertificateReload => reload(admin)?,
        Request::CertificateStatus => return document(&status(admin)),
        Request::CertificateRenew => {
            let none = "the settings order no certificate: write [acme] with the directory of an authority";
            admin.acme().ok_or(none)?.renew()?;
            return document(&status(admin));
        }
        _ => return Err("not about the certificate".into()),
    }
    document(&list(admin)?)
}

/// Every certificate in use, and how the order is.
// A certificate that cannot be read has no end: shown as one that ended, which is what clients make of it.
fn status(admin: &Admin) -> CertificateStatus {
    let now_s = certificate::now_s();
    let line = |source: Source| {
        let ends_s = certificate::ends_s(&source.chain).unwrap_or(0);
        HeldLine {
            names: certificate::facts_of(&source.chain).map_or_else(Vec::new, |facts| facts.names),
            source: source.name,
            ends_s: ends_s.max(0).cast_unsigned(),
            days_left: (ends_s - now_s).div_euclid(24 * 60 * 60),
        }
    };
    CertificateStatus {
        certificates: admin
            .certificate()
            .sources()
            .into_iter()
            .map(line)
            .collect(),
        acme: admin.acme().map(Acme::line),
    }
}

/// What clients are shown, and what other nodes are.
fn reload(admin: &Admin) -> Result<(), Refused> {
    admin.certificate().reload()?;
    match admin.own() {
        Some(own) => own.reload().map_err(|misfit| misfit.to_string()),
        None => Ok(()),
    }
}

/// Keeps and shows another certificate. One that clients refuse by its dates is taken only with `yes`.
fn set(admin: &Admin, chain: &str, key: &str, yes: bool) -> Result<(), Refused> {
    if !yes && let Some(why) = refused_pem(chain) {
        return Err(format!(
            "{why}: clients will refuse it, so nothing was changed; add --yes to install it anyway"
        ));
    }
    admin.certificate().replace(chain, key)
}

/// Why clients refuse this chain of PEM certificates, by its dates. Other faults are reported where it is stored.
fn refused_pem(chain: &str) -> Option<String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let chain: Vec<Vec<u8>> = parsed.ok()?.iter().map(|one| one.to_vec()).collect();
    certificate::refused_by_clients(&chain, certificate::now_s())
}

/// What the certificate that listeners show says, and those above it.
fn list(admin: &Admin) -> Result<Vec<CertificateLine>, String> {
    admin
        .certificate()
        .chain()
        .iter()
        .map(|der| line(der))
        .collect()
}

/// The common name on a client certificate, in few printable characters, for the log.
/// The certificate was proved by the handshake; only its name is of its maker's choosing, and that goes into our log.
pub(crate) fn whose(der: &[u8]) -> String {
    let parsed = X509Certificate::from_der(der).ok();
    let name = parsed.as_ref().and_then(|(_, parsed)| {
        let name = parsed.subject().iter_common_name().next();
        name.and_then(|name| name.as_str().ok())
    });
    let name: String = name
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .take(WHO_CHARS_MAX)
        .collect();
    if name.is_empty() {
        "a client without a name".into()
    } else {
        name
    }
}

fn line(der: &[u8]) -> Result<CertificateLine, String> {
    let (_, parsed) = X509Certificate::from_der(der)
        .map_err(|error| format!("a certificate cannot be read: {error}"))?;
    let names = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|names| names.value.general_names.iter().map(spelled).collect())
        .unwrap_or_default();
    let validity = parsed.validity();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64);
    Ok(CertificateLine {
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        names,
        not_before: validity.not_before.to_string(),
        not_after: validity.not_after.to_string(),
        days_left: (validity.not_after.timestamp() - now).div_euclid(24 * 60 * 60),
    })
}

fn spelled(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Ipv4Addr::new(a, b, c, d).to_string(),
            ref bytes => <[u8; 16]>::try_from(bytes).map_or_else(
                |_| name.to_string(),
                |bytes| Ipv6Addr::from(bytes).to_string(),
            ),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_tells_its_names_and_its_end() {
        let names = ["mail.example.org", "127.0.0.1", "::1"].map(String::from);
        let made = rcgen::generate_simple_self_signed(names.clone()).expect("made");
        let line = line(made.cert.der()).expect("readable");
        assert_eq!(line.names, names);
        assert!(line.days_left > 365, "{line:?}");
    }

    #[test]
    fn a_client_is_known_by_the_name_on_its_certificate() {
        let long = "x".repeat(1_000);
        for (name, whose_) in [
            ("anna", "anna"),
            ("a\u{1b}[2J", "a?[2J"),
            (&long, &long[..WHO_CHARS_MAX]),
            ("", "a client without a name"),
        ] {
            let mut client = CertificateParams::default();
            client.distinguished_name = rcgen::DistinguishedName::new();
            client.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate().expect("a key");
            let certificate = client.self_signed(&key).expect("signed");
            assert_eq!(whose(certificate.der()), whose_);
        }
        assert_eq!(whose(&[0x30; 64]), "a client without a name");
    }

    #[test]
    fn bytes_that_are_no_certificate_are_said_so() {
        assert!(line(b"").is_err() && line(&[0x30; 64]).is_err());
    }
}
