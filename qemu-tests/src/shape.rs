//! What a machine has, as data, and how QEMU is told so.
//!
//! `Shape::arguments` is pure: the same shape gives the same argument list, so that shapes are tested without QEMU. Every
//! disk is a node of QEMU's block graph by its own name (`leg-a`) and a device of the same name, so that QMP speaks of
//! both by what the story calls them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::ports::Forward;

/// A machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub cpus: u32,
    pub sockets: u32,
    pub memory_mib: u32,
    /// NUMA nodes: CPUs and memory are split evenly. 0 means none.
    pub nodes: u32,
    pub disks: Vec<Disk>,
    pub nics: Vec<Nic>,
    pub dmi: Dmi,
    /// An i6300esb that resets the machine.
    pub watchdog: bool,
    /// A TPM 2.0 by swtpm.
    pub tpm: bool,
    /// systemd credentials.
    pub credentials: Vec<Credential>,
    /// The guest's clock at power-on, `2001-01-01T00:00:00`; the host's when `None`.
    pub clock: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// Behind a root port of its own, so that it can be pulled and put back.
    Nvme,
    Virtio,
    Sata,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    /// Node, device and serial number: `leg-a` becomes `/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_leg-a`.
    pub name: String,
    pub bus: Bus,
    pub bytes: u64,
    /// The NUMA node whose PCI expander it hangs on.
    pub node: Option<u32>,
    /// Injected from power-on; `Guest::inject` adds later ones.
    pub faults: Vec<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    Read,
    Write,
    Flush,
}

/// A blkdebug rule: this kind of request fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub on: Io,
    pub errno: i32,
    /// Only requests that touch this sector of 512 bytes; all when `None`.
    pub sector: Option<u64>,
    /// Only the first such request.
    pub once: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    pub name: String,
    /// QEMU's model: `virtio-net-pci`, `e1000e`.
    pub model: String,
    /// The NUMA node whose PCI expander it hangs on.
    pub node: Option<u32>,
}

/// DMI strings that profiles match on. Empty ones are QEMU's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dmi {
    pub manufacturer: String,
    pub product: String,
    pub board: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub name: String,
    pub text: String,
    pub by: By,
}

/// How a credential reaches systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// SMBIOS type 11.
    Smbios,
    FwCfg,
}

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// OVMF, then whatever the disk `system.raw` holds (GPT, ESP, systemd-boot).
    Disk { secure: bool },
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
    Kvm,
    /// `thread=multi`; `single` is the fallback when multi-threaded emulation breaks a boot twice.
    Tcg {
        single: bool,
    },
}

/// Where this run keeps its things, and which ports it got.
#[derive(Debug, Clone)]
pub struct Setting<'a> {
    /// QEMU's working directory: disks, `vars.fd`, `serial.log`. Arguments name files in it without a path.
    pub sockets: &'a Path,
    pub firmware: &'a Path,
    pub accel: Accel,
    pub boot: &'a Boot,
    /// For each NIC, in order: what it forwards.
    pub forwards: &'a [Vec<Forward>],
}

impl Disk {
    pub fn new(name: &str, bus: Bus, bytes: u64) -> Disk {
        Disk {
            name: name.into(),
            bus,
            bytes,
            node: None,
            faults: Vec::new(),
        }
    }

    /// Where the disk's bytes are, in the run's directory.
    pub fn file(&self) -> String {
        format!("{}.raw", self.name)
    }

    /// The name under which udev shows it.
    pub fn by_id(&self) -> String {
        let prefix = match self.bus {
            Bus::Nvme => "nvme-QEMU_NVMe_Ctrl",
            Bus::Virtio => "virtio",
            Bus::Sata => "ata-QEMU_HARDDISK",
        };
        let between = if self.bus == Bus::Virtio { '-' } else { '_' };
        format!("/dev/disk/by-id/{prefix}{between}{}", self.name)
    }

    /// The device as `device_add` and `-device` want it.
    pub fn device(&self) -> Value {
        let name = &self.name;
        match self.bus {
            Bus::Nvme => {
                json!({"driver": "nvme", "id": name, "serial": name, "drive": name, "bus": port_of(name)})
            }
            Bus::Virtio => {
                json!({"driver": "virtio-blk-pci", "id": name, "serial": name, "drive": name, "bus": port_of(name)})
            }
            Bus::Sata => {
                json!({"driver": "ide-hd", "id": name, "serial": name, "drive": name, "bus": format!("sata-{name}.0")})
            }
        }
    }
}

fn port_of(name: &str) -> String {
    format!("port-{name}")
}

impl Fault {
    pub fn always(on: Io) -> Fault {
        Fault {
            on,
            errno: EIO,
            sector: None,
            once: false,
        }
    }

    fn rule(&self) -> Value {
        let kind = match self.on {
            Io::Read => "read",
            Io::Write => "write",
            Io::Flush => "flush",
        };
        let mut rule =
            json!({"event": "none", "iotype": kind, "errno": self.errno, "once": self.once});
        if let Some(sector) = self.sector {
            rule["sector"] = json!(sector);
        }
        rule
    }
}

