//! A door for `core/fuzz`, no part of the API: a token, the keys it is checked by, and a provider's documents.

use crate::provider::{introspected, keys_url};
use crate::{KeySet, Rules, Token};

fn rules() -> Rules {
    Rules {
        issuer: "https://id.example".to_owned(),
        audience: vec!["mail".to_owned()],
        scope: "mail".to_owned(),
        claim: "email".to_owned(),
    }
}

/// Two lines: a token, and a document.
pub fn token(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (first, document) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let keys = KeySet::parse(document).unwrap_or_default();
    let _ = keys_url(document, "https://id.example");
    if let Ok(claims) = introspected(document, &rules(), 1_000) {
        assert!(!claims.name.is_empty(), "an account is named");
    }
    let text = String::from_utf8_lossy(first);
    if let Ok(token) = Token::parse(&text) {
        // No fuzzer finds a signature.
        let checked = token.check(&keys, &rules(), 1_000);
        assert!(checked.is_err(), "nothing is signed here");
    }
}

pub fn tokens() -> Vec<Vec<u8>> {
    let keys = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"a","use":"sig","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;
    let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUifQ.AAAA";
    let answer = r#"{"active":true,"iss":"https://id.example","aud":["mail"],"exp":2000,"nbf":1,"scope":"mail","email":"a@b.c","email_verified":true}"#;
    let configuration = r#"{"issuer":"https://id.example","jwks_uri":"https://id.example/k"}"#;
    [keys, answer, configuration]
        .iter()
        .map(|document| format!("{token}\n{document}").into_bytes())
        .collect()
}
