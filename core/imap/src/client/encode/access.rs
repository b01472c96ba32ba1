//! ACL and METADATA as a client writes them.

use mail::RightsChange;

use crate::acl::Acl;
use crate::metadata::{Depth, Metadata};

use super::Line;

impl Line<'_> {
    pub(super) fn acl(&mut self, acl: &Acl) {
        let (word, mailbox, identifier) = match acl {
            Acl::Set {
                mailbox,
                identifier,
                ..
            } => ("SETACL", mailbox, Some(identifier)),
            Acl::Delete {
                mailbox,
                identifier,
            } => ("DELETEACL", mailbox, Some(identifier)),
            Acl::Get { mailbox } => ("GETACL", mailbox, None),
            Acl::ListRights {
                mailbox,
                identifier,
            } => ("LISTRIGHTS", mailbox, Some(identifier)),
            Acl::MyRights { mailbox } => ("MYRIGHTS", mailbox, None),
        };
        self.word(word);
        self.word(" ");
        self.mailbox(mailbox);
        if let Some(identifier) = identifier {
            self.word(" ");
            self.string(identifier.as_bytes());
        }
        if let Acl::Set { change, .. } = acl {
            let (sign, rights) = match change {
                RightsChange::Replace(rights) => ("", rights),
                RightsChange::Add(rights) => ("+", rights),
                RightsChange::Remove(rights) => ("-", rights),
            };
            self.word(" ");
            self.string(format!("{sign}{rights}").as_bytes());
        }
    }

    pub(super) fn metadata(&mut self, metadata: &Metadata) {
        match metadata {
            Metadata::Get {
                mailbox,
                size_max,
                depth,
                entries,
            } => {
                self.word("GETMETADATA ");
                let mut options = Vec::new();
                options.extend(size_max.map(|size_max| format!("MAXSIZE {size_max}")));
                match depth {
                    Depth::Zero => {}
                    Depth::One => options.push("DEPTH 1".to_owned()),
                    Depth::Infinity => options.push("DEPTH infinity".to_owned()),
                }
                if !options.is_empty() {
                    self.word(&format!("({}) ", options.join(" ")));
                }
                self.mailbox(mailbox);
                self.word(" ");
                self.entry_list(entries);
            }
            Metadata::Set { mailbox, entries } => {
                self.word("SETMETADATA ");
                self.mailbox(mailbox);
                for (index, (name, value)) in entries.iter().enumerate() {
                    self.word(if index == 0 { " (" } else { " " });
                    self.string(name.as_bytes());
                    self.word(" ");
                    match value {
                        Some(value) => self.string(value),
                        None => self.word("NIL"),
                    }
                }
                self.word(")");
            }
        }
    }

    pub(super) fn entry_list(&mut self, entries: &[Box<str>]) {
        for (index, entry) in entries.iter().enumerate() {
            self.word(if index == 0 { "(" } else { " " });
            self.string(entry.as_bytes());
        }
        self.word(")");
    }
}
