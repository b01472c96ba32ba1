//! What SORT and THREAD keep for the next one: it is asked for less, and answered the same.

use std::collections::BTreeMap;

use imap::sort::{SortCriterion, SortField, Sorter};
use imap::thread::{ThreadAlgorithm, Threader};
use mail::InternalDate;

use crate::rig::{Rig, run};

/// How many digests were asked for since the start, from memory and from the legs.
fn asked(rig: &Rig) -> u64 {
    let counts = rig.mailboxes.digest_counts();
    counts.remembered + counts.read
}

#[test]
fn a_second_sort_reads_no_digests() {
    run(|rig| async move {
        rig.deliver_some(20).await;
        let mut session = rig.selected().await;
        for (command, looked_at) in [
            ("SORT (ARRIVAL REVERSE SIZE) UTF-8 ALL", 0),
            // A part of the mailbox is kept as well.
            ("SORT (SUBJECT) UTF-8 3:7", 5),
            ("SORT (SUBJECT) UTF-8 4", 0),
            ("SORT (SUBJECT) UTF-8 ALL", 15),
            ("UID SORT (REVERSE SUBJECT SIZE) UTF-8 ALL", 0),
            ("SORT (FROM SUBJECT) UTF-8 ALL", 20),
            ("SORT (SUBJECT REVERSE FROM) UTF-8 2:*", 0),
            ("THREAD REFERENCES UTF-8 ALL", 20),
            ("UID THREAD ORDEREDSUBJECT UTF-8 1:9", 0),
        ] {
            let before = asked(&rig);
            session.ok(command).await;
            assert_eq!(asked(&rig) - before, looked_at, "{command}");
        }
        rig.deliver("Subject: 0\r\n\r\nbody\r\n").await;
        session.ok("STORE 4 +FLAGS.SILENT (\\Deleted)").await;
        session.ok("EXPUNGE").await;
        let before = asked(&rig);
        let lines = session.ok("UID SORT (SUBJECT) UTF-8 1:6,20:*").await;
        assert_eq!(lines, ["* SORT 21 1 2 3 5 6 7"]);
        let lines = session.ok("UID THREAD ORDEREDSUBJECT UTF-8 1:6,20:*").await;
        assert_eq!(lines, ["* THREAD (1)(2)(3)(5)(6)(7)(21)"]);
        assert_eq!(asked(&rig) - before, 2, "one for each");
        assert_eq!(rig.memory.reading.used_bytes(), 0);
        assert!(rig.memory.orders.budget().used_bytes() > 0);
    });
}

#[test]
fn sessions_share_what_is_kept_and_see_their_own_messages() {
    run(|rig| async move {
        rig.deliver_some(5).await;
        let mut one = rig.selected().await;
        let mut other = rig.selected().await;
        one.ok("SORT (REVERSE SUBJECT) UTF-8 ALL").await;
        let before = asked(&rig);
        let lines = other.ok("SORT (REVERSE SUBJECT) UTF-8 ALL").await;
        assert_eq!(lines, ["* SORT 5 4 3 2 1"]);
        assert_eq!(asked(&rig), before);
        one.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
        one.ok("EXPUNGE").await;
        rig.deliver("Subject: 9\r\n\r\nbody\r\n").await;
        let lines = one.ok("UID SORT (REVERSE SUBJECT) UTF-8 UID 1:*").await;
        assert_eq!(lines[0], "* SORT 5 4 3 1");
        other.ok("NOOP").await;
        let lines = other.ok("SORT (REVERSE SUBJECT) UTF-8 ALL").await;
        assert_eq!(lines, ["* SORT 5 4 3 2 1"], "9, 5, 4, 3, 1");
        drop((one, other));
        assert_eq!(rig.memory.reading.used_bytes(), 0);
    });
}

