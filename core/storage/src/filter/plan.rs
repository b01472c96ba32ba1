//! What an account's scripts want, as copies for its mailboxes, letters for the queue, and keys to remember.

use std::collections::HashMap;

use ::scripts::Owner;
use bytes::Bytes;
use mail::{Address, Flags};
use mailbox::{MailboxFault, MailboxInfo, Mailboxes, Recipient};
use queue::{Addressee, Envelope, Terms, UnixSeconds};
use sieve::{Action, Edition, Failure, Key, Notification, Outcome, Remember, Reply, Target};
use store::BodyIn;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};

use super::answers::{id_of, special_use_of};
use super::letters::{self, Letter, NotMade};
use super::run::Said;
use super::{Filter, Message, Share};
use crate::addresses;
use crate::junk::{self, INBOX};
use crate::outgoing::{Outgoing, lifetimes};

/// One account's share of a message, ready to be made durable.
#[derive(Default)]
pub(crate) struct Plan {
    /// For mailboxes: the body is counted as `Letter::body` counts it.
    pub copies: Vec<(Recipient, usize)>,
    pub letters: Vec<Letter>,
    /// Bodies beside the message.
    pub made: Vec<BodyIn>,
    pub remember: Vec<Remember>,
    pub effects: Effects,
    /// Of `made`.
    _charges: Vec<OwnedSemaphorePermit>,
    /// What is remembered stays as it was looked at.
    pub lock: Option<OwnedMutexGuard<()>>,
}

/// What a plan does, to be counted when it is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Scripts ran.
    pub ran: bool,
    pub failed: bool,
    pub discarded: bool,
    pub filed: u64,
    pub redirected: u64,
    pub loops: u64,
    pub replies: u64,
    pub notifications: u64,
}

/// What becomes of one recipient.
pub(crate) enum Planned {
    Place(Plan),
    Reject {
        reason: String,
        /// A report may carry the reason to the sender. `false`: only a reply of the protocol may.
        by_message: bool,
    },
}

impl Plan {
    /// One copy of the message as it came.
    pub fn of(recipient: Recipient) -> Plan {
        Plan {
            copies: vec![(recipient, 0)],
            ..Plan::default()
        }
    }

    /// One letter alone.
    pub fn letter(letter: Letter) -> Plan {
        Plan {
            letters: vec![letter],
            ..Plan::default()
        }
    }

    /// It takes of a group no more than a recipient without scripts: one copy, with the keyword of junk at most.
    pub fn is_simple(&self) -> bool {
        let beside = self.made.len() + self.letters.len() + self.remember.len();
        let mut copies = self.copies.iter();
        let has_few_flags = |(copy, _): &(Recipient, usize)| copy.flags.keywords.len() <= 1;
        beside == 0 && self.copies.len() <= 1 && copies.all(has_few_flags)
    }

    /// Nothing is stored and nothing sent.
    pub fn nothing() -> Plan {
        Plan::default()
    }
}

/// What is written down about one plan while it is made.
struct Draft<'d> {
    filter: &'d Filter,
    outgoing: &'d Outgoing,
    message: &'d Message<'d>,
    share: &'d Share,
    said: &'d Said,
    now: u64,
    plan: Plan,
    made_bytes: usize,
    /// Of each of `Plan::made`.
    ascii: Vec<bool>,
    /// Bodies with an edited header, and those that go on to others, by edition.
    editions: HashMap<usize, usize>,
    onward: HashMap<usize, usize>,
    /// The notice for the owner, with the key that is remembered of it.
    notice: Option<(Key, String)>,
}

impl Filter {
    /// The plan for what scripts said.
    pub(super) async fn plan(
        &self,
        outgoing: &Outgoing,
        message: &Message<'_>,
        share: &Share,
        mut said: Said,
    ) -> Result<Planned, MailboxFault> {
        // The second time for a message that is too large for what the script wants: then it is kept as it came.
        for _attempt in 0..2 {
            let draft = Draft {
                filter: self,
                outgoing,
                message,
                share,
                said: &said,
                now: self.now(),
                plan: Plan::default(),
                made_bytes: 0,
                ascii: Vec::new(),
                editions: HashMap::new(),
                onward: HashMap::new(),
                notice: None,
            };
            match draft.all().await {
                Ok(planned) => return Ok(planned),
                Err(NotMade::Later(fault)) => return Err(fault),
                // Then it is kept as it came, which needs no other body than the notice.
                Err(NotMade::TooLarge) => said.outcome = too_large(),
            }
        }
        Err(MailboxFault::TooLarge)
    }
}

