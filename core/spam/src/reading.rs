//! One look at a message's bytes: what its structure says, and the words in it.
//!
//! Only the first `READ_BYTES_MAX` bytes are looked at, also when people train: the same message always gives the same words.

use mail::header::{self, Field};
use mail::summary::{Content, Part, Summary};
use mail::text;
use mail_parser::decoders::html::html_to_text;

use crate::Points;
use crate::limits::*;
use crate::links::{self, Link};
use crate::weights::*;
use crate::words::{Gathered, Place, Want};

/// A fact of the structure.
/// Facts and not guesses: each can be shown to the person who asks why a message is in Junk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sign {
    NoFrom,
    SeveralFrom,
    NoDate,
    NoMessageId,
    OnlyAnImage,
    OnlyHtml,
    /// An attachment that runs when it is opened.
    Program,
    /// The author's name is an address of another domain.
    NameOfAnother,
    /// A link shows another host than it leads to.
    LinkToAnother,
    LinkToNumber,
    LinkWithUser,
    LoudSubject,
    HiddenLetters,
    TooManyParts,
    Empty,
}

impl Sign {
    #[cfg(test)]
    pub const ALL: [Sign; 15] = [
        Sign::NoFrom,
        Sign::SeveralFrom,
        Sign::NoDate,
        Sign::NoMessageId,
        Sign::OnlyAnImage,
        Sign::OnlyHtml,
        Sign::Program,
        Sign::NameOfAnother,
        Sign::LinkToAnother,
        Sign::LinkToNumber,
        Sign::LinkWithUser,
        Sign::LoudSubject,
        Sign::HiddenLetters,
        Sign::TooManyParts,
        Sign::Empty,
    ];

    pub fn points(self) -> Points {
        match self {
            Sign::NoFrom => NO_FROM,
            Sign::SeveralFrom => SEVERAL_FROM,
            Sign::NoDate => NO_DATE,
            Sign::NoMessageId => NO_MESSAGE_ID,
            Sign::OnlyAnImage => ONLY_AN_IMAGE,
            Sign::OnlyHtml => ONLY_HTML,
            Sign::Program => A_PROGRAM,
            Sign::NameOfAnother => NAME_OF_ANOTHER,
            Sign::LinkToAnother => LINK_TO_ANOTHER,
            Sign::LinkToNumber => LINK_TO_A_NUMBER,
            Sign::LinkWithUser => LINK_WITH_USER,
            Sign::LoudSubject => LOUD_SUBJECT,
            Sign::HiddenLetters => HIDDEN_LETTERS,
            Sign::TooManyParts => TOO_MANY_PARTS,
            Sign::Empty => EMPTY,
        }
    }

    /// As `Reason::text`.
    pub fn text(self) -> &'static str {
        match self {
            Sign::NoFrom => "no From",
            Sign::SeveralFrom => "several From fields",
            Sign::NoDate => "no Date",
            Sign::NoMessageId => "no Message-ID",
            Sign::OnlyAnImage => "only an image",
            Sign::OnlyHtml => "only HTML",
            Sign::Program => "a program attached",
            Sign::NameOfAnother => "the author's name is another address",
            Sign::LinkToAnother => "a link shows another host",
            Sign::LinkToNumber => "a link to a bare address",
            Sign::LinkWithUser => "a link with a user's name",
            Sign::LoudSubject => "a subject in capitals",
            Sign::HiddenLetters => "hidden characters in words",
            Sign::TooManyParts => "too many parts",
            Sign::Empty => "nothing to read",
        }
    }
}

/// What was seen of one message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// Each once, in the order of `Sign`.
    pub signs: Vec<Sign>,
    /// Numbers of its words, ascending, each once, at most `TOKENS_MAX`; empty where they were not wanted.
    pub tokens: Vec<u64>,
}