/// A damaged message counts as one without a header. Another time it may be readable, so that is not kept of it.
#[test]
fn what_cannot_be_read_is_not_kept() {
    run(|rig| async move {
        rig.deliver("Subject: b\r\n\r\nbody\r\n").await;
        let raw = b"Subject: c\r\nX-Mark: spoiled-here\r\n\r\nbody\r\n";
        rig.deliver_with(raw, b"no summary".to_vec()).await;
        rig.deliver("Subject: a\r\n\r\nbody\r\n").await;
        rig.spoil(b"spoiled-here");
        let mut session = rig.selected().await;
        for looked_at in [3, 1, 1] {
            let before = asked(&rig);
            let lines = session.ok("SORT (SUBJECT) UTF-8 ALL").await;
            assert_eq!(lines, ["* SORT 2 3 1"]);
            assert_eq!(asked(&rig) - before, looked_at);
        }
        for looked_at in [3, 1] {
            let before = asked(&rig);
            let lines = session.ok("THREAD ORDEREDSUBJECT UTF-8 ALL").await;
            assert_eq!(lines, ["* THREAD (1)(2)(3)"]);
            assert_eq!(asked(&rig) - before, looked_at);
        }
    });
}

#[test]
fn a_mailbox_that_is_deleted_gives_its_memory_back_and_never_returns() {
    run(|rig| async move {
        let (mut one, mut other) = (rig.session().await, rig.session().await);
        let append = async |subject: &str, session: &mut crate::rig::Session| {
            let raw = format!("Subject: {subject}\r\n\r\nx\r\n");
            let command = format!("APPEND Box {{{}+}}\r\n{raw}", raw.len());
            session.ok(&command).await;
        };
        for subjects in [["b", "a"], ["a", "b"]] {
            one.ok("CREATE Box").await;
            for subject in subjects {
                append(subject, &mut one).await;
            }
            let mut selected = rig.session().await;
            selected.ok("SELECT Box").await;
            let lines = selected.ok("SORT (SUBJECT) UTF-8 ALL").await;
            let wanted = if subjects[0] == "b" { "2 1" } else { "1 2" };
            assert_eq!(lines, [format!("* SORT {wanted}")]);
            selected.ok("THREAD REFERENCES UTF-8 ALL").await;
            assert!(rig.memory.orders.budget().used_bytes() > 0);
            other.ok("DELETE Box").await;
            // The session that had it open is ended, and what was kept goes with it.
            let mut last = String::new();
            selected.send("t NOOP\r\n").await;
            while !last.starts_with("* BYE") {
                last = selected.line().await;
            }
            assert_eq!(rig.memory.orders.budget().used_bytes(), 0);
        }
    });
}

/// A quarter of what is kept here is as much as the command may hold, so it goes without, and reads everything again.
#[test]
fn a_command_that_cannot_add_to_what_is_kept_goes_without() {
    run(|rig| async move {
        let count = 2_600;
        let long = "x".repeat(600);
        for number in 1..=count {
            let raw = format!("Subject: {number:04} {long}\r\n\r\nx\r\n");
            rig.deliver(&raw).await;
        }
        let asking = "SORT RETURN (MIN MAX COUNT) (SUBJECT) UTF-8 ALL";
        rig.selected().await.ok(asking).await;
        rig.deliver("Subject: 0\r\n\r\nbody\r\n").await;
        let before = asked(&rig);
        let lines = rig.eager().await.ok(asking).await;
        let line = "* ESEARCH (TAG \"t\") MIN 2601 MAX 2600 COUNT 2601";
        assert_eq!(lines.last().map(String::as_str), Some(line));
        assert_eq!(asked(&rig) - before, 1 + 2_601);
        // With more memory what was found out meanwhile is used.
        let before = asked(&rig);
        assert_eq!(rig.selected().await.ok(asking).await, [line]);
        assert_eq!(asked(&rig), before);
    });
}

/// Numbers that look like chance, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

