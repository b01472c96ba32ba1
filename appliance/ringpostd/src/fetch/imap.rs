//! A conversation by IMAP. UIDs only rise, so the highest one that was looked at says what is here; marks are kept of those alone that are to be deleted there.
//!
//! A UIDVALIDITY that changes makes all messages of the folder new ones (RFC 9051 §2.3.1.1), and they are fetched again.

use std::ops::ControlFlow;
use std::sync::Arc;

use imap::client::{Response, Value};
use imap::date::parse_date_time;
use imap::{sequence, utf7};
use mail::InternalDate;
use mailbox::names::{FetchTls, Keep, Noting, SeenMark};
use mua::mover::{Fault, Mover, fetched, quoted};
use mua::stream::Stream;
use rustls::ClientConfig;

use super::letter::{AGAIN, Letter};
use super::limits::{
    LOOKED_TOGETHER_MAX, PIECE_BYTES, RESPONSE_BYTES_MAX, SIZE_SLACK_BYTES, WINDOW_UIDS,
    WINDOWS_MAX,
};
use super::marks::Marks;
use super::run::{Inbox, Job, Ran, Stop, note_rows};

/// The open folder.
#[derive(Default)]
struct Folder {
    validity: Option<u32>,
    next: Option<u32>,
}

/// A message without its text.
struct Listed {
    uid: u32,
    bytes: u64,
    date: Option<InternalDate>,
    is_deleted: bool,
}

/// Fetches what was not looked at, oldest first, and deletes there what is to be deleted. `ran` counts also where it ends early.
pub(super) fn run(
    mut stream: Stream,
    tls: &Arc<ClientConfig>,
    job: &mut Job<'_>,
    marks: &mut Marks,
    inbox: &mut dyn Inbox,
    ran: &mut Ran,
) -> Result<(), Stop> {
    let host = job.row.host.as_str();
    stream.end_at(job.until);
    if job.row.tls == FetchTls::Inside {
        let secured = stream.secure_as(tls, host);
        stream = secured.map_err(|error| Stop::Server(error.to_string()))?;
    }
    let mut line = Mover::bounded(stream, job.until, RESPONSE_BYTES_MAX)?;
    if job.row.tls == FetchTls::Started {
        line = line.start_tls(tls, Some(host))?;
    }
    // What else may be refused on the way is not the password.
    line.has("IMAP4rev1")?;
    match line.log_in(&job.row.user, job.password) {
        Ok(()) => {}
        Err(Fault::Refused(why)) => return Err(Stop::Password(why)),
        Err(fault) => return Err(fault.into()),
    }
    let folder = open(&mut line, job)?;
    let validity = folder.validity.ok_or_else(|| {
        Stop::Server("the server gives no UIDVALIDITY: nothing can be known again".to_owned())
    })?;
    let mut looked = job.row.uid;
    if validity != job.row.validity && !job.is_check {
        looked = 0;
        let gone = marks.retaining(|_| false);
        note_rows(job, inbox, marks, gone)?;
        let noting = Noting {
            looked: Some((validity, 0)),
            ..job.noting()
        };
        inbox.note(noting)?;
    }
    let mut conversation = Conversation {
        line,
        validity,
        looked,
        next: folder.next,
    };
    let done = conversation.fetch(job, marks, inbox, ran);
    let may_delete = matches!(done, Ok(()) | Err(Stop::Full | Stop::Later(_)));
    if may_delete && !job.is_check && !(job.is_stopping)() {
        conversation.delete(job, marks, inbox, ran)?;
    }
    if may_delete {
        conversation.line.log_out();
    }
    done
}

