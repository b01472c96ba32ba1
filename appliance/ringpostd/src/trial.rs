//! The legs of a first start, the demo accounts, and the one screen.

use std::fs;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plan::{Misfit, Plan, Service, Size, StoragePlan};

use crate::state::{State, write_private};
use crate::witness::FileWitness;

pub const DOMAIN: &str = "example.org";
pub const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];
pub const PASSWORD: &str = "ringpost";

/// Names the files that a first start under way makes; then, once every leg was seen to be blank, the seed of the volume
/// that is being made. Whoever finds it begins anew, for nothing was accepted yet, and formats over no other volume.
const MARKER: &str = "creating";
const FORMATTING: &str = "formatting ";

/// What the storage thread is to do with the legs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Legs {
    /// They hold a volume that is known here.
    Open,
    /// The same, but its first start may not have come to its end.
    Finish,
    /// Nothing is known here; a volume they hold may be taken over, a new one may not be made.
    Adopt,
    /// Nothing is known here; a volume they hold is taken over, else one is made if they are blank.
    Create,
    /// They were blank, and may hold the remains of the volume that this seed makes.
    CreateOver { seed: u64 },
}

/// Makes file legs that are missing at a first start. Refuses to begin anew where mail may be waiting on legs that are gone.
pub fn prepare(storage: &StoragePlan, state: &State) -> Result<Legs, Misfit> {
    let marker = state.join(MARKER);
    // What cannot be looked at is not absent: with a mark that was read and a record that was not, mail would be formatted over.
    let unknown = |path: &Path, error: std::io::Error| {
        Misfit::new(format!("cannot look at {}: {error}", path.display()))
    };
    let known = FileWitness::new(state.path.clone())
        .knows_any()
        .map_err(|error| unknown(&state.path, error))?;
    let mut over = None;
    if marker
        .try_exists()
        .map_err(|error| unknown(&marker, error))?
    {
        if known {
            // The record is written when the volume stands: only the end of the first start is missing. Or the mark was removed and a
            // power cut brought it back.
            return Ok(Legs::Finish);
        }
        over = begin_again(&marker)?;
    }
    let missing: Vec<&PathBuf> = storage.legs.iter().filter(|leg| is_missing(leg)).collect();
    let all = missing.len() == storage.legs.len();
    if known {
        if all {
            return Err(Misfit::new(format!(
                "no leg is left ({} are missing), and {} knows a volume whose mail lies on them: bring one back, or choose another place with --state",
                shown(&storage.legs),
                state.path.display(),
            )));
        }
        return Ok(Legs::Open);
    }
    if !storage.create && all {
        return Err(no_volume(storage, &state.path));
    }
    if !storage.create {
        return Ok(Legs::Adopt);
    }
    for leg in &storage.legs {
        if let Err(error) = fs::symlink_metadata(leg)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(unknown(leg, error));
        }
    }
    if let Some(device) = missing.iter().find(|leg| leg.starts_with("/dev")) {
        return Err(Misfit::new(format!(
            "{} is not here: connect it, or name another device in `volume.legs`",
            device.display()
        )));
    }
    let mut list: String = missing
        .iter()
        .map(|leg| format!("{}\n", leg.display()))
        .collect();
    if let Some(seed) = over {
        list.push_str(&format!("{FORMATTING}{seed}\n"));
    }
    write_private(&marker, list.as_bytes())
        .map_err(|error| Misfit::new(format!("cannot write {}: {error}", marker.display())))?;
    let made = make(&missing, storage.leg_bytes);
    if made.is_err() {
        // Nothing of ours stays behind; files of others were never touched.
        let _ = fs::remove_file(&marker);
    }
    made?;
    Ok(over.map_or(Legs::Create, |seed| Legs::CreateOver { seed }))
}

