//! What changes messages: APPEND, STORE, EXPUNGE, COPY, MOVE.

use base::BodyName;
use bytes::Bytes;
use imap::command::StoreChange;
use imap::respond::{Status, put_reply};
use imap::sequence::{self, SequenceSet};
use mail::{Flags, InternalDate, ModSeq, Rights, Summary, SystemFlags, Uid};
use mailbox::{AccountId, Delivery, FlagChange, MailboxFault, MailboxId, Moved, Recipient};
use runtime::Connection;
use std::sync::atomic::Ordering::Relaxed;
use storage::filter::Cause;
use storage::owner::Ask;
use store::BodyIn;

use super::events::{self, Changing, Job};
use super::fault::Failure;
use super::limits::{CONDITIONAL_MAX, LESSONS_TOGETHER_MAX, OUTPUT_BYTES_MAX, STORED_TOGETHER_MAX};
use super::place::{NO_PERMISSION, needs};
use super::selected::Selected;
use super::{Done, End, Imap, flush, teach};

pub struct Store {
    pub uid: bool,
    pub set: SequenceSet,
    pub change: StoreChange,
    pub silent: bool,
    pub flags: Flags,
    pub unchanged_since: Option<ModSeq>,
}

impl<K: Ask> Imap<K> {
    /// APPEND is a delivery like any other, to one mailbox.
    pub(super) async fn on_append(
        &self,
        account: AccountId,
        name: &str,
        flags: Flags,
        date: Option<InternalDate>,
        raw: Bytes,
    ) -> Result<Done, Failure> {
        if raw.is_empty() {
            return Err(Failure::No("CANNOT", "Message is empty"));
        }
        let (place, actor) = (self.find_place(account, name).await?, account);
        place.needs(Rights::INSERT)?;
        // RFC 4314 §4: flags that may not be set there are passed over.
        let flags = place.rights().allowed(&flags);
        let tells = tells_numbers(place.rights());
        let missing = place.missing();
        let account = place.account;
        let bytes = raw.len();
        let now = self.host.unix_seconds();
        let digest = move || BodyIn {
            name: BodyName::of(&raw),
            summary: Bytes::from(Summary::of(&raw).encode()),
            raw,
        };
        let body = self.host.work(bytes, digest).await;
        let mailbox = place.name;
        let delivery = Delivery {
            body,
            internal_date: date.unwrap_or(InternalDate::utc(now)),
            recipients: vec![Recipient {
                account,
                mailbox: mailbox.clone(),
                flags,
            }],
        };
        let placed = self
            .owner
            .ask_either(move |mailboxes, outgoing| async move {
                // A delivery would take INBOX for a missing folder; APPEND must not.
                mailboxes.find(account, &mailbox).await?;
                let mut results = mailboxes.deliver(delivery).await;
                let placed = results.pop().expect("one result for one recipient")?;
                let has_script = events::wants(outgoing.as_ref(), placed.mailbox).await;
                Ok::<_, MailboxFault>((placed, has_script))
            })
            .await?;
        let (placed, has_script) = match placed {
            Ok(placed) => placed,
            Err(MailboxFault::NoMailbox) => return Err(missing),
            Err(fault) => return Err(fault.into()),
        };
        self.counters.appended.fetch_add(1, Relaxed);
        if has_script {
            let uids = std::iter::once(placed.uid);
            self.begin_events(actor, Job::placed(placed.mailbox, Cause::Append, uids));
        }
        let code = || format!("APPENDUID {} {}", placed.uid_validity.0, placed.uid.0);
        Ok(Done {
            // RFC 4315 §3.
            code: tells.then(code).unwrap_or_default(),
            text: "Append completed",
        })
    }

