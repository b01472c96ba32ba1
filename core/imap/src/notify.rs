//! NOTIFY (RFC 5465) on the wire: which events a client wants to hear of, and of which mailboxes.

use crate::fetch::FetchItem;

/// One command. It takes the place of the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notify {
    /// §3.1: nothing is reported unasked.
    None,
    Set(Box<NotifySet>),
}

/// NOTIFY SET.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotifySet {
    /// The mailboxes that are watched are reported once at the beginning.
    pub status: bool,
    /// `None`: nothing is reported of the mailbox that is open, which is the same as SELECTED NONE.
    pub selected: Option<OfSelected>,
    /// What is reported of mailboxes by their names.
    pub groups: Vec<EventGroup>,
}

/// §6.1: what is reported of the mailbox that is open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OfSelected {
    /// SELECTED-DELAYED: message numbers stay while no command allows them to change.
    pub delayed: bool,
    pub events: Events,
    /// §5.2: what is sent of each new message; empty: nothing.
    pub items: Vec<FetchItem>,
}

/// Mailboxes, and what is reported of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventGroup {
    pub mailboxes: Watched,
    pub events: Events,
}

/// §6.2 to §6.6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// Those that mail may be delivered to.
    Inboxes,
    Personal,
    Subscribed,
    /// These and what is below them.
    Subtree(Vec<Box<str>>),
    Mailboxes(Vec<Box<str>>),
}

/// §5. All `false`: NONE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Events {
    /// MessageNew and MessageExpunge, which are always asked for together.
    pub messages: bool,
    /// FlagChange; never without `messages`.
    pub flags: bool,
    /// MailboxName.
    pub names: bool,
    /// SubscriptionChange.
    pub subscriptions: bool,
    /// MailboxMetadataChange.
    pub annotations: bool,
    /// ServerMetadataChange.
    pub server_annotations: bool,
}

impl Events {
    /// What either asks for.
    pub fn or(self, other: Events) -> Events {
        Events {
            messages: self.messages || other.messages,
            flags: self.flags || other.flags,
            names: self.names || other.names,
            subscriptions: self.subscriptions || other.subscriptions,
            annotations: self.annotations || other.annotations,
            server_annotations: self.server_annotations || other.server_annotations,
        }
    }

    /// The words on the wire, for the client.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.messages, "MessageNew"),
            (self.messages, "MessageExpunge"),
            (self.flags, "FlagChange"),
            (self.names, "MailboxName"),
            (self.subscriptions, "SubscriptionChange"),
            (self.annotations, "MailboxMetadataChange"),
            (self.server_annotations, "ServerMetadataChange"),
        ];
        all.into_iter().filter(|(is, _)| *is).map(|(_, word)| word)
    }
}

/// §3.1: the code of the refusal of any other event.
pub const BAD_EVENT: &str = "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)";

impl NotifySet {
    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        let names = |group: &EventGroup| match &group.mailboxes {
            Watched::Subtree(names) | Watched::Mailboxes(names) => names
                .iter()
                .map(|name| size_of::<Box<str>>() + name.len() + 16)
                .sum(),
            _ => 0,
        };
        let groups: usize = self.groups.iter().map(names).sum();
        let items = self.selected.iter().flat_map(|selected| &selected.items);
        let items: usize = items
            .map(|item| size_of::<FetchItem>() + item.name_bytes())
            .sum();
        size_of::<NotifySet>() + self.groups.len() * size_of::<EventGroup>() + groups + items
    }
}
