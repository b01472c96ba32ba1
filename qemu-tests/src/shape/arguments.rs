//! The argument list of QEMU.

use crate::ports::Forward;
use crate::shape::disk::{file_node, log_node, port_of};
use crate::shape::{Accel, Boot, Bus, By, Cable, Disk, NIC_SLOT_FIRST, Setting, Shape, blkdebug};

impl Shape {
    /// Everything after `qemu-system-x86_64`.
    pub fn arguments(&self, setting: &Setting<'_>) -> Vec<String> {
        let mut line = Line::default();
        self.machine(setting, &mut line);
        firmware(setting, &mut line);
        channels(setting, &mut line);
        self.expanders(&mut line);
        for (index, disk) in self.disks.iter().enumerate() {
            attach(index, disk, &mut line);
        }
        if matches!(setting.boot, Boot::Disk { .. }) {
            system_disk(&mut line);
        }
        if self.stick.is_some() {
            // A directory of the host, as a disk with a FAT file system.
            line.pair(
                "-blockdev",
                format!(
                    r#"{{"driver":"vvfat","node-name":"stick","dir":"{STICK}","fat-type":16,"label":"RINGPOST","read-only":true}}"#
                ),
            );
            line.pair(
                "-device",
                "virtio-blk-pci,id=stick,serial=stick,drive=stick,bus=pcie.0",
            );
        }
        self.network(setting.forwards, &mut line);
        self.identity(&mut line);
        if self.watchdog {
            line.pair("-device", "i6300esb,bus=pcie.0");
            line.pair("-action", "watchdog=reset");
        }
        if self.tpm {
            let socket = setting.sockets.join("tpm");
            line.pair(
                "-chardev",
                format!(
                    "socket,id=tpm-line,path={}",
                    comma(&socket.to_string_lossy())
                ),
            );
            line.pair("-tpmdev", "emulator,id=tpm,chardev=tpm-line");
            line.pair("-device", "tpm-crb,tpmdev=tpm");
        }
        line.0
    }

    /// The board, its CPUs and memory.
    fn machine(&self, setting: &Setting<'_>, line: &mut Line) {
        let secure = matches!(setting.boot, Boot::Disk { secure: true });
        line.pair("-machine", if secure { "q35,smm=on" } else { "q35" });
        match setting.accel {
            Accel::Kvm => {
                line.pair("-accel", "kvm");
                line.pair("-cpu", "host");
            }
            Accel::Tcg { single } => {
                line.pair(
                    "-accel",
                    if single {
                        "tcg,thread=single"
                    } else {
                        "tcg,thread=multi"
                    },
                );
                line.pair("-cpu", "max");
            }
        }
        line.word("-nodefaults");
        line.pair("-display", "none");
        let cores = self.cpus / self.sockets.max(1);
        line.pair(
            "-smp",
            format!(
                "{},sockets={},cores={cores},threads=1",
                self.cpus, self.sockets
            ),
        );
        line.pair("-m", format!("{}M", self.memory_mib));
        for node in 0..self.nodes {
            let memory = self.memory_mib / self.nodes;
            let cpus = self.cpus / self.nodes;
            let (first, last) = (node * cpus, (node + 1) * cpus - 1);
            line.pair(
                "-object",
                // Not reserved: a machine may have more than the host as long as it does not use it.
                format!("memory-backend-ram,id=node-memory-{node},size={memory}M,reserve=off"),
            );
            line.pair(
                "-numa",
                format!("node,nodeid={node},cpus={first}-{last},memdev=node-memory-{node}"),
            );
        }
        let base = self.clock.as_deref().unwrap_or("utc");
        line.pair("-rtc", format!("base={base},clock=host"));
        line.pair("-device", "virtio-rng-pci");
    }

    /// A PCI expander for every NUMA node that a device names.
    fn expanders(&self, line: &mut Line) {
        for node in 0..self.nodes {
            let wanted = self.disks.iter().any(|disk| disk.node == Some(node))
                || self.nics.iter().any(|nic| nic.node == Some(node));
            if wanted {
                line.pair(
                    "-device",
                    format!(
                        "pxb-pcie,id=expander-{node},bus=pcie.0,bus_nr={},numa_node={node}",
                        64 + 32 * node
                    ),
                );
            }
        }
    }

