//! The addresses in a certificate of a client (EXTERNAL). TLS has checked its signatures and, at the handshake, its dates.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

/// Names that are read of one certificate.
const NAMES_MAX: usize = 8;

/// rfc822Name entries of its subjectAltName; none where it is not valid at `now_s` or cannot be read. The e-mail address in its subject is not one: RFC 5280 §4.1.2.6 has it
/// for old programs alone, and authorities do not check it.
pub(crate) fn names(der: &[u8], now_s: i64) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    let now = ASN1Time::from_timestamp(now_s);
    if !now.is_ok_and(|now| certificate.validity().is_valid_at(now)) {
        return Vec::new();
    }
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let addresses = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::RFC822Name(address) => Some((*address).to_owned()),
            _ => None,
        });
    addresses.take(NAMES_MAX).collect()
}
