//! From a command to what answers it.

use imap::respond::{Status, put_reply};
use imap::{Body, Command, State};
use mail::Rights;
use runtime::Connection;
use storage::owner::Ask;

use super::fault::Failure;
use super::limits::SILENCE_GRACE;
use super::mode::Mode;
use super::place::needs;
use super::selected::{Expunges, Selected};
use super::{Client, Done, End, Imap, fetch, folders, messages, notify};

impl<K: Ask> Imap<K> {
    /// Does a command and replies to it.
    pub(super) async fn perform(
        &self,
        client: &mut Client,
        connection: &mut impl Connection,
        command: Command,
        bytes: Vec<u8>,
    ) -> Result<(), End> {
        let Command { tag, body } = command;
        // RFC 9051 §7.5.1: by number, numbers stay. RFC 3501 §7.4.1 allows EXPUNGE in their UID forms.
        let expunges = match &body {
            Body::Fetch { uid: false, .. } | Body::Store { uid: false, .. } => Expunges::Later,
            Body::Search(request) if !request.uid => Expunges::Later,
            Body::Sort(request) if !request.search.uid => Expunges::Later,
            Body::Thread(request) if !request.uid => Expunges::Later,
            _ => Expunges::Now,
        };
        let lost = client.session.take_saved_lost();
        if let (true, Some(selected)) = (lost, &mut client.selected) {
            selected.saved = Vec::new();
        }
        // A mailbox of another account: what may be done there may have changed. SELECT leaves it.
        if let (Some(selected), false) = (&mut client.selected, matches!(body, Body::Select { .. }))
        {
            match self.look_at_rights(selected).await {
                Ok(true) => {}
                Ok(false) => {
                    Failure::Busy.put(&mut client.out, &tag);
                    return Ok(());
                }
                Err(gone) => return Err(gone.end(client)),
            }
        }
        let mode = Mode::of(&client.session);
        if let Some(selected) = &mut client.selected {
            // RFC 7162 §3.1: from now on the client keeps modification sequences of this mailbox.
            let newly = mode.condstore && !selected.mode.condstore;
            selected.mode = mode;
            if newly && !matches!(body, Body::Select { .. }) {
                selected.put_highest(&mut client.out);
            }
        }
        let takes_out = matches!(
            body,
            Body::Expunge { .. } | Body::Move { .. } | Body::Replace { .. }
        );
        let comes_back = matches!(
            &body,
            Body::Select {
                resync: Some(_),
                ..
            }
        );
        let listens = body == Body::Noop;
        let fetch_began = matches!(body, Body::Fetch { .. }).then(|| self.host.now());
        let (ours, asks) = (client.ours(&body), notify::asks(&body));
        let mut answer = self.answer(client, connection, &tag, body, bytes).await?;
        if let Ok(done) = &answer {
            client.forget(&ours);
            self.note_placed(client, &ours, &done.code).await;
        }
        let told = self.tell_as(client, connection, expunges, asks).await?;
        let behind = client.selected.as_ref().is_some_and(Selected::is_behind);
        if comes_back && answer.is_ok() && behind {
            // It would take the HIGHESTMODSEQ that it was sent for what it knows.
            client.selected = None;
            client.session.unselected();
            answer = Err(Failure::Busy);
        }
        if let Some(selected) = &mut client.selected {
            // RFC 7162 §3.2.7, §3.2.9.
            if let (true, true, true, Ok(done)) =
                (takes_out, mode.qresync, selected.told_gone(), &mut answer)
            {
                done.code = format!("HIGHESTMODSEQ {}", selected.settled().0);
            }
            selected.put_ahead(&mut client.out);
        }
        if let (true, Some(selected)) = (listens, &mut client.selected) {
            selected.was_listening();
        }
        match answer {
            Ok(Done { code, text }) => {
                if let Some(began) = fetch_began {
                    let took_us = self.host.now().since_us(began);
                    self.counters.fetches.note(took_us);
                }
                put_reply(&mut client.out, &tag, Status::Ok, &code, text);
            }
            Err(failure) => failure.put(&mut client.out, &tag),
        }
        told.map_err(|gone| gone.end(client))
    }

