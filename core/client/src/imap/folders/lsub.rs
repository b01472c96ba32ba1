//! LSUB (RFC 3501 §6.3.9): the names that the account subscribed to, those of other accounts' mailboxes among them.

use std::collections::HashSet;

use imap::Names;
use imap::list::{SEPARATOR, joined, matches};
use mail::spelling::composed;
use mailbox::AccountId;
use mailbox::limits::NAME_LEVELS_MAX;
use runtime::Connection;
use storage::owner::Ask;

use super::super::fault::Failure;
use super::super::{Done, End, Imap};
use super::tree::match_work;
use super::{put_all, put_list_line};

impl<K: Ask> Imap<K> {
    /// RFC 3501 §6.3.9.
    pub(in super::super) async fn on_lsub(
        &self,
        account: AccountId,
        reference: &str,
        pattern: &str,
        names: Names,
        (out, connection): (&mut Vec<u8>, &mut impl Connection),
    ) -> Result<Result<Done, Failure>, End> {
        let (listed, parents) = match self.subscribed(account, reference, pattern).await {
            Ok(found) => found,
            Err(failure) => return Ok(Err(failure)),
        };
        let listed = listed.iter().map(|name| ("", name));
        let parents = parents.iter().map(|name| ("\\Noselect", name));
        let put_line = |out: &mut Vec<u8>, (attributes, name): (&str, &String)| {
            put_list_line(out, "LSUB", attributes, name, names);
        };
        put_all(listed.chain(parents), put_line, out, connection).await?;
        Ok(Ok(Done::plain("Lsub completed")))
    }

    /// The subscribed names that match, and names above others that do.
    async fn subscribed(
        &self,
        account: AccountId,
        reference: &str,
        pattern: &str,
    ) -> Result<(Vec<String>, Vec<String>), Failure> {
        let pattern = composed(&joined(reference, pattern)).into_owned();
        let subscribed = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.subscriptions(account).await })
            .await??;
        let cost = match_work(&[pattern.len()], subscribed.iter().map(String::len));
        let look = move || {
            let mut parents: Vec<String> = Vec::new();
            let mut listed = Vec::new();
            for name in &subscribed {
                if matches(&pattern, &composed(name)) {
                    listed.push(name.clone());
                } else if pattern.ends_with('%') {
                    // `%` stops at a level; the name at that level reports that something below is subscribed.
                    let at_level = name
                        .match_indices(SEPARATOR)
                        .map(|(at, _)| &name[..at])
                        .find(|parent| matches(&pattern, &composed(parent)));
                    parents.extend(at_level.map(str::to_owned));
                }
            }
            let subscribed: HashSet<&String> = subscribed.iter().collect();
            parents.sort_unstable();
            parents.dedup();
            parents.retain(|parent| !subscribed.contains(parent));
            (listed, parents)
        };
        // Every name above is held against the pattern too.
        Ok(self.host.work(cost * NAME_LEVELS_MAX, look).await)
    }
}
