//! Lists of addresses in the DNS (RFC 5782): what to ask, and what an answer means.
//!
//! A list has a weight: positive for one that lists bad peers (DNSBL), negative for one that lists good ones (DNSWL). The weights of the
//! lists that a peer is on add up to its score.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use base::Time;

use crate::limits::{LIST_TESTED_EVERY, LISTS_MAX, REASON_BYTES_MAX};
use crate::policy::{Answers, List};

/// The name to ask `zone` for `peer` (RFC 5782 §2.1: octets in reverse; §2.4: nibbles of IPv6 in reverse).
pub fn question(peer: IpAddr, zone: &str) -> String {
    let mut name = String::new();
    // Writing to a string cannot fail.
    match peer.to_canonical() {
        IpAddr::V4(address) => {
            for octet in address.octets().iter().rev() {
                let _ = write!(name, "{octet}.");
            }
        }
        IpAddr::V6(address) => {
            for octet in address.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
        }
    }
    name.push_str(zone);
    name
}

/// The name that no working list has (RFC 5782 §5).
pub fn test_question(zone: &str) -> String {
    question(IpAddr::V4(Ipv4Addr::LOCALHOST), zone)
}

/// What one list says of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    Absent,
    /// With the list's reason, if it was asked for and has one.
    Listed {
        reason: Option<String>,
    },
    /// No answer in time, or one that means nothing: it counts for nothing.
    Unknown,
}

/// Whether `addresses`, a list's answer, list the peer. Addresses outside of 127/8 are another's (a domain that was sold, a server that
/// answers every question), and the codes that large lists give to refused questions (127.255.255.0/24) are about us.
pub fn is_listed(addresses: &[IpAddr], answers: &Answers) -> bool {
    addresses
        .iter()
        .any(|address| match address.to_canonical() {
            IpAddr::V4(address) => {
                let [net, .., code] = address.octets();
                let refused = address.octets()[..3] == [127, 255, 255];
                net == 127 && !refused && answers.contains(code)
            }
            IpAddr::V6(_) => false,
        })
}

/// A list's TXT record as it may stand in a reply: one line of printable ASCII, bounded.
pub fn reason(text: &[u8]) -> Option<String> {
    let mut reason = String::new();
    for byte in text.iter().take(REASON_BYTES_MAX) {
        reason.push(match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '?',
        });
    }
    let reason = reason.trim();
    (!reason.is_empty()).then(|| reason.to_owned())
}

/// What all lists together say of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    pub score: i32,
    /// The lists that it is on, by their place in the settings.
    pub on: Vec<usize>,
    /// Of the heaviest list that has one.
    pub reason: Option<String>,
    /// Lists that gave no answer.
    pub unknown: usize,
}

impl Standing {
    /// `listings` in the order of `lists`; those that are missing are unknown.
    pub fn of(lists: &[List], listings: &[Listing]) -> Standing {
        let mut standing = Standing::default();
        let mut heaviest = 0;
        for (at, list) in lists.iter().enumerate().take(LISTS_MAX) {
            match listings.get(at) {
                Some(Listing::Listed { reason }) => {
                    standing.score = standing.score.saturating_add(list.weight);
                    standing.on.push(at);
                    if reason.is_some() && list.weight > heaviest {
                        heaviest = list.weight;
                        standing.reason.clone_from(reason);
                    }
                }
                Some(Listing::Absent) => {}
                Some(Listing::Unknown) | None => standing.unknown += 1,
            }
        }
        standing
    }
}

/// Whether a list works, found out now and then. One for each list on each core.
#[derive(Debug, Clone, Copy, Default)]
pub struct Health {
    tested: Option<Time>,
    /// `None`: it was never known.
    works: Option<bool>,
}

impl Health {
    /// A test is due; the caller makes one.
    pub fn is_due(&mut self, now: Time) -> bool {
        let every_us = LIST_TESTED_EVERY.as_micros() as u64;
        let due = self
            .tested
            .is_none_or(|tested| now.since_us(tested) >= every_us);
        if due {
            self.tested = Some(now);
        }
        due
    }

    /// `has_answer`: the list answered the question that no working list answers. Returns whether that is news.
    pub fn tested(&mut self, has_answer: bool) -> bool {
        let before = self.works.replace(!has_answer);
        before.unwrap_or(true) == has_answer
    }

