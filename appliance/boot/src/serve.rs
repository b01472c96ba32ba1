//! Settings changed on a running box: what the daemon asks for is performed here, as root, and a guard reverts what is not confirmed.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use admin::limits::{WITHIN_MAX, WITHIN_MIN};
use admin::settings::{self, Checked, Outcome, Probation, Request, Shown};
use hardware::incident::{self, Kind};
use plan::{Misfit, Settings};

use crate::check::{New, check};
use crate::find::{self, Found, From};
use crate::limits::{ANSWER_FIRST, GUARD_EVERY};
use crate::probation::{
    self, AtBoot, CANDIDATE, Note, PREVIOUS, Phase, boot_id, perform, uptime_ms,
};
use crate::report::Report;
use crate::world::World;
use crate::write::hand_over;
use crate::{history, network, secret};

/// Below the root: the state partition.
const STATE: &str = "var/lib/ringpost";
/// Held for each change here.
const LOCK: &str = "run/ringpost-settings.lock";
/// The service that ends a probation when its time is over.
const GUARD: &str = "ringpost-probation.service";

/// Takes one request out of the exchange directory, performs it, and leaves what became of it.
pub fn serve(world: &World, exchange: &Path) -> Result<(), Misfit> {
    let told = |error: std::io::Error| Misfit::new(format!("{}: {error}", exchange.display()));
    let exchange = settings::exchange(exchange);
    let taken = match exchange.take() {
        Ok(taken) => taken,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(told(error)),
    };
    let outcome = match taken.request {
        Ok(request) => answer(world, &request),
        Err(why) => Outcome::Refused {
            reason: format!("not a request: {why}"),
        },
    };
    exchange.answer(&taken.id, &outcome).map_err(told)
}

/// Performs one request.
pub fn answer(world: &World, request: &Request) -> Outcome {
    let performed = lock(&world.root).and_then(|_held| match request {
        Request::Show => shown(world).map(Outcome::Shown),
        Request::History => history::list(&world.root).map(|lines| Outcome::History { lines }),
        Request::Check { name, text, legs } => {
            let current = changeable(world)?;
            let new = New { name, text, legs };
            Ok(Outcome::Checked(check(world, &current.text, &new).1))
        }
        Request::Apply {
            name,
            text,
            legs,
            within_s,
            who,
        } => apply(world, &New { name, text, legs }, *within_s, who).map(Outcome::Applied),
        Request::Confirm { who, connected_ms } => confirm(world, who, *connected_ms),
        Request::Revert {
            legs,
            within_s,
            who,
        } => revert(world, legs, *within_s, who),
    });
    performed.unwrap_or_else(|misfit| Outcome::Refused {
        reason: misfit.to_string(),
    })
}

/// One change at a time. The lock ends with the process.
/// The guard takes it too: a confirmation and the end of the time cannot both win.
fn lock(root: &Path) -> Result<File, Misfit> {
    let path = root.join(LOCK);
    let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|error| Misfit::new(format!("{}: {error}", path.display())))
}

/// The settings that a start takes when nothing is on probation.
fn source(world: &World) -> Result<Found, Misfit> {
    // What a stick held was kept when it was read.
    let found = find::find(&world.root, world.credentials.as_deref(), || None)?;
    found.ok_or_else(|| {
        Misfit::new("this appliance has no settings yet: answer the questions on its console")
    })
}

/// Why settings from there are not changed from here.
fn fixed(from: From) -> Option<String> {
    (from == From::Credential).then(|| {
        "the settings come from a systemd credential, which overrides stored settings at every start: change the credential where the machine is configured"
            .to_owned()
    })
}

/// The settings, if they may be changed from here.
fn changeable(world: &World) -> Result<Found, Misfit> {
    let found = source(world)?;
    match fixed(found.from) {
        None => Ok(found),
        Some(why) => Err(Misfit::new(why)),
    }
}

/// What `Show` answers: the candidate while it is in force, else the settings of the next start.
fn shown(world: &World) -> Result<Shown, Misfit> {
    let root = world.root.as_path();
    let found = source(world)?;
    let fixed = fixed(found.from);
    let told = probation::told(root)?;
    let tried = match &told {
        Some(told) if !told.waits_for_restart && fixed.is_none() => {
            probation::text(root, CANDIDATE)?
        }
        _ => None,
    };
    let (from, text) = match tried {
        Some(text) => (From::Candidate, text),
        None => (found.from, found.text),
    };
    Ok(Shown {
        from: from.words().to_owned(),
        text: secret::without(&text),
        fixed,
        probation: told,
    })
}

