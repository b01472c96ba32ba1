//! The sockets of the plan, bound for real before anything is written. Trial mode takes the first port base that is free.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use plan::limits::{PORT_BASE_STEP, PORT_BASES_MAX};
use plan::{Misfit, Plan, Service};

use crate::cores::Bound;

/// Where the plan's ports come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// The configuration names every address.
    Configured,
    /// `--port-base`: these and no others.
    Asked,
    /// No base was asked for: this one, or the next one whose ports are all free.
    FirstFree { base: u16 },
}

/// Every listener of the plan, bound; or the first that cannot be had, with the reason. With `Ports::FirstFree` the plan's
/// ports are moved to the base that was taken, and the second part of the answer says so in one line.
pub fn bind(plan: &mut Plan, ports: Ports) -> Result<(Vec<Bound>, Option<String>), Misfit> {
    let first = match (try_bind(plan), ports) {
        (Ok(bound), _) => return Ok((bound, None)),
        (Err(trouble), Ports::FirstFree { .. }) if trouble.is_taken() => trouble,
        (Err(trouble), ports) => return Err(trouble.misfit(ports)),
    };
    let Ports::FirstFree { base } = ports else {
        unreachable!("the other kinds have returned")
    };
    let mut current = base;
    for _ in 1..PORT_BASES_MAX {
        let next = current + PORT_BASE_STEP;
        plan.move_ports(current, next);
        current = next;
        match try_bind(plan) {
            Ok(bound) => {
                let why = first.taken_by();
                let told = format!(
                    "{why}: the ports are {current} + the standard port now (--port-base chooses others)"
                );
                return Ok((bound, Some(told)));
            }
            Err(trouble) if trouble.is_taken() => {}
            Err(trouble) => return Err(trouble.misfit(ports)),
        }
    }
    Err(Misfit::new(format!(
        "{}, and so is a port of every base up to {current}: choose free ones with --port-base",
        first.taken_by()
    )))
}

/// One address that cannot be had.
struct Trouble {
    service: Service,
    address: SocketAddr,
    error: std::io::Error,
}

/// All or nothing: what was bound before the trouble is let go of.
fn try_bind(plan: &Plan) -> Result<Vec<Bound>, Trouble> {
    let mut bound = Vec::new();
    for listener in &plan.listeners {
        for &address in &listener.addresses {
            let socket = runtime::bind(address).map_err(|error| Trouble {
                service: listener.service,
                address,
                error,
            })?;
            bound.push(Bound {
                service: listener.service,
                socket,
            });
        }
    }
    Ok(bound)
}

impl Trouble {
    fn is_taken(&self) -> bool {
        self.error.kind() == ErrorKind::AddrInUse
    }

    /// One sentence without its end: what is taken, and by which process where that can be known.
    fn taken_by(&self) -> String {
        let holder = holder(Path::new("/proc"), self.address.port());
        let by = holder.map_or_else(|| "another program".into(), |who| who.to_string());
        format!(
            "{} ({}) is taken by {by}",
            self.address,
            self.service.name()
        )
    }

    fn misfit(&self, ports: Ports) -> Misfit {
        if self.is_taken() {
            let fix = match ports {
                Ports::Configured => "stop that, or change [listen]",
                _ => "stop that, or choose other ports with --port-base",
            };
            return Misfit::new(format!("{}: {fix}", self.taken_by()));
        }
        let fix = match self.error.kind() {
            ErrorKind::PermissionDenied => {
                "ports below 1024 are for root: start as root, or with CAP_NET_BIND_SERVICE"
            }
            ErrorKind::AddrNotAvailable => "this machine has no such address: change [listen]",
            _ if ports == Ports::Configured => "change [listen]",
            _ => "choose other ports with --port-base",
        };
        Misfit::new(format!(
            "cannot listen on {} ({}): {}; {fix}",
            self.address,
            self.service.name(),
            self.error
        ))
    }
}

/// A process that listens.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    pid: u32,
    name: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// Entries of `/proc` that are looked at; on a box with more processes the holder stays unknown.
const PROC_ENTRIES_MAX: usize = 65_536;

/// Which process listens on TCP port `port`. `None`: the kernel does not report it (another user's process, most often).
fn holder(proc: &Path, port: u16) -> Option<Holder> {
    let inodes: Vec<u64> = ["net/tcp", "net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(proc.join(table)).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    for entry in fs::read_dir(proc).ok()?.flatten().take(PROC_ENTRIES_MAX) {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        for descriptor in fs::read_dir(entry.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            // The link names what it leads to by its inode; following it is how the number is asked for.
            let Ok(meta) = fs::metadata(descriptor.path()) else {
                continue;
            };
            if inodes.contains(&meta.ino()) && is_socket(&meta) {
                let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                let name = name.trim().to_owned();
                return Some(Holder { pid, name });
            }
        }
    }
    None
}

