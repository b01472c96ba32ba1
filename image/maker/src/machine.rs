//! The virtual machine of `cargo xtask boot`: QEMU's arguments, and whether KVM can be trusted here.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::limits::KVM_PROBE_SECONDS;

/// Firmware variables of a machine that never ran.
pub const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// The firmware's code.
const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// The firmware's code that verifies signatures.
const OVMF_CODE_SECURE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
pub const QEMU: &str = "qemu-system-x86_64";

/// How the guest's CPUs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// By the host's CPU.
    Kvm,
    /// Software emulation, several threads.
    Tcg,
}

impl Accelerator {
    /// KVM only where a real kernel says its first word under it: the device node alone promises nothing.
    pub fn probe(linux: &Path) -> Accelerator {
        if !Path::new("/dev/kvm").exists() {
            return Accelerator::Tcg;
        }
        let child = Command::new(QEMU)
            .args([
                "-accel", "kvm", "-machine", "q35", "-cpu", "host", "-m", "256",
            ])
            .args([
                "-nodefaults",
                "-display",
                "none",
                "-serial",
                "stdio",
                "-no-reboot",
            ])
            .arg("-kernel")
            .arg(linux)
            .args(["-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            return Accelerator::Tcg;
        };
        let mut serial = child.stdout.take().expect("stdout was asked for");
        let (say, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text: Vec<u8> = Vec::new();
            let mut piece = [0; 512];
            while let Ok(count) = serial.read(&mut piece) {
                if count == 0 {
                    break;
                }
                text.extend(&piece[..count]);
                if text.windows(13).any(|word| word == b"Linux version") {
                    let _ = say.send(());
                    break;
                }
            }
        });
        let works = heard
            .recv_timeout(Duration::from_secs(KVM_PROBE_SECONDS))
            .is_ok();
        let _ = child.kill();
        let _ = child.wait();
        if works {
            Accelerator::Kvm
        } else {
            Accelerator::Tcg
        }
    }

    /// QEMU's arguments for it.
    fn arguments(self) -> [&'static str; 4] {
        match self {
            Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Accelerator::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// A guest with one system disk, two legs and one network card behind forwarded ports.
pub struct Guest<'a> {
    /// How its CPUs are run.
    pub accelerator: Accelerator,
    pub cpus: u32,
    pub memory_mib: u64,
    pub system: &'a Path,
    /// The disks for mail.
    pub legs: [&'a Path; 2],
    /// Firmware variables, writable.
    pub vars: &'a Path,
    /// With firmware that verifies signatures.
    pub secure: bool,
    /// `ringpost.toml`, handed over as a credential.
    pub settings: &'a str,
    /// Port here, port there.
    pub forwards: &'a [(u16, u16)],
    /// The control socket of a swtpm that runs.
    pub tpm: Option<PathBuf>,
}

impl Guest<'_> {
    /// QEMU with the serial port and its own monitor on this terminal (Ctrl-A C changes, Ctrl-A X ends).
    pub fn command(&self) -> Command {
        let mut command = Command::new(QEMU);
        let machine = if self.secure { "q35,smm=on" } else { "q35" };
        command
            .args(["-machine", machine])
            .args(self.accelerator.arguments())
            .args(["-smp", &self.cpus.to_string()])
            .args(["-m", &self.memory_mib.to_string()])
            .args(["-nodefaults", "-display", "none", "-serial", "mon:stdio"])
            .args(["-device", "virtio-rng-pci"])
            .args(["-device", "i6300esb", "-action", "watchdog=reset"]);
        let code = if self.secure {
            command.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
            OVMF_CODE_SECURE
        } else {
            OVMF_CODE
        };
        command.arg("-drive");
        command.arg(format!(
            "if=pflash,format=raw,unit=0,readonly=on,file={code}"
        ));
        command.arg("-drive");
        command.arg(format!(
            "if=pflash,format=raw,unit=1,file={}",
            plain(self.vars)
        ));
        let disks = [
            ("system", self.system),
            ("leg-a", self.legs[0]),
            ("leg-b", self.legs[1]),
        ];
        for (name, path) in disks {
            command.arg("-drive");
            command.arg(format!(
                "if=none,id={name},format=raw,discard=unmap,file={}",
                plain(path)
            ));
            command.arg("-device");
            command.arg(format!("nvme,drive={name},serial={name}"));
        }
        let forwards: String = self
            .forwards
            .iter()
            .map(|(here, there)| format!(",hostfwd=tcp:127.0.0.1:{here}-:{there}"))
            .collect();
        command.arg("-netdev").arg(format!("user,id=net{forwards}"));
        command.args(["-device", "virtio-net-pci,netdev=net"]);
        command.arg("-smbios").arg(format!(
            "type=11,value=io.systemd.credential.binary:ringpost.config={}",
            base64(self.settings.as_bytes())
        ));
        if let Some(socket) = &self.tpm {
            command.arg("-chardev");
            command.arg(format!("socket,id=tpm,path={}", plain(socket)));
            command.args(["-tpmdev", "emulator,id=tpm,chardev=tpm"]);
            command.args(["-device", "tpm-crb,tpmdev=tpm"]);
        }
        command
    }
}

/// A path inside a QEMU option: a comma is written twice.
fn plain(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// RFC 4648 §4, with padding.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (index, byte)| {
            word | u32::from(*byte) << (16 - 8 * index)
        });
        for place in 0..4 {
            if place <= chunk.len() {
                text.push(ALPHABET[(word >> (18 - 6 * place) & 63) as usize] as char);
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// A software TPM beside the guest; ends when dropped.
pub struct Tpm {
    /// `swtpm`.
    child: std::process::Child,
    /// The socket that QEMU connects to.
    pub socket: PathBuf,
}

impl Tpm {
    /// `folder` keeps what the TPM remembers.
    pub fn start(folder: &Path) -> Result<Tpm, String> {
        crate::places::make(folder)?;
        let socket = folder.join("socket");
        let _ = std::fs::remove_file(&socket);
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--terminate", "--tpmstate"])
            .arg(format!("dir={}", folder.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()))
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start swtpm: {error}; `apt-get install swtpm`"))?;
        let tpm = Tpm { child, socket };
        let give_up = Instant::now() + Duration::from_secs(5);
        while !tpm.socket.exists() {
            if Instant::now() > give_up {
                return Err("swtpm opens no socket: does it run by itself?".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(tpm)
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
