//! The names of an account as a tree, and what LIST answers of them.

use std::collections::HashMap;
use std::ops::Range;

use imap::Names;
use imap::command::ListRequest;
use imap::list::{SEPARATOR, matches};
use imap::respond::put;
use mail::Rights;
use mail::spelling::composed;
use mailbox::{MailboxInfo, SpecialUse};

use super::super::limits::ROW_WORK_BYTES;
use super::put_list_line;

/// The mailboxes of one account, and its subscribed names.
pub(super) struct Tree {
    /// By name.
    pub entries: Vec<Entry>,
    /// On folders of other accounts; on all others the account has every right.
    pub rights: HashMap<String, Rights>,
}

/// One name.
pub(super) struct Entry {
    pub info: MailboxInfo,
    /// `false`: subscribed, but deleted.
    pub exists: bool,
}

/// One LIST response.
pub(super) struct Line {
    /// Of its entry.
    pub index: usize,
    attributes: Vec<&'static str>,
    /// RFC 5258 §3.5: names below were selected, this one was not.
    child_info: bool,
}

/// What it takes to hold names against patterns of these lengths: a table of one by the other.
pub(super) fn match_work(patterns: &[usize], names: impl Iterator<Item = usize>) -> usize {
    let patterns: usize = patterns.iter().sum();
    names.sum::<usize>().saturating_mul(patterns + 1) / ROW_WORK_BYTES
}

impl Tree {
    /// What the account may do in one of the entries.
    pub fn rights(&self, name: &str) -> Rights {
        self.rights.get(name).copied().unwrap_or(Rights::ALL)
    }

    /// Which of the entries one of `patterns` matches.
    pub fn matched(&self, patterns: &[String]) -> Vec<bool> {
        let matched = |entry: &Entry| {
            let name = composed(&entry.info.name);
            patterns.iter().any(|pattern| matches(pattern, &name))
        };
        self.entries.iter().map(matched).collect()
    }

    /// `matched`: of each entry.
    pub fn lines(&self, request: &ListRequest, matched: &[bool]) -> Vec<Line> {
        let mut lines = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            if !matched[index] {
                continue;
            }
            let selected = selects(request, entry);
            // RECURSIVEMATCH: a name whose children are selected but not listed by the pattern themselves.
            let child_info = request.recursive_match
                && self
                    .below(index)
                    .any(|at| selects(request, &self.entries[at]) && !matched[at]);
            if selected || child_info {
                let attributes = self.attributes(request, index);
                lines.push(Line {
                    index,
                    attributes,
                    child_info,
                });
            }
        }
        lines
    }

    /// The entries below the one at `index`. Names like `a-b` may sort between `a` and `a/b`, and any number like `ab` behind them.
    fn below(&self, index: usize) -> Range<usize> {
        let above = format!("{}{SEPARATOR}", self.entries[index].info.name);
        let from = (self.entries).partition_point(|entry| entry.info.name.as_str() < &above[..]);
        let count =
            self.entries[from..].partition_point(|entry| entry.info.name.starts_with(&above));
        from..from + count
    }

    fn attributes(&self, request: &ListRequest, index: usize) -> Vec<&'static str> {
        let Entry { info, exists } = &self.entries[index];
        let mut attributes = Vec::new();
        if !exists {
            attributes.push("\\NonExistent");
        } else if !info.selectable {
            attributes.push("\\Noselect");
        }
        let has_children = self.below(index).any(|at| self.entries[at].exists);
        attributes.push(if has_children {
            "\\HasChildren"
        } else {
            "\\HasNoChildren"
        });
        if request.return_subscribed && info.subscribed {
            attributes.push("\\Subscribed");
        }
        // RFC 6154 §2: also in an ordinary LIST; clients look for it there.
        if let Some(special_use) = info.special_use {
            attributes.push(attribute_of(special_use));
        }
        attributes
    }
}

/// RFC 6154 §2.
pub(in super::super) fn attribute_of(special_use: SpecialUse) -> &'static str {
    match special_use {
        SpecialUse::All => "\\All",
        SpecialUse::Archive => "\\Archive",
        SpecialUse::Drafts => "\\Drafts",
        SpecialUse::Flagged => "\\Flagged",
        SpecialUse::Junk => "\\Junk",
        SpecialUse::Sent => "\\Sent",
        SpecialUse::Trash => "\\Trash",
    }
}

