//! Messages of RFC 4511 that a client sends and reads.

use crate::ber::{
    ENUMERATED, Elements, INTEGER, Malformed, OCTETS, SEQUENCE, SET, constructed, element, number,
    octets, put_number,
};
use crate::limits::{ATTRIBUTES_MAX, NAME_BYTES_MAX, VALUES_MAX};

/// How an operation ended (RFC 4511 §4.1.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub code: u32,
    /// What the server says of it, cut short and without control characters.
    pub text: String,
    /// Where the next page begins (RFC 2696); empty: there is none.
    pub cookie: Vec<u8>,
}

/// One thing that a search found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    pub dn: String,
    /// Name in lower case, with its values. Values that are not text are left out.
    pub attributes: Vec<(String, Vec<String>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The end of a bind, a search or an extended operation.
    Done(Done),
    Entry(Entry),
    /// A reference to another server, or something in between: not followed.
    Other,
}

impl Entry {
    pub fn values(&self, name: &str) -> &[String] {
        let mut found = self.attributes.iter();
        let found = found.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or(&[], |(_, values)| values)
    }

    /// The server gave a part of the values only (Active Directory: `member;range=0-1499`).
    pub fn is_partial(&self, name: &str) -> bool {
        let start = format!("{};range=", name.to_ascii_lowercase());
        self.attributes
            .iter()
            .any(|(known, _)| known.starts_with(&start))
    }
}

/// What a search asks for.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    pub base: &'a str,
    /// In BER.
    pub filter: &'a [u8],
    pub attributes: &'a [String],
    /// 0: as many as there are.
    pub entries_max: u32,
    pub seconds_max: u32,
    /// Page by page: where this one begins.
    pub page: Option<(u32, &'a [u8])>,
}

/// RFC 4511 §4.2, with a simple password. The caller has looked that it is not empty.
pub fn bind(id: u32, dn: &str, password: &[u8]) -> Vec<u8> {
    let parts = [
        put_number(INTEGER, 3),
        octets(dn.as_bytes()),
        element(0x80, password),
    ];
    message(id, constructed(0x60, &parts), &[])
}

/// RFC 4511 §4.5.1.
pub fn search(id: u32, search: &Search<'_>) -> Vec<u8> {
    let attributes = search.attributes.iter();
    let attributes: Vec<Vec<u8>> = attributes.map(|name| octets(name.as_bytes())).collect();
    let parts = [
        octets(search.base.as_bytes()),
        // wholeSubtree
        put_number(ENUMERATED, 2),
        // Aliases are followed nowhere: a loop of them is the server's.
        put_number(ENUMERATED, 0),
        put_number(INTEGER, search.entries_max),
        put_number(INTEGER, search.seconds_max),
        element(0x01, &[0]),
        search.filter.to_vec(),
        constructed(SEQUENCE, &attributes),
    ];
    let controls = search.page.map(|(size, cookie)| {
        let value = constructed(SEQUENCE, &[put_number(INTEGER, size), octets(cookie)]);
        constructed(SEQUENCE, &[octets(PAGED), octets(&value)])
    });
    let controls: Vec<Vec<u8>> = controls.into_iter().collect();
    message(id, constructed(0x63, &parts), &controls)
}

/// RFC 4511 §4.14.1.
pub fn start_tls(id: u32) -> Vec<u8> {
    message(id, constructed(0x77, &[element(0x80, START_TLS)]), &[])
}

fn message(id: u32, operation: Vec<u8>, controls: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = vec![put_number(INTEGER, id), operation];
    if !controls.is_empty() {
        parts.push(constructed(0xa0, controls));
    }
    constructed(SEQUENCE, &parts)
}

/// One message of a server: its number and what it says.
pub fn read(bytes: &[u8]) -> Result<(u32, Answer), Malformed> {
    let mut whole = Elements::new(bytes);
    let mut message = Elements::new(whole.expect(SEQUENCE)?);
    let id = number(message.expect(INTEGER)?)?;
    let (tag, contents) = message.next()?;
    let answer = match tag {
        0x61 | 0x65 | 0x78 => {
            let mut done = done(contents)?;
            if let Some(controls) = message.take_if(0xa0)? {
                done.cookie = cookie(controls)?;
            }
            Answer::Done(done)
        }
        0x64 => Answer::Entry(entry(contents)?),
        0x73 | 0x79 => Answer::Other,
        _ => return Err(Malformed),
    };
    Ok((id, answer))
}

fn done(contents: &[u8]) -> Result<Done, Malformed> {
    let mut elements = Elements::new(contents);
    let code = number(elements.expect(ENUMERATED)?)?;
    elements.expect(OCTETS)?;
    let text = String::from_utf8_lossy(elements.expect(OCTETS)?);
    let text = text.chars().filter(|letter| !letter.is_control());
    Ok(Done {
        code,
        text: text.take(TEXT_LETTERS_MAX).collect(),
        cookie: Vec::new(),
    })
}

/// That of the control for pages, whichever other controls there are.
fn cookie(controls: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut controls = Elements::new(controls);
    while !controls.is_empty() {
        let mut control = Elements::new(controls.expect(SEQUENCE)?);
        if control.expect(OCTETS)? != PAGED {
            continue;
        }
        control.take_if(0x01)?;
        let mut value = Elements::new(control.expect(OCTETS)?);
        let mut value = Elements::new(value.expect(SEQUENCE)?);
        value.expect(INTEGER)?;
        return Ok(value.expect(OCTETS)?.to_vec());
    }
    Ok(Vec::new())
}

