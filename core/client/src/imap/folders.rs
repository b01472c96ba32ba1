//! Mailboxes as a tree: SELECT, CREATE, DELETE, RENAME, SUBSCRIBE, LIST, LSUB, STATUS.

mod tree;

use std::collections::HashSet;

use imap::Names;
use imap::command::{ListRequest, Resync, SpecialUse, StatusItem};
use imap::list::{SEPARATOR, joined, matches};
use imap::respond::{Status, put, put_mailbox, put_number, put_reply};
use mail::SystemFlags;
use mail::spelling::composed;
use mailbox::limits::NAME_LEVELS_MAX;
use mailbox::{AccountId, MailboxFault, MailboxId, MailboxInfo, MailboxStatus, Mailboxes, Message};
use runtime::Connection;
use storage::owner::Ask;

use super::fault::Failure;
use super::limits::{OUTPUT_BYTES_MAX, ROW_WORK_BYTES};
use super::mode::Mode;
use super::object::mailbox_id;
use super::resync::{Asked, Vanished};
use super::selected::Selected;
use super::watch::Watching;
use super::{Client, Done, End, Imap, flush};
use tree::{Entry, Line, Tree, match_work};

/// How names and limits are shown to this client.
pub struct Shown {
    pub names: Names,
    pub append_bytes_max: usize,
}

impl<K: Ask> Imap<K> {
    /// RFC 9051 §6.3.2 and §6.3.3: a failure leaves no mailbox open. `resync` is what the client knows (RFC 7162 §3.2.5): VANISHED (EARLIER) is
    /// sent here, the flags that changed by the `tell` before the answer.
    pub(super) async fn on_select(
        &self,
        client: &mut Client,
        account: AccountId,
        name: &str,
        read_only: bool,
        resync: Option<Box<Resync>>,
        connection: &mut impl Connection,
    ) -> Result<Result<Done, Failure>, End> {
        // RFC 9051 §6.3.2: the mailbox that was open is closed, also when opening the next one fails.
        if client.selected.take().is_some() {
            client.session.unselected();
            let text = "Previous mailbox closed";
            put_reply(&mut client.out, "*", Status::Ok, "CLOSED", text);
        }
        let asked = resync.as_deref().map(Asked::of);
        let begun = Watching::begin(&self.owner, &self.host, account, name, !read_only, asked);
        let mut begun = match begun.await {
            Ok(Ok(begun)) => begun,
            Ok(Err(fault)) => return Ok(Err(fault.into())),
            Err(busy) => return Ok(Err(busy.into())),
        };
        let mode = Mode::of(&client.session);
        let inbox_of = (name.strip_suffix(SEPARATOR).unwrap_or(name) == "INBOX").then_some(account);
        let happened = begun.resync.take();
        let (mut selected, opening) = Selected::new(begun, inbox_of, read_only, mode);
        selected.put_opening(&opening, &mut client.out);
        if mode.rev2 {
            put(&mut client.out, "* LIST () \"/\" ");
            put_mailbox(&mut client.out, name, client.session.names());
            put(&mut client.out, "\r\n");
        }
        if let Some(happened) = happened {
            let matches = resync.as_deref().and_then(|resync| resync.matches.as_ref());
            let mut vanished = selected.comes_back(happened, matches);
            put_vanished(&mut vanished, &mut client.out, connection).await?;
        }
        client.selected = Some(selected);
        client.session.selected(read_only);
        Ok(Ok(Done {
            code: if read_only { "READ-ONLY" } else { "READ-WRITE" }.into(),
            text: "Mailbox selected",
        }))
    }

