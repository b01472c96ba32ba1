//! A message in the queue for an address of ours without a mailbox is led on to where that address leads.
//!
//! One durable group takes the address out of the queue and puts in messages for what it leads to: one for accounts of this volume, one or more for
//! elsewhere. From there each copy is placed, or sent, in one step with the note about it, as any other.

use mail::{Address, return_path};
use mailbox::MailboxFault;
use mailbox::names::Group;
use queue::{
    Addressee, Entry, Envelope, Note, Notify, Outcome, QueueFault, QueueId, RecipientState, Terms,
    UnixSeconds,
};
use runtime::events::MESSAGE;
use store::BodyIn;

use super::{Outgoing, Placing, lifetimes};
use crate::addresses::{self, Led, RETURN_PATH_KEY, Refused};

/// What a message is changed by when it is led on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leading {
    /// The address that leads on, as Delivered-To names it.
    pub name: String,
    /// Its Return-Path, without brackets.
    pub from: String,
    /// Fields for in front of it, each with its line end.
    pub fields: String,
}

impl Outgoing {
    /// What a message of `entry` is changed by for `to`, which is a group or not.
    pub(super) fn leading(
        &self,
        entry: &Entry,
        to: &Address,
        group: Option<&(String, Group)>,
    ) -> Leading {
        Leading {
            name: to.to_path(),
            from: match group {
                Some((group, _)) => group_sender(&entry.from, group),
                None => entry.from.clone(),
            },
            fields: addresses::fields(group, to),
        }
    }

    async fn led(&self, to: &Address, at: UnixSeconds) -> Result<Led, Placing> {
        match addresses::lead(&self.mailboxes, to, at.0).await {
            Ok(Ok(led)) => Ok(led),
            Ok(Err(Refused::Loop)) => Err(Placing::Loop),
            Ok(Err(_)) => Err(Placing::NoMailbox),
            Err(fault) => Err(Placing::Later(fault)),
        }
    }

    /// Replaces one recipient of the message by what it leads to, with `body`, which has the fields of `Leading`, in one durable step. Any
    /// outcome but `Placed` is the caller's to settle.
    pub async fn lead_on(
        &self,
        id: QueueId,
        at: UnixSeconds,
        body: BodyIn,
        recipient: u32,
    ) -> Result<Placing, QueueFault> {
        let entry = self.queue.entry(id).ok_or(QueueFault::NoEntry)?;
        let to = entry.recipients.get(recipient as usize);
        let to = to
            .ok_or(QueueFault::Refused("no such recipient"))?
            .to
            .clone();
        let Some(address) = Address::from_path(&to.path) else {
            return Ok(Placing::NoMailbox);
        };
        let led = match self.led(&address, at).await {
            Ok(led) => led,
            Err(placing) => return Ok(placing),
        };
        let sent_on = match self.sender_elsewhere(&entry, &address, &led, at).await {
            Ok(sent_on) => sent_on,
            Err(fault) => return Ok(Placing::Later(fault)),
        };
        let here = match &led.group {
            Some((group, _)) => group_sender(&entry.from, group),
            None => entry.from.clone(),
        };
        let paths = led.here.iter().map(|(_, address)| address.to_path());
        let mut envelopes = envelopes(&entry, &to, &led, &here, paths.collect(), at);
        let paths = led.elsewhere.iter().map(Address::to_path);
        envelopes.extend(self::envelopes(
            &entry,
            &to,
            &led,
            &sent_on,
            paths.collect(),
            at,
        ));
        let note = Note {
            at,
            warned: false,
            outcomes: vec![Outcome {
                recipient,
                state: RecipientState::Delivered,
                reply: String::new(),
                host: String::new(),
            }],
        };
        let into = self.queue.replace(id, note, body, envelopes).await?;
        let into: Vec<u64> = into.iter().map(|id| id.0).collect();
        tracing::info!(target: MESSAGE, queue = id.0, to = address.to_path(), ?into, "led on");
        self.wake();
        Ok(Placing::Placed)
    }

    /// The reverse-path of what leaves. A sender of another domain is sealed into an address of the domain that leads on, since other servers ask
    /// that domain, not the sender's, whether this server may send (SPF). Where it does not fit into an address the null one stands for
    /// it: the message arrives, and no report comes back.
    async fn sender_elsewhere(
        &self,
        entry: &Entry,
        name: &Address,
        led: &Led,
        at: UnixSeconds,
    ) -> Result<String, MailboxFault> {
        if let Some((group, _)) = &led.group {
            return Ok(group_sender(&entry.from, group));
        }
        self.sender_through(&entry.from, name, &led.elsewhere, at.0)
            .await
    }

