//! Links in text and in HTML: where they lead, and what they pretend.

/// One link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link<'a> {
    /// As it is written, without port and user.
    pub host: &'a str,
    /// A user's name before the host: `http://bank.example@evil.example/`.
    pub has_user: bool,
    /// What a reader sees, tags included, where it is HTML.
    pub shown: &'a str,
}

/// Calls `each` with the links of `text`, at most `count_max`.
pub(crate) fn scan<'a>(
    text: &'a str,
    is_html: bool,
    count_max: usize,
    mut each: impl FnMut(Link<'a>),
) {
    let mut rest = text;
    for _ in 0..count_max {
        let Some(at) = memchr::memmem::find(rest.as_bytes(), b"://") else {
            return;
        };
        // ASCII: a boundary of characters.
        let (before, after) = (&rest[..at], &rest[at + 3..]);
        rest = after;
        let scheme = before.len().min(5);
        let scheme = before.as_bytes()[before.len() - scheme..].to_ascii_lowercase();
        if !scheme.ends_with(b"http") && !scheme.ends_with(b"https") {
            continue;
        }
        let is_end = |byte: &u8| {
            !byte.is_ascii_graphic() && byte.is_ascii() || b"/?#\"'<>\\)".contains(byte)
        };
        let authority = authority(after, is_end);
        let (user, host) = match authority.rsplit_once('@') {
            Some((_, host)) => (true, host),
            None => (false, authority),
        };
        let host = match host.strip_prefix('[') {
            Some(literal) => literal.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        if host.is_empty() {
            continue;
        }
        let shown = if is_html { shown(after) } else { "" };
        each(Link {
            host,
            has_user: user,
            shown,
        });
    }
}

fn authority(after: &str, is_end: impl Fn(&u8) -> bool) -> &str {
    let bytes = &after.as_bytes()[..after.len().min(AUTHORITY_BYTES_MAX)];
    let end = bytes.iter().position(is_end).unwrap_or(bytes.len());
    // A cut at the bound may be within a character.
    after.get(..end).unwrap_or_default()
}

/// From the end of the tag to the next one that closes a link.
fn shown(after: &str) -> &str {
    let near = &after[..after.floor_char_boundary(SHOWN_BYTES_MAX)];
    let Some(begin) = memchr::memchr(b'>', near.as_bytes()) else {
        return "";
    };
    let near = &near[begin + 1..];
    let end = memchr::memmem::find(near.as_bytes(), b"</a").unwrap_or(0);
    &near[..end]
}

/// The host that `shown` pretends to lead to: `www.bank.example` or `https://bank.example/x`. `None`: it is not one address alone.
pub(crate) fn pretended(shown: &str) -> Option<&str> {
    let shown = shown.trim();
    let shown = shown.rsplit_once("://").map_or(shown, |(_, rest)| rest);
    let host = shown
        .split(['/', '?', '#', ':'])
        .next()?
        .trim_end_matches('.');
    let is_host = host.contains('.')
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    let top = host.rsplit('.').next()?;
    (is_host && top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic()))
        .then_some(host)
}

/// Whether two hosts belong together, about: their last two labels are the same.
pub(crate) fn is_same_site(one: &str, other: &str) -> bool {
    let site = |host: &str| -> Vec<String> {
        let host = host.trim_end_matches('.');
        host.rsplit('.')
            .take(2)
            .map(str::to_ascii_lowercase)
            .collect()
    };
    site(one) == site(other)
}

pub(crate) fn is_number(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok()
        || !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_digit())
}

const AUTHORITY_BYTES_MAX: usize = 300;
const SHOWN_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn links(text: &str) -> Vec<Link<'_>> {
        let mut links = Vec::new();
        scan(text, true, 64, |link| links.push(link));
        links
    }

    #[test]
    fn hosts_are_found_without_port_user_and_path() {
        let found = links(
            "HTTPS://Shop.example:8443/a?b ftp://no.example http://bank.example@evil.example#x http://[2001:db8::1]/ http://192.0.2.1 ://x",
        );
        let hosts: Vec<_> = found
            .iter()
            .map(|link| (link.host, link.has_user))
            .collect();
        assert_eq!(
            hosts,
            [
                ("Shop.example", false),
                ("evil.example", true),
                ("2001:db8::1", false),
                ("192.0.2.1", false)
            ]
        );
        assert!(is_number("2001:db8::1") && is_number("192.0.2.1") && is_number("3232235777"));
        assert!(!is_number("evil.example"));
    }

    #[test]
    fn what_a_link_shows_is_compared_with_where_it_leads() {
        let found =
            links("<a class=x href=\"http://evil.example/\" id=1> www.bank.example/login </a>");
        let shown = pretended(found[0].shown).unwrap();
        assert_eq!(shown, "www.bank.example");
        assert!(!is_same_site(shown, found[0].host));
        assert!(is_same_site("www.bank.example", "login.BANK.example."));
        for text in ["click here", "a.b", "1.5", "see bank.example now", ""] {
            assert_eq!(pretended(text), None, "{text}");
        }
    }

    #[test]
    fn no_cut_is_within_a_character() {
        for fill in 0..5 {
            let text = format!("http://{}{}", "a".repeat(fill), "ä".repeat(2_000));
            assert!(links(&text).len() <= 1);
            let text = format!(
                "http://x.example/{}>{}</a>",
                "a".repeat(fill),
                "ä".repeat(2_000)
            );
            assert_eq!(links(&text).len(), 1);
        }
    }
}
