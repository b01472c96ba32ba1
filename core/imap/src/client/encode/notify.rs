//! NOTIFY (RFC 5465), as a client writes it.

use super::Line;
use crate::fetch::FetchItem;
use crate::notify::{Events, Notify, OfSelected, Watched};

impl Line<'_> {
    pub(super) fn notify(&mut self, notify: &Notify) {
        let Notify::Set(set) = notify else {
            return self.word("NOTIFY NONE");
        };
        self.word("NOTIFY SET");
        if set.status {
            self.word(" STATUS");
        }
        match &set.selected {
            Some(OfSelected {
                delayed,
                events,
                items,
            }) => {
                self.word(match delayed {
                    true => " (SELECTED-DELAYED ",
                    false => " (SELECTED ",
                });
                self.events(*events, items);
                self.word(")");
            }
            // There is one group at least.
            None if set.groups.is_empty() => self.word(" (SELECTED NONE)"),
            None => {}
        }
        for group in &set.groups {
            self.word(" (");
            match &group.mailboxes {
                Watched::Inboxes => self.word("INBOXES"),
                Watched::Personal => self.word("PERSONAL"),
                Watched::Subscribed => self.word("SUBSCRIBED"),
                Watched::Subtree(names) => self.watched("SUBTREE (", names),
                Watched::Mailboxes(names) => self.watched("MAILBOXES (", names),
            }
            self.word(" ");
            self.events(group.events, &[]);
            self.word(")");
        }
    }

    fn watched(&mut self, word: &str, names: &[Box<str>]) {
        self.word(word);
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                self.word(" ");
            }
            self.mailbox(name);
        }
        self.word(")");
    }

    fn events(&mut self, events: Events, items: &[FetchItem]) {
        if events == Events::default() {
            return self.word("NONE");
        }
        for (index, word) in events.words().enumerate() {
            self.word(if index == 0 { "(" } else { " " });
            self.word(word);
            if word == "MessageNew" && !items.is_empty() {
                for (index, item) in items.iter().enumerate() {
                    self.word(if index == 0 { " (" } else { " " });
                    self.fetch_item(item);
                }
                self.word(")");
            }
        }
        self.word(")");
    }
}
