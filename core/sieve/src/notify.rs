//! `mailto:` URIs, the one method of notification that we have (RFC 5436, RFC 6068).

use mail::Address;

use crate::limits::{REASON_BYTES_MAX, REDIRECTS_COUNT_MAX};

/// What of a URI we use. Other header fields that it names are omitted, which RFC 5436 §2 allows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mailto {
    /// One at least.
    pub to: Vec<Address>,
    pub subject: Option<String>,
    pub body: Option<String>,
}

/// `None`: it is another URI, or it names no address, or more than we send to.
pub(crate) fn mailto(uri: &str) -> Option<Mailto> {
    let scheme = uri.get(..7)?;
    if !scheme.eq_ignore_ascii_case("mailto:") || uri.len() > REASON_BYTES_MAX {
        return None;
    }
    let (path, query) = uri[7..].split_once('?').unwrap_or((&uri[7..], ""));
    let mut found = Mailto {
        to: Vec::new(),
        subject: None,
        body: None,
    };
    addresses(path, &mut found.to)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        match &name.to_ascii_lowercase()[..] {
            "to" | "cc" => addresses(value, &mut found.to)?,
            "subject" => found.subject = Some(decoded(value)?),
            "body" => found.body = Some(decoded(value)?),
            _ => {}
        }
    }
    (!found.to.is_empty()).then_some(found)
}

/// RFC 6068 §2: addresses between commas, each encoded for itself.
fn addresses(list: &str, into: &mut Vec<Address>) -> Option<()> {
    for address in list.split(',').filter(|address| !address.is_empty()) {
        into.push(Address::from_path(&decoded(address)?)?);
        if into.len() > REDIRECTS_COUNT_MAX {
            return None;
        }
    }
    Some(())
}

/// `%XX` decoded; `None` when that is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: usize| {
        bytes
            .get(at)
            .and_then(|&byte| char::from(byte).to_digit(16))
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        out.push(match (byte, digit(at), digit(at + 1)) {
            (b'%', Some(high), Some(low)) => {
                at += 2;
                (high * 16 + low) as u8
            }
            (b'%', ..) => return None,
            _ => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_addresses_and_what_to_say() {
        let found = mailto(
            "mailto:ann@example.org?subject=New%20mail&X-Other=1&body=%C3%BC&to=bob@example.org",
        );
        let found = found.expect("a URI");
        let to: Vec<String> = found.to.iter().map(Address::to_string).collect();
        assert_eq!(to, ["ann@example.org", "bob@example.org"]);
        assert_eq!(found.subject.as_deref(), Some("New mail"));
        assert_eq!(found.body.as_deref(), Some("ü"));
        for uri in [
            "",
            "mailto:",
            "xmpp:a@b.c",
            "mailto:x",
            "mailto:a%@b.c",
            "mailto:a@b.c?subject",
            "mailto:%ff@b.c",
            "mailto:a@b.c%0d%0aBcc:x",
        ] {
            assert_eq!(mailto(uri), None, "{uri}");
        }
        assert_eq!(mailto("mailto:a@b.c,b@b.c,c@b.c,d@b.c,e@b.c"), None);
    }
}
