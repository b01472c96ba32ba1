//! What was brought from one folder: one file of lines, which grows while messages are moved and is read at the next run.
//!
//! The first line has the generations of both ends and the folder's name. Then a line for each message: `M SOURCE DESTINATION DIGEST FLAGS` for one that is at
//! both ends, `D - DESTINATION DIGEST` for one that was at the destination before. A later line of a message counts. A line without its end was cut off by a crash.
//!
//! What must hold: a line is written after the destination has the message; a message without a line is found at the destination by its content. So the file may be lost or
//! cut short at any byte, and no message comes twice.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use mail::{Flags, Keyword, SystemFlags};
use nix::fcntl::{Flock, FlockArg};

use super::letter::{Digest, Fault};
use super::limits::MESSAGES_MAX;

/// What is known of a message that is at both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// `None`: the destination did not say where it put it.
    pub destination: Option<u64>,
    pub digest: Digest,
    /// What the source had when they were last carried over.
    pub flags: Flags,
}

pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    links: HashMap<u64, Link>,
    /// Keys at the destination that some link names.
    linked: HashSet<u64>,
    /// Contents at the destination that no link names.
    others: HashMap<u64, Digest>,
}

impl Journal {
    /// The journal of a folder, with what is known under these generations. Of another generation of the source the contents at the destination remain; of another one of the
    /// destination nothing does.
    pub(crate) fn open(
        path: &Path,
        name: &str,
        (source, destination): (u64, u64),
    ) -> Result<Journal, Fault> {
        let head = format!("{MAGIC} {source} {destination} {name:?}\n");
        let mut journal = Journal {
            file: open(path)?,
            path: path.to_owned(),
            links: HashMap::new(),
            linked: HashSet::new(),
            others: HashMap::new(),
        };
        let mut read = BufReader::new(&journal.file);
        let mut line = Vec::new();
        let told = |error: std::io::Error| stop(path, &error.to_string());
        read.read_until(b'\n', &mut line).map_err(told)?;
        let was = String::from_utf8_lossy(&line).into_owned();
        let generations = generations(&was);
        let is_cut = head.starts_with(&was);
        if generations.is_none() && !is_cut {
            return Err(stop(path, "this is not a journal of ringpostctl"));
        }
        let mut whole = line.len() as u64;
        let is_known = generations.is_some_and(|known| known.1 == destination);
        let (mut links, mut others) = (HashMap::new(), HashMap::new());
        loop {
            // bounded by the file
            line.clear();
            if is_known {
                read.read_until(b'\n', &mut line).map_err(told)?;
            }
            if !line.ends_with(b"\n") {
                break;
            }
            whole += line.len() as u64;
            match parse(&line) {
                Some((Some(key), link)) => {
                    links.insert(key, link);
                }
                Some((None, link)) => {
                    let key = link.destination.unwrap_or_default();
                    others.insert(key, link.digest);
                }
                None => return Err(stop(path, "a line of it cannot be read")),
            }
            if links.len() + others.len() > 2 * MESSAGES_MAX {
                return Err(stop(path, "it has too many lines"));
            }
        }
        drop(read);
        if was == head {
            journal.file.set_len(whole).map_err(told)?;
            journal.links = links;
            journal.others = others;
        } else {
            if generations.is_some_and(|known| known.0 == source) {
                journal.links = links;
            } else {
                let contents = links.into_values();
                let contents = contents.filter_map(|link| Some((link.destination?, link.digest)));
                others.extend(contents);
            }
            journal.others = others;
            journal.write_again(&head)?;
        }
        journal.linked = destinations(&journal.links).collect();
        let linked = &journal.linked;
        journal.others.retain(|key, _| !linked.contains(key));
        Ok(journal)
    }

    pub(crate) fn link(&self, source: u64) -> Option<&Link> {
        self.links.get(&source)
    }

    pub(crate) fn is_linked(&self, destination: u64) -> bool {
        self.linked.contains(&destination)
    }

    /// The content of a message at the destination that is not linked, if it was looked at before.
    pub(crate) fn other(&self, destination: u64) -> Option<Digest> {
        self.others.get(&destination).copied()
    }

    /// Links whose message is not at the destination any more count for nothing.
    pub(crate) fn forget_missing(&mut self, there: &HashSet<u64>) {
        let is_there = |link: &Link| link.destination.is_none_or(|key| there.contains(&key));
        self.links.retain(|_, link| is_there(link));
        self.linked.retain(|key| there.contains(key));
    }

