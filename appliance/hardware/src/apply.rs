//! Steps taken, and read back.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::probe::kernel_words;
use crate::read;
use crate::tune::{Step, agrees};

/// What is not as the profile promises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The key of the profile.
    pub key: String,
    /// The file, or the word of the command line.
    pub what: String,
    pub promised: String,
    /// What is there; empty: nothing.
    pub found: String,
    /// The kernel's error when it was set.
    pub why: String,
}

/// Takes every step that is not true already, then reads all of them back. What is left is what could not be had.
pub fn apply(root: &Path, steps: &[Step]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for step in steps {
        let path = root.join(&step.path);
        let why = match difference(root, step, String::new()) {
            None => continue,
            Some(_) => match fs::write(&path, &step.value) {
                Ok(()) => String::new(),
                Err(error) => error.to_string(),
            },
        };
        differences.extend(difference(root, step, why));
    }
    differences
}

/// Reads back without setting anything.
pub fn check(root: &Path, steps: &[Step]) -> Vec<Difference> {
    let read_back = |step| difference(root, step, String::new());
    steps.iter().filter_map(read_back).collect()
}

fn difference(root: &Path, step: &Step, why: String) -> Option<Difference> {
    let found = read::text(&root.join(&step.path));
    let found = match found {
        Some(found) if agrees(step.compare, &step.value, &found) => return None,
        other => other.unwrap_or_default(),
    };
    Some(Difference {
        key: step.key.clone(),
        what: Path::new("/").join(&step.path).display().to_string(),
        promised: step.value.clone(),
        found,
        why,
    })
}

/// Words of the command line that the running kernel was not started with.
pub fn check_command_line(root: &Path, promised: &[String]) -> Vec<Difference> {
    let words = kernel_words(root);
    promised
        .iter()
        .filter(|word| !words.contains(word))
        .map(|word| {
            let key = word.split('=').next().unwrap_or(word);
            let found = words
                .iter()
                .find(|found| found.split('=').next() == Some(key))
                .cloned()
                .unwrap_or_default();
            Difference {
                key: "kernel".into(),
                what: format!("kernel command line: {key}"),
                promised: word.clone(),
                found,
                why: "the image was built without it: see `ringpostctl profile cmdline`".into(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use plan::place::place;
    use plan::{Machine, Profile};

    use super::*;
    use crate::fixture::Fixture;
    use crate::{probe, steps};

    #[test]
    fn what_every_profile_promises_is_there_after_it_was_applied() {
        for (name, fixture) in Fixture::of_every_profile() {
            let root = fixture.root();
            let profile = Profile::built_in(name).expect("ours");
            let shape = probe(root);
            let placed = place(&profile.zones, &Machine::whole(&shape)).expect("it fits");
            let steps = steps(root, &profile, &shape, &placed);
            assert_eq!(apply(root, &steps), [], "{name}");
            // The kernel would bracket it; the plain word is as true.
            assert_eq!(check(root, &steps), [], "{name}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_take_is_named_and_the_rest_goes_on() {
        let fixture = Fixture::new()
            .file("sys/good", "0\n")
            .file("sys/refuses/below", "");
        let step = |path: &str, value: &str| Step {
            key: "x".into(),
            path: path.into(),
            value: value.into(),
            compare: crate::tune::Compare::Text,
        };
        // A directory cannot be written.
        let steps = [
            step("sys/refuses", "1"),
            step("sys/none", "1"),
            step("sys/good", "1"),
        ];
        let left = apply(fixture.root(), &steps[..1]);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].what, "/sys/refuses");
        assert!(!left[0].why.is_empty());
        assert_eq!(apply(fixture.root(), &steps[2..]), []);
        assert_eq!(check(fixture.root(), &steps[1..2]).len(), 1);
    }

    #[test]
    fn a_kernel_started_otherwise_is_told_apart() {
        let fixture = Fixture::new().file("proc/cmdline", "quiet nohz_full=1-3 x=y\n");
        let promised = ["nohz_full=2-3".to_owned(), "x=y".to_owned(), "z".to_owned()];
        let left = check_command_line(fixture.root(), &promised);
        assert_eq!(left.len(), 2);
        assert_eq!(left[0].found, "nohz_full=1-3");
        assert_eq!(left[1].found, "");
    }
}
