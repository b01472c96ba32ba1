//! Filters as people write them (RFC 4515), with places for a user: `{address}`, `{user}` (what is before the @) and `{domain}`.

use crate::ber::{constructed, element, octets};
use crate::limits::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX};

/// A filter that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    text: String,
}

impl Filter {
    /// One sentence where it is not a filter.
    pub fn parse(text: &str) -> Result<Filter, String> {
        let filter = Filter {
            text: text.trim().to_owned(),
        };
        encode(&filter.with("a", "a@example.org", "example.org"))?;
        encode(&filter.for_all())?;
        Ok(filter)
    }

    /// For one user, in BER.
    pub fn of_user(&self, name: &str) -> Result<Vec<u8>, String> {
        let (user, domain) = name.rsplit_once('@').unwrap_or((name, ""));
        encode(&self.with(&escape(user), &escape(name), &escape(domain)))
    }

    /// For all users: whatever stands in the places.
    pub fn of_all(&self) -> Result<Vec<u8>, String> {
        encode(&self.for_all())
    }

    fn for_all(&self) -> String {
        self.with("*", "*", "*")
    }

    /// The three are filled in at once: what is filled in has no places.
    fn with(&self, user: &str, address: &str, domain: &str) -> String {
        let mut out = String::with_capacity(self.text.len() + 64);
        let mut rest = self.text.as_str();
        while let Some(at) = rest.find('{') {
            out += &rest[..at];
            rest = &rest[at..];
            let places = [
                ("{user}", user),
                ("{address}", address),
                ("{domain}", domain),
            ];
            match places.iter().find(|(place, _)| rest.starts_with(place)) {
                Some((place, value)) => {
                    out += value;
                    rest = &rest[place.len()..];
                }
                None => {
                    out.push('{');
                    rest = &rest[1..];
                }
            }
        }
        out + rest
    }
}

/// A value as it stands in a filter (RFC 4515 §3): nothing of it is syntax.
pub fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '*' | '(' | ')' | '\\' | '\0' => out += &format!("\\{:02x}", letter as u32),
            letter => out.push(letter),
        }
    }
    out
}

/// In BER (RFC 4511 §4.5.1.7).
pub fn encode(text: &str) -> Result<Vec<u8>, String> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(format!("the filter has more than {FILTER_BYTES_MAX} bytes"));
    }
    let mut parser = Parser { rest: text };
    let encoded = parser.filter(FILTER_DEPTH_MAX)?;
    match parser.rest {
        "" => Ok(encoded),
        rest => Err(format!("`{rest}` is behind the end of the filter")),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// Recurses at most `depth` times.
    fn filter(&mut self, depth: usize) -> Result<Vec<u8>, String> {
        let deeper = depth.checked_sub(1);
        let deeper =
            deeper.ok_or_else(|| format!("the filter nests more than {FILTER_DEPTH_MAX} deep"))?;
        self.take('(')?;
        let encoded = match self.rest.chars().next() {
            Some('&') => self.list(0xa0, deeper)?,
            Some('|') => self.list(0xa1, deeper)?,
            Some('!') => {
                self.take('!')?;
                constructed(0xa2, &[self.filter(deeper)?])
            }
            _ => self.item()?,
        };
        self.take(')')?;
        Ok(encoded)
    }

    fn list(&mut self, tag: u8, depth: usize) -> Result<Vec<u8>, String> {
        self.rest = &self.rest[1..];
        let mut parts = Vec::new();
        while self.rest.starts_with('(') {
            parts.push(self.filter(depth)?);
        }
        match parts.is_empty() {
            true => Err("`&` and `|` need at least one filter".to_owned()),
            false => Ok(constructed(tag, &parts)),
        }
    }

    fn item(&mut self) -> Result<Vec<u8>, String> {
        // Within a value a parenthesis is escaped.
        let end = self.rest.find(')').ok_or("a `)` is missing")?;
        let (item, rest) = self.rest.split_at(end);
        self.rest = rest;
        let (left, value) = item
            .split_once('=')
            .ok_or_else(|| format!("`{item}` has no `=`"))?;
        if value.contains('(') {
            return Err(format!("`{value}`: write ( as \\28"));
        }
        let (name, tag) = match left.chars().last() {
            Some(':') => return extensible(&left[..left.len() - 1], value),
            Some('>') => (&left[..left.len() - 1], 0xa5),
            Some('<') => (&left[..left.len() - 1], 0xa6),
            Some('~') => (&left[..left.len() - 1], 0xa8),
            _ => (left, 0xa3),
        };
        check_name(name)?;
        if tag == 0xa3 && value == "*" {
            return Ok(element(0x87, name.as_bytes()));
        }
        if tag == 0xa3 && value.contains('*') {
            return substrings(name, value);
        }
        let value = unescape(value)?;
        Ok(constructed(tag, &[octets(name.as_bytes()), octets(&value)]))
    }

    fn take(&mut self, letter: char) -> Result<(), String> {
        match self.rest.strip_prefix(letter) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(format!("`{letter}` is missing before `{}`", self.rest)),
        }
    }
}

