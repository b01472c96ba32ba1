//! What a second reader found: each was lost, doubled or told to the wrong one.

use super::*;

/// A submission or a delivery is deferred by what only our own nodes did wrong.
#[test]
fn a_refusal_that_is_not_about_the_message_defers_it() {
    for (line, answer) in [
        ("RCPT", "503 5.5.1 send MAIL first"),
        ("RCPT", "530 5.7.0 must issue a STARTTLS command first"),
        ("RCPT", "555 5.5.4 parameter not recognized"),
    ] {
        let world = World::new();
        let script = Script::new(Protocol::Lmtp).answering(&format!("{line} TO:<a2@"), answer);
        let _node = world.node(0, script);
        let (keeper, _) = world.keeper(&[Protocol::Lmtp]);
        let results = world.sim.block_on(deliver(&keeper, 1, &[1, 2], &[]));
        assert!(results[0].is_ok() && is_deferred(&results[1]), "{answer}");
    }
    for (end, wanted) in [
        ("554 5.6.0 bare CR not allowed in a message", None),
        ("501 5.5.4 syntax error in arguments", None),
        (
            "550 5.1.1 no such user here <5.3.4@example.org>",
            Some(MailboxFault::NoAccount),
        ),
        (
            "550 5.7.2 not permitted to post to this list",
            Some(MailboxFault::NotPermitted),
        ),
        (
            "552 5.3.4 message size exceeds the limit",
            Some(MailboxFault::TooLarge),
        ),
    ] {
        for protocol in [Protocol::Lmtp, Protocol::Smtp, Protocol::Qmqp] {
            let world = World::new();
            let _node = world.node(0, Script::new(protocol).ending(&[end]));
            let (keeper, _) = world.keeper(&[protocol]);
            let results = world.sim.block_on(deliver(&keeper, 1, &[1], &[]));
            match &wanted {
                Some(fault) => assert_eq!(results, [Err(fault.clone())], "{protocol:?} {end}"),
                None => assert!(is_deferred(&results[0]), "{protocol:?} {end}: {results:?}"),
            }
        }
    }
}

/// They had pushed it out, each of them, though nothing was in doubt of them.
#[test]
fn a_doubt_outlasts_any_number_of_messages_that_were_answered() {
    let world = World::new();
    let hung = world.node(0, Script::new(Protocol::Lmtp).hanging(Stage::End));
    let other = world.node(1, Script::new(Protocol::Lmtp));
    let (keeper, settings) = world.keeper(&[Protocol::Lmtp, Protocol::Lmtp]);
    world.sim.block_on(async {
        let results = deliver(&keeper, 1, &[1], &[]).await;
        assert!(is_deferred(&results[0]), "{results:?}");
        for number in 0..limits::DOUBTS_MAX as u32 + 1 {
            assert_eq!(deliver(&keeper, 2 + number, &[2], &[]).await, [Ok(())]);
        }
    });
    assert_eq!(hung.got().len(), 1);
    assert_eq!(other.got().len(), limits::DOUBTS_MAX + 1);
    assert_eq!(settings.doubts.count(), 1);
}

/// Both senders hear 250, so both messages are placed.
#[test]
fn two_of_the_same_at_a_time_are_two_deliveries() {
    let world = World::new();
    let script = Script::new(Protocol::Lmtp).pausing(Duration::from_secs(5));
    let node = world.node(0, script);
    let (keeper, settings) = world.keeper(&[Protocol::Lmtp]);
    world.sim.block_on(async {
        let later = async {
            world.host().sleep(Duration::from_secs(1)).await;
            deliver(&keeper, 2, &[1], &[]).await
        };
        let both = tokio::join!(deliver(&keeper, 1, &[1], &[]), later);
        assert_eq!(both, (vec![Ok(())], vec![Ok(())]));
    });
    let got = node.got();
    assert_eq!(got.len(), 2);
    assert_ne!(got[0].mark, got[1].mark);
    assert_eq!(settings.doubts.count(), 0);
}

