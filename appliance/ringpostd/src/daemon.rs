//! From the command line to READY, and from a signal to the end.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::time::Duration;

use ::door::Door;
use clap::Parser;
use client::imap;
use client::login::Logins;
use client::submit::Spent;
use inbound::receive::{self, Placed};
use mail::Address;
use plan::settings::Settings;
use plan::{Misfit, Plan, Service, Zone};
use storage::owner::{Owner, owner};
use storage::tallies::Tallies;
use tokio::signal::unix::{SignalKind, signal};

use crate::acme::Acme;
use crate::admin::counters::Metrics;
use crate::admin::doors::Doors;
use crate::admin::shared::Admin;
use crate::cores::{Bound, Cores};
use crate::engine::{Opening, Whose};
use crate::fetch::{self, Fetcher};
use crate::ldap::{self, Directory};
use crate::people::People;
use crate::reports::Reports;
use crate::serving::Serving;
use crate::settings::{Chosen, Flags};
use crate::state::{self, State};
use crate::trial;
use crate::{
    apart, audit, certificate, client_certificate, cores, door, events, front, kept, listen,
    notify, oauth, peers, quarantine, reports, spool, trace,
};

pub fn run() -> Result<(), Misfit> {
    let flags = Flags::parse();
    // Before the plan: it is held against what came of this.
    runtime::process::raise_limits(plan::limits::OPEN_FILES_WANTED);
    let chosen = flags.choose()?;
    if flags.plan {
        return print_plan(&chosen.plan, flags.json);
    }
    // Threads that are started later and say nothing else stay there, too.
    let kept = runtime::process::keep_to(&chosen.plan.housekeeping);
    events::start(&chosen.settings.log)?;
    events::abort_on_panic();
    if let Err(why) = kept {
        tracing::warn!(%why);
    }
    if let Some(refusal) = runtime::process::io_uring_refusal() {
        return Err(Misfit::new(refusal));
    }
    // A container's filter says no only when asked: before anything is made.
    uring::check().map_err(|misfit| Misfit::new(misfit.to_string()))?;
    // On these CPUs, not on those of the core that has the first large job.
    runtime::workers::begin();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Misfit::new(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(tokio::task::LocalSet::new().run_until(live(&flags, chosen)));
    events::finish();
    ended
}

async fn live(flags: &Flags, chosen: Chosen) -> Result<(), Misfit> {
    let Chosen {
        mut plan,
        settings,
        trial,
        ports,
        route,
    } = chosen;
    // Sockets first: a port that is taken is reported before anything is touched.
    let (bound, moved) = listen::bind(&mut plan, ports)?;
    let state = State::open(&plan.state)?;
    let shown = certificate::Shown::open(&settings.tls, &state, &plan.server_name)?;
    let tls = certificate::for_mail(&shown)?;
    let tls_of_people = certificate::for_people(&settings.client, &shown, &tls)?;
    let tokens = oauth::Oauth::open(&settings.oauth)?;
    let shown_to_all = certificate::for_strangers(&shown, &settings.acme)?;
    let https = certificate::for_https(&settings, &shown)?;
    let acme = Acme::open(&settings, &state, &shown)?;
    let ldap = Directory::open(&settings.ldap)?;
    let fetch_tls = fetch::trust(&settings.fetch)?;
    // Before the volume: what is wrong with them is reported before anything is written.
    let first = if trial {
        People::demo()?
    } else {
        People::of(&settings)?
    };
    let (door, proxies) = (
        door::open(&settings.door)?,
        door::networks(&settings.door.proxy)?,
    );
    let has_storage = plan.runs(Zone::Storage);
    let (peers, afar) = (
        peers::open(&settings.peers)?,
        apart::settings(&plan.zones, &plan.state)?,
    );
    let authorities = reports::authorities(settings.outbound.authorities.as_deref())?;
    let tallies = Tallies::default();
    let (owner, end) = owner();
    // Without storage the end is dropped: whatever is asked of the owner is answered as busy at once.
    let opening = match has_storage {
        true => Some(Opening {
            whose: Whose::Mail,
            plan: plan.storage.clone(),
            state: plan.state.clone(),
            legs: trial::decide(&plan.storage, &state.path, Whose::Mail.section())?,
            accept_moved: flags.accept_moved,
            accept_damage: flags.accept_damage,
        }),
        false => None,
    };
    let scripted = Arc::<storage::filter::Counters>::default();
    let opening = opening.map(|opening| (opening, tallies.clone(), scripted.clone(), end));
    let (mut cores, outcome) = Cores::start(&plan, opening).await?;
    for note in moved.iter().chain(&outcome.notes) {
        eprintln!("ringpostd: {note}");
    }
    shown.keep()?;
    let kept = trace::keep(&plan.state.join(trace::PLACE), &settings.trace);
    kept.map_err(|error| {
        Misfit::new(format!(
            "cannot keep traces of messages in the state directory: {error}"
        ))
    })?;
    if outcome.is_new {
        first.settle(&owner).await?;
        trial::created(&state.path)?;
    }
    let (quarantine, note) = match has_storage {
        true => quarantine::settle(&owner, &plan.quarantine).await,
        false => (None, None),
    };
    if let Some(note) = note {
        eprintln!("ringpostd: {note}");
    }
    let leave = spool::Leave {
        accept_moved: flags.accept_moved,
        accept_damage: flags.accept_damage,
    };
    let away = apart::Way::new(afar.as_ref(), peers.as_ref(), &plan.server_name);
    let onward = match away {
        Some(way) => spool::Onward::Away(way),
        None => spool::Onward::Here(owner.clone()),
    };
    let begun = spool::begin(&plan, leave, onward).await;
    begun
        .notes
        .iter()
        .for_each(|note| eprintln!("ringpostd: {note}"));
    cores.join(begun.thread);
    // Until here a signal ends us at once: nothing was accepted yet, and every step can be done again.
    let signals = |kind| {
        signal(kind).map_err(|error| Misfit::new(format!("cannot wait for signals: {error}")))
    };
    let (mut terminated, mut interrupted) = (
        signals(SignalKind::terminate())?,
        signals(SignalKind::interrupt())?,
    );
    let audit_place = plan.state.join(audit::PLACE);
    let audit = audit::Audit::begin(
        &audit_place,
        &settings.login,
        audit::kept_head(has_storage.then_some(&owner)).await,
    );
    let fetcher = fetch_tls.map(|tls| Fetcher::new(&settings.fetch, tls, &plan, &owner));
    let plan = Arc::new(plan);
    let metrics = Metrics::new();
    metrics.set_tallies(tallies.clone());
    metrics.set_filter(scripted);
    let serving = Serving {
        plan: plan.clone(),
        owner: owner.clone(),
        tls: tls.clone(),
        tls_of_people,
        memory: imap::Memory::new(
            plan.read_bytes as usize,
            plan.send_bytes as usize,
            receive::memory(plan.receive_bytes as usize, plan.message_bytes_max as usize),
        ),
        spent: Spent::default(),
        logins: logins(
            &settings,
            has_storage,
            &door,
            &audit,
            ldap.as_ref(),
            tokens.clone(),
        ),
        ldap: ldap.clone(),
        fetcher: fetcher.clone(),
        login_on_loopback: plan.plaintext_on_loopback,
        door: door.clone(),
        reports: Reports::new(&plan, tallies, authorities),
        proxies,
        afar: afar.clone(),
        front: front::nodes(&plan.zones, &plan.state)?,
        table: inbound::afar::serve::Made::default(),
        peers,
        scan: Arc::new(settings.scan.clone()),
        quarantine,
        placed: Placed::default(),
        metrics: metrics.clone(),
        postmaster: trial
            .then(|| Address::from_parts(trial::PEOPLE[0], trial::DOMAIN))
            .flatten(),
        route,
        spool: begun.lane.as_ref().ok().cloned(),
        credits: inbound::spool::credits(
            plan.spool
                .as_ref()
                .map_or(0, |spool| spool.credit_bytes as usize),
            plan.message_bytes_max as usize,
        ),
    };
    cores.serve(&serving, &bound)?;
    let alive = tokio::task::spawn_local(notify::stay_alive(has_storage.then(|| owner.clone())));
    tokio::task::spawn_local(certificate::look_after(shown.clone()));
    if has_storage {
        tokio::task::spawn_local(quarantine::look_after(
            owner.clone(),
            plan.quarantine.days,
            metrics.quarantine().clone(),
        ));
    }
    let rules = kept::rules(&plan.pop3);
    if has_storage && rules.keep_some() {
        let counters = metrics.kept().clone();
        let look = kept::look_after(owner.clone(), Arc::new(rules), counters);
        tokio::task::spawn_local(look);
    }
    if has_storage {
        tokio::task::spawn_local(audit.clone().look_after(owner.clone(), audit_place));
    }
    let ailing = owner.clone();
    let admin = Admin::new(&serving, begun.lane, shown, acme.clone(), tokens);
    let doors = Doors::open(&admin, &plan.state, (https, shown_to_all), http(bound))
        .map_err(|error| Misfit::new(error.to_string()))?;
    if let Some(ldap) = ldap {
        tokio::task::spawn_local(ldap::sync::run(ldap, owner.clone()));
    }
    if let Some(fetcher) = fetcher.clone() {
        tokio::task::spawn_local(fetcher.run());
    }
    // The doors are open: an authority that looks finds its answer.
    if let Some(acme) = acme {
        tokio::task::spawn_local(acme.run(cores::names(&plan)));
    }
    state.link_ringpostctl();
    if trial {
        println!("{}", trial::screen(&plan));
    }
    state::take_back_last_words();
    println!("RINGPOST READY");
    let _ = std::io::stdout().flush();
    notify::tell(notify::READY);
    let again = tokio::select! {
        _ = terminated.recv() => None,
        _ = interrupted.recv() => None,
        why = restart_wanted(&ailing) => Some(why),
    };
    if let Some(why) = &again {
        tracing::error!(why, "ringpostd restarts itself");
    }
    tracing::info!("stopping");
    notify::tell(notify::STOPPING);
    alive.abort();
    admin.stopping();
    if let Some(fetcher) = &fetcher {
        fetcher.stop();
    }
    if has_storage {
        // What is written from here on hangs on it by the chain; the next start moves the end on.
        audit.save_head(&owner).await;
    }
    let cut = cores.stop().await;
    if cut > 0 {
        tracing::warn!(
            sessions = cut,
            "sessions were cut off at the end of the drain"
        );
    }
    drop(doors);
    audit.finish();
    match again {
        Some(_) => Err(start_again()),
        None => Ok(()),
    }
}

/// Checks passwords for all cores. Where storage is elsewhere there are no accounts, and so no keys.
fn logins(
    settings: &Settings,
    has_storage: bool,
    door: &Door,
    audit: &audit::Audit,
    ldap: Option<&Arc<Directory>>,
    tokens: Option<Arc<oauth::Oauth>>,
) -> Logins {
    let logins = Logins::new()
        .reporting(door::on_failure(door))
        .auditing(audit.sink());
    let logins = match ldap {
        Some(ldap) => logins.with_outside(ldap.clone()),
        None => logins,
    };
    let logins = match tokens {
        Some(tokens) => logins.with_tokens(tokens),
        None => logins,
    };
    let logins = match settings.client.certificates_from {
        Some(_) => logins.with_certificates(Arc::new(client_certificate::names)),
        None => logins,
    };
    match has_storage {
        true => logins.with_keyring(settings.login.scram),
        false => logins,
    }
}

/// Resolves when the storage thread can be mended by a restart and by nothing else; not soon after a start, so that one which does
/// not help is not repeated without end.
async fn restart_wanted(owner: &Owner) -> String {
    tokio::time::sleep(RESTART_AFTER).await;
    loop {
        // until it is so
        if let Some(why) = owner.gauges().health().restart {
            return why;
        }
        tokio::time::sleep(RESTART_LOOK).await;
    }
}

/// The same program with the same words in this process's place; comes back only when that fails, and then a supervisor may do it.
fn start_again() -> Misfit {
    let program = std::env::current_exe();
    let failed = match program {
        Ok(program) => std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .exec(),
        Err(error) => error,
    };
    Misfit::new(format!("cannot restart: {failed}; start ringpostd again"))
}

const RESTART_AFTER: Duration = Duration::from_secs(30);
const RESTART_LOOK: Duration = Duration::from_secs(1);

fn print_plan(plan: &Plan, json: bool) -> Result<(), Misfit> {
    let text = if json {
        serde_json::to_string_pretty(plan)
            .map_err(|error| Misfit::new(format!("cannot print the plan: {error}")))?
    } else {
        plan.to_string()
    };
    println!("{}", text.trim_end());
    Ok(())
}

fn http(bound: Vec<Bound>) -> Vec<(Service, std::net::TcpListener)> {
    bound
        .into_iter()
        .filter(|listener| listener.service.zone().is_none())
        .map(|listener| (listener.service, listener.socket))
        .collect()
}
