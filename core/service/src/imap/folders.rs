//! Mailboxes as a tree: SELECT, CREATE, DELETE, RENAME, SUBSCRIBE, LIST, LSUB, STATUS.

use std::collections::HashSet;

use imap::Names;
use imap::command::{ListRequest, SpecialUse, StatusItem};
use imap::list::{SEPARATOR, joined, matches};
use imap::respond::{Status, put, put_mailbox, put_number, put_reply};
use mail::spelling::composed;
use mailbox::limits::NAME_LEVELS_MAX;
use mailbox::{AccountId, MailboxFault, MailboxId, MailboxInfo, MailboxStatus, Mailboxes};
use zone::work;

use super::fault::Failure;
use super::limits::ROW_WORK_BYTES;
use super::selected::Selected;
use super::watch::Watching;
use super::{Client, Done, Imap};

/// How names and limits are shown to this client.
pub struct Shown {
    pub names: Names,
    pub append_bytes_max: usize,
}

impl Imap {
    pub(super) async fn on_select(
        &self,
        client: &mut Client,
        account: AccountId,
        name: &str,
        read_only: bool,
    ) -> Result<Done, Failure> {
        // RFC 9051 §6.3.2: the mailbox that was open is closed, also when opening the next one fails.
        if client.selected.take().is_some() {
            client.session.unselected();
            let text = "the previous mailbox is closed";
            put_reply(&mut client.out, "*", Status::Ok, "CLOSED", text);
        }
        let begun = Watching::begin(&self.owner, account, name, !read_only).await??;
        let rev2 = client.session.is_rev2();
        let inbox_of = (name.strip_suffix(SEPARATOR).unwrap_or(name) == "INBOX").then_some(account);
        let (selected, opening) = Selected::new(begun, inbox_of, read_only, rev2);
        selected.put_opening(&opening, &mut client.out);
        if rev2 {
            put(&mut client.out, "* LIST () \"/\" ");
            put_mailbox(&mut client.out, name, client.session.names());
            put(&mut client.out, "\r\n");
        }
        client.selected = Some(selected);
        client.session.selected(read_only);
        Ok(Done {
            code: if read_only { "READ-ONLY" } else { "READ-WRITE" }.into(),
            text: "selected",
        })
    }

    pub(super) async fn on_create(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<Done, Failure> {
        let name = name.to_owned();
        let special_use = special_use.map(|special_use| match special_use {
            SpecialUse::All => mailbox::SpecialUse::All,
            SpecialUse::Archive => mailbox::SpecialUse::Archive,
            SpecialUse::Drafts => mailbox::SpecialUse::Drafts,
            SpecialUse::Flagged => mailbox::SpecialUse::Flagged,
            SpecialUse::Junk => mailbox::SpecialUse::Junk,
            SpecialUse::Sent => mailbox::SpecialUse::Sent,
            SpecialUse::Trash => mailbox::SpecialUse::Trash,
        });
        self.owner
            .ask(
                move |mailboxes| async move { mailboxes.create(account, &name, special_use).await },
            )
            .await??;
        Ok(Done::plain("created"))
    }

    pub(super) async fn on_delete(&self, account: AccountId, name: &str) -> Result<Done, Failure> {
        let name = name.to_owned();
        self.owner
            .ask(move |mailboxes| async move { mailboxes.delete(account, &name).await })
            .await??;
        Ok(Done::plain("deleted"))
    }

    pub(super) async fn on_rename(
        &self,
        account: AccountId,
        from: &str,
        to: &str,
    ) -> Result<Done, Failure> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.owner
            .ask(move |mailboxes| async move { mailboxes.rename(account, &from, &to).await })
            .await??;
        Ok(Done::plain("renamed"))
    }

    pub(super) async fn on_subscribe(
        &self,
        account: AccountId,
        name: &str,
        subscribed: bool,
    ) -> Result<Done, Failure> {
        let name = name.to_owned();
        self.owner
            .ask(move |mailboxes| async move {
                // RFC 9051 §6.3.7 lets a server look whether the mailbox exists: a name that was mistyped is not accepted.
                // The parent of others is a name too, without a mailbox.
                if subscribed {
                    let plain = name.strip_suffix(SEPARATOR).unwrap_or(&name);
                    let listed = mailboxes.list(account).await?;
                    if !listed.iter().any(|info| info.name == plain) {
                        return Err(MailboxFault::NoMailbox);
                    }
                }
                mailboxes.subscribe(account, &name, subscribed).await
            })
            .await??;
        Ok(Done::plain("noted"))
    }

    pub(super) async fn on_status(
        &self,
        account: AccountId,
        name: &str,
        items: &[StatusItem],
        shown: &Shown,
        out: &mut Vec<u8>,
    ) -> Result<Done, Failure> {
        let wanted = name.to_owned();
        let recent_wanted = items.contains(&StatusItem::Recent);
        let status = self
            .owner
            .ask(move |mailboxes| async move {
                let id = mailboxes.find(account, &wanted).await?;
                Counts::of(&mailboxes, id, recent_wanted).await
            })
            .await??;
        put_status(out, name, items, &status, shown);
        Ok(Done::plain("that is its status"))
    }

