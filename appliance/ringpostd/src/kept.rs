//! Mail that POP3 clients deleted: the rules of the settings, and what is over of it while the daemon runs.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mail::Address;
use plan::pop3::Pop3Plan;
use storage::kept::{self, Clock, Counters, Rule, Rules};
use storage::owner::Owner;

/// The rules as storage compares them.
pub fn rules(plan: &Pop3Plan) -> Rules {
    let mut rules = Rules {
        folder: plan.keep_in.clone(),
        days: plan.keep_days,
        ..Rules::default()
    };
    for rule in &plan.keep {
        let days = rule.days;
        if let Some(address) = rule.account.as_deref().and_then(Address::from_path) {
            let of = address.key();
            rules.accounts.push(Rule { of, days });
        }
        if let Some(domain) = &rule.domain {
            let of = domain.to_lowercase();
            rules.domains.push(Rule { of, days });
        }
    }
    rules
}

/// Removes what is kept long enough, until the process ends.
pub async fn look_after(owner: Owner, rules: Arc<Rules>, counters: Arc<Counters>) {
    let begun = Instant::now();
    let now_s = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |since| since.as_secs())
    };
    let mut clock = Clock::new(now_s(), 0);
    loop {
        // until the process ends
        tokio::time::sleep(LOOK_EVERY).await;
        let now = clock.believed(now_s(), begun.elapsed().as_secs());
        let mut after: Option<String> = None;
        loop {
            // until all accounts were looked at, or one cannot be
            let (rules, counters) = (rules.clone(), counters.clone());
            let looked = owner.ask(move |mailboxes| async move {
                kept::expire(&mailboxes, &rules, after.as_deref(), now, &counters).await
            });
            after = match looked.await {
                Ok(Ok(last)) => last,
                Ok(Err(fault)) => {
                    tracing::debug!(%fault, "what POP3 deleted stays for now");
                    None
                }
                Err(_) => None,
            };
            if after.is_none() {
                break;
            }
            // Mail goes on between.
            tokio::time::sleep(REST).await;
        }
    }
}

/// A message stays so much too long at most, and a look through 100,000 accounts.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
const REST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use plan::pop3::Keep;

    use super::*;

    #[test]
    fn rules_of_the_settings_are_found_by_addresses_in_any_case() {
        let keep = |account: Option<&str>, domain: Option<&str>, days| Keep {
            account: account.map(str::to_owned),
            domain: domain.map(str::to_owned),
            days,
        };
        let rules = rules(&Pop3Plan {
            keep_days: 1,
            keep_in: "Kept".to_owned(),
            keep: vec![
                keep(Some("Ann@Example.org"), None, 2),
                keep(None, Some("EXAMPLE.org"), 3),
            ],
        });
        let days = |path| rules.days(&Address::from_path(path).expect("an address"));
        assert_eq!(days("ann@example.org"), 2);
        assert_eq!(days("bob@example.org"), 3);
        assert_eq!(days("ann@example.net"), 1);
    }
}
