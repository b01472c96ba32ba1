//! Whether KVM really works here: the kernel of the image is started with it and must come to its own end.
//!
//! `/dev/kvm` that opens proves nothing, and neither does firmware that speaks: on some machines SeaBIOS runs to its last
//! word under KVM and a Linux kernel then stands still for ever, burning a whole core. So a kernel is what is tried.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::channel;

use crate::limits::KVM_PROBE;
use crate::shape::Accel;

/// What to use for guests with this kernel. `RINGPOST_QEMU_ACCEL` (`kvm`, `tcg`, `tcg-single`) overrides.
pub fn best(kernel: &Path) -> Accel {
    let wanted = std::env::var("RINGPOST_QEMU_ACCEL").unwrap_or_default();
    let (accel, why) = match wanted.as_str() {
        "kvm" => (Accel::Kvm, "asked for"),
        "tcg" => (Accel::Tcg { single: false }, "asked for"),
        "tcg-single" => (Accel::Tcg { single: true }, "asked for"),
        _ if !Path::new("/dev/kvm").exists() => {
            (Accel::Tcg { single: false }, "there is no /dev/kvm")
        }
        _ if kvm_boots(kernel) => (Accel::Kvm, "a kernel boots with it"),
        _ => (
            Accel::Tcg { single: false },
            "/dev/kvm is there, but a kernel does not boot with it",
        ),
    };
    eprintln!("accelerator: {accel:?} ({why})");
    accel
}

/// Boots the kernel under KVM with nothing to mount. It must get as far as saying so.
fn kvm_boots(kernel: &Path) -> bool {
    let child = crate::bound::command(crate::guest::QEMU)
        .args(["-machine", "q35", "-accel", "kvm", "-cpu", "host"])
        .args(["-smp", "2", "-m", "512M"])
        .args(["-nodefaults", "-display", "none", "-no-reboot"])
        .args(["-serial", "stdio", "-append", "console=ttyS0 panic=-1"])
        .arg("-kernel")
        .arg(kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let mut words = child.stdout.take().expect("stdout was asked for");
    let (spoke, heard) = channel();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        // until it has said its last word, or QEMU is gone
        while let Ok(count @ 1..) = words.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
            if crate::serial::contains(&all, LAST_WORD.as_bytes()) {
                let _ = spoke.send(());
                return;
            }
        }
    });
    let boots = heard.recv_timeout(KVM_PROBE).is_ok();
    let _ = child.kill();
    let _ = child.wait();
    let _ = reader.join();
    boots
}

/// Every CPU is up, every built-in driver has run, and there is no root file system.
const LAST_WORD: &str = "Unable to mount root fs";
