//! Doors for `core/fuzz`, no part of the API: any bytes as a message to be signed.

use std::sync::{Arc, OnceLock};

use mail::header;

use crate::limits::SIGNATURE_BYTES_MAX;
use crate::{Algorithm, Signer, SigningKey, author_domain, canonical, sign};

/// Signs `bytes`: the signature is one field and bounded, and the canonical form of a body is its own canonical form.
pub fn message(bytes: &[u8]) {
    if let Some(domain) = author_domain(bytes) {
        assert!(!domain.is_empty());
    }
    let fields = sign(bytes, std::slice::from_ref(signer()), 1).expect("the key signs");
    if let Some(fields) = fields {
        assert!(fields.len() <= SIGNATURE_BYTES_MAX, "{}", fields.len());
        assert_eq!(header::fields(&fields).count(), 1);
        assert!(fields.ends_with(b"\r\n"));
    }
    let once = canonical_of(bytes);
    assert_eq!(canonical_of(&once), once);
}

/// Messages of every kind that the canonical form knows.
pub fn messages() -> Vec<Vec<u8>> {
    [
        "From: a@example.org\r\nTo: b@x\r\n\r\nHello \t there \r\n\r\n \r\n",
        "From : A\r\n <a@example.org>, b@example.org\r\nSubject:\r\n\tone\r\n\r\nx",
        "To: x\r\nFrom: team: a@b.example;\r\nContent-Type: text/plain\r\n\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn canonical_of(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    canonical::body(body, |piece| out.extend_from_slice(piece));
    out
}

fn signer() -> &'static Signer {
    static SIGNER: OnceLock<Signer> = OnceLock::new();
    SIGNER.get_or_init(|| {
        let algorithm = Algorithm::Ed25519Sha256;
        let made = SigningKey::generate(algorithm).expect("a key");
        let key = SigningKey::parse(algorithm, &made).expect("it was just made");
        Signer::new("example.org", "s", Arc::new(key))
    })
}
