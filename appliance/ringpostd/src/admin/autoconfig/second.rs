//! The second version of autodiscover: JSON that says where a protocol's document is, by `GET` and without a login.
//!
//! It knows no IMAP. What it can say about a server of this kind is where the document of the first version is, which has IMAP, POP3 and SMTP: Outlook
//! asks for that as the protocol `AutodiscoverV1`, and posts to the URL that it gets. A program that asks for another protocol (Exchange's own) gets 404
//! and goes on: an answer would have such a program try a server that is not there.

use hyper::Uri;

use super::query::{decoded, parameter};
use super::{Asked, DISCOVER, plain};

const PATH: &str = "/autodiscover/autodiscover.json";
/// The form with the address as a part of the path.
const BELOW: &str = "/autodiscover/autodiscover.json/v1.0/";
/// The one protocol that is answered for.
const FIRST_VERSION: &str = "AutodiscoverV1";

/// `path` is that of `uri` in lower case, `host` the one that was asked; `None`: something else, or a host that does not speak for the address.
pub(super) fn asked(uri: &Uri, path: &str, host: &str, server: &str) -> Option<Asked> {
    let address = match path.strip_prefix(BELOW) {
        Some(address) => decoded(address)?,
        None if path == PATH => parameter(uri, "email")?,
        None => return None,
    };
    let protocol = parameter(uri, "protocol")?;
    if !protocol.eq_ignore_ascii_case(FIRST_VERSION) {
        return None;
    }
    let domain = plain(&address)?.domain().to_lowercase();
    // The host goes into the answer, so it is one that is made of the domain or of our own name, and not just any that a request may have.
    let speaks_for = host == domain
        || host.strip_prefix(DISCOVER) == Some(domain.as_str())
        || host.eq_ignore_ascii_case(server);
    speaks_for.then(|| Asked::Where {
        domain,
        host: host.to_owned(),
    })
}

/// The answer: the document of the first version, at the host that was asked.
pub(super) fn document(host: &str) -> String {
    let url = format!("https://{host}/autodiscover/autodiscover.xml");
    serde_json::json!({ "Protocol": FIRST_VERSION, "Url": url }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(host: &str, target: &str) -> Option<Asked> {
        let uri: Uri = target.parse().expect("a path");
        let path = uri.path().to_ascii_lowercase();
        asked(&uri, &path, host, "mx.example.org")
    }

    #[test]
    fn the_first_versions_document_is_named_to_those_that_can_use_it() {
        let at = |host: &str| {
            Some(Asked::Where {
                domain: "example.org".to_owned(),
                host: host.to_owned(),
            })
        };
        let query = "/autodiscover/autodiscover.json?Email=bob%40example.org&Protocol=AutodiscoverV1&RedirectCount=1";
        for host in ["autodiscover.example.org", "example.org", "mx.example.org"] {
            assert_eq!(ask(host, query), at(host), "{host}");
        }
        let below =
            "/autodiscover/autodiscover.json/v1.0/bob%40Example.org?protocol=autodiscoverv1";
        let host = "autodiscover.example.org";
        assert_eq!(ask(host, below), at(host));
        for (host, target) in [
            ("autodiscover.example.net", query),
            ("evil.example", query),
            (
                host,
                "/autodiscover/autodiscover.json?Email=bob%40example.org",
            ),
            (
                host,
                "/autodiscover/autodiscover.json?Email=bob%40example.org&Protocol=ActiveSync",
            ),
            (
                host,
                "/autodiscover/autodiscover.json?Email=bob&Protocol=AutodiscoverV1",
            ),
            (
                host,
                "/autodiscover/autodiscover.json?Email=b%00b%40example.org&Protocol=AutodiscoverV1",
            ),
            (
                host,
                "/autodiscover/autodiscover.json?Protocol=AutodiscoverV1",
            ),
            (
                host,
                "/autodiscover/autodiscover.jsonx?Email=bob%40example.org&Protocol=AutodiscoverV1",
            ),
        ] {
            assert_eq!(ask(host, target), None, "{host} {target}");
        }
    }

    #[test]
    fn the_answer_is_json_with_a_protocol_and_a_url() {
        let value: serde_json::Value =
            serde_json::from_str(&document("autodiscover.example.org")).expect("JSON");
        assert_eq!(value["Protocol"], "AutodiscoverV1");
        assert_eq!(
            value["Url"],
            "https://autodiscover.example.org/autodiscover/autodiscover.xml"
        );
    }
}
