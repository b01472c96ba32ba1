//! The state directory: who holds it, and what is in it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use plan::Misfit;

/// How long a start waits for the directory. A process that was killed holds its lock until the kernel has taken down its
/// rings and memory, which a supervisor that restarts at once does not wait for; legs are waited for as long.
const HELD_RETRY: Duration = Duration::from_secs(3);
const HELD_PAUSE: Duration = Duration::from_millis(50);

/// A state directory that is ours until dropped.
pub struct State {
    pub path: PathBuf,
    _lock: Flock<File>,
}

impl State {
    /// Makes the directory where it is missing, and locks it against a second process. Tries again for `HELD_RETRY` while
    /// another process holds it.
    pub fn open(path: &Path) -> Result<State, Misfit> {
        let told = |what: &str, error: std::io::Error| {
            Misfit::new(format!(
                "{what} {}: {error}; choose another place with --state",
                path.display()
            ))
        };
        if path.exists() && !path.is_dir() {
            return Err(Misfit::new(format!(
                "{} is not a directory: choose another with --state",
                path.display()
            )));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| told("cannot make the state directory", error))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(|error| told("cannot write in the state directory", error))?;
        let give_up = Instant::now() + HELD_RETRY;
        let mut lock = loop {
            // until it is ours or time is up
            match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => break lock,
                Err((file, Errno::EWOULDBLOCK)) if Instant::now() < give_up => {
                    lock = file;
                    std::thread::sleep(HELD_PAUSE);
                }
                Err((mut file, Errno::EWOULDBLOCK)) => {
                    let mut holder = String::new();
                    let _ = file.read_to_string(&mut holder);
                    return Err(Misfit::new(format!(
                        "{} is in use by another ringpostd (process {}): stop that one, or choose another place with --state",
                        path.display(),
                        holder.trim(),
                    )));
                }
                Err((_, errno)) => return Err(told("cannot lock", errno.into())),
            }
        };
        let note = (|| {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(*lock, "{}", std::process::id())
        })();
        note.map_err(|error: std::io::Error| told("cannot write in the state directory", error))?;
        Ok(State {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Puts `ringpostctl` beside the legs, so that the printed lines work wherever the program was built.
    pub fn link_ringpostctl(&self) {
        let link = self.join("ringpostctl");
        let Ok(program) = std::env::current_exe() else {
            return;
        };
        match fs::read_link(&link) {
            Ok(target) if target == program => return,
            Ok(_) => drop(fs::remove_file(&link)), // of a program that was built elsewhere
            Err(_) if link.exists() => return,     // somebody put a file of their own there
            Err(_) => {}
        }
        if let Err(error) = std::os::unix::fs::symlink(&program, &link) {
            tracing::warn!(link = %link.display(), %error, "cannot put ringpostctl into the state directory");
        }
    }
}

/// Why we ended, for the console of an appliance. Elsewhere there is no such place.
const LAST_WORDS: &str = "/run/ringpost/failed";

pub fn leave_last_words(misfit: &Misfit) {
    if Path::new("/run/ringpost/boot.json").exists() {
        let _ = fs::write(LAST_WORDS, misfit.to_string()); // it was said on standard error as well
    }
}

/// We serve: what an earlier try said is over.
pub fn take_back_last_words() {
    let _ = fs::remove_file(LAST_WORDS); // mostly there is none
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_has_one_holder() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state");
        let held = State::open(&path).expect("free");
        let misfit = State::open(&path).err().expect("held").to_string();
        assert!(
            misfit.contains(&std::process::id().to_string()) && misfit.contains("--state"),
            "{misfit}"
        );
        drop(held);
        assert!(State::open(&path).is_ok());
    }

    #[test]
    fn a_start_waits_for_a_holder_that_is_going_away() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state");
        let held = State::open(&path).expect("free");
        let going = std::thread::spawn(move || {
            std::thread::sleep(4 * HELD_PAUSE);
            drop(held);
        });
        assert!(State::open(&path).is_ok());
        going.join().expect("gone");
    }

    #[test]
    fn a_file_is_no_state_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, b"x").expect("written");
        assert!(
            State::open(&path)
                .err()
                .is_some_and(|misfit| misfit.to_string().contains("not a directory"))
        );
    }
}
