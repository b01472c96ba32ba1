//! Which policy of a domain is in force: looked up, fetched where it is new, and kept.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use dns::Names;
use mailbox::names::KeptPolicy;
use runtime::Dial;
use storage::owner::Ask;

use super::{Fault, Found, InForce, name_of};
use crate::relay::limits::{STS_AGAIN, STS_COUNTS_S_MIN};
use crate::relay::sender::Shared;
use crate::relay::verdict::{Class, Said, Verdict};

impl<K: Ask, N: Names, D: Dial> Shared<K, N, D> {
    /// The policy of `domain`. `Err`: it cannot be known now.
    pub(in crate::relay) async fn policy(&self, domain: &str) -> Result<Found, Verdict> {
        let Some((desk, name)) = self.sts.as_ref().zip(name_of(domain)) else {
            return Ok(Found::default());
        };
        // One look at a domain at a time. A hundred messages for it would otherwise fetch its policy a hundred times.
        let _turn = desk.turn(&name).await;
        let now_unix_s = self.unix_now().0;
        let kept = self.kept(&name).await?;
        // What storage had no room for is later than what it has.
        let unkept = {
            let known = desk.known.borrow();
            known.get(&name).and_then(|known| known.unkept.clone())
        };
        let policy = unkept.or(kept);
        let policy = policy.filter(|one| now_unix_s < one.ends_unix_s);
        // Without an answer, too, what is kept counts; what is not kept cannot be known to be there (RFC 8461 §10.2).
        let texts = self.names.texts(&format!("_mta-sts.{name}")).await;
        let Some(id) = texts.ok().and_then(|texts| sts::id(&texts)) else {
            return Ok(Found {
                policy,
                fault: None,
            });
        };
        let now = self.caller.host.now();
        let (mut fault, mut may_fetch, mut is_doubted) = (None, true, false);
        if let Some(known) = desk.known.borrow().get(&name) {
            fault = known.fault.clone();
            // A domain whose web server fails is not asked again with each message.
            may_fetch = now.since_us(known.tried) >= STS_AGAIN.as_micros() as u64;
            is_doubted = known.doubted;
        }
        let is_present = policy
            .as_ref()
            .is_some_and(|one| one.id == id && !one.is_due(now_unix_s) && !is_doubted);
        if is_present || !may_fetch {
            return Ok(Found { policy, fault });
        }
        let fetched = self.fetch(desk, &name).await;
        let found = match fetched {
            // What cannot be asked from here is not "no policy".
            Err(Fault::Busy) if policy.is_none() => {
                let said = Said::ours("4.3.2", Fault::Busy);
                return Err(Verdict::Later(Class::Ours, said));
            }
            Err(Fault::Stopping | Fault::Busy) => Found {
                policy,
                fault: None,
            },
            Err(fault) => {
                self.counters.policy_faults.fetch_add(1, Relaxed);
                tracing::warn!(domain = name, %fault, "the policy of MTA-STS cannot be had");
                desk.failed(&name, now, fault.clone());
                Found {
                    policy,
                    fault: Some(fault),
                }
            }
            Ok(read) => {
                let one = Rc::new(InForce {
                    id,
                    ends_unix_s: now_unix_s.saturating_add(read.max_age_s.max(STS_COUNTS_S_MIN)),
                    policy: read,
                    read_unix_s: now_unix_s,
                });
                let is_kept = self.keep(&name, &one).await;
                desk.fetched(&name, now, (!is_kept).then(|| one.clone()));
                Found {
                    policy: Some(one),
                    fault: None,
                }
            }
        };
        Ok(found)
    }

    async fn kept(&self, name: &str) -> Result<Option<Rc<InForce>>, Verdict> {
        let asked = name.to_owned();
        let kept = self.owner.ask_outgoing(move |outgoing| async move {
            outgoing.mailboxes().directory().kept_policy(&asked)
        });
        match kept.await {
            Ok(kept) => Ok(kept.and_then(InForce::of).map(Rc::new)),
            Err(busy) => Err(Verdict::Later(Class::Ours, Said::ours("4.3.0", busy))),
        }
    }

    /// Whether storage took it. Otherwise it counts for as long as this process remembers it.
    async fn keep(&self, name: &str, one: &InForce) -> bool {
        let (domain, now_unix_s) = (name.to_owned(), one.read_unix_s);
        let kept = KeptPolicy {
            id: one.id.clone(),
            text: one.policy.text(),
            read_unix_s: one.read_unix_s,
            ends_unix_s: one.ends_unix_s,
        };
        let kept = self.owner.ask_outgoing(move |outgoing| async move {
            let directory = outgoing.mailboxes().directory();
            directory.keep_policy(&domain, kept, now_unix_s).await
        });
        let why = match kept.await {
            Ok(Ok(())) => return true,
            Ok(Err(fault)) => fault.to_string(),
            Err(busy) => busy.to_string(),
        };
        tracing::warn!(domain = name, why, "a policy of MTA-STS is not kept");
        false
    }
}
