//! Legs by name: listed, attached, detached, failed. All but `attach`'s file making runs on the storage thread.

use std::path::{Path, PathBuf};

use ::admin::reply::{BY_THE_OPERATOR, LegLine};
use ::admin::request::Request;
use device::DeviceIndex;
use serde_json::Value;
use volume::{LegReport, LegState, Volume};

use crate::admin::limits::{ASIDE_MAX, EJECT_WITHIN, LET_GO_PAUSE, LET_GO_TRIES};
use crate::admin::open_legs;
use crate::admin::shared::{Admin, Refused, document};
use crate::engine::Whose;

/// Performs a request about legs of one of the volumes.
pub(crate) async fn perform(
    admin: &Admin,
    whose: Whose,
    request: Request,
) -> Result<Value, Refused> {
    match request {
        Request::LegList => document(&list(admin, whose).await?),
        Request::LegAttach { path, fresh } => document(&attach(admin, whose, &path, fresh).await?),
        Request::LegDetach { leg } => {
            let work = async move |volume| detach(&volume, &leg).await;
            document(&admin.on_volume(whose, work).await??)
        }
        Request::LegFail { leg } => {
            let work = async move |volume| fail(&volume, &leg).await;
            document(&admin.on_volume(whose, work).await??)
        }
        Request::LegRetire { leg } => {
            let work = async move |volume| retire(&volume, &leg).await;
            document(&admin.on_volume(whose, work).await??)
        }
        _ => Err("not about legs".into()),
    }
}

/// Called once for each volume, on the thread that owns it, before any request about the volume: the volume and the legs it is open on.
pub fn enter(legs: std::rc::Rc<dyn open_legs::Legs>, volume: &Volume) {
    open_legs::set(volume.id(), legs);
    // Looks at every leg once, so that one that leaves is known by its path.
    lines(volume);
}

/// Every leg that a volume counts or counted on.
pub fn lines(volume: &Volume) -> Vec<LegLine> {
    // A retired one is of no concern any more.
    let members = volume
        .legs()
        .into_iter()
        .filter(|leg| leg.state != LegState::Retired);
    members.map(|leg| line(volume, &leg)).collect()
}

/// As `lines`, asked of the volume's thread.
pub(crate) async fn list(admin: &Admin, whose: Whose) -> Result<Vec<LegLine>, Refused> {
    admin.on_volume(whose, async |volume| lines(&volume)).await
}

fn line(volume: &Volume, leg: &LegReport) -> LegLine {
    // A leg that left keeps the path it was last seen at.
    let path = match leg
        .device
        .and_then(|device| open_legs::legs(volume.id()).path_of(device))
    {
        Some(path) => {
            open_legs::remember(volume.id(), leg.id, &path);
            Some(path)
        }
        None => open_legs::remembered(volume.id(), leg.id),
    };
    LegLine {
        index: leg.index.0,
        id: leg.id.to_string(),
        state: if is_failing(leg) {
            FAILING.into()
        } else {
            shown_state(leg).into()
        },
        path: path.map(|path| path.display().to_string()),
        progress: leg.progress,
        repairs: leg.repairs,
        read_faults: leg.read_faults,
        write_faults: leg.write_faults,
        stale_since: leg.stale_since.map(|lsn| lsn.0),
        why: match &leg.unread {
            Some(unread) => Some(format!("in sync, but reads from it fail: {unread}")),
            None => leg.why.clone(),
        },
    }
}

/// A leg that counts and did not answer the last probe is not called in sync.
fn shown_state(leg: &LegReport) -> &'static str {
    match &leg.unread {
        Some(_) => state_name(LegState::Failed),
        None => state_name(leg.state),
    }
}

/// A leg that is leaving the mirror, and whose leaving is not recorded yet: it still holds acknowledgements back.
pub const FAILING: &str = "failing";

fn is_failing(leg: &LegReport) -> bool {
    // The reason stands from the first failure on, and is taken away when the leg counts again.
    leg.state == LegState::InSync && leg.why.is_some()
}