    /// RFC 9051 §6.3.4. Missing parents are made too.
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
        let id = self
            .owner
            .ask(
                move |mailboxes| async move { mailboxes.create(account, &name, special_use).await },
            )
            .await??;
        Ok(Done {
            // RFC 8474 §4.1.
            code: format!("MAILBOXID {}", mailbox_id(id)),
            text: "Create completed",
        })
    }

    /// RFC 9051 §6.3.5. Sessions that have the mailbox open are ended by their watch.
    pub(super) async fn on_delete(&self, account: AccountId, name: &str) -> Result<Done, Failure> {
        let name = name.to_owned();
        self.owner
            .ask(move |mailboxes| async move { mailboxes.delete(account, &name).await })
            .await??;
        Ok(Done::plain("Delete completed"))
    }

    /// RFC 9051 §6.3.6; INBOX keeps its name and gives its messages away.
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
        Ok(Done::plain("Rename completed"))
    }

    /// RFC 9051 §6.3.7 and §6.3.8.
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
        Ok(match subscribed {
            true => Done::plain("Subscribe completed"),
            false => Done::plain("Unsubscribe completed"),
        })
    }

    /// RFC 9051 §6.3.11.
    pub(super) async fn on_status(
        &self,
        account: AccountId,
        name: &str,
        items: &[StatusItem],
        shown: &Shown,
        out: &mut Vec<u8>,
    ) -> Result<Done, Failure> {
        let wanted = name.to_owned();
        let counted = Counted::by(items);
        let status = self
            .owner
            .ask(move |mailboxes| async move {
                let id = mailboxes.find(account, &wanted).await?;
                Counts::of(&mailboxes, id, counted).await
            })
            .await??;
        put_status(out, name, items, &status, shown);
        Ok(Done::plain("Status completed"))
    }

    /// RFC 9051 §6.3.9. The lines are sent as they are written; the outer error is the connection's.
    pub(super) async fn on_list(
        &self,
        account: AccountId,
        request: &ListRequest,
        shown: &Shown,
        (out, connection): (&mut Vec<u8>, &mut impl Connection),
    ) -> Result<Result<Done, Failure>, End> {
        // RFC 9051 §6.3.9: an empty pattern asks for the separator.
        if !request.extended && request.patterns.iter().all(|pattern| pattern.is_empty()) {
            put(out, "* LIST (\\Noselect) \"/\" \"\"\r\n");
            return Ok(Ok(Done::plain("List completed")));
        }
        let (tree, lines, statuses) = match self.listing(account, request).await {
            Ok(listing) => listing,
            Err(failure) => return Ok(Err(failure)),
        };
        // One for each selectable line, in their order.
        let mut statuses = statuses.into_iter();
        let put_line = |out: &mut Vec<u8>, line: Line| {
            let info = &tree.entries[line.index].info;
            line.put(out, info, "LIST", shown.names);
            let status = match info.selectable {
                true => statuses.next(),
                false => None,
            };
            if let Some(Ok(status)) = &status {
                put_status(out, &info.name, &request.return_status, status, shown);
            }
        };
        put_all(lines.into_iter(), put_line, out, connection).await?;
        Ok(Ok(Done::plain("List completed")))
    }

    /// What LIST answers: the lines, of entries of the tree, and the counts of the selectable ones where they are asked for.
    async fn listing(&self, account: AccountId, request: &ListRequest) -> Result<Listing, Failure> {
        let tree = self.tree(account, request.select_subscribed).await?;
        let patterns: Vec<String> = request
            .patterns
            .iter()
            .map(|pattern| joined(&request.reference, pattern))
            .map(|pattern| composed(&pattern).into_owned())
            .collect();
        let lengths: Vec<usize> = patterns.iter().map(String::len).collect();
        let names = tree.entries.iter().map(|entry| entry.info.name.len());
        let cost = match_work(&lengths, names) + tree.entries.len() * ROW_WORK_BYTES;
        let wanted = request.clone();
        let look = move || {
            let matched = tree.matched(&patterns);
            let lines = tree.lines(&wanted, &matched);
            (tree, lines)
        };
        let (tree, lines) = self.host.work(cost, look).await;
        let mut statuses = Vec::new();
        if !request.return_status.is_empty() {
            let ids: Vec<_> = lines
                .iter()
                .map(|line| &tree.entries[line.index].info)
                .filter(|info| info.selectable)
                .map(|info| info.id)
                .collect();
            let counted = Counted::by(&request.return_status);
            statuses = self
                .owner
                .ask(move |mailboxes| async move {
                    let mut statuses = Vec::with_capacity(ids.len());
                    for id in ids {
                        statuses.push(Counts::of(&mailboxes, id, counted).await);
                    }
                    statuses
                })
                .await?;
        }
        Ok((tree, lines, statuses))
    }

    /// RFC 3501 §6.3.9.
    pub(super) async fn on_lsub(
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

/// All lines, sent as they become more than `out` should hold.
pub(super) async fn put_vanished(
    vanished: &mut Vanished,
    out: &mut Vec<u8>,
    connection: &mut impl Connection,
) -> Result<(), End> {
    while vanished.put_line(out) {
        if out.len() > OUTPUT_BYTES_MAX {
            flush(out, connection).await?;
        }
    }
    Ok(())
}

/// See `Imap::listing`.
type Listing = (Tree, Vec<Line>, Vec<Result<Counts, MailboxFault>>);

/// Puts a line about each of `lines`, and sends what is more than `out` should hold.
async fn put_all<T>(
    mut lines: impl Iterator<Item = T>,
    mut put: impl FnMut(&mut Vec<u8>, T),
    out: &mut Vec<u8>,
    connection: &mut impl Connection,
) -> Result<(), End> {
    while put_some(&mut lines, &mut put, out) {
        flush(out, connection).await?;
    }
    Ok(())
}

/// `true`: `out` is to be sent before there is more.
fn put_some<T>(
    lines: &mut impl Iterator<Item = T>,
    put: &mut impl FnMut(&mut Vec<u8>, T),
    out: &mut Vec<u8>,
) -> bool {
    while out.len() <= OUTPUT_BYTES_MAX {
        match lines.next() {
            Some(line) => put(out, line),
            None => return false,
        }
    }
    true
}

/// What STATUS reports of one mailbox.
struct Counts {
    status: MailboxStatus,
    id: MailboxId,
    /// 0 when it is not asked for.
    recent: u32,
    /// The same: octets of messages with \Deleted (RFC 9208 §5.1).
    deleted_bytes: u64,
}

/// What costs more than the head of a mailbox.
#[derive(Clone, Copy)]
struct Counted {
    recent: bool,
    deleted_bytes: bool,
}

impl Counted {
    fn by(items: &[StatusItem]) -> Counted {
        Counted {
            recent: items.contains(&StatusItem::Recent),
            deleted_bytes: items.contains(&StatusItem::DeletedStorage),
        }
    }
}

impl Counts {
    async fn of(
        mailboxes: &Mailboxes,
        id: MailboxId,
        wanted: Counted,
    ) -> Result<Counts, MailboxFault> {
        let status = mailboxes.status(id).await?;
        let recent = match wanted.recent {
            true => mailboxes.recent_count(id).await?,
            false => 0,
        };
        let mut deleted_bytes = 0;
        // The head counts them: most mailboxes have none, and are not looked through.
        if wanted.deleted_bytes && status.deleted > 0 {
            let view = mailboxes.view(id).await?;
            let deleted = |message: &&Message| message.flags.system.contains(SystemFlags::DELETED);
            let sizes = view.messages.iter().filter(deleted);
            deleted_bytes = sizes.map(|message| u64::from(message.size_bytes)).sum();
        }
        Ok(Counts {
            status,
            id,
            recent,
            deleted_bytes,
        })
    }
}

/// The untagged line, with the items in the client's order.
fn put_status(out: &mut Vec<u8>, name: &str, items: &[StatusItem], counts: &Counts, shown: &Shown) {
    let status = &counts.status;
    put(out, "* STATUS ");
    put_mailbox(out, name, shown.names);
    for (index, item) in items.iter().enumerate() {
        put(out, if index == 0 { " (" } else { " " });
        put(out, item.name());
        out.push(b' ');
        let value = match item {
            StatusItem::MailboxId => {
                put(out, &mailbox_id(counts.id));
                continue;
            }
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
            StatusItem::DeletedStorage => counts.deleted_bytes,
        };
        put_number(out, value);
    }
    put(out, ")\r\n");
}

/// `word` is LIST or LSUB; `attributes` have spaces between them.
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

    #[test]
    fn a_long_list_is_put_together_in_pieces() {
        let names: Vec<String> = (0..10_000).map(|number| format!("{number:0>50}")).collect();
        let mut lines = names.iter();
        let mut put_line = |out: &mut Vec<u8>, name: &String| {
            put_list_line(out, "LSUB", "", name, Names::Utf8);
        };
        let (mut all, mut more) = (0, true);
        while more {
            let mut out = Vec::new();
            more = put_some(&mut lines, &mut put_line, &mut out);
            assert!(out.len() <= OUTPUT_BYTES_MAX + 100, "{}", out.len());
            all += out.split_inclusive(|&byte| byte == b'\n').count();
        }
        assert_eq!(all, names.len());
    }
}
