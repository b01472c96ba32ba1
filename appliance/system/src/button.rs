//! The power button, as an input device.

use std::fs;
use std::path::{Path, PathBuf};

/// `KEY_POWER` of the kernel's input-event-codes.h.
const POWER: u32 = 116;
/// `EV_KEY`.
const KEY: u16 = 1;

/// An event as the kernel writes it on 64-bit machines: a time of 16 bytes, type, code, value.
pub const EVENT_BYTES: usize = 24;

/// The devices below `root` that have a power key.
pub fn devices(root: &Path) -> Vec<PathBuf> {
    let inputs = fs::read_dir(root.join("sys/class/input"))
        .into_iter()
        .flatten();
    let names = inputs
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut devices: Vec<PathBuf> = names
        .filter(|name| name.starts_with("event"))
        .filter(|name| {
            let keys = root
                .join("sys/class/input")
                .join(name)
                .join("device/capabilities/key");
            fs::read_to_string(keys).is_ok_and(|keys| has(&keys, POWER))
        })
        .map(|name| root.join("dev/input").join(name))
        .collect();
    devices.sort();
    devices
}

/// Whether the bit is set in words of 64 bits, written in hexadecimal, the highest first.
fn has(words: &str, bit: u32) -> bool {
    let word = words.split_whitespace().rev().nth(bit as usize / 64);
    let word = word.and_then(|word| u64::from_str_radix(word, 16).ok());
    word.is_some_and(|word| word >> (bit % 64) & 1 == 1)
}

/// Whether the event is the power key going down.
pub fn pressed(event: &[u8; EVENT_BYTES]) -> bool {
    let kind = u16::from_ne_bytes([event[16], event[17]]);
    let code = u16::from_ne_bytes([event[18], event[19]]);
    let value = i32::from_ne_bytes([event[20], event[21], event[22], event[23]]);
    (kind, u32::from(code), value) == (KEY, POWER, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_key_is_found_among_other_devices() {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, keys) in [
            ("event0", "10000000000000 0\n"), // ACPI's power button: bit 116
            ("event1", "402000000 3803078f800d001 feffffdf\n"), // a keyboard without one
            ("mouse0", "10000000000000 0\n"),
        ] {
            let at = directory
                .path()
                .join("sys/class/input")
                .join(name)
                .join("device/capabilities");
            fs::create_dir_all(&at).expect("our own");
            fs::write(at.join("key"), keys).expect("our own");
        }
        assert_eq!(
            devices(directory.path()),
            [directory.path().join("dev/input/event0")]
        );
        assert!(devices(Path::new("/nonexistent")).is_empty());
        assert!(!has("", POWER) && !has("zz 0", POWER));
    }

    #[test]
    fn only_the_power_key_going_down_counts() {
        let event = |kind: u16, code: u16, value: i32| {
            let mut event = [0; EVENT_BYTES];
            event[16..18].copy_from_slice(&kind.to_ne_bytes());
            event[18..20].copy_from_slice(&code.to_ne_bytes());
            event[20..].copy_from_slice(&value.to_ne_bytes());
            event
        };
        assert!(pressed(&event(1, 116, 1)));
        for other in [event(1, 116, 0), event(1, 30, 1), event(0, 116, 1)] {
            assert!(!pressed(&other));
        }
    }
}
