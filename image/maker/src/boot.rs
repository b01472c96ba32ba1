//! `cargo xtask boot`: the image in QEMU, its serial console on this terminal.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::limits::{GUEST_MIB, LEG_MIB, SYSTEM_DISK_MIB};
use crate::machine::{Accelerator, Guest, OVMF_VARS, Tpm};
use crate::places::{self, Places};
use crate::{Wishes, build};

/// Port here (when it is free), port there.
const FORWARDS: &[(u16, u16)] = &[
    (3025, 25),
    (3024, 24),
    (3143, 143),
    (3993, 993),
    (3080, 80),
    (3443, 443),
];

/// The arguments of `cargo xtask boot`.
#[derive(Debug, Clone, clap::Args)]
pub struct BootWishes {
    #[command(flatten)]
    pub image: Wishes,
    /// Go on with the disks of the last time (system disk with its state, legs, firmware, TPM)
    #[arg(long)]
    pub keep: bool,
    /// Secure Boot with our keys enrolled; needs a signed image
    #[arg(long)]
    pub secure: bool,
    /// With a software TPM, so that the state partition is sealed
    #[arg(long)]
    pub tpm: bool,
    /// Settings to hand over instead of the example
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    #[arg(long, default_value_t = 2)]
    pub cpus: u32,
    /// Memory of the guest, in MiB
    #[arg(long, default_value_t = GUEST_MIB)]
    pub memory: u64,
    /// Software emulation even if KVM works
    #[arg(long)]
    pub no_kvm: bool,
}

pub fn run(root: &Path, wishes: &BootWishes) -> Result<(), String> {
    let image = build(root, &wishes.image)?;
    let places = Places::of(root, wishes.image.output.as_deref())?;
    let folder = places.output.join("boot");
    let old = wishes.keep && folder.join("system.raw").exists();
    if !old {
        places::fresh(&folder)?;
        places::copy(&image.raw, &folder.join("system.raw"))?;
        grow(&folder.join("system.raw"), SYSTEM_DISK_MIB)?;
        for leg in ["leg-a", "leg-b"] {
            File::create(folder.join(leg)).map_err(|error| format!("{leg}: {error}"))?;
            grow(&folder.join(leg), LEG_MIB)?;
        }
        let vars = match (&image.vars, wishes.secure) {
            (Some(vars), true) => vars.clone(),
            (None, true) => {
                return Err("--secure needs a signed image: `cargo xtask keys` first".into());
            }
            (_, false) => PathBuf::from(OVMF_VARS),
        };
        places::copy(&vars, &folder.join("vars.fd"))?;
    }
    let settings = match &wishes.settings {
        Some(path) => places::read(path)?,
        None => places::read(&root.join("image/example.toml"))?,
    };
    let settings =
        String::from_utf8(settings).map_err(|_| "the settings are no UTF-8 text".to_string())?;
    let accelerator = if wishes.no_kvm {
        Accelerator::Tcg
    } else {
        Accelerator::probe(&image.linux)
    };
    let tpm = match wishes.tpm {
        true => Some(Tpm::start(&folder.join("tpm"))?),
        false => None,
    };
    let (system, a, b, vars) = (
        folder.join("system.raw"),
        folder.join("leg-a"),
        folder.join("leg-b"),
        folder.join("vars.fd"),
    );
    let forwards = free_forwards()?;
    let guest = Guest {
        accelerator,
        cpus: wishes.cpus,
        memory_mib: wishes.memory,
        system: &system,
        legs: [&a, &b],
        vars: &vars,
        secure: wishes.secure,
        settings: &settings,
        forwards: &forwards,
        tpm: tpm.as_ref().map(|tpm| tpm.socket.clone()),
    };
    match accelerator {
        Accelerator::Kvm => eprintln!("boot: under KVM"),
        Accelerator::Tcg => eprintln!(
            "boot: KVM does not work here, so everything is emulated: about a minute to RINGPOST READY"
        ),
    }
    for (here, there) in &forwards {
        eprintln!("boot: 127.0.0.1:{here} is port {there} of the box");
    }
    eprintln!("boot: the serial console follows; Ctrl-A X ends the guest");
    run_quietly(&mut guest.command())
}

/// `FORWARDS`, with other ports in the place of those that another program listens on.
fn free_forwards() -> Result<Vec<(u16, u16)>, String> {
    FORWARDS
        .iter()
        .map(|&(wanted, there)| {
            let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
            let mut candidates = [wanted, wanted + 10_000, wanted + 20_000].into_iter();
            let here = candidates.find(free).ok_or_else(|| {
                format!("127.0.0.1:{wanted} and two others are in use: end what listens there")
            })?;
            Ok((here, there))
        })
        .collect()
}

/// Makes a file longer without writing: the rest is a hole.
fn grow(path: &Path, mib: u64) -> Result<(), String> {
    File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_len(mib << 20))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs with everything inherited and without showing the command (it is long, and not the point).
fn run_quietly(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {status}"))
    }
}
