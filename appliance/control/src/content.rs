//! What lies on a disk: nothing, a leg, or something else. Reads only; a disk that cannot be read is unknown, never blank.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use hardware::health::Holds;

use crate::limits::BLANK_BYTES;

/// What is on a device, and the id of the leg whose it is.
pub fn look(path: &Path) -> (Holds, Option<String>) {
    match read(path) {
        Ok(found) => found,
        Err(_) => (Holds::Unknown, None),
    }
}

fn read(path: &Path) -> io::Result<(Holds, Option<String>)> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::with_capacity(BLANK_BYTES);
    (&file).take(BLANK_BYTES as u64).read_to_end(&mut bytes)?;
    let head = &bytes[..bytes.len().min(volume::HEAD_BYTES)];
    if let Some((_, leg)) = volume::leg_on(head) {
        return Ok((Holds::Leg, Some(leg.to_string())));
    }
    if bytes.iter().any(|byte| *byte != 0) {
        return Ok((Holds::Something, None));
    }
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(BLANK_BYTES as u64)))?;
    bytes.clear();
    (&file).take(BLANK_BYTES as u64).read_to_end(&mut bytes)?;
    let mut is_blank = length > 0 && bytes.iter().all(|byte| *byte == 0);
    for at in volume::blank_samples(length) {
        let mut block = [0; 4096];
        file.read_exact_at(&mut block, at)?;
        is_blank &= block.iter().all(|byte| *byte == 0);
    }
    match !is_blank {
        true => Ok((Holds::Something, None)),
        false => Ok((Holds::Nothing, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_zero_at_both_ends_and_between_them_holds_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk");
        let holds = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            look(&path)
        };
        let mut bytes = vec![0; 3 * BLANK_BYTES];
        assert_eq!(holds(&bytes), (Holds::Nothing, None));
        *bytes.last_mut().expect("not empty") = 1;
        assert_eq!(holds(&bytes), (Holds::Something, None));
        bytes.fill(0);
        bytes[0] = 1;
        assert_eq!(holds(&bytes), (Holds::Something, None));
        bytes.fill(0);
        bytes[BLANK_BYTES] = 1;
        assert_eq!(holds(&bytes), (Holds::Something, None));
        assert_eq!(
            look(&directory.path().join("gone")),
            (Holds::Unknown, None),
            "what cannot be read is not blank"
        );
    }
}