/// The glossary's words.
pub fn state_name(state: LegState) -> &'static str {
    match state {
        LegState::InSync => "in_sync",
        LegState::CatchingUp => "catching_up",
        LegState::Rebuilding => "rebuilding",
        LegState::Bridge => "bridge",
        LegState::Stale => "stale",
        LegState::Failed => "failed",
        LegState::Spare => "spare",
        LegState::Retired => "retired",
    }
}

/// By index, by path, or by the beginning of its id (four letters or more).
fn find(volume: &Volume, name: &str) -> Result<LegReport, Refused> {
    let by_index = name.parse::<u8>().ok();
    let legs = volume.legs();
    let mut found = legs.iter().filter(|leg| {
        let line = line(volume, leg);
        by_index == Some(leg.index.0)
            || line
                .path
                .as_deref()
                .is_some_and(|path| same_path(Path::new(path), Path::new(name)))
            || (name.len() >= 4 && line.id.starts_with(name))
    });
    match (found.next(), found.next()) {
        (Some(leg), None) => Ok(leg.clone()),
        (Some(_), Some(_)) => Err(format!(
            "`{name}` matches several legs: give the number that `leg list` shows"
        )),
        _ => Err(format!(
            "there is no leg `{name}`: give its number, path or id as `leg list` shows them"
        )),
    }
}

/// Takes a leg out of the mirror.
async fn fail(volume: &Volume, name: &str) -> Result<(), Refused> {
    let leg = find(volume, name)?;
    if !counts(leg.state) {
        return Err(format!(
            "leg {} is {} already",
            leg.index.0,
            state_name(leg.state)
        ));
    }
    eject(volume, &leg, "failed").await
}

/// Takes a counting leg out. A witness that cannot be written is waited for a bounded time; the leaving itself goes on by itself.
async fn eject(volume: &Volume, leg: &LegReport, how: &str) -> Result<(), Refused> {
    let (ejecting, index) = (volume.clone(), leg.index);
    let why = format!("{how} {BY_THE_OPERATOR}");
    // A task of its own: the record must not be left half-way when we stop waiting.
    let ejected = tokio::task::spawn_local(async move { ejecting.eject(index, &why).await });
    match tokio::time::timeout(EJECT_WITHIN, ejected).await {
        Ok(Ok(ejected)) => ejected.map_err(|fault| fault.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "leg {} is {FAILING}: it gets no more mail, but this cannot be recorded yet ({}). No mail is acknowledged until it is recorded. The daemon retries; `leg list` then shows {}",
            index.0,
            volume
                .refuses()
                .unwrap_or_else(|| "the legs have not answered".into()),
            state_name(LegState::Stale),
        )),
    }
}

/// Takes a leg out of the mirror and lets go of its device, so that it can be unplugged or removed.
async fn detach(volume: &Volume, name: &str) -> Result<(), Refused> {
    let leg = find(volume, name)?;
    if counts(leg.state) {
        eject(volume, &leg, "detached").await?;
    }
    match leg.device {
        Some(device) => let_go(volume, device).await,
        None => Ok(()),
    }
}

/// Forgets a leg that will not come back.
async fn retire(volume: &Volume, name: &str) -> Result<(), Refused> {
    let leg = find(volume, name)?;
    if counts(leg.state) {
        return Err(format!(
            "leg {} is {}: fail or detach it first",
            leg.index.0,
            state_name(leg.state)
        ));
    }
    if let Some(device) = leg.device {
        let_go(volume, device).await?;
    }
    volume
        .retire(leg.index)
        .await
        .map_err(|fault| fault.to_string())
}

fn counts(state: LegState) -> bool {
    matches!(
        state,
        LegState::InSync | LegState::CatchingUp | LegState::Rebuilding | LegState::Bridge
    )
}

async fn let_go(volume: &Volume, device: DeviceIndex) -> Result<(), Refused> {
    for _ in 0..LET_GO_TRIES {
        if open_legs::legs(volume.id()).close(device) {
            return Ok(());
        }
        tokio::time::sleep(LET_GO_PAUSE).await;
    }
    Err("the device has not answered its last operations yet: try again later".into())
}