    /// The message is at both ends.
    pub(crate) fn set_link(&mut self, source: u64, link: Link) -> Result<(), Fault> {
        let line = line_of(Some(source), &link);
        self.write(&line)?;
        if let Some(destination) = link.destination {
            self.linked.insert(destination);
            self.others.remove(&destination);
        }
        self.links.insert(source, link);
        Ok(())
    }

    /// What a message at the destination contains.
    pub(crate) fn set_other(&mut self, destination: u64, digest: Digest) -> Result<(), Fault> {
        let link = Link {
            destination: Some(destination),
            digest,
            flags: Flags::default(),
        };
        self.write(&line_of(None, &link))?;
        self.others.insert(destination, digest);
        Ok(())
    }

    fn write(&mut self, line: &str) -> Result<(), Fault> {
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|error| stop(&self.path, &error.to_string()))
    }

    /// Puts a whole new file in place of the one that is there.
    fn write_again(&mut self, head: &str) -> Result<(), Fault> {
        let told = |error: std::io::Error| stop(&self.path, &error.to_string());
        let part = self.path.with_extension("part");
        let mut out = std::io::BufWriter::new(File::create(&part).map_err(told)?);
        out.write_all(head.as_bytes()).map_err(told)?;
        for (key, link) in &self.links {
            let line = line_of(Some(*key), link);
            out.write_all(line.as_bytes()).map_err(told)?;
        }
        for (key, digest) in &self.others {
            let link = Link {
                destination: Some(*key),
                digest: *digest,
                flags: Flags::default(),
            };
            let line = line_of(None, &link);
            out.write_all(line.as_bytes()).map_err(told)?;
        }
        let file = out.into_inner().map_err(|error| told(error.into_error()))?;
        file.sync_all().map_err(told)?;
        fs::rename(&part, &self.path).map_err(told)?;
        self.file = open(&self.path)?;
        Ok(())
    }
}

fn destinations(links: &HashMap<u64, Link>) -> impl Iterator<Item = u64> {
    links.values().filter_map(|link| link.destination)
}

/// For reading from the beginning, and for writing behind the end.
fn open(path: &Path) -> Result<File, Fault> {
    let options = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path);
    options.map_err(|error| stop(path, &error.to_string()))
}

fn stop(path: &Path, why: &str) -> Fault {
    Fault::Stop(format!("{}: {why}", path.display()))
}

/// Of both ends, as the first line has them.
fn generations(head: &str) -> Option<(u64, u64)> {
    let rest = head.strip_prefix(MAGIC)?.strip_prefix(' ')?;
    let mut words = rest.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn line_of(source: Option<u64>, link: &Link) -> String {
    let (kind, source) = match source {
        Some(source) => ('M', source.to_string()),
        None => ('D', "-".to_owned()),
    };
    let destination = link
        .destination
        .map_or("-".to_owned(), |key| key.to_string());
    let digest: String = link
        .digest
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut line = format!(
        "{kind} {source} {destination} {digest} {}",
        link.flags.system.0
    );
    for keyword in &link.flags.keywords {
        line.push(' ');
        line.push_str(keyword.as_str());
    }
    line.push('\n');
    line
}

fn parse(line: &[u8]) -> Option<(Option<u64>, Link)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let kind = words.next()?;
    let number = |word: &str| match word {
        "-" => Some(None),
        word => word.parse::<u64>().ok().map(Some),
    };
    let (source, destination) = (number(words.next()?)?, number(words.next()?)?);
    let hex = words.next()?;
    let mut digest = Digest::default();
    if hex.len() != 2 * digest.len() || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    let system = SystemFlags(words.next()?.parse().ok()?);
    let keywords = words.map(Keyword::parse).collect::<Option<Vec<_>>>()?;
    if (kind == "M") != source.is_some() || !matches!(kind, "M" | "D") {
        return None;
    }
    let flags = Flags { system, keywords };
    let link = Link {
        destination,
        digest,
        flags,
    };
    Some((source, link))
}

/// The directory of the journals of one transfer, held against a second run.
pub(crate) struct Place {
    directory: PathBuf,
    _lock: Flock<File>,
}

