//! A whole message, looked at twice: before its keys are there, and with them. Both are work, for `runtime::work`; nothing of the message itself is
//! kept between them, only what its signatures sign of the header.

use mail_auth::AuthenticatedMessage;
use mail_auth::common::verify::VerifySignature;
use mail_auth::dkim::Canonicalization;

use crate::arc::{Arc, Chain};
use crate::dkim::{self, Job, Signature, without_signature};
use crate::limits::*;
use crate::signed::{Room, signed, signed_fields};
use crate::{Found, Keys, Outcome, domain_of, found, header, spf, tags};

/// A message before its keys are there.
pub struct Prepared {
    authors: Vec<String>,
    more_authors: bool,
    signatures: Vec<(Signature, Option<Job>)>,
    left_out: usize,
    chain: Option<Chain>,
}

/// What a message's signatures came to.
#[derive(Debug, Clone)]
pub struct Signatures {
    /// The domains in From, each once, in A-labels; at most `limits::AUTHORS_MAX`.
    pub authors: Vec<String>,
    /// There are more of them, or may be.
    pub more_authors: bool,
    /// At most `limits::SIGNATURES_MAX`, in the order of the header: first those of the author's domain, its parents and its subdomains, last those that
    /// cannot be read.
    pub dkim: Vec<Signature>,
    /// How many were not looked at.
    pub left_out: usize,
    pub arc: Arc,
}

impl Prepared {
    /// Reads `content`, a message as its sender sent it, and hashes its body at most four times. `unix_seconds` is now.
    pub fn of(content: &[u8], unix_seconds: u64) -> Prepared {
        // Read for themselves, however long or broken the header is: DMARC applies to it.
        let (authors, more_authors) = authors_of(content);
        let nothing = Prepared {
            authors: authors.clone(),
            more_authors,
            signatures: Vec::new(),
            left_out: 0,
            chain: None,
        };
        // mail-auth counts offsets in 32 bits.
        if u32::try_from(content.len()).is_err() {
            return nothing;
        }
        let header_bytes = header::end(content);
        let parsed = match header_bytes <= HEADER_BYTES_MAX {
            true => AuthenticatedMessage::parse(content),
            false => None,
        };
        // mail-auth ends a header at a line without a colon, and takes what follows for the body.
        let whole = parsed.filter(|message| message.body_offset() >= header_bytes);
        let Some(mut message) = whole else {
            return Prepared {
                left_out: header::fields(content, "dkim-signature").count(),
                ..nothing
            };
        };
        correct_relaxed_hashes(&mut message);
        let mut room = Room::of_a_message();
        let unreadable = message.errors.iter().filter(|error| {
            error
                .name
                .trim_ascii()
                .eq_ignore_ascii_case(b"dkim-signature")
        });
        let unreadable = unreadable.map(|error| (broken(&error.header), None));
        // Those that may speak for the author come first: others in front of them must not keep them from being looked at.
        let mut readable: Vec<&Field> = message.dkim_headers.iter().collect();
        readable.sort_by_key(|field| !is_of_a_kind(&domain_of(&field.header.d), &authors));
        readable.truncate(SIGNATURES_MAX);
        let readable = readable.into_iter();
        let readable = readable.map(|field| prepare(&message, field, &mut room, unix_seconds));
        let mut signatures: Vec<_> = readable.collect();
        signatures.extend(unreadable);
        let all = message.dkim_headers.len().max(signatures.len());
        signatures.truncate(SIGNATURES_MAX);
        Prepared {
            authors,
            more_authors,
            left_out: all - signatures.len(),
            signatures,
            chain: Some(Chain::of(&message, &mut room, unix_seconds)),
        }
    }

    /// Where the keys are, some perhaps twice.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let own = self.signatures.iter().filter_map(|(_, job)| job.as_ref());
        let chain = self.chain.iter().flat_map(|chain| chain.jobs());
        own.chain(chain).map(|job| job.key.as_str())
    }

    /// What `verify` weighs, as bytes that work looks at: a public key counts as `limits::KEY_WORK_BYTES`.
    pub fn work_bytes(&self) -> usize {
        let own = self.signatures.iter().filter_map(|(_, job)| job.as_ref());
        let chain = self.chain.iter().flat_map(|chain| chain.jobs());
        own.chain(chain)
            .map(|job| job.signed.len() + KEY_WORK_BYTES)
            .sum()
    }

    /// Verifies every signature, with its key: work of public keys.
    pub fn verify(self, keys: &Keys) -> Signatures {
        let dkim = self.signatures.into_iter().map(|(mut signature, job)| {
            if let Some(job) = job {
                signature.found = job.verify(keys.get(&job.key));
            }
            signature
        });
        let none = Arc {
            found: found(Outcome::None, ""),
            sealer: String::new(),
        };
        Signatures {
            authors: self.authors,
            more_authors: self.more_authors,
            dkim: dkim.collect(),
            left_out: self.left_out,
            arc: self.chain.map_or(none, |chain| chain.verify(keys)),
        }
    }
}

type Field<'x> = mail_auth::common::headers::Header<'x, mail_auth::dkim::Signature>;

