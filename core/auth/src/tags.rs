//! Lists of tags, `name=value;`, of DKIM and DMARC (RFC 6376 §3.2).

/// The tags of `text` in order, names and values without the white space around them. `None`: the list is malformed, or a name is in it twice,
/// which makes all of it invalid.
pub(crate) fn parse(text: &[u8]) -> Option<Vec<(&str, &str)>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut tags: Vec<(&str, &str)> = Vec::new();
    let mut specs = text.split(';').peekable();
    while let Some(spec) = specs.next() {
        if spec.trim_ascii().is_empty() {
            // One semicolon at the end is allowed.
            if specs.peek().is_some() {
                return None;
            }
            continue;
        }
        let (name, value) = spec.split_once('=')?;
        let (name, value) = (name.trim_ascii(), value.trim_ascii());
        if tags.len() >= TAGS_MAX || tags.iter().any(|(other, _)| *other == name) {
            return None;
        }
        tags.push((name, value));
    }
    Some(tags)
}

pub(crate) fn value<'a>(tags: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    tags.iter()
        .find(|(of, _)| *of == name)
        .map(|(_, value)| *value)
}

/// Signatures have up to 14 tags, records up to 12; unknown ones are allowed.
const TAGS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_in_order_and_none_twice() {
        let tags = parse(b" v=DMARC1 ; p = reject;x=a=b; ").expect("tags");
        assert_eq!(tags, [("v", "DMARC1"), ("p", "reject"), ("x", "a=b")]);
        assert_eq!(value(&tags, "p"), Some("reject"));
        assert_eq!(value(&tags, "q"), None);
        for text in [
            "v=DMARC1; v=DMARC1; p=none",
            "v=1;;p=none",
            "v=1; p",
            "v=\u{fffd};v=2",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"v=\xff"), None);
        assert_eq!(parse(b""), Some(Vec::new()));
        let many: String = (0..=TAGS_MAX).map(|at| format!("t{at}=1;")).collect();
        assert_eq!(parse(many.as_bytes()), None);
    }
}
