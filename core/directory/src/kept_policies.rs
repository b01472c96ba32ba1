//! Operations on policies of other domains.

use store::Purpose;

use crate::kept_policy::KeptPolicy;
use crate::limits::{
    KEPT_POLICIES_BYTES_MAX, KEPT_POLICIES_MAX, KEPT_POLICY_BYTES_MAX, KEPT_POLICY_ID_BYTES_MAX,
};
use crate::record::Entry;
use crate::whole::{Named, Noun};
use crate::{Directory, DirectoryFault};

/// Held while one enters: what it finds to be in all stays so. Not a name of anything that `name_lock` locks.
const KEPT_POLICIES_LOCK: &str = "kept policies";

impl Directory {
    /// Keeps the policy of `domain` (in A-labels and lower case) in place of an earlier one. Where there is no room, those that ended before
    /// `now_unix_s` are forgotten; where there is still none it is `TooMany`, so that
    /// publishing many policies makes none be forgotten that is still in force.
    /// Durable when it answers.
    pub async fn keep_policy(
        &self,
        domain: &str,
        policy: KeptPolicy,
        now_unix_s: u64,
    ) -> Result<(), DirectoryFault> {
        let fits = policy.text.len() <= KEPT_POLICY_BYTES_MAX
            && policy.id.len() <= KEPT_POLICY_ID_BYTES_MAX
            && (1..=253).contains(&domain.len());
        if !fits {
            return Err(DirectoryFault::Refused("the policy is too long"));
        }
        let inner = &self.inner;
        let rows = 1 + FORGOTTEN_AT_ONCE as u64;
        inner.tenancy.room_for(Purpose::Keep, false, rows).await?;
        let _locked = inner.locks.lock(KEPT_POLICIES_LOCK.to_owned()).await;
        let (count, bytes) = self.kept(domain);
        let added = policy.octets(domain);
        let mut entries = Vec::new();
        if count >= KEPT_POLICIES_MAX || bytes + added > KEPT_POLICIES_BYTES_MAX {
            let ended = self.ended(domain, now_unix_s);
            let freed: usize = ended.iter().map(|(_, bytes)| bytes).sum();
            if count - ended.len() >= KEPT_POLICIES_MAX
                || bytes - freed + added > KEPT_POLICIES_BYTES_MAX
            {
                return Err(DirectoryFault::TooMany(KeptPolicy::NOUNS));
            }
            let gone = ended.into_iter().map(|(name, _)| Named::Remove { name });
            entries.extend(gone.map(Entry::KeptPolicy));
        }
        entries.push(Entry::KeptPolicy(Named::Put {
            name: domain.to_owned(),
            row: policy,
        }));
        // As reclaim takes it, so that it does not write the earlier one behind this. One that ended may come back that way, and does no harm.
        let _name = inner.locks.lock(crate::record::name_lock(domain)).await;
        inner.commit(Purpose::Keep, entries, Vec::new()).await?;
        Ok(())
    }

    /// What is kept of the domain, ended or not.
    pub fn kept_policy(&self, domain: &str) -> Option<KeptPolicy> {
        self.inner.state.borrow().kept_policies.get(domain).cloned()
    }

    /// How many are kept beside that of `domain`, and their octets.
    fn kept(&self, domain: &str) -> (usize, usize) {
        let state = self.inner.state.borrow();
        let all = &state.kept_policies;
        match all.get(domain) {
            Some(own) => (all.count() - 1, all.octets() - own.octets(domain)),
            None => (all.count(), all.octets()),
        }
    }

    fn ended(&self, domain: &str, now_unix_s: u64) -> Vec<(String, usize)> {
        let state = self.inner.state.borrow();
        let ended = state.kept_policies.after(None);
        let ended = ended.filter(|(name, row)| *name != domain && row.ends_unix_s <= now_unix_s);
        let ended = ended.map(|(name, row)| (name.clone(), row.octets(name)));
        ended.take(FORGOTTEN_AT_ONCE).collect()
    }
}

/// Policies that one change forgets, at most.
const FORGOTTEN_AT_ONCE: usize = 100;