    /// The test had no answer: the next connection tries again.
    pub fn failed(&mut self) {
        self.tested = None;
    }

    /// Else its answers count for nothing: it lists everything, or that is not known yet.
    pub fn works(&self) -> bool {
        self.works == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn list(zone: &str, weight: i32) -> List {
        List {
            zone: zone.to_owned(),
            weight,
            answers: Answers::ANY,
        }
    }

    #[test]
    fn questions_are_reversed_octets_or_nibbles() {
        assert_eq!(
            question(at("192.0.2.99"), "bad.example"),
            "99.2.0.192.bad.example"
        );
        assert_eq!(
            question(at("::ffff:192.0.2.99"), "bad.example"),
            "99.2.0.192.bad.example"
        );
        // RFC 5782 §2.4's own example.
        assert_eq!(
            question(at("2001:db8:1:2:3:4:567:89ab"), "ugly.example.com"),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.ugly.example.com"
        );
        assert_eq!(test_question("bad.example"), "1.0.0.127.bad.example");
    }

    #[test]
    fn only_answers_of_the_list_s_own_kind_list_a_peer() {
        let any = Answers::ANY;
        assert!(is_listed(&[at("127.0.0.2")], &any));
        assert!(is_listed(&[at("192.0.2.1"), at("127.0.0.4")], &any));
        for foreign in [
            "192.0.2.1",
            "::1",
            "0.0.0.0",
            "127.255.255.254",
            "128.0.0.2",
        ] {
            assert!(!is_listed(&[at(foreign)], &any), "{foreign}");
        }
        assert!(!is_listed(&[], &any));
        let some: Answers = "2-4,10".parse().expect("codes");
        for (code, listed) in [(1, false), (2, true), (4, true), (5, false), (10, true)] {
            let answer = IpAddr::from([127, 0, 0, code]);
            assert_eq!(is_listed(&[answer], &some), listed, "{code}");
        }
    }

    #[test]
    fn weights_add_up_and_what_is_unknown_counts_for_nothing() {
        let lists = [
            list("a.example", 2),
            list("b.example", 3),
            list("white.example", -4),
        ];
        let listed = |reason: Option<&str>| Listing::Listed {
            reason: reason.map(str::to_owned),
        };
        let standing = Standing::of(
            &lists,
            &[
                listed(Some("see a")),
                listed(Some("see b")),
                Listing::Absent,
            ],
        );
        assert_eq!((standing.score, standing.on.as_slice()), (5, &[0, 1][..]));
        assert_eq!(standing.reason.as_deref(), Some("see b"), "of the heaviest");
        let standing = Standing::of(
            &lists,
            &[listed(None), Listing::Unknown, listed(Some("good"))],
        );
        assert_eq!((standing.score, standing.unknown), (-2, 1));
        assert_eq!(
            standing.reason, None,
            "a good list gives no reason to refuse"
        );
        assert_eq!(Standing::of(&lists, &[]).unknown, 3);
        assert_eq!(Standing::of(&lists, &[]).score, 0);
    }

    #[test]
    fn a_reason_is_one_bounded_line() {
        assert_eq!(
            reason(b" see https://x.example?1 ").as_deref(),
            Some("see https://x.example?1")
        );
        assert_eq!(
            reason("a\r\n250 \u{e9}".as_bytes()).as_deref(),
            Some("a??250 ??")
        );
        assert_eq!(reason(b""), None);
        assert_eq!(
            reason(&[b'x'; 5_000]).map(|text| text.len()),
            Some(REASON_BYTES_MAX)
        );
    }

    #[test]
    fn a_list_that_lists_everything_is_off_until_it_is_mended() {
        let mut health = Health::default();
        assert!(health.is_due(Time(0)) && !health.is_due(Time(1)));
        assert!(!health.works(), "not known yet");
        health.failed();
        assert!(health.is_due(Time(0)) && !health.works());
        assert!(!health.tested(false), "no news");
        assert!(health.works() && health.tested(true) && !health.works());
        assert!(!health.tested(true));
        assert!(health.is_due(Time(LIST_TESTED_EVERY.as_micros() as u64)));
        assert!(health.tested(false) && health.works());
    }
}
