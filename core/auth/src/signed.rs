//! What a signature signs of the header: the fields that it names, in canonical form (RFC 6376 §3.4, §5.4.2).
//!
//! A message may carry many signatures that each name many long fields. `Room` bounds what is kept of all of them together.

use mail_auth::AuthenticatedMessage;
use mail_auth::common::headers::Writer;
use mail_auth::dkim::Canonicalization;

use crate::limits::{FIELDS_NAMED_MAX, SIGNED_BYTES_MAX};

/// Bytes that may still be kept of what is signed.
pub(crate) struct Room {
    left: usize,
}

impl Room {
    /// All the room that one message has.
    pub fn of_a_message() -> Room {
        Room {
            left: SIGNED_BYTES_MAX,
        }
    }
}

/// The fields that `named` names, of several with one name the last one first (RFC 6376 §5.4.2), and the signature's `own`. White space before
/// a colon is not a part of a name: such a field beside those that are signed breaks the signature.
pub(crate) fn signed_fields<'a>(
    message: &'a AuthenticatedMessage<'a>,
    form: Canonicalization,
    named: &'a [String],
    own: (&'a [u8], &'a [u8]),
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    // For each name, how many fields at the end were looked at.
    let mut passed: Vec<(&str, usize)> = Vec::new();
    let fields = named.iter().filter_map(move |name| {
        let same = |(of, _): &(&str, usize)| of.eq_ignore_ascii_case(name);
        let at = passed.iter().position(same).unwrap_or_else(|| {
            passed.push((name, 0));
            passed.len() - 1
        });
        let before = &message.headers[..message.headers.len() - passed[at].1];
        let found = before
            .iter()
            .rposition(|(of, _)| of.trim_ascii_end().eq_ignore_ascii_case(name.as_bytes()));
        passed[at].1 = message.headers.len() - found.unwrap_or(0);
        let (of, value) = *before.get(found?)?;
        match form {
            Canonicalization::Relaxed => Some((of.trim_ascii_end(), value)),
            Canonicalization::Simple => Some((of, value)),
        }
    });
    fields.chain([own])
}

/// What is signed, in canonical form; `None`: more than there is room for.
pub(crate) fn signed<'a>(
    form: Canonicalization,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    named: &[String],
    room: &mut Room,
) -> Option<Vec<u8>> {
    struct Bounded {
        bytes: Vec<u8>,
        left: usize,
        over: bool,
    }
    impl Writer for Bounded {
        fn write(&mut self, bytes: &[u8]) {
            match self.left.checked_sub(bytes.len()) {
                Some(left) if !self.over => {
                    self.left = left;
                    self.bytes.extend_from_slice(bytes);
                }
                _ => self.over = true,
            }
        }
    }
    if named.len() > FIELDS_NAMED_MAX {
        return None;
    }
    let mut out = Bounded {
        bytes: Vec::new(),
        left: room.left,
        over: false,
    };
    form.canonicalize_headers(fields, &mut out);
    if out.over {
        return None;
    }
    room.left = out.left;
    Some(out.bytes)
}