    pub(super) async fn on_list(
        &self,
        account: AccountId,
        request: &ListRequest,
        shown: &Shown,
        out: &mut Vec<u8>,
    ) -> Result<Done, Failure> {
        // RFC 9051 §6.3.9: an empty pattern asks for the separator.
        if !request.extended && request.patterns.iter().all(|pattern| pattern.is_empty()) {
            put(out, "* LIST (\\Noselect) \"/\" \"\"\r\n");
            return Ok(Done::plain("that is the separator"));
        }
        let with_ghosts = request.select_subscribed;
        let tree = self.tree(account, with_ghosts).await?;
        let patterns: Vec<String> = request
            .patterns
            .iter()
            .map(|pattern| joined(&request.reference, pattern))
            .map(|pattern| composed(&pattern).into_owned())
            .collect();
        let lengths: Vec<usize> = patterns.iter().map(String::len).collect();
        let names = tree.entries.iter().map(|entry| entry.info.name.len());
        let cost = match_work(&lengths, names);
        let look = move || {
            let matched = tree.matched(&patterns);
            (tree, matched)
        };
        let (tree, matched) = work(cost, look).await;
        let lines = tree.lines(request, &matched);
        let mut statuses = Vec::new();
        if !request.return_status.is_empty() {
            let ids: Vec<_> = lines
                .iter()
                .filter(|line| line.entry.selectable)
                .map(|line| line.entry.id)
                .collect();
            let recent_wanted = request.return_status.contains(&StatusItem::Recent);
            statuses = self
                .owner
                .ask(move |mailboxes| async move {
                    let mut statuses = Vec::with_capacity(ids.len());
                    for id in ids {
                        statuses.push(Counts::of(&mailboxes, id, recent_wanted).await);
                    }
                    statuses
                })
                .await?;
        }
        // One for each selectable line, in their order.
        let mut statuses = statuses.into_iter();
        for line in &lines {
            line.put(out, "LIST", shown.names);
            let status = match line.entry.selectable {
                true => statuses.next(),
                false => None,
            };
            if let Some(Ok(status)) = &status {
                put_status(out, &line.entry.name, &request.return_status, status, shown);
            }
        }
        Ok(Done::plain("listed"))
    }

    /// RFC 3501 §6.3.9.
    pub(super) async fn on_lsub(
        &self,
        account: AccountId,
        reference: &str,
        pattern: &str,
        names: Names,
        out: &mut Vec<u8>,
    ) -> Result<Done, Failure> {
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
                    // `%` stops at a level; that something below is subscribed is told by the name at that level.
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
        let (listed, parents) = work(cost * NAME_LEVELS_MAX, look).await;
        for name in &listed {
            put_list_line(out, "LSUB", "", name, names);
        }
        for parent in &parents {
            put_list_line(out, "LSUB", "\\Noselect", parent, names);
        }
        Ok(Done::plain("listed"))
    }

    /// All names of the account, in order; with the subscribed ones that do not exist (`with_ghosts`).
    async fn tree(&self, account: AccountId, with_ghosts: bool) -> Result<Tree, Failure> {
        let (listed, subscribed) = self
            .owner
            .ask(move |mailboxes| async move {
                let listed = mailboxes.list(account).await?;
                let subscribed = match with_ghosts {
                    true => mailboxes.subscriptions(account).await?,
                    false => Vec::new(),
                };
                Ok::<_, MailboxFault>((listed, subscribed))
            })
            .await??;
        let mut entries: Vec<Entry> = listed
            .into_iter()
            .map(|info| Entry { info, exists: true })
            .collect();
        entries.sort_by(|one, other| one.info.name.cmp(&other.info.name));
        let known = entries.len();
        for name in subscribed {
            let found = entries[..known].binary_search_by(|entry| entry.info.name.cmp(&name));
            if found.is_err() {
                let info = MailboxInfo {
                    id: mailbox::MailboxId(0),
                    name,
                    subscribed: true,
                    special_use: None,
                    selectable: false,
                };
                entries.push(Entry {
                    info,
                    exists: false,
                });
            }
        }
        entries.sort_by(|one, other| one.info.name.cmp(&other.info.name));
        Ok(Tree { entries })
    }
}

/// What STATUS reports of one mailbox.
struct Counts {
    status: MailboxStatus,
    /// 0 when it is not asked for.
    recent: u32,
}

impl Counts {
    async fn of(
        mailboxes: &Mailboxes,
        id: MailboxId,
        recent_wanted: bool,
    ) -> Result<Counts, MailboxFault> {
        let status = mailboxes.status(id).await?;
        let recent = match recent_wanted {
            true => mailboxes.recent_count(id).await?,
            false => 0,
        };
        Ok(Counts { status, recent })
    }
}

