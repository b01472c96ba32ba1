//! Scripts that filter mail, as other cores ask for them: whose they are, and the end of those whose owner is gone.
//!
//! What must hold: a script of an owner that cannot be looked up stays; an account or a domain that is made later has none of one before it.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use base::Host;
use base::host::sleep_us;
use mailbox::{AccountId, MailboxFault, Mailboxes};
use scripts::{Owner, ScriptFault, Scripts};

/// Whose the scripts of a domain are: of one name, whether it is written in letters or in ASCII. `None`: it is not a domain of ours.
pub fn domain(mailboxes: &Mailboxes, domain: &str) -> Option<Owner> {
    mailboxes.directory().our_domain(domain).map(Owner::Domain)
}

/// Removes what is kept of accounts and domains that are gone. What cannot be looked up stays.
pub async fn sweep(mailboxes: &Mailboxes, scripts: &Scripts) -> Result<usize, ScriptFault> {
    let mut removed = 0;
    for owner in scripts.owners() {
        let is_there = match &owner {
            Owner::Box => true,
            Owner::Domain(domain) => mailboxes.has_domain(domain),
            Owner::Account(account) => {
                let account = AccountId(*account);
                let found = mailboxes.directory().account_by_id(account).await;
                found.map_err(|fault| unavailable(fault.into()))?.is_some()
            }
        };
        if !is_there {
            removed += usize::from(scripts.forget(&owner).await?);
        }
    }
    Ok(removed)
}

/// Runs on the owner's thread until the thread ends: after changes of accounts and domains it removes the scripts of those that are gone, and it
/// forgets keys that ended.
pub async fn watch(host: Rc<dyn Host>, mailboxes: Mailboxes, scripts: Scripts) {
    let generation = mailboxes.directory_generation();
    let mut swept = None;
    loop {
        // until the thread ends
        sleep_us(&*host, SWEEP_EVERY_US).await;
        if mailboxes.store().volume().refuses().is_some() {
            continue;
        }
        scripts.expire(u64::try_from(host.unix_seconds()).unwrap_or(0));
        let now = generation.load(Ordering::Acquire);
        if swept == Some(now) {
            continue;
        }
        match sweep(&mailboxes, &scripts).await {
            Ok(removed) => {
                swept = Some(now);
                if removed > 0 {
                    tracing::info!(removed, "scripts of owners that are gone were removed");
                }
            }
            Err(fault) => tracing::debug!(%fault, "scripts are looked through again later"),
        }
    }
}

fn unavailable(fault: MailboxFault) -> ScriptFault {
    ScriptFault::Store(store::StoreFault::Deferred(fault.to_string()))
}

/// How long the scripts of an account that was removed stay.
const SWEEP_EVERY_US: u64 = 60_000_000;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mail::Address;

    use super::*;
    use crate::rig;

    #[test]
    fn scripts_go_with_their_owners_and_those_of_the_box_stay() {
        let (world, outgoing) = rig::outgoing();
        world.block_on(async {
            let mailboxes = outgoing.mailboxes().clone();
            let scripts = outgoing.scripts().expect("the rig has some").clone();
            let address = Address::from_parts("anna", "example.org").expect("plain words");
            let account = mailboxes.add_account(&address, "$argon2id$x", 0).await;
            let account = account.expect("an account");
            let of_domain = domain(&mailboxes, "EXAMPLE.org").expect("it is ours");
            let there = [Owner::Box, of_domain, Owner::Account(account.0)];
            let gone = Owner::Domain("example.net".to_owned());
            for owner in there.iter().chain([&gone]) {
                let text = Bytes::from_static(b"keep;");
                let put = scripts.put(owner, "a", text, true).await;
                assert_eq!(put, Ok(()));
            }
            assert_eq!(sweep(&mailboxes, &scripts).await, Ok(1));
            assert_eq!(scripts.owners(), there);
            mailboxes.remove_account(account).await.expect("it goes");
            assert_eq!(sweep(&mailboxes, &scripts).await, Ok(1));
            assert_eq!(scripts.owners(), there[..2]);
        });
    }
}
