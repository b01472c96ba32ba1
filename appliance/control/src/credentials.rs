//! Certificates: those for administration from other machines, and what the appliance's own says.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use boot::limits::WHO_CHARS_MAX;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::admin::Admin;
use crate::words::CertificateLine;

/// Makes an authority and one client certificate in the new directory `to`: `ca.pem` goes into `[admin] client_ca` of the
/// appliances, `client.pem` and `client-key.pem` are what `--cert` and `--key` name. Where `to` has an authority already, only
/// a client is made, for a second administrator.
pub fn make(to: &Path, name: &str) -> Result<Vec<String>, String> {
    let told = |error: std::io::Error| format!("{}: {error}", to.display());
    let failed = |error: rcgen::Error| format!("cannot make a certificate: {error}");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(to)
        .map_err(told)?;
    let mut written = Vec::new();
    let mut keep = |file: String, text: String| {
        let mut options = OpenOptions::new();
        let path = to.join(&file);
        let mut opened = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| {
                format!(
                    "{}: {error}; choose another --name or another directory",
                    path.display()
                )
            })?;
        opened.write_all(text.as_bytes()).map_err(told)?;
        written.push(file);
        Ok::<(), String>(())
    };
    let authority_key = to.join("ca-key.pem");
    let ca_key = if authority_key.exists() {
        let text = std::fs::read_to_string(&authority_key).map_err(told)?;
        KeyPair::from_pem(&text).map_err(failed)?
    } else {
        let key = KeyPair::generate().map_err(failed)?;
        keep("ca-key.pem".into(), key.serialize_pem())?;
        keep(
            "ca.pem".into(),
            authority().self_signed(&key).map_err(failed)?.pem(),
        )?;
        key
    };
    let issuer = Issuer::new(authority(), ca_key);
    let mut client = CertificateParams::default();
    client.distinguished_name.push(DnType::CommonName, name);
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    client.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = client.signed_by(&key, &issuer).map_err(failed)?;
    keep(format!("{name}-key.pem"), key.serialize_pem())?;
    keep(format!("{name}.pem"), certificate.pem())?;
    Ok(written)
}

/// Whether `pem` may stand in `[admin] client_ca`. `Err`: one sentence.
pub fn check_authority(pem: &str) -> Result<(), String> {
    let none = || "there is no PEM certificate in it".to_owned();
    let mut count = 0;
    for block in x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()) {
        let block = block.map_err(|_| none())?;
        block.parse_x509().map_err(|_| none())?;
        count += 1;
    }
    if count == 0 { Err(none()) } else { Ok(()) }
}

fn authority() -> CertificateParams {
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "Ringpost administration");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority
}

/// What the certificate that listeners show says, and those above it.
pub(crate) fn certificates(admin: &Admin) -> Result<Vec<CertificateLine>, String> {
    admin
        .certificate()
        .chain()
        .iter()
        .map(|der| line(der))
        .collect()
}

/// The common name on a client certificate, in few printable characters, for the log.
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
    use super::*;

    #[test]
    fn a_second_administrator_gets_a_certificate_of_the_same_authority() {
        let directory = tempfile::tempdir().expect("a directory");
        let to = directory.path().join("admin");
        assert_eq!(
            make(&to, "anna"),
            Ok(["ca-key.pem", "ca.pem", "anna-key.pem", "anna.pem"]
                .map(String::from)
                .to_vec())
        );
        assert_eq!(
            make(&to, "ben"),
            Ok(["ben-key.pem", "ben.pem"].map(String::from).to_vec())
        );
        assert!(make(&to, "ben").is_err_and(|why| why.contains("--name")));
    }

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
