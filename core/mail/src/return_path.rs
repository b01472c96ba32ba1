//! Return paths of mail that is sent on (SRS, the Sender Rewriting Scheme): an address of ours that says, sealed, where reports go back to.
//!
//! A server that forwards a message under its sender's own address fails that domain's SPF check. So the return path becomes
//! `SRS0=SEAL=TT=domain=local@ours`; a report to it is opened and goes to `local@domain`. A sender that another forwarder has rewritten
//! becomes `SRS1=SEAL=first=rest@ours`: reports go to the first forwarder at once, however long the chain is.
//!
//! The seal is the beginning of a keyed BLAKE3 over everything else, without regard to case, since some servers change it. `TT` is the day modulo
//! 1024. What must hold: an address that was not sealed here, or too long ago, is never opened: a server that opens others is an open relay.
//!
//! There is no RFC of it; the form is that of the SRS draft of 2004, as libsrs2 writes it.

use base::hash::keyed;

use crate::Address;
use crate::address::{DOMAIN_BYTES_MAX, LOCAL_PART_BYTES_MAX};

/// A report may come so many days after the message: longer than any queue keeps one (RFC 5321 §4.5.4.1).
pub const DAYS_MAX: u64 = 21;
/// Five bits each: forty bits of the hash.
const SEAL_LETTERS: usize = 8;
const DAY_S: u64 = 86_400;
/// Two letters of five bits.
const DAYS_MODULO: u64 = 1_024;
/// RFC 4648 §6.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Why a sealed address is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The seal is not ours, or the address was changed.
    Forged,
    /// It is older than `DAYS_MAX` days.
    Expired,
}

/// Whether the address has the form of a sealed one.
pub fn is_sealed(address: &Address) -> bool {
    kind(address.local()).is_some()
}

/// The return path at `domain`, ours, that stands for `sender`. `None`: it would be longer than an address may be.
pub fn seal(sender: &Address, domain: &str, key: &[u8; 32], unix_seconds: u64) -> Option<Address> {
    let local = match kind(sender.local()) {
        Some((Kind::First, rest)) => {
            // Its separator stays: only its own server knows the form.
            let rest = format!("{}={rest}", sender.domain());
            format!("SRS1={}={rest}", tag(key, "SRS1", &rest))
        }
        Some((Kind::Again, rest)) => {
            let (_seal, rest) = rest.get(1..)?.split_once('=')?;
            format!("SRS1={}={rest}", tag(key, "SRS1", rest))
        }
        None => {
            let day = day(unix_seconds);
            let rest = format!("{day}={}={}", sender.domain(), sender.local());
            format!("SRS0={}={rest}", tag(key, "SRS0", &rest))
        }
    };
    let fits =
        local.len() <= LOCAL_PART_BYTES_MAX && local.len() + domain.len() < DOMAIN_BYTES_MAX - 2;
    fits.then(|| Address::from_parts(&local, domain)).flatten()
}

/// Where a report to `address` goes.
pub fn open(address: &Address, key: &[u8; 32], unix_seconds: u64) -> Result<Address, Refused> {
    let (kind, rest) = kind(address.local()).ok_or(Refused::Forged)?;
    let rest = rest.strip_prefix('=').ok_or(Refused::Forged)?;
    let (seal, rest) = rest.split_once('=').ok_or(Refused::Forged)?;
    let word = match kind {
        Kind::First => "SRS0",
        Kind::Again => "SRS1",
    };
    if !seal.eq_ignore_ascii_case(&tag(key, word, rest)) {
        return Err(Refused::Forged);
    }
    match kind {
        Kind::First => {
            let (then, rest) = rest.split_once('=').ok_or(Refused::Forged)?;
            let then = days_of(then).ok_or(Refused::Forged)?;
            let now = unix_seconds / DAY_S % DAYS_MODULO;
            if (now + DAYS_MODULO - then) % DAYS_MODULO > DAYS_MAX {
                return Err(Refused::Expired);
            }
            let (domain, local) = rest.split_once('=').ok_or(Refused::Forged)?;
            Address::from_parts(local, domain).ok_or(Refused::Forged)
        }
        Kind::Again => {
            let (domain, rest) = rest.split_once('=').ok_or(Refused::Forged)?;
            Address::from_parts(&format!("SRS0{rest}"), domain).ok_or(Refused::Forged)
        }
    }
}

/// What a sealed address begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `SRS0`: sealed by the first forwarder.
    First,
    /// `SRS1`: sealed by a later one.
    Again,
}

/// What follows `SRS0` or `SRS1`: a separator first.
fn kind(local: &str) -> Option<(Kind, &str)> {
    let (word, rest) = local.split_at_checked(4)?;
    let kind = match () {
        () if word.eq_ignore_ascii_case("SRS0") => Kind::First,
        () if word.eq_ignore_ascii_case("SRS1") => Kind::Again,
        () => return None,
    };
    rest.starts_with(['=', '+', '-']).then_some((kind, rest))
}

