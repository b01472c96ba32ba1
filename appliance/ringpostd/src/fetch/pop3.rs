//! A conversation by POP3. Which messages are here is known by the hash of their UIDL.

use std::collections::HashSet;
use std::sync::Arc;

use mail::InternalDate;
use mailbox::names::{FETCHED_EACH_MAX, FetchTls, Keep, SeenMark};
use mua::mover::Fault;
use mua::pop3::{Listed, Login, Pop3};
use mua::stream::Stream;
use rustls::ClientConfig;

use super::letter::{AGAIN, Letter, id_of};
use super::limits::SIZE_SLACK_BYTES;
use super::marks::{Marks, STAYS};
use super::run::{Inbox, Job, Ran, Stop, note_rows};

/// Fetches what is not here, oldest first, and deletes there what is to be deleted. `ran` counts also where it ends early.
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
    let mut pop3 = Pop3::over(stream, job.until)?;
    if job.row.tls == FetchTls::Started {
        pop3 = pop3.start_tls(tls, host)?;
    }
    match pop3.log_in(&job.row.user, job.password)? {
        Login::In => {}
        Login::Refused(why) => return Err(Stop::Password(why)),
    }
    let serial = job.row.serial;
    let (list, count) = pop3.list(FETCHED_EACH_MAX, |uid| id_of(serial, uid))?;
    ran.listed = count as u64;
    if job.is_check {
        let _ = pop3.quit(); // nothing was changed there
        return Ok(());
    }
    let is_whole = count <= FETCHED_EACH_MAX;
    if is_whole {
        // Without a UIDL of their own they cannot be known again.
        ran.left += (count - list.len()) as u64;
    } else {
        ran.note = Some(format!(
            "the server has {count} messages: the first {FETCHED_EACH_MAX} of its list are fetched, the others when those are deleted there"
        ));
    }
    forget_unlisted(job, inbox, marks, &list, is_whole)?;
    let fetched = fetch(&mut pop3, job, marks, inbox, &list, ran);
    let may_delete = match &fetched {
        Ok(()) | Err(Stop::Full | Stop::Later(_)) => true,
        Err(_) => false,
    };
    if may_delete
        && !(job.is_stopping)()
        && let Keep::Days(days) = job.row.keep
    {
        let marked = delete(&mut pop3, job, marks, &list, days)?;
        // RFC 1939 §6: what is marked goes with QUIT, or not at all.
        pop3.quit()?;
        ran.deleted += marked.len() as u64;
        let rows = marks.deleting(|id| marked.contains(&id));
        note_rows(job, inbox, marks, rows)?;
    } else if may_delete {
        let _ = pop3.quit(); // nothing was changed there
    }
    fetched
}

/// Marks of messages that the server lists no more. Of those that are to stay there only when its whole list was read: what is behind its end would come again.
fn forget_unlisted(
    job: &Job<'_>,
    inbox: &mut dyn Inbox,
    marks: &mut Marks,
    list: &[Listed],
    is_whole: bool,
) -> Result<(), Stop> {
    let listed: HashSet<u64> = list.iter().map(|one| one.id).collect();
    // A server that lists nothing may be about to list everything again: it would all come a second time. Marks cost little.
    let may_forget = is_whole && !list.is_empty();
    let stays = |id| listed.contains(&id) || !(may_forget || marks.stays(id));
    let gone = marks.retaining(stays);
    note_rows(job, inbox, marks, gone)?;
    Ok(())
}

fn fetch(
    pop3: &mut Pop3,
    job: &mut Job<'_>,
    marks: &mut Marks,
    inbox: &mut dyn Inbox,
    list: &[Listed],
    ran: &mut Ran,
) -> Result<(), Stop> {
    for one in list {
        if marks.stays(one.id) {
            // It may be another message (RFC 1939 §7), or the server keeps what it was told to delete: to be deleted unread, or to come twice.
            ran.left += 1;
            ran.note = Some(STAY.to_owned());
            continue;
        }
        if marks.day(one.id).is_some() {
            continue;
        }
        let is_large = one.bytes > job.bytes_max as u64;
        if is_large || job.stumbles.is_left(one.id) {
            ran.left += 1;
            continue;
        }
        if job.is_over() {
            ran.has_more = true;
            return Ok(());
        }
        let mark = SeenMark {
            id: one.id,
            day: job.today,
        };
        let Some(row) = marks.with(mark) else {
            ran.note = Some(format!(
                "{FETCHED_EACH_MAX} messages that are here stay on the server: no more are fetched until some are deleted there"
            ));
            return Ok(());
        };
        let (allowed, _share) = job.take_room(one.bytes)?;
        let Some(letter) = retrieve(pop3, job, one, allowed)? else {
            ran.left += 1;
            continue;
        };
        if letter.is_again(job.row) {
            ran.left += 1;
            ran.note = Some(AGAIN.to_owned());
            let row = marks.with(SeenMark { day: STAYS, ..mark });
            note_rows(job, inbox, marks, row.into_iter().collect())?;
            continue;
        }
        let bytes = letter.bytes.len() as u64;
        let noting = mailbox::names::Noting {
            marks: vec![row.clone()],
            ..job.noting()
        };
        inbox.place(letter, noting)?;
        marks.set(row);
        ran.fetched += 1;
        ran.bytes += bytes;
    }
    Ok(())
}

/// `None`: the server will not give it.
fn retrieve(
    pop3: &mut Pop3,
    job: &mut Job<'_>,
    one: &Listed,
    allowed: usize,
) -> Result<Option<Letter>, Stop> {
    let (id, mut bytes) = job.front.of(job.row, one.id);
    bytes.reserve_exact(allowed.min(one.bytes as usize + SIZE_SLACK_BYTES));
    let read = pop3.retrieve(one.number, allowed, &mut bytes);
    let stumbled = match read {
        Ok(Some(())) => {
            job.stumbles.clear(one.id);
            return Ok(Some(Letter {
                id,
                bytes,
                date: InternalDate::utc(job.front.unix_s),
            }));
        }
        Ok(None) => format!(
            "a message has more than the {} octets that the server says",
            one.bytes
        ),
        Err(Fault::Refused(why)) => {
            tracing::debug!(why, "the server does not give a message");
            return Ok(None);
        }
        Err(Fault::Broken(why) | Fault::Later(why)) => why,
    };
    job.stumbles.add(one.id);
    Err(Stop::Server(stumbled))
}

/// Marks for deletion what is here since `days` days: which.
fn delete(
    pop3: &mut Pop3,
    job: &Job<'_>,
    marks: &Marks,
    list: &[Listed],
    days: u32,
) -> Result<HashSet<u64>, Stop> {
    let mut marked = HashSet::new();
    let Some(day) = job.today.checked_sub(days) else {
        return Ok(marked);
    };
    for one in list {
        let is_due = marks.day(one.id).is_some_and(|at| at <= day);
        if !is_due {
            continue;
        }
        match pop3.delete(one.number) {
            Ok(()) => _ = marked.insert(one.id),
            // Another program may have it.
            Err(Fault::Refused(why)) => tracing::debug!(why, "a message is not deleted there"),
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(marked)
}

const STAY: &str = "messages stay there because it cannot be known whether they are here: the server gave their names (UIDL) to messages that it deleted, or they were fetched from there before";