    /// The reverse-path of what came from `from` for `name` and goes on to `elsewhere`.
    pub(crate) async fn sender_through(
        &self,
        from: &str,
        name: &Address,
        elsewhere: &[Address],
        at_unix_s: u64,
    ) -> Result<String, MailboxFault> {
        let directory = self.mailboxes.directory();
        let is_moved = elsewhere.iter().any(|to| to.key() != name.key());
        let Some(sender) = Address::from_path(from) else {
            return Ok(String::new());
        };
        // To the server behind a route it goes as it came.
        if !is_moved || directory.has_domain(sender.domain()) {
            return Ok(from.to_owned());
        }
        let fresh = self.desk.fresh_key.get();
        let Some(fresh) = fresh else {
            let why = "there is no key for return paths";
            return Err(MailboxFault::Unavailable(why.to_owned()));
        };
        let key = directory.key(RETURN_PATH_KEY, fresh).await?;
        let domain = directory.our_domain(name.domain());
        let domain = domain.unwrap_or_else(|| name.domain().to_owned());
        let domain = addresses::in_ascii(&domain);
        let sealed = return_path::seal(&sender, &domain, &key, at_unix_s);
        if sealed.is_none() {
            tracing::warn!(
                from,
                "the return path is too long to be sealed: no report will come back"
            );
        }
        Ok(sealed.map_or_else(String::new, |sealed| sealed.to_path()))
    }

    /// Random bytes that become the key of return paths when the volume has none.
    pub fn set_fresh_key(&self, fresh: [u8; 32]) {
        self.desk.fresh_key.set(Some(fresh));
    }
}

/// A member's report goes to the group's owner; a message without a sender has none with a group either.
fn group_sender(from: &str, group: &str) -> String {
    match from.is_empty() {
        true => String::new(),
        false => addresses::bounces_of(group),
    }
}

/// Messages for `paths`, in as many as are allowed to have so many recipients.
fn envelopes(
    entry: &Entry,
    to: &Addressee,
    led: &Led,
    from: &str,
    paths: Vec<String>,
    at: UnixSeconds,
) -> Vec<Envelope> {
    let (warns, expires) = lifetimes(at, from.is_empty());
    // RFC 3461 §5.2.7: an alias passes the sender's wishes on; a list is a new sender.
    let is_group = led.group.is_some();
    let original = match to.original.is_empty() {
        true => format!("rfc822;{}", xtext(&to.path)),
        false => to.original.clone(),
    };
    // An alias may lead to a group: with all its members, they must fit one group of the log.
    let is_said = !is_group
        && original.len() <= queue::limits::ORIGINAL_BYTES_MAX
        && original.len() * paths.len() <= ORIGINALS_BYTES_MAX
        && to.path.is_ascii();
    let addressee = |path: &String| Addressee {
        path: path.clone(),
        notify: match is_group {
            true => Notify::UNSAID,
            false => to.notify,
        },
        original: match is_said {
            true => original.clone(),
            false => String::new(),
        },
    };
    let envelope = |paths: &[String]| Envelope {
        from: from.to_owned(),
        recipients: paths.iter().map(addressee).collect(),
        arrived: at,
        warns,
        expires,
        terms: match is_group {
            true => Terms {
                envelope_id: String::new(),
                ..entry.terms.clone()
            },
            false => entry.terms.clone(),
        },
    };
    paths.chunks(RECIPIENTS_EACH).map(envelope).collect()
}

/// RFC 3461 §4. A server that checks it refuses anything else, and with it the recipient.
fn xtext(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'+' && byte != b'=' => out.push(char::from(byte)),
            _ => out += &format!("+{byte:02X}"),
        }
    }
    out
}

/// Original addresses beside `addresses::LED_BYTES_MAX` of paths; past it they are left out, and reports name the path only.
const ORIGINALS_BYTES_MAX: usize = 96 * 1_024;
const _: () = assert!(
    // Those here and those elsewhere, and some for the summary.
    addresses::LED_BYTES_MAX + 2 * ORIGINALS_BYTES_MAX + 128 * 1_024
        <= store::limits::GROUP_FIXED_BYTES_MAX
);
/// Recipients of one message in the queue: with two names of 320 bytes each it stays below `queue::limits::ENVELOPE_BYTES_MAX`.
const RECIPIENTS_EACH: usize = 250;
