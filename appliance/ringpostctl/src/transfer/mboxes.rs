//! mbox files, one for each folder: as a source (a file, or a directory of them) and as a destination.
//!
//! A file that is written has a small one beside it with the length up to which it is good: what a crash left behind that is cut off at the next run.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use mail::{Flags, InternalDate};
use mailfiles::mbox::{self, Quoting, Reader};

use super::files::open_regular;
use super::letter::{Digest, Each, Fault, Folder, Letter, Listed, Sink, Source, digest};
use super::limits::{FOLDERS_MAX, LEVELS_MAX, MESSAGE_BYTES_MAX, MESSAGES_MAX};
use super::names::{has_empty_level, joined};

type Told<T> = Result<T, Fault>;

/// One message of the open file.
struct Place {
    /// Its number in the file, from 1 on.
    number: u64,
    at: u64,
    bytes: u64,
    flags: Flags,
    digest: Digest,
}

/// What is in a file, by keys that follow from the contents: they stay where messages are put in or taken out.
#[derive(Default)]
struct Index {
    keys: Vec<u64>,
    places: HashMap<u64, Place>,
    /// Messages with the same content, so far.
    alike: HashMap<Digest, u64>,
}

impl Index {
    fn read(file: File, quoting: Quoting) -> io::Result<Index> {
        let mut reader = Reader::new(BufReader::with_capacity(BUFFER, file), quoting);
        let mut index = Index::default();
        while let Some(letter) = reader.next_letter()? {
            if index.keys.len() > MESSAGES_MAX {
                break;
            }
            index.add(letter.at, letter);
        }
        Ok(index)
    }

    fn add(&mut self, at: u64, letter: mbox::Letter) -> u64 {
        let (bytes, digest) = match letter.is_too_large {
            true => (MESSAGE_BYTES_MAX + 1, digest(&at.to_le_bytes())),
            false => (letter.message.len() as u64, digest(&letter.message)),
        };
        let alike = self.alike.entry(digest).or_default();
        *alike += 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&digest);
        hasher.update(&alike.to_le_bytes());
        let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
        let key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let place = Place {
            number: self.keys.len() as u64 + 1,
            at,
            bytes,
            flags: letter.flags,
            digest,
        };
        self.keys.push(key);
        self.places.insert(key, place);
        key
    }
}

/// mbox files to read.
pub(crate) struct Mboxes {
    root: PathBuf,
    quoting: Quoting,
    path: PathBuf,
    index: Index,
}

impl Mboxes {
    pub(crate) fn read(root: &Path, quoting: Quoting) -> Result<Mboxes, String> {
        fs::metadata(root).map_err(|error| format!("{}: {error}", root.display()))?;
        Ok(Mboxes {
            root: root.to_owned(),
            quoting,
            path: PathBuf::new(),
            index: Index::default(),
        })
    }

    /// The open one. What the operator names may be a link; what is found below it may not.
    fn file(&self) -> io::Result<File> {
        match self.path == self.root {
            true => File::open(&self.path),
            false => open_regular(&self.path),
        }
    }
}

impl Source for Mboxes {
    fn folders(&mut self) -> Told<Vec<Folder>> {
        if self.root.is_file() {
            let name = self.root.file_name().unwrap_or_default();
            let name = level(&name.to_string_lossy());
            return Ok(vec![Folder {
                name: joined([name.as_str()].into_iter()),
                own_name: String::new(),
                special_use: None,
            }]);
        }
        let mut found = Vec::new();
        let walked = walk(&self.root, &self.root, &mut Vec::new(), &mut found);
        walked.map_err(|error| Fault::Stop(format!("{}: {error}", self.root.display())))?;
        found.sort_by(|one, other| one.own_name.cmp(&other.own_name));
        Ok(found)
    }

    fn open(&mut self, folder: &Folder) -> Told<u64> {
        self.path = match folder.own_name.is_empty() {
            true => self.root.clone(),
            false => self.root.join(&folder.own_name),
        };
        let index = self.file().and_then(|file| Index::read(file, self.quoting));
        self.index = index.map_err(|error| refused(&self.path, &error))?;
        Ok(1)
    }

    fn keys(&mut self) -> Told<Vec<u64>> {
        Ok(self.index.keys.clone())
    }

    fn look(&mut self, keys: &[u64]) -> Told<Vec<Listed>> {
        let listed = keys.iter().filter_map(|key| {
            let place = self.index.places.get(key)?;
            Some(Listed {
                key: *key,
                flags: place.flags.clone(),
                bytes: place.bytes,
            })
        });
        Ok(listed.collect())
    }

