//! The mailboxes of an orphan leg, as far as its records still tell.
//!
//! The live rules (`Noun::apply`) may rely on a log without gaps; these may not. A message whose mailbox is unknown gets one
//! by number, a mailbox whose account is unknown stays without; only what a record takes away explicitly is left out.

use std::collections::BTreeMap;

use mail::Uid;

use crate::{AccountId, MailboxId, Message};

#[derive(Default)]
pub struct Remains {
    pub mailboxes: BTreeMap<MailboxId, Known>,
}

/// What is known of one mailbox.
#[derive(Default)]
pub struct Known {
    pub account: Option<AccountId>,
    pub name: Option<String>,
    pub messages: BTreeMap<Uid, Message>,
}

impl Remains {
    pub fn mailbox(&mut self, mailbox: MailboxId) -> &mut Known {
        self.mailboxes.entry(mailbox).or_default()
    }

    pub fn name(&mut self, mailbox: MailboxId, account: AccountId, name: &str) {
        let known = self.mailbox(mailbox);
        (known.account, known.name) = (Some(account), Some(name.to_owned()));
    }
}

impl Known {
    pub fn put(&mut self, messages: &[Message]) {
        let messages = messages.iter().cloned();
        self.messages
            .extend(messages.map(|message| (message.uid, message)));
    }
}
