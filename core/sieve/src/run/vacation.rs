//! `vacation` (RFC 5230): whether a reply goes out, and what it is. Loops end here: no reply to what a program sent, to a list, to ourselves,
//! or for mail that does not name the person.

use crate::addresses;
use crate::host::Key;
use crate::limits::{REASON_BYTES_MAX, REFERENCES_BYTES_MAX, STRING_BYTES_MAX};
use crate::outcome::{Action, Reply};
use crate::program::Vacation;
use crate::template::Template;

use super::{Frame, Halt, Run};

/// RFC 5230 §4.5: where a message names those whom it is for.
const RECIPIENT_FIELDS: [&str; 6] = ["To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"];
/// RFC 5230 §4.6: local parts of programs.
const PROGRAMS: [&str; 6] = [
    "mailer-daemon",
    "listserv",
    "majordomo",
    "noreply",
    "no-reply",
    "donotreply",
];
const PROGRAM_BEGINS: [&str; 2] = ["owner-", "bounce-"];
const PROGRAM_ENDS: [&str; 4] = ["-request", "-owner", "-bounces", "-bounce"];
/// RFC 2369, RFC 2919: what lists write into messages.
const LIST_FIELDS: [&str; 7] = [
    "List-Id",
    "List-Help",
    "List-Subscribe",
    "List-Unsubscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
];
const KEY_KIND: &str = "ringpost sieve vacation 1";