    /// The network cards, each with its user network or hub.
    fn network(&self, forwards: &[Vec<Forward>], line: &mut Line) {
        for (index, nic) in self.nics.iter().enumerate() {
            let is_shared = |name: &str| {
                self.nics
                    .iter()
                    .any(|nic| nic.beside.as_deref() == Some(name))
            };
            let mut end = format!("net-{}", nic.name);
            if let Some(cable) = &nic.cable {
                line.pair("-netdev", cable_end(&end, cable));
            } else if nic.beside.is_none() {
                let forwards = forwards.get(index).map_or(&[][..], Vec::as_slice);
                user_network(index, &end, forwards, line);
            }
            let first = nic.beside.as_deref().unwrap_or(&nic.name);
            if is_shared(first) {
                let hub = self
                    .nics
                    .iter()
                    .position(|nic| nic.name == first)
                    .unwrap_or(index);
                if nic.beside.is_none() {
                    line.pair(
                        "-netdev",
                        format!("hubport,id=up-{},hubid={hub},netdev={end}", nic.name),
                    );
                }
                end = format!("hub-{}", nic.name);
                line.pair("-netdev", format!("hubport,id={end},hubid={hub}"));
            }
            let place = match nic.node {
                Some(node) => {
                    let port = port_of(&nic.name);
                    line.pair(
                        "-device",
                        format!(
                            "pcie-root-port,id={port},bus=expander-{node},chassis={},slot=0",
                            100 + index
                        ),
                    );
                    format!("bus={port}")
                }
                None => format!("bus=pcie.0,addr={:#x}", NIC_SLOT_FIRST + index),
            };
            line.pair(
                "-device",
                format!(
                    "{},id={},netdev={end},mac={},{place}",
                    nic.model,
                    nic.name,
                    nic.mac(index)
                ),
            );
        }
    }

    /// What the machine says of itself: DMI strings and credentials.
    fn identity(&self, line: &mut Line) {
        let dmi = &self.dmi;
        if !dmi.manufacturer.is_empty() || !dmi.product.is_empty() {
            line.pair(
                "-smbios",
                format!(
                    "type=1,manufacturer={},product={}",
                    comma(&dmi.manufacturer),
                    comma(&dmi.product)
                ),
            );
        }
        if !dmi.board.is_empty() {
            line.pair(
                "-smbios",
                format!(
                    "type=2,manufacturer={},product={}",
                    comma(&dmi.manufacturer),
                    comma(&dmi.board)
                ),
            );
        }
        for credential in &self.credentials {
            match credential.by {
                By::Smbios => line.pair(
                    "-smbios",
                    format!("type=11,path={}", credential.smbios_file()),
                ),
                By::FwCfg => line.pair(
                    "-fw_cfg",
                    format!(
                        "name=opt/io.systemd.credentials/{},file={}",
                        credential.name,
                        credential.file()
                    ),
                ),
            }
        }
    }
}

/// Each NIC without a neighbour has its own little network: the address tells which one a connection came in by.
fn user_network(index: usize, id: &str, forwards: &[Forward], line: &mut Line) {
    let mut netdev = format!("user,id={id},net=10.0.{}.0/24", NET_FIRST + index);
    for forward in forwards {
        netdev.push_str(&format!(
            ",hostfwd=tcp:127.0.0.1:{}-:{}",
            forward.host, forward.guest
        ));
    }
    line.pair("-netdev", netdev);
}

/// Frames as datagrams between two sockets: neither end waits for the other one to be there.
fn cable_end(id: &str, cable: &Cable) -> String {
    let socket = |end: u8| comma(&cable.folder.join(end.to_string()).to_string_lossy());
    format!(
        "dgram,id={id},local.type=unix,local.path={},remote.type=unix,remote.path={}",
        socket(cable.end),
        socket(1 - cable.end)
    )
}

/// User networks are 10.0.2.0/24 (QEMU's own choice), 10.0.3.0/24, …
const NET_FIRST: usize = 2;

/// For the guest's kernel. It counts ten ticks of the timer early on and stops for good when a starved emulator is late with
/// them ("8254 timer not connected to IO-APIC"); real machines are not late, and under KVM Linux leaves the count out by itself.
const EMULATOR_WORDS: &str = "no_timer_check";