/// Checks new settings and puts them in force. Those that could cut off access begin a probation.
// What is refused leaves no trace; what is kept is remembered with its author, and a note says what is not in force yet.
fn apply(world: &World, new: &New<'_>, within_s: u64, who: &str) -> Result<Checked, Misfit> {
    let root = world.root.as_path();
    let current = changeable(world)?;
    if let Some(told) = probation::told(root)? {
        return Err(Misfit::new(format!("{}, first", told.sentence())));
    }
    let (text, mut checked) = check(world, &current.text, new);
    if !checked.mistakes.is_empty() {
        return Err(Misfit::new(checked.mistakes.join("\n")));
    }
    // An apply of the same text is not a change, and must not start a probation that no administrator then confirms.
    if checked.changes.is_empty() {
        return Ok(checked);
    }
    let did = match checked.probation {
        Probation::No => {
            perform(root, &probation::accept(&current.text, &text))?;
            if let Err(misfit) = put_in_force(world, &text) {
                checked
                    .notes
                    .push(format!("stored, but not in force yet: {misfit}"));
            }
            "applied"
        }
        tried => {
            // Too short, and no person can reconnect; too long, and a box that cannot be reached stays so for hours.
            let within = within_s.clamp(WITHIN_MIN.as_secs(), WITHIN_MAX.as_secs());
            checked.within_s = within;
            begin(world, &text, tried, &checked, within, who)?;
            "applied, on probation"
        }
    };
    remember(world, who, did, &checked.keys());
    if !on_a_disk(root) {
        checked
            .notes
            .push("this appliance has no state partition: the change is lost at power-off".into());
    }
    Ok(checked)
}

/// Stores the candidate and its note, and starts the guard, which puts the candidate in force. A change that waits for
/// a restart needs no guard yet. What fails is taken back.
fn begin(
    world: &World,
    text: &str,
    tried: Probation,
    checked: &Checked,
    within_s: u64,
    who: &str,
) -> Result<(), Misfit> {
    let root = world.root.as_path();
    let phase = match tried {
        Probation::Now => Phase::Running {
            boot: boot_id(root)?,
            live: true,
            since_ms: None,
            until_ms: None,
        },
        _ => Phase::Waiting,
    };
    let live = phase != Phase::Waiting;
    let note = Note {
        who: who.to_owned(),
        keys: checked.keys(),
        within_s,
        phase,
    };
    let begun = perform(root, &probation::begin(text, &note)).and_then(|()| match live {
        true => start_guard(world),
        false => Ok(()),
    });
    begun.inspect_err(|_| {
        // Refused means refused; what cannot be removed either is given up by the next start.
        let _ = perform(root, &probation::end());
    })
}

/// Starts the guard and does not wait for it.
fn start_guard(world: &World) -> Result<(), Misfit> {
    (world.command)("systemctl", &["start", "--no-block", GUARD]).map_err(Misfit::new)
}

/// Ends a probation. Only a connection that was made after the change proves that the box can still be reached.
fn confirm(world: &World, who: &str, connected_ms: u64) -> Result<Outcome, Misfit> {
    let root = world.root.as_path();
    let Some(note) = probation::load(root)? else {
        return Err(Misfit::new("nothing is on probation"));
    };
    let Phase::Running {
        since_ms, until_ms, ..
    } = note.phase
    else {
        return Err(Misfit::new(
            "these settings are not in force yet: run `ringpostctl reboot`, then confirm them",
        ));
    };
    let Some(since) = since_ms else {
        return Err(Misfit::new(
            "these settings are not in force yet: confirm them in a few seconds",
        ));
    };
    // The old connection may go on over addresses that new ones cannot use any more.
    if connected_ms <= since {
        return Err(Misfit::new(
            "this connection is older than the settings: confirm them over a new connection",
        ));
    }
    if until_ms.is_some_and(|until| uptime_ms(root).is_ok_and(|now| now >= until)) {
        return Err(Misfit::new(
            "too late: the previous settings are being restored",
        ));
    }
    let Some(candidate) = probation::text(root, CANDIDATE)? else {
        return Err(Misfit::new("the settings on probation are gone"));
    };
    let applied = source(world)?.text;
    perform(root, &probation::confirm(&applied, &candidate))?;
    remember(world, who, "confirmed", &note.keys);
    Ok(Outcome::Confirmed { keys: note.keys })
}

