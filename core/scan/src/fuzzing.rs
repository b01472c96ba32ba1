//! Doors for `core/fuzz`, no part of the API: what servers answer, from any bytes.

use crate::change;
use crate::limits::*;
use crate::milter::{self, Agreed, Said};
use crate::{clamd, http, known, rspamd};

/// Reads `bytes` as an HTTP reply of rspamd.
pub fn rspamd(bytes: &[u8]) {
    let (status, body) = match http::Head::parse(bytes) {
        Ok(Some(head)) => {
            assert!(head.bytes <= bytes.len() && head.bytes <= HTTP_HEAD_BYTES_MAX);
            let body = &bytes[head.bytes..];
            let length = head.body_bytes.unwrap_or(body.len()).min(body.len());
            (head.status, &body[..length])
        }
        _ => (200, bytes),
    };
    let Ok(answer) = rspamd::parse(status, body) else {
        return;
    };
    assert!(answer.symbols.len() <= SYMBOLS_SHOWN_MAX);
    assert!(answer.fields.len() <= ADDED_BYTES_MAX);
    is_a_header(&answer.fields);
    assert!(!answer.words().contains(['\r', '\n', '(', ')', ';']));
}

/// Well-formed ones.
pub fn rspamd_seeds() -> Vec<Vec<u8>> {
    let body = r#"{"score":7.5,"required_score":15.0,"action":"add header","symbols":{"A":{"score":0.1}},"messages":{"smtp_message":"no"},
        "milter":{"add_headers":{"X-Spam":{"value":"Yes","order":0},"X-Two":[{"value":"1"},"2"],"X-Old":"text"}}}"#;
    let reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    vec![reply.into_bytes(), body.as_bytes().to_vec()]
}

/// Reads `bytes` as an answer of clamd, and as a message that is searched.
pub fn clamd(bytes: &[u8]) {
    if let Ok(Some(clamd::Answer::Infected(name))) = clamd::parse(bytes) {
        assert!(name.len() <= TEXT_CHARS_MAX && !name.contains(['\r', '\n', ';']));
    }
    known::recognise(bytes);
}

/// Well-formed ones.
pub fn clamd_seeds() -> Vec<Vec<u8>> {
    [
        "stream: OK\0",
        "stream: Eicar-Signature FOUND\0",
        "INSTREAM size limit exceeded. ERROR\0",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nSGVsbG8=\r\n--b--\r\n",
    ]
    .map(|seed| seed.as_bytes().to_vec())
    .to_vec()
}

/// Reads `bytes` as what a filter sends, and makes its changes in a message.
pub fn milter(bytes: &[u8]) {
    let mut rest = bytes;
    let (mut agreed, mut fields, mut changes) = (None, Vec::new(), Vec::new());
    // Each turn uses up a packet.
    while let Ok(Some((letter, data, next))) = milter::frame(rest) {
        rest = &rest[next..];
        match &agreed {
            None => match Agreed::parse(data) {
                Ok(both) if letter == b'O' => agreed = Some(both),
                _ => return,
            },
            Some(agreed) => match Said::parse(letter, data, agreed, true) {
                Ok(Said::Add(name, value)) => {
                    change::put_field(&mut fields, &name, &value);
                }
                Ok(Said::Change(change)) => changes.push(change),
                Ok(_) => {}
                Err(_) => return,
            },
        }
    }
    assert!(fields.len() <= ADDED_BYTES_MAX);
    is_a_header(&fields);
    let mut message = b"Received: x\r\nSubject: a\r\nX: b\r\n c\r\n\r\nSubject: text\r\n".to_vec();
    let edits = change::edits(&message[13..], changes);
    change::apply(&mut message, 13, edits);
    assert!(message.starts_with(b"Received: x\r\n"));
    assert!(
        message.ends_with(b"\r\n\r\nSubject: text\r\n")
            || message.ends_with(b"x\r\n\r\nSubject: text\r\n")
    );
    let end = message.len() - b"\r\nSubject: text\r\n".len();
    is_a_header(&message[..end]);
}

/// Well-formed ones.
pub fn milter_seeds() -> Vec<Vec<u8>> {
    vec![
        b"\0\0\0\x0dO\0\0\0\x06\0\0\0\x31\0\x1f\xf7\xff\0\0\0\x05hX\0y\0\0\0\0\x09i\0\0\0\x01X\0y\0\0\0\0\x0fm\0\0\0\x01Subject\0b\0\
          \0\0\0\x05qodd\0\0\0\0\x01p\0\0\0\x0ey550 5.7.1 no\0\0\0\0\x01a"
            .to_vec(),
    ]
}

/// Whole fields and nothing else, none of them ours.
fn is_a_header(fields: &[u8]) {
    let mut bytes = 0;
    for field in mail::header::fields(fields) {
        bytes += field.raw.len();
        assert!(!field.name.is_empty() && field.raw.ends_with(b"\r\n"));
        assert!(!field.name.to_ascii_lowercase().starts_with(b"x-ringpost-"));
        let lines = field.raw.split(|byte| *byte == b'\n');
        assert!(lines.clone().all(|line| line.len() <= 999));
    }
    assert_eq!(bytes, fields.len());
}

#[cfg(test)]
mod tests {
    #[test]
    fn seeds_hold_what_the_fuzzers_check() {
        super::rspamd_seeds()
            .iter()
            .for_each(|seed| super::rspamd(seed));
        super::clamd_seeds()
            .iter()
            .for_each(|seed| super::clamd(seed));
        super::milter_seeds()
            .iter()
            .for_each(|seed| super::milter(seed));
        [super::rspamd, super::clamd, super::milter]
            .iter()
            .for_each(|run| run(b""));
    }
}
