//! Takes a UKI apart: the kernel, initrd and command line that lie in it as PE sections, for boots without firmware.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure, Told};
use crate::shape::Boot;

/// Where a section lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    pub begin: usize,
    pub bytes: usize,
}

/// The sections of a PE image. `None` when it is none.
pub fn sections(image: &[u8]) -> Option<Vec<Section>> {
    let word =
        |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    let half =
        |at: usize| Some(u16::from_le_bytes(image.get(at..at + 2)?.try_into().ok()?) as usize);
    if image.get(..2)? != b"MZ" {
        return None;
    }
    let header = word(0x3c)?;
    if image.get(header..header.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let count = half(header + 6)?;
    let table = header + 24 + half(header + 20)?;
    (0..count)
        .map(|index| {
            let at = table + 40 * index;
            let name = image.get(at..at + 8)?;
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(8);
            // The virtual size is the real one; the raw size is padded to the file's alignment.
            let bytes = word(at + 8)?.min(word(at + 16)?);
            let begin = word(at + 20)?;
            image.get(begin..begin.checked_add(bytes)?)?;
            Some(Section {
                name: String::from_utf8_lossy(&name[..end]).into_owned(),
                begin,
                bytes,
            })
        })
        .collect()
}

/// Writes kernel and initrd of `uki` into `directory` and says how to start them.
pub fn unpack(uki: &Path, directory: &Path) -> Told<Boot> {
    let image = fs::read(uki).doing(uki.display())?;
    let sections = sections(&image)
        .ok_or_else(|| Failure::new(format!("{}: this is not an EFI program", uki.display())))?;
    let section = |name: &str| {
        sections
            .iter()
            .find(|section| section.name == name)
            .map(|section| &image[section.begin..section.begin + section.bytes])
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

    /// A PE image with these sections, laid out by hand.
    fn image(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut image = vec![0; 0x40];
        image[..2].copy_from_slice(b"MZ");
        image[0x3c] = 0x40;
        image.extend(b"PE\0\0");
        image.extend([0; 2]);
        image.extend((parts.len() as u16).to_le_bytes());
        image.extend([0; 16]);
        let mut at = image.len() + 40 * parts.len();
        for (name, bytes) in parts {
            let mut entry = [0; 40];
            entry[..name.len()].copy_from_slice(name.as_bytes());
            entry[8..12].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
            entry[16..20].copy_from_slice(&(bytes.len() as u32 + 3).to_le_bytes());
            entry[20..24].copy_from_slice(&(at as u32).to_le_bytes());
            at += bytes.len() + 3;
            image.extend(entry);
        }
        for (_, bytes) in parts {
            image.extend(*bytes);
            image.extend([0; 3]);
        }
        image
    }

    #[test]
    fn a_uki_comes_apart_into_what_went_in() {
        let directory = tempfile::tempdir().expect("a directory");
        let uki = directory.path().join("x.efi");
        let bytes = image(&[
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

    #[test]
    fn what_is_cut_off_or_no_pe_is_none() {
        let whole = image(&[(".linux", b"kernel")]);
        assert!(sections(&whole).is_some());
        for length in 0..whole.len() - 3 {
            assert_eq!(sections(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(sections(b"#!/bin/sh\n"), None);
    }
}