fn open(line: &mut Mover, job: &Job<'_>) -> Result<Folder, Stop> {
    let name = match job.row.folder.eq_ignore_ascii_case("INBOX") {
        true => "INBOX".to_owned(),
        false => utf7::encode(&job.row.folder),
    };
    // RFC 9051 §6.3.3: looked into without a change, where nothing is to be deleted.
    let command = match job.row.keep {
        Keep::Always => "EXAMINE",
        Keep::Days(_) => "SELECT",
    };
    let mut folder = Folder::default();
    line.command(&format!("{command} {}", quoted(&name)), |response| {
        let text = String::from_utf8_lossy(response.as_bytes()).to_ascii_uppercase();
        let number = |key: &str| {
            let (_, rest) = text.split_once(key)?;
            rest.split(']').next()?.trim().parse().ok()
        };
        folder.validity = folder.validity.or(number("[UIDVALIDITY "));
        folder.next = folder.next.or(number("[UIDNEXT "));
        Ok(())
    })?;
    Ok(folder)
}

struct Conversation {
    line: Mover,
    validity: u32,
    /// Messages up to this UID were looked at.
    looked: u32,
    /// The server's next UID, if it says so.
    next: Option<u32>,
}

impl Conversation {
    fn fetch(
        &mut self,
        job: &mut Job<'_>,
        marks: &mut Marks,
        inbox: &mut dyn Inbox,
        ran: &mut Ran,
    ) -> Result<(), Stop> {
        for _ in 0..WINDOWS_MAX {
            if self
                .next
                .is_some_and(|next| self.looked.saturating_add(1) >= next)
            {
                return Ok(());
            }
            // UIDs may have large gaps: one question is about so many of them, so that no answer is longer than a response may be.
            let from = self.looked.saturating_add(1);
            let last = from.saturating_add(WINDOW_UIDS - 1);
            let to = self.next.map(|next| last.min(next - 1));
            let uids = self.search(from, to)?;
            ran.listed += uids.len() as u64;
            if !job.is_check {
                for some in uids.chunks(LOOKED_TOGETHER_MAX) {
                    let went_on = self.fetch_some(some, job, marks, inbox, ran)?;
                    if went_on.is_break() {
                        ran.has_more = true;
                        return Ok(());
                    }
                }
            }
            let Some(to) = to else {
                return Ok(());
            };
            self.looked = self.looked.max(to);
            if uids.is_empty() && !job.is_check {
                // So that a gap is not looked through again each time.
                inbox.note(self.noting(job))?;
            }
        }
        ran.has_more = true;
        Ok(())
    }

    fn noting(&self, job: &Job<'_>) -> Noting {
        Noting {
            looked: Some((self.validity, self.looked)),
            ..job.noting()
        }
    }

    /// Ascending, each once.
    fn search(&mut self, from: u32, to: Option<u32>) -> Result<Vec<u32>, Stop> {
        let range = match to {
            Some(to) => format!("{from}:{to}"),
            None => format!("{from}:*"),
        };
        let mut uids: Vec<u32> = Vec::new();
        self.line
            .command(&format!("UID SEARCH UID {range}"), |response| {
                let mut words = response.as_bytes().split(|byte| *byte == b' ');
                let is_search = words.next() == Some(&b"*"[..])
                    && words
                        .next()
                        .is_some_and(|word| word.eq_ignore_ascii_case(b"SEARCH"));
                if is_search {
                    let numbers = words
                        .filter_map(|word| std::str::from_utf8(word).ok()?.parse::<u32>().ok());
                    let room = (WINDOW_UIDS as usize).saturating_sub(uids.len());
                    uids.extend(numbers.take(room));
                }
                Ok(())
            })?;
        // `n:*` names the last message also where that is below n (RFC 9051 §9).
        uids.retain(|uid| *uid >= from && to.is_none_or(|to| *uid <= to));
        uids.sort_unstable();
        uids.dedup();
        Ok(uids)
    }

