//! The share of the audit's space that failed logins may have.
//!
//! The oldest files make room for new lines, so a flood of failures would push out who has logged in, and where from. What must hold: over the whole keep time failures take a
//! bounded part of the space, `BURST_PART` of it at once and `SHARE_PART` spread over the days; a failure that finds its share spent is counted with those of its kind from its
//! network, and such counts are lines too, as soon as the share has room for them. No failure is without a trace.

use std::collections::HashMap;
use std::net::IpAddr;

use plan::settings::Login;

use super::chain::Fields;

/// Of the space: what failures may take at once, and what comes back to them over the keep time.
const BURST_PART: u64 = 16;
const SHARE_PART: u64 = 2;
/// What a line has beside its fields: its number, its hash, and the like.
const LINE_MORE_BYTES: u64 = 160;
/// Lines that stand for many; the largest counts have their own.
const SUMMARIES_MAX: usize = 8;
/// One of them, at most.
const SUMMARY_BYTES: u64 = 512;
/// Kinds that are counted apart meanwhile: some 300 bytes each. Others are counted together.
const KINDS_MAX: usize = 1_024;
const DAY_US: u64 = 86_400_000_000;

#[derive(Debug)]
pub(super) struct Share {
    /// Bytes that may be written now.
    left: u64,
    left_max: u64,
    /// Bytes that come back in a day.
    daily: u64,
    /// Up to when they came back, in microseconds.
    at_us: u64,
    kinds: HashMap<Kind, More>,
    others: Option<More>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    network: String,
    protocol: String,
    outcome: String,
}

#[derive(Debug)]
struct More {
    count: u64,
    line: Fields,
}

impl Default for Share {
    fn default() -> Share {
        Share::of(&Login::default())
    }
}

impl Share {
    pub(super) fn of(settings: &Login) -> Share {
        let bytes = settings.audit_size.0;
        let left_max = (bytes / BURST_PART).max(SUMMARY_BYTES * (SUMMARIES_MAX as u64 + 1));
        Share {
            left: left_max,
            left_max,
            daily: (bytes / SHARE_PART / u64::from(settings.audit_days).max(1)).max(1),
            at_us: 0,
            kinds: HashMap::new(),
            others: None,
        }
    }

    /// A failure that gets a line of its own; `None`: it is counted. `is_crowded`: lines wait, and those of others go first.
    pub(super) fn line(&mut self, fields: Fields, is_crowded: bool, now_us: u64) -> Option<Fields> {
        self.come_back(now_us);
        let bytes = bytes_of(&fields);
        // Behind one that is only counted no line stands alone: it would look as if it were the next one.
        let is_counting = !self.kinds.is_empty() || self.others.is_some();
        if !is_counting && !is_crowded && bytes <= self.left {
            self.left -= bytes;
            return Some(fields);
        }
        self.count(fields);
        None
    }

    /// Lines that stand for those that were counted, where there is room for them; at the end of the process in any case.
    pub(super) fn summaries(&mut self, now_us: u64, ends: bool) -> Vec<Fields> {
        self.come_back(now_us);
        let most = SUMMARY_BYTES * (SUMMARIES_MAX as u64 + 1);
        if self.left < most && !ends {
            return Vec::new();
        }
        let mut all: Vec<More> = self.kinds.drain().map(|(_, more)| more).collect();
        all.sort_by_key(|more| std::cmp::Reverse(more.count));
        let mut others = self.others.take();
        for rest in all.drain(SUMMARIES_MAX.min(all.len())..) {
            add(&mut others, rest);
        }
        let lines: Vec<Fields> = all
            .into_iter()
            .chain(others)
            .map(|more| Fields {
                more: Some(more.count),
                ..more.line
            })
            .collect();
        let bytes: u64 = lines.iter().map(bytes_of).sum();
        self.left = self.left.saturating_sub(bytes);
        lines
    }

    fn count(&mut self, fields: Fields) {
        let network = fields.peer.parse().map_or("-".to_owned(), network_of);
        let kind = Kind {
            network: network.clone(),
            protocol: fields.protocol.clone(),
            outcome: fields.outcome.clone(),
        };
        // Who was tried is of one of them only.
        let more = More {
            count: 1,
            line: Fields {
                peer: network,
                mechanism: "-".to_owned(),
                tls: None,
                user: None,
                app: None,
                what: None,
                ..fields
            },
        };
        if let Some(known) = self.kinds.get_mut(&kind) {
            known.count += 1;
            known.line.unix_s = more.line.unix_s;
        } else if self.kinds.len() < KINDS_MAX {
            self.kinds.insert(kind, more);
        } else {
            add(&mut self.others, more);
        }
    }

