//! A door for `core/fuzz`, no part of the API.

use crate::Want;
use crate::limits::*;
use crate::*;

/// Reads any bytes as a message and judges it.
pub fn message(bytes: &[u8]) {
    let reading = Reading::of(bytes, Want::Words);
    assert!(reading.tokens.len() <= TOKENS_MAX);
    assert!(reading.tokens.is_sorted_by(|a, b| a < b), "each once");
    assert!(reading.signs.is_sorted_by(|a, b| a < b), "each once");
    let structure = Reading::of(bytes, Want::Structure);
    assert_eq!(structure.signs, reading.signs);
    let judgement = judge(&Author::default(), &Peer::default(), &reading);
    let sum: i32 = judgement.reasons.iter().map(|(_, points)| points.0).sum();
    assert_eq!(sum, judgement.score.0);
    check(&field(&judgement, Points(50)));
}

/// What must hold for the field of any judgement.
pub(crate) fn check(field: &str) {
    assert!(field.len() <= 1_500 && field.ends_with("\r\n"));
    for (index, line) in field.trim_end().split("\r\n").enumerate() {
        assert!(line.len() <= 78 && line.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')));
        assert_eq!(index > 0, line.starts_with('\t'), "one field");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let messages: [&[u8]; 3] = [
        b"From: \"info@bank.example\" <a@evil.example>\r\nSubject: =?utf-8?q?CHEAP_PILLS_NOW?=\r\n\r\nvia\xe2\x80\x8bgra http://192.0.2.1/x\r\n",
        b"From: a@b.example\r\nDate: x\r\nMessage-ID: <1@b>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<a href=\"http://u@evil.example:80\">www.bank.example</a>\r\n--b\r\nContent-Type: image/png; name=\"a.exe\"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n",
        "Subject: 免费发票\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n5YWN6LS5\r\n".as_bytes(),
    ];
    messages.map(<[u8]>::to_vec).to_vec()
}
