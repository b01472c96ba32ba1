//! `ringpostctl salvage LEG… --to DIR`: mail out of orphan legs, into Maildir. No daemon, no index, no witness; past damage.
//!
//! First every batch on every leg is read for what it says about mailboxes; then the bodies that still belong to a message
//! are fetched in the order of their places, from any place on any leg that has them whole.
//!
//! It is the last resort, so it goes on: a leg that cannot be read, a mailbox whose directory cannot be made, a message that cannot be
//! written are reported, counted and omitted. The messages written are counted again afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base::BodyName;
use mailbox::salvage::{Salvage as Gathered, SalvagedMailbox};
use serde::Serialize;
use store::BodyRef;
use store::salvage::Salvage;
use uring::local::Local;

use crate::limits::SALVAGE_FINDINGS_MAX;
use crate::maildir::{self, Tree};

/// What came out.
#[derive(Debug, Default, Serialize)]
pub struct Salvaged {
    pub batches: u64,
    /// Maildirs that are there now, and messages in them.
    pub mailboxes: u64,
    pub messages: u64,
    /// Messages whose body could not be read anywhere.
    pub lost: u64,
    /// Messages that were read and could not be written.
    pub left_out: u64,
    /// Legs that could not be opened, beside others that were.
    pub legs_unread: u64,
    /// Sentences about damage met on the way, at most `SALVAGE_FINDINGS_MAX`.
    pub findings: Vec<String>,
}

/// One message and where it is to go.
struct Task {
    directory: usize,
    message: mailbox::Message,
}

pub fn run(legs: &[PathBuf], to: &Path) -> Result<Salvaged, String> {
    // Mixed with what is there already, nobody could say afterwards what was salvaged.
    let occupied = fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some());
    if occupied || to.is_file() {
        return Err(format!(
            "{} is not empty: salvage writes into a new directory",
            to.display()
        ));
    }
    let local = Local::new().map_err(|misfit| misfit.to_string())?;
    local.run(async {
        let io = local.io();
        let mut salvaged = Salvaged::default();
        let mut open = Vec::new();
        let mut refused = Vec::new();
        for path in legs {
            let opened = async {
                let device = local.ring.open(path).map_err(|misfit| misfit.to_string())?;
                let leg = Salvage::open(&io, device).await;
                leg.map_err(|refusal| format!("{}: {refusal}", path.display()))
            };
            match opened.await {
                Ok(leg) => open.push((path, leg)),
                Err(why) => refused.push(why),
            }
        }
        if open.is_empty() {
            return Err(refused.join("\n"));
        }
        if let [(_, first), rest @ ..] = &open[..]
            && let Some((path, _)) = rest.iter().find(|(_, leg)| leg.volume() != first.volume())
        {
            return Err(format!(
                "{} is a leg of another volume: salvage each volume separately",
                path.display()
            ));
        }
        // After what the operator got wrong: from here on nothing stops it.
        let mut tree = Tree::begin(to)?;
        salvaged.legs_unread = refused.len() as u64;
        for why in refused {
            salvaged.find(format!("a leg is omitted: {why}"));
        }
        let mut gathered = Gathered::default();
        let mut queued = queue::salvage::Salvage::default();
        let mut places = BTreeMap::new();
        for (path, leg) in &mut open {
            let into = (&mut gathered, &mut queued, &mut places);
            gather(path, leg, into, &mut salvaged).await;
        }
        if gathered.unreadable > 0 {
            salvaged.find(format!("{} records could not be read", gathered.unreadable));
        }
        let mut all = gathered.finish();
        all.extend(unsent(queued.finish()));
        let mut legs: Vec<Salvage> = open.into_iter().map(|(_, leg)| leg).collect();
        write(all, &places, &mut legs, &mut tree, &mut salvaged).await;
        Ok(salvaged)
    })
}

