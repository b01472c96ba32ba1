//! The keys of a message's signatures, looked up (RFC 6376 §3.6).

use std::collections::BTreeMap;

use dns::{NameFault, Names};
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;

use crate::{Ask, Prepared, tags};

/// What is where a signature's key should be, by name.
pub struct Keys {
    found: BTreeMap<String, Key>,
}

pub(crate) enum Key {
    Found(DomainKey),
    /// For good: absent, revoked, or not for mail.
    Unusable(&'static str),
    /// It could not be looked up.
    Unknown,
}

impl Keys {
    /// Each name once.
    pub async fn look_up<N: Names>(ask: &Ask<'_, N>, prepared: &Prepared) -> Keys {
        ask.begin_part();
        let mut found = BTreeMap::new();
        for name in prepared.keys() {
            if found.contains_key(name) {
                continue;
            }
            let key = match ask.texts(name).await {
                Ok(texts) => key(&texts),
                Err(NameFault::NoSuchDomain) => Key::Unusable(ABSENT),
                Err(NameFault::Unavailable(_)) => Key::Unknown,
            };
            found.insert(name.to_owned(), key);
        }
        Keys { found }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Key> {
        self.found.get(name)
    }
}

/// Of several records, which no signer should have (§3.6.2.2), the first that is a key.
fn key(texts: &[Vec<u8>]) -> Key {
    let mut why = ABSENT;
    for text in texts {
        match usable(text) {
            Ok(key) => return Key::Found(key),
            Err(reason) => why = reason,
        }
    }
    Key::Unusable(why)
}

fn usable(text: &[u8]) -> Result<DomainKey, &'static str> {
    let tags = tags::parse(text).ok_or("the key has an error")?;
    let lists = |name: &str, wanted: &[&str]| {
        tags::value(&tags, name).is_none_or(|list| {
            let mut items = list.split(':').map(str::trim_ascii);
            items.any(|item| wanted.iter().any(|one| item.eq_ignore_ascii_case(one)))
        })
    };
    if tags::value(&tags, "p").is_some_and(str::is_empty) {
        return Err("the key is revoked");
    }
    // §3.6.1.
    if !lists("s", &["*", "email"]) || !lists("h", &["sha256"]) {
        return Err("the key is for something else");
    }
    DomainKey::parse(text).map_err(|_| "the key has an error")
}

const ABSENT: &str = "no key";

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    fn of(texts: &[&str]) -> Result<(), &'static str> {
        let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        match key(&texts) {
            Key::Found(_) => Ok(()),
            Key::Unusable(why) => Err(why),
            Key::Unknown => panic!("it was looked up"),
        }
    }

    #[test]
    fn a_key_is_for_mail_and_for_our_hash() {
        for front in [
            "",
            "v=DKIM1; k=ed25519; ",
            "s=*;h=sha1:sha256; ",
            "s=other : email; ",
        ] {
            assert_eq!(of(&[&format!("{front}{ED25519}")]), Ok(()), "{front}");
        }
        for front in ["s=tlsrpt; ", "h=sha1; "] {
            let other = Err("the key is for something else");
            assert_eq!(of(&[&format!("{front}{ED25519}")]), other, "{front}");
        }
        assert_eq!(of(&["v=DKIM1; p="]), Err("the key is revoked"));
        for text in ["v=DKIM2; p=AAAA", "p=AAAA; p=AAAA", "k=rsa", "hello"] {
            assert_eq!(of(&[text]), Err("the key has an error"), "{text}");
        }
        assert_eq!(of(&[]), Err(ABSENT));
        assert_eq!(of(&["hello", ED25519]), Ok(()));
    }
}