    /// `Break`: the time is over.
    fn fetch_some(
        &mut self,
        uids: &[u32],
        job: &mut Job<'_>,
        marks: &mut Marks,
        inbox: &mut dyn Inbox,
        ran: &mut Ran,
    ) -> Result<ControlFlow<()>, Stop> {
        let mut listed = self.look(uids)?;
        if listed.is_empty() {
            // Unless all of them went meanwhile: then they are not found the next time.
            return Err(Stop::Server(
                "the server finds messages that it does not give".to_owned(),
            ));
        }
        listed.sort_by_key(|one| one.uid);
        for one in listed {
            if one.uid <= self.looked {
                continue;
            }
            let key = u64::from(one.uid);
            let is_left = one.bytes > job.bytes_max as u64 || job.stumbles.is_left(key);
            if is_left || one.is_deleted {
                if is_left {
                    ran.left += 1;
                    tracing::info!(
                        host = job.row.host,
                        uid = one.uid,
                        bytes = one.bytes,
                        "a message stays elsewhere: it is too large, or the server breaks off at it"
                    );
                }
                self.looked = one.uid;
                continue;
            }
            if job.is_over() {
                return Ok(ControlFlow::Break(()));
            }
            let (allowed, _share) = job.take_room(one.bytes)?;
            let Some(letter) = self.retrieve(job, &one, allowed)? else {
                // It went meanwhile.
                self.looked = one.uid;
                continue;
            };
            if letter.is_again(job.row) {
                ran.left += 1;
                ran.note = Some(AGAIN.to_owned());
                self.looked = one.uid;
                continue;
            }
            let bytes = letter.bytes.len() as u64;
            let before = std::mem::replace(&mut self.looked, one.uid);
            let row = match job.row.keep {
                Keep::Always => None,
                Keep::Days(_) => marks.with(SeenMark {
                    id: key,
                    day: job.today,
                }),
            };
            if row.is_none() && job.row.keep != Keep::Always {
                ran.note = Some("so many messages wait to be deleted there that this one is not remembered, and stays".to_owned());
            }
            let noting = Noting {
                marks: row.clone().into_iter().collect(),
                ..self.noting(job)
            };
            if let Err(why) = inbox.place(letter, noting) {
                self.looked = before;
                return Err(why.into());
            }
            row.into_iter().for_each(|row| marks.set(row));
            ran.fetched += 1;
            ran.bytes += bytes;
        }
        // With what was passed over behind the last one that was placed.
        inbox.note(self.noting(job))?;
        Ok(ControlFlow::Continue(()))
    }

    fn look(&mut self, uids: &[u32]) -> Result<Vec<Listed>, Stop> {
        let set = sequence::compact(uids.iter().copied());
        let mut all = Vec::new();
        let items = "UID FLAGS INTERNALDATE RFC822.SIZE";
        self.line
            .command(&format!("UID FETCH {set} ({items})"), |response| {
                if let Some(one) = fetched(response).and_then(listed)
                    && uids.binary_search(&one.uid).is_ok()
                    && !all.iter().any(|other: &Listed| other.uid == one.uid)
                {
                    all.push(one);
                }
                Ok(())
            })?;
        Ok(all)
    }

    /// `None`: it is not there any more.
    fn retrieve(
        &mut self,
        job: &mut Job<'_>,
        one: &Listed,
        allowed: usize,
    ) -> Result<Option<Letter>, Stop> {
        let key = u64::from(one.uid);
        let (id, mut bytes) = job.front.of(job.row, key);
        let front = bytes.len();
        bytes.reserve_exact(allowed.min(one.bytes as usize + SIZE_SLACK_BYTES));
        loop {
            // until nothing more comes; `allowed` bounds the turns
            let at = bytes.len() - front;
            let piece = match self.piece(one.uid, at) {
                Ok(Some(piece)) => piece,
                Ok(None) if at == 0 => return Ok(None),
                Ok(None) if at as u64 >= one.bytes => Vec::new(),
                Ok(None) => {
                    job.stumbles.add(key);
                    return Err(Stop::Server(
                        "the server gives the beginning of a message and not the rest".to_owned(),
                    ));
                }
                Err(stop) => {
                    job.stumbles.add(key);
                    return Err(stop);
                }
            };
            if at + piece.len() > allowed {
                job.stumbles.add(key);
                return Err(Stop::Server(format!(
                    "a message has more than the {} octets that the server says",
                    one.bytes
                )));
            }
            bytes.extend_from_slice(&piece);
            // A short piece is the last one, unless the server says that there is more; what it says may be too much.
            let is_all = at as u64 + piece.len() as u64 >= one.bytes;
            if piece.is_empty() || (piece.len() < PIECE_BYTES && is_all) {
                break;
            }
        }
        job.stumbles.clear(key);
        let now = InternalDate::utc(job.front.unix_s);
        Ok(Some(Letter {
            id,
            bytes,
            date: one.date.unwrap_or(now),
        }))
    }

