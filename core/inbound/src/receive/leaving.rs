//! An SMTP envelope as the queue keeps one: for what is led on or leaves.

use std::collections::HashSet;

use mail::{Address, Flags};
use mailbox::{AccountId, Recipient as Place};
use queue::{Addressee, Envelope, Notify, Returned, Terms, UnixSeconds};
use smtp::{Body, Recipient, ReversePath};
use storage::outgoing::{Local, lifetimes};

/// The queue's envelope of a message with this content, for `recipients`; each path once.
pub fn envelope<R>(
    envelope: &smtp::Envelope<R>,
    mut recipients: Vec<Addressee>,
    unix_seconds: i64,
    content: &[u8],
) -> Envelope {
    let from = match &envelope.reverse_path {
        ReversePath::Null => String::new(),
        ReversePath::Address(address) => address.to_path(),
    };
    let mut seen = HashSet::new();
    // Two aliases may lead to one address, and a sender may name one twice. The order of the first is kept.
    recipients.retain(|recipient| seen.insert(recipient.path.clone()));
    let now = UnixSeconds(unix_seconds.max(0) as u64);
    let (warns, expires) = lifetimes(now, from.is_empty());
    Envelope {
        from,
        recipients,
        arrived: now,
        warns,
        expires,
        terms: Terms {
            returned: match envelope.returned {
                None => Returned::Unsaid,
                Some(smtp::Returned::Full) => Returned::Full,
                Some(smtp::Returned::Headers) => Returned::Headers,
            },
            envelope_id: envelope.envelope_id.clone().unwrap_or_default(),
            is_utf8: envelope.smtputf8,
            // By the content where the sender said nothing: a server without 8BITMIME must not get what it cannot carry.
            is_eight_bit: envelope.body == Some(Body::EightBitMime) || !content.is_ascii(),
            needs_tls: false,
            is_junk: false,
            is_report: false,
            is_unsigned: false,
        },
    }
}

/// A recipient with what the sender wants to hear of it, under the address `path`.
pub fn addressee<R>(recipient: &Recipient<R>, path: &Address) -> Addressee {
    let notify = match recipient.notify {
        None => Notify::UNSAID,
        Some(wanted) => [
            (wanted.success, Notify::SUCCESS),
            (wanted.failure, Notify::FAILURE),
            (wanted.delay, Notify::DELAY),
        ]
        .into_iter()
        .filter(|(is_wanted, _)| *is_wanted)
        .map(|(_, word)| word)
        .reduce(Notify::and)
        // NOTIFY with none of the three is NEVER (RFC 3461 §4.1); without NOTIFY it is unsaid, which is not the same.
        .unwrap_or(Notify::NEVER),
    };
    Addressee {
        path: path.to_path(),
        notify,
        original: recipient.original.clone().unwrap_or_default(),
    }
}

/// A copy for the INBOX of an account, which stands for `to`.
pub fn copy(account: AccountId, to: Addressee) -> Local {
    Local {
        place: Place {
            account,
            mailbox: "INBOX".to_owned(),
            flags: Flags::default(),
        },
        to: Some(to),
    }
}
