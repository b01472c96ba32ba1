//! SORT (RFC 5256 §3, RFC 5957): what messages are compared by, kept in columns, and the order that follows.
//!
//! `ranked` has what may be kept from one SORT to the next.
//!
//! What must hold: `memory_bytes` is never less than what is held, whatever the headers say. A `Sorter` may go to another thread between
//! two messages.

pub mod ranked;

use std::cmp::Ordering;

use mail::InternalDate;
use mail::header;
use mail::summary::AddressList;
use mail::text::{casemap, date_seconds, decoded_value};

use crate::limits::SORT_KEY_BYTES_MAX;
use crate::subject::base_subject;

/// What can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortField {
    /// INTERNALDATE.
    Arrival,
    /// The mailbox of the first address in Cc.
    Cc,
    /// The Date field, in UTC; INTERNALDATE where it names no day.
    Date,
    /// As `Cc`, in From.
    From,
    /// RFC822.SIZE.
    Size,
    /// The base subject.
    Subject,
    /// As `Cc`, in To.
    To,
    /// RFC 5957 §3: the name that is shown of the first address in From.
    DisplayFrom,
    /// As `DisplayFrom`, in To.
    DisplayTo,
}

impl SortField {
    /// Every field with its word.
    pub const ALL: [(&'static str, SortField); 9] = [
        ("ARRIVAL", SortField::Arrival),
        ("CC", SortField::Cc),
        ("DATE", SortField::Date),
        ("FROM", SortField::From),
        ("SIZE", SortField::Size),
        ("SUBJECT", SortField::Subject),
        ("TO", SortField::To),
        ("DISPLAYFROM", SortField::DisplayFrom),
        ("DISPLAYTO", SortField::DisplayTo),
    ];

    /// Its word on the wire.
    pub fn word(self) -> &'static str {
        let named = SortField::ALL.iter().find(|(_, field)| *field == self);
        named.expect("all are listed").0
    }

    /// Whether the header is looked at.
    fn needs_header(self) -> bool {
        !matches!(self, SortField::Arrival | SortField::Size)
    }
}

/// A field, and which way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortCriterion {
    pub field: SortField,
    /// REVERSE: the greatest first.
    pub reverse: bool,
}

/// The keys of one field, in the order in which the messages were added.
enum Column {
    Numbers(Vec<i64>),
    Texts(Texts),
}

/// Texts in blocks, so that none is copied when there are more.
#[derive(Default)]
struct Texts {
    sealed: Vec<Box<[u8]>>,
    open: Vec<u8>,
    places: Vec<Place>,
}

/// Of one text.
#[derive(Clone, Copy)]
struct Place {
    block: u32,
    begin: u32,
    bytes: u32,
}

/// Gathers the keys of messages, then says in which order they are.
pub struct Sorter {
    /// Each field that a criterion names, once.
    columns: Vec<(SortField, Column)>,
    /// Which column counts first, and which way round.
    criteria: Vec<(usize, bool)>,
    count: u32,
}

/// A block of texts is closed when it is this long.
const BLOCK_BYTES: usize = 64 * 1_024;

impl Sorter {
    /// For `count` messages.
    pub fn new(criteria: &[SortCriterion], count: usize) -> Sorter {
        let mut sorter = Sorter {
            columns: Vec::new(),
            criteria: Vec::new(),
            count: 0,
        };
        for criterion in criteria {
            let field = criterion.field;
            let same = |(other, _): &(SortField, Column)| *other == field;
            let place = sorter.columns.iter().position(same);
            let place = place.unwrap_or_else(|| {
                let column = match field {
                    SortField::Arrival | SortField::Date | SortField::Size => {
                        Column::Numbers(Vec::with_capacity(count))
                    }
                    _ => Column::Texts(Texts {
                        places: Vec::with_capacity(count),
                        ..Texts::default()
                    }),
                };
                sorter.columns.push((field, column));
                sorter.columns.len() - 1
            });
            sorter.criteria.push((place, criterion.reverse));
        }
        sorter
    }

