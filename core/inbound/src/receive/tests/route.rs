//! Several recipients of one message: copies and outcomes.

use super::*;

#[test]
fn the_trace_of_several_recipients_names_none_and_one_mailbox_gets_one_copy() {
    let served = serve(Options::default());
    let sent = served.send(Role::Smtp, vec![mail(&["alice", "bob", "alice"])]);
    assert_eq!(outcome(&sent[0]).0, 250);
    let (raw, accounts) = served.handed().remove(0);
    assert_eq!(accounts, [1, 2]);
    assert!(memchr::memmem::find(&raw, b"for <").is_none());
    served.stop();
}

/// Another address of an account, or the same one again, costs no second copy and gets the same outcome.
#[test]
fn recipients_of_one_account_share_a_copy_and_its_outcome() {
    let served = serve(Options {
        role: Role::Lmtp,
        ..Options::default()
    });
    served.then(Ok(vec![Err(MailboxFault::OverQuota)]));
    let sent = served.send(Role::Lmtp, vec![mail(&["bob", "Postmaster", "bob"])]);
    assert_eq!(codes(&sent[0].outcomes), [(452, "4.2.2"); 3]);
    assert_eq!(served.handed()[0].1, [2], "postmaster is bob");
    served.stop();
}
