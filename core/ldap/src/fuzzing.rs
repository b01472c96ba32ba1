//! For `core/fuzz`: whatever a server sends is read to its end, or refused.

use crate::ber::message_length;
use crate::{filter, message};

/// Bytes of a server, message by message.
pub fn replies(mut bytes: &[u8]) {
    while let Ok(Some(length)) = message_length(bytes) {
        if length > bytes.len() {
            break;
        }
        let (first, rest) = bytes.split_at(length);
        let _ = message::read(first);
        bytes = rest;
    }
    let _ = message::read(bytes);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut entry =
        b"\x30\x25\x02\x01\x02\x64\x20\x04\x06cn=ada\x30\x16\x30\x14\x04\x04mail".to_vec();
    entry.extend(b"\x31\x0c\x04\x0aa@b.examp1");
    entry.extend(b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00");
    let bind = b"\x30\x0e\x02\x01\x01\x61\x09\x0a\x01\x31\x04\x00\x04\x02no".to_vec();
    vec![entry, bind, b"\x30\x00".to_vec()]
}

pub fn filter_seeds() -> Vec<Vec<u8>> {
    let filters = [
        "(&(objectClass=user)(|(mail={address})(uid={user})))",
        "(memberOf:1.2.840.113556.1.4.1941:=cn=a,dc=b)",
        "(cn=a*b*c)",
        "*)(uid=*",
    ];
    filters.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// A user's name stays one value, and a filter of any form is taken or refused.
pub fn filters(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = filter::encode(&text);
    let _ = filter::Filter::parse(&text).map(|filter| filter.of_user("a@example.org"));
    let name: String = text.chars().take(200).collect();
    let encoded = filter::encode(&format!("(uid={})", filter::escape(&name)));
    let encoded = encoded.expect("an escaped value is never syntax");
    if name.is_empty() {
        return;
    }
    assert_eq!(encoded[0], 0xa3, "one equality");
    let mut windows = encoded.windows(name.len());
    assert!(
        windows.any(|window| window == name.as_bytes()),
        "with the name as its value"
    );
}
