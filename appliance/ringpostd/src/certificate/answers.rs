//! What the authority finds when it looks whether a name is ours: texts over HTTP (RFC 8555 §8.3), and certificates over TLS (RFC 8737). They are
//! here only while an order is under way.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::sign::CertifiedKey;

use super::{parse_chain, parse_key};

/// The protocol that a look by TLS asks for (RFC 8737 §6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// Shared by listeners and the order.
#[derive(Debug, Default)]
pub struct Answers {
    /// By token. A token is of the authority; at most one for each name.
    texts: RwLock<HashMap<String, String>>,
    /// By name.
    certificates: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl Answers {
    pub fn put_text(&self, token: &str, text: &str) {
        let mut texts = self.texts.write().expect("no holder panics");
        texts.insert(token.to_owned(), text.to_owned());
    }

    /// A certificate for `name` with the digest of the answer in it (RFC 8737 §3).
    pub fn put_certificate(&self, name: &str, digest: &[u8]) -> Result<(), String> {
        let pair = with_digest(name, digest)?;
        let mut all = self.certificates.write().expect("no holder panics");
        all.insert(name.to_owned(), Arc::new(pair));
        Ok(())
    }

    /// The order is over.
    pub fn clear(&self) {
        self.texts.write().expect("no holder panics").clear();
        self.certificates.write().expect("no holder panics").clear();
    }

    /// What is served under the token.
    pub fn text(&self, token: &str) -> Option<String> {
        self.texts
            .read()
            .expect("no holder panics")
            .get(token)
            .cloned()
    }

    /// What is shown to the authority that asks for `name`.
    pub fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let all = self.certificates.read().expect("no holder panics");
        all.get(&name.to_ascii_lowercase()).cloned()
    }
}

fn with_digest(name: &str, digest: &[u8]) -> Result<CertifiedKey, String> {
    if digest.len() != DIGEST_BYTES {
        return Err("a digest of another length".to_owned());
    }
    let failed = |error: rcgen::Error| format!("cannot make the certificate for the look: {error}");
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(failed)?;
    params
        .custom_extensions
        .push(CustomExtension::new_acme_identifier(digest));
    let made = params.self_signed(&key).map_err(failed)?;
    // Both were made here, so they belong together. The check of that, which other pairs get, refuses the critical extension.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = parse_key(key.serialize_pem().as_bytes())?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| format!("cannot use the key for the look: {error}"))?;
    Ok(CertifiedKey::new(parse_chain(made.pem().as_bytes())?, key))
}

/// SHA-256.
const DIGEST_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_there_for_their_own_token_and_name_until_the_order_is_over() {
        let answers = Answers::default();
        answers.put_text("abc", "abc.def");
        answers
            .put_certificate("mail.example.org", &[7; 32])
            .expect("made");
        assert!(
            answers
                .put_certificate("mail.example.org", &[7; 31])
                .is_err()
        );
        assert_eq!(answers.text("abc").as_deref(), Some("abc.def"));
        assert_eq!(answers.text("abd"), None);
        let shown = answers.certificate("MAIL.example.org").expect("shown");
        // RFC 8737 §3: id-pe-acmeIdentifier, and the digest as an OCTET STRING.
        let wanted = [
            &[6, 8, 43, 6, 1, 5, 5, 7, 1, 31, 1, 1, 255, 4, 34, 4, 32][..],
            &[7; 32],
        ]
        .concat();
        let der: &[u8] = &shown.cert[0];
        assert!(der.windows(wanted.len()).any(|bytes| bytes == wanted));
        assert!(answers.certificate("example.org").is_none());
        answers.clear();
        assert!(answers.text("abc").is_none() && answers.certificate("mail.example.org").is_none());
    }
}