    async fn answer(
        &self,
        client: &mut Client,
        connection: &mut impl Connection,
        tag: &str,
        body: Body,
        bytes: Vec<u8>,
    ) -> Result<Result<Done, Failure>, End> {
        let account = client
            .account
            .expect("the session admits no account before");
        let from = super::login::from(client, connection);
        let out = &mut client.out;
        let names = client.session.names();
        let shown = folders::Shown {
            names,
            append_bytes_max: client.session.append_bytes_max(),
        };
        Ok(match body {
            Body::Noop => Ok(Done::plain("NOOP completed")),
            Body::Check => Ok(Done::plain("Check completed")),
            Body::Select {
                mailbox,
                read_only,
                resync,
                ..
            } => {
                self.on_select(client, account, &mailbox, read_only, resync, connection)
                    .await?
            }
            // The session has enabled it, and HIGHESTMODSEQ is in `out`.
            Body::Enable(_) => Ok(Done::plain("Enable completed")),
            Body::Close | Body::Unselect => {
                let done = match body {
                    Body::Close => Done::plain("Close completed"),
                    _ => Done::plain("Unselect completed"),
                };
                let writable = client.session.state() == State::Selected { read_only: false };
                let selected = client.selected.take();
                client.session.unselected();
                match selected {
                    // RFC 9051 §6.4.1: without telling.
                    Some(selected)
                        if body == Body::Close
                            && writable
                            && selected.rights().contains(Rights::EXPUNGE) =>
                    {
                        self.expunge(&selected, None).await.map(|()| done)
                    }
                    _ => Ok(done),
                }
            }
            Body::Create {
                mailbox,
                special_use,
            } => self.on_create(account, &mailbox, special_use).await,
            Body::Delete(mailbox) => self.on_delete(account, &mailbox).await,
            Body::Rename { from, to } => self.on_rename(account, &from, &to).await,
            Body::Subscribe(mailbox) => self.on_subscribe(account, &mailbox, true).await,
            Body::Unsubscribe(mailbox) => self.on_subscribe(account, &mailbox, false).await,
            Body::List(request) => {
                self.on_list(account, &request, &shown, (out, connection))
                    .await?
            }
            Body::Lsub { reference, pattern } => {
                self.on_lsub(account, &reference, &pattern, names, (out, connection))
                    .await?
            }
            Body::Status { mailbox, items } => {
                self.on_status(account, &mailbox, &items, &shown, out).await
            }
            Body::Namespace => self.on_namespace(account, out).await,
            Body::Acl(acl) => self.on_acl(account, acl, names, &from, out).await,
            Body::Metadata(metadata) => self.on_metadata(account, metadata, names, out).await,
            Body::Notify(command) => self.on_notify(client, account, command, connection).await?,
            Body::GetQuota(root) => self.on_get_quota(account, &root, out).await,
            Body::GetQuotaRoot(mailbox) => {
                self.on_get_quota_root(account, &mailbox, names, out).await
            }
            Body::Unauthenticate => {
                client.selected = None;
                client.notify = None;
                client.account = None;
                client.session.unauthenticated();
                connection.deadline(self.silences.before_login + SILENCE_GRACE);
                Ok(Done {
                    code: format!("CAPABILITY {}", client.session.capabilities()),
                    text: "Logged out; log in again",
                })
            }
            Body::Append {
                mailbox,
                flags,
                date,
                message,
            } => {
                let raw = bytes::Bytes::from(bytes).slice(message.0);
                self.on_append(account, &mailbox, flags, date, raw).await
            }
            Body::AppendMany { mailbox, letters } => {
                let bytes = bytes::Bytes::from(bytes);
                self.on_append_many(account, &mailbox, letters, bytes).await
            }
            Body::Replace {
                uid,
                set,
                mailbox,
                letter,
            } => {
                let selected = client.selected.as_ref().expect("the session knows");
                let bytes = bytes::Bytes::from(bytes);
                let target = (uid, &set);
                self.on_replace(account, selected, target, &mailbox, letter, bytes, out)
                    .await
            }
            Body::Expunge { uids } => {
                let selected = client.selected.as_ref().expect("the session knows");
                let done = match needs(selected.rights(), Rights::EXPUNGE) {
                    Ok(()) => self.expunge(selected, uids.as_ref()).await,
                    refused => refused,
                };
                done.map(|()| Done::plain("Expunge completed"))
            }
            Body::Store {
                uid,
                set,
                change,
                silent,
                flags,
                unchanged_since,
            } => {
                let selected = client.selected.as_mut().expect("the session knows");
                let wanted = messages::Store {
                    uid,
                    set,
                    change,
                    silent,
                    flags,
                    unchanged_since,
                };
                self.on_store(account, selected, wanted, out, connection)
                    .await?
            }
            Body::Copy { uid, set, mailbox } => {
                let selected = client.selected.as_ref().expect("the session knows");
                self.on_copy(account, selected, uid, &set, &mailbox).await
            }
            Body::Move { uid, set, mailbox } => {
                let selected = client.selected.as_ref().expect("the session knows");
                self.on_move(account, selected, uid, &set, &mailbox, out)
                    .await
            }
            Body::Search(request) => {
                let selected = client.selected.as_mut().expect("the session knows");
                let rev2 = client.session.is_rev2();
                let saves = request.results.is_some_and(|results| results.save);
                let done = self
                    .on_search(account, selected, &request, rev2, tag, (out, connection))
                    .await?;
                // RFC 9051 §6.4.4.1: NO empties `$`.
                if let (true, Err(Failure::No(..) | Failure::Busy | Failure::Mailbox(_))) =
                    (saves, &done)
                {
                    selected.saved = Vec::new();
                }
                done
            }
            Body::Sort(request) => {
                let selected = client.selected.as_mut().expect("the session knows");
                let saves = request.search.results.is_some_and(|results| results.save);
                let done = self
                    .on_sort(account, selected, &request, tag, (out, connection))
                    .await?;
                if saves && done.is_err() {
                    selected.saved = Vec::new();
                }
                done
            }
            Body::Thread(request) => {
                let selected = client.selected.as_mut().expect("the session knows");
                self.on_thread(account, selected, &request, tag, (out, connection))
                    .await?
            }
            Body::UidBatches { size, batches } => {
                let selected = client.selected.as_ref().expect("the session knows");
                self.on_uid_batches(selected, tag, (size, batches), (out, connection))
                    .await?
            }
            Body::Fetch {
                uid,
                set,
                items,
                since,
                slice,
            } => {
                let read_only = client.session.state() == State::Selected { read_only: true };
                let selected = client.selected.as_mut().expect("the session knows");
                let read_only = read_only || !selected.rights().contains(Rights::SEEN);
                let mode = selected.mode;
                let wanted = fetch::Wanted::new(uid, items, since, read_only, mode).sliced(slice);
                self.on_fetch(account, selected, &set, wanted, out, connection)
                    .await?
            }
            Body::Capability
            | Body::Logout
            | Body::StartTls
            | Body::Authenticate { .. }
            | Body::Login { .. }
            | Body::Id(_)
            | Body::Compress
            | Body::SetQuota { .. }
            | Body::Idle => unreachable!("the session answers these itself"),
        })
    }
}
