//! The receiver of `ringpostd` without a store: it answers 250 and throws every message away. For `cargo xtask bench accept` alone.
//!
//! It runs on the threads that the daemon's plan gives to inbound mail, and takes mail for every address.
#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use clap::Parser;
use inbound::receive::{self, Keeper, OnBehalf, Placed, Receiver};
use inbound::smtp::{self, Role};
use mail::Address;
use mailbox::{AccountId, MailboxFault};
use plan::{Machine, Plan, Profile, Service, Settings, Size, Zone};
use runtime::{Core, CoreSettings, Counters, Listener};
use storage::addresses::Refused;
use storage::arrival::{Arrival, Found, Looked, Resident};
use storage::outgoing::Submission;
use storage::owner::Busy;

/// As the daemon's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes mail by SMTP and throws it away.
#[derive(Debug, Parser)]
struct Flags {
    /// SMTP is at this number plus 25
    #[arg(long)]
    port_base: u16,
}

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ringpost-sink: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until it is killed.
fn run(flags: &Flags) -> Result<(), String> {
    let plan = trial_plan(flags.port_base).map_err(|misfit| misfit.to_string())?;
    let address = (Ipv4Addr::LOCALHOST, flags.port_base + 25).into();
    let socket = runtime::bind(address).map_err(|error| format!("{address}: {error}"))?;
    let budget = receive::memory(plan.receive_bytes as usize, plan.message_bytes_max as usize);
    let placed = Placed::default();
    let mut handles = Vec::new();
    for core in plan.cores_of(Zone::Inbound) {
        let settings = CoreSettings {
            name: core.thread_name(),
            cpu: core.cpu,
        };
        let socket = socket.try_clone().map_err(|error| error.to_string())?;
        let (plan, budget, placed) = (plan.clone(), budget.clone(), placed.clone());
        let serving = move |core| async move {
            let receiver = Receiver::new(Sink::default(), budget, placed);
            serve(&core, &plan, socket, Rc::new(receiver));
            core.stop().requested().await;
        };
        handles.push(Core::start(settings, serving).map_err(|fault| fault.to_string())?);
    }
    println!("RINGPOST READY");
    for handle in handles {
        handle.join();
    }
    Ok(())
}

/// What `ringpostd --trial` would run by on this machine.
fn trial_plan(port_base: u16) -> Result<Plan, plan::Misfit> {
    let settings = Settings::trial(Path::new("unused"), Size(1 << 30), port_base)?;
    let profile = Profile::load(settings.profile())?;
    let machine = Machine::of(&hardware::probe(Path::new("/")));
    Plan::make(&settings, &profile, &machine)
}

fn serve(core: &Core, plan: &Plan, socket: TcpListener, receiver: Rc<Receiver<Sink>>) {
    let config = smtp::Config {
        role: Role::Smtp,
        service: smtp::Service::Exchange,
        hostname: plan.server_name.clone(),
        limits: smtp::Limits {
            message_bytes_max: plan.message_bytes_max,
            ..smtp::Limits::default()
        },
        tls_available: false,
        tls_required: false,
    };
    let settings = Rc::new(receive::Settings {
        smtp: Arc::new(config),
        tls: None,
        postmaster: None,
        door: None,
    });
    let planned = plan.listener(Service::Smtp);
    let listener = Listener {
        name: Service::Smtp.name(),
        socket,
        connections_max: planned.map_or(0, |planned| planned.connections_max),
        refusal: b"421 4.3.2 Too many connections, try again later\r\n",
        tls: None,
        gate: runtime::Gate::default(),
        counters: Arc::<Counters>::default(),
    };
    let serve: runtime::listener::Serve = Rc::new(move |connection| {
        let (receiver, settings) = (receiver.clone(), settings.clone());
        Box::pin(async move { receiver.serve(&settings, connection).await })
    });
    core.serve(listener, serve).expect("our own socket");
}

/// Keeps nothing.
#[derive(Default)]
struct Sink {
    generation: Arc<AtomicU64>,
}

impl Keeper for Sink {
    async fn look_up(&self, _address: &Address) -> Result<Looked, Busy> {
        let resident = Resident {
            account: AccountId(1),
            left_bytes: None,
        };
        Ok(Looked {
            found: Ok(Found::Account(resident)),
            generation: self.generation.clone(),
            at: 0,
        })
    }

    async fn admit(
        &self,
        _address: &Address,
        _sender: Option<&Address>,
        _unix_seconds: u64,
    ) -> Result<Result<Result<(), Refused>, MailboxFault>, Busy> {
        Ok(Ok(Ok(())))
    }

    async fn submit(
        &self,
        _submission: Submission,
        _span: &tracing::Span,
    ) -> Result<Result<(), MailboxFault>, Busy> {
        Ok(Ok(()))
    }

    async fn deliver(
        &self,
        arrival: Arrival,
        _on_behalf: OnBehalf<'_>,
        _span: &tracing::Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        Ok(vec![Ok(()); arrival.accounts.len()])
    }
}
