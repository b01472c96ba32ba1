//! Reverse-paths and forward-paths (RFC 5321 §4.1.2, RFC 6531 §3.3): text in, checked types out, and back again.

use mail::Address;
use mail::address::{DOMAIN_BYTES_MAX, LOCAL_PART_BYTES_MAX};

use crate::limits::PATH_BYTES_MAX;
use crate::reply::Refusal;

/// Where reports about the message go; `Null` for reports themselves (RFC 5321 §4.5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReversePath {
    Null,
    Address(Address),
}

/// Where the message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardPath {
    Address(Address),
    /// `<Postmaster>` without a domain (RFC 5321 §4.1.1.3, §4.5.1): the administrator of this host.
    Postmaster,
}

impl std::fmt::Display for ReversePath {
    /// With the angle brackets, quoted where needed: as it stands in Return-Path.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReversePath::Null => f.write_str("<>"),
            ReversePath::Address(address) => write_path(address, f),
        }
    }
}

impl std::fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ForwardPath::Postmaster => f.write_str("<Postmaster>"),
            ForwardPath::Address(address) => write_path(address, f),
        }
    }
}

fn write_path(address: &Address, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    let local = address.local();
    if is_dot_string(local, true) {
        // Piece by piece: each message has it in its trace fields, and `write!` costs as much again.
        let pieces = ["<", local, "@", address.domain(), ">"];
        return pieces.iter().try_for_each(|piece| f.write_str(piece));
    }
    f.write_str("<\"")?;
    for character in local.chars() {
        if matches!(character, '"' | '\\') {
            f.write_str("\\")?;
        }
        std::fmt::Write::write_char(f, character)?;
    }
    write!(f, "\"@{}>", address.domain())
}

/// Reads the path that `text` begins with (its `<` first) and answers it with what follows the `>`.
///
/// `utf8`: the transaction announced SMTPUTF8. A source route is read and dropped (RFC 5321 §3.6.1, §F.2).
pub(crate) fn parse_reverse(text: &str, utf8: bool) -> Result<(ReversePath, &str), Refusal> {
    if let Some(rest) = text.strip_prefix("<>") {
        return Ok((ReversePath::Null, rest));
    }
    let (address, _, rest) = parse_path(text, utf8)?;
    Ok((ReversePath::Address(address), rest))
}

/// As `parse_reverse`; address literals are for other hosts' mailboxes and refused.
pub(crate) fn parse_forward(text: &str, utf8: bool) -> Result<(ForwardPath, &str), Refusal> {
    const POSTMASTER: &str = "<postmaster>";
    if let Some(head) = text.get(..POSTMASTER.len())
        && head.eq_ignore_ascii_case(POSTMASTER)
    {
        return Ok((ForwardPath::Postmaster, &text[POSTMASTER.len()..]));
    }
    let (address, literal, rest) = parse_path(text, utf8)?;
    if literal {
        return Err(Refusal::AddressLiteral);
    }
    Ok((ForwardPath::Address(address), rest))
}

/// The address, whether its domain is an address literal, and what follows the path.
fn parse_path(text: &str, utf8: bool) -> Result<(Address, bool, &str), Refusal> {
    let inner = text.strip_prefix('<').ok_or(Refusal::BadPath)?;
    let inner = skip_source_route(inner)?;
    let (local, rest) = parse_local_part(inner)?;
    let rest = rest.strip_prefix('@').ok_or(Refusal::BadPath)?;
    let end = rest.find('>').ok_or(Refusal::BadPath)?;
    let (domain, after) = (&rest[..end], &rest[end + 1..]);

    if text.len() - after.len() > PATH_BYTES_MAX
        || local.len() > LOCAL_PART_BYTES_MAX
        || domain.len() > DOMAIN_BYTES_MAX
    {
        return Err(Refusal::BadPath);
    }
    let ascii = local.is_ascii() && domain.is_ascii();
    if !(utf8 || ascii) {
        return Err(Refusal::Utf8NotAnnounced);
    }
    let literal = domain.starts_with('[');
    if !(if literal {
        is_address_literal(domain)
    } else {
        is_domain(domain)
    }) {
        return Err(Refusal::BadPath);
    }
    let address = Address::from_parts(&local, domain).ok_or(Refusal::BadPath)?;
    Ok((address, literal, after))
}

