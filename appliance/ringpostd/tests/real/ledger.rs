//! The outside ledger: what clients were told with a 250, and whether all of it is there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mua::smtp::{Reply, Smtp};

use crate::connect;
use crate::daemon::{Home, PASSWORD};

/// Acknowledged messages of one account, and what has been seen of its mailbox.
pub struct Ledger {
    account: &'static str,
    next: AtomicU64,
    /// Message number to its content as sent.
    acknowledged: Mutex<BTreeMap<u64, String>>,
    /// UID to message number, as last seen: a UID never changes its message.
    seen: Mutex<BTreeMap<u32, u64>>,
    uid_validity: Mutex<Option<u32>>,
}

impl Ledger {
    pub fn of(account: &'static str) -> Ledger {
        Ledger {
            account,
            next: AtomicU64::new(0),
            acknowledged: Mutex::default(),
            seen: Mutex::default(),
            uid_validity: Mutex::default(),
        }
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().expect("no sender panics").len()
    }

    /// Sends one message of about `size` bytes; whether it was acknowledged. Every other outcome, a broken connection
    /// included, promises nothing.
    pub fn send(&self, smtp: &mut Smtp, size: usize) -> std::io::Result<Option<Reply>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let content = content(number, size);
        let reply = smtp.send(&[self.account], &content)?;
        if reply.code == 250 {
            self.acknowledged
                .lock()
                .expect("no sender panics")
                .insert(number, content);
            return Ok(None);
        }
        Ok(Some(reply))
    }

    /// Sends `count` messages that must all be taken.
    pub fn fill(&self, server: SocketAddr, count: usize, size: usize) {
        let mut smtp = connect::smtp(server).expect("the daemon listens");
        for _ in 0..count {
            let refused = self.send(&mut smtp, size).expect("the connection holds");
            assert_eq!(refused, None, "the daemon refused a message");
        }
    }

    /// Keeps four senders busy while `during` runs; they go on through broken connections until it returns.
    pub fn under_load<T>(&self, server: SocketAddr, during: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        if self.keep_sending(server, &done).is_err() {
                            // The daemon is gone or will be: not our story.
                            std::thread::sleep(std::time::Duration::from_millis(5));
                        }
                    }
                });
            }
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during));
            done.store(true, Ordering::Relaxed);
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn keep_sending(&self, server: SocketAddr, done: &AtomicBool) -> std::io::Result<()> {
        let mut smtp = connect::smtp(server)?;
        while !done.load(Ordering::Relaxed) {
            self.send(&mut smtp, fastrand::usize(300..8_000))?;
        }
        Ok(())
    }

    /// Every acknowledged message is in INBOX exactly once and ends in the bytes that were sent; UIDs and UIDVALIDITY
    /// are what they were; nothing is there that was never sent.
    pub fn check(&self, home: &Home) {
        let mut imap = connect::imap(home.imap(), self.account, PASSWORD).expect("login");
        let validity = imap.select("INBOX").expect("INBOX");
        assert_eq!(
            *self
                .uid_validity
                .lock()
                .expect("one checker")
                .get_or_insert(validity),
            validity,
            "UIDVALIDITY"
        );
        let acknowledged = self.acknowledged.lock().expect("no sender panics");
        let mut seen = self.seen.lock().expect("one checker");
        let mut there: BTreeMap<u64, u32> = BTreeMap::new();
        let newest_before = seen.keys().next_back().copied().unwrap_or(0);
        for message in imap.messages().expect("FETCH") {
            let text = String::from_utf8_lossy(&message.bytes);
            let number =
                number_of(&text).unwrap_or_else(|| panic!("a message that was not sent:\n{text}"));
            assert!(
                there.insert(number, message.uid).is_none(),
                "message {number} is there twice"
            );
            if let Some(content) = acknowledged.get(&number) {
                assert!(
                    text.ends_with(content.as_str()),
                    "message {number} has changed:\n{text}"
                );
            }
            match seen.insert(message.uid, number) {
                Some(before) => {
                    assert_eq!(before, number, "UID {} names another message", message.uid)
                }
                None => assert!(
                    message.uid > newest_before,
                    "UID {} was given out late",
                    message.uid
                ),
            }
        }
        let missing: Vec<u64> = acknowledged
            .keys()
            .filter(|number| !there.contains_key(number))
            .copied()
            .collect();
        assert!(
            missing.is_empty(),
            "{} of {} acknowledged are missing: {missing:?}",
            missing.len(),
            acknowledged.len()
        );
    }

    /// The same claim over files of any directory (what salvage wrote): every acknowledged message, none changed.
    pub fn check_files(&self, files: &[Vec<u8>]) {
        let acknowledged = self.acknowledged.lock().expect("no sender panics");
        let mut there: BTreeMap<u64, usize> = BTreeMap::new();
        for bytes in files {
            let text = String::from_utf8_lossy(bytes);
            let Some(number) = number_of(&text) else {
                continue;
            };
            *there.entry(number).or_default() += 1;
            if let Some(content) = acknowledged.get(&number) {
                assert!(
                    text.ends_with(content.as_str()),
                    "message {number} has changed:\n{text}"
                );
            }
        }
        for number in acknowledged.keys() {
            assert_eq!(
                there.get(number),
                Some(&1),
                "message {number} in the salvaged files"
            );
        }
    }
}

fn content(number: u64, size: usize) -> String {
    let mut text = format!(
        "From: <sender@example.net>\r\nSubject: ledger\r\nMessage-ID: <ledger.{number}@client.example.net>\r\n\r\n"
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

fn number_of(text: &str) -> Option<u64> {
    text.split_once("Message-ID: <ledger.")?
        .1
        .split('@')
        .next()?
        .parse()
        .ok()
}