fn letter(chance: &mut Chance, number: u64) -> String {
    let subject = ["Plan", "Re: plan", "Another", "", "[list] Re: another"];
    let refers = match chance.below(3) {
        0 => String::new(),
        _ => format!("References: <{}@x>\r\n", chance.below(number + 1)),
    };
    format!(
        "Message-ID: <{number}@x>\r\n{refers}Subject: {}\r\nFrom: Some <{}@a>\r\nCc: {}@b\r\n\
         Date: {} Jan 2026 00:00:00 +0000\r\n\r\n{}\r\n",
        subject[chance.below(5) as usize],
        chance.below(4),
        chance.below(3),
        1 + chance.below(9),
        "x".repeat(chance.below(5) as usize),
    )
}

/// The answer without anything kept.
fn sorted(mailbox: &BTreeMap<u32, String>, criteria: &[SortCriterion]) -> String {
    let mut sorter = Sorter::new(criteria, mailbox.len());
    for raw in mailbox.values() {
        let date = InternalDate::utc(1_700_000_000);
        sorter.add(date, raw.len() as u32, raw.as_bytes());
    }
    let uids: Vec<u32> = mailbox.keys().copied().collect();
    let order = sorter.order().into_iter();
    let order: String = order.map(|at| format!(" {}", uids[at as usize])).collect();
    format!("* SORT{order}")
}

fn threaded(mailbox: &BTreeMap<u32, String>, algorithm: ThreadAlgorithm) -> String {
    let mut threader = Threader::new(algorithm);
    for raw in mailbox.values() {
        threader.add(InternalDate::utc(1_700_000_000), raw.as_bytes());
    }
    let uids: Vec<u32> = mailbox.keys().copied().collect();
    let trees = threader.trees(|at| uids[at as usize]);
    let trees = String::from_utf8(trees).expect("digits and brackets");
    format!("* THREAD {trees}").trim_end().to_owned()
}

#[test]
fn answers_after_any_history_are_those_of_the_messages_there_are() {
    for seed in 1..4 {
        run(|rig| async move {
            let mut chance = Chance(seed);
            let mut mailbox = BTreeMap::new();
            let mut sessions = [rig.selected().await, rig.selected().await];
            let mut next = 1;
            for _ in 0..40 {
                for _ in 0..chance.below(6) {
                    let raw = letter(&mut chance, next);
                    rig.deliver(&raw).await;
                    mailbox.insert(next as u32, raw);
                    next += 1;
                }
                let session = &mut sessions[chance.below(2) as usize];
                session.ok("NOOP").await;
                if chance.below(2) == 0 && !mailbox.is_empty() {
                    let gone = chance.below(next) as u32;
                    let last = gone + chance.below(6) as u32;
                    let store =
                        format!("UID STORE {}:{last} +FLAGS.SILENT (\\Deleted)", gone.max(1));
                    session.ok(&store).await;
                    session.ok("EXPUNGE").await;
                    mailbox.retain(|&uid, _| uid < gone || uid > last);
                }
                let first = match chance.below(3) {
                    0 => chance.below(next) as u32,
                    _ => 1,
                };
                let part: BTreeMap<u32, String> = mailbox
                    .range(first..)
                    .map(|(uid, raw)| (*uid, raw.clone()))
                    .collect();
                let within = format!("UID {}:4294967295", first.max(1));
                let mut words = Vec::new();
                let mut criteria = Vec::new();
                for _ in 0..1 + chance.below(3) {
                    let (word, field) = SortField::ALL[chance.below(9) as usize];
                    let reverse = chance.below(2) == 0;
                    words.push(format!("{}{word}", if reverse { "REVERSE " } else { "" }));
                    criteria.push(SortCriterion { field, reverse });
                }
                let command = format!("UID SORT ({}) UTF-8 {within}", words.join(" "));
                let lines = session.ok(&command).await;
                assert_eq!(lines[0], sorted(&part, &criteria), "{command}");
                let (word, algorithm) = ThreadAlgorithm::ALL[chance.below(2) as usize];
                let command = format!("UID THREAD {word} UTF-8 {within}");
                let lines = session.ok(&command).await;
                assert_eq!(lines[0], threaded(&part, algorithm), "{command}");
                assert_eq!(rig.memory.reading.used_bytes(), 0);
            }
        });
    }
}
