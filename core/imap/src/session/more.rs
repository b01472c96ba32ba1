//! What the smaller extensions add to a session.

use crate::respond::{Status, put_reply};

use super::{Event, Session};

impl Session {
    /// The capabilities of this file, each with a blank in front.
    pub(super) fn put_more(&self, words: &mut String) {
        // RFC 4978 §3: it is not offered again.
        if !self.compressed {
            words.push_str(" COMPRESS=DEFLATE");
        }
    }

    /// RFC 4978 §3: once for a connection.
    pub(super) fn on_compress(&mut self, tag: Box<str>, out: &mut Vec<u8>) -> Option<Event> {
        if self.compressed {
            put_reply(
                out,
                &tag,
                Status::No,
                "COMPRESSIONACTIVE",
                "Compression is already active",
            );
            return None;
        }
        Some(Event::Compress { tag })
    }

    /// There is memory for it: OK is in `out` and goes out as it is; everything behind it, both ways, is compressed. What the client sent behind
    /// its command is compressed already, and returned.
    pub fn compressed(&mut self, tag: &str, out: &mut Vec<u8>) -> Vec<u8> {
        self.compressed = true;
        put_reply(out, tag, Status::Ok, "", "Compression started");
        let behind = std::mem::take(self.reader.input());
        self.reader.clear();
        behind
    }

    /// There is none. The client goes on without.
    pub fn compression_refused(&self, tag: &str, out: &mut Vec<u8>) {
        put_reply(
            out,
            tag,
            Status::No,
            "LIMIT",
            "Too many compressed connections",
        );
    }
}
