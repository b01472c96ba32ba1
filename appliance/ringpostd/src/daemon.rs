//! From the command line to READY, and from a signal to the end.

use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use control::admin::{Admin, Doors};
use control::metrics::Metrics;
use mail::Address;
use plan::{Misfit, Plan, Service};
use service::imap::Logins;
use service::owner::{Owner, owner};
use service::receive::Placed;
use tokio::signal::unix::{SignalKind, signal};
use zone::Budget;

use crate::cores::{Bound, Cores, Serving};
use crate::people::People;
use crate::settings::{Chosen, Flags};
use crate::state::{self, State};
use crate::storage::Opening;
use crate::trial::{self, Legs};
use crate::{certificate, events, notify};

pub fn run() -> Result<(), Misfit> {
    let flags = Flags::parse();
    let chosen = flags.choose()?;
    if flags.plan {
        return print_plan(&chosen.plan, flags.json);
    }
    // Threads that are started later and say nothing else stay there, too.
    let kept = sandbox::keep_to(&chosen.plan.housekeeping);
    events::start(&chosen.settings.log)?;
    events::abort_on_panic();
    if let Err(why) = kept {
        tracing::warn!(%why);
    }
    if let Some(refusal) = sandbox::io_uring_refusal() {
        return Err(Misfit::new(refusal));
    }
    sandbox::raise_limits();
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
        plan,
        settings,
        trial,
    } = chosen;
    let state = State::open(&plan.state)?;
    let shown = certificate::Shown::open(&settings.tls, &state, &plan.server_name)?;
    let tls = certificate::for_mail(&shown);
    let https = certificate::for_https(&settings, &shown)?;
    // Sockets before legs: a port in use is said before anything is written.
    let bound = bind(&plan, trial)?;
    // Before the volume: what is wrong with them is said before anything is written.
    let first = if trial {
        People::demo()?
    } else {
        People::of(&settings)?
    };
    let legs = trial::prepare(&plan.storage, &state)?;
    let opening = Opening {
        plan: plan.storage.clone(),
        state: plan.state.clone(),
        legs: legs.clone(),
        accept_moved: flags.accept_moved,
        accept_damage: flags.accept_damage,
    };
    let (owner, end) = owner();
    let (mut cores, notes) = Cores::start(&plan, opening, end).await?;
    for note in &notes {
        eprintln!("ringpostd: {note}");
    }
    if !matches!(legs, Legs::Open | Legs::Adopt) {
        first.settle(&owner).await?;
        trial::created(&state)?;
    }
    // Until here a signal ends us at once: nothing was accepted yet, and every step can be done again.
    let signals = |kind| {
        signal(kind).map_err(|error| Misfit::new(format!("cannot wait for signals: {error}")))
    };
    let (mut terminated, mut interrupted) = (
        signals(SignalKind::terminate())?,
        signals(SignalKind::interrupt())?,
    );
    let plan = Arc::new(plan);
    let metrics = Metrics::new();
    let serving = Serving {
        plan: plan.clone(),
        owner: owner.clone(),
        tls: tls.clone(),
        receive_memory: Budget::new(plan.receive_bytes as usize),
        read_memory: Budget::new(plan::limits::READS_BYTES as usize),
        logins: Logins::new(),
        login_on_loopback: plan.plaintext_on_loopback,
        placed: Placed::default(),
        metrics: metrics.clone(),
        sink: flags.sink,
        postmaster: trial
            .then(|| Address::from_parts(trial::PEOPLE[0], trial::DOMAIN))
            .flatten(),
    };
    cores.serve(&serving, &bound)?;
    let alive = tokio::task::spawn_local(notify::stay_alive(owner.clone()));
    let ailing = owner.clone();
    let admin = Admin::new(
        plan.clone(),
        owner,
        metrics,
        serving.receive_memory.clone(),
        shown,
    );
    let doors = Doors::open(&admin, &plan.state, https, http(bound))
        .map_err(|error| Misfit::new(error.to_string()))?;
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
    let cut = cores.stop().await;
    if cut > 0 {
        tracing::warn!(
            sessions = cut,
            "sessions were cut off at the end of the drain"
        );
    }
    drop(doors);
    match again {
        Some(_) => Err(start_again()),
        None => Ok(()),
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

/// Every listener of the plan, or the first that cannot be had.
fn bind(plan: &Plan, trial: bool) -> Result<Vec<Bound>, Misfit> {
    let mut bound = Vec::new();
    for listener in &plan.listeners {
        for address in &listener.addresses {
            let socket = zone::bind(*address).map_err(|error| {
                let fix = match (error.kind(), trial) {
                    (ErrorKind::AddrInUse, true) => {
                        "another program listens there: stop it, or choose other ports with --port-base"
                    }
                    (ErrorKind::AddrInUse, false) => "another program listens there: stop it, or change [listen]",
                    (ErrorKind::PermissionDenied, _) => {
                        "ports below 1024 are for root: start as root, or with CAP_NET_BIND_SERVICE"
                    }
                    (ErrorKind::AddrNotAvailable, _) => "this machine has no such address: change [listen]",
                    _ => "change [listen]",
                };
                Misfit::new(format!("cannot listen on {address} ({}): {error}; {fix}", listener.service.name()))
            })?;
            bound.push(Bound {
                service: listener.service,
                socket,
            });
        }
    }
    Ok(bound)
}

fn http(bound: Vec<Bound>) -> Vec<(Service, std::net::TcpListener)> {
    bound
        .into_iter()
        .filter(|listener| listener.service.zone().is_none())
        .map(|listener| (listener.service, listener.socket))
        .collect()
}
