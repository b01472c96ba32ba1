//! Sections of a PE file (an EFI program): enough to take a UKI apart.

/// The content of a section without its padding; `None` when there is none, or the file is no PE file.
pub fn section<'a>(file: &'a [u8], name: &str) -> Option<&'a [u8]> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_found_and_its_padding_is_not_part_of_it() {
        let mut file = vec![0u8; 512];
        file[0x3c] = 64;
        file[64..68].copy_from_slice(b"PE\0\0");
        file[70] = 1;
        let at = 64 + 24;
        file[at..at + 6].copy_from_slice(b".uname");
        file[at + 8] = 3;
        file[at + 16] = 16;
        file[at + 20] = 200;
        file[200..204].copy_from_slice(b"6.1\0");
        assert_eq!(section(&file, ".uname"), Some(&b"6.1"[..]));
        assert_eq!(section(&file, ".linux"), None);
        assert_eq!(section(b"MZ", ".uname"), None);
    }
}