impl Draft<'_> {
    async fn all(mut self) -> Result<Planned, NotMade> {
        self.plan.effects.ran = true;
        let outcome = &self.said.outcome;
        for action in &outcome.actions {
            match action {
                Action::Keep {
                    flags,
                    edition,
                    implicit,
                } => self.keep(flags, *edition, *implicit).await?,
                Action::FileInto { target, edition } => {
                    let body = self.edition(*edition).await?;
                    self.file(target, body).await?;
                }
                Action::Redirect { address, edition } => self.redirect(address, *edition).await?,
                // `reject` cancels everything else (RFC 5429 §2.1), and the interpreter has checked that nothing else was done.
                Action::Reject {
                    reason, by_message, ..
                } => {
                    return Ok(Planned::Reject {
                        reason: reason.clone(),
                        by_message: *by_message,
                    });
                }
                Action::Reply(reply) => self.reply(reply).await?,
                Action::Notify(notification) => self.notify(notification).await?,
            }
        }
        let is_kept = !self.plan.copies.is_empty() || self.plan.effects.redirected > 0;
        // A redirect that is left out because the message has been there would otherwise be its end.
        if self.plan.effects.loops > 0 && !is_kept {
            let flags = self.flags_before();
            self.keep(&flags, Edition::default(), true).await?;
        }
        self.plan.effects.discarded =
            self.plan.copies.is_empty() && self.plan.effects.redirected == 0;
        self.plan.remember.extend_from_slice(&outcome.remember);
        if let Some(failure) = &outcome.failure {
            self.plan.effects.failed = true;
            self.tell_failure(failure);
        }
        if let Some((key, text)) = self.notice.take() {
            self.tell(key, &text).await?;
        }
        Ok(Planned::Place(self.plan))
    }

    async fn keep(
        &mut self,
        flags: &Flags,
        edition: Edition,
        implicit: bool,
    ) -> Result<(), NotMade> {
        let body = self.edition(edition).await?;
        if let Some(event) = &self.share.event {
            // A run that failed says nothing of flags.
            let flags = match self.said.outcome.failure {
                Some(_) => &event.flags,
                None => flags,
            };
            self.copy(event.mailbox.clone(), flags.clone(), body);
            return Ok(());
        }
        let (mailboxes, account) = (self.outgoing.mailboxes(), self.share.account);
        // What a script files explicitly goes where it says. The judge decides only about what no rule touched.
        let is_junk = implicit && self.share.is_junk;
        let place = junk::place(mailboxes, account, is_junk).await;
        let flags = place.flags.with(flags);
        self.copy(place.mailbox, flags, body);
        Ok(())
    }

    /// Where a message is kept that no script files elsewhere.
    fn kept_in(&self) -> String {
        let event = self.share.event.as_ref();
        event.map_or(INBOX, |event| &event.mailbox).to_owned()
    }

    /// What a message has that is in a mailbox already.
    fn flags_before(&self) -> Flags {
        let event = self.share.event.as_ref();
        event.map_or_else(Flags::default, |event| event.flags.clone())
    }

    /// RFC 5228 §2.10.3: one message is in a mailbox once, however the mailbox was named.
    fn copy(&mut self, mailbox: String, flags: Flags, body: usize) {
        let same = |(there, _): &&mut (Recipient, usize)| there.mailbox == mailbox;
        if let Some((there, _)) = self.plan.copies.iter_mut().find(same) {
            there.flags = there.flags.with(&flags);
            return;
        }
        let recipient = Recipient {
            account: self.share.account,
            mailbox,
            flags,
        };
        self.plan.copies.push((recipient, body));
    }

    async fn file(&mut self, target: &Target, body: usize) -> Result<(), NotMade> {
        let mailboxes = self.outgoing.mailboxes();
        let mailbox = match self
            .resolve(mailboxes, target)
            .await
            .map_err(NotMade::Later)?
        {
            Some(name) => name,
            None => {
                let (name, kept) = (&target.mailbox, self.kept_in());
                let text = format!(
                    "Your mail filter files messages into the mailbox \"{name}\", and there is no such mailbox. They are kept in {kept}.\r\n\r\nCreate the mailbox, or change the script."
                );
                // A sender may choose the name, and with it how many notices there are.
                let name_of_name = base::BodyName::of(name.as_bytes());
                let group = name_of_name.0[0] % MISSING_TOLD_MAX;
                let key = self.told(None, &format!("missing {group}"));
                self.notice.get_or_insert((key, text));
                kept
            }
        };
        self.plan.effects.filed += 1;
        self.copy(mailbox, target.flags.clone(), body);
        Ok(())
    }

    /// The name of the mailbox that is meant. `None`: there is none, and none was made.
    async fn resolve(
        &self,
        mailboxes: &Mailboxes,
        target: &Target,
    ) -> Result<Option<String>, MailboxFault> {
        let account = self.share.account;
        let special_use = target.special_use.as_deref().and_then(special_use_of);
        if special_use.is_some() || target.id.is_some() {
            let mut folders = mailboxes.list(account).await?;
            folders.retain(|each| each.selectable);
            // RFC 9042 §4: the id comes first.
            let is_named = |each: &&MailboxInfo| target.id == Some(id_of(each.id));
            let is_used =
                |each: &&MailboxInfo| special_use.is_some() && each.special_use == special_use;
            let found = folders.iter().find(is_named);
            if let Some(found) = found.or_else(|| folders.iter().find(is_used)) {
                return Ok(Some(found.name.clone()));
            }
        }
        let name = match target.mailbox.eq_ignore_ascii_case(INBOX) {
            true => INBOX.to_owned(),
            false => target.mailbox.clone(),
        };
        match mailboxes.find(account, &name).await {
            Ok(_) => return Ok(Some(name)),
            Err(MailboxFault::NoMailbox) if target.create => {}
            Err(MailboxFault::NoMailbox) => return Ok(None),
            Err(fault) => return Err(fault),
        }
        // A step of its own: if the delivery behind it fails, an empty mailbox is there, and the next one finds it.
        match mailboxes.create(account, &name, special_use).await {
            Ok(_) | Err(MailboxFault::Exists) => Ok(Some(name)),
            // The name is not one, or there are too many.
            Err(MailboxFault::Refused(_) | MailboxFault::TooMany(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn redirect(&mut self, to: &Address, edition: Edition) -> Result<(), NotMade> {
        let own = self.said.own.to_path();
        if letters::was_at(&self.message.body.raw, &own) {
            self.plan.effects.loops += 1;
            return Ok(());
        }
        let body = self.onward(edition, &own).await?;
        let sender = self.message.from;
        // Through SRS where the sender's domain is not ours: the next server checks SPF against this one.
        let from = self
            .outgoing
            .sender_through(sender, &self.said.own, std::slice::from_ref(to), self.now)
            .await
            .map_err(NotMade::Later)?;
        let now = UnixSeconds(self.now);
        let (warns, expires) = lifetimes(now, from.is_empty());
        let path = to.to_path();
        let terms = Terms {
            is_utf8: self.message.is_utf8 || !path.is_ascii() || !from.is_ascii(),
            is_eight_bit: !self.ascii[body - 1],
            is_junk: self.share.is_junk,
            ..Terms::default()
        };
        let envelope = Envelope {
            from,
            recipients: vec![Addressee::new(path)],
            arrived: now,
            warns,
            expires,
            terms,
        };
        self.plan.effects.redirected += 1;
        self.letter(envelope, body, "redirected");
        Ok(())
    }

    async fn reply(&mut self, reply: &Reply) -> Result<(), NotMade> {
        // A reply to a forged sender goes to who wrote nothing.
        let is_doubtful = self.share.is_junk || letters::is_forged(&self.message.body.raw);
        if is_doubtful || self.filter.remembers(self.share.account, &reply.key) {
            return Ok(());
        }
        // From the message's own name: a delivery that is made again after a crash gives the same Message-ID, so that a client sees one reply.
        let id = self.message_id("reply");
        let date = mail::text::date(self.now as i64);
        let from = self.author(&reply.from).await.map_err(NotMade::Later)?;
        let reply = Reply {
            from,
            ..reply.clone()
        };
        let raw = reply.message(&date, &id);
        let body = self.make(raw, Bytes::new()).await?;
        let envelope = letters::automatic(vec![reply.to.to_path()], self.ascii[body - 1], self.now);
        self.letter(envelope, body, REPLY);
        self.plan.remember.push(Remember {
            key: reply.key,
            kept_s: reply.again_s,
        });
        self.plan.effects.replies += 1;
        match &reply.copy_to {
            Some(target) => self.copy_of(target, body).await,
            None => Ok(()),
        }
    }

    async fn notify(&mut self, notification: &Notification) -> Result<(), NotMade> {
        let count = self.plan.effects.notifications;
        let id = self.message_id(&format!("notification {count}"));
        let date = mail::text::date(self.now as i64);
        let author = self.author(&notification.from).await;
        let notification = Notification {
            from: author.map_err(NotMade::Later)?,
            ..notification.clone()
        };
        let raw = notification.message(&date, &id, &self.said.own.to_path());
        let body = self.make(raw, Bytes::new()).await?;
        let paths = notification.to.iter().map(Address::to_path).collect();
        let envelope = letters::automatic(paths, self.ascii[body - 1], self.now);
        self.letter(envelope, body, "notification");
        self.plan.effects.notifications += 1;
        match &notification.copy_to {
            Some(target) => self.copy_of(target, body).await,
            None => Ok(()),
        }
    }

    /// The From field that a script wants, if the account may send as that address; else its own: the message is signed for that domain.
    // RFC 5230 §4.3: a site may restrict it.
    async fn author(&self, wanted: &str) -> Result<String, MailboxFault> {
        let own = &self.said.own;
        let path = match wanted.rsplit_once('<') {
            Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
            None => wanted.trim(),
        };
        let Some(address) = Address::from_path(path) else {
            return Ok(own.to_path());
        };
        let plain = address.untagged().unwrap_or_else(|| address.clone());
        let is_own = address.key() == own.key() || plain.key() == own.key();
        let mailboxes = self.outgoing.mailboxes();
        let may = is_own || addresses::may_send_as(mailboxes, self.share.account, &address).await?;
        Ok(match may {
            true => wanted.to_owned(),
            false => own.to_path(),
        })
    }

    /// RFC 8580: a copy of what was sent.
    async fn copy_of(&mut self, target: &Target, body: usize) -> Result<(), NotMade> {
        let mailboxes = self.outgoing.mailboxes();
        let mailbox = self.resolve(mailboxes, target).await;
        let mailbox = mailbox.map_err(NotMade::Later)?;
        let recipient = Recipient {
            account: self.share.account,
            mailbox: mailbox.unwrap_or_else(|| INBOX.to_owned()),
            flags: target.flags.clone(),
        };
        self.plan.copies.push((recipient, body));
        Ok(())
    }

    fn letter(&mut self, envelope: Envelope, body: usize, what: &'static str) {
        self.plan.letters.push(Letter {
            envelope,
            body,
            is_remembered: what == REPLY,
            what,
        });
    }

    // Bodies.

    async fn make(&mut self, front: Vec<u8>, rest: Bytes) -> Result<usize, NotMade> {
        let made = self.filter.make(front, rest, &mut self.made_bytes).await?;
        self.plan.made.push(made.body);
        // The memory is paid for until the plan is dropped, which is after the commit.
        self.plan._charges.push(made.charge);
        self.ascii.push(made.is_ascii);
        Ok(self.plan.made.len())
    }

    /// The header of an edition, and what follows it.
    fn pieces(&self, edition: Edition) -> (&[u8], Bytes) {
        let (outcome, raw) = (&self.said.outcome, &self.message.body.raw);
        match edition.0 {
            0 => (&[], raw.clone()),
            number => (
                &outcome.editions[number - 1],
                raw.slice(outcome.body_begin.min(raw.len())..),
            ),
        }
    }

    async fn edition(&mut self, edition: Edition) -> Result<usize, NotMade> {
        if edition.0 == 0 {
            return Ok(0);
        }
        // Three actions after one `addheader` share one body.
        if let Some(body) = self.editions.get(&edition.0) {
            return Ok(*body);
        }
        let (header, rest) = self.pieces(edition);
        let header = header.to_vec();
        let body = self.make(header, rest).await?;
        self.editions.insert(edition.0, body);
        Ok(body)
    }

    /// The message as it goes on from the address `own`: the field in front ends a loop.
    async fn onward(&mut self, edition: Edition, own: &str) -> Result<usize, NotMade> {
        if let Some(body) = self.onward.get(&edition.0) {
            return Ok(*body);
        }
        let mut front = format!("Delivered-To: {own}\r\n").into_bytes();
        let (header, mut rest) = self.pieces(edition);
        if header.is_empty() {
            rest = rest.slice(letters::travels_from(&rest)..);
        } else {
            let (before, behind) = letters::without_return_path(header);
            front.extend_from_slice(before);
            front.extend_from_slice(behind);
        }
        let body = self.make(front, rest).await?;
        self.onward.insert(edition.0, body);
        Ok(body)
    }

    fn message_id(&self, what: &str) -> String {
        let words = format!("{} {what}", self.share.account.0);
        self.filter.message_id(&self.message.body.name, &words)
    }

    // Notices for the owner.

    /// Stands for one notice about a script, and for its version.
    // By the version of the script: a corrected script that fails again is a new notice.
    fn told(&self, failed: Option<usize>, what: &str) -> Key {
        let mut words = format!("ringpost filter notice 1 {what} ");
        for (index, head) in self.said.heads.iter().enumerate() {
            if failed.is_none_or(|failed| failed == index) {
                words += &format!("{:?} ", head);
            }
        }
        let name = base::BodyName::of(words.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&name.0[..16]);
        Key(key)
    }

    /// A person is notified of a script of their own; an administrator finds the others in the log.
    fn tell_failure(&mut self, failure: &Failure) {
        let key = self.told(Some(failure.script_index), "failure");
        let head = self.said.heads.get(failure.script_index);
        let owner = head.map(|head| &head.owner);
        let list = owner.map(|owner| self.filter.inner.scripts.list(owner));
        let active = list.as_ref().and_then(::scripts::List::active);
        let name = match &self.share.event {
            Some(event) => &event.script[..],
            None => active.map_or("", |script| &script.name[..]),
        };
        let kept = self.kept_in();
        let text = match owner {
            Some(Owner::Box | Owner::Domain(_)) => {
                tracing::warn!(script = ?head, %failure, "a script of an administrator failed, and the message was kept");
                return;
            }
            Some(Owner::Account(_)) | None => format!(
                "Your mail filter \"{name}\" failed for a message, and the message was kept in {kept}.\r\n\r\n{failure}\r\n\r\nYou receive this once for each version of the script. Correct the script and store it again."
            ),
        };
        self.notice = Some((key, text));
    }

    /// Once: unless the account remembers the notice.
    async fn tell(&mut self, key: Key, text: &str) -> Result<(), NotMade> {
        let account = self.share.account;
        if self.filter.remembers(account, &key) {
            return Ok(());
        }
        let id = self.message_id("notice");
        let date = mail::text::date(self.now as i64);
        let (to, domain) = (self.said.own.to_path(), self.said.own.domain());
        let raw = letters::notice(&to, domain, (&date, &id), text);
        let body = self.make(raw, Bytes::new()).await?;
        let recipient = Recipient {
            account,
            mailbox: INBOX.to_owned(),
            flags: Flags::default(),
        };
        self.plan.copies.push((recipient, body));
        self.plan.remember.push(Remember {
            key,
            kept_s: NOTICE_S,
        });
        Ok(())
    }
}

/// The message stays, whatever scripts wanted.
fn too_large() -> Outcome {
    Outcome {
        actions: vec![Action::Keep {
            flags: Flags::default(),
            edition: Edition::default(),
            implicit: true,
        }],
        failure: Some(Failure {
            script_index: 0,
            included: None,
            at: None,
            text: "The message is too large for what the script wants".to_owned(),
        }),
        ..Outcome::default()
    }
}

/// A reply goes once to each sender; without a memory of it none goes.
const REPLY: &str = "vacation reply";
/// Notices of mailboxes that are missing, for one version of the scripts: one of the names that share a number is in a notice.
const MISSING_TOLD_MAX: u8 = 8;
/// How long a notice is remembered: as long as anything is.
const NOTICE_S: u64 = sieve::limits::DUPLICATE_S_MAX;
