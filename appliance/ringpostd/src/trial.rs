//! What a start does with its legs, the demo accounts, and the one screen.

use std::fs;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use files::Mode;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plan::{Misfit, Plan, Service, Size, StoragePlan};

use crate::witness::FileWitness;

pub const DOMAIN: &str = "example.org";
pub const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];
pub const PASSWORD: &str = "ringpost";

/// Written when every leg of a first start was seen to be blank: the seed of the volume that is being made. Until it is
/// removed a start may format over the bytes that this seed makes, and over no others.
const MARKER: &str = "creating";
const FORMATTING: &str = "formatting ";

/// What the storage thread is to do with the legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Legs {
    /// They hold a volume that is known here.
    Open,
    /// The same, but its first start may not have come to its end.
    Finish,
    /// Nothing is known here; a volume they hold may be taken over, a new one may not be made.
    Adopt,
    /// Nothing is known here; a volume they hold is taken over, else one is made if they are blank. After a first start that
    /// was cut short they may hold what `begun`, its seed, makes.
    Create { begun: Option<u64> },
}

/// Decides from what the state directory knows, and from which legs are here, what is to be done with them. Changes
/// nothing: a start that is refused later leaves everything as it was.
/// `state` is where the volume's record is kept, and `section` the table of the settings that names the legs.
pub fn decide(storage: &StoragePlan, state: &Path, section: &str) -> Result<Legs, Misfit> {
    let marker = state.join(MARKER);
    // What cannot be looked at is not absent: with a mark that was read and a record that was not, mail would be formatted over.
    let unknown = |path: &Path, error: std::io::Error| {
        Misfit::new(format!("cannot look at {}: {error}", path.display()))
    };
    let known = FileWitness::new(state.to_owned())
        .knows_any()
        .map_err(|error| unknown(state, error))?;
    let marked = marker
        .try_exists()
        .map_err(|error| unknown(&marker, error))?;
    let all_missing = storage.legs.iter().all(|leg| is_missing(leg));
    if known && marked {
        // The record is written when the volume stands: only the end of the first start is missing. Or the mark was removed and a
        // power cut brought it back.
        return Ok(Legs::Finish);
    }
    if known && all_missing {
        return Err(Misfit::new(format!(
            "no leg is left ({} are missing), and the volume recorded in {} stores its mail on them: reconnect one, or choose another directory with --state",
            shown(&storage.legs),
            state.display(),
        )));
    }
    if known {
        return Ok(Legs::Open);
    }
    if !storage.create && all_missing {
        return Err(no_volume(storage, state, section));
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
    let device = |leg: &&PathBuf| is_missing(leg) && is_device_name(leg);
    if let Some(device) = storage.legs.iter().find(device) {
        return Err(Misfit::new(format!(
            "{} was not found: connect it, or name another device in `{section}.legs`",
            device.display()
        )));
    }
    let begun = if marked {
        let mark = fs::read_to_string(&marker).map_err(|error| unknown(&marker, error))?;
        mark.lines()
            .find_map(|line| line.strip_prefix(FORMATTING)?.parse().ok())
    } else {
        None
    };
    Ok(Legs::Create { begun })
}

/// Nothing is there. A leg that does not answer is not missing: opening says what is wrong with it.
pub fn is_missing(leg: &Path) -> bool {
    fs::symlink_metadata(leg).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// A device of this name appears when it is connected; a file is made. `/dev/shm` is a file system of files.
fn is_device_name(leg: &Path) -> bool {
    let absolute = std::path::absolute(leg).unwrap_or_else(|_| leg.to_owned());
    absolute.starts_with("/dev") && !absolute.starts_with("/dev/shm")
}

pub fn no_volume(storage: &StoragePlan, state: &Path, section: &str) -> Misfit {
    Misfit::new(format!(
        "{} has no record of a volume: set `{section}.create = true` to create one on blank legs, or name the state directory of the volume on {}",
        state.display(),
        shown(&storage.legs),
    ))
}

/// Every leg was seen to be blank, and `seed` makes the volume: from here on a first start that is cut short may format
/// over what it left.
pub fn formatting(state: &Path, seed: u64) -> Result<(), Misfit> {
    let marker = state.join(MARKER);
    let text = format!("{FORMATTING}{seed}\n");
    files::replace(&marker, text.as_bytes(), Mode::Private)
        .map_err(|error| Misfit::new(format!("cannot write {}: {error}", marker.display())))
}

/// The first start is over: the volume stands, and its first accounts are there.
pub fn created(state: &Path) -> Result<(), Misfit> {
    let marker = state.join(MARKER);
    // Synced: a mark that a power cut brings back must not outlive the first message by long.
    files::remove(&marker)
        .map_err(|error| Misfit::new(format!("cannot remove {}: {error}", marker.display())))
}

/// Makes file legs of `bytes`, written through once, all at the same time, and shows how far it is. Either all of them are
/// there afterwards or none.
pub fn make(legs: &[PathBuf], bytes: u64) -> Result<(), Misfit> {
    if legs.is_empty() {
        return Ok(());
    }
    let bar = ProgressBar::new(bytes * legs.len() as u64);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template(
        "creating the legs  {bar:40}  {bytes}/{total_bytes}  {bytes_per_sec}",
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
            unmake(leg);
        }
    }
    Err(Misfit::new(format!(
        "{}; make room, or choose a smaller --leg-size than {}",
        refused.join("; "),
        Size(bytes)
    )))
}

/// Takes back a leg that `make` has just made and that nothing was written to.
pub fn unmake(leg: &Path) {
    if let Err(error) = fs::remove_file(leg) {
        tracing::warn!(leg = %leg.display(), %error, "a blank leg of a start that was refused stays behind");
    }
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
        "Ringpost {} in trial mode; all its files are in {state}\n\n",
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
    if let Some(submission) = at(Service::Submission) {
        text.push_str(&format!(
            "            swaks --server {submission} --auth PLAIN --auth-user alice@{DOMAIN} --auth-password {PASSWORD} --from alice@{DOMAIN} --to bob@{DOMAIN}\n"
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
    if let Some(pop3) = at(Service::Pop3) {
        text.push_str(&format!(
            "            curl -u alice@{DOMAIN}:{PASSWORD} pop3://{pop3}/1\n"
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;
    use plan::{Machine, Plan, Profile, Settings};

    /// What `decide` says of legs with these paths, in an empty state directory that stays so.
    fn decided(legs: [&str; 2]) -> Result<Legs, Misfit> {
        let directory = tempfile::tempdir().expect("a directory");
        let state = State::open(directory.path()).expect("free");
        let settings = Settings::trial(directory.path(), Size(1 << 30), 3000).expect("right");
        let machine = Machine::of(&hardware::probe(Path::new("/")));
        let profile = Profile::load("generic").expect("ours");
        let mut storage = Plan::make(&settings, &profile, &machine)
            .expect("it fits")
            .storage;
        storage.legs = legs.map(PathBuf::from).to_vec();
        let before = fs::read_dir(directory.path()).expect("readable").count();
        let decided = decide(&storage, &state.path, "volume");
        let after = fs::read_dir(directory.path()).expect("readable").count();
        assert_eq!(before, after, "deciding changes nothing");
        decided
    }

    #[test]
    fn a_missing_device_is_to_be_connected_and_a_missing_file_to_be_made() {
        let create = Ok(Legs::Create { begun: None });
        let missing = decided(["/dev/disk/by-id/none", "/dev/disk/by-id/other"]);
        let told = missing.expect_err("devices are not made").to_string();
        assert!(told.contains("connect it"), "{told}");
        assert_eq!(decided(["/nowhere/leg-a", "/nowhere/leg-b"]), create);
        // Files in memory have their place below /dev.
        assert_eq!(
            decided(["/dev/shm/none/leg-a", "/dev/shm/none/leg-b"]),
            create
        );
    }
}
