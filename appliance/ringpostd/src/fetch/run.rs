//! One conversation with an account elsewhere: what it needs, what it notes, and how it ends. The two protocols are in `pop3.rs` and `imap.rs`.
//!
//! What must hold: a message is deleted there only when its mark is durable here (`Inbox::place` has answered); nothing but storage's answer makes a mark; whatever
//! the server does, the conversation ends at `Job::until`, and holds no more than its share of `Room`.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use mailbox::names::{FetchRow, Noting};
use mua::mover::{Fault, quoted};
use sasl::base64;

use super::letter::{Front, Letter};
use super::limits::{
    MESSAGE_LEFT_MIN, ROWS_TOGETHER_MAX, SIZE_SLACK_BYTES, STUMBLED_MAX, STUMBLES_MAX,
};
use super::marks::{Marks, Row};

/// Where messages go. Each call is durable when it answers `Ok`.
pub(super) trait Inbox {
    fn place(&mut self, letter: Letter, noting: Noting) -> Result<(), NotPlaced>;
    fn note(&mut self, noting: Noting) -> Result<(), NotPlaced>;
}

/// Why a message is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotPlaced {
    /// The person has no room. It stays there.
    Full,
    /// There is no such person, or no such account elsewhere any more.
    Gone,
    /// The box remembers no more messages of accounts elsewhere.
    TooMany,
    /// Storage does not take it now.
    Later(String),
}

/// What a conversation is about.
pub(super) struct Job<'a> {
    pub row: &'a FetchRow,
    pub password: &'a str,
    /// It is over then, whatever the server does.
    pub until: Instant,
    /// The largest message that is fetched.
    pub bytes_max: usize,
    pub room: &'a Room,
    pub front: Front,
    /// Days since 1970.
    pub today: u32,
    pub stumbles: &'a mut Stumbles,
    /// The daemon stops.
    pub is_stopping: &'a dyn Fn() -> bool,
    /// Nothing is fetched: it is only looked whether it could be.
    pub is_check: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ran {
    pub fetched: u64,
    pub bytes: u64,
    pub deleted: u64,
    /// Messages that stay there though they are not here: too large, or the server breaks off at them.
    pub left: u64,
    /// Messages that the server has; with IMAP those that were not looked at before.
    pub listed: u64,
    /// More for the operator, in one sentence.
    pub note: Option<String>,
    /// The time was over before everything was fetched.
    pub has_more: bool,
}

/// Why it ended early. What was placed by then is in `Ran`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The server refuses name or password.
    Password(String),
    /// The server, or the way to it.
    Server(String),
    /// The person is over quota.
    Full,
    Gone,
    /// Storage.
    Later(String),
}

impl Stop {
    /// A server may repeat what it was sent, and its words are shown and logged.
    pub fn hiding(self, user: &str, password: &str) -> Stop {
        let plain = base64::encode(format!("\0{user}\0{password}").as_bytes());
        let quoted = quoted(password);
        let hidden = |why: String| {
            let secrets = [plain.as_str(), &quoted, password];
            secrets
                .iter()
                .fold(why, |why, secret| why.replace(secret, "(the password)"))
        };
        match self {
            Stop::Password(why) => Stop::Password(hidden(why)),
            Stop::Server(why) => Stop::Server(hidden(why)),
            Stop::Later(why) => Stop::Later(hidden(why)),
            Stop::Full | Stop::Gone => self,
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        match fault {
            Fault::Broken(why) | Fault::Later(why) | Fault::Refused(why) => Stop::Server(why),
        }
    }
}

impl From<NotPlaced> for Stop {
    fn from(why: NotPlaced) -> Stop {
        match why {
            NotPlaced::Full => Stop::Full,
            NotPlaced::Gone => Stop::Gone,
            NotPlaced::TooMany => Stop::Later(
                "the box remembers no more messages that stay elsewhere: let fewer stay there (`--delete-after`)"
                    .to_owned(),
            ),
            NotPlaced::Later(why) => Stop::Later(why),
        }
    }
}

impl<'a> Job<'a> {
    /// How long a message may be of which the server says `bytes`, and the room for it: it is held until the message is placed.
    pub fn take_room(&self, bytes: u64) -> Result<(usize, Share<'a>), Stop> {
        // Servers count an end of a line as one octet or as two, and some say a size that is about right.
        let allowed = (2 * bytes as usize + SIZE_SLACK_BYTES).min(self.bytes_max);
        let room: &'a Room = self.room;
        match room.take(allowed, self.until) {
            Some(share) => Ok((allowed, share)),
            None => Err(Stop::Later("no room for another message".to_owned())),
        }
    }

