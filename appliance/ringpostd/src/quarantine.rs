//! The quarantine's account at the start, and what is too old in it while the daemon runs.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use inbound::receive::Quarantine;
use plan::quarantine::{QuarantinePlan, Verdict};
use queue::UnixSeconds;
use storage::owner::Owner;
use storage::quarantine::{self, Counters, Why};

/// What receivers do. The daemon starts also where the quarantine cannot be set up now: mail that belongs into it is deferred until the next
/// start, and a note says so.
pub async fn settle(owner: &Owner, plan: &QuarantinePlan) -> (Option<Quarantine>, Option<String>) {
    if plan.verdicts.is_empty() {
        return (None, None);
    }
    let bytes_max = plan.bytes_max;
    let settled = owner
        .ask(move |mailboxes| async move { quarantine::settle(&mailboxes, bytes_max).await })
        .await;
    let settled = match settled {
        Ok(settled) => settled.map_err(|fault| fault.to_string()),
        Err(busy) => Err(busy.to_string()),
    };
    let verdicts = plan.verdicts.iter().map(|verdict| match verdict {
        Verdict::Virus => Why::Virus,
        Verdict::Dmarc => Why::Dmarc,
        Verdict::Scanner => Why::Scanner,
    });
    let (verdicts, note) = (verdicts.collect(), settled.as_ref().err());
    let note = note.map(|why| {
        format!("the quarantine cannot be set up ({why}); mail for it is deferred until ringpostd is restarted")
    });
    let account = settled.ok();
    (Some(Quarantine { verdicts, account }), note)
}

/// Removes what is older than `days`, until the process ends.
pub async fn look_after(owner: Owner, days: u32, counters: Arc<Counters>) {
    loop {
        // until the process ends
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        let before = UnixSeconds(now.saturating_sub(u64::from(days) * DAY_S));
        loop {
            // until nothing is left to remove, or it cannot be removed now
            let counters = counters.clone();
            let swept = owner.ask(move |mailboxes| async move {
                quarantine::expire(&mailboxes, before, &counters).await
            });
            match swept.await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) | Err(_) => break,
                Ok(Err(fault)) => {
                    tracing::debug!(%fault, "what is too old in quarantine stays for now");
                    break;
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

const DAY_S: u64 = 86_400;
/// A message stays an hour too long at most.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    #[test]
    fn the_settings_refuse_the_domain_that_storage_reserves() {
        assert!(storage::quarantine::is_reserved(
            plan::site::QUARANTINE_DOMAIN
        ));
        let own = storage::quarantine::address();
        assert_eq!(own.domain(), plan::site::QUARANTINE_DOMAIN);
    }
}
