//! `ringpostctl salvage LEG… --to DIR`: mail out of orphan legs, into Maildir. No daemon, no index, no witness; past damage.
//!
//! First every batch on every leg is read for what it says about mailboxes; then the bodies that still belong to a message
//! are fetched in the order in which they lie, from whichever place on whichever leg gives them whole.

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
use crate::maildir;

/// What came out.
#[derive(Debug, Default, Serialize)]
pub struct Salvaged {
    pub batches: u64,
    pub mailboxes: u64,
    pub messages: u64,
    /// Messages whose body could not be read anywhere.
    pub lost: u64,
    /// Sentences about damage met on the way, at most `SALVAGE_FINDINGS_MAX`.
    pub findings: Vec<String>,
}

/// One message and where it is to go.
struct Task {
    directory: usize,
    message: mailbox::Message,
}

pub fn run(legs: &[PathBuf], to: &Path) -> Result<Salvaged, String> {
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
        for path in legs {
            let device = local.ring.open(path).map_err(|misfit| misfit.to_string())?;
            let leg = Salvage::open(&io, device)
                .await
                .map_err(|refusal| format!("{}: {refusal}", path.display()))?;
            open.push((path, leg));
        }
        if let [(_, first), rest @ ..] = &open[..]
            && let Some((path, _)) = rest.iter().find(|(_, leg)| leg.volume() != first.volume())
        {
            return Err(format!(
                "{} is a leg of another volume: salvage each by itself",
                path.display()
            ));
        }
        let mut gathered = Gathered::default();
        let mut places = BTreeMap::new();
        for (path, leg) in &mut open {
            gather(path, leg, &mut gathered, &mut places, &mut salvaged).await;
        }
        if gathered.unreadable > 0 {
            salvaged.find(format!("{} records could not be read", gathered.unreadable));
        }
        let mut legs: Vec<Salvage> = open.into_iter().map(|(_, leg)| leg).collect();
        write(gathered.finish(), &places, &mut legs, to, &mut salvaged).await?;
        Ok(salvaged)
    })
}

impl Salvaged {
    fn find(&mut self, finding: String) {
        if self.findings.len() < SALVAGE_FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// Every place where a body of this name lies.
type Places = BTreeMap<BodyName, Vec<BodyRef>>;

async fn gather(
    path: &Path,
    leg: &mut Salvage,
    gathered: &mut Gathered,
    places: &mut Places,
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
                if !known.contains(body) {
                    known.push(body.clone());
                }
            }
            gathered.note(group.lsn, &group.records, group.bodies);
        }
    }
}

async fn write(
    mailboxes: Vec<SalvagedMailbox>,
    places: &Places,
    legs: &mut [Salvage],
    to: &Path,
    salvaged: &mut Salvaged,
) -> Result<(), String> {
    let mut directories = Vec::new();
    let mut tasks = Vec::new();
    for mailbox in mailboxes {
        salvaged.mailboxes += 1;
        let account = mailbox
            .account
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), mail::Address::key);
        let path = maildir::create(to, &account, &mailbox.name)?;
        let directory = directories.len();
        directories.push(path);
        tasks.extend(
            mailbox
                .messages
                .into_iter()
                .map(|message| Task { directory, message }),
        );
    }
    // In the order in which the bodies lie, so that each stretch of a leg is read about once.
    tasks.sort_by_key(|task| {
        let body = &task.message.body.body;
        (body.segment, body.batch_block, body.at)
    });
    for task in tasks {
        match body(&task.message.body, places, legs).await {
            Some(bytes) => {
                maildir::write(&directories[task.directory], &task.message, &bytes)?;
                salvaged.messages += 1;
            }
            None => {
                salvaged.lost += 1;
                let directory = directories[task.directory].display();
                salvaged.find(format!(
                    "{directory}: message {} could not be read anywhere",
                    task.message.uid.0
                ));
            }
        }
    }
    Ok(())
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
