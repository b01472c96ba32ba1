//! The settings of the door, checked.

use std::str::FromStr;
use std::time::Duration;

use base::Network;

/// What is done about a peer that looks wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Response {
    /// Nothing is looked at.
    Off,
    /// The message gets a word in its `X-Ringpost-Door` field.
    #[default]
    Mark,
    Refuse,
}

/// Bounds of numbers and rates; 0: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Open connections of one address, over all cores.
    pub address_open: u32,
    /// New connections of one address in a minute.
    pub address_minute: u32,
    /// Open connections of one network, over all cores.
    pub network_open: u32,
    /// New connections of one network in a minute.
    pub network_minute: u32,
    /// Messages of one sender's domain in an hour.
    pub sender_hour: u32,
}

impl Rates {
    pub const NONE: Rates = Rates {
        address_open: 0,
        address_minute: 0,
        network_open: 0,
        network_minute: 0,
        sender_hour: 0,
    };
}

/// RFC 6647: what is not known yet is refused for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greylisting {
    /// How long a peer that is not known has to wait.
    pub delay: Duration,
}

/// One DNSBL or DNSWL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The zone, without a dot at its end.
    pub zone: String,
    /// Negative: it lists good peers.
    pub weight: i32,
    /// Which answers count. Lists have several meanings in one zone.
    pub answers: Answers,
}

/// Which last octets of 127.0.0.x mean that a peer is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers([u64; 4]);

impl Answers {
    pub const ANY: Answers = Answers([u64::MAX; 4]);

    /// Whether 127.0.0.`code` counts.
    pub fn contains(&self, code: u8) -> bool {
        self.0[usize::from(code / 64)] >> (code % 64) & 1 == 1
    }
}

impl FromStr for Answers {
    type Err = &'static str;

    /// Numbers and ranges: `2-4,10`.
    fn from_str(text: &str) -> Result<Answers, &'static str> {
        const FIX: &str = "write numbers and ranges of 0 to 255, as 2-11,15";
        let mut bits = [0u64; 4];
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u8>().map_err(|_| FIX);
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(FIX);
            }
            for code in first..=last {
                bits[usize::from(code / 64)] |= 1 << (code % 64);
            }
        }
        Ok(Answers(bits))
    }
}

/// What the operator decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Peers that no question is asked about.
    pub exempt: Vec<Network>,
    /// Peers that may say by XCLIENT for whom they speak.
    pub xclient: Vec<Network>,
    /// Bounds of connections and messages.
    pub rates: Rates,
    /// Points of failures that ban an address; 0: none do.
    pub ban_points: u32,
    /// Points where replies begin to be delayed; 0: never.
    pub tarpit_points: u32,
    /// What is done about a hello that cannot be the peer's name (`HelloFault`).
    pub hello: Response,
    /// What is done about commands before the greeting or before their turn.
    pub early: Response,
    /// How long a peer's silence is listened to before the greeting; zero: not at all.
    pub greeting_delay: Duration,
    /// `None`: nothing is greylisted.
    pub greylisting: Option<Greylisting>,
    /// Lists that peers are looked up in.
    pub lists: Vec<List>,
    /// Scores from which messages are marked and refused; 0: never.
    pub mark_at: i32,
    /// See `mark_at`.
    pub refuse_at: i32,
    /// A reverse name that does not point back is marked.
    pub reverse_name: bool,
    /// How long look-ups may take from the connection on.
    pub lookup_deadline: Duration,
}

impl Default for Policy {
    /// Nothing is looked up, delayed or refused, but for addresses that fail again and again.
    fn default() -> Policy {
        Policy {
            exempt: loopback(),
            xclient: Vec::new(),
            rates: Rates::NONE,
            ban_points: 20,
            tarpit_points: 5,
            hello: Response::Mark,
            early: Response::Mark,
            greeting_delay: Duration::ZERO,
            greylisting: None,
            lists: Vec::new(),
            mark_at: 1,
            refuse_at: 0,
            reverse_name: false,
            lookup_deadline: Duration::from_secs(5),
        }
    }
}

/// The machine itself.
pub fn loopback() -> Vec<Network> {
    let four = Network::around([127, 0, 0, 0].into(), 8);
    let six = Network::around([0, 0, 0, 0, 0, 0, 0, 1].into(), 128);
    vec![four, six]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_numbers_and_ranges() {
        let codes: Answers = "2-11, 15,255".parse().expect("codes");
        let found: Vec<u8> = (0..=255).filter(|code| codes.contains(*code)).collect();
        assert_eq!(found, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 255]);
        for text in ["", "2-", "-2", "4-2", "256", "a", "2,,3"] {
            assert!(text.parse::<Answers>().is_err(), "{text}");
        }
        assert!((0..=255).all(|code| Answers::ANY.contains(code)));
    }
}
