//! Maildir++: INBOX is the account's directory, folders are `.Name.Child` inside it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use mail::SystemFlags;
use mailbox::Message;

/// Makes the Maildir of `mailbox` of `account` under `root`.
pub fn create(root: &Path, account: &str, mailbox: &str) -> Result<PathBuf, String> {
    let mut path = root.join(safe(account));
    if !mailbox.eq_ignore_ascii_case("INBOX") {
        let levels: Vec<String> = mailbox
            .split('/')
            .map(|level| safe(level).replace('.', "_"))
            .collect();
        path.push(format!(".{}", levels.join(".")));
    }
    for part in ["cur", "new", "tmp"] {
        let part = path.join(part);
        fs::create_dir_all(&part).map_err(|error| format!("{}: {error}", part.display()))?;
    }
    Ok(path)
}

/// Writes one message, named by its UID, with its flags, dated as it was received.
pub fn write(maildir: &Path, message: &Message, bytes: &[u8]) -> Result<(), String> {
    let seconds = message.internal_date.unix_seconds.max(0);
    let flags = flags(message.flags.system);
    // Fresh mail nobody has looked at belongs into `new`, which knows no flags.
    let part = if flags.is_empty() { "new" } else { "cur" };
    let suffix = if flags.is_empty() {
        String::new()
    } else {
        format!(":2,{flags}")
    };
    let path = maildir
        .join(part)
        .join(format!("{seconds}.U{}.ringpost{suffix}", message.uid.0));
    let write = || {
        let mut file = File::create(&path)?;
        file.write_all(bytes)?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds as u64))
    };
    write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
}

/// In ASCII order, as Maildir wants them.
fn flags(system: SystemFlags) -> String {
    let letters = [
        (SystemFlags::DRAFT, 'D'),
        (SystemFlags::FLAGGED, 'F'),
        (SystemFlags::ANSWERED, 'R'),
        (SystemFlags::SEEN, 'S'),
        (SystemFlags::DELETED, 'T'),
    ];
    letters
        .iter()
        .filter(|(flag, _)| system.contains(*flag))
        .map(|(_, letter)| letter)
        .collect()
}

/// One path component that stays below its parent, whatever a log says.
fn safe(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_control() || c == '/' || c == '\0' {
                '_'
            } else {
                c
            }
        })
        .collect();
    let cut = name
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take_while(|end| *end <= 200)
        .last()
        .unwrap_or(0);
    match &name[..cut] {
        "" | "." | ".." => "_".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let root = tempfile::tempdir().expect("a directory");
        for (account, mailbox) in [
            ("../../etc", "../x"),
            ("..", ".."),
            ("", ""),
            ("a/b", "/"),
            ("x\0y", "\n"),
        ] {
            let path = create(root.path(), account, mailbox).expect("made");
            let whole = path.canonicalize().expect("it is there");
            assert!(
                whole.starts_with(root.path().canonicalize().expect("it is there")),
                "{}",
                whole.display()
            );
        }
    }

    #[test]
    fn folders_are_named_as_maildir_plus_plus_names_them() {
        let root = tempfile::tempdir().expect("a directory");
        let path = create(root.path(), "alice@example.org", "Work/v1.0").expect("made");
        assert!(path.ends_with("alice@example.org/.Work.v1_0"));
        assert_eq!(flags(SystemFlags::SEEN.with(SystemFlags::DRAFT)), "DS");
    }
}