/// Admits a leg that returned, or a blank one.
///
/// A blank file is made first when `fresh` says so, and also in the place of a planned leg whose file is gone or was cut
/// short (what is left of that one is put aside, not thrown away).
async fn attach(admin: &Admin, whose: Whose, path: &str, fresh: bool) -> Result<LegLine, Refused> {
    let path = PathBuf::from(path);
    let plan = admin.storage_plan(whose).ok_or("there is no spool")?;
    let wanted = admin
        .on_volume(whose, async |volume| largest(&volume))
        .await?
        .unwrap_or(plan.leg_bytes);
    let planned = plan.legs.iter().any(|leg| same_path(leg, &path));
    let make = fresh || (planned && needs_making(&path, wanted)?);
    if make {
        let at = path.clone();
        // Minutes for a large leg; not on the storage thread.
        let made =
            tokio::task::spawn_blocking(move || uring::create_file_leg(&at, wanted, |_| {})).await;
        made.map_err(|error| error.to_string())?
            .map_err(|misfit| misfit.to_string())?;
    }
    let made = path.clone();
    let admitted = admin
        .on_volume(whose, async move |volume| admit(&volume, &path).await)
        .await?;
    if admitted.is_err() && make {
        let _ = std::fs::remove_file(made);
    }
    admitted
}

/// Whether a planned leg's file has to be created again; renames one that was truncated.
fn needs_making(path: &Path, wanted: u64) -> Result<bool, Refused> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    if !meta.is_file() || meta.len() >= wanted {
        return Ok(false);
    }
    for number in 1..ASIDE_MAX {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".cut-short-{number}"));
        let aside = PathBuf::from(aside);
        if !aside.exists() {
            tracing::warn!(leg = %path.display(), aside = %aside.display(), "the leg file was truncated; the rest of it is renamed");
            return std::fs::rename(path, &aside)
                .map(|()| true)
                .map_err(|error| format!("{}: {error}", path.display()));
        }
    }
    Err(format!(
        "{} was truncated, and {ASIDE_MAX} earlier files are beside it: remove some of them",
        path.display()
    ))
}

fn same_path(left: &Path, right: &Path) -> bool {
    std::path::absolute(left).ok() == std::path::absolute(right).ok()
}

/// Bytes of the file behind the largest leg: what a fresh one must have.
fn largest(volume: &Volume) -> Option<u64> {
    let paths = volume
        .legs()
        .into_iter()
        .filter_map(|leg| open_legs::legs(volume.id()).path_of(leg.device?));
    paths
        .filter_map(|path| std::fs::metadata(path).ok())
        .map(|meta| meta.len())
        .filter(|bytes| *bytes > 0)
        .max()
}

async fn admit(volume: &Volume, path: &Path) -> Result<LegLine, Refused> {
    let legs = open_legs::legs(volume.id());
    if let Some(old) = legs.device_at(path) {
        let leg = volume
            .legs()
            .into_iter()
            .find(|leg| leg.device == Some(old));
        if let Some(leg) = leg.filter(|leg| counts(leg.state)) {
            if same_file(path, &legs, old) {
                return Err(format!(
                    "{} is leg {} and {} already",
                    path.display(),
                    leg.index.0,
                    state_name(leg.state)
                ));
            }
            volume
                .eject(leg.index, "its file was replaced")
                .await
                .map_err(|fault| fault.to_string())?;
        }
        let_go(volume, old).await?;
    }
    let device = legs.open(path)?;
    match volume.attach(device).await {
        Ok(index) => {
            let legs = lines(volume);
            legs.into_iter()
                .find(|leg| leg.index == index.0)
                .ok_or_else(|| "the leg is gone again".to_owned())
        }
        Err(refusal) => {
            let _ = let_go(volume, device).await;
            Err(refusal.to_string())
        }
    }
}

/// Whether the file at `path` is the one that was opened there.
fn same_file(path: &Path, legs: &std::rc::Rc<dyn open_legs::Legs>, device: DeviceIndex) -> bool {
    path.exists() && legs.is_present(device)
}
