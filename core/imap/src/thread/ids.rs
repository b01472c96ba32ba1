//! Message-IDs in header fields (RFC 5322 §3.6.4), as THREAD compares them.

use std::borrow::Cow;

use memchr::memchr;

/// The ids in `value`, in order, without their angle brackets. What is not an id is passed over. Looks at each byte once.
pub(super) fn ids(value: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        while let Some(at) = memchr(b'<', rest) {
            let (id, after) = id(&rest[at + 1..]);
            rest = after;
            if id.is_some() {
                return id;
            }
        }
        None
    })
}

/// The first id; `None` where there is none.
pub(super) fn first_id(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    ids(value).next()
}

/// What stands behind `<`: an id up to its `>`, and the rest. Without one the rest begins where that was seen.
///
/// RFC 5256 §3: quoting makes no difference.
fn id(bytes: &[u8]) -> (Option<Cow<'_, [u8]>>, &[u8]) {
    if bytes.first() == Some(&b'"') {
        return quoted_id(bytes);
    }
    let end = bytes
        .iter()
        .position(|byte| matches!(byte, b'<' | b'>' | b' ' | b'\t' | b'\r' | b'\n'));
    let end = end.unwrap_or(bytes.len());
    let (id, rest) = bytes.split_at(end);
    let at = memchr(b'@', id).filter(|&at| at > 0 && at + 1 < id.len());
    let is_id = at.is_some() && rest.first() == Some(&b'>');
    (is_id.then_some(Cow::Borrowed(id)), rest)
}

/// As `id`, where the part before the `@` is quoted.
fn quoted_id(bytes: &[u8]) -> (Option<Cow<'_, [u8]>>, &[u8]) {
    let mut plain = Vec::new();
    let mut at = 1;
    loop {
        // each turn takes a byte or two
        match bytes.get(at) {
            None | Some(b'<') => return (None, &bytes[at.min(bytes.len())..]),
            Some(b'"') => break,
            Some(b'\\') if at + 1 < bytes.len() => {
                plain.push(bytes[at + 1]);
                at += 2;
            }
            Some(&byte) => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    let (domain, rest) = {
        let after = &bytes[at + 1..];
        let end = after
            .iter()
            .position(|byte| matches!(byte, b'<' | b'>' | b' ' | b'\t' | b'\r' | b'\n'));
        after.split_at(end.unwrap_or(after.len()))
    };
    let is_id = !plain.is_empty()
        && domain.len() > 1
        && domain.first() == Some(&b'@')
        && rest.first() == Some(&b'>');
    if !is_id {
        return (None, rest);
    }
    plain.extend_from_slice(domain);
    (Some(Cow::Owned(plain)), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(value: &str) -> Vec<String> {
        let text = |id: Cow<'_, [u8]>| String::from_utf8_lossy(&id).into_owned();
        ids(value.as_bytes()).map(text).collect()
    }

    #[test]
    fn ids_are_found_between_anything() {
        assert_eq!(all("<a@b> <c@d>\r\n <e@f>"), ["a@b", "c@d", "e@f"]);
        assert_eq!(all("<a@b><c@d>"), ["a@b", "c@d"]);
        assert_eq!(all("Your message of Monday <a@b> (really)"), ["a@b"]);
        assert_eq!(all("<\"a\"@b> <\"c d\\\"e\"@f>"), ["a@b", "c d\"e@f"]);
    }

    #[test]
    fn what_is_not_an_id_is_passed_over() {
        for value in [
            "", "a@b", "<ab>", "<@b>", "<a@>", "<a@b", "<\"a@b>", "<\"\"@b>", "<\"a\"b>", "<",
        ] {
            assert_eq!(all(value), [""; 0], "{value}");
        }
        assert_eq!(all("<a b@c> <d<e@f> <\"g <h@i>"), ["e@f", "h@i"]);
    }

    #[test]
    fn long_nonsense_is_looked_at_once() {
        for piece in ["<\"", "<a@", "<\"\\", "<"] {
            assert_eq!(ids(piece.repeat(500_000).as_bytes()).count(), 0);
        }
    }
}
