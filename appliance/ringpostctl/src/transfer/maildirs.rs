//! Maildirs in a directory: Maildir++ (`.Work.2026`) and plain directories (`Work/2026`), as a source and, in the first form, as a destination.
//!
//! Symbolic links are not followed: who imports may read more than who owns the Maildir. What is written has letters in names that Maildir++ takes for something
//! else as `%` and two hexadecimal digits; a file in the root says so, and only where it is are such names read back.

use std::collections::HashMap;
use std::fs::{self, DirEntry, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imap::utf7;
use mail::{Flags, InternalDate};
use mailfiles::limits::KEYWORDS_BYTES_MAX;
use mailfiles::maildir::{self, Keywords};

use super::files::{directory, open_regular};
use super::letter::{Digest, Each, Fault, Folder, Letter, Listed, Sink, Source, digest};
use super::limits::{FOLDERS_MAX, LEVELS_MAX, MESSAGE_BYTES_MAX, MESSAGES_MAX};
use super::names::{has_empty_level, joined};

type Told<T> = Result<T, Fault>;

/// A tree of Maildirs with one of them open.
pub(crate) struct Maildirs {
    root: PathBuf,
    /// Names are escaped: an export wrote them.
    is_ours: bool,
    /// The open one.
    at: PathBuf,
    keywords: Keywords,
    files: HashMap<u64, PathBuf>,
    /// Messages that were written without some of their keywords.
    poorer: u64,
}

impl Maildirs {
    /// To read what is in `root`.
    pub(crate) fn read(root: &Path) -> Result<Maildirs, String> {
        let told = |error: io::Error| format!("{}: {error}", root.display());
        if !fs::metadata(root).map_err(told)?.is_dir() {
            return Err(format!("{} is not a directory", root.display()));
        }
        Ok(Maildirs {
            root: root.to_owned(),
            is_ours: root.join(MARK).is_file(),
            at: PathBuf::new(),
            keywords: Keywords::default(),
            files: HashMap::new(),
            poorer: 0,
        })
    }

    /// To write into `root`: a new directory, or one that an export wrote before.
    pub(crate) fn write(root: &Path) -> Result<Maildirs, String> {
        let told = |error: io::Error| format!("{}: {error}", root.display());
        fs::create_dir_all(root).map_err(told)?;
        let is_empty = fs::read_dir(root).map_err(told)?.next().is_none();
        if is_empty {
            fs::write(root.join(MARK), "written by ringpostctl export\n").map_err(told)?;
        }
        let maildirs = Maildirs::read(root)?;
        match maildirs.is_ours {
            true => Ok(maildirs),
            false => Err(format!(
                "{} is not empty, and no export wrote it: choose a new directory",
                root.display()
            )),
        }
    }

    /// Lists the open Maildir.
    fn list(&mut self) -> Told<()> {
        self.files.clear();
        for part in ["new", "cur"] {
            let at = self.at.join(part);
            match directory(&at) {
                Err(error) if error.kind() == ErrorKind::NotFound && part == "new" => continue,
                is_one => is_one.map_err(|error| refused(&at, &error))?,
            }
            let entries = fs::read_dir(&at).map_err(|error| refused(&at, &error))?;
            for entry in entries {
                let entry = entry.map_err(|error| refused(&at, &error))?;
                let name = entry.file_name();
                let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
                if !is_file || name.as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                if self.files.len() > MESSAGES_MAX {
                    return Ok(());
                }
                let (base, _) = maildir::split(name.as_encoded_bytes());
                self.files.insert(key(base), entry.path());
            }
        }
        Ok(())
    }

    fn open_at(&mut self, at: PathBuf) -> Told<()> {
        self.at = at;
        if self.at != self.root {
            directory(&self.at).map_err(|error| refused(&self.at, &error))?;
        }
        let path = self.at.join(KEYWORDS);
        let mut file = Vec::new();
        match open_regular(&path) {
            Ok(opened) => {
                let mut opened = opened.take(KEYWORDS_BYTES_MAX as u64);
                let read = opened.read_to_end(&mut file);
                read.map_err(|error| refused(&path, &error))?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(refused(&path, &error)),
        }
        self.keywords = Keywords::parse(&file);
        self.list()
    }

    fn flags_of(&self, path: &Path) -> Flags {
        let name = path.file_name().unwrap_or_default();
        let (_, info) = maildir::split(name.as_encoded_bytes());
        maildir::flags(info, &self.keywords)
    }

    fn sorted(&self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.files.keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    fn save_keywords(&self) -> io::Result<()> {
        let part = self.at.join("tmp").join(KEYWORDS);
        let mut file = File::create(&part)?;
        file.write_all(self.keywords.encode().as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, self.at.join(KEYWORDS))
    }

    /// The end of a file's name for these flags. Keywords get their letters durably before a name has them.
    fn info(&mut self, flags: &Flags) -> io::Result<String> {
        let mut keywords = self.keywords.clone();
        let (letters, is_whole) = maildir::info(flags, &mut keywords);
        self.poorer += u64::from(!is_whole);
        if keywords != self.keywords {
            self.keywords = keywords;
            self.save_keywords()?;
        }
        Ok(format!(":2,{letters}"))
    }

    fn store(&mut self, letter: &Letter) -> io::Result<u64> {
        let digest: String = digest(&letter.message)[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let seconds = letter.date.unix_seconds.max(0) as u64;
        // bounded by the messages with this content
        let free = (0..).map(|number: u64| format!("{seconds}.{digest}_{number}.ringpost"));
        let mut free = free.filter(|base| !self.files.contains_key(&key(base.as_bytes())));
        let base = free.next().unwrap_or_default();
        let part = self.at.join("tmp").join(&base);
        let mut file = File::create(&part)?;
        file.write_all(&in_file(&letter.message))?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds))?;
        file.sync_all()?;
        let info = self.info(&letter.flags)?;
        let path = self.at.join("cur").join(format!("{base}{info}"));
        fs::rename(&part, &path)?;
        let key = key(base.as_bytes());
        self.files.insert(key, path);
        Ok(key)
    }
}

impl Source for Maildirs {
    fn folders(&mut self) -> Told<Vec<Folder>> {
        let mut found = Vec::new();
        let root = self.root.clone();
        if is_maildir(&root) {
            found.push(folder("INBOX".into(), &root, Path::new("")));
        }
        walk(&root, &mut Vec::new(), self.is_ours, &mut found)
            .map_err(|error| refused(&root, &error))?;
        found.sort_by(|one, other| one.own_name.cmp(&other.own_name));
        match found.is_empty() {
            true => Err(Fault::Stop(format!(
                "{} has no Maildir (a directory with `cur`)",
                root.display()
            ))),
            false => Ok(found),
        }
    }

    fn open(&mut self, folder: &Folder) -> Told<u64> {
        self.open_at(self.root.join(&folder.own_name))?;
        Ok(1)
    }

    fn keys(&mut self) -> Told<Vec<u64>> {
        Ok(self.sorted())
    }

    fn look(&mut self, keys: &[u64]) -> Told<Vec<Listed>> {
        let mut listed = Vec::new();
        for key in keys {
            let Some(path) = self.files.get(key) else {
                continue;
            };
            match fs::symlink_metadata(path) {
                Ok(about) => listed.push(Listed {
                    key: *key,
                    flags: self.flags_of(path),
                    bytes: about.len(),
                }),
                // Another program took it away, or gave it other flags: the next run finds it.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(refused(path, &error)),
            }
        }
        Ok(listed)
    }

    fn name_of(&self, key: u64) -> String {
        let path = self.files.get(&key);
        let name = path.and_then(|path| path.file_name()).unwrap_or_default();
        name.to_string_lossy().escape_debug().to_string()
    }

    fn fetch(&mut self, keys: &[u64], each: Each<'_>) -> Told<()> {
        for key in keys {
            let Some(path) = self.files.get(key) else {
                continue;
            };
            let (bytes, date) = match read(path) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(refused(path, &error)),
            };
            let packed = [&b"\x1f\x8b"[..], b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ"];
            if packed.iter().any(|magic| bytes.starts_with(magic)) {
                return Err(Fault::Refused("the file is compressed".into()));
            }
            let message = mailfiles::wire(&bytes).into_owned();
            let flags = self.flags_of(path);
            each(
                *key,
                Letter {
                    message,
                    flags,
                    date,
                },
            )?;
        }
        Ok(())
    }
}

impl Sink for Maildirs {
    fn open(&mut self, name: &str, _: Option<&str>) -> Told<(u64, String)> {
        if has_empty_level(name) {
            return Err(Fault::Refused(format!("`{name}` has an empty level")));
        }
        let at = match name {
            "INBOX" => self.root.clone(),
            name => self.root.join(format!(".{}", component(name))),
        };
        let made = || {
            for part in ["cur", "new", "tmp"] {
                fs::create_dir_all(at.join(part))?;
            }
            if at != self.root {
                // Maildir++: what delivers mail finds that it is in a folder.
                fs::write(at.join("maildirfolder"), "")?;
            }
            generation(&at.join(GENERATION))
        };
        let generation = made().map_err(|error| refused(&at, &error))?;
        self.open_at(at)?;
        Ok((generation, name.to_owned()))
    }

    fn keys(&mut self) -> Told<Vec<u64>> {
        Ok(self.sorted())
    }

    fn digests(&mut self, keys: &[u64], each: &mut dyn FnMut(u64, Digest)) -> Told<()> {
        for key in keys {
            if let Some(path) = self.files.get(key) {
                let (bytes, _) = read(path).map_err(|error| refused(path, &error))?;
                each(*key, digest(&bytes));
            }
        }
        Ok(())
    }

    fn put(&mut self, letter: &Letter) -> Told<Option<u64>> {
        let stored = self.store(letter);
        // A full disk takes none of the others either.
        stored
            .map(Some)
            .map_err(|error| Fault::Stop(format!("{}: {error}", self.at.display())))
    }

    fn change(&mut self, key: u64, added: &Flags, removed: &Flags) -> Told<bool> {
        let Some(path) = self.files.get(&key).cloned() else {
            return Ok(false);
        };
        let before = self.flags_of(&path);
        let after = before.with(added).without(removed);
        if after == before {
            return Ok(true);
        }
        let name = path.file_name().unwrap_or_default();
        let (base, _) = maildir::split(name.as_encoded_bytes());
        let base = String::from_utf8_lossy(base).into_owned();
        let mut renamed = || {
            let info = self.info(&after)?;
            let to = self.at.join("cur").join(format!("{base}{info}"));
            fs::rename(&path, &to)?;
            self.files.insert(key, to);
            Ok(())
        };
        match renamed() {
            Ok(()) => Ok(true),
            Err(error) if io::Error::kind(&error) == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(refused(&path, &error)),
        }
    }

    fn refills(&self) -> bool {
        true
    }

    fn finish(&mut self) -> Told<Option<String>> {
        for at in [self.at.join("cur"), self.at.clone()] {
            let synced = File::open(&at).and_then(|directory| directory.sync_all());
            synced.map_err(|error| refused(&at, &error))?;
        }
        let poorer = std::mem::take(&mut self.poorer);
        Ok((poorer > 0).then(|| {
            format!("{poorer} messages lack keywords: a Maildir has letters for 26 of them")
        }))
    }
}

fn refused(path: &Path, error: &io::Error) -> Fault {
    Fault::Refused(format!("{}: {error}", path.display()))
}

/// Not more than one message may have, and a byte that shows that it has more.
fn read(path: &Path) -> io::Result<(Vec<u8>, InternalDate)> {
    let file = open_regular(path)?;
    let modified = file.metadata()?.modified().unwrap_or(SystemTime::now());
    let mut bytes = Vec::new();
    file.take(MESSAGE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let seconds = match modified.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(_) => 0,
    };
    Ok((bytes, InternalDate::utc(seconds)))
}

/// With LF, as files have it; a message with other line ends stays as it is.
fn in_file(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        match (line.strip_suffix(b"\r\n"), line.ends_with(b"\n")) {
            (Some(line), _) if !line.ends_with(b"\r") => {
                out.extend_from_slice(line);
                out.push(b'\n');
            }
            (_, false) => out.extend_from_slice(line),
            (_, true) => return message.to_vec(),
        }
    }
    out
}

fn key(base: &[u8]) -> u64 {
    let hash = blake3::hash(base);
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn is_maildir(at: &Path) -> bool {
    let is_directory = |path: PathBuf| fs::symlink_metadata(path).is_ok_and(|about| about.is_dir());
    is_directory(at.join("cur"))
}

fn folder(name: String, root: &Path, below: &Path) -> Folder {
    let own_name = below.strip_prefix(root).unwrap_or(below);
    Folder {
        name,
        own_name: own_name.to_string_lossy().into_owned(),
        special_use: None,
    }
}

/// Adds the Maildirs below `at`, whose levels are known. Names that are not UTF-8 cannot be opened by name: they are listed, and refused.
fn walk(
    at: &Path,
    levels: &mut Vec<String>,
    is_ours: bool,
    found: &mut Vec<Folder>,
) -> io::Result<()> {
    let root = at.ancestors().nth(levels.len()).unwrap_or(at).to_owned();
    for entry in fs::read_dir(at)? {
        let entry: DirEntry = entry?;
        let is_directory = entry.file_type()?.is_dir();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !is_directory {
            continue;
        }
        let name = &*name;
        if ["cur", "new", "tmp"].contains(&name) || found.len() > FOLDERS_MAX {
            continue;
        }
        let path = entry.path();
        let decoded = utf7::decode(name).unwrap_or_else(|| name.to_owned());
        if let Some(flat) = decoded.strip_prefix('.') {
            if levels.is_empty() && is_maildir(&path) {
                let names: Vec<String> = flat
                    .split('.')
                    .map(|level| {
                        if is_ours {
                            unescaped(level)
                        } else {
                            level.to_owned()
                        }
                    })
                    .collect();
                let name = joined(names.iter().map(String::as_str));
                found.push(folder(name, &root, &path));
            }
            continue;
        }
        levels.push(decoded);
        if is_maildir(&path) {
            let name = joined(levels.iter().map(String::as_str));
            found.push(folder(name, &root, &path));
        }
        if levels.len() < LEVELS_MAX {
            walk(&path, levels, is_ours, found)?;
        }
        levels.pop();
    }
    Ok(())
}

/// The name of a folder as one component, levels divided by dots.
fn component(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        match letter {
            '/' => out.push('.'),
            '.' | '%' => out.push_str(&format!("%{:02X}", letter as u32)),
            letter => out.push(letter),
        }
    }
    utf7::encode(&out)
}

fn unescaped(level: &str) -> String {
    level.replace("%2E", ".").replace("%25", "%")
}

/// A number that a directory has from its first use on: one that was removed and made again has another.
pub(crate) fn generation(file: &Path) -> io::Result<u64> {
    match fs::read_to_string(file) {
        Ok(text) => {
            if let Ok(number) = text.trim().parse() {
                return Ok(number);
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let number = now.map_or(1, |now| now.as_nanos() as u64);
    fs::write(file, format!("{number}\n"))?;
    Ok(number)
}

const KEYWORDS: &str = "dovecot-keywords";
/// In the root: names below it are escaped.
const MARK: &str = "ringpost-export";
const GENERATION: &str = "ringpost-generation";

#[cfg(test)]
mod tests;
