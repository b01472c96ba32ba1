//! OPERATING.md as a stranger reads it: the commands and settings of "Put a domain on the Internet" are taken out of the document and used in
//! its order.
//!
//! What `domain dns` prints is published as it is printed, in a zone of the test's own name servers, and `domain check` judges it. Where Knot or
//! unbound is missing the story says so and ends, unless `RINGPOST_CI` is set.

use crate::daemon::{Home, PASSWORD, said};
use crate::internet::{Internet, Program, installed};
use crate::operator::with_password;

const MANUAL: &str = concat!(
    include_str!("../../../OPERATING.md"),
    include_str!("../../../MOVING.md")
);
const DOMAIN: &str = "example.org";

/// What stands between two fences of a section, and is marked as `kind`.
pub fn blocks(heading: &str, kind: &str) -> Vec<&'static str> {
    let (_, section) = MANUAL.split_once(heading).expect("a heading of the manual");
    let section = section.split("\n#").next().expect("the text below it");
    let blocks = section.split("```").skip(1).step_by(2);
    let blocks = blocks.filter_map(|block| block.strip_prefix(kind)?.strip_prefix('\n'));
    blocks.collect()
}

/// The words of each `ringpostctl` line of a block, without its comment.
pub fn commands(block: &'static str) -> Vec<Vec<&'static str>> {
    let words = |line: &'static str| {
        let command = line.split(" #").next().expect("the first part");
        let words: Vec<&str> = command.split_whitespace().collect();
        assert_eq!(words.first(), Some(&"ringpostctl"), "{line}");
        words[1..].to_vec()
    };
    block.lines().map(words).collect()
}

/// Runs a command of the manual, with names put in the place of its words in capitals; what it printed.
fn run(home: &Home, words: &[&str], names: &[(&str, &str)]) -> String {
    let named = words.iter().map(|word| {
        let found = names.iter().find(|(written, _)| written == word);
        found.map_or(*word, |(_, name)| name)
    });
    let named: Vec<&str> = named.collect();
    if named.starts_with(&["account", "add"]) {
        with_password(home, &named, PASSWORD);
        return String::new();
    }
    let printed = home.ctl_ok(&named);
    eprintln!("$ ringpostctl {}\n{printed}", named.join(" "));
    printed
}

