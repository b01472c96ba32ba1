//! What a provider says of itself (OpenID Connect Discovery 1.0 §4), and of a token that means nothing to others (RFC 7662).

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::limits::DOCUMENT_BYTES_MAX;
use crate::token::{Claims, Flaw, Rules, accept};

/// Behind the issuer's URL.
pub const WELL_KNOWN: &str = "/.well-known/openid-configuration";

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

/// Where the provider speaks of itself.
pub fn configuration_url(issuer: &str) -> String {
    format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/'))
}

/// Where its keys are. `Err`: one sentence.
pub fn keys_url(bytes: &[u8], issuer: &str) -> Result<String, String> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err("the configuration is too long".to_owned());
    }
    let read: Configuration = serde_json::from_slice(bytes).map_err(|_| {
        "the answer is not a configuration of OpenID Connect: set `keys_url`".to_owned()
    })?;
    // OpenID Connect Discovery 1.0 §4.3: another one's keys must not count for this one.
    if read.issuer != issuer {
        return Err(
            "the provider calls itself by another name: write `issuer` as its configuration has it"
                .to_owned(),
        );
    }
    Ok(read.jwks_uri)
}

/// RFC 7662 §2.2. `Err(None)`: it is not an answer.
pub fn introspected(bytes: &[u8], rules: &Rules, now_s: i64) -> Result<Claims, Option<Flaw>> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(None);
    }
    let answer: Map<String, Value> = serde_json::from_slice(bytes).map_err(|_| None)?;
    match answer.get("active") {
        Some(Value::Bool(true)) => Ok(accept(&answer, rules, now_s, false)?),
        Some(Value::Bool(false)) => Err(Some(Flaw::Inactive)),
        _ => Err(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            issuer: "https://id.example".to_owned(),
            claim: "email".to_owned(),
            ..Rules::default()
        }
    }

    #[test]
    fn keys_are_found_by_the_configuration_of_this_issuer_alone() {
        assert_eq!(
            configuration_url("https://id.example/realm/"),
            "https://id.example/realm/.well-known/openid-configuration"
        );
        let text = br#"{"issuer":"https://id.example","jwks_uri":"https://id.example/keys"}"#;
        let found = keys_url(text, "https://id.example");
        assert_eq!(found.as_deref(), Ok("https://id.example/keys"));
        assert!(keys_url(text, "https://other.example").is_err());
        assert!(keys_url(b"<html>", "https://id.example").is_err());
    }

    #[test]
    fn an_answer_about_a_token_is_active_or_not_or_no_answer() {
        let answer = |text: &str| introspected(text.as_bytes(), &rules(), 1_000);
        let claims = answer(r#"{"active":true,"email":"ann@example.org","exp":2000}"#);
        let claims = claims.expect("it is good");
        assert_eq!(
            (&claims.name[..], claims.expires_s),
            ("ann@example.org", 2_000)
        );
        assert_eq!(answer(r#"{"active":false}"#), Err(Some(Flaw::Inactive)));
        let old = answer(r#"{"active":true,"email":"ann@example.org","exp":900}"#);
        assert_eq!(old, Err(Some(Flaw::Expired)));
        let other = answer(r#"{"active":true,"iss":"https://other","email":"a@b.c"}"#);
        assert_eq!(other, Err(Some(Flaw::Issuer)));
        for none in ["", "{}", "[]", r#"{"active":"true"}"#] {
            assert_eq!(answer(none), Err(None), "{none}");
        }
        let strict = Rules {
            audience: vec!["mail".to_owned()],
            ..rules()
        };
        let text = br#"{"active":true,"email":"a@b.c"}"#;
        assert_eq!(introspected(text, &strict, 1), Err(Some(Flaw::Audience)));
    }
}
