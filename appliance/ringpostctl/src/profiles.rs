//! `ringpostctl profile`: which hardware profile fits, what it asks for, and what is so. Needs no daemon.

use std::path::Path;

use admin::table::table;
use hardware::{Difference, Step};
use plan::choose::{Choice, choose};
use plan::machine::show_cpus;
use plan::place::place;
use plan::profile::DIRECTORY;
use plan::{Machine, Misfit, Placement, Profile, Shape, Size};
use serde::Serialize;
use serde_json::Value;

/// What a verb answers: for programs, and for people.
type Answer = Result<(Value, String), String>;

/// What a profile means on one machine.
#[derive(Serialize)]
struct Meaning {
    name: String,
    /// What the profile is for, in its own words.
    about: String,
    /// Which CPUs do what here.
    placement: Placement,
    /// The words for the kernel's command line.
    command_line: Vec<String>,
    /// What a boot would write, and where.
    steps: Vec<Step>,
}

/// The answer of `profile explain`.
#[derive(Serialize)]
struct Explained {
    shape: Shape,
    /// The profile that fits best, and why the others do not.
    choice: Choice,
    /// What is not as the profile wants it.
    differences: Vec<Difference>,
}

/// `profile list`: every profile, and whether it fits here.
pub fn list(root: &Path) -> Answer {
    let profiles = all(root)?;
    let choice = choose(&profiles, &hardware::probe(root));
    let rows: Vec<Vec<String>> = choice
        .verdicts
        .iter()
        .map(|verdict| {
            let profile = profiles.iter().find(|profile| profile.name == verdict.name);
            let here = match (verdict.name == choice.name, verdict.fits) {
                (true, _) => "best",
                (false, true) => "fits",
                (false, false) => "-",
            };
            vec![
                verdict.name.clone(),
                here.into(),
                profile
                    .map(|profile| profile.about.clone())
                    .unwrap_or_default(),
            ]
        })
        .collect();
    let text = table(&["PROFILE", "HERE", "FOR"], &rows);
    Ok((json(&choice.verdicts)?, text))
}

/// `profile show`: one profile, and what it means here.
pub fn show(root: &Path, name: &str) -> Answer {
    let meaning = meaning(root, &find(root, name)?, &hardware::probe(root))?;
    let mut text = format!("{}: {}\n\n", meaning.name, meaning.about);
    let placed = &meaning.placement;
    let zones = [
        ("housekeeping", &placed.housekeeping),
        ("storage", &placed.storage),
        ("inbound", &placed.inbound),
        ("client", &placed.client),
    ];
    let rows: Vec<Vec<String>> = zones
        .into_iter()
        .map(|(zone, cpus)| vec![zone.to_owned(), or_none(&show_cpus(cpus))])
        .collect();
    text.push_str(&table(&["ZONE", "CPUS HERE"], &rows));
    text.push_str(&format!(
        "\nkernel command line: {}\n\n",
        or_none(&meaning.command_line.join(" "))
    ));
    let rows: Vec<Vec<String>> = meaning
        .steps
        .iter()
        .map(|step| {
            vec![
                step.key.clone(),
                step.value.clone(),
                format!("/{}", step.path.display()),
            ]
        })
        .collect();
    text.push_str(&table(&["KEY", "VALUE", "FILE"], &rows));
    Ok((json(&meaning)?, text))
}

/// `profile explain`: why this machine gets the profile that it gets, and what is not so.
pub fn explain(root: &Path) -> Answer {
    let profiles = all(root)?;
    let shape = hardware::probe(root);
    let choice = choose(&profiles, &shape);
    let profile = profiles.iter().find(|profile| profile.name == choice.name);
    let meaning = meaning(
        root,
        profile.ok_or("the chosen profile no longer exists")?,
        &shape,
    )?;
    let mut differences = hardware::check(root, &meaning.steps);
    differences.extend(hardware::apply::check_command_line(
        root,
        &meaning.command_line,
    ));
    let mut text = format!(
        "{}\nprofile {}: {}\n\n",
        machine(&shape),
        choice.name,
        choice.why
    );
    let rows: Vec<Vec<String>> = choice
        .verdicts
        .iter()
        .filter(|verdict| verdict.name != choice.name)
        .map(|verdict| {
            let why = if verdict.fits {
                "fits, but is less specific to this machine".to_owned()
            } else {
                verdict.missed.join("; ")
            };
            vec![verdict.name.clone(), why]
        })
        .collect();
    text.push_str(&table(&["NOT TAKEN", "BECAUSE"], &rows));
    text.push('\n');
    if differences.is_empty() {
        text.push_str("all settings are applied\n");
    } else {
        let rows: Vec<Vec<String>> = differences
            .iter()
            .map(|difference| {
                vec![
                    difference.what.clone(),
                    difference.promised.clone(),
                    or_none(&difference.found),
                ]
            })
            .collect();
        text.push_str(&table(&["NOT AS PROMISED", "PROMISED", "FOUND"], &rows));
    }
    let explained = Explained {
        shape,
        choice,
        differences,
    };
    Ok((json(&explained)?, text))
}

/// `profile check`: whether a file is a profile. Needs no machine.
pub fn check(file: &Path) -> Answer {
    let text = plan::load::read_file(file).map_err(|misfit| misfit.to_string())?;
    let name = file.display().to_string();
    let profile = Profile::parse(&name, &text).map_err(|misfit| misfit.to_string())?;
    let sentence = format!("{name} is valid: profile {}", profile.name);
    Ok((serde_json::json!({ "name": profile.name }), sentence))
}

