//! Which certificate a client gets that names a host (SNI, RFC 6066 §3): one that names it, one with a wildcard for it, or the default.

use std::collections::HashMap;
use std::sync::Arc;

use ::admin::certificate::Facts;
use rustls::sign::CertifiedKey;

use super::ORDERED;

/// A certificate and where it is from.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// A path of the settings, or a word for those that the daemon keeps.
    pub source: String,
    pub pair: Arc<CertifiedKey>,
}

/// What every handshake looks into; made again when a certificate changes, and never changed.
#[derive(Debug)]
pub(crate) struct Index {
    /// For clients that name no host, or one that no certificate names.
    default: Arc<CertifiedKey>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    wild: HashMap<String, Arc<CertifiedKey>>,
}

impl Index {
    /// The first of `all` is the default. Where two name the same host, that of an authority asked by us is shown, for its names were written down
    /// for it, and it is renewed; else the earlier one. A certificate of our own making is never shown for its names in place of another.
    pub(crate) fn of(all: &[Held]) -> Index {
        let (mut exact, mut wild) = (HashMap::new(), HashMap::new());
        let ordered = all.iter().filter(|held| held.source == ORDERED);
        for held in ordered.chain(all) {
            let Some(facts) = held.pair.cert.first().and_then(|der| Facts::of(der)) else {
                continue;
            };
            if facts.self_made {
                continue;
            }
            for name in facts.names {
                let name = name.to_ascii_lowercase();
                let pair = held.pair.clone();
                match name.strip_prefix("*.") {
                    Some(rest) => wild.entry(rest.to_owned()).or_insert(pair),
                    None => exact.entry(name).or_insert(pair),
                };
            }
        }
        Index {
            default: all[0].pair.clone(),
            exact,
            wild,
        }
    }

    /// RFC 9525 §6.3: a wildcard stands for one label.
    pub(crate) fn find(&self, asked: Option<&str>) -> Arc<CertifiedKey> {
        let named = asked.and_then(|asked| {
            let asked = asked.to_ascii_lowercase();
            let exact = self.exact.get(&asked);
            exact.or_else(|| self.wild.get(asked.split_once('.')?.1))
        });
        named.unwrap_or(&self.default).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::pem::{certified, parse_chain, parse_key};
    use super::*;

    fn held(names: &[&str]) -> Held {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("made");
        let chain = parse_chain(made.cert.pem().as_bytes()).expect("a certificate");
        let key = parse_key(made.signing_key.serialize_pem().as_bytes()).expect("a key");
        Held {
            source: "a test".to_owned(),
            pair: Arc::new(certified(chain, key).expect("a pair")),
        }
    }

    #[test]
    fn a_host_gets_the_certificate_that_names_it_then_a_wildcard_then_the_default() {
        let all = [
            held(&["mail.example.org"]),
            held(&["*.example.net", "example.net"]),
            held(&["mx.example.net"]),
            held(&["mx.example.net", "mail.example.org"]),
        ];
        let index = Index::of(&all);
        for (asked, wanted) in [
            (None, 0),
            (Some("mail.example.org"), 0),
            (Some("MX.Example.NET"), 2),
            (Some("imap.example.net"), 1),
            (Some("example.net"), 1),
            // A wildcard stands for one label, and not for none.
            (Some("a.imap.example.net"), 0),
            (Some("elsewhere.example"), 0),
            (Some(""), 0),
            (Some("net"), 0),
        ] {
            let found = index.find(asked);
            assert!(Arc::ptr_eq(&found, &all[wanted].pair), "{asked:?}");
        }
        // An expired one that was stored once does not hide the one that is renewed.
        let mut all = [held(&["mail.example.org"]), held(&["mail.example.org"])];
        all[1].source = ORDERED.to_owned();
        let index = Index::of(&all);
        let found = index.find(Some("mail.example.org"));
        assert!(Arc::ptr_eq(&found, &all[1].pair));
        assert!(Arc::ptr_eq(&index.find(None), &all[0].pair));
    }
}