    /// Whether any of `criteria` looks at the header.
    pub fn needs_header(criteria: &[SortCriterion]) -> bool {
        criteria.iter().any(|one| one.field.needs_header())
    }

    /// The next message. `header` holds at least the fields of an ENVELOPE; it may be empty where `needs_header` says no.
    pub fn add(&mut self, internal_date: InternalDate, size_bytes: u32, header: &[u8]) {
        let list = |name| AddressList::of_field(header, name);
        for (field, column) in &mut self.columns {
            match column {
                Column::Numbers(numbers) => numbers.push(match field {
                    SortField::Size => i64::from(size_bytes),
                    SortField::Date => {
                        sent(header::value(header, "Date").as_deref(), internal_date)
                    }
                    _ => internal_date.unix_seconds,
                }),
                Column::Texts(texts) => texts.push(|room| match field {
                    SortField::Cc => put_mailbox(&list("Cc"), room),
                    SortField::From => put_mailbox(&list("From"), room),
                    SortField::To => put_mailbox(&list("To"), room),
                    SortField::DisplayFrom => put_displayed(&list("From"), room),
                    SortField::DisplayTo => put_displayed(&list("To"), room),
                    _ => {
                        let subject = header::value(header, "Subject").unwrap_or_default();
                        casemap(&base_subject(&decoded_value(&subject)).text, room);
                    }
                }),
            }
        }
        self.count += 1;
    }

    /// What it holds, and what `order` adds to that.
    pub fn memory_bytes(&self) -> usize {
        let columns = self.columns.iter().map(|(_, column)| match column {
            Column::Numbers(numbers) => numbers.capacity() * size_of::<i64>(),
            Column::Texts(texts) => texts.memory_bytes(),
        });
        columns.sum::<usize>() + self.count as usize * size_of::<u32>()
    }

    /// The messages, by their places in the order in which they were added. Of equal ones the earlier is first (RFC 5256 §3).
    pub fn order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.count).collect();
        order.sort_unstable_by(|&one, &other| self.compare(one as usize, other as usize));
        order
    }

    fn compare(&self, one: usize, other: usize) -> Ordering {
        for &(column, reverse) in &self.criteria {
            let order = match &self.columns[column].1 {
                Column::Numbers(numbers) => numbers[one].cmp(&numbers[other]),
                Column::Texts(texts) => texts.at(one).cmp(texts.at(other)),
            };
            if order != Ordering::Equal {
                return if reverse { order.reverse() } else { order };
            }
        }
        one.cmp(&other)
    }
}

impl Texts {
    /// A text that `put` appends; the first `SORT_KEY_BYTES_MAX` bytes of it stay.
    fn push(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        if self.open.len() > BLOCK_BYTES {
            let block = std::mem::take(&mut self.open);
            self.sealed.push(block.into_boxed_slice());
        }
        let begin = self.open.len();
        put(&mut self.open);
        self.open.truncate(begin + SORT_KEY_BYTES_MAX);
        self.places.push(Place {
            block: self.sealed.len() as u32,
            begin: begin as u32,
            bytes: (self.open.len() - begin) as u32,
        });
    }

    fn at(&self, index: usize) -> &[u8] {
        let Place {
            block,
            begin,
            bytes,
        } = self.places[index];
        let block = self
            .sealed
            .get(block as usize)
            .map_or(&self.open[..], |block| block);
        &block[begin as usize..(begin + bytes) as usize]
    }

    fn memory_bytes(&self) -> usize {
        let sealed: usize = self.sealed.iter().map(|block| block.len()).sum();
        let blocks = self.sealed.capacity() * size_of::<Box<[u8]>>();
        sealed + blocks + self.open.capacity() + self.places.capacity() * size_of::<Place>()
    }
}

