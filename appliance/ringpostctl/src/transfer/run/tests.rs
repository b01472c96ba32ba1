//! Ends in memory that break off where a test says so.

use std::cell::RefCell;
use std::rc::Rc;

use mail::{Flags, InternalDate, SystemFlags};

use super::*;

/// One folder at each end, and what goes wrong.
#[derive(Default)]
struct World {
    /// By key: text and flags.
    source: BTreeMap<u64, (String, Flags)>,
    source_generation: u64,
    there: BTreeMap<u64, (String, Flags)>,
    there_generation: u64,
    /// The source breaks off when this message is asked for.
    breaks_at: Option<u64>,
    /// And when this one or any behind it is.
    breaks_from: Option<u64>,
    /// The destination refuses these texts.
    refuses: Vec<&'static str>,
    /// The destination breaks off at these.
    cuts: Vec<&'static str>,
    /// The destination is files, which the operator alone changes.
    is_files: bool,
    /// Calls of the destination after which it is away, for good; and whether the last one was still done.
    calls_left: Option<(u32, bool)>,
    sources_opened: u32,
}

#[derive(Clone)]
struct End(Rc<RefCell<World>>);

impl End {
    fn call(&self) -> Result<bool, Fault> {
        let mut world = self.0.borrow_mut();
        match &mut world.calls_left {
            None => Ok(true),
            Some((0, _)) => Err(Fault::Away("the destination is away".into())),
            Some((left, is_done)) => {
                *left -= 1;
                Ok(*left > 0 || *is_done)
            }
        }
    }

    /// A call that changes something: done and not answered, or not done.
    fn alter<T>(&self, change: impl FnOnce(&mut World) -> T) -> Result<T, Fault> {
        let is_done = self.call()?;
        let is_last = matches!(self.0.borrow().calls_left, Some((0, _)));
        let away = Err(Fault::Away("the destination is away".into()));
        if !is_done {
            return away;
        }
        let done = change(&mut self.0.borrow_mut());
        if is_last { away } else { Ok(done) }
    }
}

impl Source for End {
    fn folders(&mut self) -> Result<Vec<Folder>, Fault> {
        Ok(vec![Folder {
            name: "Work".into(),
            own_name: "Work".into(),
            special_use: None,
        }])
    }

    fn open(&mut self, _: &Folder) -> Result<u64, Fault> {
        Ok(self.0.borrow().source_generation)
    }

    fn keys(&mut self) -> Result<Vec<u64>, Fault> {
        Ok(self.0.borrow().source.keys().copied().collect())
    }

    fn look(&mut self, keys: &[u64]) -> Result<Vec<Listed>, Fault> {
        let world = self.0.borrow();
        let listed = keys.iter().filter_map(|key| {
            let (text, flags) = world.source.get(key)?;
            Some(Listed {
                key: *key,
                flags: flags.clone(),
                bytes: text.len() as u64,
            })
        });
        Ok(listed.collect())
    }

    fn name_of(&self, key: u64) -> String {
        format!("UID {key}")
    }

    fn fetch(
        &mut self,
        keys: &[u64],
        each: &mut dyn FnMut(u64, Letter) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        for key in keys {
            let (at, from) = (self.0.borrow().breaks_at, self.0.borrow().breaks_from);
            if at == Some(*key) || from.is_some_and(|from| *key >= from) {
                return Err(Fault::Away("closed in mid-literal".into()));
            }
            let found = self.0.borrow().source.get(key).cloned();
            if let Some((text, flags)) = found {
                let date = InternalDate::utc(1_700_000_000);
                let message = text.into_bytes();
                let letter = Letter {
                    message,
                    flags,
                    date,
                };
                each(*key, letter.clone())?;
                // A server that says it twice.
                each(*key, letter)?;
            }
        }
        Ok(())
    }
}

impl Sink for End {
    fn open(&mut self, name: &str, _: Option<&str>) -> Result<(u64, String), Fault> {
        self.call()?;
        Ok((self.0.borrow().there_generation, name.to_owned()))
    }

    fn keys(&mut self) -> Result<Vec<u64>, Fault> {
        self.call()?;
        Ok(self.0.borrow().there.keys().copied().collect())
    }

    fn digests(&mut self, keys: &[u64], each: &mut dyn FnMut(u64, Digest)) -> Result<(), Fault> {
        self.call()?;
        for key in keys {
            if let Some((text, _)) = self.0.borrow().there.get(key) {
                each(*key, digest(text.as_bytes()));
            }
        }
        Ok(())
    }