    fn name_of(&self, key: u64) -> String {
        match self.index.places.get(&key) {
            Some(place) => format!("message {} at byte {}", place.number, place.at),
            None => format!("message {key}"),
        }
    }

    fn fetch(&mut self, keys: &[u64], each: Each<'_>) -> Told<()> {
        let told = |error: io::Error| refused(&self.path, &error);
        let mut file = BufReader::with_capacity(BUFFER, self.file().map_err(told)?);
        let modified = file.get_ref().metadata().and_then(|about| about.modified());
        let modified = seconds(modified.unwrap_or(UNIX_EPOCH));
        for key in keys {
            let Some(place) = self.index.places.get(key) else {
                continue;
            };
            file.seek(SeekFrom::Start(place.at)).map_err(told)?;
            let mut reader = Reader::new(&mut file, self.quoting);
            let letter = reader.next_letter().map_err(told)?;
            // Another program may write to the file: what is not the same any more is for the next run.
            let letter = letter.filter(|letter| digest(&letter.message) == place.digest);
            if let Some(letter) = letter {
                each(
                    *key,
                    Letter {
                        message: letter.message,
                        flags: letter.flags,
                        date: letter.date.unwrap_or(InternalDate::utc(modified)),
                    },
                )?;
            }
        }
        Ok(())
    }
}

/// mbox files to write: `Work/2026.mbox` is the folder `Work/2026`.
pub(crate) struct Written {
    root: PathBuf,
    path: PathBuf,
    /// The open one; `None`: none is.
    file: Option<File>,
    generation: u64,
    good: u64,
    index: Index,
}

impl Written {
    pub(crate) fn begin(root: &Path) -> Result<Written, String> {
        fs::create_dir_all(root).map_err(|error| format!("{}: {error}", root.display()))?;
        Ok(Written {
            root: root.to_owned(),
            path: PathBuf::new(),
            file: None,
            generation: 0,
            good: 0,
            index: Index::default(),
        })
    }

    fn beside(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(BESIDE);
        name.into()
    }

    /// Opens what an export wrote before and cuts it to what is good of it, or makes a new one.
    fn open_at(&mut self, path: PathBuf) -> io::Result<()> {
        self.path = path;
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent)?;
        }
        let beside = match fs::read_to_string(self.beside()) {
            Ok(text) => parse(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if beside.is_none() && fs::metadata(&self.path).is_ok_and(|about| about.len() > 0) {
            return Err(io::Error::other(
                "the file exists, and no export wrote it: choose another directory",
            ));
        }
        let options = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)?;
        let length = options.metadata()?.len();
        (self.generation, self.good) = match beside {
            Some((generation, good)) if length >= good => (generation, good),
            // A power cut took its end, or a person took messages out: what remains is not ours to remove, and may be in no account any more.
            Some((generation, _)) => (generation, with_empty_line(&self.path, &options, length)?),
            // Not of this second: two may follow each other at once.
            None => (nanoseconds(), 0),
        };
        options.set_len(self.good)?;
        self.file = Some(options);
        self.save()?;
        self.index = Index::read(File::open(&self.path)?, Quoting::Mboxrd)?;
        Ok(())
    }

    fn save(&self) -> io::Result<()> {
        // One write of one length: never half of a number.
        let text = format!("{:020} {:020}\n", self.generation, self.good);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.beside())?;
        file.write_all(text.as_bytes())
    }

    fn append(&mut self, letter: &Letter) -> io::Result<u64> {
        let mut bytes = Vec::with_capacity(letter.message.len() + 128);
        mbox::put(&mut bytes, &letter.message, &letter.flags, letter.date)?;
        let file = self.file.as_mut();
        let file = file.ok_or_else(|| io::Error::other("no file is open"))?;
        if let Err(error) = file.write_all(&bytes) {
            let _ = file.set_len(self.good); // the next run does it again
            return Err(error);
        }
        let at = self.good;
        self.good += bytes.len() as u64;
        self.save()?;
        // As the next run reads it, whatever the form of the file changed: its key is the same then.
        let read = Reader::new(&bytes[..], Quoting::Mboxrd).next_letter()?;
        let read = read.ok_or_else(|| io::Error::other("a message came to nothing"))?;
        Ok(self.index.add(at, read))
    }
}

impl Sink for Written {
    fn open(&mut self, name: &str, _: Option<&str>) -> Told<(u64, String)> {
        if has_empty_level(name) {
            return Err(Fault::Refused(format!("`{name}` has an empty level")));
        }
        let levels: Vec<String> = name.split('/').map(component).collect();
        let path = self.root.join(format!("{}.mbox", levels.join("/")));
        let opened = self.open_at(path);
        opened.map_err(|error| refused(&self.path, &error))?;
        Ok((self.generation, name.to_owned()))
    }

