//! Doors for `core/fuzz`, no part of the API.

use crate::{Policy, Response, id, is_id};

/// Reads `bytes` as a record, as a policy and as a response, whole and in pieces. What is read is written and read again.
pub fn read(bytes: &[u8]) {
    if let Some(id) = id(&[bytes.to_vec()]) {
        assert!(is_id(&id));
    }
    if let Ok(policy) = Policy::parse(bytes) {
        assert_eq!(Policy::parse(policy.text().as_bytes()), Ok(policy));
    }
    let mut whole = Response::new();
    let mut found = whole.take(bytes);
    if found == Ok(None) {
        found = whole.end().map(Some);
    }
    let mut parts = Response::new();
    for piece in bytes.chunks(7) {
        match parts.take(piece) {
            Ok(None) => {}
            by_parts => {
                assert_eq!(by_parts, found, "pieces make no difference");
                return;
            }
        }
    }
    assert_eq!(parts.end().map(Some), found, "pieces make no difference");
}

/// What `read` reads without a fault.
pub fn samples() -> Vec<Vec<u8>> {
    let policy =
        "version: STSv1\r\nmode: enforce\r\nmx: mx.example\r\nmx: *.example\r\nmax_age: 604800\r\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n";
    let texts = [
        "v=STSv1; id=20260101T000000;".to_owned(),
        policy.to_owned(),
        format!("{head}Content-Length: {}\r\n\r\n{policy}", policy.len()),
        format!("{head}\r\n{policy}"),
        format!(
            "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{policy}\r\n0\r\n\r\n",
            policy.len()
        ),
    ];
    texts.map(String::into_bytes).to_vec()
}
