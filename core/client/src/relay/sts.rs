//! MTA-STS, the sender's side (RFC 8461): a domain's policy is looked up before a conversation, fetched over HTTPS where it is new, and kept on
//! the volume until it ends.
//!
//! What must hold:
//! - A policy that is kept counts until its end: neither a record that is gone nor a server that does not answer ends it (§3.3, §5.1).
//! - What cannot be asked of storage, or for want of a connection of ours, is not "no policy": the message waits.
//! - One look at a time for each domain, and no fetch within `STS_AGAIN` of one that failed; what is remembered here is bounded.
//!
//! `fetch.rs` gets a policy. What a policy demands of a server is in `destination.rs` and `line.rs`.

mod fetch;
mod look;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use base::Time;
use base::host::Bell;
use mail::spelling;
use mailbox::names::KeptPolicy;
use sts::{Mode, Policy};

use super::authorities::Authorities;
use super::limits::{STS_KNOWN_MAX, STS_REFRESH_S, STS_UNKEPT_MAX};

pub use fetch::Fault;

/// How policies are fetched and servers are judged.
#[derive(Clone)]
pub struct Settings {
    pub authorities: Authorities,
    /// Of policy servers; 443 except in tests.
    pub port: u16,
}

/// What is known of policies beside what storage keeps.
pub(super) struct Desk {
    pub settings: Settings,
    /// For HTTPS: the certificate is judged after the handshake, on the host's clock.
    pub tls: Arc<rustls::ClientConfig>,
    known: RefCell<BTreeMap<String, Known>>,
    /// Domains that are looked at just now.
    busy: RefCell<BTreeSet<String>>,
    /// Rung when one is no longer.
    free: Bell,
}

/// What came of fetches.
#[derive(Default)]
struct Known {
    /// The last one.
    tried: Time,
    /// Why it failed.
    fault: Option<Fault>,
    /// A server did not meet the policy that is kept: there may be a later one.
    doubted: bool,
    /// The policy that storage had no room for, later than what is kept. It outlives fetches that fail.
    unkept: Option<Rc<InForce>>,
}

/// A policy that counts now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    pub id: String,
    pub policy: Policy,
    pub read_unix_s: u64,
    pub ends_unix_s: u64,
}

/// What a look came to.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub policy: Option<Rc<InForce>>,
    /// The domain has a policy that cannot be fetched, or none that can be read.
    pub fault: Option<Fault>,
}

impl Found {
    /// The policy that servers are held to: of mode `enforce` or `testing`.
    pub fn demanded(&self) -> Option<&Policy> {
        let policy = self.policy.as_ref().map(|found| &found.policy);
        policy.filter(|policy| policy.mode != Mode::None)
    }
}

impl Found {
    /// Nothing is sent to a server that does not meet it.
    pub fn is_enforced(&self) -> bool {
        self.demanded().is_some_and(|one| one.mode == Mode::Enforce)
    }
}

impl InForce {
    fn of(kept: KeptPolicy) -> Option<InForce> {
        Some(InForce {
            policy: Policy::parse(kept.text.as_bytes()).ok()?,
            id: kept.id,
            read_unix_s: kept.read_unix_s,
            ends_unix_s: kept.ends_unix_s,
        })
    }

    /// It is read again from then on, long before it ends (RFC 8461 §3.3); and where the clock was put back since.
    fn is_due(&self, now_unix_s: u64) -> bool {
        let span = (self.policy.max_age_s / 2).min(STS_REFRESH_S);
        now_unix_s >= self.read_unix_s.saturating_add(span) || now_unix_s < self.read_unix_s
    }
}

impl Desk {
    pub fn new(settings: Settings) -> Desk {
        Desk {
            settings,
            tls: super::tls::opportunistic(),
            known: RefCell::default(),
            busy: RefCell::default(),
            free: Bell::new(),
        }
    }

    /// A server did not meet the policy of `domain`: it is fetched again before the next try, if that is allowed by then.
    pub fn doubt(&self, domain: &str) {
        let Some(name) = name_of(domain) else { return };
        self.note(&name, |known| known.doubted = true);
    }

    /// A fetch at `tried` failed.
    fn failed(&self, name: &str, tried: Time, fault: Fault) {
        self.note(name, |known| {
            (known.tried, known.doubted, known.fault) = (tried, false, Some(fault));
        });
    }

    /// A fetch at `tried` brought a policy.
    fn fetched(&self, name: &str, tried: Time, unkept: Option<Rc<InForce>>) {
        self.note(name, |known| {
            *known = Known {
                tried,
                unkept,
                ..Known::default()
            };
        });
    }

