//! Mailboxes as a tree: SELECT, CREATE, DELETE, RENAME, SUBSCRIBE, LIST, LSUB, STATUS.

mod extras;
mod foreign;
mod lsub;
mod tree;

use std::collections::{BTreeSet, HashMap};

use imap::Names;
use imap::command::{ListRequest, Resync, SpecialUse, StatusItem};
use imap::list::{SEPARATOR, joined};
use imap::respond::{Status, put, put_mailbox, put_number, put_reply};
use mail::spelling::composed;
use mail::{Rights, SystemFlags};
use mailbox::{AccountId, MailboxFault, MailboxId, MailboxInfo, MailboxStatus, Mailboxes, Message};
use runtime::Connection;
use storage::owner::Ask;

use super::fault::Failure;
use super::limits::{LOOKED_AT_TOGETHER, OUTPUT_BYTES_MAX, ROW_WORK_BYTES};
use super::mode::Mode;
use super::object::mailbox_id;
use super::place::root_of;
use super::resync::{Asked, Vanished};
use super::selected::Selected;
use super::watch::Watching;
use super::{Client, Done, End, Imap, flush};
pub(super) use tree::attribute_of;
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
        let place = match self.find_place(account, name).await {
            Ok(place) => place,
            Err(failure) => return Ok(Err(failure)),
        };
        if let Err(failure) = place.needs(Rights::READ) {
            return Ok(Err(failure));
        }
        // RFC 4314 §5.2: without a right to change anything the mailbox is open for reading.
        let changes = Rights::parse("iswte").expect("letters of rights");
        let read_only = read_only || !place.rights().meets(changes);
        let claims = !read_only && place.foreign.is_none();
        let asked = resync.as_deref().map(Asked::of);
        let (owner, folder) = (place.account, &place.name);
        let begun = Watching::begin(&self.owner, &self.host, owner, folder, claims, asked);
        let mut begun = match begun.await {
            Ok(Ok(begun)) => begun,
            Ok(Err(fault)) => return Ok(Err(fault.into())),
            Err(busy) => return Ok(Err(busy.into())),
        };
        let mode = Mode::of(&client.session);
        let is_inbox = name.strip_suffix(SEPARATOR).unwrap_or(name) == "INBOX";
        let inbox_of = is_inbox.then_some(account);
        let happened = begun.resync.take();
        let (mut selected, opening) = Selected::new(begun, inbox_of, read_only, mode);
        if place.foreign.is_some() {
            selected.belongs_to_other(&opening, account, place.rights());
        }
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
        let place = self.new_place(account, name).await?;
        place.needs_above(Rights::CREATE)?;
        if place.foreign.is_some() && special_use.is_some() {
            return Err(Failure::No(
                "USEATTR",
                "Special uses are given to one's own mailboxes only",
            ));
        }
        let (account, name) = (place.account, place.name);
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
        let place = self.find_place(account, name).await?;
        place.needs(Rights::DELETE_MAILBOX)?;
        let (account, name) = (place.account, place.name);
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
        let from = self.find_place(account, from).await?;
        from.needs(Rights::DELETE_MAILBOX)?;
        let to = self.new_place(account, to).await?;
        to.needs_above(Rights::CREATE)?;
        if from.account != to.account {
            return Err(Failure::No(
                "CANNOT",
                "Mailboxes cannot be renamed into another account",
            ));
        }
        if from.foreign.is_some() && from.name == "INBOX" {
            return Err(Failure::No(
                "CANNOT",
                "INBOX of another account cannot be renamed",
            ));
        }
        let (account, from, to) = (from.account, from.name, to.name);
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
        let name = match (root_of(name), subscribed) {
            (Some(_), true) => {
                let place = self.find_place(account, name).await?;
                place.needs(Rights::LOOKUP)?;
                place.shown()
            }
            _ => name.to_owned(),
        };
        let is_own = root_of(&name).is_none();
        self.owner
            .ask(move |mailboxes| async move {
                // RFC 9051 §6.3.7 lets a server look whether the mailbox exists: a name that was mistyped is not accepted.
                // The parent of others is a name too, without a mailbox.
                let root = root_of(&name).map_or("", |(root, _)| root);
                let is_own = is_own || mailboxes.has_root(account, root).await?;
                if subscribed && is_own {
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
        let place = self.find_place(account, name).await?;
        place.needs(Rights::READ)?;
        let (account, wanted) = (place.account, place.name);
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
        let (tree, lines, statuses, notes) = match self.listing(account, request).await {
            Ok(listing) => listing,
            Err(failure) => return Ok(Err(failure)),
        };
        // One for each selectable line, in their order.
        let (mut statuses, mut notes) = (statuses.into_iter(), notes.into_iter());
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
            let notes = match info.selectable {
                true => notes.next(),
                false => None,
            };
            let rights = tree.rights(&info.name);
            extras::put(out, info, request, rights, notes, shown.names);
        };
        put_all(lines.into_iter(), put_line, out, connection).await?;
        Ok(Ok(Done::plain("List completed")))
    }

    /// What LIST answers: the lines, of entries of the tree, and the counts of the selectable ones where they are asked for.
    async fn listing(&self, account: AccountId, request: &ListRequest) -> Result<Listing, Failure> {
        let patterns: Vec<String> = request
            .patterns
            .iter()
            .map(|pattern| joined(&request.reference, pattern))
            .map(|pattern| composed(&pattern).into_owned())
            .collect();
        let others = foreign::may_match(&patterns);
        let tree = self
            .tree(account, request.select_subscribed, others)
            .await?;
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
        let selectable: Vec<MailboxId> = lines
            .iter()
            .map(|line| &tree.entries[line.index].info)
            .filter(|info| info.selectable)
            .map(|info| info.id)
            .collect();
        let notes = match request.return_metadata.is_empty() {
            true => Vec::new(),
            false => {
                let (ids, names) = (selectable.clone(), request.return_metadata.clone());
                self.notes_on(account, ids, names).await?
            }
        };
        let mut statuses = Vec::new();
        if !request.return_status.is_empty() {
            let ids = selectable;
            let counted = Counted::by(&request.return_status);
            statuses = self
                .owner
                .ask(move |mailboxes| async move {
                    let mut statuses = Vec::with_capacity(ids.len());
                    for (index, id) in ids.into_iter().enumerate() {
                        statuses.push(Counts::of(&mailboxes, id, counted).await);
                        if index % LOOKED_AT_TOGETHER == LOOKED_AT_TOGETHER - 1 {
                            tokio::task::yield_now().await;
                        }
                    }
                    statuses
                })
                .await?;
        }
        Ok((tree, lines, statuses, notes))
    }

    /// All names of the account, in order; with the subscribed ones that do not exist (`with_ghosts`), and with what others share (`others`).
    async fn tree(
        &self,
        account: AccountId,
        with_ghosts: bool,
        others: bool,
    ) -> Result<Tree, Failure> {
        let (listed, subscribed, foreign) = self
            .owner
            .ask(move |mailboxes| async move {
                let listed = mailboxes.list(account).await?;
                let (foreign, is_whole) = match others {
                    true => mailboxes.foreign(account).await?,
                    false => (Vec::new(), true),
                };
                if !is_whole {
                    tracing::warn!(account = account.0, "more is shared than LIST shows");
                }
                let subscribed = match with_ghosts || !foreign.is_empty() {
                    true => mailboxes.subscriptions(account).await?,
                    false => Vec::new(),
                };
                Ok::<_, MailboxFault>((listed, subscribed, foreign))
            })
            .await??;
        let mut entries: Vec<Entry> = listed
            .into_iter()
            .map(|info| Entry { info, exists: true })
            .collect();
        let subscribed: BTreeSet<String> = subscribed.into_iter().collect();
        let rights = match foreign.is_empty() {
            true => HashMap::new(),
            false => foreign::add(&mut entries, foreign, &subscribed),
        };
        entries.sort_by(|one, other| one.info.name.cmp(&other.info.name));
        let known = entries.len();
        for name in subscribed.into_iter().filter(|_| with_ghosts) {
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
        Ok(Tree { entries, rights })
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
type Listing = (
    Tree,
    Vec<Line>,
    Vec<Result<Counts, MailboxFault>>,
    Vec<mailbox::NoteList>,
);

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
pub(super) struct Counts {
    status: MailboxStatus,
    id: MailboxId,
    /// 0 when it is not asked for.
    recent: u32,
    /// The same: octets of messages with \Deleted (RFC 9208 §5.1).
    deleted_bytes: u64,
}

/// What costs more than the head of a mailbox.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    recent: bool,
    deleted_bytes: bool,
}

impl Counted {
    pub(super) fn by(items: &[StatusItem]) -> Counted {
        Counted {
            recent: items.contains(&StatusItem::Recent),
            deleted_bytes: items.contains(&StatusItem::DeletedStorage),
        }
    }
}

impl Counts {
    pub(super) async fn of(
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
pub(super) fn put_status(
    out: &mut Vec<u8>,
    name: &str,
    items: &[StatusItem],
    counts: &Counts,
    shown: &Shown,
) {
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
pub(super) fn put_list_line(
    out: &mut Vec<u8>,
    word: &str,
    attributes: &str,
    name: &str,
    names: Names,
) {
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
