//! Stage 3: what a look at the whole message says.

use super::*;

#[test]
fn a_message_that_goes_in_circles_is_refused() {
    let served = serve(Options::default());
    let mut circling = mail(&["alice"]);
    circling.content = Content::stuffed(&b"Received: from a by b; now\r\n".repeat(101));
    let sent = served.send(Role::Smtp, vec![circling]);
    assert_eq!(codes(&sent[0].outcomes), [(554, "5.4.6")]);
    assert!(served.handed().is_empty());
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

/// The limit is counted in fields that others wrote: ours is the next one.
#[test]
fn a_message_after_a_hundred_hops_is_still_taken() {
    let served = serve(Options::default());
    let mut travelled = mail(&["alice"]);
    travelled.content = Content::stuffed(&b"Received: from a by b; now\r\n".repeat(100));
    let sent = served.send(Role::Smtp, vec![travelled]);
    assert_eq!(codes(&sent[0].outcomes), [(250, "2.0.0")]);
    served.stop();
}

/// A verdict is of the message: LMTP gives it to each recipient.
#[test]
fn every_recipient_is_answered_with_the_verdict() {
    let served = serve(Options {
        role: Role::Lmtp,
        ..Options::default()
    });
    let mut circling = mail(&["alice", "nobody", "bob"]);
    circling.content = Content::stuffed(&b"Received: from a by b; now\r\n".repeat(101));
    let sent = served.send(Role::Lmtp, vec![circling]);
    assert_eq!(codes(&sent[0].outcomes), [(554, "5.4.6"), (554, "5.4.6")]);
    assert!(served.handed().is_empty());
    served.stop();
}