impl Place {
    /// `of`: what is moved between which ends; other words have another directory.
    pub(crate) fn open(root: &Path, account: &str, of: &str) -> Result<Place, String> {
        let account: String = account
            .chars()
            .map(|letter| match letter {
                letter if letter.is_ascii_alphanumeric() || "@.-_+".contains(letter) => letter,
                _ => '_',
            })
            .take(64)
            .collect();
        let name = format!("{}-{}", account.trim_start_matches('.'), short(of));
        let directory = root.join(name);
        let told = |error: std::io::Error| format!("{}: {error}", directory.display());
        fs::create_dir_all(&directory).map_err(told)?;
        let lock = File::create(directory.join("lock")).map_err(told)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|_| {
            format!(
                "{} is in use by another run: wait until it has ended",
                directory.display()
            )
        })?;
        Ok(Place {
            directory,
            _lock: lock,
        })
    }

    /// Of the folder with these names at both ends.
    pub(crate) fn folder(&self, source: &str, destination: &str) -> PathBuf {
        let names = format!("{source}\n{destination}");
        self.directory.join(format!("{}.journal", short(&names)))
    }
}

fn short(text: &str) -> String {
    let hash = blake3::hash(text.as_bytes()).to_hex();
    hash[..16].to_owned()
}

const MAGIC: &str = "ringpost-transfer 1";

#[cfg(test)]
mod tests {
    use super::*;

    fn link(destination: u64, content: u8) -> Link {
        Link {
            destination: Some(destination),
            digest: [content; 16],
            flags: Flags {
                system: SystemFlags::SEEN,
                keywords: vec![Keyword::parse("$Work").expect("an atom")],
            },
        }
    }

    #[test]
    fn lines_come_back_and_a_cut_line_is_forgotten() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("one");
        let mut journal = Journal::open(&path, "INBOX", (1, 2)).expect("new");
        journal.set_other(9, [9; 16]).expect("written");
        journal.set_link(4, link(9, 9)).expect("written");
        journal.set_link(5, link(10, 1)).expect("written");
        drop(journal);
        let whole = fs::read(&path).expect("it is there");
        let mut counts = Vec::new();
        for end in 0..=whole.len() {
            fs::write(&path, &whole[..end]).expect("ours");
            let mut journal = Journal::open(&path, "INBOX", (1, 2)).expect("it was cut");
            counts.push(journal.links.len());
            // What follows a cut line is whole.
            journal.set_link(6, link(11, 2)).expect("written");
            drop(journal);
            let journal = Journal::open(&path, "INBOX", (1, 2)).expect("whole");
            assert_eq!(journal.link(6), Some(&link(11, 2)), "cut at {end}");
        }
        assert!(
            counts.is_sorted() && counts.last() == Some(&2),
            "{counts:?}"
        );
    }

    #[test]
    fn another_generation_of_the_source_keeps_contents_and_of_the_destination_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("one");
        let mut journal = Journal::open(&path, "INBOX", (1, 2)).expect("new");
        journal.set_link(4, link(9, 9)).expect("written");
        drop(journal);
        for _ in 0..2 {
            let journal = Journal::open(&path, "INBOX", (7, 2)).expect("it is one");
            assert_eq!(journal.link(4), None);
            assert_eq!(
                (journal.other(9), journal.is_linked(9)),
                (Some([9; 16]), false)
            );
        }
        let journal = Journal::open(&path, "INBOX", (7, 3)).expect("it is one");
        assert_eq!(journal.other(9), None);
    }

    #[test]
    fn another_file_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("one");
        for text in ["a letter\nto you\n", "ringpost-transfer 1 1 2 INBOX\nM x\n"] {
            fs::write(&path, text).expect("ours");
            let refused = Journal::open(&path, "INBOX", (1, 2)).err();
            assert!(matches!(refused, Some(Fault::Stop(_))), "{text}");
            assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
        }
    }

    #[test]
    fn two_runs_at_once_are_refused() {
        let root = tempfile::tempdir().expect("a directory");
        let first = Place::open(root.path(), "../ann@example.org", "a").expect("free");
        assert!(first.directory.starts_with(root.path()));
        assert!(Place::open(root.path(), "../ann@example.org", "a").is_err());
        assert!(Place::open(root.path(), "../ann@example.org", "b").is_ok());
    }
}
