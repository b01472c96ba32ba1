//! One answer for several recipients, and one of them is refused.

use super::*;

const REFUSAL: &str = "550 5.1.1 no such user here <a2@example.org>";

fn refusing() -> Script {
    Script::new(Protocol::Qmqp).answering("a2@example.org", REFUSAL)
}

#[test]
fn one_that_is_refused_by_qmqp_keeps_nothing_from_the_others() {
    let world = World::new();
    let node = world.node(0, refusing());
    let (keeper, settings) = world.keeper(&[Protocol::Qmqp]);
    let results = world.sim.block_on(deliver(&keeper, 1, &[1, 2, 3], &[]));
    assert_eq!(results, [Ok(()), Err(MailboxFault::NoAccount), Ok(())]);
    let got = node.got();
    let counts: Vec<usize> = got.iter().map(|got| got.recipients.len()).collect();
    assert_eq!(counts, [3, 1, 1, 1], "all of them, then each alone");
    let marks: std::collections::HashSet<&str> = got.iter().map(|got| &got.mark[..]).collect();
    assert_eq!(marks.len(), 4, "each is a delivery of its own");
    assert_eq!(settings.doubts.count(), 0);
    // The sender's next try is for that one alone, and ends.
    let results = world.sim.block_on(deliver(&keeper, 2, &[2], &[]));
    assert_eq!(results, [Err(MailboxFault::NoAccount)]);
    assert_eq!(node.got().len(), 5);
}

#[test]
fn what_is_for_all_or_none_is_refused_for_all_at_once() {
    let world = World::new();
    let node = world.node(0, refusing());
    let (keeper, _) = world.keeper(&[Protocol::Qmqp]);
    let submission = Submission {
        body: body(1),
        internal_date: InternalDate::utc(1),
        here: Vec::new(),
        junk: Vec::new(),
        elsewhere: envelope(&[AccountId(1), AccountId(2)]),
    };
    let result = world.sim.block_on(async {
        let span = tracing::Span::none();
        keeper.submit(submission, &span).await
    });
    assert_eq!(result, Ok(Err(MailboxFault::NoAccount)));
    assert_eq!(node.got().len(), 1);
}

#[test]
fn a_refusal_of_the_message_itself_is_not_asked_for_again_one_by_one() {
    let world = World::new();
    let end = "552 5.3.4 message too large";
    let node = world.node(0, Script::new(Protocol::Qmqp).ending(&[end]));
    let (keeper, _) = world.keeper(&[Protocol::Qmqp]);
    let results = world.sim.block_on(deliver(&keeper, 1, &[1, 2], &[]));
    assert_eq!(results, [const { Err(MailboxFault::TooLarge) }; 2]);
    assert_eq!(node.got().len(), 1);
}