    /// In turns: a STORE to a whole mailbox holds neither its list nor the answer in memory. The outcome, or the end of the
    /// connection.
    pub(super) async fn on_store(
        &self,
        account: AccountId,
        selected: &mut Selected,
        wanted: Store,
        out: &mut Vec<u8>,
        connection: &mut impl Connection,
    ) -> Result<Result<Done, Failure>, End> {
        let targets = match selected.targets(&wanted.set, wanted.uid) {
            Ok(targets) => targets,
            Err(failure) => return Ok(Err(failure)),
        };
        let rights = selected.rights();
        let nothing = rights.allowed(&wanted.flags) == Flags::default();
        let changes_some = match wanted.change {
            StoreChange::Replace => rights.changes_flags(),
            _ => !nothing || wanted.flags == Flags::default(),
        };
        if !changes_some {
            return Ok(Err(NO_PERMISSION));
        }
        let since = wanted.unchanged_since;
        if since.is_some() && targets.len() > CONDITIONAL_MAX {
            return Ok(Err(Failure::No(
                "LIMIT",
                "Too many messages for a conditional STORE",
            )));
        }
        let id = selected.id;
        let change = match wanted.change {
            StoreChange::Replace => FlagChange::Replace,
            StoreChange::Add => FlagChange::Add,
            StoreChange::Remove => FlagChange::Remove,
        };
        // What is junk in another account's mailbox is not this account's to teach.
        let said = match selected.foreign {
            None => teach::said_by(change, &wanted.flags),
            Some(_) => None,
        };
        let (mut some_gone, mut newly) = (false, Vec::new());
        let mut job = Job::placed(id, Cause::Flag, [].into_iter());
        let mut refused: Vec<u32> = Vec::new();
        for turn in targets.chunks(STORED_TOGETHER_MAX) {
            let uids: Vec<Uid> = turn.iter().map(|&(_, uid)| Uid(uid)).collect();
            let flags = wanted.flags.clone();
            let flagged = self
                .owner
                .ask_either(move |mailboxes, outgoing| async move {
                    let changing = match events::wants(outgoing.as_ref(), id).await {
                        true => {
                            let allowed = rights.allowed(&flags);
                            let flags = (&allowed, rights);
                            events::changing(&mailboxes, id, &uids, change, flags).await
                        }
                        false => Changing::default(),
                    };
                    // What says it already is no news: a program that stores all flags again judges nothing.
                    let unsaid = match said {
                        Some(is_junk) => {
                            let mut before = mailboxes.messages(id, &uids).await?;
                            before.retain(|message| !teach::says(&message.flags, is_junk));
                            before.iter().map(|message| message.uid).collect()
                        }
                        None => Vec::new(),
                    };
                    let flagged = mailboxes
                        .change_flags_within(id, &uids, change, &flags, since, rights)
                        .await?;
                    Ok::<_, MailboxFault>((flagged, unsaid, changing))
                })
                .await;
            let (flagged, unsaid, mut changing) = match flagged {
                Ok(Ok(all)) => all,
                // What earlier turns changed is durable.
                Ok(Err(fault)) => {
                    self.begin_events(account, job);
                    return Ok(Err(fault.into()));
                }
                Err(busy) => {
                    self.begin_events(account, job);
                    return Ok(Err(busy.into()));
                }
            };
            some_gone |= flagged.len() < turn.len();
            let before = refused.len();
            let not_done = flagged.iter().filter(|flagged| flagged.is_refused);
            refused.extend(not_done.map(|flagged| flagged.message.uid.0));
            let is_done = |uid: &Uid| refused[before..].binary_search(&uid.0).is_err();
            changing.messages.retain(|(uid, _)| is_done(uid));
            job.add(changing);
            newly.extend(unsaid.into_iter().filter(is_done));
            newly.drain(..newly.len().saturating_sub(LESSONS_TOGETHER_MAX));
            selected.put_stored(&flagged, change, wanted.silent, out);
            drop(flagged);
            if out.len() > OUTPUT_BYTES_MAX {
                flush(out, connection).await?;
            }
        }
        self.begin_events(account, job);
        if let Some(is_junk) = said {
            // Durable by now, as after a MOVE.
            self.teach_marked(account, id, newly.into_iter(), is_junk);
        }
        if !refused.is_empty() {
            // RFC 7162 §3.1.3: numbers for STORE, UIDs for UID STORE. Both ascend.
            let named = |uid: &u32| match wanted.uid {
                true => Some(*uid),
                false => selected.numbering.number_of(*uid),
            };
            let set = sequence::compact(refused.iter().filter_map(named));
            return Ok(Ok(Done {
                code: format!("MODIFIED {set}"),
                text: "Conditional STORE failed for messages that changed",
            }));
        }
        Ok(Ok(Done::for_those_there(
            "Store completed",
            some_gone && !wanted.uid,
        )))
    }