/// RFC 5256 §2.2: when the message with this Date field was sent, in seconds since 1970-01-01.
pub(crate) fn sent(date: Option<&[u8]>, internal_date: InternalDate) -> i64 {
    let date = date.and_then(date_seconds);
    date.unwrap_or(internal_date.unix_seconds)
}

/// The mailbox of the first address, as ENVELOPE has it: of a group it is the name.
fn put_mailbox(list: &AddressList<'_>, room: &mut Vec<u8>) {
    let first = list.iter().next();
    if let Some(mailbox) = first.and_then(|address| address.mailbox) {
        casemap(&String::from_utf8_lossy(&mailbox), room);
    }
}

/// RFC 5957 §3: the name, decoded; without one the address; of a group its name.
fn put_displayed(list: &AddressList<'_>, room: &mut Vec<u8>) {
    let Some(first) = list.iter().next() else {
        return;
    };
    let mailbox = first.mailbox.as_deref().unwrap_or_default();
    let Some(host) = &first.host else {
        return casemap(decoded_value(mailbox).trim(), room);
    };
    let name = first.name.as_deref().map(decoded_value).unwrap_or_default();
    if !name.trim().is_empty() {
        return casemap(name.trim(), room);
    }
    casemap(&String::from_utf8_lossy(mailbox), room);
    room.push(b'@');
    casemap(&String::from_utf8_lossy(host), room);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn criteria(words: &str) -> Vec<SortCriterion> {
        let mut reverse = false;
        let mut all = Vec::new();
        for word in words.split(' ') {
            if word == "REVERSE" {
                reverse = true;
                continue;
            }
            let named = SortField::ALL.iter().find(|(name, _)| *name == word);
            let field = named.expect("a criterion").1;
            all.push(SortCriterion {
                field,
                reverse: std::mem::take(&mut reverse),
            });
        }
        all
    }

    fn order(words: &str, headers: &[&str]) -> Vec<u32> {
        let mut sorter = Sorter::new(&criteria(words), headers.len());
        for (index, header) in headers.iter().enumerate() {
            // Later messages are smaller and came earlier.
            let late = 1_000 - index as i64;
            sorter.add(InternalDate::utc(late), late as u32, header.as_bytes());
        }
        sorter.order()
    }

    #[test]
    fn each_field_is_compared_as_rfc_5256_says() {
        let headers = [
            "Subject: Re: [list] beta\r\nFrom: Zoe <ann@z.example>\r\nTo: x@y\r\nDate: 2 Jan 2000 00:00:00 +0000\r\n",
            "Subject: ALPHA (fwd)\r\nFrom: Ann <Zoe@a.example>\r\nCc: b@y, a@y\r\nDate: 1 Jan 2000 23:59:00 -0500\r\n",
            "Subject: =?utf-8?q?=C3=84lpha?=\r\nFrom: bob@b.example\r\nCc: A@y\r\nTo: team: a@b;\r\n",
        ];
        for (words, wanted) in [
            ("SUBJECT", [1, 2, 0]),
            ("REVERSE SUBJECT", [0, 2, 1]),
            ("FROM", [0, 2, 1]),
            ("DISPLAYFROM", [1, 2, 0]),
            ("CC", [0, 2, 1]),
            ("TO", [1, 2, 0]),
            ("DATE", [2, 0, 1]),
            ("ARRIVAL", [2, 1, 0]),
            ("SIZE", [2, 1, 0]),
            ("REVERSE SIZE SUBJECT", [0, 1, 2]),
            ("REVERSE SUBJECT REVERSE SUBJECT", [0, 2, 1]),
        ] {
            assert_eq!(order(words, &headers), wanted, "{words}");
        }
        assert_eq!(order("SUBJECT", &[]), []);
    }

    #[test]
    fn equal_messages_stay_in_their_order() {
        let headers = [
            "Subject: same\r\n",
            "Subject: Re: SAME\r\n",
            "Subject: same\r\n",
        ];
        assert_eq!(order("SUBJECT", &headers), [0, 1, 2]);
        assert_eq!(
            order("REVERSE SUBJECT", &headers),
            [0, 1, 2],
            "RFC 5256 §3, REVERSE"
        );
        assert_eq!(order("SUBJECT SIZE", &headers), [2, 1, 0]);
    }

    /// RFC 5957 §3.
    #[test]
    fn displayed_names_are_those_that_people_see() {
        let headers = [
            "To: =?utf-8?q?Zo=C3=AB?= <a@b>\r\n",
            "To: \"\" <middle@b>\r\n",
            "To: Friends: a@b;\r\n",
            "",
            "To: amy@b\r\n",
        ];
        assert_eq!(order("DISPLAYTO", &headers), [3, 4, 2, 1, 0]);
    }

    #[test]
    fn memory_does_not_follow_the_length_of_subjects() {
        let long = format!("Subject: {}\r\n", "x".repeat(30_000));
        let headers: Vec<&str> = (0..1_000).map(|_| &long[..]).collect();
        let mut sorter = Sorter::new(&criteria("SUBJECT DISPLAYFROM DATE"), headers.len());
        for header in &headers {
            sorter.add(InternalDate::utc(0), 1, header.as_bytes());
        }
        let bytes = sorter.memory_bytes();
        assert!(bytes >= 1_000 * SORT_KEY_BYTES_MAX, "{bytes}");
        assert!(
            bytes < 1_000 * (SORT_KEY_BYTES_MAX + 100) + 4 * BLOCK_BYTES,
            "{bytes}"
        );
    }

    proptest! {
        /// Against a sort of whole keys.
        #[test]
        fn the_order_is_that_of_the_whole_keys(
            messages in prop::collection::vec((0i64..4, 0u32..4, "(Re: )?[a-cA-C]{0,2}", "[a-c]{1,2}@[x-z]"), 0..40),
            chosen in prop::collection::vec((prop::sample::select(SortField::ALL.to_vec()), any::<bool>()), 1..4),
        ) {
            let chosen: Vec<SortCriterion> = chosen
                .into_iter()
                .map(|((_, field), reverse)| SortCriterion { field, reverse })
                .collect();
            let mut sorter = Sorter::new(&chosen, messages.len());
            let mut reference: Vec<(Vec<String>, u32)> = Vec::new();
            for (index, (seconds, size, subject, address)) in messages.iter().enumerate() {
                let header = format!("Subject: {subject}\r\nFrom: {address}\r\nTo: N {seconds} <{address}>\r\nDate: {} Jan 2001 00:00:00 +0000\r\n", 9 - seconds);
                sorter.add(InternalDate::utc(*seconds), *size, header.as_bytes());
                let mailbox = address[..address.len() - 2].to_uppercase();
                let keys = chosen.iter().map(|criterion| match criterion.field {
                    SortField::Arrival => seconds.to_string(),
                    SortField::Size => size.to_string(),
                    SortField::Date => (9 - seconds).to_string(),
                    SortField::Cc => String::new(),
                    SortField::From | SortField::To => mailbox.clone(),
                    SortField::DisplayFrom => address.to_uppercase(),
                    SortField::DisplayTo => format!("N {seconds}"),
                    SortField::Subject => subject.trim_start_matches("Re: ").to_uppercase(),
                });
                reference.push((keys.collect(), index as u32));
            }
            reference.sort_by(|one, other| {
                let pairs = std::iter::zip(&one.0, &other.0).zip(&chosen);
                let orders = pairs.map(|((one, other), criterion)| match criterion.reverse {
                    true => other.cmp(one),
                    false => one.cmp(other),
                });
                orders.fold(Ordering::Equal, Ordering::then).then(one.1.cmp(&other.1))
            });
            let wanted: Vec<u32> = reference.into_iter().map(|(_, index)| index).collect();
            prop_assert_eq!(sorter.order(), wanted);
        }
    }
}