impl Salvaged {
    fn find(&mut self, finding: String) {
        if self.findings.len() < SALVAGE_FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// Looks at what is there; `written` is what should be.
    /// The file system may have taken less than it said (a full disk found late, names that collide without regard to case).
    fn count(&mut self, tree: &Tree, written: u64) {
        match tree.count() {
            Ok(there) => {
                self.mailboxes = there.mailboxes;
                self.messages = there.messages;
                if there.messages < written {
                    self.left_out += written - there.messages;
                    self.find(format!(
                        "{written} messages were written and {} are there",
                        there.messages
                    ));
                }
            }
            Err(error) => {
                self.left_out += written;
                self.find(format!("the written messages cannot be read back: {error}"));
            }
        }
    }

    /// Nothing that was known of is missing.
    pub fn is_whole(&self) -> bool {
        self.lost == 0 && self.left_out == 0 && self.legs_unread == 0
    }
}

/// Every place of a body with this name.
type Places = BTreeMap<BodyName, Vec<BodyRef>>;

/// Of all legs together: a record that only one of them has still counts, and the LSN says which of two is later.
async fn gather(
    path: &Path,
    leg: &mut Salvage,
    (gathered, queued, places): (&mut Gathered, &mut queue::salvage::Salvage, &mut Places),
    salvaged: &mut Salvaged,
) {
    // bounded by the leg
    while let Some(next) = leg.next_batch().await {
        let batch = match next {
            Ok(batch) => batch,
            Err(damage) => {
                salvaged.find(format!("{}: {damage}", path.display()));
                continue;
            }
        };
        salvaged.batches += 1;
        if let Some(why) = batch.broken {
            salvaged.find(format!(
                "{}: batch {}: {why}",
                path.display(),
                batch.address.lsn
            ));
        }
        for group in batch.groups {
            for body in &group.bodies {
                let known = places.entry(body.name).or_default();
                // Reclaim may have left the same body in two places. Either will do when the other is damaged.
                if !known.contains(body) {
                    known.push(body.clone());
                }
            }
            let mut records = group.records;
            records.retain(|record| {
                // Mail that was accepted and had not left is mail: its senders believe that it is on its way.
                let is_queued = queue::share().owns(record);
                if is_queued && !queued.note(group.lsn, record, &group.bodies) {
                    gathered.unreadable += 1;
                }
                // Lessons about junk, scripts, counts for reports and keys of logins are not mail.
                let others = [
                    lessons::share(),
                    scripts::share(),
                    reports::share(),
                    logins::share(),
                ];
                let is_other = others.iter().any(|share| share.owns(record));
                !is_queued && !is_other
            });
            gathered.note(group.lsn, &records, group.bodies);
        }
    }
}

/// Messages that had not left, as a folder without an account.
fn unsent(entries: Vec<queue::Entry>) -> Option<SalvagedMailbox> {
    let message = |(index, entry): (usize, queue::Entry)| mailbox::Message {
        uid: mail::Uid(index as u32 + 1),
        modseq: mail::ModSeq(1),
        flags: mail::Flags::default(),
        internal_date: mail::InternalDate::utc(entry.arrived.0 as i64),
        saved_s: 0,
        size_bytes: entry.body.raw_bytes,
        body: entry.body,
    };
    let messages: Vec<_> = entries.into_iter().enumerate().map(message).collect();
    (!messages.is_empty()).then(|| SalvagedMailbox {
        id: mailbox::MailboxId(0),
        account_id: None,
        account: None,
        name: "queue".to_owned(),
        messages,
    })
}

async fn write(
    mailboxes: Vec<SalvagedMailbox>,
    places: &Places,
    legs: &mut [Salvage],
    tree: &mut Tree,
    salvaged: &mut Salvaged,
) {
    let mut directories = Vec::new();
    let mut tasks = Vec::new();
    for mailbox in mailboxes {
        let path = match directory(tree, &mailbox, salvaged) {
            Some(path) => path,
            None => {
                salvaged.left_out += mailbox.messages.len() as u64;
                continue;
            }
        };
        let directory = directories.len();
        directories.push(path);
        tasks.extend(
            mailbox
                .messages
                .into_iter()
                .map(|message| Task { directory, message }),
        );
    }
    // In the order of the bodies' places, so that each stretch of a leg is read about once.
    tasks.sort_by_key(|task| {
        let body = &task.message.body.body;
        (body.segment, body.batch_block, body.at)
    });
    let mut written = 0;
    for task in tasks {
        let directory = &directories[task.directory];
        let Some(bytes) = body(&task.message.body, places, legs).await else {
            salvaged.lost += 1;
            salvaged.find(format!(
                "{}: message {} could not be read on any leg",
                directory.display(),
                task.message.uid.0
            ));
            continue;
        };
        match maildir::write(directory, &task.message, &bytes) {
            Ok(()) => written += 1,
            Err(why) => {
                salvaged.left_out += 1;
                salvaged.find(format!("a message is omitted: {why}"));
            }
        }
    }
    salvaged.count(tree, written);
}

/// The Maildir of `mailbox`: by its name, else by its number. `None`: neither can be made.
fn directory(
    tree: &mut Tree,
    mailbox: &SalvagedMailbox,
    salvaged: &mut Salvaged,
) -> Option<PathBuf> {
    // An address holds an `@`; these do not.
    let account = match (&mailbox.account, mailbox.account_id) {
        (Some(address), _) => address.key(),
        (None, Some(id)) => format!("account-{}", id.0),
        (None, None) => "unknown".to_owned(),
    };
    match tree.create(&account, &mailbox.name) {
        Ok(path) => return Some(path),
        Err(why) => salvaged.find(format!("{account}, {}: {why}", mailbox.name)),
    }
    match tree.create("unnamed", &format!("mailbox-{}", mailbox.id.0)) {
        Ok(path) => Some(path),
        Err(why) => {
            salvaged.find(format!("a mailbox is omitted: {why}"));
            None
        }
    }
}

/// The body from the first place that proves to be it: its checksum, then its name.
async fn body(wanted: &BodyRef, places: &Places, legs: &mut [Salvage]) -> Option<bytes::Bytes> {
    let others = places
        .get(&wanted.name)
        .into_iter()
        .flatten()
        .filter(|place| *place != wanted);
    for place in std::iter::once(wanted).chain(others) {
        for leg in legs.iter_mut() {
            if let Ok(bytes) = leg.body(place).await
                && BodyName::of(&bytes) == wanted.name
            {
                return Some(bytes);
            }
        }
    }
    None
}
