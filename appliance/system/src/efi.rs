//! What firmware and boot loader report: the partition that we were started from.

use std::path::Path;

/// systemd's Boot Loader Interface, <https://systemd.io/BOOT_LOADER_INTERFACE/>.
const LOADER_PART: &str =
    "/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// The GPT identifier of the partition that held the boot loader, in lower case; `None` after a start from the network, or
/// directly into the kernel.
pub fn started_from() -> Option<String> {
    let bytes = std::fs::read(Path::new(LOADER_PART)).ok()?;
    parse(&bytes)
}

/// efivarfs puts four bytes of attributes before the value, which is UTF-16 with a final zero.
fn parse(bytes: &[u8]) -> Option<String> {
    let units: Vec<u16> = bytes
        .get(4..)?
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    let text = String::from_utf16(&units).ok()?.to_ascii_lowercase();
    let fits = text.len() == 36 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    fits.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(text: &str) -> Vec<u8> {
        let units = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
        [6, 0, 0, 0].into_iter().chain(units).collect()
    }

    #[test]
    fn the_partition_is_read_in_lower_case() {
        let id = "8F1C6A52-5D0E-4D5C-9A0B-72696E67706F";
        assert_eq!(parse(&variable(id)), Some(id.to_ascii_lowercase()));
    }

    #[test]
    fn what_is_no_identifier_names_no_partition() {
        for wrong in ["", "../../etc/passwd", "8F1C6A52"] {
            assert_eq!(parse(&variable(wrong)), None, "{wrong}");
        }
        assert_eq!(parse(&[1, 2]), None);
        assert_eq!(parse(&[0, 0, 0, 0, 0, 0xd8, 0, 0]), None);
    }
}
