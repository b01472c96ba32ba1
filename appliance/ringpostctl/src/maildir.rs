//! Maildir++: INBOX is the account's directory, folders are `.Name.Child` inside it.
//!
//! Names are written so that they can be read back (`encoded`): letters stay, what Maildir or a file system takes for something else
//! becomes `%` and two hexadecimal digits. `names.jsonl` says which directory is which mailbox, for those whose name is too long
//! for a directory (shortened, with a hash) or was there twice (numbered).
//!
//! What must hold: no directory is used for two mailboxes, no file is written over another, nothing is made outside of the root.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use mail::SystemFlags;
use mailbox::Message;
use serde::Serialize;

use crate::limits::{COMPONENT_BYTES_MAX, SAME_NAME_MAX};

/// Says which directory holds which mailbox; no account's directory has this name, for it holds no `@`.
pub const NAMES: &str = "names.jsonl";

/// A directory of Maildirs, by account.
pub struct Tree {
    root: PathBuf,
    names: File,
}

/// One line of `NAMES`.
#[derive(Serialize)]
struct Name<'n> {
    directory: &'n str,
    account: &'n str,
    mailbox: &'n str,
}

/// What is in a tree.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub mailboxes: u64,
    pub messages: u64,
}

impl Tree {
    /// Begins a tree in `root`, which is made when it is not there.
    pub fn begin(root: &Path) -> Result<Tree, String> {
        let names = root.join(NAMES);
        fs::create_dir_all(root).map_err(|error| format!("{}: {error}", root.display()))?;
        let names =
            File::create_new(&names).map_err(|error| format!("{}: {error}", names.display()))?;
        Ok(Tree {
            root: root.to_owned(),
            names,
        })
    }

    /// Makes the Maildir of `mailbox` of `account`: always a new one, also for a name that was there before.
    pub fn create(&mut self, account: &str, mailbox: &str) -> Result<PathBuf, String> {
        let holder = shortened(encoded(account, Place::Account), 0);
        let folder = encoded(mailbox, Place::Folder);
        let is_inbox = mailbox.eq_ignore_ascii_case("INBOX");
        for number in 1..=SAME_NAME_MAX {
            let suffix = match number {
                1 => String::new(),
                number => format!("%~{number}"),
            };
            let directory = match number {
                1 if is_inbox => holder.clone(),
                _ => {
                    let folder = shortened(format!(".{folder}"), suffix.len());
                    format!("{holder}/{folder}{suffix}")
                }
            };
            let path = self.root.join(&directory);
            match claim(&path) {
                Ok(true) => {
                    self.name(&directory, account, mailbox)?;
                    return Ok(path);
                }
                Ok(false) => {}
                Err(error) => return Err(format!("{}: {error}", path.display())),
            }
        }
        Err(format!(
            "{account}, {mailbox}: the name is there more than {SAME_NAME_MAX} times"
        ))
    }

    fn name(&mut self, directory: &str, account: &str, mailbox: &str) -> Result<(), String> {
        let name = Name {
            directory,
            account,
            mailbox,
        };
        let line = serde_json::to_string(&name).map_err(|error| error.to_string())?;
        let written = self.names.write_all(format!("{line}\n").as_bytes());
        written.map_err(|error| format!("{NAMES}: {error}"))
    }

    /// What is there now, by a look at every directory.
    pub fn count(&self) -> io::Result<Counted> {
        let mut counted = Counted::default();
        for account in fs::read_dir(&self.root)? {
            let account = account?;
            if !account.file_type()?.is_dir() {
                continue;
            }
            counted.add(&account.path())?;
            for folder in fs::read_dir(account.path())? {
                let folder = folder?;
                let is_folder = folder.file_name().as_encoded_bytes().starts_with(b".");
                if is_folder && folder.file_type()?.is_dir() {
                    counted.add(&folder.path())?;
                }
            }
        }
        Ok(counted)
    }
}