/// For this machine, or for the one that `machine` describes.
pub fn cmdline(root: &Path, name: &str, machine: Option<&str>) -> Answer {
    let shape = match machine {
        None => hardware::probe(root),
        Some(described) if described.contains('=') => Shape::described(described)?,
        Some(file) => shape_of(Path::new(file))?,
    };
    let words = meaning(root, &find(root, name)?, &shape)?.command_line;
    Ok((json(&words)?, words.join(" ")))
}

/// A shape as JSON: alone, or as `shape` of a box's report.
fn shape_of(file: &Path) -> Result<Shape, String> {
    let text = plan::load::read_file(file).map_err(|misfit| misfit.to_string())?;
    let told = |error: serde_json::Error| {
        format!("{}: not a machine description: {error}", file.display())
    };
    let mut value: Value = serde_json::from_str(&text).map_err(told)?;
    if let Some(shape) = value.get_mut("shape") {
        value = shape.take();
    }
    serde_json::from_value(value).map_err(told)
}

/// What the profile means on a machine of this shape.
fn meaning(root: &Path, profile: &Profile, shape: &Shape) -> Result<Meaning, String> {
    // The whole machine: what the boot sees, not what this shell may use.
    let placement = place(&profile.zones, &Machine::whole(shape))
        .map_err(|misfit: Misfit| misfit.to_string())?;
    Ok(Meaning {
        name: profile.name.clone(),
        about: profile.about.clone(),
        command_line: hardware::command_line(profile, &placement),
        steps: hardware::steps(root, profile, shape, &placement),
        placement,
    })
}

fn all(root: &Path) -> Result<Vec<Profile>, String> {
    Profile::all(&root.join(DIRECTORY)).map_err(|misfit| misfit.to_string())
}

/// One profile by its name, or a file of one.
fn find(root: &Path, name: &str) -> Result<Profile, String> {
    let profiles = all(root)?;
    let found = profiles.into_iter().find(|profile| profile.name == name);
    match found {
        Some(profile) => Ok(profile),
        None => Profile::load(name).map_err(|misfit| misfit.to_string()),
    }
}

/// One line about the machine.
fn machine(shape: &Shape) -> String {
    let disks: Vec<String> = shape
        .mail_disks()
        .map(|disk| format!("{} {}", disk.class.name(), Size(disk.bytes)))
        .collect();
    let nics: Vec<String> = shape
        .nics
        .iter()
        .map(|nic| format!("{} ({})", nic.driver, nic.queues))
        .collect();
    format!(
        "{} {}: {} CPUs on {} nodes, {} memory; disks without partitions: {}; network cards: {}",
        or_none(&shape.vendor),
        shape.product,
        shape.cpus.len(),
        shape.numa_nodes,
        Size(shape.memory_bytes),
        or_none(&disks.join(", ")),
        or_none(&nics.join(", ")),
    )
}

/// A dash for nothing.
fn or_none(text: &str) -> String {
    if text.is_empty() {
        "-".into()
    } else {
        text.into()
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use hardware::fixture::Fixture;

    use super::*;

    fn numa() -> Fixture {
        let mut all = Fixture::of_every_profile().into_iter();
        all.find(|(name, _)| *name == "qemu-numa")
            .expect("listed")
            .1
    }

    #[test]
    fn explain_tells_the_choice_the_others_and_what_differs() {
        let fixture = numa();
        let (value, text) = explain(fixture.root()).expect("told");
        assert_eq!(value["choice"]["name"], "qemu-numa");
        assert!(text.contains("no fc storage was found"), "{text}");
        assert!(text.contains("/proc/irq/9/smp_affinity_list"), "{text}");
        assert!(text.contains("nohz_full=1-7"), "{text}");
    }

    #[test]
    fn a_machine_that_is_elsewhere_is_described_or_read_from_its_report() {
        let fixture = numa();
        let here = cmdline(fixture.root(), "qemu-numa", None).expect("told").1;
        let words = "cpus=8 nodes=2 disk_node=1 nic_node=0";
        let empty = Fixture::new();
        let told = |machine: &str| cmdline(empty.root(), "qemu-numa", Some(machine));
        assert_eq!(told(words).expect("told").1, here);
        let report = empty.root().join("boot.json");
        let shape = hardware::probe(fixture.root());
        let text = serde_json::json!({ "version": "0", "shape": shape }).to_string();
        std::fs::write(&report, text).expect("our own file");
        assert_eq!(told(&report.display().to_string()).expect("told").1, here);
        assert!(told("cpus=many").is_err_and(|why| why.contains("cpus=many")));
        assert!(told("/none").is_err());
    }

    #[test]
    fn a_profile_is_shown_as_it_means_this_machine() {
        let fixture = numa();
        let (value, text) = show(fixture.root(), "qemu-numa").expect("told");
        assert_eq!(value["placement"]["storage"], serde_json::json!([4]));
        assert!(text.contains("isolcpus=managed_irq,domain,1-7"), "{text}");
        assert!(show(fixture.root(), "qemu-nuna").is_err_and(|told| told.contains("qemu-numa")));
        let (_, words) = cmdline(fixture.root(), "qemu-numa", None).expect("told");
        assert!(words.ends_with("irqaffinity=0"), "{words}");
        let (value, _) = list(fixture.root()).expect("told");
        assert_eq!(value[0]["name"], "qemu-numa");
    }
}