impl Run<'_> {
    /// Leaves a reply in the ledger, or nothing. The caller still asks its memory for `Reply::key` before it sends one.
    pub(super) fn vacation(&mut self, frame: &Frame<'_>, vacation: &Vacation) -> Result<(), Halt> {
        // The strings are made first: one that is wrong is an error for every message.
        let mut own = self.own_addresses();
        for text in self.texts(frame, &vacation.addresses)? {
            own.extend(addresses::single(&text).map(|address| address.key()));
        }
        let reason = self.text(frame, &vacation.reason)?.into_owned();
        let subject = self.optional_text(frame, &vacation.subject)?;
        let handle = self.optional_text(frame, &vacation.handle)?;
        let own_path = self.envelope.to.to_path();
        let from = self.sender(frame, &vacation.from, &own_path)?;
        let copy_to = vacation
            .fcc
            .as_ref()
            .map(|fcc| self.target(frame, fcc))
            .transpose()?;
        if !self.ledger.may_reply()? {
            return Ok(());
        }
        let Some(sender) = self.answerable(&own)? else {
            return Ok(());
        };
        if !self.names_one_of(&own)? {
            return Ok(());
        }
        let key = match &handle {
            Some(handle) => Key::of(KEY_KIND, &[&sender.key(), "handle", handle]),
            // RFC 5230 §4.2: without a handle these tell replies apart, as the script has them. With variables put in, the sender could
            // make each reply another one, and two programs that answer each other would never stop.
            None => {
                let mime = if vacation.mime { "mime" } else { "text" };
                let written = |text: &Option<Template>| match text {
                    Some(text) => text.as_written().into_owned(),
                    None => String::new(),
                };
                let (subject, from) = (written(&vacation.subject), written(&vacation.from));
                let reason = vacation.reason.as_written();
                let texts = [&sender.key()[..], &own_path, mime, &subject, &from, &reason];
                Key::of(KEY_KIND, &texts)
            }
        };
        let subject = match subject {
            Some(subject) => subject.into_owned(),
            None => match self.view.first("Subject") {
                Some(original) => format!("Auto: {original}"),
                None => "Automated reply".to_owned(),
            },
        };
        let end = subject.floor_char_boundary(REASON_BYTES_MAX);
        let in_reply_to = self.message_ids("Message-ID").pop();
        let reply = Reply {
            to: sender.clone(),
            from,
            subject: subject[..end].to_owned(),
            mime: vacation.mime,
            reason: reason[..reason.floor_char_boundary(STRING_BYTES_MAX)].to_owned(),
            references: self.references(in_reply_to.as_deref()),
            in_reply_to,
            key,
            again_s: vacation.again_s,
            copy_to,
        };
        self.ledger.push(Action::Reply(Box::new(reply)))
    }

    /// Keys of the addresses that the caller has for the account.
    pub(super) fn own_addresses(&self) -> Vec<String> {
        let mut own = vec![self.envelope.to.key()];
        own.extend(self.envelope.to.untagged().map(|address| address.key()));
        own.extend(self.environment.own_addresses.iter().cloned());
        own
    }

    /// The sender, if a person sent it and a message to that address begins no loop.
    pub(super) fn answerable(&self, own: &[String]) -> Result<Option<&mail::Address>, Halt> {
        self.spend(100 * self.view.fields_count() as u64)?;
        Ok(self.envelope.from.filter(|sender| {
            let is_own = own.contains(&sender.key());
            !is_own && !is_program(sender.local()) && !self.is_automatic()
        }))
    }

    /// RFC 3834 §2, RFC 5230 §4.6: a program or a list sent it. A script that removes those fields does not change that.
    fn is_automatic(&self) -> bool {
        let says = |name: &str, words: &[&str]| {
            self.view.ever_named(name).any(|field| {
                let mut found = field.decoded().split([';', ',', ' ', '(']);
                found.any(|word| words.iter().any(|one| word.eq_ignore_ascii_case(one)))
            })
        };
        self.is_auto_submitted()
            || says("Precedence", &["bulk", "list", "junk"])
            || says("X-Auto-Response-Suppress", &["all", "oof", "autoreply"])
            || LIST_FIELDS
                .iter()
                .any(|name| self.view.ever_named(name).next().is_some())
    }

    /// RFC 3834 §5: a program sent it, and a person did not. Of lists it says nothing.
    pub(super) fn is_auto_submitted(&self) -> bool {
        self.view.named("Auto-Submitted").any(|field| {
            // The word comes first; behind it are comments and parameters.
            let word = field.decoded().split([';', ' ', '(']).next();
            !word.is_some_and(|word| word.eq_ignore_ascii_case("no"))
        })
    }

    /// RFC 5230 §4.5: mail that does not name the person came through a list or as a blind copy.
    fn names_one_of(&self, own: &[String]) -> Result<bool, Halt> {
        for name in RECIPIENT_FIELDS {
            for field in self.view.named(name) {
                self.spend_bytes(4 * field.value.len())?;
                for found in field.addresses() {
                    let address = mail::Address::from_parts(found.local(), found.domain());
                    let Some(address) = address else {
                        continue;
                    };
                    let key = address.key();
                    self.spend(own.len() as u64)?;
                    if own.contains(&key) {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// The ids in a field, with their brackets: printable ASCII, since they are copied into a reply.
    fn message_ids(&self, name: &str) -> Vec<String> {
        let Some(field) = self.view.named(name).next() else {
            return Vec::new();
        };
        let text = String::from_utf8_lossy(&field.value);
        let is_id = |word: &&str| {
            word.starts_with('<')
                && word.ends_with('>')
                && word.len() <= 500
                && word.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let words = text.split_ascii_whitespace().filter(is_id);
        words.map(str::to_owned).collect()
    }

    /// RFC 5230 §5.8, RFC 5322 §3.6.4: those of the message, then its own id. Of too many the oldest are omitted, except the first.
    fn references(&self, own: Option<&str>) -> Option<String> {
        let mut ids = self.message_ids("References");
        if ids.is_empty() {
            ids = self.message_ids("In-Reply-To");
            ids.truncate(1);
        }
        ids.extend(own.map(str::to_owned));
        let mut bytes: usize = ids.iter().map(|id| id.len() + 1).sum();
        // Counted first and removed at once: the sender chooses how many there are.
        let mut end = 1;
        while bytes > REFERENCES_BYTES_MAX && end + 1 < ids.len() {
            bytes -= ids[end].len() + 1;
            end += 1;
        }
        if end > 1 {
            ids.drain(1..end);
        }
        (!ids.is_empty()).then(|| ids.join(" "))
    }
}

/// RFC 5230 §4.6: these answer, or return, what is sent to them.
fn is_program(local: &str) -> bool {
    let local = local.to_ascii_lowercase();
    PROGRAMS.contains(&&local[..])
        || PROGRAM_BEGINS.iter().any(|begin| local.starts_with(begin))
        || PROGRAM_ENDS.iter().any(|end| local.ends_with(end))
}
