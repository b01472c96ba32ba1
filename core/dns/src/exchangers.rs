//! What MX records say, in the order a sender tries them (RFC 5321 §5.1, RFC 7505).

use crate::NameFault;
use crate::limits::EXCHANGERS_MAX;
use crate::name::{self, Name};

/// Where mail for a domain goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchangers {
    /// At least one, at most `limits::EXCHANGERS_MAX`, by preference; those of equal preference in random order. Without MX records the
    /// domain itself, of preference 0.
    Hosts(Vec<Exchanger>),
    /// The domain takes no mail (null MX, RFC 7505): refuse for good, with 5.1.10.
    Nowhere,
}

/// One host that takes mail for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanger {
    /// Lower is preferred.
    pub preference: u16,
    /// In A-labels and lower case, without a dot at the end; an address literal keeps its brackets.
    pub host: String,
}

impl Exchangers {
    /// The domain itself, which has no MX records.
    pub(crate) fn implicit(host: String) -> Exchangers {
        Exchangers::Hosts(vec![Exchanger {
            preference: 0,
            host,
        }])
    }

    /// From the records of a domain that has some. The root stands for itself as an empty host. Of records past the bound the least
    /// preferred are left out.
    pub(crate) fn of(records: impl IntoIterator<Item = (u16, String)>) -> Result<Self, NameFault> {
        let (mut hosts, mut null) = (Vec::new(), false);
        for (preference, host) in records {
            match name::parse(&host) {
                // RFC 5321 §5.1: a host, not an address.
                Some(Name::Host(host)) => hosts.push(Exchanger { preference, host }),
                Some(Name::Literal(_)) => {}
                None => null |= host.is_empty() || host == ".",
            }
        }
        // Each host once, as most preferred.
        hosts.sort_by(|one, other| {
            (&one.host, one.preference).cmp(&(&other.host, other.preference))
        });
        hosts.dedup_by(|one, other| one.host == other.host);
        hosts.sort_by_key(|one| one.preference);
        hosts.truncate(EXCHANGERS_MAX);
        match (hosts.is_empty(), null) {
            (false, _) => Ok(Exchangers::Hosts(hosts)),
            // RFC 7505 §3: it stands alone. Beside other records it says nothing.
            (true, true) => Ok(Exchangers::Nowhere),
            (true, false) => Err(NameFault::Unavailable(
                "no MX record names a host".to_owned(),
            )),
        }
    }

    /// The same, with those of equal preference in random order, which spreads the load (RFC 5321 §5.1).
    pub(crate) fn shuffled(mut self, random: &mut fastrand::Rng) -> Exchangers {
        if let Exchangers::Hosts(hosts) = &mut self {
            for equal in hosts.chunk_by_mut(|one, other| one.preference == other.preference) {
                random.shuffle(equal);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(records: &[(u16, &str)]) -> Result<Exchangers, NameFault> {
        Exchangers::of(records.iter().map(|(at, host)| (*at, (*host).to_owned())))
    }

    fn hosts(exchangers: &Exchangers) -> Vec<(u16, &str)> {
        match exchangers {
            Exchangers::Hosts(hosts) => hosts
                .iter()
                .map(|one| (one.preference, one.host.as_str()))
                .collect(),
            Exchangers::Nowhere => panic!("the domain takes mail"),
        }
    }

    #[test]
    fn the_most_preferred_hosts_are_kept_and_none_twice() {
        let found = of(&[
            (20, "B.example."),
            (10, "c.example"),
            (30, "c.example."),
            (10, "a.example"),
        ]);
        assert_eq!(
            hosts(&found.expect("hosts")),
            [(10, "a.example"), (10, "c.example"), (20, "b.example")]
        );
        let many: Vec<(u16, String)> = (0..100)
            .map(|at| (1_000 - at, format!("m{at}.example")))
            .collect();
        let found = Exchangers::of(many).expect("hosts");
        let kept = hosts(&found);
        assert_eq!(kept.len(), EXCHANGERS_MAX);
        assert_eq!(kept[0], (901, "m99.example"));
    }

    #[test]
    fn a_null_mx_stands_alone() {
        assert_eq!(of(&[(0, ".")]), Ok(Exchangers::Nowhere));
        assert_eq!(of(&[(0, "")]), Ok(Exchangers::Nowhere));
        let beside = of(&[(0, "."), (10, "a.example")]).expect("hosts");
        assert_eq!(hosts(&beside), [(10, "a.example")]);
    }

    #[test]
    fn records_that_name_no_host_are_for_later() {
        for host in ["192.0.2.1", "[192.0.2.1]", "a b.example", "-"] {
            assert!(
                matches!(of(&[(10, host)]), Err(NameFault::Unavailable(_))),
                "{host}"
            );
        }
    }

    #[test]
    fn equal_preferences_take_turns_and_others_keep_their_order() {
        let records = [(10, "a.example"), (10, "b.example"), (20, "c.example")];
        let mut first = std::collections::BTreeSet::new();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..64 {
            let found = of(&records).expect("hosts").shuffled(&mut random);
            let order = hosts(&found);
            assert_eq!(order[2], (20, "c.example"));
            first.insert(order[0].1.to_owned());
        }
        assert_eq!(first.len(), 2, "{first:?}");
    }
}
