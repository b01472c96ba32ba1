//! The chain and its files, and what a change of them is found by.

use std::fs;

use super::chain::{End, Fields};
use super::files::Files;
use super::*;

fn settings(size: u64) -> Login {
    Login {
        audit_size: plan::Size(size),
        ..Login::default()
    }
}

fn login(number: u32) -> Fields {
    Fields {
        unix_s: 1_800_000_000 + i64::from(number),
        protocol: "imap".into(),
        mechanism: "PLAIN".into(),
        peer: "192.0.2.1".into(),
        tls: Some("TLSv1.3".into()),
        user: Some(format!("ann{number}\",\"hash\":\"@example.org")),
        app: None,
        outcome: "granted".into(),
        what: None,
        more: None,
    }
}

fn logins(numbers: std::ops::Range<u32>) -> VecDeque<Fields> {
    numbers.map(login).collect()
}

fn only_file(directory: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files.remove(0)
}

#[test]
fn what_is_written_is_intact_across_starts_and_is_listed() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let mut head = None;
    for start in 0..3 {
        let (mut files, trouble) = Files::open(at, &settings(1 << 20), head);
        assert_eq!(trouble, None);
        assert_eq!(files.take(logins(start * 10..start * 10 + 10), 0), 0);
        head = files.head();
    }
    let verdict = verify(at, head).expect("readable");
    assert!(verdict.intact, "{:?}", verdict.faults);
    assert_eq!((verdict.lines, verdict.first, verdict.last), (30, 1, 30));
    let lines = list(at, None, 12).expect("readable");
    let numbers: Vec<u64> = lines.iter().map(|line| line.line).collect();
    assert_eq!(numbers, (19..=30).collect::<Vec<u64>>());
    let user = login(7).user;
    let of = list(at, user.as_deref(), 5).expect("readable");
    assert_eq!(of.len(), 1);
}

#[test]
fn a_line_that_is_changed_removed_or_added_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let (mut files, _) = Files::open(at, &settings(1 << 20), None);
    files.take(logins(0..10), 0);
    let head = files.head();
    let file = only_file(at);
    let text = fs::read_to_string(&file).expect("readable");
    let lines: Vec<&str> = text.lines().collect();
    let changed = text.replace("ann4", "eve4");
    let removed = [&lines[..5], &lines[6..]].concat().join("\n") + "\n";
    let twice = [&lines[..6], &lines[5..]].concat().join("\n") + "\n";
    let shorter = lines[..8].join("\n") + "\n";
    for (what, text) in [
        ("changed", changed),
        ("removed", removed),
        ("twice", twice),
        ("shorter", shorter),
    ] {
        fs::write(&file, text).expect("writable");
        let verdict = verify(at, head).expect("readable");
        assert!(!verdict.intact && !verdict.faults.is_empty(), "{what}");
    }
}

/// An intruder in the state directory changes a line and makes all later hashes again. Storage has the end.
#[test]
fn a_chain_that_was_made_anew_is_not_the_one_that_storage_remembers() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let (mut files, _) = Files::open(at, &settings(1 << 20), None);
    files.take(logins(0..10), 0);
    let head = files.head();
    drop(files);
    fs::remove_file(only_file(at)).expect("it is there");
    let (mut forged, _) = Files::open(at, &settings(1 << 20), None);
    let mut others = logins(0..10);
    others[4].user = Some("eve@example.org".into());
    forged.take(others, 0);
    assert!(
        verify(at, None).expect("readable").intact,
        "the chain alone does not tell"
    );
    let verdict = verify(at, head).expect("readable");
    assert!(
        !verdict.intact && verdict.faults[0].contains("line 10"),
        "{verdict:?}"
    );
    // A start after it goes on behind what storage remembers, and the gap stays to be seen.
    let (mut files, trouble) = Files::open(at, &settings(1 << 20), head);
    assert!(trouble.is_some());
    files.take(logins(10..12), 0);
    let verdict = verify(at, files.head()).expect("readable");
    assert!(!verdict.intact, "{verdict:?}");
}

/// An intruder removes everything, and the daemon starts again. Storage gets the new end a minute later.
#[test]
fn an_audit_that_was_wiped_does_not_look_like_one_that_grew_old() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let (mut files, _) = Files::open(at, &settings(1 << 20), None);
    files.take(logins(0..10), 0);
    let head = files.head();
    drop(files);
    fs::remove_file(only_file(at)).expect("it is there");
    let (mut files, trouble) = Files::open(at, &settings(1 << 20), head);
    assert!(trouble.is_some());
    files.take(logins(10..13), 0);
    let head = files.head();
    let verdict = verify(at, head).expect("readable");
    assert!(!verdict.intact, "{verdict:?}");
    assert_eq!(verdict.faults.len(), 1, "{verdict:?}");
    assert!(verdict.faults[0].contains("line 11"), "{verdict:?}");
    assert_eq!(list(at, None, 10).expect("readable").len(), 3);
    // It stays to be seen behind later starts, and cannot be taken out.
    drop(files);
    let (mut files, trouble) = Files::open(at, &settings(1 << 20), head);
    assert_eq!(trouble, None);
    files.take(logins(13..15), 0);
    assert!(!verify(at, files.head()).expect("readable").intact);
    let file = only_file(at);
    let text = fs::read_to_string(&file).expect("readable");
    fs::write(&file, text.replace("\"gap\":true,", "")).expect("writable");
    assert!(!verify(at, files.head()).expect("readable").intact);
}

