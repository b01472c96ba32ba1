//! What a client asks of its scripts, and what comes of it.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use mailbox::AccountId;
use managesieve::{Outcome, Reply, Request};
use runtime::Charge;
use scripts::{Owner, Refusal, ScriptFault, Scripts};
use sieve::Script;
use storage::holder;
use storage::owner::Ask;
use store::StoreFault;

use super::ManageSieve;
use super::limits::*;

/// Compiles a script and keeps nothing; what is wrong with it is for the person who wrote it. It may take long: see `weight`.
pub fn check(text: &[u8]) -> Result<(), String> {
    match Script::compile(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// What `check` counts as for `runtime::workers::work`: more than a core's own where it may take long.
pub fn weight(text: &[u8]) -> usize {
    let least = match (has_expressions(text), is_dear(text)) {
        // With searches, not with the digests of mail that is being received.
        (true, _) => runtime::limits::SHORT_WORK_BYTES_MAX + 1,
        (false, true) => runtime::limits::WORK_BYTES_MAX + 1,
        (false, false) => 0,
    };
    text.len().max(least)
}

/// Regular expressions cost what is in them: `.{100}` is six bytes.
fn has_expressions(text: &[u8]) -> bool {
    // Tags are compared without regard to case (RFC 5228 §2.4.2).
    text.windows(6)
        .any(|word| word.eq_ignore_ascii_case(b":regex"))
}

fn is_dear(text: &[u8]) -> bool {
    text.len() > COMPILED_HERE_BYTES_MAX || has_expressions(text)
}

impl<K: Ask> ManageSieve<K> {
    /// `charge`: what the script that was received takes, and then what one that is sent takes.
    pub(super) async fn perform(
        &self,
        account: AccountId,
        request: Request,
        charge: &mut Option<Charge>,
    ) -> Outcome {
        let of = Owner::Account(account.0);
        let done = match request {
            Request::HaveSpace { name, bytes } => {
                self.of_scripts(account, async move |scripts| {
                    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                    Ok(scripts.has_room(&of, &name, bytes)?)
                })
                .await
            }
            Request::Check(text) => return self.on_check(account, text.into()).await,
            Request::Put { name, text } => return self.on_put(account, name, text.into()).await,
            Request::List => {
                let listed = self.of_scripts(account, async move |scripts| {
                    let list = scripts.list(&of);
                    let each = list.scripts();
                    let each = each.map(|(script, is_active)| (script.name.clone(), is_active));
                    Ok(each.collect::<Vec<_>>())
                });
                return match listed.await {
                    Ok(listed) => Outcome::Listed(listed),
                    Err(reply) => Outcome::Refused(reply),
                };
            }
            Request::Get(name) => return self.on_get(account, name, charge).await,
            Request::SetActive(name) => {
                self.of_scripts(account, async move |scripts| {
                    scripts.activate(&of, name.as_deref()).await
                })
                .await
            }
            Request::Delete(name) => {
                self.of_scripts(account, async move |scripts| {
                    scripts.remove(&of, &name).await
                })
                .await
            }
            Request::Rename { from, to } => {
                self.of_scripts(account, async move |scripts| {
                    scripts.rename(&of, &from, &to).await
                })
                .await
            }
        };
        done.map_or_else(Outcome::Refused, |()| Outcome::Done)
    }

    async fn on_check(&self, account: AccountId, text: Bytes) -> Outcome {
        match self.compiled(account, text).await {
            Ok(()) => Outcome::Done,
            Err(why) => Outcome::Invalid(why),
        }
    }

    async fn on_put(&self, account: AccountId, name: String, text: Bytes) -> Outcome {
        if let Err(why) = self.compiled(account, text.clone()).await {
            return Outcome::Invalid(why);
        }
        let of = Owner::Account(account.0);
        let put = self.of_scripts(account, async move |scripts| {
            scripts.put(&of, &name, text, false).await
        });
        match put.await {
            Ok(()) => {
                self.counters.stored.fetch_add(1, Relaxed);
                Outcome::Done
            }
            Err(reply) => Outcome::Refused(reply),
        }
    }

    /// In the account's turn: the compiler takes some times the script.
    async fn compiled(&self, account: AccountId, text: Bytes) -> Result<(), String> {
        let bytes = match has_expressions(&text) {
            true => COMPILING_REGEX_BYTES,
            false => COMPILING_BYTES,
        };
        let weight = weight(&text);
        let holder = holder::of_account(account);
        let charge = match is_dear(&text) {
            true => Some(self.memory.reading.wait_for(holder, bytes).await),
            false => None,
        };
        // The job goes on where this connection breaks, and so does what it takes.
        let job = move || (check(&text), charge).0;
        let compiled = self.host.work(weight, job).await;
        if compiled.is_err() {
            self.counters.invalid.fetch_add(1, Relaxed);
        }
        compiled
    }

    async fn on_get(
        &self,
        account: AccountId,
        name: String,
        charge: &mut Option<Charge>,
    ) -> Outcome {
        let of = Owner::Account(account.0);
        for _attempt in 0..GET_ATTEMPTS {
            let (owner, named) = (of.clone(), name.clone());
            let found = self.of_scripts(account, async move |scripts| {
                let list = scripts.list(&owner);
                let script = list.named(&named).ok_or(Refusal::Nonexistent)?;
                Ok((script.version, script.bytes as usize))
            });
            let (version, bytes) = match found.await {
                Ok(found) => found,
                Err(reply) => return Outcome::Refused(reply),
            };
            if bytes > SENT_FREE_BYTES_MAX {
                // As it is, and as it is sent.
                let holder = holder::of_account(account);
                *charge = self.memory.sending.take_for(holder, 2 * bytes);
                if charge.is_none() {
                    return Outcome::Refused(Reply::NO_MEMORY);
                }
            }
            let owner = of.clone();
            let text = self.of_scripts(account, async move |scripts| {
                scripts.text(&owner, version).await
            });
            match text.await {
                Ok(Some(text)) => return Outcome::Text(text),
                // Another session stored another script of this name meanwhile.
                Ok(None) => {}
                Err(reply) => return Outcome::Refused(reply),
            }
        }
        Outcome::Refused(Reply::BUSY)
    }

    /// Asks the owner of the scripts; a refusal of theirs as it is answered. An account that is gone has none.
    async fn of_scripts<T: Send + 'static>(
        &self,
        account: AccountId,
        work: impl AsyncFnOnce(Scripts) -> Result<T, ScriptFault> + Send + 'static,
    ) -> Result<T, Reply> {
        let asked = self.owner.ask_outgoing(move |outgoing| async move {
            let Some(scripts) = outgoing.scripts() else {
                return Err(Reply::UNAVAILABLE);
            };
            let directory = outgoing.mailboxes().directory();
            match directory.account_by_id(account).await {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Err(Reply::UNAVAILABLE),
            }
            work(scripts.clone()).await.map_err(reply_of)
        });
        asked.await.unwrap_or(Err(Reply::BUSY))
    }
}

fn reply_of(fault: ScriptFault) -> Reply {
    match fault {
        ScriptFault::Refused(refusal) => match refusal {
            Refusal::Nonexistent => Reply::NONEXISTENT,
            Refusal::AlreadyExists => Reply::ALREADY_EXISTS,
            Refusal::Active => Reply::ACTIVE,
            Refusal::Name => Reply::BAD_NAME,
            Refusal::ScriptTooLarge => Reply::TOO_LARGE,
            Refusal::TooMany => Reply::TOO_MANY,
            Refusal::TooMuch => Reply::TOO_MUCH,
            Refusal::BoxFull => Reply::NO_ROOM,
            Refusal::KeysFull => Reply::UNAVAILABLE,
        },
        ScriptFault::Store(StoreFault::Full | StoreFault::TooLarge) => Reply::NO_ROOM,
        ScriptFault::Store(fault) => {
            tracing::warn!(%fault, "a request about scripts was not performed");
            Reply::UNAVAILABLE
        }
    }
}

/// Looks for a script while other sessions store it.
const GET_ATTEMPTS: usize = 4;
