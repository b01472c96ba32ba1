//! Stage 1: the answer to RCPT.

use super::*;

#[test]
fn each_recipient_hears_its_own_answer() {
    let served = serve(Options::default());
    let mut several = mail(&["alice", "nobody", "full", "gone", "postmaster"]);
    several
        .recipients
        .extend(["x@elsewhere.example".to_owned(), "Postmaster".to_owned()]);
    several.parameters = " SIZE=150".into();
    several.recipients.push("small@example.org".into());
    let sent = served.send(Role::Smtp, vec![several]);
    assert_eq!(
        codes(&sent[0].recipients),
        [
            (250, "2.1.5"),
            (550, "5.1.1"),
            (452, "4.2.2"),
            (451, "4.3.2"),
            (250, "2.1.5"),
            (550, "5.7.1"),
            (250, "2.1.5"),
            (452, "4.2.2")
        ]
    );
    assert_eq!(served.handed()[0].1, [1, 2], "postmaster is bob");
    served.stop();
}

#[test]
fn the_directory_is_asked_once_until_it_changes() {
    let served = serve(Options::default());
    served.send(
        Role::Smtp,
        vec![mail(&["alice"]), mail(&["alice"]), mail(&["alice"])],
    );
    assert_eq!(served.script.looked_up.load(Relaxed), 1);
    served.script.generation.fetch_add(1, Relaxed);
    served.send(Role::Smtp, vec![mail(&["alice"])]);
    assert_eq!(served.script.looked_up.load(Relaxed), 2);
    served.stop();
}

/// The sender need not send its content to learn it; addresses that are not ours are refused for good all the same.
#[test]
fn no_recipient_is_taken_while_no_mail_can_be() {
    let served = serve(Options::default());
    let mut several = mail(&["alice", "nobody"]);
    several.recipients.push("x@elsewhere.example".to_owned());
    served.script.refusing.store(true, Relaxed);
    let sent = served.send(Role::Smtp, vec![several.clone()]);
    assert_eq!(
        codes(&sent[0].recipients),
        [(451, "4.3.0"), (550, "5.1.1"), (550, "5.7.1")]
    );
    assert!(served.handed().is_empty());
    served.script.refusing.store(false, Relaxed);
    let sent = served.send(Role::Smtp, vec![several]);
    assert_eq!(codes(&sent[0].outcomes), [(250, "2.0.0")]);
    served.stop();
}

/// Unknown is not absent: what cannot be looked up now is deferred.
#[test]
fn an_address_that_leads_on_is_taken_from_whom_it_may_be() {
    let served = serve(Options::default());
    let from = |sender: &str| Mail {
        reverse_path: sender.into(),
        ..mail(&["sales", "list", "broken"])
    };
    let sent = served.send(Role::Smtp, vec![from("sender@example.net"), from("")]);
    let deferred = (451, "4.3.0");
    let wanted = [(250, "2.1.5"), (250, "2.1.5"), deferred];
    assert_eq!(codes(&sent[0].recipients), wanted);
    let wanted = [(250, "2.1.5"), (550, "5.7.2"), deferred];
    assert_eq!(codes(&sent[1].recipients), wanted);
    served.script.refusing.store(true, Relaxed);
    let sent = served.send(Role::Smtp, vec![from("sender@example.net")]);
    assert_eq!(codes(&sent[0].recipients)[0], deferred);
    served.stop();
}

/// While storage is away a keeper with a spool takes mail for whom this core knows; no other address is taken for absent.
#[test]
fn an_account_stays_known_while_it_cannot_be_looked_up() {
    let served = serve(Options::default());
    served.send(Role::Smtp, vec![mail(&["alice"])]);
    served.script.silent.store(true, Relaxed);
    let sent = served.send(Role::Smtp, vec![mail(&["alice", "bob", "nobody"])]);
    let deferred = (451, "4.3.2");
    assert_eq!(
        codes(&sent[0].recipients),
        [(250, "2.1.5"), deferred, deferred]
    );
    assert_eq!(served.handed()[1].1, [1]);
    // The directory changed, and what changed is not known.
    served.script.generation.fetch_add(1, Relaxed);
    let sent = served.send(Role::Smtp, vec![mail(&["alice"])]);
    assert_eq!(codes(&sent[0].recipients), [deferred]);
    served.stop();
}