/// The firmware, or what it would load.
fn firmware(setting: &Setting<'_>, line: &mut Line) {
    let secure = match setting.boot {
        Boot::Disk { secure } => *secure,
        Boot::OwnDisks => false,
        Boot::Uki(uki) => {
            line.pair("-kernel", uki.to_string_lossy());
            false
        }
        Boot::Kernel {
            kernel,
            initrd,
            command_line,
        } => {
            line.pair("-kernel", kernel.to_string_lossy());
            line.pair("-initrd", initrd.to_string_lossy());
            line.pair("-append", format!("{command_line} {EMULATOR_WORDS}"));
            return;
        }
    };
    if !secure {
        // With Secure Boot systemd-stub takes no word from outside.
        line.pair(
            "-smbios",
            format!("type=11,value=io.systemd.stub.kernel-cmdline-extra={EMULATOR_WORDS}"),
        );
    }
    if secure {
        line.pair("-global", "driver=cfi.pflash01,property=secure,value=on");
    }
    line.pair(
        "-drive",
        format!(
            "if=pflash,unit=0,format=raw,readonly=on,file={}",
            comma(&setting.firmware.to_string_lossy())
        ),
    );
    line.pair("-drive", "if=pflash,unit=1,format=raw,file=vars.fd");
}

/// The serial line (read by us, logged by QEMU, and waiting for us so that no byte is missed) and QMP.
fn channels(setting: &Setting<'_>, line: &mut Line) {
    let at = |name: &str| comma(&setting.sockets.join(name).to_string_lossy());
    line.pair(
        "-chardev",
        format!(
            "socket,id=serial-line,path={},server=on,wait=on,logfile=serial.log,logappend=on",
            at("serial")
        ),
    );
    line.pair("-serial", "chardev:serial-line");
    line.pair(
        "-chardev",
        format!("socket,id=qmp-line,path={},server=on,wait=off", at("qmp")),
    );
    line.pair("-mon", "chardev=qmp-line,mode=control");
}

/// A disk with its node in the block graph, behind faults and log where it has them.
fn attach(index: usize, disk: &Disk, line: &mut Line) {
    let name = &disk.name;
    let below = if disk.faults.is_empty() && !disk.logged {
        name.clone()
    } else {
        format!("{name}-whole")
    };
    line.pair("-blockdev", file_node(&below, &disk.file()).to_string());
    if !disk.faults.is_empty() {
        line.pair(
            "-blockdev",
            blkdebug(name, &below, &disk.faults).to_string(),
        );
    }
    if disk.logged {
        let log = format!("{name}-log");
        line.pair("-blockdev", file_node(&log, &disk.log_file()).to_string());
        line.pair("-blockdev", log_node(name, &below, &log).to_string());
    }
    match disk.bus {
        Bus::Sata => line.pair("-device", format!("ich9-ahci,id=sata-{name},bus=pcie.0")),
        Bus::Scsi => line.pair(
            "-device",
            format!("virtio-scsi-pci,id=scsi-{name},bus=pcie.0"),
        ),
        Bus::Nvme | Bus::Virtio => {
            let bus = disk
                .node
                .map_or("pcie.0".to_owned(), |node| format!("expander-{node}"));
            line.pair(
                "-device",
                format!(
                    "pcie-root-port,id={},bus={bus},chassis={},slot={}",
                    port_of(name),
                    index + 1,
                    index + 1
                ),
            );
        }
    }
    let mut device = disk.device();
    if let Some(start) = disk.start {
        device["bootindex"] = start.into();
    }
    line.pair("-device", device.to_string());
}

/// What is on the stick, in the run's directory.
pub const STICK: &str = "stick";

/// The disk that the image is on.
fn system_disk(line: &mut Line) {
    line.pair("-blockdev", file_node("system", "system.raw").to_string());
    line.pair(
        "-device",
        "virtio-blk-pci,id=system,serial=system,drive=system,bootindex=1,bus=pcie.0",
    );
}

/// An argument list in the making.
#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    fn word(&mut self, word: impl Into<String>) {
        self.0.push(word.into());
    }

    fn pair(&mut self, flag: &str, value: impl Into<String>) {
        self.word(flag);
        self.word(value);
    }
}

/// QEMU's option lists write a comma in a value twice.
fn comma(text: &str) -> String {
    text.replace(',', ",,")
}

#[cfg(test)]
mod tests;