    /// Nothing new is begun.
    pub fn is_over(&self) -> bool {
        (self.is_stopping)() || Instant::now() + MESSAGE_LEFT_MIN >= self.until
    }

    pub fn noting(&self) -> Noting {
        Noting {
            serial: self.row.serial,
            ..Noting::default()
        }
    }
}

/// Notes rows of marks, some at a time.
pub(super) fn note_rows(
    job: &Job<'_>,
    inbox: &mut dyn Inbox,
    marks: &mut Marks,
    rows: Vec<Row>,
) -> Result<(), NotPlaced> {
    for some in rows.chunks(ROWS_TOGETHER_MAX) {
        inbox.note(Noting {
            marks: some.to_vec(),
            ..job.noting()
        })?;
        some.iter().for_each(|row| marks.set(row.clone()));
    }
    Ok(())
}

/// Messages at which conversations broke off, since the start. Without it a server that breaks off at one message would keep all behind it from coming.
#[derive(Default)]
pub(super) struct Stumbles(HashMap<u64, u32>);

impl Stumbles {
    pub fn is_left(&self, id: u64) -> bool {
        self.0.get(&id).is_some_and(|count| *count >= STUMBLES_MAX)
    }

    pub fn add(&mut self, id: u64) {
        if self.0.len() < STUMBLED_MAX || self.0.contains_key(&id) {
            *self.0.entry(id).or_insert(0) += 1;
        }
    }

    pub fn clear(&mut self, id: u64) {
        self.0.remove(&id);
    }
}

/// Memory for messages that are being fetched, of all conversations together.
pub(super) struct Room {
    left: Mutex<usize>,
    eased: Condvar,
    bytes: usize,
}

/// Given back when it is dropped.
pub(super) struct Share<'a> {
    room: &'a Room,
    bytes: usize,
}

impl Room {
    pub fn of(bytes: usize) -> Room {
        Room {
            left: Mutex::new(bytes),
            eased: Condvar::new(),
            bytes,
        }
    }

    /// Waits for `bytes` (all of it at most). `None`: there were not so many until then.
    pub fn take(&self, bytes: usize, until: Instant) -> Option<Share<'_>> {
        let bytes = bytes.min(self.bytes);
        let mut left = self.left.lock().expect("no holder panics");
        while *left < bytes {
            let wait = until.checked_duration_since(Instant::now())?;
            let waited = self.eased.wait_timeout(left, wait);
            left = waited.expect("no holder panics").0;
        }
        *left -= bytes;
        Some(Share { room: self, bytes })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.room.left.lock().expect("no holder panics") += self.bytes;
        self.room.eased.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_shared_and_comes_back() {
        let (room, far) = (Room::of(100), Instant::now() + 2 * MESSAGE_LEFT_MIN);
        let first = room.take(60, far).expect("there is room");
        assert!(room.take(60, Instant::now()).is_none());
        let second = room.take(40, far).expect("there is room");
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| room.take(1_000, far).map(|share| share.bytes));
            drop((first, second));
            assert_eq!(waiting.join().expect("it ends"), Some(100), "all there is");
        });
        assert_eq!(*room.left.lock().expect("no holder panics"), 100);
    }

    #[test]
    fn a_server_that_repeats_what_it_heard_gives_no_password_away() {
        for heard in [
            "-ERR unknown: PASS pa\"ss",
            "NO LOGIN \"ann\" \"pa\\\"ss\"",
            "BAD AGFubgBwYSJzcw==",
        ] {
            let stops = [Stop::Password, Stop::Server, Stop::Later];
            for stop in stops.map(|stop| stop(heard.to_owned()).hiding("ann", "pa\"ss")) {
                let text = format!("{stop:?}");
                assert!(text.contains("(the password)"), "{text}");
                assert!(!text.contains("ss\"") && !text.contains("AGFubg"), "{text}");
            }
        }
        assert_eq!(Stop::Full.hiding("ann", "x"), Stop::Full);
    }

    #[test]
    fn a_message_that_breaks_three_conversations_is_left() {
        let mut stumbles = Stumbles::default();
        for _ in 0..STUMBLES_MAX {
            assert!(!stumbles.is_left(7));
            stumbles.add(7);
        }
        assert!(stumbles.is_left(7) && !stumbles.is_left(8));
        (0..1_000).for_each(|id| stumbles.add(id));
        assert_eq!(stumbles.0.len(), STUMBLED_MAX);
        stumbles.clear(7);
        assert!(!stumbles.is_left(7));
    }
}
