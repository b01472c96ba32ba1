//! BODY and BODYSTRUCTURE (RFC 9051 §7.5.2). Types and parameter names are sent in upper case, as clients have always seen
//! them; their values as written.

use mail::Text;
use mail::summary::{Content, EnvelopeFields, Part};

use super::{put, put_envelope, put_nstring, put_number, put_string};

/// `extended` for BODYSTRUCTURE. `rev2`: the client enabled IMAP4rev2, whose grammar (RFC 9051 §9 `media-message`) describes
/// MESSAGE/GLOBAL as it does MESSAGE/RFC822; in IMAP4rev1 it is a basic type. The recursion is bounded by the summary's depth.
pub fn put_body_structure(out: &mut Vec<u8>, part: &Part<'_>, extended: bool, rev2: bool) {
    out.push(b'(');
    match &part.content {
        Content::Multipart(parts) => {
            for part in parts {
                put_body_structure(out, part, extended, rev2);
            }
            out.push(b' ');
            put_upper(out, &part.media_subtype);
            if extended {
                out.push(b' ');
                put_parameters(out, &part.parameters);
                put_extension(out, part);
            }
        }
        Content::Leaf | Content::Unread | Content::Message(_) => {
            put_upper(out, &part.media_type);
            out.push(b' ');
            put_upper(out, &part.media_subtype);
            out.push(b' ');
            put_parameters(out, &part.parameters);
            out.push(b' ');
            put_nstring(out, part.id.as_deref());
            out.push(b' ');
            put_nstring(out, part.description.as_deref());
            out.push(b' ');
            put_upper(out, part.encoding.as_deref().unwrap_or(b"7BIT"));
            out.push(b' ');
            put_number(out, part.body_end - part.body_begin);
            let global = part.media_subtype.eq_ignore_ascii_case(b"global");
            if let Content::Message(inner) = &part.content
                && (rev2 || !global)
            {
                out.push(b' ');
                put_envelope(out, &EnvelopeFields::of(&inner.0));
                out.push(b' ');
                put_body_structure(out, &inner.1, extended, rev2);
                out.push(b' ');
                put_number(out, part.lines);
            } else if part.media_type.eq_ignore_ascii_case(b"text") {
                out.push(b' ');
                put_number(out, part.lines);
            }
            if extended {
                out.push(b' ');
                put_nstring(out, part.md5.as_deref());
                put_extension(out, part);
            }
        }
    }
    out.push(b')');
}

/// Disposition, language and location.
fn put_extension(out: &mut Vec<u8>, part: &Part<'_>) {
    out.push(b' ');
    match &part.disposition {
        Some(disposition) => {
            out.push(b'(');
            put_upper(out, &disposition.kind);
            out.push(b' ');
            put_parameters(out, &disposition.parameters);
            out.push(b')');
        }
        None => put(out, "NIL"),
    }
    out.push(b' ');
    put_languages(out, part.language.as_deref());
    out.push(b' ');
    put_nstring(out, part.location.as_deref());
}

/// RFC 3282 §2: a list separated by commas.
fn put_languages(out: &mut Vec<u8>, language: Option<&[u8]>) {
    let Some(language) = language else {
        return put(out, "NIL");
    };
    let tags: Vec<&[u8]> = language
        .split(|&byte| byte == b',')
        .map(|tag| {
            // A comment is not part of the tag.
            let tag = tag.trim_ascii();
            let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'(';
            &tag[..tag.iter().position(ends).unwrap_or(tag.len())]
        })
        .filter(|tag| !tag.is_empty())
        .collect();
    match tags[..] {
        [] => put(out, "NIL"),
        [one] => put_string(out, one),
        _ => {
            out.push(b'(');
            for (index, tag) in tags.iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                put_string(out, tag);
            }
            out.push(b')');
        }
    }
}

fn put_parameters(out: &mut Vec<u8>, parameters: &[(Text<'_>, Text<'_>)]) {
    if parameters.is_empty() {
        return put(out, "NIL");
    }
    out.push(b'(');
    for (index, (name, value)) in parameters.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        put_upper(out, name);
        out.push(b' ');
        put_string(out, value);
    }
    out.push(b')');
}

fn put_upper(out: &mut Vec<u8>, text: &[u8]) {
    put_string(out, &text.to_ascii_uppercase());
}
