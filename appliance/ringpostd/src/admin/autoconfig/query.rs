//! The query of a request: parameters that name an address, read as strictly as the body of the older form.

use hyper::Uri;

/// The value of a parameter, by its name in any case: Microsoft's programs write `Email`, others `email`. `None`: it is not there, or not UTF-8.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = uri
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    decoded(value)
}

/// RFC 3986 §2.1. A plus stays one: in a form it would be a blank, which an address never has, and `bob+news@example.org` is one.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    // Ends with the text, whose length hyper bounds.
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                out.push((high * 16 + low) as u8);
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_by_its_name_and_decoded_once() {
        let uri: Uri = "/x?a=1&EMAIL=b%6fb%2Bnews%40example.org&email=other"
            .parse()
            .expect("a path");
        let found = parameter(&uri, "email");
        assert_eq!(found.as_deref(), Some("bob+news@example.org"));
        assert_eq!(parameter(&uri, "protocol"), None);
        for (text, wanted) in [
            ("a+b", Some("a+b")),
            ("%2540", Some("%40")),
            ("%c3%a9", Some("é")),
            ("%4", None),
            ("%g0", None),
            ("%ff", None),
        ] {
            assert_eq!(decoded(text).as_deref(), wanted, "{text}");
        }
        let bare: Uri = "/x".parse().expect("a path");
        assert_eq!(parameter(&bare, "email"), None);
    }
}