/// Whether the selection options of the request let the entry through (RFC 5258 §3.1).
fn selects(request: &ListRequest, entry: &Entry) -> bool {
    (!request.select_subscribed || entry.info.subscribed)
        && (!request.select_special_use || entry.info.special_use.is_some())
        && (entry.exists || request.select_subscribed)
}

impl Line {
    /// The untagged line, with CHILDINFO where names below were selected.
    pub fn put(&self, out: &mut Vec<u8>, info: &MailboxInfo, word: &str, names: Names) {
        put_list_line(out, word, &self.attributes.join(" "), &info.name, names);
        if self.child_info {
            out.truncate(out.len() - 2);
            put(out, " (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imap::list::joined;
    use imap::{Body, parse};

    fn tree() -> Tree {
        let entry = |name: &str, subscribed, special_use, exists| Entry {
            info: MailboxInfo {
                id: mailbox::MailboxId(1),
                name: name.into(),
                subscribed,
                special_use,
                selectable: exists && name != "a",
            },
            exists,
        };
        let sent = Some(mailbox::SpecialUse::Sent);
        Tree {
            rights: HashMap::new(),
            entries: vec![
                entry("INBOX", true, None, true),
                entry("Sent", false, sent, true),
                entry("a", false, None, true),
                entry("a-b", false, None, true),
                entry("a/b", true, None, true),
                entry("gone", true, None, false),
            ],
        }
    }

    fn listed(line: &str) -> String {
        let command = parse::command(format!("t {line}\r\n").as_bytes(), Names::Utf8).unwrap();
        let Body::List(request) = command.body else {
            panic!()
        };
        let patterns: Vec<String> = request
            .patterns
            .iter()
            .map(|pattern| joined(&request.reference, pattern))
            .collect();
        let mut out = Vec::new();
        let tree = tree();
        let matched = tree.matched(&patterns);
        for line in tree.lines(&request, &matched) {
            let info = &tree.entries[line.index].info;
            line.put(&mut out, info, "LIST", Names::Utf8);
        }
        String::from_utf8(out)
            .unwrap()
            .replace("* LIST ", "")
            .replace("\r\n", "|")
    }

    #[test]
    fn children_and_uses_are_told() {
        assert_eq!(
            listed("LIST \"\" *"),
            "(\\HasNoChildren) \"/\" \"INBOX\"|(\\HasNoChildren \\Sent) \"/\" \"Sent\"|(\\Noselect \\HasChildren) \"/\" \"a\"|\
             (\\HasNoChildren) \"/\" \"a-b\"|(\\HasNoChildren) \"/\" \"a/b\"|"
        );
        assert_eq!(listed("LIST a/ %"), "(\\HasNoChildren) \"/\" \"a/b\"|");
        assert_eq!(
            listed("LIST (SPECIAL-USE) \"\" *"),
            "(\\HasNoChildren \\Sent) \"/\" \"Sent\"|"
        );
    }

    #[test]
    fn subscribed_names_are_listed_even_when_deleted() {
        assert_eq!(
            listed("LIST (SUBSCRIBED) \"\" *"),
            "(\\HasNoChildren \\Subscribed) \"/\" \"INBOX\"|(\\HasNoChildren \\Subscribed) \"/\" \"a/b\"|\
             (\\NonExistent \\HasNoChildren \\Subscribed) \"/\" \"gone\"|"
        );
        assert_eq!(
            listed("LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (a%)"),
            "(\\Noselect \\HasChildren) \"/\" \"a\" (\"CHILDINFO\" (\"SUBSCRIBED\"))|"
        );
    }

    #[test]
    fn what_is_below_is_found_among_names_that_begin_alike() {
        let names = [
            "a", "a-b", "a-b/c", "a/", "a/b", "a/b/c", "a/bb", "a0", "aa", "aa/b", "aaa", "b",
            "\u{e4}/x",
        ];
        let mut tree = tree();
        let info = tree.entries[0].info.clone();
        let entry = |name: &&str| Entry {
            info: MailboxInfo {
                name: (*name).to_owned(),
                ..info.clone()
            },
            exists: true,
        };
        tree.entries = names.iter().map(entry).collect();
        tree.entries
            .sort_by(|one, other| one.info.name.cmp(&other.info.name));
        for index in 0..tree.entries.len() {
            let above = format!("{}/", tree.entries[index].info.name);
            let all = 0..tree.entries.len();
            let below: Vec<usize> = all
                .filter(|&at| tree.entries[at].info.name.starts_with(&above))
                .collect();
            assert_eq!(tree.below(index).collect::<Vec<_>>(), below, "{above}");
        }
    }
}