fn is_socket(meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    meta.file_type().is_socket()
}

/// Inodes of the sockets that listen on `port`, from the kernel's table (proc_net_tcp(5)).
fn listening(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, local) = fields.get(1)?.rsplit_once(':')?;
            let here = u16::from_str_radix(local, 16) == Ok(port);
            (here && fields.get(3) == Some(&LISTEN)).then(|| fields.get(9)?.parse().ok())?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::limits::PORT_MAX;
    use plan::{Machine, Profile, Settings, Size};

    fn planned(base: u16) -> Plan {
        let settings = Settings::trial(Path::new("var"), Size(1 << 30), base).expect("right");
        let profile = Profile::load("generic").expect("the generic one");
        let machine = Machine::of(&hardware::probe(Path::new("/")));
        Plan::make(&settings, &profile, &machine).expect("it fits")
    }

    /// A base whose ports, and those of the step above it, were free a moment ago.
    fn free_base() -> u16 {
        let free = |base: u16| try_bind(&planned(base)).is_ok();
        (0..1_000)
            .map(|_| fastrand::u16(10_000..20_000))
            .find(|base| free(*base) && free(base + PORT_BASE_STEP))
            .expect("free ports on loopback")
    }

    #[test]
    fn the_first_base_is_taken_where_its_ports_are_free() {
        let base = free_base();
        let mut plan = planned(base);
        let (bound, told) = bind(&mut plan, Ports::FirstFree { base }).expect("bound");
        assert_eq!((bound.len(), told), (11, None));
        assert_eq!(plan.listeners, planned(base).listeners);
    }

    #[test]
    fn a_taken_port_moves_all_of_them_and_says_who_has_it() {
        let base = free_base();
        let other = runtime::bind(SocketAddr::from(([127, 0, 0, 1], base + 24))).expect("free");
        let mut plan = planned(base);
        let (bound, told) = bind(&mut plan, Ports::FirstFree { base }).expect("bound");
        let told = told.expect("it says so");
        assert!(told.contains(&(base + 24).to_string()), "{told}");
        assert!(told.contains(&std::process::id().to_string()), "{told}");
        assert_eq!(told.lines().count(), 1);
        for bound in &bound {
            let address = bound.socket.local_addr().expect("bound");
            let planned = plan.listener(bound.service).expect("planned");
            assert_eq!(planned.addresses, [address]);
            assert!((1..=PORT_MAX).contains(&(address.port() - base - PORT_BASE_STEP)));
        }
        drop(other);
    }

    #[test]
    fn a_base_that_was_asked_for_is_refused_with_the_port_and_its_holder() {
        let base = free_base();
        let _other = runtime::bind(SocketAddr::from(([127, 0, 0, 1], base + 443))).expect("free");
        let misfit = bind(&mut planned(base), Ports::Asked)
            .err()
            .expect("taken")
            .to_string();
        assert!(misfit.contains(&(base + 443).to_string()), "{misfit}");
        assert!(misfit.contains(&std::process::id().to_string()), "{misfit}");
        assert!(misfit.contains("--port-base"), "{misfit}");
        // Nothing of it stays bound.
        assert!(runtime::bind(SocketAddr::from(([127, 0, 0, 1], base + 25))).is_ok());
    }

    /// An address that is not ours stands for every port that no other program holds: another base would not help.
    #[test]
    fn a_port_that_cannot_be_used_is_not_one_that_is_taken() {
        let base = free_base();
        let mut plan = planned(base);
        plan.listeners[0].addresses = vec![SocketAddr::from(([192, 0, 2, 1], base + 25))];
        let misfit = bind(&mut plan, Ports::FirstFree { base })
            .err()
            .expect("refused");
        assert!(misfit.to_string().contains("no such address"), "{misfit}");
    }

    #[test]
    fn only_listening_sockets_of_that_port_are_found_in_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 0100007F:0BD0 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4711 1 0 100 0 0 10 0\n\
                     1: 0100007F:0BD0 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  0 0 4712 1 0 100 0 0 10 0\n\
                     2: 0100007F:0BD1 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4713 1 0 100 0 0 10 0\n";
        assert_eq!(listening(table, 3024), [4711]);
        assert_eq!(listening(table, 25), Vec::<u64>::new());
        assert_eq!(listening("", 25), Vec::<u64>::new());
    }
}