/// The errno that disks give for a sector that cannot be read or written.
pub const EIO: i32 = 5;

/// A blkdebug node named `node` over the node `below`.
pub fn blkdebug(node: &str, below: &str, faults: &[Fault]) -> Value {
    let rules: Vec<Value> = faults.iter().map(Fault::rule).collect();
    json!({"driver": "blkdebug", "node-name": node, "image": below, "inject-error": rules})
}

impl Nic {
    pub fn virtio(name: &str) -> Nic {
        Nic {
            name: name.into(),
            model: "virtio-net-pci".into(),
            node: None,
        }
    }
}

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
        }
    }
}

impl Shape {
    pub fn disk(&self, name: &str) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.name == name)
    }

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
        self.network(setting.forwards, &mut line);
        self.identity(&mut line);
        if self.watchdog {
            line.pair("-device", "i6300esb");
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
                format!("memory-backend-ram,id=node-memory-{node},size={memory}M"),
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

    fn network(&self, forwards: &[Vec<Forward>], line: &mut Line) {
        for (index, nic) in self.nics.iter().enumerate() {
            // Each NIC has its own little network: the address tells which one a connection came in by.
            let mut netdev = format!(
                "user,id=net-{},net=10.0.{}.0/24",
                nic.name,
                NET_FIRST + index
            );
            for forward in forwards.get(index).into_iter().flatten() {
                netdev.push_str(&format!(
                    ",hostfwd=tcp:127.0.0.1:{}-:{}",
                    forward.host, forward.guest
                ));
            }
            line.pair("-netdev", netdev);
            let bus = match nic.node {
                Some(node) => {
                    let port = port_of(&nic.name);
                    line.pair(
                        "-device",
                        format!(
                            "pcie-root-port,id={port},bus=expander-{node},chassis={},slot=0",
                            100 + index
                        ),
                    );
                    format!(",bus={port}")
                }
                None => String::new(),
            };
            line.pair(
                "-device",
                format!(
                    "{},id={},netdev=net-{},mac=52:54:00:52:50:{:02x}{bus}",
                    nic.model,
                    nic.name,
                    nic.name,
                    index + 1
                ),
            );
        }
    }

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

/// User networks are 10.0.2.0/24 (QEMU's own choice), 10.0.3.0/24, …
const NET_FIRST: usize = 2;

impl Credential {
    pub fn new(name: &str, text: impl Into<String>, by: By) -> Credential {
        Credential {
            name: name.into(),
            text: text.into(),
            by,
        }
    }

    /// The file in the run's directory that holds the text.
    pub fn file(&self) -> String {
        format!("{}.credential", self.name)
    }

    /// The file that holds the whole SMBIOS string.
    pub fn smbios_file(&self) -> String {
        format!("{}.smbios", self.name)
    }

    /// What systemd looks for in SMBIOS type 11; binary, because a string there has no line ends.
    pub fn smbios_string(&self) -> String {
        format!(
            "io.systemd.credential.binary:{}={}",
            self.name,
            base64(self.text.as_bytes())
        )
    }
}

fn firmware(setting: &Setting<'_>, line: &mut Line) {
    let secure = match setting.boot {
        Boot::Disk { secure } => *secure,
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
            line.pair("-append", command_line);
            return;
        }
    };
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

fn attach(index: usize, disk: &Disk, line: &mut Line) {
    let name = &disk.name;
    let below = if disk.faults.is_empty() {
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
    match disk.bus {
        Bus::Sata => line.pair("-device", format!("ich9-ahci,id=sata-{name}")),
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
    line.pair("-device", disk.device().to_string());
}

fn system_disk(line: &mut Line) {
    line.pair("-blockdev", file_node("system", "system.raw").to_string());
    line.pair(
        "-device",
        "virtio-blk-pci,id=system,serial=system,drive=system,bootindex=1",
    );
}

fn file_node(node: &str, file: &str) -> Value {
    json!({"driver": "raw", "node-name": node, "discard": "unmap",
        "file": {"driver": "file", "filename": file, "discard": "unmap"}})
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

/// RFC 4648 §4.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().enumerate().fold(0u32, |word, (at, byte)| {
            word | u32::from(*byte) << (16 - 8 * at)
        });
        for digit in 0..4 {
            if digit <= group.len() {
                text.push(char::from(DIGITS[(word >> (18 - 6 * digit)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(shape: &Shape, boot: &Boot) -> String {
        let forwards = [vec![Forward {
            guest: 25,
            host: 12_025,
        }]];
        let setting = Setting {
            sockets: Path::new("/s"),
            firmware: Path::new("/fw,1/CODE.fd"),
            accel: Accel::Tcg { single: false },
            boot,
            forwards: &forwards,
        };
        shape.arguments(&setting).join(" ")
    }

    #[test]
    fn the_small_shape_boots_its_disk_and_forwards_its_ports() {
        let line = arguments(&Shape::default(), &Boot::Disk { secure: false });
        for part in [
            "-accel tcg,thread=multi -cpu max",
            "-smp 2,sockets=1,cores=2,threads=1",
            "-m 1536M",
            "if=pflash,unit=0,format=raw,readonly=on,file=/fw,,1/CODE.fd",
            "hostfwd=tcp:127.0.0.1:12025-:25",
            "pcie-root-port,id=port-leg-a,bus=pcie.0,chassis=1,slot=1",
            "virtio-blk-pci,id=system,serial=system,drive=system,bootindex=1",
            "socket,id=serial-line,path=/s/serial,server=on,wait=on,logfile=serial.log",
        ] {
            assert!(line.contains(part), "{part} is missing in {line}");
        }
        assert!(!line.contains("smm=on") && !line.contains("numa") && !line.contains("tpm"));
    }

    #[test]
    fn a_kernel_boots_without_firmware_and_without_a_system_disk() {
        let boot = Boot::Kernel {
            kernel: "k".into(),
            initrd: "i".into(),
            command_line: "console=ttyS0 quiet".into(),
        };
        let line = arguments(&Shape::default(), &boot);
        assert!(line.contains("-kernel k -initrd i -append console=ttyS0 quiet"));
        assert!(!line.contains("pflash") && !line.contains("system.raw"));
    }

    #[test]
    fn nodes_split_cpus_and_memory_and_carry_their_disks() {
        let mut shape = Shape {
            cpus: 8,
            sockets: 2,
            memory_mib: 2_048,
            nodes: 2,
            ..Shape::default()
        };
        shape.disks[1].node = Some(1);
        let line = arguments(&shape, &Boot::Disk { secure: true });
        for part in [
            "-machine q35,smm=on",
            "-numa node,nodeid=1,cpus=4-7,memdev=node-memory-1",
            "memory-backend-ram,id=node-memory-0,size=1024M",
            "pxb-pcie,id=expander-1,bus=pcie.0,bus_nr=96,numa_node=1",
            "pcie-root-port,id=port-leg-b,bus=expander-1,",
            "driver=cfi.pflash01,property=secure,value=on",
        ] {
            assert!(line.contains(part), "{part} is missing in {line}");
        }
        assert!(
            !line.contains("expander-0"),
            "nothing hangs on node 0's expander"
        );
    }

    #[test]
    fn faults_stand_between_the_device_and_its_bytes() {
        let mut shape = Shape::default();
        shape.disks[0].faults = vec![Fault {
            sector: Some(8),
            once: true,
            ..Fault::always(Io::Read)
        }];
        let line = arguments(&shape, &Boot::Disk { secure: false });
        assert!(line.contains(r#""node-name":"leg-a-whole""#));
        assert!(line.contains(r#""image":"leg-a-whole""#));
        assert!(
            line.contains(r#""iotype":"read""#)
                && line.contains(r#""sector":8"#)
                && line.contains(r#""once":true"#)
        );
    }

    #[test]
    fn each_nic_has_its_own_network() {
        let shape = Shape {
            nics: vec![Nic::virtio("lan0"), Nic::virtio("lan1")],
            ..Shape::default()
        };
        let line = arguments(&shape, &Boot::Disk { secure: false });
        assert!(line.contains("user,id=net-lan0,net=10.0.2.0/24,hostfwd="));
        assert!(line.contains("user,id=net-lan1,net=10.0.3.0/24 "));
        assert!(line.contains("mac=52:54:00:52:50:02"));
    }

    #[test]
    fn identity_doubles_commas_and_credentials_are_files() {
        let shape = Shape {
            dmi: Dmi {
                manufacturer: "Acme, Inc.".into(),
                product: "Post 1".into(),
                board: String::new(),
            },
            credentials: vec![
                Credential::new("ringpost.config", "a = 1\n", By::Smbios),
                Credential::new("ringpost.token", "x", By::FwCfg),
            ],
            watchdog: true,
            tpm: true,
            clock: Some("2001-01-01T00:00:00".into()),
            ..Shape::default()
        };
        let line = arguments(&shape, &Boot::Disk { secure: false });
        for part in [
            "type=1,manufacturer=Acme,, Inc.,product=Post 1",
            "type=11,path=ringpost.config.smbios",
            "name=opt/io.systemd.credentials/ringpost.token,file=ringpost.token.credential",
            "-device i6300esb -action watchdog=reset",
            "tpm-crb,tpmdev=tpm",
            "base=2001-01-01T00:00:00,clock=host",
        ] {
            assert!(line.contains(part), "{part} is missing in {line}");
        }
        assert_eq!(
            shape.credentials[0].smbios_string(),
            "io.systemd.credential.binary:ringpost.config=YSA9IDEK"
        );
    }

    #[test]
    fn base64_pads_as_the_rfc_shows() {
        // RFC 4648 §10
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn disks_are_called_as_udev_calls_them() {
        assert_eq!(
            Disk::new("leg-a", Bus::Nvme, 1).by_id(),
            "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_leg-a"
        );
        assert_eq!(
            Disk::new("leg-a", Bus::Virtio, 1).by_id(),
            "/dev/disk/by-id/virtio-leg-a"
        );
        assert_eq!(
            Disk::new("leg-a", Bus::Sata, 1).by_id(),
            "/dev/disk/by-id/ata-QEMU_HARDDISK_leg-a"
        );
    }
}
