//! The lines about mailboxes that are not open.

use imap::respond::{Status, put, put_mailbox, put_reply};
use mailbox::{AccountId, MailboxFault};
use runtime::Connection;
use storage::owner::Ask;

use super::super::folders::{Shown, put_list_line, put_status};
use super::super::limits::OUTPUT_BYTES_MAX;
use super::super::{Client, End, Imap, flush};
use super::look::{self, Told, Viewer};
use super::queue::Taken;
use super::{Failure, Notify};

impl Told {
    fn put(&self, out: &mut Vec<u8>, shown: &Shown) {
        match self {
            Told::Status {
                name,
                items,
                counts,
            } => put_status(out, name, items, counts, shown),
            Told::List {
                name,
                attributes,
                old_name,
            } => {
                put_list_line(out, "LIST", &attributes.join(" "), name, shown.names);
                if let Some(old_name) = old_name {
                    // RFC 5465 §8 oldname-extended-item.
                    out.truncate(out.len() - 2);
                    put(out, " (\"OLDNAME\" (");
                    put_mailbox(out, old_name, shown.names);
                    put(out, "))\r\n");
                }
            }
            Told::Annotation { name, entry } => {
                put(out, "* METADATA ");
                put_mailbox(out, name, shown.names);
                put(out, " ");
                imap::respond::put_astring(out, entry.as_bytes());
                put(out, "\r\n");
            }
        }
    }
}

impl<K: Ask> Imap<K> {
    /// Tells what happened in the accounts that the client watches, some time after the last look or `at_once`. Where that was too much it is notified of that, and of
    /// nothing else from then on (RFC 5465 §5.8). `false`: storage cannot say now.
    pub(super) async fn tell_others(
        &self,
        client: &mut Client,
        connection: &mut impl Connection,
        at_once: bool,
    ) -> Result<bool, End> {
        let notify = client.notify.as_ref();
        let Some(taken) = notify.and_then(|notify| notify.take(at_once)) else {
            return Ok(true);
        };
        if taken.overflowed {
            overflow(client);
            return Ok(true);
        }
        let rewatches = taken.concerns_watches();
        let told = self.look_at_taken(client, taken.clone()).await;
        if let Some(notify) = &client.notify {
            notify.looked();
            if told.is_none() {
                notify.put_back(taken);
            }
        }
        let Some(told) = told else {
            return Ok(false);
        };
        let shown = client.shown();
        for line in told {
            line.put(&mut client.out, &shown);
            if client.out.len() > OUTPUT_BYTES_MAX {
                flush(&mut client.out, connection).await?;
            }
        }
        if rewatches {
            self.watch_again(client).await;
        }
        Ok(true)
    }

    /// `None`: storage cannot say now.
    async fn look_at_taken(&self, client: &Client, taken: Taken) -> Option<Vec<Told>> {
        let viewer = client.viewer()?;
        let told = self
            .owner
            .ask(move |mailboxes| async move { look::told(&mailboxes, &viewer, &taken).await });
        match told.await {
            Ok(Ok(told)) => Some(told),
            // The account is being removed.
            Ok(Err(MailboxFault::NoAccount)) => Some(Vec::new()),
            Ok(Err(fault)) => {
                tracing::debug!(%fault, "what happened in watched mailboxes cannot be looked at now");
                None
            }
            Err(_) => None,
        }
    }

    /// What NOTIFY SET answers at once: counts where the client asked for them, and which mailboxes it may not look into.
    pub(super) async fn put_first(
        &self,
        viewer: Viewer,
        accounts: Vec<AccountId>,
        shown: &Shown,
        out: &mut Vec<u8>,
        connection: &mut impl Connection,
    ) -> Result<Result<(), Failure>, End> {
        // Nothing is refused on one's own mailboxes.
        if !viewer.set.status && accounts.len() <= 1 {
            return Ok(Ok(()));
        }
        for account in accounts {
            let mut after = None;
            loop {
                // until all of its mailboxes were told
                let asking = viewer.clone();
                let told = self.owner.ask(move |mailboxes| async move {
                    look::first(&mailboxes, &asking, account, after.as_deref()).await
                });
                let (told, last) = match told.await {
                    Ok(Ok(found)) => found,
                    Ok(Err(fault)) => return Ok(Err(fault.into())),
                    Err(busy) => return Ok(Err(busy.into())),
                };
                for line in told {
                    line.put(out, shown);
                    if out.len() > OUTPUT_BYTES_MAX {
                        flush(out, connection).await?;
                    }
                }
                match last {
                    Some(last) => after = Some(last),
                    None => break,
                }
            }
        }
        Ok(Ok(()))
    }
}

/// RFC 5465 §5.8: as if NOTIFY NONE had come.
pub(super) fn overflow(client: &mut Client) {
    client.notify = Some(Box::new(Notify::none()));
    put_reply(
        &mut client.out,
        "*",
        Status::Ok,
        "NOTIFICATIONOVERFLOW",
        "Too many changes; NOTIFY SET is off",
    );
}
