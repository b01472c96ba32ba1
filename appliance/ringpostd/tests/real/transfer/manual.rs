//! The chapter "Moving in and out" of MOVING.md, its commands in their order, from and to a second Ringpost.

use std::fs;

use super::{fill, mail_of, secret};
use crate::daemon::{ALICE, Home, PASSWORD};
use crate::manual::{blocks, commands};

const ANN: &str = "ann@example.org";

/// Runs a command of the manual with the names of this machine, and `more` behind it.
fn run(home: &Home, words: &[&str], names: &[(&str, String)], more: &[&str]) {
    let named = words.iter().map(|word| {
        let found = names.iter().find(|(written, _)| written == word);
        found.map_or(*word, |(_, name)| name.as_str())
    });
    let named: Vec<&str> = named.chain(more.iter().copied()).collect();
    let printed = home.ctl_ok(&named);
    assert!(printed.contains("brought now"), "{printed}");
}

#[test]
fn mail_is_moved_as_the_manual_says() {
    let (old, home) = (Home::with_leg_size("128MiB"), Home::with_leg_size("128MiB"));
    let (_old, _daemon) = (old.start(), home.start());
    fill(old.imap(), ALICE, PASSWORD, '/');
    home.ctl_ok(&["account", "add", ANN, "--password", PASSWORD]);
    let at = |name: &str| home.directory.path().join(name).display().to_string();
    let url = format!("imaps://127.0.0.1:{}", old.port(993));
    let text = format!("account,user,password\n{ANN},{ALICE},{PASSWORD}\n");
    fs::write(at("accounts.csv"), text).expect("ours");
    let names = [
        ("imaps://mail.old.example", url.clone()),
        ("imaps://mail.new.example", url),
        ("ann", ALICE.to_owned()),
        ("ann.secret", secret(&home)),
        ("accounts.csv", at("accounts.csv")),
        ("/srv/old/ann/Maildir", at("out")),
        ("/srv/old/ann/mail", at("out-mbox")),
        ("/srv/out/ann", at("out")),
        ("/srv/out/ann-mbox", at("out-mbox")),
    ];
    let ca = old.state().join("certificate.pem").display().to_string();
    let journal = at("journal");
    let mut all: Vec<_> = blocks("## Moving in and out\n", "sh")
        .into_iter()
        .flat_map(commands)
        .collect();
    assert_eq!(all.len(), 7);
    // Files are there once they were written.
    all.sort_by_key(|words| words[1] != "imap" && words[0] == "import");
    for words in all {
        let mut more = vec!["--journal", &journal];
        if words[1] == "imap" {
            more.extend(["--server-ca", &ca]);
        }
        run(&home, &words, &names, &more);
    }
    let source = mail_of(old.imap(), ALICE, PASSWORD);
    // The mbox files have nothing: `--since` names a day behind all of it.
    assert_eq!(mail_of(home.imap(), ANN, PASSWORD), source);
}
