//! The nouns of a transfer: a folder, a message, the two ends, and what may go wrong at one.

use mail::{Flags, InternalDate};

/// A folder of a source, or of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    /// Its levels, with `/` between them; `INBOX` is spelled so.
    pub name: String,
    /// As the end itself spells it.
    pub own_name: String,
    /// RFC 6154 §2: `\Sent`, with the backslash.
    pub special_use: Option<String>,
}

/// One message, without its text.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// Stays the same as long as the folder's generation does.
    pub key: u64,
    pub flags: Flags,
    pub bytes: u64,
}

/// One message, whole. Its lines end in CRLF, unless its source sent others.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub message: Vec<u8>,
    pub flags: Flags,
    pub date: InternalDate,
}

/// Which content a message has: the same for both forms of line ends, and with or without what an mbox file cannot keep (fields that hold flags, a last line
/// without its end).
pub(crate) type Digest = [u8; 16];

pub(crate) fn digest(message: &[u8]) -> Digest {
    let (message, _) = mailfiles::mbox::without_status(message);
    let message = mailfiles::wire(&message);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&message);
    if !message.ends_with(b"\n") {
        hasher.update(b"\r\n");
    }
    let hash = hasher.finalize();
    let mut digest = Digest::default();
    digest.copy_from_slice(&hash.as_bytes()[..16]);
    digest
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The end is not there, or cannot now: it is tried again over a new connection.
    Away(String),
    /// This message or folder is refused; the rest goes on.
    Refused(String),
    /// Nothing goes on.
    Stop(String),
}

pub(crate) type Each<'a> = &'a mut dyn FnMut(u64, Letter) -> Result<(), Fault>;

/// Where messages come from.
pub(crate) trait Source {
    fn folders(&mut self) -> Result<Vec<Folder>, Fault>;
    /// Opens a folder for the calls below. Its generation: keys of another one mean nothing.
    fn open(&mut self, folder: &Folder) -> Result<u64, Fault>;
    /// All messages of the open folder, each once.
    fn keys(&mut self) -> Result<Vec<u64>, Fault>;
    /// Those that are still there, in any order.
    fn look(&mut self, keys: &[u64]) -> Result<Vec<Listed>, Fault>;
    /// What people find the message by.
    fn name_of(&self, key: u64) -> String;
    /// Gives those that are still there to `each`.
    fn fetch(&mut self, keys: &[u64], each: Each<'_>) -> Result<(), Fault>;
}

/// Where messages go.
pub(crate) trait Sink {
    /// Finds or makes a folder, and opens it for the calls below: its generation, and its name there.
    fn open(&mut self, name: &str, special_use: Option<&str>) -> Result<(u64, String), Fault>;
    /// All messages of the open folder.
    fn keys(&mut self) -> Result<Vec<u64>, Fault>;
    /// The contents of those that are still there.
    fn digests(&mut self, keys: &[u64], each: &mut dyn FnMut(u64, Digest)) -> Result<(), Fault>;
    /// Stores a message; it is there for good when this returns its key. `None`: stored, under a key that is not known.
    fn put(&mut self, letter: &Letter) -> Result<Option<u64>, Fault>;
    /// Changes flags. `false`: they cannot be changed here.
    fn change(&mut self, key: u64, added: &Flags, removed: &Flags) -> Result<bool, Fault>;
    /// A message that is missing here, though it was stored, was lost in a crash or removed by the operator: it is written again. `false`: a person may have removed it.
    fn refills(&self) -> bool;
    /// The folder is done: what people should hear of it.
    fn finish(&mut self) -> Result<Option<String>, Fault>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_make_no_other_content() {
        assert_eq!(digest(b"a\nb\r\n"), digest(b"a\r\nb\n"));
        assert_ne!(digest(b"a\nb"), digest(b"a\nc"));
    }

    #[test]
    fn what_an_mbox_file_changes_makes_no_other_content() {
        let message = &b"Status: RO\r\nA: 1\r\nX-Status: D\r\n\r\nStatus: text"[..];
        let kept = &b"A: 1\r\n\r\nStatus: text\r\n"[..];
        assert_eq!(digest(message), digest(kept));
        assert_ne!(digest(kept), digest(b"A: 1\r\n\r\n"));
    }
}