/// The selectors that `dkim list` shows, with the state of each.
fn keys(home: &Home) -> Vec<(String, String)> {
    let listed = home.ctl_ok(&["--json", "dkim", "list", DOMAIN]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let word = |key: &serde_json::Value, name: &str| key[name].as_str().expect("a word").to_owned();
    let keys = listed.as_array().expect("keys").iter();
    keys.map(|key| (word(key, "selector"), word(key, "state")))
        .collect()
}

/// Whether the name servers are missing; then the story ends.
fn is_skipped() -> bool {
    let is_missing = ["knotd", "keymgr", "unbound"]
        .map(installed)
        .contains(&None);
    if is_missing {
        assert!(
            std::env::var_os("RINGPOST_CI").is_none(),
            "no knot, unbound"
        );
        eprintln!("skipped: the packages knot and unbound: missing");
    }
    is_missing
}

/// Settings of a server that asks the test's name servers, written for the next start.
fn configure(home: &Home, internet: &Internet, listen: &str) {
    let legs = ["leg-a", "leg-b"].map(|leg| home.directory.path().join(leg));
    let text = format!(
        "[server]\nname = \"mx.{DOMAIN}\"\nstate = {:?}\n[volume]\nlegs = {legs:?}\nleg_size = \"128MiB\"\ncreate = true\n\
         [dns]\nservers = [\"{}\"]\n{listen}smtp = [\"{}\"]\nsubmissions = [\"{}\"]\nimaps = [\"{}\"]\n",
        home.state(),
        internet.server(),
        home.at(25),
        home.at(465),
        home.at(993),
    );
    std::fs::write(home.directory.path().join("ringpost.toml"), text).expect("it is ours");
}

/// Serves the domain as `domain dns` printed it. The addresses and their names are for the provider to set.
fn publish(internet: &Internet, printed: &str) -> [Program; 2] {
    let zone = format!("mx A 192.0.2.10\nmta-sts A 192.0.2.10\n{printed}");
    internet.serve(&[
        (DOMAIN, true, zone.as_str()),
        ("2.0.192.in-addr.arpa", false, "10 PTR mx.example.org."),
    ])
}

#[test]
fn a_domain_is_put_on_the_internet_as_the_manual_says() {
    if is_skipped() {
        return;
    }
    let heading = "## Put a domain on the Internet\n";
    let blocks: Vec<_> = blocks(heading, "sh").into_iter().map(commands).collect();
    let [made, published, replaced] = &blocks[..] else {
        panic!("the section has three blocks of commands: {blocks:?}");
    };
    let internet = Internet::new();
    let home = Home::with_leg_size("128MiB");
    configure(&home, &internet, "[listen]\n");
    let _daemon = home.start();

    let mut printed = String::new();
    for words in made {
        printed = run(&home, words, &[]);
    }
    // The last of them shows the records. Nothing is published yet, and no name server answers.
    assert_eq!(made.last().expect("commands")[..2], ["domain", "dns"]);
    assert!(
        printed.contains("_domainkey.example.org. IN TXT"),
        "{printed}"
    );
    let check = home.ctl(&["domain", "check", DOMAIN]);
    assert_eq!(check.status.code(), Some(1), "{}", said(&check));
    assert!(said(&check).contains("unknown"), "{}", said(&check));

    let _servers = publish(&internet, &printed);
    let [(selector, state)] = &keys(&home)[..] else {
        panic!("one key was made");
    };
    assert_eq!(state, "made");
    for words in published {
        let printed = run(&home, words, &[("SELECTOR", selector)]);
        match words[1] {
            "check" => assert!(!printed.contains("missing"), "{printed}"),
            "list" => assert!(printed.contains(selector.as_str()), "{printed}"),
            _ => {}
        }
    }
    assert_eq!(keys(&home), [(selector.clone(), "active".to_owned())]);

    // The key is replaced by another one, whose name is known once it is made.
    let mut new = String::new();
    for words in replaced {
        run(&home, words, &[("NEW", &new), ("OLD", selector)]);
        if words[1] == "make" {
            let other = keys(&home).into_iter().find(|(name, _)| name != selector);
            new = other.expect("a second key").0;
        }
    }
    assert_eq!(keys(&home), [(new, "active".to_owned())]);
    let second = "dkim make example.org --algorithm ed25519";
    assert!(MANUAL.contains(&format!("`{second}`")));
    let words: Vec<&str> = second.split(' ').collect();
    assert!(run(&home, &words, &[]).contains("k=ed25519"));
}

#[test]
fn a_policy_for_senders_is_published_as_the_manual_says() {
    if is_skipped() {
        return;
    }
    let heading = "### A policy for senders (MTA-STS)\n";
    let [settings] = blocks(heading, "toml")[..] else {
        panic!("the section has one piece of settings");
    };
    let internet = Internet::new();
    let home = Home::with_leg_size("128MiB");
    // The piece ends in `[listen]`: the other listeners follow it.
    let there = format!("127.0.0.1:{}", home.port(443));
    let settings = settings.replace("0.0.0.0:443", &there);
    configure(&home, &internet, &settings);
    let daemon = home.start();
    home.ctl_ok(&["domain", "add", DOMAIN]);
    let printed = home.ctl_ok(&["domain", "dns", DOMAIN]);
    assert!(
        printed.contains("_mta-sts.example.org. IN TXT"),
        "{printed}"
    );
    // "Its notes say what would keep senders from the policy."
    assert!(printed.contains("the certificate of this appliance is not for mta-sts.example.org"));
    let servers = publish(&internet, &printed);
    home.ctl_ok(&["domain", "check", DOMAIN]);

    // Enforced, the policy is another one until its record is published again.
    assert!(daemon.stop().success());
    let enforced = settings.replace("\"testing\"", "\"enforce\"");
    assert_ne!(enforced, settings);
    configure(&home, &internet, &enforced);
    let _daemon = home.start();
    let words = "wrong: it names another policy";
    assert!(MANUAL.contains(words));
    let check = said(&home.ctl(&["domain", "check", DOMAIN]));
    assert!(
        words.split(": ").all(|word| check.contains(word)),
        "{check}"
    );
    drop(servers);
    let _servers = publish(&internet, &home.ctl_ok(&["domain", "dns", DOMAIN]));
    home.ctl_ok(&["domain", "check", DOMAIN]);
}
