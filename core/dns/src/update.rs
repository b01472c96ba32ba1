//! One record of a zone added or removed by its primary (RFC 2136), signed with a shared key (TSIG, RFC 8945). Pure: bytes in, bytes out; the
//! caller connects, and brings the MAC.
//!
//! The answer's own signature is not checked: a forged one makes the caller believe in a record that is not there, which the authority that looks for the
//! record finds out. Nothing is accepted because of it.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::{TSIG, TsigAlgorithm, make_tsig_record, message_tbs};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// A text record that is to be there, or not to be there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextUpdate<'t> {
    pub zone: &'t str,
    pub name: &'t str,
    pub text: &'t str,
    pub present: bool,
}

/// Such a record is read once, within minutes.
const TTL_S: u32 = 60;
/// How far the server's clock may be from ours (RFC 8945 §10 recommends it).
const FUDGE_S: u16 = 300;

impl TextUpdate<'_> {
    /// The message. `mac`: HMAC-SHA-256 with the key called `key`. `None`: a name is not one, or is outside the zone.
    pub fn to_wire(
        &self,
        id: u16,
        unix_s: u64,
        key: &str,
        mac: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Option<Vec<u8>> {
        let parse = |text: &str| {
            let mut name = Name::from_ascii(text.trim_end_matches('.')).ok()?;
            name.set_fqdn(true);
            Some(name)
        };
        let (zone, name, key) = (parse(self.zone)?, parse(self.name)?, parse(key)?);
        if !zone.zone_of(&name) {
            return None;
        }
        let mut message = Message::new(id, MessageType::Query, OpCode::Update);
        // RFC 2136 §2.3: the zone is where a question has its name.
        message.add_query(Query::query(zone, RecordType::SOA));
        let text = RData::TXT(TXT::new(vec![self.text.to_owned()]));
        let mut record = Record::from_rdata(name, TTL_S, text);
        if !self.present {
            // RFC 2136 §2.5.4: this record alone; another try may have its own under the same name.
            record.dns_class = DNSClass::NONE;
            record.ttl = 0;
        }
        message.add_authority(record);
        let tsig = TSIG::new(
            TsigAlgorithm::HmacSha256,
            unix_s,
            FUDGE_S,
            Vec::new(),
            id,
            None,
            Vec::new(),
        );
        let mac = mac(&message_tbs(&message, &tsig, &key).ok()?);
        let signature = make_tsig_record(key, tsig.set_mac(mac));
        message.add_additional(signature.into_record_of_rdata());
        message.to_vec().ok()
    }
}

/// What the server answers to the update `id`. `Err`: why the zone is as it was, for people.
pub fn read_update_reply(wire: &[u8], id: u16) -> Result<(), String> {
    let (Some(found), Some(flags), Some(code)) =
        (wire.first_chunk::<2>(), wire.get(2), wire.get(3))
    else {
        return Err("an answer that makes no sense".to_owned());
    };
    if *found != id.to_be_bytes() || flags & 0x80 == 0 {
        return Err("an answer to another question".to_owned());
    }
    match ResponseCode::from(0, code & 0x0f) {
        ResponseCode::NoError => Ok(()),
        ResponseCode::NotAuth => Err(
            "NOTAUTH: it does not serve the zone, or does not take the key or our time".to_owned(),
        ),
        ResponseCode::Refused => Err("REFUSED: the key may not change this zone".to_owned()),
        other => Err(format!("response code {}", u16::from(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: TextUpdate<'static> = TextUpdate {
        zone: "example.org",
        name: "_acme-challenge.mail.example.org",
        text: "abc",
        present: true,
    };

    #[test]
    fn an_update_is_signed_over_all_that_it_says() {
        let mut signed = Vec::new();
        let wire = ONE
            .to_wire(7, 1_700_000_000, "key.example.org", |bytes| {
                signed = bytes.to_vec();
                vec![0xaa; 32]
            })
            .expect("it fits");
        // RFC 8945 §4.3: the message as it is without the signature, then the signature's own fields.
        assert_eq!(signed[..2], [0, 7]);
        assert_eq!(signed[10..12], [0, 0], "the signature is not counted yet");
        assert_eq!(wire[10..12], [0, 1]);
        assert_eq!(
            signed[12..],
            [&wire[12..][..signed.len() - 12 - tail().len()], &tail()[..]].concat()
        );
        assert!(wire.windows(32).any(|bytes| bytes == [0xaa; 32]));
        assert_eq!(wire[2] >> 3 & 0x0f, 5, "UPDATE");
    }

    fn tail() -> Vec<u8> {
        let mut tail = b"\x03key\x07example\x03org\x00".to_vec();
        tail.extend([0, 255, 0, 0, 0, 0]);
        tail.extend(b"\x0bhmac-sha256\x00");
        tail.extend(&1_700_000_000_u64.to_be_bytes()[2..]);
        tail.extend([1, 44, 0, 0, 0, 0]);
        tail
    }

    #[test]
    fn a_name_outside_the_zone_and_one_that_is_none_are_not_sent() {
        for name in ["mail.example.net", "a..b", ""] {
            let wire = TextUpdate { name, ..ONE }.to_wire(1, 1, "key", |_| Vec::new());
            assert_eq!(wire, None, "{name}");
        }
    }

    #[test]
    fn only_a_success_for_our_own_message_is_one() {
        let reply = |id: u16, flags: u8, code: u8| {
            let mut wire = id.to_be_bytes().to_vec();
            wire.extend([flags, code]);
            wire
        };
        assert_eq!(read_update_reply(&reply(7, 0xa8, 0), 7), Ok(()));
        for (wire, why) in [
            (reply(8, 0xa8, 0), "another"),
            (reply(7, 0x28, 0), "another"),
            (reply(7, 0xa8, 9), "NOTAUTH"),
            (reply(7, 0xa8, 5), "REFUSED"),
            (reply(7, 0xa8, 2), "code 2"),
            (vec![0, 7], "no sense"),
        ] {
            let said = read_update_reply(&wire, 7).expect_err(why);
            assert!(said.contains(why), "{said}");
        }
    }
}