fn entry(contents: &[u8]) -> Result<Entry, Malformed> {
    let mut elements = Elements::new(contents);
    // One that is too long for us is that of no user: see `people::find`.
    let dn = text(elements.expect(OCTETS)?).unwrap_or_default();
    let mut list = Elements::new(elements.expect(SEQUENCE)?);
    let (mut attributes, mut count) = (Vec::new(), 0);
    while !list.is_empty() {
        if attributes.len() >= ATTRIBUTES_MAX {
            return Err(Malformed);
        }
        let mut attribute = Elements::new(list.expect(SEQUENCE)?);
        let mut name = text(attribute.expect(OCTETS)?).ok_or(Malformed)?;
        let mut set = Elements::new(attribute.expect(SET)?);
        let mut values = Vec::new();
        while !set.is_empty() {
            if count >= VALUES_MAX {
                name += ";range=0-";
                break;
            }
            count += 1;
            values.extend(text(set.expect(OCTETS)?));
        }
        attributes.push((name.to_ascii_lowercase(), values));
    }
    Ok(Entry { dn, attributes })
}

/// `None`: it is not text, or longer than what is kept.
fn text(contents: &[u8]) -> Option<String> {
    match contents.len() {
        0..=NAME_BYTES_MAX => std::str::from_utf8(contents).ok().map(str::to_owned),
        _ => None,
    }
}

const PAGED: &[u8] = b"1.2.840.113556.1.4.319";
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
const TEXT_LETTERS_MAX: usize = 200;

// Result codes (RFC 4511 §A.1) that mean something to us.
pub const SUCCESS: u32 = 0;
pub const SIZE_LIMIT_EXCEEDED: u32 = 4;
/// timeLimitExceeded, sizeLimitExceeded, adminLimitExceeded.
pub const LIMITS: [u32; 3] = [3, SIZE_LIMIT_EXCEEDED, 11];
/// What a bind answers that says: not with this password. 19 and 53: the account is locked or the password has expired.
pub const WRONG_PASSWORD: [u32; 6] = [
    19, // constraintViolation
    32, // noSuchObject
    48, // inappropriateAuthentication: it has no password
    49, // invalidCredentials
    50, // insufficientAccessRights
    53, // unwillingToPerform
];

/// Of attributes and their values (RFC 4511 §A.1): undefinedAttributeType to invalidAttributeSyntax.
pub const OF_THE_QUESTION: std::ops::RangeInclusive<u32> = 17..=21;
/// busy, unavailable: what a bind answers that says something of the server, and not of the user.
pub const UNWELL: [u32; 2] = [51, 52];

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(id: u32, operation: Vec<u8>) -> Vec<u8> {
        message(id, operation, &[])
    }

    fn result(tag: u8, code: u32, text: &str) -> Vec<u8> {
        let parts = [
            put_number(ENUMERATED, code),
            octets(b""),
            octets(text.as_bytes()),
        ];
        constructed(tag, &parts)
    }

    #[test]
    fn replies_are_read() {
        let (id, answer) = read(&reply(7, result(0x61, 49, "no\r\nway"))).unwrap();
        let Answer::Done(done) = answer else {
            panic!("a result")
        };
        assert_eq!((id, done.code, done.text.as_str()), (7, 49, "noway"));
        let attribute = |name: &str, values: &[&str]| {
            let values: Vec<Vec<u8>> = values.iter().map(|one| octets(one.as_bytes())).collect();
            constructed(
                SEQUENCE,
                &[octets(name.as_bytes()), constructed(SET, &values)],
            )
        };
        let list = constructed(
            SEQUENCE,
            &[
                attribute("Mail", &["a@example.org", "b@example.org"]),
                attribute("member;range=0-1499", &["cn=x"]),
            ],
        );
        let found = constructed(0x64, &[octets(b"cn=a"), list]);
        let (_, answer) = read(&reply(8, found)).unwrap();
        let Answer::Entry(entry) = answer else {
            panic!("an entry")
        };
        assert_eq!(entry.values("mail"), ["a@example.org", "b@example.org"]);
        assert!(entry.values("cn").is_empty());
        assert!(entry.is_partial("member") && !entry.is_partial("mail"));
        assert_eq!(
            read(&reply(9, element(0x73, b"x"))).unwrap().1,
            Answer::Other
        );
    }

    #[test]
    fn the_next_page_is_found_among_other_controls() {
        let control =
            |oid: &[u8], value: &[u8]| constructed(SEQUENCE, &[octets(oid), octets(value)]);
        let value = constructed(SEQUENCE, &[put_number(INTEGER, 0), octets(b"next")]);
        let controls = [control(b"1.2.3", b"x"), control(PAGED, &value)];
        let bytes = message(3, result(0x65, 0, ""), &controls);
        let (_, Answer::Done(done)) = read(&bytes).unwrap() else {
            panic!("a result")
        };
        assert_eq!(done.cookie, b"next");
    }

    /// `ldap3` panics on the first of them.
    #[test]
    fn garbage_is_malformed() {
        let deep = vec![0x30u8; 100_000];
        let nested = (0..60).fold(vec![], |inner, _| element(0x30, &inner));
        for bytes in [
            &b"\x30\x00"[..],
            b"\x30\x03\x02\x01\x01",
            b"",
            b"\x04\x01a",
            &deep,
            &nested,
        ] {
            assert_eq!(read(bytes), Err(Malformed));
        }
    }

    #[test]
    fn requests_are_as_the_rfc_has_them() {
        assert_eq!(
            bind(1, "cn=a", b"pw"),
            b"\x30\x12\x02\x01\x01\x60\x0d\x02\x01\x03\x04\x04cn=a\x80\x02pw"
        );
        assert_eq!(start_tls(1)[..7], *b"\x30\x1d\x02\x01\x01\x77\x18");
    }
}
