//! The outside ledger: which messages were acknowledged with a 250, kept in the harness, which no power cut reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mua::smtp::{Reply, Smtp};

use crate::connect;
use crate::failure::{Doing, Failure, Told, ensure};
use crate::guest::{Guest, IMAPS, SMTP};
use crate::limits::REPLY_NOMINAL;
use crate::pace;

/// The account that gets the mail.
pub const ALICE: &str = "alice@example.org";
pub const PASSWORD: &str = "ringpost";

/// Acknowledged messages of one account, and what has been seen of its mailbox.
#[derive(Default)]
pub struct Ledger {
    /// The number of the next message.
    next: AtomicU64,
    /// Message number to its content as sent.
    acknowledged: Mutex<BTreeMap<u64, String>>,
    /// UID to message number, as last seen: a UID never changes its message.
    seen: Mutex<BTreeMap<u32, u64>>,
    /// As first seen.
    uid_validity: Mutex<Option<u32>>,
}

impl Ledger {
    /// Messages acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().expect("no sender panics").len()
    }

    /// The numbers of the messages acknowledged by now.
    pub fn promised(&self) -> Vec<u64> {
        let acknowledged = self.acknowledged.lock().expect("no sender panics");
        acknowledged.keys().copied().collect()
    }

    /// Each of these messages is among the files below `directory`, once, as it was sent.
    pub fn check_files(&self, promised: &[u64], directory: &Path) -> Told<()> {
        let acknowledged = self.acknowledged.lock().expect("no sender panics");
        let mut there = BTreeSet::new();
        for file in files(directory).doing(directory.display())? {
            let bytes = std::fs::read(&file).doing(file.display())?;
            let text = String::from_utf8_lossy(&bytes);
            let Some(number) = number_of(&text) else {
                continue;
            };
            let whole = acknowledged.get(&number);
            ensure(whole.is_none_or(|content| text.ends_with(content)), || {
                format!("message {number} has changed:\n{text}")
            })?;
            ensure(there.insert(number), || {
                format!("message {number} is there twice")
            })?;
        }
        let missing: Vec<&u64> = promised
            .iter()
            .filter(|number| !there.contains(number))
            .collect();
        ensure(missing.is_empty(), || {
            format!(
                "{} of {} acknowledged messages are LOST: {missing:?}",
                missing.len(),
                promised.len()
            )
        })
    }

    /// One message of about `size` bytes over an open connection. A refusal or a broken connection promises nothing.
    pub fn send(&self, smtp: &mut Smtp, size: usize) -> std::io::Result<Reply> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let content = content(number, size);
        let reply = smtp.send(&[ALICE], &content)?;
        if reply.is_ok() {
            self.acknowledged
                .lock()
                .expect("no sender panics")
                .insert(number, content);
        }
        Ok(reply)
    }

    /// Sends `count` messages that must all be taken.
    pub fn fill(&self, guest: &Guest, count: usize, size: usize) -> Told<()> {
        self.fill_by(guest.at(SMTP), count, size)
    }

    /// The same by another of the guest's doors.
    pub fn fill_by(&self, server: SocketAddr, count: usize, size: usize) -> Told<()> {
        let mut smtp = connect::smtp(server, reply_within()).doing("connecting by SMTP")?;
        for at in 0..count {
            let sent = self.send(&mut smtp, size);
            let reply = sent.doing(format!("sending message {at}"))?;
            ensure(reply.is_ok(), || {
                format!("message {at} was refused: {reply:?}")
            })?;
        }
        Ok(())
    }

    /// Keeps `SENDERS` busy while `during` runs; they go on through broken connections until it returns.
    pub fn under_load<T>(&self, guest: Guest, during: impl FnOnce(Guest) -> Told<T>) -> Told<T> {
        let server = guest.at(SMTP);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        if self.keep_sending(server, &done).is_err() {
                            // The guest is gone or will be: that is the story.
                            std::thread::sleep(Duration::from_millis(20));
                        }
                    }
                });
            }
            let outcome = during(guest);
            done.store(true, Ordering::Relaxed);
            outcome
        })
    }

    /// One sender, until `done`.
    fn keep_sending(&self, server: SocketAddr, done: &AtomicBool) -> std::io::Result<()> {
        // Short: a sender whose server lost its power must notice before the story is over.
        let mut smtp = connect::smtp(server, SENDER_PATIENCE)?;
        while !done.load(Ordering::Relaxed) {
            let reply = self.send(&mut smtp, fastrand::usize(300..8_000))?;
            if !reply.is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// Every acknowledged message is in INBOX exactly once and ends in the bytes that were sent; UIDs and UIDVALIDITY
    /// are what they were; nothing is there that was never sent.
    pub fn check(&self, guest: &Guest) -> Told<()> {
        let mut imap = connect::imap(guest.at(IMAPS), ALICE, PASSWORD, reply_within())
            .doing("logging in by IMAP")?;
        let validity = imap.select("INBOX").doing("selecting INBOX")?;
        let messages = imap.messages().doing("fetching INBOX")?;
        self.compare(
            validity,
            messages
                .into_iter()
                .map(|message| (message.uid, message.bytes)),
        )
    }

    /// Holds what a mailbox has against what was acknowledged and seen.
    fn compare(&self, validity: u32, messages: impl Iterator<Item = (u32, Vec<u8>)>) -> Told<()> {
        let known = *self
            .uid_validity
            .lock()
            .expect("one checker")
            .get_or_insert(validity);
        ensure(known == validity, || {
            format!("UIDVALIDITY was {known} and is {validity}")
        })?;
        let acknowledged = self.acknowledged.lock().expect("no sender panics");
        let mut seen = self.seen.lock().expect("one checker");
        let mut there: BTreeMap<u64, u32> = BTreeMap::new();
        for (uid, bytes) in messages {
            let text = String::from_utf8_lossy(&bytes);
            let Some(number) = number_of(&text) else {
                return Err(Failure::new(format!("UID {uid} was never sent:\n{text}")));
            };
            ensure(there.insert(number, uid).is_none(), || {
                format!("message {number} is there twice")
            })?;
            if let Some(content) = acknowledged.get(&number) {
                ensure(text.ends_with(content.as_str()), || {
                    format!("message {number} has changed:\n{text}")
                })?;
            }
            let before = *seen.entry(uid).or_insert(number);
            ensure(before == number, || {
                format!("UID {uid} was message {before} and is {number}")
            })?;
        }
        let missing: Vec<&u64> = acknowledged
            .keys()
            .filter(|number| !there.contains_key(number))
            .collect();
        ensure(missing.is_empty(), || {
            format!(
                "{} of {} acknowledged messages are LOST: {missing:?}",
                missing.len(),
                acknowledged.len()
            )
        })
    }
}

/// How long a reply is waited for, on this host.
pub fn reply_within() -> Duration {
    pace::stretched(REPLY_NOMINAL)
}

/// Senders at a time.
const SENDERS: usize = 3;
/// How long a sender waits for its server.
const SENDER_PATIENCE: Duration = Duration::from_secs(15);

/// The message of this number: the same bytes every time.
fn content(number: u64, size: usize) -> String {
    let mut text = format!(
        "From: <sender@example.net>\r\nSubject: ledger\r\nMessage-ID: <ledger.{number}@harness.example.net>\r\n\r\n"
    );
    let mut random = fastrand::Rng::with_seed(number);
    while text.len() < size {
        // Lines that begin with a dot now and then: they must come back with one dot.
        let line: String = (0..60).map(|_| random.alphanumeric()).collect();
        text.push_str(if random.u8(..8) == 0 { "." } else { "" });
        text.push_str(&line);
        text.push_str("\r\n");
    }
    text
}

/// All files below a directory, however deep.
fn files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => found.extend(files(&entry.path())?),
            false => found.push(entry.path()),
        }
    }
    Ok(found)
}

