//! Messages for unit tests: no body, only numbers and flags.

use base::BodyName;
use mail::{Flags, InternalDate, ModSeq, Uid};
use mailbox::Message;
use store::{BodyRef, Codec};
use volume::{Generation, RecordAddress, SegmentIndex};

pub fn message(uid: u32, modseq: u64) -> Message {
    let address = RecordAddress {
        segment: SegmentIndex(0),
        generation: Generation(0),
        batch_block: 0,
        at: 0,
        bytes: 0,
        check: 0,
    };
    Message {
        uid: Uid(uid),
        modseq: ModSeq(modseq),
        flags: Flags::default(),
        internal_date: InternalDate::utc(0),
        saved_s: 0,
        size_bytes: 1,
        body: BodyRef {
            name: BodyName([0; 32]),
            raw_bytes: 1,
            summary: address,
            body: address,
            codec: Codec::Raw,
        },
    }
}