impl Counted {
    fn add(&mut self, maildir: &Path) -> io::Result<()> {
        let mut is_maildir = false;
        for part in ["cur", "new"] {
            match fs::read_dir(maildir.join(part)) {
                Ok(entries) => {
                    is_maildir = true;
                    for entry in entries {
                        entry?;
                        self.messages += 1;
                    }
                }
                // An account whose INBOX holds nothing has folders only.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.mailboxes += u64::from(is_maildir);
        Ok(())
    }
}

/// Makes `path` a Maildir of its own; `false` when it is one already. The making of `cur` decides: also where a file system
/// takes two spellings for one name.
fn claim(path: &Path) -> io::Result<bool> {
    fs::create_dir_all(path)?;
    match fs::create_dir(path.join("cur")) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    }
    fs::create_dir(path.join("new"))?;
    fs::create_dir(path.join("tmp"))?;
    Ok(true)
}

/// Writes one message, named by its UID, with its flags, dated as it was received. Refuses to write over anything; what was written in
/// part is removed.
pub fn write(maildir: &Path, message: &Message, bytes: &[u8]) -> Result<(), String> {
    let seconds = message.internal_date.unix_seconds.max(0);
    let flags = flags(message.flags.system);
    // Fresh mail belongs into `new`, which knows no flags.
    let part = if flags.is_empty() { "new" } else { "cur" };
    let suffix = if flags.is_empty() {
        String::new()
    } else {
        format!(":2,{flags}")
    };
    let path = maildir
        .join(part)
        .join(format!("{seconds}.U{}.ringpost{suffix}", message.uid.0));
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let mut file = File::create_new(&path).map_err(failed)?;
    let mut write = || {
        file.write_all(bytes)?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds as u64))
    };
    write().map_err(|error| {
        // Half a message looks like a whole one.
        let _ = fs::remove_file(&path);
        failed(error)
    })
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

/// What a name is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Account,
    /// Levels are divided by `.` instead of `/`.
    Folder,
}

/// `name` as one path component that stays below its parent, whatever a log says. No two names come to one.
fn encoded(name: &str, place: Place) -> String {
    match place {
        Place::Account => escaped(name, |at| at > 0),
        Place::Folder => {
            let levels: Vec<String> = name
                .split('/')
                .map(|level| escaped(level, |_| false))
                .collect();
            levels.join(".")
        }
    }
}

/// `text` without what means something else in a path; a dot stays where `dot_stays`.
fn escaped(text: &str, dot_stays: impl Fn(usize) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, letter) in text.char_indices() {
        match letter {
            '.' if dot_stays(at) => out.push('.'),
            '.' | '/' | '%' | '\\' | ':' => escape(&mut out, letter),
            letter if letter.is_control() => escape(&mut out, letter),
            letter => out.push(letter),
        }
    }
    if out.is_empty() {
        // An escape is two digits, so that no other text has this one.
        out.push_str("%-");
    }
    out
}

fn escape(out: &mut String, letter: char) {
    for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
        out.push_str(&format!("%{byte:02X}"));
    }
}

/// `component` when it fits into a directory's name with `more` bytes behind it, else its beginning and a hash of all of it.
fn shortened(component: String, more: usize) -> String {
    if component.len() + more <= COMPONENT_BYTES_MAX {
        return component;
    }
    let hash = &base::BodyName::of(component.as_bytes()).0[..8];
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let room = COMPONENT_BYTES_MAX - more - "%~".len() - hash.len();
    let mut end = room;
    while !component.is_char_boundary(end) {
        end -= 1;
    }
    // Not in the middle of an escape.
    if let Some(at) = component[..end].rfind('%')
        && end - at < 3
    {
        end = at;
    }
    format!("{}%~{hash}", &component[..end])
}

#[cfg(test)]
mod tests {
    use mail::{Flags, InternalDate, ModSeq, Uid};

    use super::*;

    fn tree() -> (tempfile::TempDir, Tree) {
        let root = tempfile::tempdir().expect("a directory");
        let tree = Tree::begin(root.path()).expect("it begins");
        (root, tree)
    }

    fn message(uid: u32) -> Message {
        let nowhere = volume::RecordAddress {
            segment: volume::SegmentIndex(0),
            generation: volume::Generation(1),
            batch_block: 0,
            at: 4096,
            bytes: 0,
            check: 0,
        };
        Message {
            uid: Uid(uid),
            modseq: ModSeq(1),
            flags: Flags::default(),
            internal_date: InternalDate::utc(1_000_000_000),
            saved_s: 0,
            size_bytes: 5,
            body: store::BodyRef {
                name: base::BodyName::of(b"hello"),
                raw_bytes: 5,
                summary: nowhere,
                body: nowhere,
                codec: store::Codec::Raw,
            },
        }
    }