/// The seal over `rest`: `SEAL_LETTERS` letters.
fn tag(key: &[u8; 32], word: &str, rest: &str) -> String {
    let hash = keyed(key, format!("{word}={}", rest.to_lowercase()).as_bytes());
    let letter = |index: usize| {
        let bit = index * 5;
        let two = u16::from_be_bytes([hash[bit / 8], hash[bit / 8 + 1]]);
        LETTERS[usize::from(two >> (11 - bit % 8) & 31)] as char
    };
    (0..SEAL_LETTERS).map(letter).collect()
}

/// The day in two letters.
fn day(unix_seconds: u64) -> String {
    let day = (unix_seconds / DAY_S % DAYS_MODULO) as usize;
    [day >> 5, day & 31]
        .map(|digit| LETTERS[digit] as char)
        .iter()
        .collect()
}

/// The pair of `day`; `None` for other text.
fn days_of(text: &str) -> Option<u64> {
    let digit = |letter: u8| {
        LETTERS
            .iter()
            .position(|one| *one == letter.to_ascii_uppercase())
    };
    match text.as_bytes() {
        [high, low] => Some((digit(*high)? * 32 + digit(*low)?) as u64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const NOW: u64 = 1_790_000_000;

    fn at(text: &str) -> Address {
        let (local, domain) = text.rsplit_once('@').expect("an address");
        Address::from_parts(local, domain).expect("an address")
    }

    #[test]
    fn a_report_goes_back_to_the_sender() {
        for sender in ["ann@example.net", "a=b+c@example.net", "Ann B@x.example"] {
            let sealed = seal(&at(sender), "example.org", &KEY, NOW).expect("it fits");
            assert!(is_sealed(&sealed) && sealed.domain() == "example.org");
            assert_eq!(open(&sealed, &KEY, NOW), Ok(at(sender)));
            let shouted = at(&sealed.to_string().to_uppercase());
            let opened = open(&shouted, &KEY, NOW).expect("case is not kept by all servers");
            assert_eq!(opened.key(), at(sender).key());
        }
    }

    #[test]
    fn a_chain_leads_to_the_first_forwarder() {
        let first = seal(&at("ann@example.net"), "one.example", &[1; 32], NOW).unwrap();
        let second = seal(&first, "two.example", &[2; 32], NOW).unwrap();
        let third = seal(&second, "three.example", &[3; 32], NOW).unwrap();
        assert!(third.local().starts_with("SRS1="));
        assert!(
            third.local().len() <= second.local().len() + 16,
            "it does not grow"
        );
        assert_eq!(open(&third, &[3; 32], NOW), Ok(first.clone()));
        assert_eq!(open(&second, &[2; 32], NOW), Ok(first.clone()));
        assert_eq!(open(&first, &[1; 32], NOW), Ok(at("ann@example.net")));
    }

    #[test]
    fn what_was_not_sealed_here_or_long_ago_stays_shut() {
        let sealed = seal(&at("ann@example.net"), "example.org", &KEY, NOW).unwrap();
        let after = |days: u64| open(&sealed, &KEY, NOW + days * DAY_S);
        assert_eq!(after(DAYS_MAX), Ok(at("ann@example.net")));
        assert_eq!(after(DAYS_MAX + 1), Err(Refused::Expired));
        assert_eq!(open(&sealed, &[8; 32], NOW), Err(Refused::Forged));
        let text = sealed.local().to_owned();
        for (from, to) in [
            ("ann", "bob"),
            ("example.net", "example.com"),
            ("SRS0=", "SRS1="),
        ] {
            let changed = Address::from_parts(&text.replace(from, to), "example.org").unwrap();
            assert_eq!(open(&changed, &KEY, NOW), Err(Refused::Forged), "{changed}");
        }
        for end in 5..text.len() {
            let cut = Address::from_parts(&text[..end], "example.org").unwrap();
            assert_eq!(open(&cut, &KEY, NOW), Err(Refused::Forged), "{cut}");
        }
        for odd in [
            "SRS0=",
            "SRS0====",
            "SRS1=AAAAAAAA=x",
            "srs0+a=b=c=d",
            "ann",
            "SRS0\u{e9}",
        ] {
            assert!(
                open(&at(&format!("{odd}@example.org")), &KEY, NOW).is_err(),
                "{odd}"
            );
        }
    }

    #[test]
    fn a_sender_too_long_has_none() {
        let long = at(&format!("{}@{}.example", "x".repeat(60), "y".repeat(60)));
        assert!(seal(&long, "example.org", &KEY, NOW).is_some());
        let longer = at(&format!("{}@{}.example", "x".repeat(120), "y".repeat(60)));
        assert_eq!(seal(&longer, "example.org", &KEY, NOW), None);
    }
}
