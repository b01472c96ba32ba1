//! How a session's changes are reported.

use super::super::limits::ROWS_PER_TURN_MAX;
use super::super::rows::tests::large;
use super::super::sample::message;
use super::*;

fn selected(count: u32) -> Selected {
    Selected {
        hides_flags: false,
        withheld: false,
        id: MailboxId(1),
        numbering: Numbering::of(1..=count),
        known: Known::new(mail::ModSeq(1)),
        keywords: Keywords::new(Vec::new(), mail::Rights::ALL),
        recent: Recent::default(),
        read_only: false,
        inbox_of: None,
        foreign: None,
        mode: Mode::default(),
        settled: mail::ModSeq(1),
        shown: mail::ModSeq(0),
        told_gone: false,
        saved: Vec::new(),
        watching: Watching::nothing(),
        changed: Changed::default(),
        expunged: VecDeque::new(),
        told_beside: false,
    }
}

/// What is reported, and how much of it was in memory at once.
fn told(selected: &mut Selected, expunges: Expunges) -> (String, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let (owner, _end) = storage::owner::owner();
    let (mut all, mut most) = (Vec::new(), 0);
    runtime.unwrap().block_on(async {
        loop {
            // until all is reported
            let mut out = Vec::new();
            let told = selected.tell(&owner, expunges, &mut out).await;
            most = most.max(out.len());
            all.append(&mut out);
            if told.expect("it is not gone") == Told::All {
                break;
            }
        }
    });
    (String::from_utf8(all).unwrap(), most)
}

#[test]
fn a_mailbox_that_is_emptied_is_told_in_pieces() {
    let mut selected = selected(100_000);
    selected.note_expunged((1..=100_000).filter(|uid| uid % 2 == 0));
    selected.note_expunged(1..=100_000);
    assert_eq!(told(&mut selected, Expunges::Later), (String::new(), 0));
    let (lines, most) = told(&mut selected, Expunges::Now);
    assert!(most <= 2 * OUTPUT_BYTES_MAX, "{most}");
    assert_eq!(lines.lines().count(), 100_000);
    assert!(lines.lines().all(|line| line == "* 1 EXPUNGE"));
    assert_eq!(selected.numbering, Numbering::default());
}

#[test]
fn flags_of_many_messages_are_told_in_pieces() {
    let mut selected = selected(20_000);
    selected.changed.ready = (1..=20_000).map(|uid| message(uid, 1)).collect();
    let (lines, most) = told(&mut selected, Expunges::Later);
    assert!(most <= 2 * OUTPUT_BYTES_MAX, "{most}");
    assert_eq!(lines.lines().count(), 20_000);
    assert!(
        lines.ends_with("* 20000 FETCH (UID 20000 FLAGS ())\r\n"),
        "{:?}",
        lines.lines().last()
    );
}

#[test]
fn many_changes_are_noted_by_uid() {
    let changes = |changed: Vec<Message>| Changes {
        highest_modseq: mail::ModSeq(2),
        uid_next: Uid(20_001),
        changed,
        expunged: Vec::new(),
        too_old: false,
        gone: false,
    };
    let mut many = selected(20_000);
    let changed = (1..=16_384).map(|uid| message(uid, 2)).collect();
    many.note_changes(changes(changed), &mut Vec::new());
    assert!(many.changed.ready.len() <= ROWS_PER_TURN_MAX);
    assert_eq!(many.changed.ready.len() + many.changed.later.len(), 16_384);
    let mut large_ones = selected(20_000);
    let changed = (1..=100).map(large).collect();
    large_ones.note_changes(changes(changed), &mut Vec::new());
    assert_eq!(large_ones.changed.ready.len(), 0);
    assert_eq!(large_ones.changed.later.len(), 100);
    let mut few = selected(20_000);
    few.note_changes(changes(vec![message(3, 2)]), &mut Vec::new());
    assert_eq!(
        few.changed.ready.len(),
        1,
        "no second look for what is small"
    );
}

/// The owner does not answer: the rest is reported another time.
#[test]
fn what_cannot_be_looked_at_now_is_kept() {
    let mut selected = selected(9);
    selected.changed.later = vec![Uid(3), Uid(4)].into_iter();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let (owner, end) = storage::owner::owner();
    drop(end);
    let mut out = Vec::new();
    let asked = selected.tell(&owner, Expunges::Later, &mut out);
    assert_eq!(runtime.unwrap().block_on(asked), Ok(Told::All));
    assert_eq!(selected.changed.later.len(), 2);
    assert!(selected.watching.take());
}

/// A client that keeps modification sequences would come back with 9, and never hear of the flags that are still to be told.
#[test]
fn while_flags_wait_the_highest_that_was_told_is_repeated() {
    let mut selected = selected(9);
    selected.mode.condstore = true;
    selected.changed.later = vec![Uid(3)].into_iter();
    selected.showed(mail::ModSeq(9));
    let mut out = Vec::new();
    selected.put_ahead(&mut out);
    assert_eq!(out, b"* OK [HIGHESTMODSEQ 1] Highest\r\n");
    selected.changed = Changed::default();
    selected.showed(mail::ModSeq(9));
    out.clear();
    selected.put_ahead(&mut out);
    assert_eq!(out, b"", "expunges concern clients with QRESYNC only");
}
