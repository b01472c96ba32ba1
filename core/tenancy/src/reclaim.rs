//! One reclaim pass over the records and bodies of all tenants.
//!
//! The store asks one `store::Tenant`; here that is all of them. A body may be wanted by several tenants (a copy in Sent and the
//! queue's entry share one), so each is asked and each follows a move. Records are given to their owners.

use std::collections::HashSet;
use std::rc::Rc;

use store::{BodyRef, LocalFuture, Lsn, Record, StoreFault};
use volume::SegmentIndex;

use crate::{Inner, Tenancy, Tenant, share};

impl Tenancy {
    /// One reclaim pass; the store decides whether there is anything to do. Says how many segments were freed.
    /// A second call while one runs answers 0.
    pub async fn reclaim(&self) -> usize {
        self.inner.reclaim().await
    }
}

impl Inner {
    pub(crate) async fn reclaim(self: &Rc<Self>) -> usize {
        // Two passes could choose the same segment, and each would count on the other's copies.
        if self.reclaiming.replace(true) {
            return 0;
        }
        let _reclaiming = Reclaiming(self);
        let Ok(tenants) = self.tenants() else {
            return 0;
        };
        let freed_count = match self
            .store
            .reclaim(&All {
                tenants,
                inner: self,
            })
            .await
        {
            Ok(freed_count) => freed_count,
            Err(fault) => {
                tracing::error!(%fault, "reclaim failed; the next attempt follows");
                0
            }
        };
        if freed_count > 0 {
            tracing::info!(freed_count, "reclaim freed segments");
        }
        freed_count
    }
}

/// Ends the pass in any case, also when its future is dropped: tenants may hold memory for as long as one runs.
struct Reclaiming<'a>(&'a Inner);
impl Drop for Reclaiming<'_> {
    fn drop(&mut self) {
        for tenant in self.0.tenants().unwrap_or_default() {
            tenant.pass_ended();
        }
        self.0.reclaiming.set(false);
    }
}

/// All tenants, as the store asks for one.
struct All<'i> {
    tenants: Vec<Rc<dyn Tenant>>,
    inner: &'i Inner,
}

impl All<'_> {
    /// Records by owner, each part in log order.
    fn by_owner(&self, records: &[(Lsn, Record)]) -> Result<Vec<Vec<(Lsn, Record)>>, StoreFault> {
        let shares = self.inner.shares();
        let mut parts: Vec<Vec<(Lsn, Record)>> = shares.iter().map(|_| Vec::new()).collect();
        for (lsn, record) in records {
            let owner = shares.iter().position(|share| share.owns(record));
            // A record without an owner is not skipped: reclaim would free its segment and lose what a later release wrote there.
            let owner = owner.ok_or_else(|| share::unknown(record))?;
            parts[owner].push((*lsn, record.clone()));
        }
        Ok(parts)
    }
}

impl store::Tenant for All<'_> {
    fn live_bodies<'a>(
        &'a self,
        segments: &'a [SegmentIndex],
    ) -> LocalFuture<'a, Result<Vec<BodyRef>, StoreFault>> {
        Box::pin(async move {
            let mut live: Vec<BodyRef> = Vec::new();
            for tenant in &self.tenants {
                let more = tenant.live_bodies(segments).await?;
                if live.is_empty() {
                    live = more;
                    continue;
                }
                let known: HashSet<_> = live.iter().map(|body| body.body).collect();
                live.extend(more.into_iter().filter(|body| !known.contains(&body.body)));
            }
            Ok(live)
        })
    }

    fn moved<'a>(
        &'a self,
        pairs: Vec<(BodyRef, BodyRef)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move {
            for tenant in &self.tenants {
                // One after the other, each durable: if the power goes in between, those that did not follow still refer to the old place, which is freed
                // only after all have.
                tenant.moved(pairs.clone()).await?;
            }
            Ok(())
        })
    }

    fn moved_bytes(&self, bodies: &[&BodyRef]) -> u64 {
        self.tenants
            .iter()
            .map(|tenant| tenant.moved_bytes(bodies))
            .sum()
    }

    fn carried_bytes<'a>(
        &'a self,
        records: &'a [(Lsn, Record)],
    ) -> LocalFuture<'a, Result<u64, StoreFault>> {
        Box::pin(async move {
            let mut bytes = 0;
            for (tenant, own) in self.tenants.iter().zip(self.by_owner(records)?) {
                bytes += tenant.carried_bytes(&own).await?;
            }
            Ok(bytes)
        })
    }

    fn carry_forward<'a>(
        &'a self,
        records: Vec<(Lsn, Record)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move {
            let parts = self.by_owner(&records)?;
            drop(records);
            for (tenant, own) in self.tenants.iter().zip(parts) {
                if !own.is_empty() {
                    tenant.carry_forward(own).await?;
                }
            }
            Ok(())
        })
    }
}