    fn put(&mut self, letter: &Letter) -> Result<Option<u64>, Fault> {
        let text = String::from_utf8_lossy(&letter.message).into_owned();
        if self.0.borrow().refuses.contains(&text.as_str()) {
            return Err(Fault::Refused("NO [OVERQUOTA] Quota exceeded".into()));
        }
        if self.0.borrow().cuts.contains(&text.as_str()) {
            return Err(Fault::Away("closed behind the literal".into()));
        }
        self.alter(|world| {
            let key = world.there.keys().last().copied().unwrap_or_default() + 1;
            world.there.insert(key, (text, letter.flags.clone()));
            Some(key)
        })
    }

    fn change(&mut self, key: u64, added: &Flags, removed: &Flags) -> Result<bool, Fault> {
        self.alter(|world| match world.there.get_mut(&key) {
            Some((_, flags)) => {
                *flags = flags.with(added).without(removed);
                true
            }
            None => false,
        })
    }

    fn refills(&self) -> bool {
        self.0.borrow().is_files
    }

    fn finish(&mut self) -> Result<Option<String>, Fault> {
        self.call().map(|_| Some("a word".to_owned()))
    }
}

struct Rig {
    world: Rc<RefCell<World>>,
    root: tempfile::TempDir,
}

impl Rig {
    fn new(texts: &[&str]) -> Rig {
        let mut world = World {
            source_generation: 1,
            there_generation: 1,
            ..World::default()
        };
        for (key, text) in (1..).zip(texts) {
            let flags = Flags::default();
            world.source.insert(key, ((*text).to_owned(), flags));
        }
        Rig {
            world: Rc::new(RefCell::new(world)),
            root: tempfile::tempdir().expect("a directory"),
        }
    }

    fn run(&self) -> AccountOutcome {
        self.run_by(&Map::default())
    }

    fn run_by(&self, map: &Map) -> AccountOutcome {
        let place = Place::open(self.root.path(), "ann@example.org", "a").expect("free");
        let mut source = || {
            self.world.borrow_mut().sources_opened += 1;
            Ok(Box::new(End(self.world.clone())) as Box<dyn Source>)
        };
        let mut sink = || Ok(Box::new(End(self.world.clone())) as Box<dyn Sink>);
        let ends = Ends {
            source: &mut source,
            sink: &mut sink,
            pause: &|_| {},
        };
        let progress = Progress::new(true);
        run(ends, &place, map, &progress).expect("it begins")
    }

    /// The texts that are at the destination, sorted.
    fn there(&self) -> Vec<String> {
        let world = self.world.borrow();
        let mut texts: Vec<String> = world.there.values().map(|(text, _)| text.clone()).collect();
        texts.sort();
        texts
    }
}

const SEEN: SystemFlags = SystemFlags::SEEN;

#[test]
fn a_second_run_brings_what_is_new_and_flags_that_changed() {
    let rig = Rig::new(&["a", "b"]);
    let first = rig.run();
    assert!(first.is_complete());
    assert_eq!(first.folders[0].note.as_deref(), Some("a word"));
    assert_eq!(
        (first.folders[0].brought, first.folders[0].messages),
        (2, 2)
    );
    {
        let mut world = rig.world.borrow_mut();
        world.source.insert(9, ("c".into(), Flags::default()));
        world.source.get_mut(&1).expect("it is there").1 = Flags::system(SEEN);
        // A person here marks the other one.
        let flagged = Flags::system(SystemFlags::FLAGGED);
        world.there.get_mut(&2).expect("it is there").1 = flagged;
    }
    let second = rig.run();
    let folder = &second.folders[0];
    assert_eq!((folder.brought, folder.flags_changed), (1, 1));
    assert_eq!(rig.there(), ["a", "b", "c"]);
    let world = rig.world.borrow();
    assert_eq!(world.there[&1].1, Flags::system(SEEN));
    assert_eq!(world.there[&2].1, Flags::system(SystemFlags::FLAGGED));
}

#[test]
fn a_run_that_ends_at_any_call_is_followed_by_one_without_doubles() {
    let texts = ["a", "b", "b", "c", "d"];
    for is_done in [true, false] {
        for calls in 0..24 {
            let rig = Rig::new(&texts);
            rig.world.borrow_mut().calls_left = Some((calls, is_done));
            let cut = rig.run();
            rig.world.borrow_mut().calls_left = None;
            let ended = cut.ended.is_some();
            assert_eq!(cut.is_complete(), !ended, "after {calls} calls");
            let whole = rig.run();
            assert!(whole.is_complete(), "after {calls} calls");
            assert_eq!(rig.there(), texts, "after {calls} calls, {is_done}");
        }
    }
}