    /// Held while the domain is looked at.
    async fn turn(&self, name: &str) -> Turn<'_> {
        loop {
            // until it is our turn
            let wait = self.free.wait();
            if self.busy.borrow_mut().insert(name.to_owned()) {
                return Turn {
                    desk: self,
                    name: name.to_owned(),
                };
            }
            wait.await;
        }
    }

    /// Changes what is known of `name`. Where there is no room, failures are forgotten before policies, and the oldest first.
    fn note(&self, name: &str, change: impl FnOnce(&mut Known)) {
        let mut all = self.known.borrow_mut();
        if all.len() >= STS_KNOWN_MAX && !all.contains_key(name) {
            let oldest = all
                .iter()
                .min_by_key(|(_, known)| (known.unkept.is_some(), known.tried));
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| all.remove(&name));
        }
        let known = all.entry(name.to_owned()).or_default();
        change(known);
        if known.unkept.is_none() {
            return;
        }
        let unkept = all.values_mut().filter(|known| known.unkept.is_some());
        let mut unkept: Vec<&mut Known> = unkept.collect();
        if unkept.len() > STS_UNKEPT_MAX
            && let Some(oldest) = unkept.iter_mut().min_by_key(|known| known.tried)
        {
            oldest.unkept = None;
        }
    }
}

struct Turn<'d> {
    desk: &'d Desk,
    name: String,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.desk.busy.borrow_mut().remove(&self.name);
        self.desk.free.ring();
    }
}

/// The domain in A-labels and lower case. `None`: not a name, and so without a policy.
fn name_of(domain: &str) -> Option<String> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let mut spellings = spelling::domains(domain).into_iter();
    let name = spellings.find(|one| one.is_ascii())?;
    sts::Pattern::of(&name)
        .filter(|name| !name.text().starts_with('*'))
        .map(|name| name.text().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_domain_is_in_a_labels() {
        for (domain, wanted) in [
            ("Example.org", Some("example.org")),
            ("example.org.", Some("example.org")),
            ("b\u{fc}cher.example", Some("xn--bcher-kva.example")),
            ("[192.0.2.1]", None),
            ("*.example.org", None),
            ("", None),
            ("a b", None),
        ] {
            assert_eq!(name_of(domain).as_deref(), wanted, "{domain}");
        }
    }

    fn in_force(max_age_s: u64) -> InForce {
        InForce {
            id: "1".to_owned(),
            policy: Policy {
                mode: Mode::None,
                max_age_s,
                patterns: Vec::new(),
            },
            read_unix_s: 1_000,
            ends_unix_s: 1_000 + max_age_s,
        }
    }

    fn desk() -> Desk {
        Desk::new(Settings {
            authorities: Authorities::of_web(),
            port: 443,
        })
    }

    #[test]
    fn a_policy_that_storage_did_not_take_outlives_fetches_that_fail_and_doubt() {
        let (desk, one) = (desk(), Rc::new(in_force(600)));
        let unkept = || desk.known.borrow()["a.example"].unkept.clone();
        desk.fetched("a.example", Time(1), Some(one.clone()));
        desk.doubt("A.example");
        assert!(desk.known.borrow()["a.example"].doubted);
        desk.failed("a.example", Time(2), Fault::Fetch("no".to_owned()));
        assert_eq!(unkept(), Some(one));
        assert!(!desk.known.borrow()["a.example"].doubted);
        desk.fetched("a.example", Time(3), None);
        assert_eq!(unkept(), None, "a later one is kept");
        assert_eq!(desk.known.borrow()["a.example"].fault, None);
    }

    #[test]
    fn failures_of_others_make_no_policy_be_forgotten_and_all_is_bounded() {
        let (desk, one) = (desk(), Rc::new(in_force(600)));
        desk.fetched("a.example", Time(1), Some(one.clone()));
        for each in 0..STS_KNOWN_MAX as u64 {
            let why = Fault::Fetch("no".to_owned());
            desk.failed(&format!("{each}.example"), Time(2 + each), why);
        }
        assert_eq!(desk.known.borrow().len(), STS_KNOWN_MAX);
        assert!(desk.known.borrow()["a.example"].unkept.is_some());
        assert!(!desk.known.borrow().contains_key("0.example"));
        for each in 0..STS_UNKEPT_MAX as u64 {
            let name = format!("policy{each}.example");
            desk.fetched(&name, Time(10_000 + each), Some(one.clone()));
        }
        let known = desk.known.borrow();
        let unkept = known.values().filter(|known| known.unkept.is_some());
        assert_eq!(unkept.count(), STS_UNKEPT_MAX);
        assert!(known["a.example"].unkept.is_none(), "it was the oldest");
    }

    #[test]
    fn a_policy_is_due_after_a_day_or_half_its_age() {
        let one = in_force;
        assert!(!one(604_800).is_due(1_000 + STS_REFRESH_S - 1));
        assert!(one(604_800).is_due(1_000 + STS_REFRESH_S));
        assert!(!one(600).is_due(1_299) && one(600).is_due(1_300));
        assert!(one(600).is_due(999), "the clock was put back");
    }
}
