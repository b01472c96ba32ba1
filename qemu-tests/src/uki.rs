//! Takes a UKI apart: the kernel, initrd and command line that lie in it as PE sections, for boots without firmware.

use std::fs;
use std::path::{Path, PathBuf};

use image_maker::pe;

use crate::failure::{Doing, Failure, Told};
use crate::shape::Boot;

/// Writes kernel and initrd of `uki` into `directory` and says how to start them.
pub fn unpack(uki: &Path, directory: &Path) -> Told<Boot> {
    let image = fs::read(uki).doing(uki.display())?;
    let section = |name: &str| {
        pe::section(&image, name)
            .ok_or_else(|| Failure::new(format!("{}: there is no section {name}", uki.display())))
    };
    let write = |name: &str, bytes: &[u8]| -> Told<PathBuf> {
        let path = directory.join(name);
        fs::write(&path, bytes).doing(path.display())?;
        Ok(path)
    };
    let kernel = write("kernel", section(".linux")?)?;
    // Microcode comes first, as systemd-stub has it; QEMU's CPUs need none.
    let initrd = write("initrd", section(".initrd")?)?;
    let command_line = String::from_utf8_lossy(section(".cmdline")?);
    Ok(Boot::Kernel {
        kernel,
        initrd,
        command_line: command_line.trim_matches(['\0', '\n', ' ']).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uki_comes_apart_into_what_went_in() {
        let directory = tempfile::tempdir().expect("a directory");
        let uki = directory.path().join("x.efi");
        let bytes = pe::made(&[
            (".linux", b"kernel"),
            (".initrd", b"files"),
            (".cmdline", b"console=ttyS0\0"),
        ]);
        fs::write(&uki, &bytes).expect("written");
        let boot = unpack(&uki, directory.path()).expect("unpacked");
        let Boot::Kernel {
            kernel,
            initrd,
            command_line,
        } = boot
        else {
            panic!("another kind of boot");
        };
        assert_eq!(fs::read(kernel).expect("read"), b"kernel");
        assert_eq!(fs::read(initrd).expect("read"), b"files");
        assert_eq!(command_line, "console=ttyS0");
    }
}
