//! Which profile fits a machine best, and why not the others.

use serde::{Deserialize, Serialize};

use crate::limits::MEMORY_KEPT_SHARE;
use crate::profile::{Match, MatchDisks, MatchNic, Profile, Range};
use crate::shape::Shape;
use crate::units::Size;

/// One profile held against one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub name: String,
    pub fits: bool,
    /// How specific it is: the sum over its conditions.
    pub score: u32,
    /// Conditions that hold, in words.
    pub held: Vec<String>,
    /// Conditions that do not.
    pub missed: Vec<String>,
}

/// The best profile for a machine, and all verdicts, best first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub name: String,
    pub why: String,
    pub verdicts: Vec<Verdict>,
}

/// A product name says more than a count; a count with two ends says more than one with one.
const PRODUCT: u32 = 16;
const VENDOR: u32 = 8;
const SAN: u32 = 8;
const DRIVER: u32 = 4;
const CLASS: u32 = 3;
const BOUND: u32 = 2;

/// Holds every profile against the machine. The most specific one that fits wins; of equals the first by name, and this is reported.
/// It never fails: a machine that no profile describes runs as well, by what is computed from its shape.
pub fn choose(profiles: &[Profile], shape: &Shape) -> Choice {
    let mut verdicts: Vec<Verdict> = profiles
        .iter()
        .map(|profile| verdict(&profile.name, &profile.fits, shape))
        .collect();
    // The name at last: with two of one score the choice must not depend on the order in which files were found.
    verdicts.sort_by(|a, b| (b.fits, b.score, &a.name).cmp(&(a.fits, a.score, &b.name)));
    // All verdicts are kept, for `profile list` to show what each missed.
    let fitting: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.fits).collect();
    let (name, why) = match fitting[..] {
        [] => (
            "generic".to_owned(),
            "no profile fits; everything is computed".to_owned(),
        ),
        // `generic` has no conditions, and so it fits everywhere with no points.
        [only] if only.score == 0 => (
            only.name.clone(),
            "no profile for this hardware fits; everything is computed".to_owned(),
        ),
        [best, ..] => {
            let mut why = format!("it fits: {}", best.held.join(", "));
            let equals: Vec<&str> = fitting[1..]
                .iter()
                .filter(|verdict| verdict.score == best.score)
                .map(|verdict| verdict.name.as_str())
                .collect();
            if !equals.is_empty() {
                why.push_str(&format!(
                    "; {} fits as well and comes later by name (pin one with server.profile)",
                    equals.join(", ")
                ));
            }
            (best.name.clone(), why)
        }
    };
    Choice {
        name,
        why,
        verdicts,
    }
}

fn verdict(name: &str, fits: &Match, shape: &Shape) -> Verdict {
    let mut verdict = Verdict {
        name: name.to_owned(),
        fits: true,
        score: 0,
        held: Vec::new(),
        missed: Vec::new(),
    };
    verdict.word("vendor", fits.vendor.as_deref(), &shape.vendor, VENDOR);
    verdict.word("product", fits.product.as_deref(), &shape.product, PRODUCT);
    verdict.range(
        "cores",
        fits.cores,
        shape.cpus.len() as u64,
        |n| n,
        |n| n.to_string(),
    );
    verdict.range(
        "NUMA nodes",
        fits.numa_nodes,
        shape.numa_nodes as u64,
        |n| n,
        |n| n.to_string(),
    );
    // A profile speaks of what is plugged in; firmware and kernel keep some of it before they count.
    let counted = |size: Size| Size(size.0 - size.0 / MEMORY_KEPT_SHARE);
    verdict.range(
        "memory",
        fits.memory.map(|range| Range {
            min: range.min.map(counted),
            ..range
        }),
        shape.memory_bytes,
        |size| size.0,
        |bytes| Size(bytes).to_string(),
    );
    if let Some(disks) = &fits.disks {
        verdict.disks(disks, shape);
    }
    if let Some(nic) = &fits.nic {
        verdict.nic(nic, shape);
    }
    if let Some(san) = fits.san {
        verdict.note(
            shape.san.contains(&san),
            SAN,
            || format!("{san} storage"),
            || format!("no {san} storage was found"),
        );
    }
    verdict
}

impl Verdict {
    /// One condition. Its words are made only for the side that is shown, because each profile is held against each machine at every start.
    fn note(
        &mut self,
        holds: bool,
        weight: u32,
        held: impl FnOnce() -> String,
        missed: impl FnOnce() -> String,
    ) {
        if holds {
            self.score += weight;
            self.held.push(held());
        } else {
            self.fits = false;
            self.missed.push(missed());
        }
    }

    fn word(&mut self, what: &str, wanted: Option<&str>, found: &str, weight: u32) {
        let Some(wanted) = wanted else { return };
        // Product names end with a revision that says nothing about the machine.
        let holds = match wanted.strip_suffix('*') {
            Some(start) => found.starts_with(start),
            None => found == wanted,
        };
        self.note(
            holds,
            weight,
            || format!("{what} {found}"),
            || format!("{what} is \"{found}\", not \"{wanted}\""),
        );
    }