#[test]
fn a_journal_that_is_lost_or_of_another_generation_makes_no_doubles() {
    let texts = ["a", "b", "b"];
    let rig = Rig::new(&texts);
    rig.run();
    rig.world.borrow_mut().source_generation = 2;
    let again = rig.run();
    assert_eq!((again.folders[0].brought, again.folders[0].found), (0, 3));
    let lost = Rig {
        world: rig.world.clone(),
        root: tempfile::tempdir().expect("a directory"),
    };
    let again = lost.run();
    assert_eq!((again.folders[0].brought, again.folders[0].found), (0, 3));
    assert_eq!(rig.there(), texts);
    // What was removed here stays removed; a folder that was made again is filled again.
    rig.world.borrow_mut().there.clear();
    assert_eq!(lost.run().folders[0].brought, 0);
    rig.world.borrow_mut().there_generation = 2;
    assert_eq!(lost.run().folders[0].brought, 3);
}

#[test]
fn what_is_refused_is_listed_and_the_rest_goes_on() {
    let rig = Rig::new(&["a", "big", "", "b"]);
    rig.world.borrow_mut().refuses = vec!["big"];
    let outcome = rig.run();
    assert_eq!(rig.there(), ["a", "b"]);
    let folder = &outcome.folders[0];
    assert_eq!((folder.failed, folder.missing), (2, 0));
    let said: Vec<&str> = folder.failures.iter().map(|failed| &*failed.why).collect();
    assert_eq!(
        said,
        ["NO [OVERQUOTA] Quota exceeded", "the message is empty"]
    );
    assert_eq!(folder.failures[0].message, "UID 2");
    assert!(!outcome.is_complete());
    // It is tried again each time.
    rig.world.borrow_mut().refuses.clear();
    assert_eq!(rig.run().folders[0].brought, 1);
}

#[test]
fn a_message_at_which_the_source_breaks_off_is_given_up_after_a_few_tries() {
    let rig = Rig::new(&["a", "bad", "b"]);
    rig.world.borrow_mut().breaks_at = Some(2);
    let outcome = rig.run();
    assert_eq!(rig.there(), ["a", "b"]);
    let folder = &outcome.folders[0];
    assert_eq!((folder.brought, folder.failed), (2, 1));
    assert!(folder.failures[0].why.contains("mid-literal"));
    assert_eq!(rig.world.borrow().sources_opened, TRIES_PER_MESSAGE_MAX + 1);
}

#[test]
fn a_source_that_breaks_off_at_each_message_ends_the_run() {
    let texts: Vec<String> = (0..60).map(|number| format!("text {number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let rig = Rig::new(&texts);
    rig.world.borrow_mut().breaks_from = Some(3);
    let outcome = rig.run();
    assert!(outcome.ended.is_some());
    assert_eq!(rig.there().len(), 2);
    let opened = rig.world.borrow().sources_opened;
    assert!(opened <= TRIES_MAX + 1, "{opened} connections");
}

#[test]
fn a_message_at_which_the_destination_breaks_off_is_given_up_after_a_few_tries() {
    let rig = Rig::new(&["a", "bad", "b"]);
    rig.world.borrow_mut().cuts = vec!["bad"];
    let outcome = rig.run();
    assert_eq!(rig.there(), ["a", "b"]);
    let folder = &outcome.folders[0];
    assert_eq!((folder.brought, folder.failed), (2, 1));
    assert!(folder.failures[0].why.contains("behind the literal"));
    assert_eq!(outcome.ended, None);
}

#[test]
fn what_files_lost_is_written_again() {
    let rig = Rig::new(&["a", "b"]);
    rig.world.borrow_mut().is_files = true;
    rig.run();
    rig.world.borrow_mut().there.remove(&2);
    let again = rig.run();
    assert_eq!((again.folders[0].brought, again.folders[0].found), (1, 0));
    assert_eq!(rig.there(), ["a", "b"]);
    assert_eq!(rig.run().folders[0].brought, 0);
}

#[test]
fn another_folder_of_the_destination_is_filled_though_its_generation_is_the_same() {
    let rig = Rig::new(&["a", "b"]);
    rig.run();
    rig.world.borrow_mut().there.clear();
    let map = Map {
        map: vec![("Work".into(), "Other".into())],
        ..Map::default()
    };
    assert_eq!(rig.run_by(&map).folders[0].brought, 2);
}

#[test]
fn batches_are_bounded_by_count_and_size() {
    let listed = |key, bytes| Listed {
        key,
        flags: Flags::default(),
        bytes,
    };
    let small: Vec<Listed> = (0..120).map(|key| listed(key, 1_000)).collect();
    let sizes: Vec<usize> = batches(&small).iter().map(Vec::len).collect();
    assert_eq!(sizes, [FETCHED_TOGETHER_MAX, FETCHED_TOGETHER_MAX, 20]);
    let large = [
        listed(1, u64::MAX),
        listed(2, FETCHED_BYTES_TOGETHER_MAX),
        listed(3, 1),
        listed(4, 1),
    ];
    assert_eq!(batches(&large), [vec![1], vec![2], vec![3, 4]]);
}