fn substrings(name: &str, value: &str) -> Result<Vec<u8>, String> {
    let pieces: Vec<&str> = value.split('*').collect();
    let mut parts = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        if piece.is_empty() {
            continue;
        }
        let tag = match index {
            0 => 0x80,
            last if last + 1 == pieces.len() => 0x82,
            _ => 0x81,
        };
        parts.push(element(tag, &unescape(piece)?));
    }
    match parts.is_empty() {
        // `**`
        true => Ok(element(0x87, name.as_bytes())),
        false => Ok(constructed(
            0xa4,
            &[octets(name.as_bytes()), constructed(0x30, &parts)],
        )),
    }
}

/// `attribute:dn:rule:=value`, of which the rule or the attribute may be missing.
fn extensible(left: &str, value: &str) -> Result<Vec<u8>, String> {
    let mut pieces = left.split(':');
    let name = pieces.next().unwrap_or_default();
    let (mut rule, mut is_dn) = ("", false);
    for piece in pieces {
        match piece {
            "dn" if !is_dn && rule.is_empty() => is_dn = true,
            piece if rule.is_empty() && !piece.is_empty() => rule = piece,
            _ => return Err(format!("`{left}` is not a rule")),
        }
    }
    if name.is_empty() && rule.is_empty() {
        return Err("a rule or an attribute is missing before `:=`".to_owned());
    }
    let mut parts = Vec::new();
    if !rule.is_empty() {
        check_name(rule)?;
        parts.push(element(0x81, rule.as_bytes()));
    }
    if !name.is_empty() {
        check_name(name)?;
        parts.push(element(0x82, name.as_bytes()));
    }
    parts.push(element(0x83, &unescape(value)?));
    if is_dn {
        parts.push(element(0x84, &[0xff]));
    }
    Ok(constructed(0xa9, &parts))
}

fn check_name(name: &str) -> Result<(), String> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-.;_".contains(&byte);
    match !name.is_empty() && name.bytes().all(is_good) {
        true => Ok(()),
        false => Err(format!("`{name}` is not the name of an attribute")),
    }
}

fn unescape(value: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("`{value}`: write \\ as \\5c");
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| (digit as char).to_digit(16));
        let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
        out.push((high << 4 | low) as u8);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_name_is_never_syntax() {
        let filter = Filter::parse("(|(mail={address})(uid={user}))").unwrap();
        for name in [
            "*)(uid=*",
            "a*@example.org",
            "\\2a",
            "a\0b",
            "(",
            "{user}",
            "{address}@x",
        ] {
            let encoded = filter.of_user(name).unwrap();
            let user = name.rsplit_once('@').map_or(name, |(user, _)| user);
            let expected = constructed(
                0xa1,
                &[
                    constructed(0xa3, &[octets(b"mail"), octets(name.as_bytes())]),
                    constructed(0xa3, &[octets(b"uid"), octets(user.as_bytes())]),
                ],
            );
            assert_eq!(encoded, expected, "{name:?}");
        }
        assert_eq!(escape("*)(uid=*"), "\\2a\\29\\28uid=\\2a");
    }

    #[test]
    fn every_form_has_its_bytes() {
        let hex = |text: &str| encode(text).unwrap();
        assert_eq!(hex("(cn=*)"), element(0x87, b"cn"));
        assert_eq!(
            hex("(proxyAddresses=smtp:*)"),
            constructed(
                0xa4,
                &[
                    octets(b"proxyAddresses"),
                    constructed(0x30, &[element(0x80, b"smtp:")])
                ]
            )
        );
        assert_eq!(
            hex("(cn=a*b*c)"),
            constructed(
                0xa4,
                &[
                    octets(b"cn"),
                    constructed(
                        0x30,
                        &[
                            element(0x80, b"a"),
                            element(0x81, b"b"),
                            element(0x82, b"c")
                        ]
                    )
                ]
            )
        );
        assert_eq!(
            hex("(memberOf:1.2.840.113556.1.4.1941:=cn=a,dc=b)"),
            constructed(
                0xa9,
                &[
                    element(0x81, b"1.2.840.113556.1.4.1941"),
                    element(0x82, b"memberOf"),
                    element(0x83, b"cn=a,dc=b")
                ]
            )
        );
        assert_eq!(hex("(n>=5)")[0], 0xa5);
        assert_eq!(hex("(n<=5)")[0], 0xa6);
        assert_eq!(hex("(n~=5)")[0], 0xa8);
        assert_eq!(hex("(&(a=b)(!(c=d)))")[0], 0xa0);
    }

    #[test]
    fn what_is_not_a_filter_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "`(` is missing"),
            ("(a=b", "`)`"),
            ("(a)", "no `=`"),
            ("(&)", "at least one"),
            ("(a=b)(c=d)", "behind the end"),
            ("(a b=c)", "not the name"),
            ("(a=\\zz)", "\\5c"),
            ("(:=x)", "rule"),
        ] {
            let said = Filter::parse(text).expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
        let deep = format!("{}(a=b){}", "(!".repeat(100), ")".repeat(100));
        assert!(encode(&deep).unwrap_err().contains("deep"));
        assert!(encode(&format!("(a={})", "b".repeat(5_000))).is_err());
    }
}