fn prepare(
    message: &AuthenticatedMessage,
    field: &Field,
    room: &mut Room,
    unix_seconds: u64,
) -> (Signature, Option<Job>) {
    let of = &field.header;
    let shown = |found: Found| Signature {
        domain: domain_of(&of.d),
        selector: of.s.clone(),
        algorithm: of.a.name(),
        begins: begins(&of.b),
        found,
    };
    // RFC 6376 §3.2: a tag that is there twice makes the whole list invalid.
    if tags::parse(field.value).is_none() {
        return (
            shown(found(Outcome::PermError, "the tags have an error")),
            None,
        );
    }
    if let Some(fault) = dkim::fault(of, unix_seconds) {
        return (shown(fault), None);
    }
    let hash = message
        .body_hashes
        .iter()
        .find(|(form, algorithm, length, _)| {
            *form == of.cb && *algorithm == of.a.into() && *length == of.l
        });
    if hash.is_none_or(|(.., hash)| *hash != of.bh) {
        return (shown(found(Outcome::Fail, "the body was changed")), None);
    }
    let own = without_signature(field.value);
    let fields = signed_fields(message, of.ch, &of.h, (field.name, &own));
    let Some(signed) = signed(of.ch, fields, &of.h, room) else {
        return (shown(found(Outcome::Policy, "too much is signed")), None);
    };
    let job = Job {
        key: of.domain_key(),
        signed,
        signature: of.b.clone(),
        algorithm: of.a,
        identity: dkim::identity(of),
    };
    (shown(found(Outcome::TempError, "")), Some(job))
}

/// RFC 6376 §3.4.4: lines of white space at the end of a body do not count in relaxed form; mail-auth hashes them.
fn correct_relaxed_hashes(message: &mut AuthenticatedMessage) {
    let body = &message.raw_message[message.body_offset()..];
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let bytes = body.iter().rposition(|byte| !is_blank(byte));
    let (text, end) = body.split_at(bytes.map_or(0, |last| last + 1));
    if memchr::memchr2(b' ', b'\t', end).is_none() {
        return;
    }
    for (form, algorithm, length, hash) in &mut message.body_hashes {
        if *form == Canonicalization::Relaxed {
            let text = form.canonical_body(text, *length);
            *hash = algorithm.hash(text).as_ref().to_vec();
        }
    }
}

/// Whether `domain` is above, below or the same as one of `authors`.
fn is_of_a_kind(domain: &str, authors: &[String]) -> bool {
    let is_below = |name: &str, of: &str| {
        let front = name.strip_suffix(of);
        front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
    };
    authors
        .iter()
        .any(|author| is_below(domain, author) || is_below(author, domain))
}

/// A field that could not be read.
fn broken(error: &mail_auth::Error) -> Signature {
    use mail_auth::Error;
    use mail_auth::dkim::DkimError;
    let found = match error {
        Error::Dkim(DkimError::SignatureLength) => {
            found(Outcome::Policy, "a part of the body is signed")
        }
        _ => found(Outcome::Neutral, "the signature cannot be read"),
    };
    Signature {
        domain: String::new(),
        selector: String::new(),
        algorithm: "",
        begins: String::new(),
        found,
    }
}

/// The domains in all fields that a mail program takes for From, also behind lines that are no fields and with white space before the colon
/// (RFC 5322 §4.5); and whether there are more than are looked at.
fn authors_of(content: &[u8]) -> (Vec<String>, bool) {
    let mut fields = Vec::new();
    for field in header::fields(content, "from") {
        let field = &content[field];
        let colon = memchr::memchr(b':', field).map_or(field.len(), |colon| colon + 1);
        if fields.len() + field.len() > FROM_BYTES_MAX {
            return (Vec::new(), true);
        }
        fields.extend_from_slice(b"From:");
        fields.extend_from_slice(field[colon..].trim_ascii_end());
        fields.extend_from_slice(b"\r\n");
    }
    fields.extend_from_slice(b"\r\n");
    let mut domains = Vec::new();
    let message = AuthenticatedMessage::parse(&fields);
    for author in message.iter().flat_map(|message| &message.from) {
        let Some((_, domain)) = author.rsplit_once('@') else {
            continue;
        };
        // It goes into fields of ours; and the policy is that of the name's end, whatever stands in front.
        let is_shown = |char: &char| !char.is_control() && !char.is_whitespace();
        let domain: String = domain.chars().filter(is_shown).collect();
        let domain = spf::name(&domain_of(&domain));
        if domain.is_empty() || domains.contains(&domain) {
            continue;
        }
        if domains.len() == AUTHORS_MAX {
            return (domains, true);
        }
        domains.push(domain);
    }
    (domains, false)
}

/// The first eight characters of base64.
fn begins(signature: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let Some(front) = signature.first_chunk::<6>() else {
        return String::new();
    };
    let mut bits = front
        .iter()
        .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte))
        << 16;
    let digit = |_| {
        let digit = DIGITS[(bits >> 58) as usize];
        bits <<= 6;
        char::from(digit)
    };
    (0..8).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_shown_by_its_first_characters() {
        assert_eq!(begins(b"hello world"), "aGVsbG8g");
        assert_eq!(begins(b"\xff\xff\xff\0\0\0"), "////AAAA");
        assert_eq!(begins(b"short"), "");
    }
}