impl Reading {
    /// Looks at the beginning of `content`, a message that may have trace fields in front.
    pub fn of(content: &[u8], want: Want) -> Reading {
        // A sender who puts a megabyte of harmless text in front gains nothing: it is not read, and what is read is where people look first.
        let content = &content[..content.len().min(READ_BYTES_MAX)];
        let summary = Summary::of(content);
        let mut looking = Looking {
            raw: content,
            signs: Vec::new(),
            words: Gathered::new(want),
            parts: 0,
            links: 0,
            left_bytes: TEXT_BYTES_MAX,
            has_image: false,
            has_plain: false,
            has_html: false,
            has_other: false,
        };
        looking.header();
        looking.part(&summary.root);
        looking.settle(want)
    }
}

struct Looking<'a> {
    raw: &'a [u8],
    signs: Vec<Sign>,
    words: Gathered,
    parts: usize,
    links: usize,
    /// Of text that is still taken.
    left_bytes: usize,
    has_image: bool,
    has_plain: bool,
    has_html: bool,
    has_other: bool,
}

impl Looking<'_> {
    fn header(&mut self) {
        let (mut froms, mut has_date, mut has_id) = (0, false, false);
        for field in header::fields(self.raw) {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
            if is("From") {
                froms += 1;
                // Of several the first is judged, which is the one that programs show.
                if froms == 1 {
                    self.author(&field);
                }
            } else if is("Subject") {
                self.subject(&field);
            } else if is("Date") {
                has_date = true;
            } else if is("Message-ID") {
                has_id = true;
            }
        }
        for (is_so, sign) in [
            (froms == 0, Sign::NoFrom),
            (froms > 1, Sign::SeveralFrom),
            (!has_date, Sign::NoDate),
            (!has_id, Sign::NoMessageId),
        ] {
            if is_so {
                self.signs.push(sign);
            }
        }
    }

    /// The domain as a word, and a name that pretends to be another's address.
    fn author(&mut self, field: &Field<'_>) {
        let value = &field.value[..field.value.len().min(FIELD_BYTES_MAX)];
        let Some(author) = header::addresses(value).next() else {
            return;
        };
        let domain = String::from_utf8_lossy(author.host.as_deref().unwrap_or_default());
        if domain.is_empty() || domain.len() > 255 {
            return;
        }
        self.words.whole(Place::Author, &domain);
        let name = author.name.as_deref().map(text::decoded_value);
        let name = name.unwrap_or_default();
        let pretended = name.rsplit_once('@').map(|(_, host)| host);
        let pretended = pretended.and_then(|host| {
            let is_end = |letter: char| !letter.is_ascii_alphanumeric() && !"-.".contains(letter);
            links::pretended(host.split(is_end).next()?)
        });
        if pretended.is_some_and(|host| !links::is_same_site(host, &domain)) {
            self.signs.push(Sign::NameOfAnother);
        }
    }

    fn subject(&mut self, field: &Field<'_>) {
        let value = &field.value[..field.value.len().min(FIELD_BYTES_MAX)];
        let subject = text::decoded_value(value);
        self.words.text(Place::Subject, &subject);
        let letters = || subject.chars().filter(|letter| letter.is_alphabetic());
        let is_loud = letters().all(|letter| letter.is_uppercase());
        if is_loud && letters().count() >= LOUD_LETTERS_MIN {
            self.signs.push(Sign::LoudSubject);
        }
    }

    /// The recursion is bounded by the summary's depth, and `PARTS_MAX` bounds the parts.
    fn part(&mut self, part: &Part<'_>) {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return;
        }
        match &part.content {
            Content::Multipart(parts) => {
                // One more than are looked at, so that there being too many is seen.
                for part in parts.iter().take(PARTS_MAX + 1) {
                    self.part(part);
                }
            }
            Content::Message(inner) => self.part(&inner.1),
            Content::Leaf | Content::Unread => self.leaf(part),
        }
    }

    fn leaf(&mut self, part: &Part<'_>) {
        let is = |name: &str| part.media_type.eq_ignore_ascii_case(name.as_bytes());
        let names = part.parameters.iter();
        let disposition = part.disposition.iter();
        let names = names.chain(disposition.flat_map(|disposition| &disposition.parameters));
        for (key, value) in names {
            let key = key.trim_ascii_end();
            let is_name = key.len() >= 4 && key[..4].eq_ignore_ascii_case(b"name")
                || key.len() >= 8 && key[..8].eq_ignore_ascii_case(b"filename");
            if is_name && is_program(value) {
                self.signs.push(Sign::Program);
            }
        }
        if part.body_begin >= part.body_end {
            return;
        }
        // Images are not looked into. That there is one matters only beside too little text.
        if is("image") {
            self.has_image = true;
            return;
        }
        if !is("text") || self.left_bytes == 0 {
            self.has_other |= !is("text");
            return;
        }
        let is_html = part.media_subtype.eq_ignore_ascii_case(b"html");
        let text = text::beginning(part, self.raw, self.left_bytes);
        // One budget for all parts: a hundred parts of text cost as much as one.
        self.left_bytes -= text.len().min(self.left_bytes);
        self.links(&text, is_html);
        if is_html {
            self.has_html = true;
            self.words.text(Place::Text, &html_to_text(&text));
        } else {
            self.has_plain = true;
            self.words.text(Place::Text, &text);
        }
    }

    fn links(&mut self, text: &str, is_html: bool) {
        let (words, signs) = (&mut self.words, &mut self.signs);
        let mut count = 0;
        links::scan(
            text,
            is_html,
            LINKS_MAX - self.links.min(LINKS_MAX),
            |link: Link<'_>| {
                count += 1;
                words.whole(Place::Link, link.host);
                if links::is_number(link.host) {
                    signs.push(Sign::LinkToNumber);
                }
                if link.has_user {
                    signs.push(Sign::LinkWithUser);
                }
                let pretended = links::pretended(link.shown);
                if pretended.is_some_and(|host| !links::is_same_site(host, link.host)) {
                    signs.push(Sign::LinkToAnother);
                }
            },
        );
        self.links += count;
    }

    fn settle(mut self, want: Want) -> Reading {
        let has_text = self.words.count >= TEXT_WORDS_MIN;
        for (is_so, sign) in [
            (
                self.has_image && !has_text && !self.has_other,
                Sign::OnlyAnImage,
            ),
            (self.has_html && !self.has_plain, Sign::OnlyHtml),
            (self.words.hidden >= HIDDEN_WORDS_MIN, Sign::HiddenLetters),
            (self.parts > PARTS_MAX, Sign::TooManyParts),
            (
                self.words.count <= EMPTY_WORDS_MAX && !self.has_image && !self.has_other,
                Sign::Empty,
            ),
        ] {
            if is_so {
                self.signs.push(sign);
            }
        }
        self.signs.sort_unstable();
        // Ten links to bare addresses are one reason and not ten: points are for kinds of facts.
        self.signs.dedup();
        Reading {
            signs: self.signs,
            tokens: match want {
                Want::Words => self.words.numbers(),
                Want::Structure => Vec::new(),
            },
        }
    }
}

