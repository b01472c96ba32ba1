//! The body of a message as the test `body` sees it (RFC 5173): decoded parts with their types.

use std::cell::OnceCell;

use mail::Summary;
use mail::summary::{Content, Part};
use mail_parser::decoders::html::html_to_text;

use crate::limits::{BODY_BYTES_MAX, BODY_PARTS_COUNT_MAX};

pub(crate) struct BodyPart {
    /// `text/plain`, in lower case.
    media_type: String,
    /// Decoded; a container has the text that stands before its parts, an embedded message its header.
    pub text: String,
    is_leaf: bool,
    readable: OnceCell<String>,
}

/// The parts of a message, outermost first. At most `BODY_BYTES_MAX` of their text are there.
pub(crate) fn parts(raw: &[u8]) -> Vec<BodyPart> {
    let root = Summary::whole(raw).root;
    let mut found = Vec::new();
    let mut left = BODY_BYTES_MAX;
    walk(&root, raw, &mut left, &mut found);
    found
}

/// The recursion is bounded by the summary's depth.
fn walk(part: &Part<'_>, raw: &[u8], left: &mut usize, found: &mut Vec<BodyPart>) {
    if found.len() == BODY_PARTS_COUNT_MAX || *left == 0 {
        return;
    }
    let cut = |begin: u32, end: u32| {
        let bytes = raw.get(begin as usize..end as usize).unwrap_or_default();
        String::from_utf8_lossy(&bytes[..bytes.len().min(*left)]).into_owned()
    };
    let text = match &part.content {
        Content::Leaf | Content::Unread => mail::text::beginning(part, raw, *left),
        Content::Multipart(parts) => {
            let end = parts
                .first()
                .map_or(part.body_begin, |first| first.header_begin);
            cut(part.body_begin, end)
        }
        Content::Message(inner) => cut(inner.1.header_begin, inner.1.body_begin),
    };
    *left = left.saturating_sub(text.len());
    let kind = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_ascii_lowercase();
    found.push(BodyPart {
        media_type: format!("{}/{}", kind(&part.media_type), kind(&part.media_subtype)),
        text,
        is_leaf: matches!(part.content, Content::Leaf | Content::Unread),
        readable: OnceCell::new(),
    });
    match &part.content {
        Content::Leaf | Content::Unread => {}
        Content::Multipart(parts) => parts.iter().for_each(|part| walk(part, raw, left, found)),
        Content::Message(inner) => walk(&inner.1, raw, left, found),
    }
}

impl BodyPart {
    /// RFC 5173 §5.2: an empty word is every type, `text` every subtype of it, anything that is not well-formed matches nothing.
    pub fn has_type(&self, wanted: &str) -> bool {
        // Compared without a copy: a script may name thousands of long types, and each meets each part.
        let kind = self.media_type.split('/').next().unwrap_or_default();
        let is_well_formed = !wanted.starts_with('/') && !wanted.ends_with('/');
        wanted.is_empty()
            || wanted.eq_ignore_ascii_case(kind)
            || (is_well_formed && wanted.eq_ignore_ascii_case(&self.media_type))
    }

    /// RFC 5173 §5.3: what a person would read. HTML comes without its marks.
    pub fn readable(&self) -> Option<&str> {
        match self.is_leaf && self.has_type("text") {
            true if self.has_type("text/html") => {
                Some(self.readable.get_or_init(|| html_to_text(&self.text)))
            }
            true => Some(&self.text),
            false => None,
        }
    }
}