    /// Undoes `encoded`.
    fn decoded(component: &str, place: Place) -> String {
        let component = component.replace("%-", "");
        let mut bytes = Vec::new();
        let mut rest = component.as_bytes();
        while let [first, tail @ ..] = rest {
            rest = tail;
            match first {
                b'%' => {
                    let digits = std::str::from_utf8(&rest[..2]).expect("two digits");
                    bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
                    rest = &rest[2..];
                }
                b'.' if place == Place::Folder => bytes.push(b'/'),
                byte => bytes.push(*byte),
            }
        }
        String::from_utf8(bytes).expect("unchanged")
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let (root, mut tree) = tree();
        for (account, mailbox) in [
            ("../../etc", "../x"),
            ("..", ".."),
            ("", ""),
            ("a/b", "/"),
            ("x\0y", "\n"),
            (".", "INBOX"),
        ] {
            let path = tree.create(account, mailbox).expect("made");
            let whole = path.canonicalize().expect("it is there");
            let root = root.path().canonicalize().expect("it is there");
            assert!(
                whole.starts_with(&root) && whole != root,
                "{}",
                whole.display()
            );
        }
    }

    #[test]
    fn names_are_read_back_as_they_were() {
        for name in [
            "Work/v1.0",
            "Work/v1_0",
            "100%",
            "%2E",
            "a.b/c",
            "",
            "/",
            "%-",
            "a//b",
            "ü/Entwürfe",
            "\u{85}",
            "x\ty",
            "%~2",
        ] {
            for place in [Place::Account, Place::Folder] {
                assert_eq!(decoded(&encoded(name, place), place), name);
            }
        }
        assert_eq!(
            encoded("alice@example.org", Place::Account),
            "alice@example.org"
        );
        assert_eq!(encoded("Work/v1.0", Place::Folder), "Work.v1%2E0");
    }

    /// O3: these two shared a directory, and with it the first message of each.
    #[test]
    fn folders_whose_names_are_alike_keep_their_messages() {
        let (_root, mut tree) = tree();
        let names = [
            "v1.0", "v1_0", "v1/0", "v1%2E0", "v1.0", "INBOX", "INBOX", "inbox",
        ];
        for name in names {
            let path = tree.create("alice@example.org", name).expect("made");
            write(&path, &message(1), b"hello").expect("written");
        }
        let counted = tree.count().expect("it can be read");
        let wanted = names.len() as u64;
        assert_eq!(
            counted,
            Counted {
                mailboxes: wanted,
                messages: wanted
            }
        );
    }

    /// O4: two levels of 130 letters.
    #[test]
    fn a_name_too_long_for_a_directory_is_shortened_and_told() {
        let (root, mut tree) = tree();
        let long = format!("{}/{}", "a".repeat(130), "b".repeat(130));
        let dots = ".".repeat(255);
        let wide = "ü".repeat(127);
        let names = [
            long.clone(),
            format!("{long}c"),
            dots,
            wide.clone(),
            format!("{wide}/{wide}"),
        ];
        let mut paths = std::collections::BTreeSet::new();
        for name in &names {
            let path = tree
                .create(&format!("{}@example.org", "x".repeat(300)), name)
                .expect("made");
            write(&path, &message(1), b"hello").expect("written");
            assert!(paths.insert(path));
        }
        let told = fs::read_to_string(root.path().join(NAMES)).expect("the names are there");
        for (name, line) in names.iter().zip(told.lines()) {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(line["mailbox"], name.as_str());
            let directory = root
                .path()
                .join(line["directory"].as_str().expect("a path"));
            assert!(paths.contains(&directory));
        }
        assert_eq!(tree.count().expect("read").messages, names.len() as u64);
    }

    #[test]
    fn no_file_is_written_over_another() {
        let (_root, mut tree) = tree();
        let path = tree.create("alice@example.org", "INBOX").expect("made");
        write(&path, &message(7), b"hello").expect("written");
        let told = write(&path, &message(7), b"other").expect_err("it is there");
        assert!(told.contains("U7"), "{told}");
        let file = path.join("new/1000000000.U7.ringpost");
        assert_eq!(fs::read(file).expect("it is there"), b"hello");
    }

    #[test]
    fn flags_are_in_the_order_of_maildir() {
        assert_eq!(flags(SystemFlags::SEEN.with(SystemFlags::DRAFT)), "DS");
    }
}
