//! Hardware profiles: what the machine is good for. `hw-profiles/*.toml`; every key is described in `hw-profiles/SCHEMA.md`.

use std::fmt;
use std::path::Path;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::limits::*;
use crate::load::{self, Misfit, Source};
use crate::shape::{DiskClass, San};
use crate::units::{Size, Span};

/// A strict profile file. What it omits is computed or left as found.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub name: String,
    /// One sentence for `ringpostctl profile list`.
    #[serde(default)]
    pub about: String,
    #[serde(default, rename = "match")]
    pub fits: Match,
    #[serde(default)]
    pub memory: Memory,
    #[serde(default)]
    pub zones: Zones,
    #[serde(default)]
    pub storage: Storage,
    #[serde(default)]
    pub ring: RingKeys,
    #[serde(default)]
    pub mirror: Mirror,
    #[serde(default)]
    pub kernel: Kernel,
    #[serde(default)]
    pub irq: Irq,
    #[serde(default)]
    pub nic: NicKeys,
    #[serde(default)]
    pub block: Block,
    #[serde(default)]
    pub cpu: CpuKeys,
    #[serde(default)]
    pub watchdog: Watchdog,
}

/// Every condition that is written must hold; each one that does makes the profile more specific.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// DMI vendor, whole or up to a closing `*`.
    pub vendor: Option<String>,
    /// DMI product.
    pub product: Option<String>,
    /// Logical CPUs online.
    pub cores: Option<Range<u64>>,
    pub numa_nodes: Option<Range<u64>>,
    pub memory: Option<Range<Size>>,
    pub disks: Option<MatchDisks>,
    pub nic: Option<MatchNic>,
    pub san: Option<San>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range<T> {
    pub min: Option<T>,
    pub max: Option<T>,
}

/// Whole disks without partitions: what may become a leg.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchDisks {
    pub class: Option<DiskClass>,
    pub min: Option<u64>,
    pub max: Option<u64>,
}

/// At least one card is like this.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchNic {
    pub driver: Option<String>,
    pub queues_min: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    pub percent: u8,
    /// Pages of 2 MiB set aside for the volume's batch buffers, one each.
    pub hugepages: Option<u64>,
}

/// CPUs by role.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Zones {
    /// For the kernel, interrupts and everything outside the zones.
    pub housekeeping: Option<Cpus>,
    pub storage: Option<Cpus>,
    pub inbound: Option<Cpus>,
    pub client: Option<Cpus>,
}

/// `[4, 5]`, or `{ count = 2, near = "nic" }`, or `{ share = 50 }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cpus {
    Named(Vec<usize>),
    Chosen {
        count: Option<usize>,
        /// Per cent of what housekeeping and storage left.
        share: Option<u8>,
        near: Option<Near>,
    },
}

/// Whose NUMA node is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Near {
    Disks,
    Nic,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    pub batches_in_flight: usize,
    pub batch_buffers: usize,
    /// Left out: by the kind of the disks (`limits::DEADLINE_*`).
    pub hard_deadline: Option<Span>,
}

/// The best set of io_uring flags to try on the legs' ring; older kernels step down from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RingFlags {
    #[default]
    DeferTaskrun,
    SingleIssuer,
    CoopTaskrun,
    Plain,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RingKeys {
    pub flags: RingFlags,
}

/// Which disks hold the mail when the settings do not say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mirror {
    /// One pattern for each leg, over names in `/dev/disk/by-id`; each must find exactly one disk.
    pub legs: Vec<String>,
    /// The same for the spool's legs; a machine without such disks has no spool.
    pub spool: Vec<String>,
}

/// The command line that the image boots with; compared at boot, written by the builder of the image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kernel {
    /// Keep the scheduler, timer ticks, RCU work and interrupts off the zones' CPUs.
    pub isolate: bool,
    /// NVMe queues that are polled instead of interrupting.
    pub nvme_poll_queues: Option<u64>,
    /// Further words, as they are.
    pub arguments: Vec<String>,
}

