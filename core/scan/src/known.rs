//! What we recognise without any server: GTUBE (spamassassin.apache.org/gtube) and the EICAR test file (eicar.org), the two strings that
//! operators send to see whether scanning works.
//!
//! Both are searched in the whole message as it stands and in each base64 or quoted-printable part, decoded.

use mail::Summary;
use mail::summary::{Content, Part};
use memchr::memmem;

use crate::limits::DECODED_BYTES_MAX;

/// What was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The test for spam.
    Gtube,
    /// The test for viruses.
    Eicar,
}

/// Looks at every byte of `content`, and at what its encoded parts hold: work for `runtime::work` where it is large.
pub fn recognise(content: &[u8]) -> Option<Known> {
    if let Some(known) = search(content) {
        return Some(known);
    }
    if !may_have_encoded(content) {
        return None;
    }
    let summary = Summary::whole(content);
    let mut left = DECODED_BYTES_MAX;
    in_part(content, &summary.root, &mut left)
}

fn search(bytes: &[u8]) -> Option<Known> {
    let mut samples = samples().into_iter();
    let found = samples.find(|(_, text)| memmem::find(bytes, text.as_bytes()).is_some());
    found.map(|(known, _)| known)
}

/// What is searched for. Written in pieces, so that a scanner that reads this program does not find it there.
pub fn samples() -> [(Known, String); 2] {
    let eicar = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-";
    let gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI";
    [
        (Known::Eicar, format!("{eicar}ANTIVIRUS-TEST-FILE!$H+H*")),
        (Known::Gtube, format!("{gtube}-UBE-TEST-EMAIL*C.34X")),
    ]
}

/// Whether any part can be encoded: most mail has none, and is then not taken apart.
fn may_have_encoded(content: &[u8]) -> bool {
    let mut rest = content;
    // Each turn goes on behind the word that was found.
    while let Some(at) = memchr::memchr(b'-', rest) {
        rest = &rest[at + 1..];
        let word = b"encoding";
        if rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word) {
            return true;
        }
    }
    false
}

fn in_part(content: &[u8], part: &Part<'_>, left: &mut usize) -> Option<Known> {
    match &part.content {
        Content::Multipart(parts) => parts.iter().find_map(|part| in_part(content, part, left)),
        Content::Message(inner) => in_part(content, &inner.1, left),
        Content::Leaf | Content::Unread => {
            let range = part.body_begin as usize..part.body_end as usize;
            let body = content.get(range)?;
            if body.len() > *left {
                return None;
            }
            let encoding = part.encoding.as_deref()?.trim_ascii();
            let decoded = if encoding.eq_ignore_ascii_case(b"base64") {
                mail::text::base64_decoded(body)
            } else if encoding.eq_ignore_ascii_case(b"quoted-printable") {
                mail::text::quoted_printable_decoded(body)
            } else {
                return None;
            };
            *left -= body.len();
            search(&decoded?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, columns: usize) -> String {
        let encoded = data_encoding::BASE64.encode(text.as_bytes());
        let lines: Vec<&str> = encoded
            .as_bytes()
            .chunks(columns)
            .map(|line| std::str::from_utf8(line).expect("ASCII"))
            .collect();
        lines.join("\r\n")
    }

    #[test]
    fn both_are_found_wherever_they_are() {
        for (known, sample) in samples() {
            let encoded = format!("padding of {} bytes {sample}", sample.len());
            let quoted = sample
                .replace('*', "=2A")
                .replace("STANDARD", "STAN=\r\nDARD");
            for message in [
                format!("Subject: x\r\n\r\n{sample}\r\n"),
                format!("Subject: {sample}\r\n\r\n\r\n"),
                format!(
                    "content-transfer-ENCODING:\r\n BASE64\r\n\r\n{}\r\n",
                    wrapped(&encoded, 60)
                ),
                format!("Content-Transfer-Encoding: quoted-printable\r\n\r\n{quoted}\r\n"),
                format!(
                    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\nContent-Type: application/zip\r\n\
                     Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--b--\r\n",
                    wrapped(&encoded, 7)
                ),
                format!(
                    "Content-Type: message/rfc822\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
                    wrapped(&encoded, 76)
                ),
            ] {
                assert_eq!(recognise(message.as_bytes()), Some(known), "{message}");
            }
        }
    }

    #[test]
    fn other_mail_is_not_recognised() {
        for (_, sample) in samples() {
            let cut = &sample[..sample.len() - 1];
            for message in [
                String::new(),
                format!("Subject: x\r\n\r\n{cut}\r\n"),
                format!(
                    "Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
                    wrapped(cut, 76)
                ),
                "Content-Transfer-Encoding: base64\r\n\r\n\u{1}\u{2}=\r\n".to_owned(),
            ] {
                assert_eq!(recognise(message.as_bytes()), None, "{message}");
            }
        }
    }
}
