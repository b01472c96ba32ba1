//! ENVELOPE (RFC 9051 §7.5.2).

use mail::summary::{AddressList, EnvelopeFields};

use super::{put, put_nstring};

/// RFC 9051 §7.5.2 ENVELOPE: ten fields, in its order; NIL where the header has none.
pub fn put_envelope(out: &mut Vec<u8>, envelope: &EnvelopeFields<'_>) {
    out.push(b'(');
    put_nstring(out, envelope.date.as_deref());
    out.push(b' ');
    put_nstring(out, envelope.subject.as_deref());
    for list in [
        &envelope.from,
        &envelope.sender,
        &envelope.reply_to,
        &envelope.to,
        &envelope.cc,
        &envelope.bcc,
    ] {
        out.push(b' ');
        put_addresses(out, list);
    }
    out.push(b' ');
    put_nstring(out, envelope.in_reply_to.as_deref());
    out.push(b' ');
    put_nstring(out, envelope.message_id.as_deref());
    out.push(b')');
}

fn put_addresses(out: &mut Vec<u8>, addresses: &AddressList<'_>) {
    let begin = out.len();
    for address in addresses.iter() {
        put(out, if out.len() == begin { "((" } else { "(" });
        put_nstring(out, address.name.as_deref());
        out.push(b' ');
        put_nstring(out, address.route.as_deref());
        out.push(b' ');
        put_nstring(out, address.mailbox.as_deref());
        out.push(b' ');
        put_nstring(out, address.host.as_deref());
        out.push(b')');
    }
    put(out, if out.len() == begin { "NIL" } else { ")" });
}
