//! The base subject (RFC 5256 §2.1): what is left of a subject without `Re:`, `Fwd:`, list labels and the like, so that the messages of one
//! discussion have the same.
//!
//! The work is in proportion to the subject: whatever is taken off is looked at once.

use std::borrow::Cow;

/// What the rules leave, and whether they found a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseSubject<'a> {
    /// Without leaders and trailers; possibly empty. Case is as it was written.
    pub text: Cow<'a, str>,
    /// `Re:`, `Fw:`, `Fwd:`, `(fwd)` or `[fwd: ]` was taken off (RFC 5256 §3, step 5 of REFERENCES).
    pub is_reply: bool,
}

/// Of `subject` with its encoded words decoded.
pub fn base_subject(subject: &str) -> BaseSubject<'_> {
    let spaced = one_space(subject);
    let mut is_reply = false;
    match spaced {
        Cow::Borrowed(text) => BaseSubject {
            text: Cow::Borrowed(stripped(text, &mut is_reply)),
            is_reply,
        },
        Cow::Owned(text) => BaseSubject {
            text: Cow::Owned(stripped(&text, &mut is_reply).to_owned()),
            is_reply,
        },
    }
}

/// Step 1: tabs and folds are spaces, and no two spaces stand together.
fn one_space(text: &str) -> Cow<'_, str> {
    let odd = |byte: u8| matches!(byte, b'\t' | b'\r' | b'\n');
    if !text.bytes().any(odd) && !text.contains("  ") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        let letter = match letter {
            '\t' | '\r' | '\n' => ' ',
            letter => letter,
        };
        if letter != ' ' || !out.ends_with(' ') {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

/// Steps 2 to 6. Each turn of either loop takes something off.
fn stripped<'t>(mut text: &'t str, is_reply: &mut bool) -> &'t str {
    loop {
        // until nothing more is taken off
        text = without_trailers(text, is_reply);
        text = without_leaders(text, is_reply);
        let inner = without_prefix(text, "[fwd:").and_then(|rest| rest.strip_suffix(']'));
        match inner {
            Some(inner) => {
                *is_reply = true;
                text = inner;
            }
            None => return text,
        }
    }
}

/// Step 2: `(fwd)` and spaces at the end.
fn without_trailers<'t>(mut text: &'t str, is_reply: &mut bool) -> &'t str {
    loop {
        // each turn but the last takes five characters off
        text = text.trim_end_matches(' ');
        let at = text.len().checked_sub("(fwd)".len());
        match at.and_then(|at| Some((text.get(..at)?, text.get(at..)?))) {
            Some((before, end)) if end.eq_ignore_ascii_case("(fwd)") => {
                *is_reply = true;
                text = before;
            }
            _ => return text,
        }
    }
}

/// Steps 3 to 5: spaces, labels in brackets, and `Re:` or `Fwd:` behind any number of labels. A label stays where nothing else is left.
fn without_leaders<'t>(mut text: &'t str, is_reply: &mut bool) -> &'t str {
    loop {
        // each turn but the last takes a reply's mark off, with the labels before it
        text = text.trim_start_matches(' ');
        let (mut rest, mut last_label) = (text, text);
        while let Some(after) = without_label(rest) {
            last_label = rest;
            rest = after;
        }
        match without_mark(rest) {
            Some(after) => {
                *is_reply = true;
                text = after;
            }
            // Without a mark behind them the labels go one by one, as long as they leave something.
            None if rest.is_empty() => return last_label,
            None => return rest,
        }
    }
}

/// `[label]` and the spaces behind it. A label has no bracket in it.
fn without_label(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    let rest = inner[end..].strip_prefix(']')?;
    Some(rest.trim_start_matches(' '))
}

/// `Re:`, `Fw:` or `Fwd:`, with spaces and a label before the colon.
fn without_mark(text: &str) -> Option<&str> {
    let rest = without_prefix(text, "re")
        .or_else(|| without_prefix(text, "fwd"))
        .or_else(|| without_prefix(text, "fw"))?;
    let rest = rest.trim_start_matches(' ');
    let rest = without_label(rest).unwrap_or(rest);
    rest.strip_prefix(':')
}