    fn range<T: Copy>(
        &mut self,
        what: &str,
        wanted: Option<Range<T>>,
        found: u64,
        plain: impl Fn(T) -> u64,
        shown: impl Fn(u64) -> String,
    ) {
        let Some(Range { min, max }) = wanted else {
            return;
        };
        let (min, max) = (min.map(&plain), max.map(&plain));
        let bounds = u32::from(min.is_some()) + u32::from(max.is_some());
        let holds = min.is_none_or(|min| found >= min) && max.is_none_or(|max| found <= max);
        let wanted = match (min, max) {
            // As people write it: "2" and not "2 to 2".
            (Some(min), Some(max)) if min == max => shown(min),
            (Some(min), Some(max)) => format!("{} to {}", shown(min), shown(max)),
            (Some(min), None) => format!("{} or more", shown(min)),
            (None, Some(max)) => format!("at most {}", shown(max)),
            (None, None) => "any".into(),
        };
        self.note(
            holds,
            BOUND * bounds,
            || format!("{what}: {} ({wanted})", shown(found)),
            || format!("{what}: {} here, {wanted} asked for", shown(found)),
        );
    }

    /// Disks with partitions are in use already and do not count: a machine with four disks of which two hold a system has two for mail.
    fn disks(&mut self, wanted: &MatchDisks, shape: &Shape) {
        let count = shape
            .mail_disks()
            .filter(|disk| wanted.class.is_none_or(|class| disk.class == class))
            .count() as u64;
        let what = match wanted.class {
            Some(class) => format!("{} disks without partitions", class.name()),
            None => "disks without partitions".to_owned(),
        };
        let range = Range {
            // A profile that speaks of disks of a class is about a machine that has one.
            min: Some(wanted.min.unwrap_or(1)),
            max: wanted.max,
        };
        let before = self.missed.len();
        self.range(&what, Some(range), count, |n| n, |n| n.to_string());
        // A class alone is worth points: "NVMe disks" is more specific than "disks", also where both ask for two.
        if wanted.class.is_some() && self.missed.len() == before {
            self.score += CLASS;
        }
    }

    fn nic(&mut self, wanted: &MatchNic, shape: &Shape) {
        let like = |nic: &&crate::shape::Nic| {
            wanted
                .driver
                .as_ref()
                .is_none_or(|driver| *driver == nic.driver)
                && wanted
                    .queues_min
                    .is_none_or(|queues| nic.queues as u64 >= queues)
        };
        let weight = DRIVER * u32::from(wanted.driver.is_some())
            + BOUND * u32::from(wanted.queues_min.is_some());
        let found = shape.nics.iter().find(like);
        self.note(
            found.is_some(),
            weight,
            || {
                let nic = found.expect("noted only when found");
                format!("network card {} with {} queues", nic.driver, nic.queues)
            },
            || {
                format!(
                    "no network card {}with {} queues or more",
                    wanted
                        .driver
                        .as_ref()
                        .map(|driver| format!("{driver} "))
                        .unwrap_or_default(),
                    wanted.queues_min.unwrap_or(1)
                )
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str, fits: &str) -> Profile {
        Profile::parse(name, &format!("name = \"{name}\"\n[match]\n{fits}")).expect("right")
    }

    fn shape() -> Shape {
        Shape {
            vendor: "QEMU".into(),
            product: "Standard PC".into(),
            cpus: (0..2)
                .map(|number| crate::shape::Cpu {
                    number,
                    node: 0,
                    second_thread: false,
                })
                .collect(),
            numa_nodes: 1,
            memory_bytes: 2 << 30,
            ..Shape::default()
        }
    }

    #[test]
    fn the_most_specific_profile_that_fits_wins() {
        let profiles = [
            profile("any", ""),
            profile("maker", "vendor = \"QE*\"\n"),
            profile("model", "vendor = \"QEMU\"\ncores = { min = 2, max = 2 }\n"),
            profile("other", "vendor = \"QEMU\"\ncores = { min = 4 }\n"),
        ];
        let choice = choose(&profiles, &shape());
        assert_eq!(choice.name, "model");
        assert!(choice.why.contains("vendor QEMU"), "{}", choice.why);
        let other = choice
            .verdicts
            .iter()
            .find(|verdict| verdict.name == "other");
        assert_eq!(
            other.expect("told").missed,
            ["cores: 2 here, 4 or more asked for"]
        );
    }

    #[test]
    fn equals_are_told_and_the_first_by_name_is_taken() {
        let profiles = [
            profile("b", "vendor = \"QEMU\"\n"),
            profile("a", "vendor = \"QEMU\"\n"),
        ];
        let choice = choose(&profiles, &shape());
        assert_eq!(choice.name, "a");
        assert!(choice.why.contains("b fits as well"), "{}", choice.why);
    }

    #[test]
    fn a_machine_that_nobody_knows_gets_the_computed_one_and_is_told() {
        let profiles = [profile("generic", ""), profile("x", "san = \"fc\"\n")];
        let choice = choose(&profiles, &shape());
        assert_eq!(choice.name, "generic");
        assert!(choice.why.contains("computed"), "{}", choice.why);
    }
}