    fn keys(&mut self) -> Told<Vec<u64>> {
        Ok(self.index.keys.clone())
    }

    fn digests(&mut self, keys: &[u64], each: &mut dyn FnMut(u64, Digest)) -> Told<()> {
        for key in keys {
            if let Some(place) = self.index.places.get(key) {
                each(*key, place.digest);
            }
        }
        Ok(())
    }

    fn put(&mut self, letter: &Letter) -> Told<Option<u64>> {
        let stored = self.append(letter);
        stored
            .map(Some)
            .map_err(|error| Fault::Stop(format!("{}: {error}", self.path.display())))
    }

    /// Flags stand in the middle of the file.
    fn change(&mut self, _: u64, _: &Flags, _: &Flags) -> Told<bool> {
        Ok(false)
    }

    fn refills(&self) -> bool {
        true
    }

    fn finish(&mut self) -> Told<Option<String>> {
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_all);
        synced.map_err(|error| refused(&self.path, &error))?;
        Ok(None)
    }
}

fn refused(path: &Path, error: &io::Error) -> Fault {
    Fault::Refused(format!("{}: {error}", path.display()))
}

/// The length of the file, once it ends in an empty line: what is written next is a message of its own then.
fn with_empty_line(path: &Path, mut file: &File, length: u64) -> io::Result<u64> {
    let mut end = Vec::new();
    let mut read = File::open(path)?;
    read.seek(SeekFrom::Start(length.saturating_sub(2)))?;
    read.take(2).read_to_end(&mut end)?;
    if end.is_empty() || end == b"\n\n" {
        return Ok(length);
    }
    file.write_all(b"\n\n")?;
    Ok(length + 2)
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

fn nanoseconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |now| now.as_nanos() as u64)
}

fn parse(beside: &str) -> Option<(u64, u64)> {
    let (generation, good) = beside.trim().split_once(' ')?;
    Some((generation.parse().ok()?, good.parse().ok()?))
}

/// The level of a file or directory: without the endings that programs give them.
fn level(name: &str) -> String {
    let endings = [".mbox", ".sbd", ".mbx"];
    let without = endings.iter().find_map(|ending| name.strip_suffix(ending));
    let name = without.filter(|name| !name.is_empty()).unwrap_or(name);
    unescaped(name)
}

/// Adds the mbox files below `at`: those that begin with `From `, and those that are empty. An index of another program is neither.
fn walk(
    root: &Path,
    at: &Path,
    levels: &mut Vec<String>,
    found: &mut Vec<Folder>,
) -> io::Result<()> {
    for entry in fs::read_dir(at)? {
        let entry = entry?;
        let (kind, path, name) = (entry.file_type()?, entry.path(), entry.file_name());
        // A name that is not UTF-8 cannot be opened by name: it is listed, and refused.
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        levels.push(level(&name));
        if kind.is_file() && found.len() <= FOLDERS_MAX && begins(&path)? {
            let own_name = path.strip_prefix(root).unwrap_or(&path);
            found.push(Folder {
                name: joined(levels.iter().map(String::as_str)),
                own_name: own_name.to_string_lossy().into_owned(),
                special_use: None,
            });
        }
        if kind.is_dir() && levels.len() < LEVELS_MAX {
            walk(root, &path, levels, found)?;
        }
        levels.pop();
    }
    Ok(())
}

fn begins(path: &Path) -> io::Result<bool> {
    let mut begin = Vec::new();
    open_regular(path)?.take(5).read_to_end(&mut begin)?;
    Ok(begin.is_empty() || begin == b"From ")
}

/// One level as the name of a file: nothing in it leads elsewhere.
fn component(level: &str) -> String {
    let mut out = String::new();
    for (at, letter) in level.char_indices() {
        match letter {
            '.' if at > 0 => out.push('.'),
            '.' | '%' | '/' | '\\' | ':' => out.push_str(&format!("%{:02X}", letter as u32)),
            letter => out.push(letter),
        }
    }
    out
}

fn unescaped(level: &str) -> String {
    let pairs = [
        ("%2E", "."),
        ("%2F", "/"),
        ("%5C", "\\"),
        ("%3A", ":"),
        ("%25", "%"),
    ];
    let mut level = level.to_owned();
    for (escaped, letter) in pairs {
        level = level.replace(escaped, letter);
    }
    level
}