/// The number in a message that was read.
fn number_of(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("Message-ID: <ledger.")?;
    rest.split('@').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(count: u64) -> Ledger {
        let ledger = Ledger::default();
        for number in 0..count {
            ledger
                .acknowledged
                .lock()
                .expect("alone")
                .insert(number, content(number, 400));
        }
        ledger
    }

    fn inbox(numbers: &[u64]) -> impl Iterator<Item = (u32, Vec<u8>)> {
        numbers.iter().zip(1..).map(|(number, uid)| {
            let text = format!("Received: x\r\n{}", content(*number, 400));
            (uid, text.into_bytes())
        })
    }

    #[test]
    fn files_are_compared_with_what_was_promised() {
        let directory = tempfile::tempdir().expect("a directory");
        let below = directory.path().join("alice/new");
        std::fs::create_dir_all(&below).expect("made");
        let write =
            |name: &str, text: String| std::fs::write(below.join(name), text).expect("written");
        write("a", format!("Received: x\r\n{}", content(0, 400)));
        write("b", content(1, 400));
        let ledger = ledger(3);
        assert_eq!(ledger.check_files(&[0, 1], directory.path()), Ok(()));
        let lost = ledger.check_files(&[0, 2], directory.path());
        assert!(lost.is_err_and(|lost| lost.to_string().contains("LOST: [2]")));
        write("c", content(1, 400));
        assert!(ledger.check_files(&[0], directory.path()).is_err(), "twice");
        write("c", content(2, 400).replace("ledger\r\n", "changed\r\n"));
        assert!(ledger.check_files(&[0], directory.path()).is_err());
    }

    #[test]
    fn a_whole_mailbox_agrees_and_unacknowledged_mail_may_be_there() {
        assert_eq!(ledger(2).compare(7, inbox(&[0, 1, 2])), Ok(()));
    }

    #[test]
    fn loss_doubles_changes_and_moved_uids_are_found() {
        let lost = ledger(3)
            .compare(7, inbox(&[0, 2]))
            .expect_err("one is missing");
        assert!(lost.to_string().contains("LOST: [1]"), "{lost}");
        assert!(ledger(1).compare(7, inbox(&[0, 0])).is_err(), "twice");
        let changed = inbox(&[0]).map(|(uid, mut bytes)| {
            bytes.pop();
            (uid, bytes)
        });
        assert!(ledger(1).compare(7, changed).is_err(), "cut short");
        let moved = ledger(2);
        assert_eq!(moved.compare(7, inbox(&[0, 1])), Ok(()));
        assert!(moved.compare(7, inbox(&[1, 0])).is_err(), "other UIDs");
        assert!(moved.compare(8, inbox(&[0, 1])).is_err(), "UIDVALIDITY");
    }
}