fn put_status(out: &mut Vec<u8>, name: &str, items: &[StatusItem], counts: &Counts, shown: &Shown) {
    let status = &counts.status;
    put(out, "* STATUS ");
    put_mailbox(out, name, shown.names);
    for (index, item) in items.iter().enumerate() {
        put(out, if index == 0 { " (" } else { " " });
        put(out, item.name());
        out.push(b' ');
        let value = match item {
            StatusItem::Messages => status.messages.into(),
            // Of which no session was notified.
            StatusItem::Recent => counts.recent.into(),
            StatusItem::UidNext => status.uid_next.0.into(),
            StatusItem::UidValidity => status.uid_validity.0.into(),
            StatusItem::Unseen => status.unseen.into(),
            StatusItem::Deleted => status.deleted.into(),
            StatusItem::Size => status.size_bytes,
            // RFC 7162 §3.1.2.1: at least 1.
            StatusItem::HighestModSeq => status.highest_modseq.0.max(1),
            StatusItem::AppendLimit => shown.append_bytes_max as u64,
        };
        put_number(out, value);
    }
    put(out, ")\r\n");
}

struct Tree {
    /// By name.
    entries: Vec<Entry>,
}

struct Entry {
    info: MailboxInfo,
    /// `false`: subscribed, but deleted.
    exists: bool,
}

/// One LIST response.
struct Line<'t> {
    entry: &'t MailboxInfo,
    attributes: Vec<&'static str>,
    /// RFC 5258 §3.5: names below were selected, this one was not.
    child_info: bool,
}

/// What it takes to hold names against patterns of these lengths: a table of one by the other.
fn match_work(patterns: &[usize], names: impl Iterator<Item = usize>) -> usize {
    let patterns: usize = patterns.iter().sum();
    names.sum::<usize>().saturating_mul(patterns + 1) / ROW_WORK_BYTES
}

impl Tree {
    /// Which of the entries one of `patterns` matches.
    fn matched(&self, patterns: &[String]) -> Vec<bool> {
        let matched = |entry: &Entry| {
            let name = composed(&entry.info.name);
            patterns.iter().any(|pattern| matches(pattern, &name))
        };
        self.entries.iter().map(matched).collect()
    }

    /// `matched`: of each entry.
    fn lines(&self, request: &ListRequest, matched: &[bool]) -> Vec<Line<'_>> {
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
                    .any(|(at, child)| selects(request, child) && !matched[at]);
            if selected || child_info {
                let attributes = self.attributes(request, index);
                lines.push(Line {
                    entry: &entry.info,
                    attributes,
                    child_info,
                });
            }
        }
        lines
    }

    /// Entries below the one at `index`. Names like `a-b` may sort between `a` and `a/b`.
    fn below(&self, index: usize) -> impl Iterator<Item = (usize, &Entry)> {
        let name = &self.entries[index].info.name;
        (index + 1..)
            .zip(&self.entries[index + 1..])
            .take_while(move |(_, entry)| entry.info.name.starts_with(name.as_str()))
            .filter(move |(_, entry)| entry.info.name[name.len()..].starts_with(SEPARATOR))
    }

    fn attributes(&self, request: &ListRequest, index: usize) -> Vec<&'static str> {
        let Entry { info, exists } = &self.entries[index];
        let mut attributes = Vec::new();
        if !exists {
            attributes.push("\\NonExistent");
        } else if !info.selectable {
            attributes.push("\\Noselect");
        }
        let has_children = self.below(index).any(|(_, child)| child.exists);
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
            attributes.push(match special_use {
                mailbox::SpecialUse::All => "\\All",
                mailbox::SpecialUse::Archive => "\\Archive",
                mailbox::SpecialUse::Drafts => "\\Drafts",
                mailbox::SpecialUse::Flagged => "\\Flagged",
                mailbox::SpecialUse::Junk => "\\Junk",
                mailbox::SpecialUse::Sent => "\\Sent",
                mailbox::SpecialUse::Trash => "\\Trash",
            });
        }
        attributes
    }
}

fn selects(request: &ListRequest, entry: &Entry) -> bool {
    (!request.select_subscribed || entry.info.subscribed)
        && (!request.select_special_use || entry.info.special_use.is_some())
        && (entry.exists || request.select_subscribed)
}

impl Line<'_> {
    fn put(&self, out: &mut Vec<u8>, word: &str, names: Names) {
        put_list_line(
            out,
            word,
            &self.attributes.join(" "),
            &self.entry.name,
            names,
        );
        if self.child_info {
            out.truncate(out.len() - 2);
            put(out, " (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n");
        }
    }
}

fn put_list_line(out: &mut Vec<u8>, word: &str, attributes: &str, name: &str, names: Names) {
    for piece in ["* ", word, " (", attributes, ") \"/\" "] {
        put(out, piece);
    }
    put_mailbox(out, name, names);
    put(out, "\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
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
            line.put(&mut out, "LIST", Names::Utf8);
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
}
