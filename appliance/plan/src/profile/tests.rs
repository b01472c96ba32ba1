use std::collections::BTreeSet;

use super::*;

/// Keys that the code knows in `table`, as serde lists them when it is given one that it does not know.
fn keys(before: &str, table: &str) -> Vec<String> {
    let text = format!("name = \"p\"\n{before}\n{table}zzzzzzzzzzzzzzzzzz = 1\n");
    let told = Profile::parse("p", &text).expect_err("unknown").to_string();
    let listed = told
        .split_once("write one of ")
        .unwrap_or_else(|| panic!("{told}"))
        .1;
    listed
        .split(", ")
        .map(|key| key.trim_matches('`').to_owned())
        .collect()
}

#[test]
fn every_key_is_told_in_the_schema_and_no_other() {
    let schema = include_str!("../../../../hw-profiles/SCHEMA.md");
    let mut known = BTreeSet::new();
    for key in keys("", "") {
        // Tables are described by their keys.
        if key == "name" || key == "about" {
            known.insert(key);
        }
    }
    let tables = [
        "match",
        "match.disks",
        "match.nic",
        "memory",
        "zones",
        "storage",
        "ring",
        "mirror",
        "kernel",
        "irq",
        "nic",
        "block",
        "cpu",
        "watchdog",
    ];
    for table in tables {
        for key in keys("", &format!("[{table}]\n")) {
            known.insert(format!("{table}.{key}"));
        }
    }
    for key in keys("", "[zones.inbound]\n") {
        known.insert(format!("zones.inbound.{key}"));
    }
    let told: BTreeSet<String> = schema
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once('`'))
        .map(|(key, _)| key.to_owned())
        .collect();
    assert_eq!(told, known);
    for table in keys("", "") {
        assert!(
            tables.contains(&&*table) || ["name", "about"].contains(&&*table),
            "`{table}` is not looked at here"
        );
    }
}

#[test]
fn every_built_in_profile_is_right_and_has_the_name_of_its_file() {
    for (name, _) in BUILT_IN {
        let profile = Profile::built_in(name).expect("listed");
        assert_eq!(profile.name, name);
        assert!(!profile.about.is_empty(), "{name}");
    }
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../hw-profiles"));
    let count = files
        .expect("they are there")
        .flatten()
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "toml")
        })
        .count();
    assert_eq!(count, BUILT_IN.len(), "a file is not part of the program");
}

#[test]
fn what_is_wrong_in_a_profile_is_told_with_what_to_write() {
    let cases = [
        ("[zones]\nstorage = [0, 1]\n", "one CPU"),
        ("[zones]\ninbound = { count = 2, share = 50 }\n", "not both"),
        ("[zones]\ninbound = { cuont = 2 }\n", "write `count`"),
        ("[zones]\ninbound = 5\n", "CPU numbers like"),
        ("[zones]\ninbound = { near = \"disk\" }\n", "write `disks`"),
        ("[kernel]\nisolate = true\n", "zones.housekeeping"),
        (
            "[block]\ntimeout = \"15s\"\n",
            "less than storage.hard_deadline",
        ),
        ("[nic]\nqueues = \"all\"\n", "\"inbound\""),
        ("[match]\ncores = { least = 2 }\n", "unknown key `least`"),
        ("[match.disks]\nclass = \"ide\"\n", "ide"),
        ("[memory]\npercent = 99\n", "10 to 95"),
    ];
    for (text, what) in cases {
        let told = Profile::parse("f.toml", &format!("name = \"p\"\n{text}"))
            .expect_err(text)
            .to_string();
        assert!(
            told.contains(what) && told.contains("f.toml"),
            "{text:?} gave: {told}"
        );
    }
}

#[test]
fn an_oems_file_takes_the_place_of_ours() {
    let directory = tempfile::tempdir().expect("a directory");
    let ours =
        Profile::all(&directory.path().join("none")).expect("a missing directory is not a fault");
    assert_eq!(ours.len(), BUILT_IN.len());
    std::fs::write(
        directory.path().join("a.toml"),
        "name = \"edge-branch\"\nabout = \"theirs\"\n",
    )
    .expect("written");
    std::fs::write(directory.path().join("b.toml"), "name = \"new\"\n").expect("written");
    let all = Profile::all(directory.path()).expect("right");
    assert_eq!(all.len(), BUILT_IN.len() + 1);
    let edge = all.iter().find(|profile| profile.name == "edge-branch");
    assert_eq!(edge.expect("there").about, "theirs");
    std::fs::write(directory.path().join("c.toml"), "nmae = \"new\"\n").expect("written");
    let told = Profile::all(directory.path())
        .expect_err("wrong")
        .to_string();
    assert!(told.contains("c.toml:1"), "{told}");
}
