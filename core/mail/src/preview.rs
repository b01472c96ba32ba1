//! The beginning of a message's text, for lists of messages (RFC 8970).
//!
//! What must hold: however large the message, so much of it is decoded and no more (`LOOK_BYTES`); what comes out is one line without
//! control characters.

use mail_parser::decoders::html::html_to_text;

use crate::summary::{Content, Part};
use crate::text::beginning;

/// Characters of a preview (RFC 8970 §3.1 asks for about 200, and 256 at most).
pub const PREVIEW_CHARACTERS_MAX: usize = 200;
/// Bytes of a part that are decoded: HTML of newsletters has much style in front of its first words.
const LOOK_BYTES: usize = 32 * 1_024;

/// The first words of the first text in the message; empty where there are none. `front` is the message, or its first bytes.
pub fn preview(root: &Part<'_>, front: &[u8]) -> String {
    let Some(part) = first_text(root) else {
        return String::new();
    };
    let mut part = part.clone();
    part.body_end = part.body_end.min(front.len() as u32);
    let text = beginning(&part, front, LOOK_BYTES);
    match part.media_subtype.eq_ignore_ascii_case(b"html") {
        true => one_line(&html_to_text(&text)),
        false => one_line(&text),
    }
}

/// The first leaf that is text to be read, and not a file. The depth of parts is bounded by the summary's.
fn first_text<'p, 'a>(part: &'p Part<'a>) -> Option<&'p Part<'a>> {
    match &part.content {
        Content::Leaf => {
            let is_file = part
                .disposition
                .as_ref()
                .is_some_and(|disposition| disposition.kind.eq_ignore_ascii_case(b"attachment"));
            let is_text = part.media_type.eq_ignore_ascii_case(b"text")
                && [&b"plain"[..], b"html"]
                    .iter()
                    .any(|kind| part.media_subtype.eq_ignore_ascii_case(kind));
            (is_text && !is_file).then_some(part)
        }
        Content::Multipart(parts) => parts.iter().find_map(first_text),
        Content::Unread | Content::Message(_) => None,
    }
}

/// Words with single blanks between, cut after `PREVIEW_CHARACTERS_MAX` characters. Lines that quote or separate say nothing new.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut characters = 0;
    let said = text
        .lines()
        .filter(|line| !line.starts_with('>') && !line.chars().all(|c| "-=_* \t".contains(c)));
    for word in said.flat_map(str::split_whitespace) {
        let blank = usize::from(characters > 0);
        if characters + blank >= PREVIEW_CHARACTERS_MAX {
            break;
        }
        if blank == 1 {
            line.push(' ');
            characters += 1;
        }
        let printable = word.chars().filter(|c| !c.is_control());
        for character in printable.take(PREVIEW_CHARACTERS_MAX - characters) {
            line.push(character);
            characters += 1;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Summary;

    fn of(raw: &[u8]) -> String {
        preview(&Summary::whole(raw).root, raw)
    }

    #[test]
    fn the_first_text_is_decoded_and_put_in_one_line() {
        let raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b\r\n\
            Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
            Gr=FC=DFe,\r\n\r\n> quoted\r\n  wie   geht's?\r\n-- \r\n--b--\r\n";
        assert_eq!(of(raw), "Gr\u{fc}\u{df}e, wie geht's?");
        assert_eq!(of(b"Subject: x\r\n\r\n"), "");
        assert_eq!(of(b"Content-Type: application/pdf\r\n\r\nabc"), "");
        let file = b"Content-Disposition: attachment\r\n\r\nabc";
        assert_eq!(of(file), "");
    }

    #[test]
    fn html_loses_its_tags_its_style_and_its_scripts() {
        let raw = b"Content-Type: text/html\r\n\r\n<html><head><title>t</title><style>p { color: red }</style></head>\
            <body><script>alert(1)</script><p>Hello&nbsp;<b>you</b> &amp; me</p></body></html>";
        assert_eq!(of(raw), "Hello you & me");
    }

    #[test]
    fn it_is_cut_by_characters_and_a_part_of_the_message_is_enough() {
        let raw = format!("Subject: x\r\n\r\n{}", "\u{e9}\u{e9} ".repeat(50_000));
        let whole = of(raw.as_bytes());
        assert_eq!(whole.chars().count(), PREVIEW_CHARACTERS_MAX);
        let root = &Summary::whole(raw.as_bytes()).root;
        assert_eq!(preview(root, &raw.as_bytes()[..1_000]), whole);
        assert_eq!(preview(root, b""), "");
    }

    #[test]
    fn control_characters_do_not_come_through() {
        assert_eq!(of(b"Subject: x\r\n\r\na\x1bb\x07 c\r\n"), "ab c");
    }
}
