//! A cpio archive (newc) that depends on nothing but names, modes and contents: sorted, one time stamp, owner root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::places;

/// Everything below `folder`, in the order of names.
pub fn of_folder(folder: &Path, epoch: u64) -> Result<Vec<u8>, String> {
    let mut archive = Vec::new();
    // Inode numbers are counted instead of taken from the disk: they differ from clone to clone.
    let mut number = 1;
    below(folder, "", epoch, &mut number, &mut archive)?;
    entry(&mut archive, 0, "TRAILER!!!", 0, 0, &[]);
    // Archives that follow one another in a UKI begin at multiples of four.
    archive.resize(archive.len().next_multiple_of(512), 0);
    Ok(archive)
}

fn below(
    folder: &Path,
    prefix: &str,
    epoch: u64,
    number: &mut u32,
    archive: &mut Vec<u8>,
) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for found in fs::read_dir(folder).map_err(told)? {
        let name = found.map_err(told)?.file_name();
        names.push(name.into_string().map_err(|name| {
            format!(
                "{}: {} is not a UTF-8 name",
                folder.display(),
                name.display()
            )
        })?);
    }
    // Folders before what is in them, each in order: the kernel unpacks entries one by one and makes no folder by itself.
    names.sort();
    for name in names {
        let path = folder.join(&name);
        let inner = format!("{prefix}{name}");
        let meta = fs::symlink_metadata(&path).map_err(told)?;
        let kind = meta.file_type();
        *number += 1;
        if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(told)?;
            let target = target.as_os_str().as_encoded_bytes();
            entry(archive, *number, &inner, 0o120_777, epoch, target);
        } else if kind.is_dir() {
            entry(archive, *number, &inner, 0o040_755, epoch, &[]);
            below(&path, &format!("{inner}/"), epoch, number, archive)?;
        } else if kind.is_file() {
            // The owner's own bits depend on the umask of the clone; whether it may be run does not.
            let mode = if meta.permissions().mode() & 0o100 == 0 {
                0o100_644
            } else {
                0o100_755
            };
            entry(archive, *number, &inner, mode, epoch, &places::read(&path)?);
        } else {
            return Err(format!(
                "{}: neither file, folder nor link; remove it",
                path.display()
            ));
        }
    }
    Ok(())
}

/// Linux, Documentation/driver-api/early-userspace/buffer-format.rst: thirteen fields of eight hexadecimal digits.
fn entry(archive: &mut Vec<u8>, number: u32, name: &str, mode: u32, epoch: u64, content: &[u8]) {
    let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
    let epoch = u32::try_from(epoch).unwrap_or(u32::MAX);
    let size = u32::try_from(content.len()).expect("a file of the engine layer is far below 4 GiB");
    let fields = [
        number,
        mode,
        0,
        0,
        links,
        epoch,
        size,
        0,
        0,
        0,
        0,
        name.len() as u32 + 1,
        0,
    ];
    archive.extend(b"070701");
    for field in fields {
        archive.extend(format!("{field:08X}").as_bytes());
    }
    archive.extend(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_bytes_and_a_linked_file_stays_a_link() {
        let folder = std::env::temp_dir().join(format!("xtask-cpio-{}", std::process::id()));
        places::fresh(&folder).expect("a folder");
        places::write(&folder.join("b"), "two").expect("written");
        places::write(&folder.join("a"), "one").expect("written");
        std::os::unix::fs::symlink("a", folder.join("c")).expect("linked");
        let first = of_folder(&folder, 7).expect("packed");
        places::write(&folder.join("a"), "one").expect("written again, later");
        assert_eq!(of_folder(&folder, 7).expect("packed"), first);
        assert_ne!(of_folder(&folder, 8).expect("packed"), first);
        assert!(first.starts_with(b"070701"));
        let text = String::from_utf8_lossy(&first);
        let at = |what: &str| text.find(what).expect(what);
        assert!(at("one") < at("two"), "sorted by name");
        assert!(text.contains("0000A1FF"), "a link's mode");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