/// Case does not count.
fn without_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base(subject: &str) -> (String, bool) {
        let base = base_subject(subject);
        (base.text.into_owned(), base.is_reply)
    }

    #[test]
    fn leaders_and_trailers_go() {
        for (subject, wanted, is_reply) in [
            ("hello", "hello", false),
            ("Re: hello", "hello", true),
            ("RE : hello", "hello", true),
            ("re[2]: hello", "hello", true),
            ("Fw: hello", "hello", true),
            ("FWD: Re: hello (fwd) (FWD) ", "hello", true),
            ("[list] hello", "hello", false),
            ("[list] Re: [other] [third] hello", "hello", true),
            ("[one][two]Re [x] :  hello", "hello", true),
            ("[fwd: Re: hello]", "hello", true),
            ("[Fwd: [list] hello (fwd)]", "hello", true),
            ("  a \t b\r\n c ", "a b c", false),
            ("reply to this", "reply to this", false),
            ("re", "re", false),
            ("re hello", "re hello", false),
            ("[open hello", "[open hello", false),
            ("[a[b] hello", "[a[b] hello", false),
            ("Re: größer", "größer", true),
            ("[grün] größer", "größer", false),
            ("", "", false),
        ] {
            assert_eq!(base(subject), (wanted.into(), is_reply), "{subject:?}");
        }
    }

    /// RFC 5256 §2.1, step 4: a label is taken off only if a text remains.
    #[test]
    fn a_subject_of_nothing_but_leaders() {
        for (subject, wanted, is_reply) in [
            ("Re: Re: [x] Fwd:", "", true),
            ("[x]", "[x]", false),
            ("[x] [y]", "[y]", false),
            ("Re: [x]", "[x]", true),
            ("(fwd)", "", true),
            ("[fwd:]", "", true),
            (" ", "", false),
        ] {
            assert_eq!(base(subject), (wanted.into(), is_reply), "{subject:?}");
        }
    }

    #[test]
    fn long_rows_of_labels_are_looked_at_once() {
        let labels = "[a]".repeat(500_000);
        assert_eq!(base(&format!("{labels}x")).0, "x");
        assert_eq!(base(&labels).0, "[a]");
        assert_eq!(base(&"Re:".repeat(500_000)).0, "");
        let nested = format!("{}x{}", "[fwd:".repeat(200_000), "]".repeat(200_000));
        assert_eq!(base(&nested).0, "x");
    }

    /// The steps of RFC 5256 §2.1 as they are written, one after the other.
    fn by_the_letter(subject: &str) -> String {
        let mut text = one_space(subject).into_owned();
        loop {
            // 2
            while text.ends_with(' ') || text.to_ascii_lowercase().ends_with("(fwd)") {
                let by = if text.ends_with(' ') { 1 } else { 5 };
                text.truncate(text.len() - by);
            }
            loop {
                let before = text.clone();
                // 3
                if let Some(rest) = text.strip_prefix(' ') {
                    text = rest.to_owned();
                } else {
                    let mut rest = &text[..];
                    let mark = loop {
                        if let Some(after) = without_mark(rest) {
                            break Some(after);
                        }
                        match without_label(rest) {
                            Some(after) => rest = after,
                            None => break None,
                        }
                    };
                    if let Some(after) = mark {
                        text = after.to_owned();
                    }
                }
                // 4
                if let Some(after) = without_label(&text)
                    && !after.trim_matches(' ').is_empty()
                {
                    text = after.to_owned();
                }
                if text == before {
                    break;
                }
            }
            // 6
            let lower = text.to_ascii_lowercase();
            match lower.starts_with("[fwd:") && lower.ends_with(']') {
                true => text = text[5..text.len() - 1].to_owned(),
                false => return text,
            }
        }
    }

    proptest! {
        #[test]
        fn the_base_is_what_the_steps_give(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "re", "Re:", "fw", "FWD", "fwd:", ":", "[", "]", "[x]", "[fwd:", "(fwd)", " ", "  ", "\t", "a", "ü", "(", ")",
                ]),
                0..14,
            )
        ) {
            let subject = pieces.concat();
            prop_assert_eq!(base(&subject).0, by_the_letter(&subject));
        }
    }
}