    /// Removes the \Deleted messages, of `uids` or all. `Selected::tell` reports it to the client.
    pub(super) async fn expunge(
        &self,
        selected: &Selected,
        uids: Option<&SequenceSet>,
    ) -> Result<(), Failure> {
        let id = selected.id;
        // Only what this client has seen: what arrived since is not its to expunge.
        let wanted: Option<Vec<(u32, u32)>> = uids.map(|uids| selected.uid_ranges(uids));
        let highest = selected.numbering.highest_uid();
        let known = selected.known.up_to();
        self.owner
            .ask(move |mailboxes| async move {
                // An INBOX that was renamed meanwhile is another mailbox now, which this client has not opened.
                if mailboxes.changes(id, known).await?.gone {
                    return Ok(());
                }
                // The head knows whether anything is \Deleted; clients EXPUNGE much more often than that.
                if mailboxes.status(id).await?.deleted == 0 {
                    return Ok(());
                }
                let view = mailboxes.view(id).await?;
                let uids: Vec<Uid> = view
                    .messages
                    .iter()
                    .filter(|message| message.flags.system.contains(SystemFlags::DELETED))
                    .map(|message| message.uid)
                    .filter(|uid| uid.0 <= highest)
                    .filter(|uid| {
                        let within = |ranges: &Vec<_>| sequence::contains(ranges, uid.0);
                        wanted.as_ref().is_none_or(within)
                    })
                    .collect();
                drop(view);
                mailboxes.expunge(id, &uids).await.map(drop)
            })
            .await??;
        Ok(())
    }

    /// RFC 9051 §6.4.7. All of the messages or none, also when a crash cuts it.
    pub(super) async fn on_copy(
        &self,
        account: AccountId,
        selected: &Selected,
        uid: bool,
        set: &SequenceSet,
        name: &str,
    ) -> Result<Done, Failure> {
        let placed = self
            .place(account, selected, uid, set, name, Way::Copy)
            .await?;
        Ok(Done {
            code: placed.and_then(|placed| placed.code()).unwrap_or_default(),
            text: "Copy completed",
        })
    }

    /// RFC 6851. A move that stopped on its way answers NO, with COPYUID for what was moved.
    pub(super) async fn on_move(
        &self,
        account: AccountId,
        selected: &Selected,
        uid: bool,
        set: &SequenceSet,
        name: &str,
        out: &mut Vec<u8>,
    ) -> Result<Done, Failure> {
        let placed = self
            .place(account, selected, uid, set, name, Way::Move)
            .await?;
        match placed {
            Some(placed) => placed.put_moved(out),
            None => Ok(Done::plain("Move completed")),
        }
    }

