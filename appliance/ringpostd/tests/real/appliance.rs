//! First start with settings instead of trial mode: people who are there at once, and the round trip that proves a box.

use crate::daemon::{Home, said};

/// An account that the settings bring along.
const PEOPLE: &str = "[[domain]]\nname = \"example.com\"\n\
    [[account]]\naddress = \"dora@example.com\"\nquota = \"1GiB\"\n\
    password_hash = \"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$UNcLMbAMkV1Xo7uDMqPtgjTQNJYv0gvZTTHXe8iNS0c\"\n";

#[test]
fn a_box_with_settings_has_its_people_at_once_and_not_again() {
    let home = Home::new();
    home.configure(PEOPLE);
    {
        let daemon = home.start();
        let accounts = home.ctl_ok(&["account", "list"]);
        assert!(
            accounts.contains("dora@example.com") && accounts.contains("1GiB"),
            "{accounts}"
        );
        home.ctl_ok(&["account", "remove", "dora@example.com"]);
        daemon.kill();
    }
    // The settings are the first day's: who was removed stays removed.
    let _daemon = home.start();
    let accounts = home.ctl_ok(&["account", "list"]);
    assert!(!accounts.contains("dora"), "{accounts}");
}

#[test]
fn an_account_that_is_none_is_refused_before_a_leg_is_made() {
    let home = Home::new();
    home.configure(&PEOPLE.replace("dora@", "do\\u0007ra@"));
    let Err(words) = home.try_start() else {
        panic!("an address that is none was taken")
    };
    assert!(words.contains("not an address"), "{words}");
    assert!(home.legs().is_empty());
}

#[test]
fn the_selftest_goes_in_by_smtp_and_out_by_imap_and_leaves_nothing() {
    let home = Home::new();
    let _daemon = home.start();
    for _ in 0..2 {
        let told = home.ctl_ok(&["selftest"]);
        assert!(told.contains("accepted") && told.contains("IMAP"), "{told}");
    }
    let accounts = home.ctl_ok(&["account", "list"]);
    assert!(!accounts.contains("selftest"), "{accounts}");
    assert!(!home.ctl_ok(&["domain", "list"]).contains("selftest"));
}

#[test]
fn a_selftest_without_a_daemon_fails_and_names_the_step() {
    let home = Home::new();
    let output = home.ctl(&["selftest", "--within", "5s"]);
    assert!(!output.status.success());
    assert!(
        said(&output).contains("asking the daemon"),
        "{}",
        said(&output)
    );
}
