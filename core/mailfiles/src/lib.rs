//! Mail as other programs keep it in files: mbox, and the names and keywords of Maildir.
//!
//! `mbox.rs` reads a stream of messages and writes one; `maildir.rs` reads and writes the names of files, which hold flags, and `dovecot-keywords`. Walking directories
//! is the caller's part.
//!
//! What must hold: no bytes make it panic; what it holds is bounded by `limits.rs`, whatever a file says of itself; a message that was written comes back as it was,
//! line ends aside (`wire`), and in mbox without fields that hold flags.
#![forbid(unsafe_code)]

pub mod limits;
pub mod maildir;
pub mod mbox;

use std::borrow::Cow;

/// A message as protocols have it: every line ends in CRLF. Files have LF, as a rule.
pub fn wire(message: &[u8]) -> Cow<'_, [u8]> {
    let is_bare = |at: usize| at == 0 || message[at - 1] != b'\r';
    let bare = memchr::memchr_iter(b'\n', message).filter(|at| is_bare(*at));
    let bare = bare.count();
    if bare == 0 {
        return Cow::Borrowed(message);
    }
    let mut out = Vec::with_capacity(message.len() + bare);
    let mut from = 0;
    for at in memchr::memchr_iter(b'\n', message) {
        out.extend_from_slice(&message[from..at]);
        if is_bare(at) {
            out.push(b'\r');
        }
        out.push(b'\n');
        from = at + 1;
    }
    out.extend_from_slice(&message[from..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_ends_in_crlf_and_nothing_else_changes() {
        for (file, message) in [
            ("", ""),
            ("\n", "\r\n"),
            ("a\nb", "a\r\nb"),
            ("a\r\nb\nc\r\n", "a\r\nb\r\nc\r\n"),
            ("a\rb\r\r\n\n", "a\rb\r\r\n\r\n"),
            ("a\0\n\u{e4}\n", "a\0\r\n\u{e4}\r\n"),
        ] {
            assert_eq!(&*wire(file.as_bytes()), message.as_bytes());
        }
    }
}
