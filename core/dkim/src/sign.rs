//! The field `DKIM-Signature` over a message: relaxed/relaxed, oversigned, with `t=`, without `l=` and `x=`.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest::{self, Context, SHA256};
use data_encoding::BASE64;
use mail::header::{self, Field};

use crate::author::ascii_domain;
use crate::canonical;
use crate::key::{KeyFault, SigningKey};
use crate::limits::{FIELDS_SIGNED_MAX, LINE_BYTES_MAX};

/// One key, and what `d=` and `s=` say of it.
#[derive(Debug, Clone)]
pub struct Signer {
    /// In A-labels.
    domain: String,
    selector: String,
    key: Arc<SigningKey>,
}

impl Signer {
    /// `domain` in any spelling.
    pub fn new(domain: &str, selector: &str, key: Arc<SigningKey>) -> Signer {
        Signer {
            domain: ascii_domain(domain),
            selector: selector.to_owned(),
            key,
        }
    }
}

/// One signature field for each of `signers`, in their order, to be put in front of `message`. `Ok(None)`: the message cannot be signed, it has no
/// From field (RFC 6376 §5.4) or too many fields.
pub fn sign(
    message: &[u8],
    signers: &[Signer],
    unix_seconds: u64,
) -> Result<Option<Vec<u8>>, KeyFault> {
    let fields: Vec<Field<'_>> = header::fields(message).collect();
    let Some(signed) = chosen(&fields) else {
        return Ok(None);
    };
    let header_bytes: usize = fields.iter().map(|field| field.raw.len()).sum();
    let body = &message[header_bytes..];
    let body = body.strip_prefix(b"\r\n").unwrap_or(body);
    let body_hash = hash_of_body(body);
    let mut out = Vec::new();
    for signer in signers {
        let unsigned = unsigned_field(signer, &signed, &body_hash, unix_seconds);
        let names = signed.iter().map(|name| name.as_bytes());
        let input = input(&fields, names, unsigned.as_bytes());
        let hashed = digest::digest(&SHA256, &input);
        let signature = BASE64.encode(&signer.key.sign(&input, hashed.as_ref())?);
        out.extend_from_slice(unsigned.as_bytes());
        for (index, piece) in signature.as_bytes().chunks(LINE_BYTES_MAX).enumerate() {
            if index > 0 {
                out.extend_from_slice(FOLD.as_bytes());
            }
            out.extend_from_slice(piece);
        }
        out.extend_from_slice(b"\r\n");
    }
    Ok(Some(out))
}

/// The names of `h=`, in order: each as often as the field is there, and once more where nothing may be added.
fn chosen(fields: &[Field<'_>]) -> Option<Vec<&'static str>> {
    let count = |name: &str| {
        let same = |field: &&Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
        fields.iter().filter(same).count()
    };
    if count("From") == 0 {
        return None;
    }
    let closed = CLOSED.iter().map(|name| (*name, count(name) + 1));
    let open = OPEN.iter().map(|name| (*name, count(name)));
    let mut names = Vec::new();
    for (name, times) in closed.chain(open) {
        if names.len() + times > FIELDS_SIGNED_MAX {
            return None;
        }
        names.extend(std::iter::repeat_n(name, times));
    }
    Some(names)
}

fn hash_of_body(body: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    canonical::body(body, |piece| context.update(piece));
    BASE64.encode(context.finish().as_ref())
}

/// The field with an empty `b=`.
fn unsigned_field(signer: &Signer, names: &[&str], body_hash: &str, unix_seconds: u64) -> String {
    let algorithm = signer.key.algorithm().signature_name();
    let mut out = format!(
        "DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed;{FOLD}d={}; s={};{FOLD}t={unix_seconds}; h=",
        signer.domain, signer.selector
    );
    let mut line_bytes = "\tt=1234567890; h=".len();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(':');
            line_bytes += 1;
        }
        if line_bytes + name.len() >= LINE_BYTES_MAX {
            out.push_str(FOLD);
            line_bytes = 1;
        }
        out.push_str(name);
        line_bytes += name.len();
    }
    let _ = write!(out, ";{FOLD}bh={body_hash};{FOLD}b=");
    out
}

/// What is signed (RFC 6376 §3.7): the named fields, of several with one name the last one first (§5.4.2), and the signature's own without `b=`.
pub(crate) fn input<'n>(
    fields: &[Field<'_>],
    names: impl Iterator<Item = &'n [u8]>,
    own: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut is_taken = vec![false; fields.len()];
    for name in names {
        let found = fields.iter().enumerate().rfind(|(index, field)| {
            let is_free = !is_taken[*index];
            is_free && field.name.eq_ignore_ascii_case(name)
        });
        // One that is not there is signed as absent.
        if let Some((index, field)) = found {
            is_taken[index] = true;
            canonical::field(field, &mut out);
            out.extend_from_slice(b"\r\n");
        }
    }
    if let Some(own) = header::fields(own).next() {
        canonical::field(&own, &mut out);
    }
    out
}

/// Fields that nothing may be added to on the way: one more of them makes the signature fail. Those of RFC 6376 §5.4.1 that change what a person
/// sees.
const CLOSED: &[&str] = &[
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// Fields that are signed where they are there. A list may add them (RFC 8058 §4 wants the last two signed).
const OPEN: &[&str] = &[
    "Sender",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
];

const FOLD: &str = "\r\n\t";