    /// Both commands: the target is looked up first, and nothing to place is OK (`None`).
    async fn place(
        &self,
        account: AccountId,
        selected: &Selected,
        uid: bool,
        set: &SequenceSet,
        name: &str,
        way: Way,
    ) -> Result<Option<Placed>, Failure> {
        let targets = selected.targets(set, uid)?;
        let uids: Vec<Uid> = targets.iter().map(|&(_, uid)| Uid(uid)).collect();
        if let (Way::Move, Some(foreign)) = (way, selected.foreign) {
            // RFC 6851 §3.3: what STORE of \Deleted and EXPUNGE need.
            needs(
                foreign.rights,
                Rights::DELETE_MESSAGES.with(Rights::EXPUNGE),
            )?;
        }
        let place = self.find_place(account, name).await?;
        place.needs(Rights::INSERT)?;
        let (missing, rights, owner) = (place.missing(), place.rights(), place.account);
        let is_own = place.foreign.is_none() && selected.foreign.is_none();
        let (from, name) = (selected.id, place.name);
        let target = name.clone();
        let (mut result, event_at): (Option<Placed>, Option<MailboxId>) = self
            .owner
            .ask_either(move |mailboxes, outgoing| async move {
                let to: MailboxId = match mailboxes.find(owner, &target).await {
                    Ok(to) => to,
                    Err(MailboxFault::NoMailbox) => return Err(missing),
                    Err(fault) => return Err(fault.into()),
                };
                // RFC 9051 §6.4.7: nothing to copy is OK, to a mailbox that is there.
                if uids.is_empty() {
                    return Ok((None, None));
                }
                let moved = match way {
                    Way::Copy => {
                        let (uid_validity, pairs) =
                            mailboxes.copy_with(from, &uids, to, rights).await?;
                        Moved {
                            uid_validity,
                            pairs,
                            fault: None,
                        }
                    }
                    Way::Move => mailboxes.move_with(from, &uids, to, rights).await?,
                };
                let has_script = events::wants(outgoing.as_ref(), to).await;
                Ok((Some(Placed(moved)), has_script.then_some(to)))
            })
            .await??;
        if let (Some(Placed(moved)), Some(to)) = (&result, event_at) {
            let new = moved.pairs.iter().map(|(_, new)| *new);
            self.begin_events(account, Job::placed(to, Cause::Copy, new));
        }
        if let (Some(Placed(moved)), true) = (&result, is_own) {
            // Durable by now; what comes of it does not change the answer.
            let new = moved.pairs.iter().map(|(_, new)| *new);
            self.teach(account, selected.id, name, new);
        }
        if let (Some(Placed(moved)), false) = (&mut result, tells_numbers(rights)) {
            moved.pairs.clear();
        }
        Ok(result)
    }
}

/// RFC 4315 §3: APPENDUID and COPYUID would show what is in a mailbox that may not be read.
pub(super) fn tells_numbers(rights: Rights) -> bool {
    rights.contains(Rights::READ)
}

/// Whether the sources stay.
#[derive(Debug, Clone, Copy)]
enum Way {
    Copy,
    Move,
}

/// What a COPY or MOVE did.
struct Placed(Moved);

impl Placed {
    /// RFC 4315 §3: sources and targets in the same order. Both ascend, so both may be written as ranges. `None`: nothing was placed.
    fn code(&self) -> Option<String> {
        let Moved {
            uid_validity,
            pairs,
            ..
        } = &self.0;
        let ascending = pairs
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        assert!(ascending, "copies keep the order of their sources");
        if pairs.is_empty() {
            return None;
        }
        let from = sequence::compact(pairs.iter().map(|(from, _)| from.0));
        let to = sequence::compact(pairs.iter().map(|(_, to)| to.0));
        Some(format!("COPYUID {} {from} {to}", uid_validity.0))
    }

    /// RFC 6851 §4.3: COPYUID comes before the EXPUNGEs, untagged. §3.3: when some could not be moved it comes all the same, and the
    /// answer is `NO`.
    fn put_moved(self, out: &mut Vec<u8>) -> Result<Done, Failure> {
        if let Some(code) = self.code() {
            put_reply(out, "*", Status::Ok, &code, "Messages moved");
        }
        match self.0.fault {
            None => Ok(Done::plain("Move completed")),
            Some(fault) => Err(fault.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use mail::UidValidity;

    use super::*;

    fn placed(fault: Option<MailboxFault>) -> Placed {
        let pairs = [(1, 5), (2, 6), (4, 7)].map(|(from, to)| (Uid(from), Uid(to)));
        Placed(Moved {
            uid_validity: UidValidity(9),
            pairs: pairs.to_vec(),
            fault,
        })
    }

    #[test]
    fn copied_uids_are_told_in_ranges() {
        assert_eq!(placed(None).code().unwrap(), "COPYUID 9 1:2,4 5:7");
    }

    #[test]
    fn a_move_of_some_tells_which_and_is_answered_no() {
        for fault in [None, Some(MailboxFault::OverQuota)] {
            let mut out = Vec::new();
            let done = placed(fault.clone()).put_moved(&mut out);
            assert_eq!(out, b"* OK [COPYUID 9 1:2,4 5:7] Messages moved\r\n");
            assert_eq!(done.err(), fault.map(Failure::Mailbox));
        }
    }
}