/// Ends a probation and brings the settings of before back. Without a probation the settings of before are applied as a new change.
fn revert(world: &World, legs: &[String], within_s: u64, who: &str) -> Result<Outcome, Misfit> {
    let root = world.root.as_path();
    let Some(mut note) = probation::load(root)? else {
        let text = probation::text(root, PREVIOUS)?.ok_or_else(|| {
            Misfit::new("nothing is on probation, and no previous settings are stored")
        })?;
        let new = New {
            name: "the previous settings",
            text: &text,
            legs,
        };
        return apply(world, &new, within_s, who).map(Outcome::Applied);
    };
    let now = uptime_ms(root)?;
    let next = match &mut note.phase {
        Phase::Waiting => {
            perform(root, &probation::end())?;
            "nothing was changed"
        }
        Phase::Running { until_ms, live, .. } => {
            *until_ms = Some(now);
            let next = match live {
                true => "the previous settings are restored within seconds",
                false => "the appliance restarts with the previous settings",
            };
            perform(root, &[probation::step(&note)])?;
            start_guard(world)?;
            next
        }
    };
    remember(world, who, "taken back", &note.keys);
    Ok(Outcome::Reverted {
        keys: note.keys,
        next: next.to_owned(),
    })
}

/// What takes effect without a restart, made so: network, time servers, host name.
// Each part is tried whatever became of the others: with the network in place a box can be reached and the rest repaired.
fn put_in_force(world: &World, text: &str) -> Result<(), Misfit> {
    let settings = Settings::parse_before_legs("the settings", text)?;
    let files = network::files(settings.network.as_ref(), &settings.time);
    let (network, time) = network::put(&world.root, &files)?;
    let mut why = Vec::new();
    let mut tell = |words: &[&str]| {
        if let Err(error) = (world.command)("systemctl", words) {
            why.push(error);
        }
    };
    if network {
        tell(&["reload-or-restart", "systemd-networkd.service"]);
    }
    if time {
        tell(&["try-restart", "systemd-timesyncd.service"]);
    }
    if let Err(misfit) = network::set_host_name(&world.root, &settings.server.name) {
        why.push(misfit.to_string());
    }
    match why.is_empty() {
        true => Ok(()),
        false => Err(Misfit::new(why.join("; "))),
    }
}

/// Puts settings in force that are on probation, and gives them up when their time is over. Comes back when nothing is.
pub fn guard(mut world: World) -> Result<(), Misfit> {
    // Wall time is not asked again: a change of the time servers, of all things, could make it jump.
    let (began, then) = (Instant::now(), world.now);
    // The answer to the request is still on its way over the network that is about to change.
    std::thread::sleep(ANSWER_FIRST);
    loop {
        // until nothing is on probation
        world.now = then + began.elapsed().as_secs();
        let next = lock(&world.root).and_then(|_held| tick(&world))?;
        match next {
            Some(pause) => std::thread::sleep(pause),
            None => return Ok(()),
        }
    }
}

/// One look of the guard. `None`: nothing is on probation in this start.
pub fn tick(world: &World) -> Result<Option<Duration>, Misfit> {
    let root = world.root.as_path();
    let mut note = match probation::load(root) {
        Ok(Some(note)) => note,
        Ok(None) => return Ok(None),
        Err(misfit) => {
            let why = misfit.to_string();
            return give_up(world, "", &[], true, &why).map(|()| None);
        }
    };
    let now = uptime_ms(root)?;
    let Phase::Running {
        boot,
        live,
        since_ms,
        until_ms,
    } = &mut note.phase
    else {
        return Ok(None);
    };
    if *boot != boot_id(root)? {
        // Only a credential can have kept the start from judging it.
        perform(root, &probation::end())?;
        return Ok(None);
    }
    let live = *live;
    // `since` is noted only after the candidate is in force: connections are compared with it, and one made before proves nothing.
    if since_ms.is_none() {
        let candidate = probation::text(root, CANDIDATE)?;
        let done = match candidate {
            Some(text) => put_in_force(world, &text),
            None => Err(Misfit::new("they are gone")),
        };
        if let Err(misfit) = done {
            give_up(world, &note.who, &note.keys, live, &misfit.to_string())?;
            return Ok(None);
        }
        *since_ms = Some(uptime_ms(root)?);
    }
    match *until_ms {
        Some(until) if now >= until => {
            let why = "they were not confirmed in time";
            give_up(world, &note.who, &note.keys, live, why)?;
            Ok(None)
        }
        Some(_) => Ok(Some(GUARD_EVERY)),
        None => {
            *until_ms = Some(uptime_ms(root)? + note.within_s * 1_000);
            perform(root, &[probation::step(&note)])?;
            Ok(Some(GUARD_EVERY))
        }
    }
}

