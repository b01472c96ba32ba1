use base::BodyName;
use mail::{Flags, InternalDate, Keyword, ModSeq, SystemFlags, UidValidity};
use store::{BodyRef, Codec, Lsn};
use volume::{Generation, RecordAddress, SegmentIndex};

use super::*;
use crate::{Message, SpecialUse};

fn address(random: &mut fastrand::Rng, segment: u32) -> RecordAddress {
    RecordAddress {
        segment: SegmentIndex(segment),
        generation: Generation(random.u32(0..5)),
        batch_block: random.u32(0..16_384),
        at: random.u32(4_096..1 << 20),
        bytes: random.u32(0..1 << 20),
        check: random.u64(..),
    }
}

/// Messages as a mailbox might hold them, odd ones among them.
pub fn messages(random: &mut fastrand::Rng, count: u32) -> Vec<Message> {
    let mut uid = 0;
    let one = |_| {
        uid += random.u32(1..4);
        let segment = random.u32(0..3);
        let body = address(random, segment);
        let mut summary = if random.u8(0..4) > 0 {
            body
        } else {
            address(random, segment)
        };
        summary.at = random.u32(4_096..1 << 20);
        summary.bytes = random.u32(0..2_000);
        summary.check = random.u64(..);
        let raw_bytes = random.u32(0..1 << 26);
        let keywords = (0..random.usize(0..3))
            .filter_map(|index| Keyword::parse(["$Junk", "Work", "a"][index]));
        Message {
            uid: Uid(uid),
            modseq: ModSeq(random.u64(0..1 << 40)),
            flags: Flags {
                system: SystemFlags(random.u8(0..32)),
                keywords: keywords.collect(),
            },
            internal_date: InternalDate {
                unix_seconds: random.i64(-1 << 40..1 << 40),
                zone_minutes: [0, 60, -480][random.usize(0..3)],
            },
            saved_s: [0, random.u32(1..)][random.usize(0..2)],
            size_bytes: if random.bool() {
                raw_bytes
            } else {
                random.u32(..)
            },
            body: BodyRef {
                name: BodyName(std::array::from_fn(|_| random.u8(..))),
                raw_bytes,
                summary,
                body,
                codec: [Codec::Raw, Codec::Zstd, Codec::Chunked][random.usize(0..3)],
            },
        }
    };
    (0..count).map(one).collect()
}

#[test]
fn messages_come_back_as_they_were() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let count = random.u32(0..80);
        let before = messages(&mut random, count);
        let mut bytes = Vec::new();
        put_messages(&mut bytes, &before);
        let mut after = Vec::new();
        let mut reader = Reader::new(&bytes);
        assert_eq!(read_messages(&mut reader, &mut after), Ok(()));
        assert!(reader.is_empty());
        assert_eq!(after, before);
    }
}

#[test]
fn no_damage_to_a_row_can_stop_us() {
    let mut random = fastrand::Rng::with_seed(2);
    let before = messages(&mut random, 20);
    let mut bytes = Vec::new();
    put_messages(&mut bytes, &before);
    for end in 0..bytes.len() {
        assert!(read_messages(&mut Reader::new(&bytes[..end]), &mut Vec::new()).is_err());
    }
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(0..damaged.len());
            damaged[at] = random.u8(..);
        }
        let mut after = Vec::new();
        if read_messages(&mut Reader::new(&damaged), &mut after).is_ok() {
            assert!(after.is_sorted_by(|a, b| a.uid < b.uid));
        }
    }
}

#[test]
fn rows_that_do_not_ascend_are_refused() {
    let mut random = fastrand::Rng::with_seed(3);
    let before = messages(&mut random, 2);
    let mut bytes = Vec::new();
    put_messages(&mut bytes, &before);
    let mut after = before.clone();
    assert_eq!(
        read_messages(&mut Reader::new(&bytes), &mut after),
        Err(Broken)
    );
}

/// Not a promise, but a tripwire: the index is paid for with every message.
#[test]
fn a_plain_message_takes_about_seventy_bytes() {
    let mut random = fastrand::Rng::with_seed(4);
    let mut plain = messages(&mut random, 32);
    for (index, message) in plain.iter_mut().enumerate() {
        message.uid = Uid(1_000 + index as u32);
        message.modseq = ModSeq(1_000 + index as u64);
        message.flags = Flags::default();
        message.internal_date = InternalDate::utc(1_790_000_000 + index as i64 * 60);
        message.size_bytes = message.body.raw_bytes;
        message.body.codec = Codec::Zstd;
        message.body.body.segment = SegmentIndex(7);
        message.body.body.generation = Generation(1);
        message.body.summary = RecordAddress {
            at: message.body.body.at + 40,
            bytes: 400,
            ..message.body.body
        };
    }
    let mut bytes = Vec::new();
    put_messages(&mut bytes, &plain);
    assert!(bytes.len() < 32 * 76, "{} bytes", bytes.len());
}

#[test]
fn head_and_tree_come_back_as_they_were() {
    let head = Head {
        moved_at: ModSeq(9),
        snapshot: Lsn(u64::MAX),
        ..Head::new(AccountId(7), UidValidity(u32::MAX))
    };
    let mut bytes = Vec::new();
    head.encode(&mut bytes);
    assert_eq!(Head::decode(&mut Reader::new(&bytes)), Ok(head));

    let tree = Tree {
        folders: [(
            "INBOX".to_owned(),
            Folder {
                mailbox: MailboxId(1 << 50),
                special_use: Some(SpecialUse::All),
            },
        )]
        .into(),
        subscriptions: ["Übung/zwei".to_owned()].into(),
        uid_validity_last: UidValidity(3),
        left: NamesLeft::default(),
        snapshot: Lsn(4),
        ..Tree::default()
    };
    let mut bytes = Vec::new();
    tree.encode(&mut bytes);
    assert_eq!(Tree::decode(&mut Reader::new(&bytes)), Ok(tree));
    for end in 0..bytes.len() {
        assert!(Tree::decode(&mut Reader::new(&bytes[..end])).is_err());
    }
}

#[test]
fn chunk_keys_sort_as_mailbox_then_uid() {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for mailbox in [1, 2, 255, 256, 1 << 40] {
        for uid in [1, 31, 32, 1_000, u32::MAX] {
            keys.push(chunk_key(MailboxId(mailbox), Chunk::of(Uid(uid))));
        }
    }
    assert!(keys.is_sorted());
    assert_eq!(read_chunk_key(&keys[7]), Ok((MailboxId(2), Chunk(1))));
}