    /// `None`: there is no such message. A message of any size is held once, and no response is longer than a piece.
    fn piece(&mut self, uid: u32, at: usize) -> Result<Option<Vec<u8>>, Stop> {
        let mut found = None;
        let text = format!("UID FETCH {uid} (UID BODY.PEEK[]<{at}.{PIECE_BYTES}>)");
        self.line.command(&text, |response: &Response| {
            let Some(pairs) = fetched(response) else {
                return Ok(());
            };
            let is_it = pairs
                .iter()
                .any(|(name, value)| name == "UID" && number(value) == Some(u64::from(uid)));
            for (name, value) in pairs {
                if let (true, Value::String(bytes)) = (is_it && name.starts_with("BODY[]"), value) {
                    found = Some(bytes);
                }
            }
            Ok(())
        })?;
        match &found {
            Some(piece) if piece.len() > PIECE_BYTES => Err(Stop::Server(
                "the server sends more of a message than was asked for".to_owned(),
            )),
            _ => Ok(found),
        }
    }

    /// Deletes there what is here since as many days as it was to stay.
    fn delete(
        &mut self,
        job: &Job<'_>,
        marks: &mut Marks,
        inbox: &mut dyn Inbox,
        ran: &mut Ran,
    ) -> Result<(), Stop> {
        let Keep::Days(days) = job.row.keep else {
            return Ok(());
        };
        let Some(day) = job.today.checked_sub(days) else {
            return Ok(());
        };
        let due = marks.until(day);
        // RFC 4315: without it EXPUNGE would take out what others marked.
        let can_expunge = !due.is_empty() && self.line.has("UIDPLUS")?;
        for some in due.chunks(LOOKED_TOGETHER_MAX) {
            let uids = some.iter().filter_map(|id| u32::try_from(*id).ok());
            let set = sequence::compact(uids);
            let mark = format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)");
            self.line.command(&mark, |_| Ok(()))?;
            if can_expunge {
                self.line
                    .command(&format!("UID EXPUNGE {set}"), |_| Ok(()))?;
            }
            let rows = marks.retaining(|id| some.binary_search(&id).is_err());
            note_rows(job, inbox, marks, rows)?;
            ran.deleted += some.len() as u64;
        }
        Ok(())
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Atom(text) => text.parse().ok(),
        _ => None,
    }
}

/// `None`: it is about something else, such as flags that another program changed meanwhile.
fn listed(pairs: Vec<(String, Value)>) -> Option<Listed> {
    let mut has_size = false;
    let mut one = Listed {
        uid: 0,
        bytes: 0,
        date: None,
        is_deleted: false,
    };
    for (name, value) in &pairs {
        match (name.as_str(), value) {
            ("UID", value) => one.uid = u32::try_from(number(value)?).ok()?,
            ("RFC822.SIZE", value) => (one.bytes, has_size) = (number(value)?, true),
            ("INTERNALDATE", Value::String(text)) => one.date = parse_date_time(text),
            ("FLAGS", Value::List(flags)) => {
                one.is_deleted = flags.iter().any(|flag| {
                    matches!(flag, Value::Atom(word) if word.eq_ignore_ascii_case("\\Deleted"))
                });
            }
            _ => {}
        }
    }
    (one.uid > 0 && has_size).then_some(one)
}