/// Behind the name of a file: how much of it is good.
const BESIDE: &str = ".length";
const BUFFER: usize = 256 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(text: &str) -> Letter {
        Letter {
            message: text.as_bytes().to_vec(),
            flags: Flags::default(),
            date: InternalDate::utc(1_700_000_000),
        }
    }

    #[test]
    fn a_file_that_was_cut_or_grew_in_a_crash_is_good_up_to_its_length() {
        let root = tempfile::tempdir().expect("a directory");
        let mut written = Written::begin(root.path()).expect("made");
        let (first, _) = Sink::open(&mut written, "Work/a", None).expect("new");
        written
            .put(&letter("A: 1\r\n\r\nFrom x\r\n"))
            .expect("room");
        written.put(&letter("A: 2\r\n\r\n")).expect("room");
        let path = root.path().join("Work/a.mbox");
        let whole = fs::read(&path).expect("it is there");
        // A third one was on its way.
        let mut more = whole.clone();
        more.extend_from_slice(b"From a Sat Jan  3 01:05:34 1996\nA: 3");
        fs::write(&path, &more).expect("ours");
        let mut written = Written::begin(root.path()).expect("made");
        let (again, _) = Sink::open(&mut written, "Work/a", None).expect("it is ours");
        assert_eq!(
            (again, Sink::keys(&mut written).expect("known").len()),
            (first, 2)
        );
        assert_eq!(fs::read(&path).expect("it is there"), whole);
        // A power cut took the end: what remains stays, and what comes now is a message of its own.
        let cut = whole.len() - 4;
        fs::write(&path, &whole[..cut]).expect("ours");
        Sink::open(&mut written, "Work/a", None).expect("it is ours");
        written.put(&letter("A: 2\r\n\r\n")).expect("room");
        let now = fs::read(&path).expect("it is there");
        assert!(now.starts_with(&whole[..cut]));
        Sink::open(&mut written, "Work/a", None).expect("it is ours");
        assert_eq!(Sink::keys(&mut written).expect("known").len(), 3);
        assert_eq!(fs::read(&path).expect("it is there"), now);
    }

    #[test]
    fn keys_are_the_same_when_a_file_is_opened_again() {
        let root = tempfile::tempdir().expect("a directory");
        let mut written = Written::begin(root.path()).expect("made");
        Sink::open(&mut written, "a", None).expect("new");
        let texts = [
            "A: 1\r\n\r\nno end",
            "Status: RO\r\nA: 2\r\n\r\n",
            "A: 3\r\n",
        ];
        let keys = texts.map(|text| written.put(&letter(text)).expect("room").expect("a key"));
        let mut written = Written::begin(root.path()).expect("made");
        Sink::open(&mut written, "a", None).expect("it is ours");
        assert_eq!(Sink::keys(&mut written).expect("known"), keys);
    }

    #[test]
    fn files_of_programs_are_found_by_their_beginning() {
        let root = tempfile::tempdir().expect("a directory");
        let from = "From a Sat Jan  3 01:05:34 1996\n\n";
        for (name, text) in [
            ("Inbox", from),
            ("Inbox.msf", "// <!-- <mdb:mork"),
            ("Work.sbd/Deep.mbox", from),
            ("empty", ""),
            (".hidden", from),
        ] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("below the root")).expect("ours");
            fs::write(path, text).expect("ours");
        }
        let mut mboxes = Mboxes::read(root.path(), Quoting::Mboxrd).expect("it is there");
        let folders = mboxes.folders().expect("they can be read");
        let names: Vec<&str> = folders.iter().map(|folder| &*folder.name).collect();
        assert_eq!(names, ["INBOX", "Work/Deep", "empty"]);
    }

    #[test]
    fn a_file_of_others_is_not_written_to() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("INBOX.mbox"), "From me\n").expect("ours");
        let mut written = Written::begin(root.path()).expect("made");
        let refused = Sink::open(&mut written, "INBOX", None);
        assert!(matches!(refused, Err(Fault::Refused(_))), "{refused:?}");
    }

    #[test]
    fn levels_lead_nowhere_and_come_back() {
        for name in ["..", ".x", "a/b", "100%", "%2F", "c:d\\e"] {
            let component = component(name);
            assert!(!component.starts_with('.') && !component.contains('/'));
            assert_eq!(unescaped(&component), name);
        }
        let root = tempfile::tempdir().expect("a directory");
        let mut written = Written::begin(&root.path().join("below")).expect("made");
        let outside = format!("{}/outside", root.path().display());
        for name in [&*outside, "", "a//b"] {
            let refused = Sink::open(&mut written, name, None);
            assert!(
                matches!(refused, Err(Fault::Refused(_))),
                "{name}: {refused:?}"
            );
        }
        assert!(!root.path().join("outside.mbox").exists());
    }
}
