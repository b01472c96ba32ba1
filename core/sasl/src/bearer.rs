//! OAUTHBEARER (RFC 7628), and XOAUTH2, its vendors' form from before the RFC, which Outlook and Thunderbird still use: the client shows a token of its provider.
//!
//! What must hold: a token is of the letters that RFC 6750 §2.1 allows and bounded, so that it can stand in a request to the provider as it is; neither it nor the
//! name is in any `Debug` text. Whether the token is good is the caller's to say; where it is not, the client gets the reason as JSON, owes an
//! answer without meaning, and only then the exchange has failed (RFC 7628 §3.2.3).

use std::fmt;

use crate::{Fault, Mechanism, scram};

/// Longer than the tokens of providers that list a person's groups in them; its base64 fits in the 12,288 octets of RFC 4954 §4.
pub const TOKEN_BYTES_MAX: usize = 8 * 1_024;
/// What separates the pieces.
const SEPARATOR: u8 = 1;

/// What a client shows, not yet checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Whom it wants to be; `None`: whom the token names.
    pub user: Option<Vec<u8>>,
    /// Empty: the client asks where it gets one (RFC 7628 §4.3).
    pub token: String,
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

/// Why a token is refused, in words of RFC 6750 §3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is expired, revoked, not of this provider, or not a token.
    InvalidToken,
    /// It is good, and not for mail.
    InsufficientScope,
}

/// What the client gets when a token is refused (RFC 7628 §3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub status: Status,
    /// The scopes to ask the provider for; empty: any.
    pub scope: String,
    /// Where the provider says what it offers; empty: several providers are accepted, or none says.
    pub configuration: String,
}

impl Failure {
    /// The text before base64.
    pub fn json(&self, mechanism: Mechanism) -> String {
        let status = match (mechanism, self.status) {
            (Mechanism::XOauth2, Status::InvalidToken) => "401",
            (Mechanism::XOauth2, Status::InsufficientScope) => "403",
            (_, Status::InvalidToken) => "invalid_token",
            (_, Status::InsufficientScope) => "insufficient_scope",
        };
        let mut json = format!("{{\"status\":\"{status}\"");
        if mechanism == Mechanism::XOauth2 {
            json += ",\"schemes\":\"Bearer\"";
        }
        if !self.scope.is_empty() {
            json += &format!(",\"scope\":{}", quoted(&self.scope));
        }
        if mechanism != Mechanism::XOauth2 && !self.configuration.is_empty() {
            let configuration = quoted(&self.configuration);
            json += &format!(",\"openid-configuration\":{configuration}");
        }
        json.push('}');
        json
    }
}

/// A JSON string (RFC 8259 §7); control characters have no place in a URL or a scope, and are left out.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    out
}

/// RFC 7628 §3.1: `n,a=user,^Ahost=…^Aport=…^Aauth=Bearer …^A^A`. Host and port are the client's view of this server and decide nothing.
pub(crate) fn oauthbearer(message: &[u8]) -> Result<Bearer, Fault> {
    let text = std::str::from_utf8(message).map_err(|_| Fault::Malformed)?;
    let (flag, rest) = text.split_once(',').ok_or(Fault::Malformed)?;
    let (acting_as, pairs) = rest.split_once(',').ok_or(Fault::Malformed)?;
    match flag {
        "n" | "y" => {}
        // RFC 7628 §3.1: there is no binding for it.
        flag if flag.starts_with("p=") => return Err(Fault::Binding),
        _ => return Err(Fault::Malformed),
    }
    let user = match (acting_as, acting_as.strip_prefix("a=")) {
        ("", _) => None,
        (_, Some(name)) => Some(scram::unescaped(name)?.into_bytes()),
        (_, None) => return Err(Fault::Malformed),
    };
    let token = authorization(pairs.strip_prefix(char::from(SEPARATOR)))?;
    Ok(Bearer { user, token })
}

/// `user=…^Aauth=Bearer …^A^A`.
pub(crate) fn xoauth2(message: &[u8]) -> Result<Bearer, Fault> {
    let text = std::str::from_utf8(message).map_err(|_| Fault::Malformed)?;
    let rest = text.strip_prefix("user=").ok_or(Fault::Malformed)?;
    let (user, pairs) = rest
        .split_once(char::from(SEPARATOR))
        .ok_or(Fault::Malformed)?;
    let token = authorization(Some(pairs))?;
    Ok(Bearer {
        user: (!user.is_empty()).then(|| user.as_bytes().to_vec()),
        token,
    })
}

