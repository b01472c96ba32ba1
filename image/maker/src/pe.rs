//! Sections of a PE file (an EFI program): enough to take a UKI apart.

/// The content of a section without its padding; `None` when there is none, or the file is no PE file.
pub fn section<'a>(file: &'a [u8], name: &str) -> Option<&'a [u8]> {
    if file.get(..2)? != b"MZ" {
        return None;
    }
    let header = u32_at(file, 0x3c)?;
    if file.get(header..header + 4)? != b"PE\0\0" {
        return None;
    }
    let count = u16_at(file, header + 6)?;
    let optional = u16_at(file, header + 20)?;
    let table = header + 24 + optional;
    for index in 0..count {
        let at = table + index * 40;
        let held = file.get(at..at + 8)?;
        let held = held.split(|byte| *byte == 0).next()?;
        if held == name.as_bytes() {
            // The virtual size is the real one; the raw size is padded to the file's alignment.
            let size = u32_at(file, at + 8)?.min(u32_at(file, at + 16)?);
            let begin = u32_at(file, at + 20)?;
            return file.get(begin..begin.checked_add(size)?);
        }
    }
    None
}

fn u16_at(file: &[u8], at: usize) -> Option<usize> {
    let bytes = file.get(at..at + 2)?.try_into().ok()?;
    Some(usize::from(u16::from_le_bytes(bytes)))
}

fn u32_at(file: &[u8], at: usize) -> Option<usize> {
    let bytes = file.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(bytes)).ok()
}

/// A PE file of these sections and of nothing else: for tests, here and of those who take a UKI apart.
pub fn made(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = vec![0; 0x40];
    file[..2].copy_from_slice(b"MZ");
    file[0x3c] = 0x40;
    file.extend(b"PE\0\0");
    file.extend([0; 2]);
    file.extend((sections.len() as u16).to_le_bytes());
    file.extend([0; 16]);
    let mut at = file.len() + 40 * sections.len();
    for (name, bytes) in sections {
        let mut entry = [0; 40];
        entry[..name.len()].copy_from_slice(name.as_bytes());
        entry[8..12].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        entry[16..20].copy_from_slice(&(bytes.len() as u32 + PADDING as u32).to_le_bytes());
        entry[20..24].copy_from_slice(&(at as u32).to_le_bytes());
        at += bytes.len() + PADDING;
        file.extend(entry);
    }
    for (_, bytes) in sections {
        file.extend(*bytes);
        file.extend([0; PADDING]);
    }
    file
}

/// What `made` puts behind each section.
const PADDING: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_found_and_its_padding_is_not_part_of_it() {
        let file = made(&[(".linux", b"kernel"), (".uname", b"6.1")]);
        assert_eq!(section(&file, ".uname"), Some(&b"6.1"[..]));
        assert_eq!(section(&file, ".linux"), Some(&b"kernel"[..]));
        assert_eq!(section(&file, ".initrd"), None);
    }

    #[test]
    fn what_is_cut_off_or_no_pe_is_none() {
        let whole = made(&[(".linux", b"kernel")]);
        for length in 0..whole.len() - PADDING {
            assert_eq!(section(&whole[..length], ".linux"), None, "{length} bytes");
        }
        assert_eq!(section(b"#!/bin/sh\n", ".linux"), None);
    }
}
