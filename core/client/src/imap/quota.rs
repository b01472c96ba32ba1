//! QUOTA (RFC 9208): one root for each account, with the octets of all its messages. Administrators set the limit, by `ringpostctl account quota`.

use imap::Names;
use imap::respond::{put, put_mailbox, put_number, put_string};
use mail::Rights;
use mailbox::{AccountId, Usage};
use storage::owner::Ask;

use super::fault::Failure;
use super::{Done, Imap};

/// RFC 9208 §3.1.1: STORAGE counts in units of 1,024 octets.
const STORAGE_UNIT_BYTES: u64 = 1_024;

impl<K: Ask> Imap<K> {
    /// RFC 9208 §4.2. The root of an account has the empty name.
    pub(super) async fn on_get_quota(
        &self,
        account: AccountId,
        root: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Done, Failure> {
        if !root.is_empty() {
            return Err(Failure::No("NONEXISTENT", "Quota root does not exist"));
        }
        put_quota(out, "", self.usage(account).await?);
        Ok(Done::plain("Getquota completed"))
    }

    /// RFC 9208 §4.3: every mailbox has it, and so would one that is not there yet.
    pub(super) async fn on_get_quota_root(
        &self,
        account: AccountId,
        mailbox: &str,
        names: Names,
        out: &mut Vec<u8>,
    ) -> Result<Done, Failure> {
        // RFC 9208 §4.3: one that is not one's own is charged to its owner, and has the owner's root.
        let place = self.find_place(account, mailbox).await?;
        place.needs(Rights::READ)?;
        let root = place.foreign.as_ref();
        let root = root.map_or(String::new(), |foreign| foreign.address.to_path());
        let usage = self.usage(place.account).await?;
        put(out, "* QUOTAROOT ");
        put_mailbox(out, mailbox, names);
        put(out, " ");
        put_string(out, root.as_bytes());
        put(out, "\r\n");
        put_quota(out, &root, usage);
        Ok(Done::plain("Getquotaroot completed"))
    }

    async fn usage(&self, account: AccountId) -> Result<Usage, Failure> {
        let asked = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.usage(account).await });
        Ok(asked.await??)
    }
}

/// Without a limit the list is empty: a resource that has none is not listed (RFC 9208 §4.2).
fn put_quota(out: &mut Vec<u8>, root: &str, usage: Usage) {
    put(out, "* QUOTA ");
    put_string(out, root.as_bytes());
    put(out, " (");
    if usage.quota_bytes > 0 {
        put(out, "STORAGE ");
        put_number(out, usage.used_bytes.div_ceil(STORAGE_UNIT_BYTES));
        put(out, " ");
        put_number(out, usage.quota_bytes / STORAGE_UNIT_BYTES);
    }
    put(out, ")\r\n");
}