/// `login.audit_days` holds where a file would not be full for years.
#[test]
fn a_file_has_the_lines_of_one_day() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let count = || fs::read_dir(at).expect("a directory").count();
    let (mut files, _) = Files::open(at, &settings(1 << 20), None);
    files.take(logins(0..10), 0);
    assert_eq!(count(), 1);
    for day in 1..=2 {
        let mut later = logins(0..3);
        later
            .iter_mut()
            .for_each(|fields| fields.unix_s += day * 86_400);
        files.take(later, 0);
    }
    assert_eq!(count(), 3);
    let verdict = verify(at, files.head()).expect("readable");
    assert!(verdict.intact && verdict.last == 16, "{verdict:?}");
}

#[test]
fn old_files_go_and_what_is_left_is_a_chain() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let size = 64 << 10;
    let (mut files, _) = Files::open(at, &settings(size), None);
    for start in 0..40 {
        files.take(logins(start * 10..start * 10 + 10), 0);
    }
    let bytes: u64 = fs::read_dir(at)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").metadata().expect("metadata").len())
        .sum();
    assert!(bytes <= size + size / 8 + 1_024, "{bytes}");
    let verdict = verify(at, files.head()).expect("readable");
    assert!(verdict.intact, "{:?}", verdict.faults);
    assert!(verdict.first > 1 && verdict.last == 400);
}

#[test]
fn a_crash_in_the_middle_of_a_line_is_no_forgery_and_a_disk_that_fails_is_told_of() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let (mut files, _) = Files::open(at, &settings(1 << 20), None);
    files.take(logins(0..5), 0);
    let head = files.head();
    let file = only_file(at);
    let mut text = fs::read_to_string(&file).expect("readable");
    text.push_str("{\"line\":6,\"unix");
    fs::write(&file, text).expect("writable");
    let (mut files, trouble) = Files::open(at, &settings(1 << 20), head);
    assert_eq!(trouble, None);
    // The directory is away: nothing can be written.
    let away = directory.path().with_extension("away");
    fs::rename(at, &away).expect("renamed");
    assert_eq!(files.take(logins(5..8), 0), 3);
    assert_eq!(
        files.head(),
        head.map(|head| Head {
            unix_seconds: 0,
            ..head
        })
    );
    fs::rename(&away, at).expect("renamed back");
    assert_eq!(files.take(logins(8..10), 3), 0);
    let verdict = verify(at, files.head()).expect("readable");
    assert!(verdict.intact && verdict.last == 7, "{verdict:?}");
    let newest = fs::read_dir(at)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .max();
    let text = fs::read_to_string(newest.expect("a file")).expect("readable");
    assert_eq!(text.matches("\"lost\":3").count(), 1, "{text}");
}

#[test]
fn what_waits_is_bounded_and_a_name_is_cut() {
    use client::login::audit::{From, Outcome, Protocol};
    let shared = Shared::default();
    let from = From {
        protocol: Protocol::Pop3,
        peer: "2001:db8::1".parse().expect("an address"),
        mechanism: "USER",
        tls: None,
    };
    let name = "x".repeat(10_000);
    let entry = Entry {
        unix_seconds: 7,
        from: &from,
        name: Some(&name),
        app: None,
        outcome: Outcome::Password,
        what: None,
    };
    for _ in 0..WAITING_MAX + 5 {
        shared.push(fields(&entry), false);
    }
    assert_eq!(shared.lost.load(Relaxed), 5);
    let waiting = shared.waiting();
    assert_eq!(waiting.len(), WAITING_MAX);
    assert_eq!(
        waiting[0].user.as_ref().map(String::len),
        Some(NAME_CHARS_MAX)
    );
}

#[test]
fn the_audit_ends_with_all_that_waited() {
    let directory = tempfile::tempdir().expect("a directory");
    let audit = Audit::begin(directory.path(), &settings(1 << 20), Kept::Nothing);
    for number in 0..50 {
        audit.shared.push(login(number), false);
    }
    audit.finish();
    let head = *audit.shared.head();
    assert_eq!(head.map(|head| head.line), Some(50));
    assert!(verify(directory.path(), head).expect("readable").intact);
    assert_eq!(End::default().line, 0);
}

