//! What the smaller extensions add to a session.

use std::sync::Arc;

use crate::hide::{Hidden, Hide};
use crate::respond::{Status, put, put_reply, put_string};

use super::{Event, Expect, Session, State};

impl Session {
    /// The capabilities of this file, each with a blank in front.
    pub(super) fn put_more(&self, words: &mut String) {
        // RFC 4978 §3: it is not offered again.
        if !self.compressed {
            words.push_str(" COMPRESS=DEFLATE UNAUTHENTICATE");
        }
        words.push_str(" QUOTA QUOTA=RES-STORAGE OBJECTID SAVEDATE PREVIEW MULTIAPPEND REPLACE");
        words.push(' ');
        words.push_str(crate::acl::CAPABILITY);
        words.push_str(" METADATA LIST-METADATA");
        words.push_str(" UIDONLY UIDBATCHES");
        words.push_str(" NOTIFY");
        if let Some(url) = &self.sieve {
            words.push_str(" IMAPSIEVE=");
            words.push_str(url);
        }
    }

    /// The next byte from the client begins a command: what happens may be told now (RFC 5465 §3).
    pub fn is_between_commands(&self) -> bool {
        let is_logged_in = matches!(self.state, State::Authenticated | State::Selected { .. });
        is_logged_in && matches!(self.expect, Expect::Command) && self.reader.is_between()
    }

    /// RFC 6785: scripts run because of what the client does, and are stored at this URL. `None`: it is not announced.
    pub fn sieve_at(&mut self, url: Option<std::sync::Arc<str>>) {
        self.sieve = url;
    }

    /// RFC 9208 §4.1.1: limits are not a client's to set.
    pub(super) fn on_set_quota(&mut self, tag: &str, out: &mut Vec<u8>) -> Option<Event> {
        put_reply(
            out,
            tag,
            Status::No,
            "NOPERM",
            "Only administrators set quotas",
        );
        None
    }

    /// On a compressed connection nothing of one person may be seen through another's stream.
    pub(super) fn on_unauthenticate(&mut self, tag: &str, out: &mut Vec<u8>) -> Option<Event> {
        put_reply(
            out,
            tag,
            Status::Bad,
            "",
            "UNAUTHENTICATE is not allowed on a compressed connection",
        );
        self.count_bad(out)
    }

    /// ID (RFC 2971): the name and the version, and nothing of the machine.
    pub(super) fn on_id(&self, tag: &str, out: &mut Vec<u8>) {
        put(out, "* ID (\"name\" \"Ringpost\" \"version\" ");
        put_string(out, env!("CARGO_PKG_VERSION").as_bytes());
        put(out, ")\r\n");
        put_reply(out, tag, Status::Ok, "", "ID completed");
    }

    /// Capabilities that some clients are not offered: known before anything is said.
    pub fn hiding(&mut self, rules: Arc<[Hide]>) {
        self.hiding = Hidden::new(rules);
    }

    /// What the client called itself (ID), for another server that hides capabilities from it.
    pub fn client_name(&self) -> &str {
        self.hiding.client()
    }

    /// Before `logged_in`: whose mailboxes these are, for the same.
    pub fn belongs_to(&mut self, account: &str) {
        self.hiding.meet_account(account);
    }

    /// RFC 8437 §2: as after the greeting, except that TLS goes on. What was refused so far still counts: a stranger who has an account gets
    /// no more tries by it.
    pub fn unauthenticated(&mut self) {
        assert!(!self.compressed, "it is refused then");
        self.state = State::NotAuthenticated;
        self.rev2 = false;
        self.utf8 = false;
        self.condstore = false;
        self.qresync = false;
        self.uid_only = false;
        self.saved_lost = false;
        self.hiding.forget_account();
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
