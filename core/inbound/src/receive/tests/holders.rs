//! Who may hold how much, and what a core itself looks at.

use super::*;
use storage::holder;

#[test]
fn a_peer_that_holds_its_share_is_deferred_and_leaves_room_for_others() {
    let served = serve(Options {
        budget_bytes: 100_000,
        share_bytes: 50_000,
        ..Options::default()
    });
    let here = holder::of_peer("127.0.0.1".parse().unwrap());
    let other = holder::of_peer("192.0.2.1".parse().unwrap());
    let held = served.budget.take_for(here, 50_000).expect("its share");
    let sent = served.send(Role::Smtp, vec![mail(&["alice"])]);
    assert_eq!(codes(&sent[0].outcomes), [(452, "4.3.1")]);
    assert!(served.budget.take_for(other, 50_000).is_some());
    drop(held);
    let sent = served.send(Role::Smtp, vec![mail(&["alice"])]);
    assert_eq!(codes(&sent[0].outcomes), [(250, "2.0.0")]);
    served.stop();
}

/// M12: counted in bytes of work, not by a clock.
#[test]
fn a_large_message_is_looked_at_beside_the_core() {
    let served = serve(Options::default());
    let away = runtime::workers::away();
    let mut large = mail(&["alice"]);
    large.content = Content::stuffed(&b"0123456789abcdef\r\n".repeat(100_000));
    let sent = served.send(Role::Smtp, vec![large, mail(&["alice"])]);
    assert!(sent.iter().all(|sent| outcome(sent).0 == 250));
    assert!(runtime::workers::away() > away);
    served.core.stop();
    let largest = served.largest.recv().unwrap();
    assert!(
        largest > 0 && largest <= runtime::limits::WORK_BYTES_MAX,
        "{largest}"
    );
    served.stop();
}
