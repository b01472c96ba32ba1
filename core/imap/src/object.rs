//! Identifiers of messages that are the same wherever a message is (RFC 8474).
//!
//! What must hold: two messages with one EMAILID have the same bytes and the same internal date, for RFC 3501 §2.3.1.1 lets neither change; a message
//! keeps its EMAILID when it is copied or moved, and when reclaim moves its bytes.

use mail::InternalDate;

/// What an EMAILID is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmailId {
    /// The front of the BLAKE3 digest of the message: 160 bits, which no one makes collide by chance.
    pub digest: [u8; DIGEST_BYTES],
    pub internal_date: InternalDate,
}

/// Of 32.
pub const DIGEST_BYTES: usize = 20;

impl EmailId {
    /// `digest` is that of all of the message.
    pub fn of(digest: &[u8; 32], internal_date: InternalDate) -> EmailId {
        let mut front = [0; DIGEST_BYTES];
        front.copy_from_slice(&digest[..DIGEST_BYTES]);
        EmailId {
            digest: front,
            internal_date,
        }
    }

    /// As it is on the wire, without parentheses: letters, digits and `-` (RFC 8474 §7).
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(2 * DIGEST_BYTES + 24);
        text.push('M');
        for byte in self.digest {
            text.push_str(&format!("{byte:02x}"));
        }
        let InternalDate {
            unix_seconds,
            zone_minutes,
        } = self.internal_date;
        text.push_str(&format!("-{unix_seconds:x}"));
        if zone_minutes != 0 {
            text.push_str(&format!("-{zone_minutes:x}"));
        }
        text
    }

    /// The one that `text` writes. `None`: no message has it, however it is spelt.
    pub fn parse(text: &str) -> Option<EmailId> {
        let (digits, date) = text.strip_prefix('M')?.split_once('-')?;
        let (seconds, zone) = date.split_once('-').unwrap_or((date, "0"));
        let mut digest = [0; DIGEST_BYTES];
        for (index, byte) in digest.iter_mut().enumerate() {
            let two = digits.get(2 * index..2 * index + 2)?;
            *byte = u8::from_str_radix(two, 16).ok()?;
        }
        let id = EmailId {
            digest,
            internal_date: InternalDate {
                unix_seconds: u64::from_str_radix(seconds, 16).ok()?.cast_signed(),
                zone_minutes: u16::from_str_radix(zone, 16).ok()?.cast_signed(),
            },
        };
        (id.text() == text).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_differ_in_bytes_or_date_have_different_ids() {
        let date = |unix_seconds, zone_minutes| InternalDate {
            unix_seconds,
            zone_minutes,
        };
        let ids = [
            EmailId::of(&[1; 32], date(5, 0)),
            EmailId::of(&[2; 32], date(5, 0)),
            EmailId::of(&[1; 32], date(6, 0)),
            EmailId::of(&[1; 32], date(5, 60)),
            EmailId::of(&[1; 32], date(5, -60)),
            EmailId::of(&[1; 32], date(-5, 0)),
        ];
        let texts: Vec<String> = ids.iter().map(EmailId::text).collect();
        for (index, text) in texts.iter().enumerate() {
            assert!(text.len() <= crate::limits::OBJECT_ID_BYTES_MAX);
            let belongs = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            assert!(text.bytes().all(belongs), "{text}");
            assert!(!texts[..index].contains(text), "{text}");
            assert_eq!(EmailId::parse(text), Some(ids[index]));
            for other in [
                text.to_lowercase(),
                format!("{text}-0"),
                format!("{text}0-1-"),
            ] {
                assert_eq!(EmailId::parse(&other), None, "{other}");
            }
        }
        assert_eq!(texts[0], format!("M{}-5", "01".repeat(20)));
    }
}
