//! A message as scripts see it: its header fields, which `addheader` and `deleteheader` change, and the place where its body begins.
//!
//! The message itself is never changed. When an action uses a header that was edited, the whole new header is kept as an edition.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::addresses::{self, Found};
use crate::encode;
use crate::limits::{ADDED_BYTES_MAX, EDITIONS_COUNT_MAX, FIELDS_COUNT_MAX, HEADER_BYTES_MAX};

pub(crate) struct Field<'m> {
    /// Empty for a line that is not a field; no test finds it, and it stays where it is.
    name: Cow<'m, [u8]>,
    /// Behind the colon, undecoded.
    pub value: Cow<'m, [u8]>,
    /// With its line end.
    raw: Cow<'m, [u8]>,
    /// Made when the first test asks; most fields of a message no rule looks at.
    decoded: OnceCell<String>,
    addresses: OnceCell<Vec<Found>>,
}

impl Field<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.len() == name.len() && self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Unfolded, without white space around it, encoded words decoded (RFC 5228 §2.7.2).
    pub fn decoded(&self) -> &str {
        self.decoded
            .get_or_init(|| mail::text::decoded_value(&self.value).into_owned())
    }

    /// Read once, since many rules ask for the same few fields.
    pub fn addresses(&self) -> &[Found] {
        self.addresses
            .get_or_init(|| addresses::all(&self.value).collect())
    }
}

pub(crate) struct View<'m> {
    raw: &'m [u8],
    /// As they are now, in order.
    fields: Vec<Field<'m>>,
    /// What scripts removed of them.
    removed: Vec<Field<'m>>,
    body_begin: usize,
    added_bytes: usize,
    /// Changed since the last edition was kept.
    is_changed: bool,
    /// Only those that an action used.
    editions: Vec<Vec<u8>>,
}

impl<'m> View<'m> {
    /// `None`: more fields, or more bytes of them, than scripts look at.
    pub fn of(raw: &'m [u8]) -> Option<View<'m>> {
        let mut fields = Vec::with_capacity(32);
        let mut end = 0;
        for field in mail::header::fields(raw) {
            end += field.raw.len();
            if fields.len() == FIELDS_COUNT_MAX || end > HEADER_BYTES_MAX {
                return None;
            }
            fields.push(Field {
                name: Cow::Borrowed(field.name),
                value: Cow::Borrowed(field.value),
                raw: Cow::Borrowed(field.raw),
                decoded: OnceCell::new(),
                addresses: OnceCell::new(),
            });
        }
        let body_begin = match &raw[end..] {
            [b'\r', b'\n', ..] => end + 2,
            [b'\n', ..] => end + 1,
            _ => end,
        };
        Some(View {
            raw,
            fields,
            removed: Vec::new(),
            body_begin,
            added_bytes: 0,
            is_changed: false,
            editions: Vec::new(),
        })
    }

    /// The message as it came.
    pub fn raw(&self) -> &'m [u8] {
        self.raw
    }

    pub fn body(&self) -> &'m [u8] {
        &self.raw[self.body_begin..]
    }

    /// For counting steps: a look for a name passes all of them.
    pub fn fields_count(&self) -> usize {
        self.fields.len()
    }

    /// The fields of a name, in order; case does not count.
    pub fn named(&self, name: &str) -> impl DoubleEndedIterator<Item = &Field<'m>> {
        self.fields.iter().filter(move |field| field.is(name))
    }

    /// As `named`, with those that scripts removed: for rules that no script can take away.
    pub fn ever_named(&self, name: &str) -> impl Iterator<Item = &Field<'m>> {
        let all = self.fields.iter().chain(&self.removed);
        all.filter(move |field| field.is(name))
    }

    /// Whether there is a field of the name, empty or not.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.is(name))
    }

    /// The decoded value of the first field of a name.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.named(name).next().map(Field::decoded)
    }

    /// RFC 5293 §4: in front, or at the end. `false`: there is no room for it.
    pub fn add(&mut self, name: &str, value: &str, last: bool) -> bool {
        let value = encode::ascii(value);
        let raw = encode::field(name, &value).into_bytes();
        self.added_bytes += raw.len();
        if self.added_bytes > ADDED_BYTES_MAX || self.fields.len() == FIELDS_COUNT_MAX {
            return false;
        }
        let field = Field {
            name: Cow::Owned(name.as_bytes().to_vec()),
            value: Cow::Owned(value.into_bytes()),
            raw: Cow::Owned(raw),
            decoded: OnceCell::new(),
            addresses: OnceCell::new(),
        };
        match last {
            true => self.fields.push(field),
            false => self.fields.insert(0, field),
        }
        self.is_changed = true;
        true
    }

    /// RFC 5293 §5: removes the fields of a name that `wanted` answers `true` for. It gets their numbers, which count from 0.
    pub fn delete(&mut self, name: &str, wanted: impl Fn(usize) -> bool) {
        let before = self.fields.len();
        let mut index = 0;
        let removed = self.fields.extract_if(.., |field| {
            let is_named = field.is(name);
            index += usize::from(is_named);
            is_named && wanted(index - 1)
        });
        self.removed.extend(removed);
        self.is_changed |= self.fields.len() != before;
    }

    /// The number of the edition that has the header as it is now; 0 is the message as it came. `None`: there are too many.
    pub fn edition(&mut self) -> Option<usize> {
        if self.is_changed {
            if self.editions.len() == EDITIONS_COUNT_MAX {
                return None;
            }
            self.editions.push(self.header());
            self.is_changed = false;
        }
        Some(self.editions.len())
    }

    /// The headers that were kept.
    pub fn into_editions(self) -> Vec<Vec<u8>> {
        self.editions
    }

    /// The fields as they are now, and the empty line.
    fn header(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(self.body_begin + self.added_bytes);
        for field in &self.fields {
            header.extend_from_slice(&field.raw);
            // The last one of a message without a body may have none.
            if !field.raw.ends_with(b"\n") {
                header.extend_from_slice(b"\r\n");
            }
        }
        header.extend_from_slice(b"\r\n");
        header
    }

    /// Bytes of the message that come behind an edition's header.
    pub fn body_begin(&self) -> usize {
        self.body_begin
    }
}

/// RFC 5322 §2.2.
pub(crate) fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b':')
}