/// The previous settings come back: at once where they can, else by a restart.
fn give_up(world: &World, who: &str, keys: &[String], live: bool, why: &str) -> Result<(), Misfit> {
    let root = world.root.as_path();
    let back = match live {
        true => source(world).and_then(|found| put_in_force(world, &found.text)),
        false => Err(Misfit::new("a restart is needed")),
    };
    perform(root, &probation::end())?;
    given_up(world, who, keys, why);
    match back {
        Ok(()) => Ok(()),
        // The last resort of a probation is a restart: it takes the stored settings, which are the previous ones.
        Err(_) => (world.command)("systemctl", &["--no-block", "reboot"]).map_err(Misfit::new),
    }
}

/// The candidate of this start, when there is one; a start before this one may have had its chance.
pub(crate) fn at_boot(world: &World, found: Option<&Found>, report: &mut Report) -> Option<Found> {
    if found.is_some_and(|found| found.from == From::Credential) {
        return None;
    }
    match probation::at_boot(&world.root) {
        Ok(AtBoot::Nothing) => None,
        Ok(AtBoot::Try { text, .. }) => Some(Found {
            from: From::Candidate,
            path: world.root.join(CANDIDATE),
            text,
        }),
        Ok(AtBoot::GivenUp { who, keys, why }) => {
            report.alarms.push(given_up(world, &who, &keys, &why));
            None
        }
        Err(misfit) => {
            report
                .alarms
                .push(format!("settings on probation are not tried: {misfit}"));
            None
        }
    }
}

/// Settings on probation that this start cannot carry out; what to tell.
pub(crate) fn cannot_be_carried_out(world: &World, misfit: &Misfit) -> String {
    let root = world.root.as_path();
    let note = probation::load(root).ok().flatten();
    let (who, keys) = note.map(|note| (note.who, note.keys)).unwrap_or_default();
    let ended = perform(root, &probation::end());
    let told = given_up(world, &who, &keys, &misfit.to_string());
    match ended {
        Ok(()) => told,
        Err(error) => format!("{told}; {error}"),
    }
}

/// Remembers it and says it in one sentence.
fn given_up(world: &World, who: &str, keys: &[String], why: &str) -> String {
    let whose = match who {
        "" => String::new(),
        who => format!(" of {who}"),
    };
    let sentence = format!(
        "settings{whose} were reverted and the previous settings are in force again: {why}"
    );
    remember(world, who, &format!("reverted: {why}"), keys);
    let state = world.root.join(STATE);
    let noted = incident::note(&state, world.now, Kind::SettingsGivenUp, &sentence)
        .map_err(|error| Misfit::new(error.to_string()))
        .and_then(|()| hand_over(&world.root, &state.join(incident::FILE)));
    if let Err(misfit) = noted {
        eprintln!("ringpost-boot: an incident cannot be recorded: {misfit}");
    }
    sentence
}

/// What was done is done, whether or not it can be remembered.
fn remember(world: &World, who: &str, did: &str, keys: &[String]) {
    println!("settings: {did} by {who}: {}", keys.join(" "));
    if let Err(misfit) = history::note(&world.root, world.now, who, did, keys) {
        eprintln!("ringpost-boot: a change of settings cannot be recorded: {misfit}");
    }
}

/// Whether the state partition is mounted, by `/proc/mounts`.
fn on_a_disk(root: &Path) -> bool {
    let mounts = std::fs::read_to_string(root.join("proc/mounts")).unwrap_or_default();
    crate::selftest::state_is_on_a_disk(&mounts)
}

#[cfg(test)]
mod tests;