/// `key=value^A…^A`: what `auth` has behind `Bearer`.
fn authorization(pairs: Option<&str>) -> Result<String, Fault> {
    let pairs = pairs.and_then(|pairs| pairs.strip_suffix("\u{1}\u{1}"));
    let mut found = None;
    // Bounded by the line that the protocol accepts.
    for pair in pairs.ok_or(Fault::Malformed)?.split(char::from(SEPARATOR)) {
        let (key, value) = pair.split_once('=').ok_or(Fault::Malformed)?;
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(Fault::Malformed);
        }
        if key.eq_ignore_ascii_case("auth") && found.replace(value).is_some() {
            return Err(Fault::Malformed);
        }
    }
    let value = found.ok_or(Fault::Malformed)?.trim();
    if value.is_empty() {
        return Ok(String::new());
    }
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let token = token.trim_start_matches(' ');
    // RFC 6750 §2.1 b64token.
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if !scheme.eq_ignore_ascii_case("Bearer")
        || token.len() > TOKEN_BYTES_MAX
        || !token.bytes().all(is_of_token)
    {
        return Err(Fault::Malformed);
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exchange, Step, base64};

    fn bearer(user: Option<&str>, token: &str) -> Result<Bearer, Fault> {
        Ok(Bearer {
            user: user.map(|user| user.as_bytes().to_vec()),
            token: token.to_owned(),
        })
    }

    /// The examples of RFC 7628 §4.1 and §4.3, and what is not one.
    #[test]
    fn oauthbearer_is_a_header_and_pairs() {
        let read = |text: &str| oauthbearer(text.as_bytes());
        let of_rfc = "n,a=user@example.com,\u{1}host=server.example.com\u{1}port=143\u{1}auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\u{1}\u{1}";
        let token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
        assert_eq!(read(of_rfc), bearer(Some("user@example.com"), token));
        assert_eq!(read("n,,\u{1}auth=bearer  x\u{1}\u{1}"), bearer(None, "x"));
        assert_eq!(
            read("y,a=a=2Cb,\u{1}auth=\u{1}\u{1}"),
            bearer(Some("a,b"), "")
        );
        assert_eq!(
            read("p=tls-exporter,,\u{1}auth=Bearer x\u{1}\u{1}"),
            Err(Fault::Binding)
        );
        for malformed in [
            "",
            "\u{1}",
            "n,,",
            "n,,\u{1}",
            "n,,\u{1}\u{1}",
            "n,,auth=Bearer x\u{1}\u{1}",
            "n,,\u{1}auth=Bearer x\u{1}",
            "n,,\u{1}auth=Basic x\u{1}\u{1}",
            "n,,\u{1}auth=Bearer x y\u{1}\u{1}",
            "n,,\u{1}auth=Bearer x\"\u{1}\u{1}",
            "n,,\u{1}auth=Bearer x\r\nX-Other: y\u{1}\u{1}",
            "n,,\u{1}auth=Bearer x\u{1}auth=Bearer y\u{1}\u{1}",
            "n,,\u{1}host=h\u{1}\u{1}",
            "n,u,\u{1}auth=Bearer x\u{1}\u{1}",
            "n,a==,\u{1}auth=Bearer x\u{1}\u{1}",
        ] {
            assert_eq!(read(malformed), Err(Fault::Malformed), "{malformed:?}");
        }
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        assert_eq!(
            read(&format!("n,,\u{1}auth=Bearer {long}\u{1}\u{1}")),
            Err(Fault::Malformed)
        );
    }

    #[test]
    fn xoauth2_is_a_user_and_a_token() {
        let read = |text: &str| xoauth2(text.as_bytes());
        assert_eq!(
            read("user=ann@example.org\u{1}auth=Bearer ya29.x\u{1}\u{1}"),
            bearer(Some("ann@example.org"), "ya29.x")
        );
        for malformed in [
            "",
            "user=ann",
            "user=ann\u{1}auth=Bearer x",
            "auth=Bearer x\u{1}\u{1}",
        ] {
            assert_eq!(read(malformed), Err(Fault::Malformed), "{malformed:?}");
        }
    }

    #[test]
    fn a_refused_token_is_explained_and_the_exchange_fails_whatever_follows() {
        let failure = Failure {
            status: Status::InvalidToken,
            scope: "mail \"x\"".to_owned(),
            configuration: "https://id.example/c".to_owned(),
        };
        let sent = "n,,\u{1}auth=Bearer x\u{1}\u{1}";
        for (last, mechanism) in [
            (&b"AQ=="[..], Mechanism::OauthBearer),
            (b"*", Mechanism::OauthBearer),
            (b"not base64", Mechanism::OauthBearer),
            (b"", Mechanism::XOauth2),
        ] {
            let sent = match mechanism {
                Mechanism::XOauth2 => "user=a\u{1}auth=Bearer x\u{1}\u{1}",
                _ => sent,
            };
            let mut exchange = Exchange::new(mechanism);
            let step = exchange.respond(base64::encode(sent.as_bytes()).as_bytes());
            assert!(matches!(step, Step::Token(_)), "{step:?}");
            let Step::Challenge(text) = exchange.token_refused(&failure) else {
                panic!("the reason is a challenge");
            };
            let json = String::from_utf8(base64::decode(text.as_bytes()).unwrap()).unwrap();
            assert_eq!(
                json,
                match mechanism {
                    Mechanism::XOauth2 =>
                        r#"{"status":"401","schemes":"Bearer","scope":"mail \"x\""}"#,
                    _ =>
                        r#"{"status":"invalid_token","scope":"mail \"x\"","openid-configuration":"https://id.example/c"}"#,
                }
            );
            assert_eq!(exchange.respond(last), Step::Refused(Fault::Token));
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let mut exchange = Exchange::new(Mechanism::XOauth2);
        let sent = b"user=ann\x01auth=Bearer secret\x01\x01".to_vec();
        let step = exchange.respond_decoded(sent);
        let printed = format!("{exchange:?} {step:?}");
        assert!(
            !printed.contains("ann") && !printed.contains("secret"),
            "{printed}"
        );
    }
}
