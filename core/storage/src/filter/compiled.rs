//! Scripts as they run: compiled on a thread for large work, and kept by their version.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use mailbox::{AccountId, MailboxFault};
use runtime::limits::SHORT_WORK_BYTES_MAX;
use sieve::{Included, Script, Wanted};

use super::{Filter, Head, script_fault};

/// Work of this size goes to the thread that takes long jobs.
pub(super) const AWAY_BYTES: usize = SHORT_WORK_BYTES_MAX + 1;

/// What became of a script's text.
pub(super) enum Compiled {
    Script(Arc<Script>),
    Broken(String),
    /// It was changed or removed just now.
    Absent,
}

impl Filter {
    pub(super) async fn compiled(&self, head: &Head) -> Result<Compiled, MailboxFault> {
        let inner = &self.inner;
        let find = || inner.cache.borrow_mut().find(head.version);
        if let Some(script) = find() {
            return Ok(Compiled::Script(script));
        }
        let text = inner.scripts.text(&head.owner, head.version).await;
        let Some(text) = text.map_err(script_fault)? else {
            return Ok(Compiled::Absent);
        };
        let turn = inner.away.acquire().await;
        // Another delivery may have compiled it meanwhile.
        if let Some(script) = find() {
            return Ok(Compiled::Script(script));
        }
        let work = move || Script::compile(&text).map_err(|error| error.to_string());
        let compiled = inner.host.work(AWAY_BYTES, work).await;
        drop(turn);
        inner.counters.compiled.fetch_add(1, Relaxed);
        Ok(match compiled {
            Ok(script) => {
                let script = Arc::new(script);
                let mut cache = inner.cache.borrow_mut();
                cache.keep(head.version, script.clone());
                let bytes = cache.bytes() as u64;
                inner.counters.cache_bytes.store(bytes, Relaxed);
                Compiled::Script(script)
            }
            Err(text) => Compiled::Broken(text),
        })
    }

    /// A script that another one includes, compiled.
    pub(super) async fn included(
        &self,
        account: AccountId,
        wanted: &Wanted,
    ) -> Result<Included, MailboxFault> {
        let Some(head) = self.named(account, wanted) else {
            return Ok(Included::Absent);
        };
        Ok(match self.compiled(&head).await? {
            Compiled::Script(script) => Included::Script(script),
            Compiled::Broken(text) => Included::Broken(text),
            Compiled::Absent => Included::Absent,
        })
    }
}