/// A table that was replaced between two RCPT may give two addresses one number: no answer to one is taken for the other's.
#[test]
fn each_address_of_an_account_is_named() {
    for (second, is_taken) in [
        ("250 2.1.5 ok", true),
        ("550 5.1.1 no such user here", false),
    ] {
        let world = World::new();
        let script = Script::new(Protocol::Lmtp).answering("RCPT TO:<b@example.org>", second);
        let node = world.node(0, script);
        let (keeper, _) = world.keeper(&[Protocol::Lmtp]);
        let arrival = Arrival {
            body: body(1),
            internal_date: InternalDate::utc(1),
            accounts: vec![AccountId(1)],
            junk: Vec::new(),
            posted: Default::default(),
        };
        let on_behalf = |_: &[AccountId]| {
            let mut envelope = envelope(&[AccountId(1)]);
            envelope.recipients[0].path = "a@example.org".to_owned();
            envelope.recipients.push(envelope.recipients[0].clone());
            envelope.recipients[1].path = "b@example.org".to_owned();
            envelope
        };
        let span = tracing::Span::none();
        let results = world
            .sim
            .block_on(keeper.deliver(arrival, &on_behalf, &span));
        let results = results.expect("there is room");
        let named: &[&str] = match is_taken {
            true => &["a@example.org", "b@example.org"],
            false => &["a@example.org"],
        };
        assert_eq!(node.got()[0].recipients, named);
        match is_taken {
            true => assert_eq!(results, [Ok(())]),
            false => assert!(is_deferred(&results[0]), "{results:?}"),
        }
    }
}

/// Ann is number 5 on one storage node, and Bob on the other, whose table comes between their two RCPT.
#[test]
fn one_number_in_two_tables_is_two_accounts() {
    let world = World::new();
    let (keeper, settings) = world.keeper(&[Protocol::Lmtp, Protocol::Lmtp]);
    let table = |local: &str| {
        let draft = Draft {
            domains: vec![("example.org".to_owned(), Rest::default())],
            addresses: vec![(format!("{local}@example.org"), Sign::Account(AccountId(5)))],
        };
        let bytes = draft.encode().expect("it fits");
        Recipients::decode(bytes.into()).expect("well-formed")
    };
    let ask = async |local: &str| {
        let wanted = Address::from_parts(local, "example.org").expect("an address");
        let found = keeper.look_up(&wanted).await.expect("not busy").found;
        match found {
            Ok(Found::Account(resident)) => resident.account,
            found => panic!("{found:?}"),
        }
    };
    world.sim.block_on(async {
        settings.table.remember(table("ann"));
        let of_another_run = ask("ann").await;
        settings.table.replace(table("ann"), 0, world.host().now());
        let (ann, again) = (ask("ann").await, ask("ann").await);
        settings.table.replace(table("bob"), 1, world.host().now());
        let bob = ask("bob").await;
        assert_eq!(ann, again);
        assert!(ann != bob && of_another_run != ann && of_another_run != bob);
    });
}

#[test]
fn a_doubt_is_settled_by_another_door_of_the_same_node() {
    let world = World::new();
    let hung = world.node(0, Script::new(Protocol::Lmtp).hanging(Stage::End));
    let other = world.node(1, Script::new(Protocol::Lmtp));
    let protocols = [Protocol::Lmtp, Protocol::Lmtp];
    let (keeper, _) = world.keeper_for(&protocols, |_| "storage.example.org".to_owned());
    world.sim.block_on(async {
        let results = deliver(&keeper, 1, &[1], &[]).await;
        assert!(is_deferred(&results[0]), "{results:?}");
        assert_eq!(deliver(&keeper, 2, &[1], &[]).await, [Ok(())]);
    });
    assert_eq!(hung.got()[0].mark, other.got()[0].mark);
}
