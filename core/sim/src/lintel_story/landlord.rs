//! One who fills the volume to the last byte that it takes, while everybody works, and leaves again.
//!
//! Meanwhile senders hear 4xx and people NO; what was promised stays, and a full volume takes the deletion.

use std::rc::Rc;

use base::host::sleep_us;
use base::{BodyName, Host};
use bytes::Bytes;
use fastrand::Rng;
use mail::{Address, Flags, InternalDate, SystemFlags, Uid};
use mailbox::{AccountId, Delivery, FlagChange, MailboxFault, MailboxId, Mailboxes, Recipient};
use store::BodyIn;

use super::model::INBOX;

pub struct Landlord {
    pub host: Rc<dyn Host>,
    pub mailboxes: Mailboxes,
    pub rng: Rng,
    /// Only leaves what an earlier one filled.
    pub only_leaves: bool,
}

impl Landlord {
    pub async fn run(&mut self) -> Result<(), String> {
        let Some(account) = self.account().await else {
            return Ok(());
        };
        self.leave(account).await?;
        if self.only_leaves {
            return Ok(());
        }
        sleep_us(&*self.host, self.rng.u64(..50_000)).await;
        self.fill(account).await?;
        sleep_us(&*self.host, self.rng.u64(..100_000)).await;
        self.leave(account).await
    }

    /// `None`: it cannot be made just now.
    async fn account(&self) -> Option<AccountId> {
        let address = Address::from_parts(LOCAL, "example.org").expect("plain words");
        match self.mailboxes.account(&address).await {
            Ok(Some(account)) => Some(account.id),
            Ok(None) => self.mailboxes.add_account(&address, "", 0).await.ok(),
            Err(_) => None,
        }
    }

    async fn fill(&mut self, account: AccountId) -> Result<(), String> {
        // Bounded by the volume.
        for number in 0..FILLING_MAX {
            let raw: Vec<u8> = std::iter::repeat_with(|| self.rng.u8(..))
                .take(FILLING_BYTES)
                .collect();
            let raw = Bytes::from(raw);
            let recipient = Recipient {
                account,
                mailbox: INBOX.to_owned(),
                flags: Flags::default(),
            };
            let delivery = Delivery {
                body: BodyIn {
                    name: BodyName::of(&raw),
                    raw,
                    summary: Bytes::new(),
                },
                internal_date: InternalDate::utc(number),
                recipients: vec![recipient],
            };
            match &self.mailboxes.deliver(delivery).await[..] {
                [Ok(_)] => {}
                [Err(MailboxFault::Full | MailboxFault::Unavailable(_))] => return Ok(()),
                other => return Err(format!("a volume is filled, and answers {other:?}")),
            }
        }
        Ok(())
    }

    /// Takes everything away: a full volume has to allow that, when the legs take writes.
    async fn leave(&mut self, account: AccountId) -> Result<(), String> {
        let mut why = String::new();
        for _ in 0..TRIES_MAX {
            match self.try_to_leave(account).await {
                Ok(()) => return Ok(()),
                Err(fault @ (MailboxFault::Full | MailboxFault::Unavailable(_))) => {
                    why = fault.to_string();
                }
                Err(fault) => return Err(format!("a full volume takes no deletion: {fault}")),
            }
            sleep_us(&*self.host, 500_000).await;
        }
        Err(format!("a full volume never takes a deletion: {why}"))
    }

    async fn try_to_leave(&self, account: AccountId) -> Result<(), MailboxFault> {
        let inbox: MailboxId = self.mailboxes.find(account, INBOX).await?;
        let view = self.mailboxes.view(inbox).await?;
        let uids: Vec<Uid> = view.messages.iter().map(|message| message.uid).collect();
        drop(view);
        if uids.is_empty() {
            return Ok(());
        }
        let deleted = Flags::system(SystemFlags::DELETED);
        let flagged = self.mailboxes.flag(inbox, &uids, FlagChange::Add, &deleted);
        flagged.await?;
        self.mailboxes.expunge(inbox, &uids).await?;
        // What it took is room again when it was reclaimed.
        drop(self.mailboxes.checkpoint().await);
        self.mailboxes.reclaim().await;
        Ok(())
    }
}

/// Its address, at example.org.
pub const LOCAL: &str = "landlord";
/// Bytes of one letter that fills: a part of a segment.
const FILLING_BYTES: usize = 200 << 10;
/// Letters that fill: more than the largest leg of such a story holds.
const FILLING_MAX: i64 = 100;
/// Half a second each: longer than every leg may refuse writes.
const TRIES_MAX: usize = 120;