    fn come_back(&mut self, now_us: u64) {
        let since_us = u128::from(now_us.saturating_sub(self.at_us));
        let bytes = since_us * u128::from(self.daily) / u128::from(DAY_US);
        if bytes > 0 {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            self.left = self.left.saturating_add(bytes).min(self.left_max);
            self.at_us = now_us;
        }
    }
}

/// Of several kinds only that they failed is left.
fn add(others: &mut Option<More>, one: More) {
    match others {
        Some(others) => {
            others.count += one.count;
            others.line.unix_s = others.line.unix_s.max(one.line.unix_s);
        }
        None => {
            *others = Some(More {
                line: Fields {
                    protocol: "-".to_owned(),
                    peer: "-".to_owned(),
                    outcome: "failed from many networks".to_owned(),
                    ..one.line
                },
                count: one.count,
            });
        }
    }
}

fn bytes_of(fields: &Fields) -> u64 {
    let text = serde_json::to_string(fields).expect("texts and numbers");
    text.len() as u64 + LINE_MORE_BYTES
}

/// As logins are slowed down (`client::login::attempts`): a /24 of IPv4, a /48 of IPv6.
fn network_of(peer: IpAddr) -> String {
    match peer.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            let network = std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0);
            format!("{network}/48")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(number: u32) -> Fields {
        Fields {
            unix_s: 1_800_000_000 + i64::from(number),
            protocol: "imap".to_owned(),
            mechanism: "PLAIN".to_owned(),
            peer: format!("198.51.{}.{}", number / 256 % 256, number % 256),
            tls: None,
            user: Some("ann@example.org".to_owned()),
            app: None,
            outcome: "wrong password".to_owned(),
            more: None,
            what: None,
        }
    }

    #[test]
    fn a_flood_takes_its_share_and_each_failure_is_counted() {
        let settings = Login {
            audit_size: plan::Size(2 << 20),
            audit_days: 100,
            ..Login::default()
        };
        let mut share = Share::of(&settings);
        let (mut bytes, mut counted, mut lines) = (0, 0, 0);
        const DAYS: u32 = 100;
        const A_DAY: u32 = 1_000;
        for number in 0..DAYS * A_DAY {
            let now_us = u64::from(number) * (DAY_US / u64::from(A_DAY));
            let mut written: Vec<Fields> = share
                .line(failure(number), false, now_us)
                .into_iter()
                .collect();
            if number % 100 == 0 {
                written.extend(share.summaries(now_us, false));
            }
            for line in written {
                bytes += bytes_of(&line);
                counted += line.more.unwrap_or(1);
                lines += 1;
                assert!(line.more.is_none() || line.user.is_none());
            }
        }
        for line in share.summaries(u64::from(DAYS) * DAY_US, true) {
            counted += line.more.unwrap_or(1);
        }
        assert_eq!(counted, u64::from(DAYS * A_DAY), "each has a trace");
        assert!(lines > 1_000, "{lines}");
        let share_bytes = (2 << 20) / BURST_PART + (2 << 20) / SHARE_PART;
        assert!(bytes <= share_bytes + SUMMARY_BYTES * 9, "{bytes}");
        assert!(share.kinds.is_empty() && share.others.is_none());
    }

    #[test]
    fn kinds_are_bounded_and_the_largest_have_lines_of_their_own() {
        let mut share = Share::of(&Login::default());
        for number in 0..100_000 {
            let mut one = failure(number);
            one.peer = format!("2001:db8:{:x}::1", number % 5_000);
            if number % 2 == 0 {
                one.peer = "192.0.2.7".to_owned();
            }
            assert_eq!(share.line(one, true, 0), None, "lines wait");
        }
        assert!(share.kinds.len() <= KINDS_MAX);
        let lines = share.summaries(0, false);
        assert_eq!(lines.len(), SUMMARIES_MAX + 1);
        assert_eq!(lines[0].peer, "192.0.2.0/24");
        assert_eq!(lines[0].more, Some(50_000));
        assert!(lines[1].peer.ends_with("/48"), "{}", lines[1].peer);
        let all: u64 = lines.iter().filter_map(|line| line.more).sum();
        assert_eq!(all, 100_000);
        // The next one is a line again.
        assert!(share.line(failure(1), false, 0).is_some());
    }
}