fn skip_source_route(text: &str) -> Result<&str, Refusal> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let (route, rest) = text.split_once(':').ok_or(Refusal::BadPath)?;
    let hosts_ok = route
        .split(',')
        .all(|host| host.strip_prefix('@').is_some_and(is_domain));
    if hosts_ok {
        Ok(rest)
    } else {
        Err(Refusal::BadPath)
    }
}

/// The local part without its quotes, and what follows it.
fn parse_local_part(text: &str) -> Result<(std::borrow::Cow<'_, str>, &str), Refusal> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('@').ok_or(Refusal::BadPath)?;
        if !is_dot_string(&text[..end], true) {
            return Err(Refusal::BadPath);
        }
        return Ok((text[..end].into(), &text[end..]));
    };
    let mut local = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((local.into(), &quoted[at + 1..])),
            '\\' => match characters.next() {
                Some((_, escaped)) if escaped == ' ' || escaped.is_ascii_graphic() => {
                    local.push(escaped)
                }
                _ => return Err(Refusal::BadPath),
            },
            character if character.is_control() => return Err(Refusal::BadPath),
            character => local.push(character),
        }
    }
    Err(Refusal::BadPath)
}

/// RFC 5321 §4.1.2 Dot-string; with `utf8` also RFC 6531 §3.3 UTF8-non-ascii.
fn is_dot_string(text: &str, utf8: bool) -> bool {
    let atext = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
            || (utf8 && byte >= 0x80)
    };
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.bytes().all(atext))
        && !text.chars().any(char::is_control)
}

/// RFC 5321 §4.1.2 Domain, with two deviations: `_` is taken inside labels, for hosts are named so in the wild and nothing
/// here depends on it; UTF-8 is taken as U-labels (RFC 6531 §3.3) without checking IDNA tables.
pub(crate) fn is_domain(text: &str) -> bool {
    let ldh =
        |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte >= 0x80;
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(ldh)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(label)
}

/// RFC 5321 §4.1.3: `[192.0.2.1]` or `[IPv6:2001:db8::1]`. Other tags are not registered.
pub(crate) fn is_address_literal(text: &str) -> bool {
    let Some(inner) = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
    else {
        return false;
    };
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            inner[5..].parse::<std::net::Ipv6Addr>().is_ok()
        }
        _ => inner.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(text: &str) -> Result<String, Refusal> {
        parse_forward(text, false).map(|(path, rest)| format!("{path}{rest}"))
    }

    #[test]
    fn paths_are_read_and_written_alike() {
        for same in [
            "<a@b>",
            "<a.b@c.d>",
            "<\"a b\"@c.d> X=1",
            "<\"a\\\"b\"@c.d>",
            "<a+b@xn--c-1fa.example>",
        ] {
            assert_eq!(forward(same).as_deref(), Ok(same));
        }
        assert_eq!(forward("<\"plain\"@c.d>").as_deref(), Ok("<plain@c.d>"));
        assert_eq!(forward("<POSTmaster>").as_deref(), Ok("<Postmaster>"));
        assert_eq!(forward("<@r1.x,@r2.x:a@b.c>").as_deref(), Ok("<a@b.c>"));
        assert_eq!(parse_reverse("<>", false), Ok((ReversePath::Null, "")));
        assert!(parse_reverse("<a@[192.0.2.7]>", false).is_ok());
        assert!(parse_reverse("<a@[IPv6:2001:db8::7]>", false).is_ok());
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for bad in [
            "",
            "<",
            "a@b",
            "<a@b",
            "<a>",
            "<@b>",
            "<a@>",
            "<a..b@c>",
            "<.a@c>",
            "<a@-b>",
            "<a@b..c>",
            "<a b@c>",
            "<\"a@c>",
            "<\"a\"b@c>",
            "<a@[1.2.3]>",
            "<a@[IPv6:zz]>",
            "<@r:>",
            "<@r1 a@b>",
            "<>",
            "<a@b\u{7f}>",
            "<\"a\\\u{e9}\"@b>",
            "<a<b@c>",
        ] {
            assert_eq!(forward(bad), Err(Refusal::BadPath), "{bad}");
        }
        assert_eq!(forward("<a@[192.0.2.7]>"), Err(Refusal::AddressLiteral));
        assert_eq!(forward("<\u{e9}@b>"), Err(Refusal::Utf8NotAnnounced));
        assert_eq!(
            forward(&format!("<{}@b>", "x".repeat(193))),
            Err(Refusal::BadPath)
        );
        assert!(parse_forward("<\u{e9}@\u{e9}.example>", true).is_ok());
    }
}