/// Nothing is there. A leg that does not answer is not missing: opening says what is wrong with it.
fn is_missing(leg: &Path) -> bool {
    fs::symlink_metadata(leg).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

pub fn no_volume(storage: &StoragePlan, state: &Path) -> Misfit {
    Misfit::new(format!(
        "{} knows no volume: set `volume.create = true` to make one on blank legs, or give the state directory of the volume on {}",
        state.display(),
        shown(&storage.legs),
    ))
}

/// Every leg was seen to be blank, and `seed` makes the volume: from here on a first start that is cut short may format
/// over what it left.
pub fn formatting(state: &Path, seed: u64) -> Result<(), Misfit> {
    let marker = state.join(MARKER);
    let told =
        |error: std::io::Error| Misfit::new(format!("cannot write {}: {error}", marker.display()));
    let list = fs::read_to_string(&marker).map_err(told)?;
    write_private(&marker, format!("{list}{FORMATTING}{seed}\n").as_bytes()).map_err(told)
}

/// The first start is over: the volume stands.
pub fn created(state: &State) -> Result<(), Misfit> {
    let marker = state.join(MARKER);
    // Synced: a mark that a power cut brings back must not outlive the first message by long.
    fs::remove_file(&marker)
        .and_then(|()| fs::File::open(&state.path)?.sync_all())
        .map_err(|error| Misfit::new(format!("cannot remove {}: {error}", marker.display())))
}

/// Clears away what a first start left; the seed of its volume if it came that far.
fn begin_again(marker: &Path) -> Result<Option<u64>, Misfit> {
    let told = |error: std::io::Error| {
        Misfit::new(format!(
            "cannot clear away a first start that was cut short: {error}"
        ))
    };
    let list = fs::read_to_string(marker).map_err(told)?;
    let (seeds, files): (Vec<&str>, Vec<&str>) =
        list.lines().partition(|line| line.starts_with(FORMATTING));
    for leg in files.into_iter().map(Path::new) {
        if leg.is_file() {
            fs::remove_file(leg).map_err(told)?;
        }
    }
    Ok(seeds
        .first()
        .and_then(|line| line.strip_prefix(FORMATTING)?.parse().ok()))
}

/// Writes the legs through once, all at the same time, and shows how far it is.
fn make(legs: &[&PathBuf], bytes: u64) -> Result<(), Misfit> {
    if legs.is_empty() {
        return Ok(());
    }
    let bar = ProgressBar::new(bytes * legs.len() as u64);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template(
        "making the legs  {bar:40}  {bytes}/{total_bytes}  {bytes_per_sec}",
    );
    bar.set_style(style.expect("a fixed template"));
    let done = AtomicU64::new(0);
    let made: Vec<Result<(), uring::Misfit>> = std::thread::scope(|scope| {
        let makers: Vec<_> = legs
            .iter()
            .map(|leg| {
                let (bar, done) = (&bar, &done);
                scope.spawn(move || {
                    let mut before = 0;
                    uring::create_file_leg(leg, bytes, |now| {
                        let sum = done.fetch_add(now - before, Ordering::Relaxed) + now - before;
                        before = now;
                        bar.set_position(sum);
                    })
                })
            })
            .collect();
        makers
            .into_iter()
            .map(|maker| maker.join().expect("a panic aborts"))
            .collect()
    });
    bar.finish_and_clear();
    let refused: Vec<String> = made
        .iter()
        .filter_map(|made| made.as_ref().err())
        .map(ToString::to_string)
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    for (leg, made) in legs.iter().zip(&made) {
        if made.is_ok() {
            let _ = fs::remove_file(leg);
        }
    }
    Err(Misfit::new(format!(
        "{}; make room, or choose a smaller --leg-size than {}",
        refused.join("; "),
        Size(bytes)
    )))
}

fn shown(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(" and ")
}

/// The one screen of trial mode.
pub fn screen(plan: &Plan) -> String {
    let at = |service: Service| {
        plan.listener(service)
            .and_then(|listener| listener.addresses.first().copied())
    };
    let state = plan.state.display();
    let state = if plan.state.is_relative() && !plan.state.starts_with(".") {
        format!("./{state}")
    } else {
        state.to_string()
    };
    let mut text = format!(
        "Ringpost {} in trial mode; everything it keeps is in {state}\n\n",
        env!("CARGO_PKG_VERSION")
    );
    text.push_str("  listens   ");
    let ports: Vec<String> = Service::ALL
        .iter()
        .filter_map(|service| {
            Some(format!(
                "{} {}",
                service.name().to_uppercase(),
                at(*service)?.port()
            ))
        })
        .collect();
    text.push_str(&format!("127.0.0.1: {}\n", ports.join(" · ")));
    text.push_str(&format!(
        "  accounts  {} @{DOMAIN}, password {PASSWORD}\n\n",
        PEOPLE.join(", ")
    ));
    if let Some(smtp) = at(Service::Smtp) {
        text.push_str(&format!(
            "  send      swaks --server {smtp} --from you@example.net --to alice@{DOMAIN}\n"
        ));
        text.push_str(&format!(
            "            printf 'Subject: hello\\r\\n\\r\\nHello, Alice\\r\\n' | curl smtp://{smtp} --mail-from you@example.net --mail-rcpt alice@{DOMAIN} -T -\n"
        ));
    }
    if let Some(imap) = at(Service::Imap) {
        text.push_str(&format!(
            "  read      curl -u alice@{DOMAIN}:{PASSWORD} 'imap://{imap}/INBOX;MAILINDEX=1'\n"
        ));
        text.push_str(&format!(
            "            mutt -f imap://alice%40{DOMAIN}:{PASSWORD}@{imap}/INBOX\n"
        ));
    }
    text.push_str(&format!(
        "  look      {state}/ringpostctl leg list      (status, account list, fsck full, --help)\n"
    ));
    if let Some(http) = at(Service::Http) {
        text.push_str(&format!("            curl http://{http}/metrics\n"));
    }
    text.push_str(&format!(
        "  stop      Ctrl-C, or kill {}\n",
        std::process::id()
    ));
    text
}