/// Names that Windows and macOS run when they are opened, also behind blanks and dots.
fn is_program(name: &[u8]) -> bool {
    let name = name.trim_ascii_end();
    // An encoded word ends so; the name within it is not decoded, and its ending is mostly readable as it is.
    let name = name.strip_suffix(b"?=").unwrap_or(name);
    let end = memchr::memrchr(b'.', name).map(|at| &name[at + 1..]);
    end.is_some_and(|end| {
        let is = |known: &&[u8]| end.eq_ignore_ascii_case(known);
        PROGRAMS.iter().any(|known| is(&known.as_bytes()))
    })
}

const PROGRAMS: [&str; 20] = [
    "exe", "scr", "com", "pif", "bat", "cmd", "msi", "js", "jse", "vbs", "vbe", "wsf", "hta",
    "lnk", "jar", "ps1", "cpl", "iso", "img", "vhd",
];
/// Of a field that is looked at.
const FIELD_BYTES_MAX: usize = 2_000;
const LOUD_LETTERS_MIN: usize = 10;
const HIDDEN_WORDS_MIN: usize = 3;
/// Fewer words beside an image are not a text; the author's domain is one.
const TEXT_WORDS_MIN: usize = 12;
/// The author's domain.
const EMPTY_WORDS_MAX: usize = 1;