/// Where interrupts are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IrqPlace {
    Housekeeping,
    Storage,
    Inbound,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Irq {
    /// Interrupts of network cards.
    pub nic: Option<IrqPlace>,
    /// Interrupts of disks and their controllers, where the kernel lets them be moved.
    pub disks: Option<IrqPlace>,
    /// All others.
    pub others: Option<IrqPlace>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NicKeys {
    /// Receive and transmit queue pairs: a number, or one for each CPU of the inbound zone.
    pub queues: Option<Queues>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queues {
    Count(u64),
    Inbound,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Block {
    /// `none`, `mq-deadline`, `kyber`.
    pub scheduler: Option<String>,
    /// Requests that wait in the kernel for one disk (`nr_requests`).
    pub requests: Option<u64>,
    /// A SCSI command that takes longer is given up by the kernel: below `storage.hard_deadline`.
    pub timeout: Option<Span>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CpuKeys {
    pub governor: Option<String>,
    /// Idle states of the zones' CPUs that take longer to leave are switched off. Microseconds.
    pub idle_exit_us: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watchdog {
    /// The machine is reset when systemd has not run for this long.
    pub timeout: Option<Span>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            percent: 75,
            hugepages: None,
        }
    }
}

impl Default for Storage {
    fn default() -> Storage {
        Storage {
            batches_in_flight: 4,
            batch_buffers: 16,
            hard_deadline: None,
        }
    }
}

/// Where an OEM's profiles are stored in an image.
pub const DIRECTORY: &str = "usr/share/ringpost/hw-profiles";

/// The profiles that are part of the program: name and text. The first fits any machine.
pub const BUILT_IN: [(&str, &str); 8] = [
    ("generic", include_str!("../../../hw-profiles/generic.toml")),
    (
        "qemu-small",
        include_str!("../../../hw-profiles/qemu-small.toml"),
    ),
    (
        "qemu-numa",
        include_str!("../../../hw-profiles/qemu-numa.toml"),
    ),
    (
        "edge-branch",
        include_str!("../../../hw-profiles/edge-branch.toml"),
    ),
    (
        "rack-1u-dual-nvme",
        include_str!("../../../hw-profiles/rack-1u-dual-nvme.toml"),
    ),
    (
        "rack-2u-nvme-24",
        include_str!("../../../hw-profiles/rack-2u-nvme-24.toml"),
    ),
    (
        "san-fc-head",
        include_str!("../../../hw-profiles/san-fc-head.toml"),
    ),
    (
        "san-nvmetcp-head",
        include_str!("../../../hw-profiles/san-nvmetcp-head.toml"),
    ),
];

impl Profile {
    pub fn generic() -> Profile {
        Profile::built_in("generic").expect("the first of the list")
    }

    /// One of the program's own; `None`: no such name.
    pub fn built_in(name: &str) -> Option<Profile> {
        let (name, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        let parsed = Profile::parse(&format!("hw-profiles/{name}.toml"), text);
        Some(parsed.expect("our own profiles are right: a test reads them"))
    }

    /// The program's own and those in `directory` (an OEM's), where a file takes the place of ours with the same name.
    /// A directory that is not there holds none.
    pub fn all(directory: &Path) -> Result<Vec<Profile>, Misfit> {
        let mut profiles: Vec<Profile> = BUILT_IN
            .iter()
            .filter_map(|(name, _)| Profile::built_in(name))
            .collect();
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(profiles),
            Err(error) => {
                return Err(Misfit::new(format!(
                    "cannot read {}: {error}",
                    directory.display()
                )));
            }
        };
        // Sorted, so that of two files with one name the same wins on every machine.
        let mut files: Vec<_> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
            .take(PROFILES_MAX)
            .collect();
        files.sort();
        for path in files {
            let text = load::read_file(&path)?;
            let profile = Profile::parse(&path.display().to_string(), &text)?;
            profiles.retain(|known| known.name != profile.name);
            profiles.push(profile);
        }
        Ok(profiles)
    }

    pub fn parse(name: &str, text: &str) -> Result<Profile, Misfit> {
        let source = Source { name, text };
        let profile: Profile = load::parse(&source)?;
        profile
            .check()
            .map_err(|sentence| Misfit::new(format!("{name}: {sentence}")))?;
        Ok(profile)
    }

    fn check(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return Err("name: write letters, digits and hyphens".into());
        }
        if !(10..=95).contains(&self.memory.percent) {
            return Err(format!(
                "memory.percent is {}: write 10 to 95",
                self.memory.percent
            ));
        }
        let storage = &self.storage;
        if !(1..=64).contains(&storage.batches_in_flight) {
            return Err("storage.batches_in_flight: write 1 to 64".into());
        }
        if storage.batch_buffers < storage.batches_in_flight + 2 || storage.batch_buffers > 1024 {
            return Err(format!(
                "storage.batch_buffers: write {} (batches_in_flight + 2) to 1024",
                storage.batches_in_flight + 2
            ));
        }
        let buffers = storage.batch_buffers as u64;
        if self.memory.hugepages.is_some_and(|pages| pages < buffers) {
            return Err(format!(
                "memory.hugepages: write {buffers} (storage.batch_buffers) or more, or omit it"
            ));
        }
        self.zones.check()?;
        if self.kernel.isolate && self.zones.housekeeping.is_none() {
            return Err(
                "kernel.isolate needs zones.housekeeping: other processes need CPUs to run on"
                    .into(),
            );
        }
        let irq = &self.irq;
        if [irq.nic, irq.disks, irq.others].contains(&Some(IrqPlace::Housekeeping))
            && self.zones.housekeeping.is_none()
        {
            return Err("irq: \"housekeeping\" needs zones.housekeeping".into());
        }
        // When the engine gives a leg up first, the command is still with the disk, and its buffer cannot be used again.
        let deadline = storage.hard_deadline.unwrap_or(Span(DEADLINE_TURNING));
        if let Some(timeout) = self.block.timeout
            && timeout.0 >= deadline.0
        {
            return Err(format!(
                "block.timeout is {timeout}: write less than storage.hard_deadline ({deadline}), so that the kernel gives up first"
            ));
        }
        if !(self.mirror.legs.is_empty() || (LEGS_MIN..=LEGS_MAX).contains(&self.mirror.legs.len()))
        {
            return Err(format!(
                "mirror.legs: write {LEGS_MIN} to {LEGS_MAX} patterns"
            ));
        }
        Ok(())
    }

    /// By name (`generic`) or by path.
    pub fn load(name: &str) -> Result<Profile, Misfit> {
        if let Some(profile) = Profile::built_in(name) {
            return Ok(profile);
        }
        let path = Path::new(name);
        // A mistyped name is not searched as a file: the sentence would be about a path that was not meant.
        if path.components().count() == 1 && path.extension().is_none() {
            let known: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            return Err(Misfit::new(format!(
                "no profile is called `{name}`: write one of {}, or the path of a profile file",
                known.join(", ")
            )));
        }
        Profile::parse(name, &load::read_file(path)?)
    }
}

impl Zones {
    pub fn says_nothing(&self) -> bool {
        [
            &self.housekeeping,
            &self.storage,
            &self.inbound,
            &self.client,
        ]
        .into_iter()
        .all(Option::is_none)
    }

    fn check(&self) -> Result<(), String> {
        let roles = [
            ("housekeeping", &self.housekeeping),
            ("storage", &self.storage),
            ("inbound", &self.inbound),
            ("client", &self.client),
        ];
        for (role, cpus) in roles {
            match cpus {
                Some(Cpus::Named(list)) if list.is_empty() => {
                    return Err(format!(
                        "zones.{role}: name at least one CPU, or omit the key"
                    ));
                }
                Some(Cpus::Chosen {
                    count: Some(_),
                    share: Some(_),
                    ..
                }) => {
                    return Err(format!("zones.{role}: write `count` or `share`, not both"));
                }
                Some(Cpus::Chosen { count: Some(0), .. })
                | Some(Cpus::Chosen { share: Some(0), .. }) => {
                    return Err(format!("zones.{role}: write 1 or more"));
                }
                Some(Cpus::Chosen {
                    share: Some(share), ..
                }) if *share > 100 || role == "storage" || role == "housekeeping" => {
                    return Err(format!(
                        "zones.{role}: `share` is 1 to 100 per cent, for inbound and client; write `count`"
                    ));
                }
                _ => {}
            }
        }
        let one = match &self.storage {
            Some(Cpus::Named(list)) => list.len() == 1,
            Some(Cpus::Chosen { count, .. }) => count.unwrap_or(1) == 1,
            None => true,
        };
        if !one {
            return Err("zones.storage: one CPU; a volume has one owner thread".into());
        }
        Ok(())
    }
}

/// The table form of `Cpus`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    count: Option<usize>,
    share: Option<u8>,
    near: Option<Near>,
}

struct CpusVisitor;

impl<'de> Visitor<'de> for CpusVisitor {
    type Value = Cpus;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CPU numbers like [4, 5], or a table like { count = 2, near = \"nic\" }")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Cpus, A::Error> {
        let mut cpus = Vec::new();
        while let Some(cpu) = list.next_element()? {
            cpus.push(cpu);
        }
        Ok(Cpus::Named(cpus))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Cpus, A::Error> {
        let Chosen { count, share, near } = Chosen::deserialize(MapAccessDeserializer::new(table))?;
        Ok(Cpus::Chosen { count, share, near })
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cpus, D::Error> {
        deserializer.deserialize_any(CpusVisitor)
    }
}

struct QueuesVisitor;

impl Visitor<'_> for QueuesVisitor {
    type Value = Queues;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of queues, or \"inbound\"")
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<Queues, E> {
        match u64::try_from(count) {
            Ok(count @ 1..=1024) => Ok(Queues::Count(count)),
            _ => Err(E::custom("write 1 to 1024 queues, or \"inbound\"")),
        }
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Queues, E> {
        match word {
            "inbound" => Ok(Queues::Inbound),
            _ => Err(E::custom(format!(
                "`{word}` is not a number of queues: write a number, or \"inbound\""
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Queues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Queues, D::Error> {
        deserializer.deserialize_any(QueuesVisitor)
    }
}

#[cfg(test)]
mod tests;
