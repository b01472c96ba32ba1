//! What a machine has, as data, and how QEMU is told so.
//!
//! `Shape::arguments` is pure: the same shape gives the same argument list, so that shapes are tested without QEMU. Every
//! disk is a node of QEMU's block graph by its own name (`leg-a`) and a device of the same name, so that QMP speaks of
//! both by what the story calls them.

mod arguments;
mod credential;
mod disk;

use std::path::{Path, PathBuf};

use crate::ports::Forward;
pub use crate::shape::arguments::STICK;
pub use crate::shape::credential::{By, Credential, base64};
pub use crate::shape::disk::{Bus, Disk, EIO, Fault, Io, blkdebug};

/// A machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub cpus: u32,
    /// Sockets that they are spread over.
    pub sockets: u32,
    pub memory_mib: u32,
    /// NUMA nodes: CPUs and memory are split evenly. 0 means none.
    pub nodes: u32,
    /// Disks, in the order of their slots.
    pub disks: Vec<Disk>,
    /// Network cards, in the order of their slots.
    pub nics: Vec<Nic>,
    /// What the machine calls itself.
    pub dmi: Dmi,
    /// An i6300esb that resets the machine.
    pub watchdog: bool,
    /// A TPM 2.0 by swtpm.
    pub tpm: bool,
    /// systemd credentials.
    pub credentials: Vec<Credential>,
    /// The guest's clock at power-on, `2001-01-01T00:00:00`; the host's when `None`.
    pub clock: Option<String>,
    /// Whole tables of `ringpost.toml` beside those that every guest gets.
    pub settings: String,
    /// `ringpost.toml` on a stick called RINGPOST that is plugged in; none when `None`.
    pub stick: Option<String>,
    /// Names of legs that stand elsewhere: `settings` says how they are reached.
    pub away: Vec<String>,
    /// Pinned by the settings; else the box chooses.
    pub profile: Option<String>,
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Its name in the story and in QMP.
    pub name: String,
    /// QEMU's model: `virtio-net-pci`, `e1000e`.
    pub model: String,
    /// The NUMA node whose PCI expander it hangs on.
    pub node: Option<u32>,
    /// An earlier NIC on whose network it hangs, by a hub. `None`: it has a network of its own.
    pub beside: Option<String>,
    /// A cable to a NIC of another machine, in place of a network with the host on it.
    pub cable: Option<Cable>,
}

/// One end of a cable between two machines. A frame that is sent while the other machine is off is lost, as on a real cable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cable {
    /// The folder of the sockets that stand for its ends: with a short path, and outside of both machines.
    pub folder: PathBuf,
    /// 0 or 1.
    pub end: u8,
}

/// DMI strings that profiles match on. Empty ones are QEMU's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dmi {
    /// The maker of the machine.
    pub manufacturer: String,
    pub product: String,
    pub board: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// OVMF, then whatever the disk `system.raw` holds (GPT, ESP, systemd-boot).
    Disk { secure: bool },
    /// OVMF, then what the disks of the shape hold.
    OwnDisks,
    /// A kernel and its initrd without firmware menus: SeaBIOS loads them by fw_cfg.
    Kernel {
        kernel: PathBuf,
        initrd: PathBuf,
        command_line: String,
    },
    /// OVMF loads this UKI itself, as a net boot would.
    Uki(PathBuf),
}

/// How QEMU runs the guest's CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// By the host's CPU.
    Kvm,
    /// `thread=multi`; `single` is the fallback when multi-threaded emulation breaks a boot twice.
    Tcg {
        /// One thread for all CPUs.
        single: bool,
    },
}

/// Where this run keeps its things, and which ports it got. QEMU's working directory has disks, `vars.fd` and `serial.log`: arguments name
/// files in it without a path.
#[derive(Debug, Clone)]
pub struct Setting<'a> {
    /// The folder for QEMU's sockets: outside the working directory, since the path of a socket must be short.
    pub sockets: &'a Path,
    pub firmware: &'a Path,
    pub accel: Accel,
    pub boot: &'a Boot,
    /// For each NIC, in order: what it forwards.
    pub forwards: &'a [Vec<Forward>],
}

impl Nic {
    /// What the guest calls the `index`th NIC of a shape that hangs on no expander: it is named after its PCI slot.
    pub fn guest_name(index: usize) -> String {
        format!("enp0s{}", NIC_SLOT_FIRST + index)
    }

    /// Its address on the wire; the two ends of a cable have different ones.
    pub fn mac(&self, index: usize) -> String {
        let wire = self.cable.as_ref().map_or(0x50, |cable| 0x51 + cable.end);
        format!("52:54:00:52:{wire:02x}:{:02x}", index + 1)
    }

    /// A virtio card on a network of its own.
    pub fn virtio(name: &str) -> Nic {
        Nic {
            name: name.into(),
            model: "virtio-net-pci".into(),
            node: None,
            beside: None,
            cable: None,
        }
    }

    /// One end of a cable to another machine.
    pub fn at_cable(name: &str, folder: &Path, end: u8) -> Nic {
        let folder = folder.to_owned();
        Nic {
            cable: Some(Cable { folder, end }),
            ..Nic::virtio(name)
        }
    }

    /// On the same network as `other`.
    pub fn beside(name: &str, other: &str) -> Nic {
        Nic {
            beside: Some(other.into()),
            ..Nic::virtio(name)
        }
    }
}

/// PCI slots of NICs are given, so that their names in the guest are known; QEMU gives other devices slots from below.
const NIC_SLOT_FIRST: usize = 16;

impl Default for Shape {
    /// Two cores, 1.5 GiB, two NVMe legs, one NIC: what `qemu-small` describes.
    fn default() -> Shape {
        Shape {
            cpus: 2,
            sockets: 1,
            memory_mib: 1_536,
            nodes: 0,
            disks: vec![
                Disk::new("leg-a", Bus::Nvme, 1 << 30),
                Disk::new("leg-b", Bus::Nvme, 1 << 30),
            ],
            nics: vec![Nic::virtio("lan0")],
            dmi: Dmi::default(),
            watchdog: false,
            tpm: false,
            credentials: Vec::new(),
            clock: None,
            settings: String::new(),
            stick: None,
            away: Vec::new(),
            profile: None,
        }
    }
}

impl Shape {
    /// The disk of this name.
    pub fn disk(&self, name: &str) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.name == name)
    }
}