/// Someone guesses for weeks; meanwhile a person logs in.
#[test]
fn a_flood_of_failures_leaves_the_logins_of_others_and_is_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let audit = Audit::begin(at, &settings(256 << 10), Kept::Nothing);
    audit.shared.push(login(1), false);
    const FLOOD: u32 = 50_000;
    for number in 0..FLOOD {
        let failed = Fields {
            outcome: "wrong password".into(),
            user: Some("ann@example.org".into()),
            ..login(number)
        };
        audit.shared.push(failed, true);
    }
    audit.shared.push(login(2), false);
    audit.finish();
    assert_eq!(audit.shared.lost.load(Relaxed), 0);
    let head = *audit.shared.head();
    let verdict = verify(at, head).expect("readable");
    assert!(verdict.intact && verdict.first == 1, "{verdict:?}");
    let lines = list(at, None, 2_000).expect("readable");
    let of = |outcome: &str| lines.iter().filter(|line| line.outcome == outcome).count();
    assert_eq!(of("granted"), 2, "both logins are there");
    let failures = lines.iter().filter(|line| line.outcome != "granted");
    let all: u64 = failures.map(|line| line.more.unwrap_or(1)).sum();
    assert_eq!(all, u64::from(FLOOD));
    assert!(lines.len() < 200, "{}", lines.len());
}

/// A change of rights is not a failed login: before, it was counted among these, without who did it.
#[test]
fn rights_that_are_changed_in_a_flood_have_a_line_of_their_own() {
    use client::login::audit::{From, Outcome, Protocol};
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let audit = Audit::begin(at, &settings(256 << 10), Kept::Nothing);
    let from = From {
        protocol: Protocol::Imap,
        peer: "192.0.2.1".parse().expect("an address"),
        mechanism: "PLAIN",
        tls: None,
    };
    let sink = audit.sink();
    let entry = |outcome, what| Entry {
        unix_seconds: 7,
        from: &from,
        name: Some("ann@example.org"),
        app: None,
        outcome,
        what,
    };
    for _ in 0..1_000 {
        sink(&entry(Outcome::Password, None));
    }
    let what = "Sales: bob@example.org from lr to lrswipkxtea";
    sink(&entry(Outcome::Changed, Some(what)));
    audit.finish();
    let lines = list(at, None, 2_000).expect("readable");
    assert!(lines.iter().any(|line| line.more.is_some()), "a flood");
    let changed: Vec<_> = lines
        .iter()
        .filter(|line| line.outcome == "changed")
        .collect();
    let [changed] = changed[..] else {
        panic!("{changed:?}")
    };
    assert_eq!(changed.user.as_deref(), Some("ann@example.org"));
    assert_eq!((changed.what.as_deref(), changed.more), (Some(what), None));
}

/// Storage that is too busy to say anything, or that says what it has.
#[derive(Clone)]
struct Storage(bool);

impl Ask for Storage {
    async fn ask<T, F, W>(&self, _work: W) -> Result<T, storage::owner::Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(mailbox::Mailboxes) -> F + Send + 'static,
    {
        Err(storage::owner::Busy)
    }

    async fn ask_outgoing<T, F, W>(&self, _work: W) -> Result<T, storage::owner::Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(storage::outgoing::Outgoing) -> F + Send + 'static,
    {
        Err(storage::owner::Busy)
    }

    fn refuses_mail(&self) -> bool {
        self.0
    }
}

/// A start at which storage is busy: before, its silence was taken for "nothing", and the first save put another end in the place of the one that it has.
#[test]
fn storage_that_cannot_say_what_it_remembers_has_not_said_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime");
    let kept = runtime.block_on(kept_head(Some(&Storage(false))));
    assert_eq!(kept, Kept::Unknown);
    assert_eq!(runtime.block_on(kept_head(None::<&Storage>)), Kept::Nothing);
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let (mut files, _) = Files::open(at, &settings(1 << 20), None);
    files.take(logins(0..10), 0);
    let head = files.head().expect("ten lines");
    drop(files);
    // The lines go on, and the end that storage has is not replaced.
    let audit = Audit::begin(at, &settings(1 << 20), Kept::Unknown);
    assert!(!audit.shared.knows_head.load(Relaxed));
    audit.shared.push(login(10), false);
    audit.finish();
    assert!(files::have(at, head).expect("readable"));
    assert!(verify(at, Some(head)).expect("readable").intact);
    // Wiped meanwhile: it is not there, and so it stays to be missed.
    fs::remove_dir_all(at).expect("it is there");
    fs::create_dir(at).expect("made again");
    assert!(!files::have(at, head).expect("readable"));
}
