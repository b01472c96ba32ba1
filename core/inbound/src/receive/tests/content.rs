//! Stage 2: the trace fields, the id, and whose memory the content takes.

use super::*;
use storage::holder;

#[test]
fn a_message_is_handed_over_behind_its_trace_fields_and_then_accepted() {
    let served = serve(Options::default());
    let sent = served.send(Role::Smtp, vec![mail(&["alice"])]);
    let (code, text) = outcome(&sent[0]);
    assert_eq!(code, 250);
    let id = text
        .strip_prefix("2.0.0 ok ")
        .expect("the reply names the message");

    let (raw, accounts) = served.handed().remove(0);
    assert_eq!(accounts, [1]);
    let raw = String::from_utf8(raw).unwrap();
    let begin = format!(
        "Return-Path: <sender@example.net>\r\nReceived: from client.example ([127.0.0.1])\r\n\tby mx.example.org with ESMTP\r\n\tid {id}\r\n\tfor <alice@example.org>; "
    );
    let rest = raw.strip_prefix(&begin).unwrap_or_else(|| panic!("{raw}"));
    let (date, content) = rest.split_once("\r\n").unwrap();
    assert!(date.ends_with(" +0000"), "{date}");
    assert_eq!(content.as_bytes(), CONTENT);
    assert_eq!(served.counters.accepted.load(Relaxed), 1);
    assert_eq!(served.counters.bytes.load(Relaxed), raw.len() as u64);
    assert_eq!(served.counters.took.read().count(), 1);
    served.stop();
}

#[test]
fn content_never_outgrows_its_budget() {
    let served = serve(Options {
        budget_bytes: 100_000,
        ..Options::default()
    });
    let mut big = mail(&["alice"]);
    big.content = Content::stuffed(&b"0123456789abcdef\r\n".repeat(10_000));
    let mut announced = big.clone();
    announced.parameters = " SIZE=180000".into();
    let mut chunk = big.clone();
    chunk.content = Content::chunk(&b"0123456789abcdef\r\n".repeat(10_000));
    let sent = served.send(Role::Smtp, vec![big, announced, chunk, mail(&["alice"])]);
    let answers: Vec<_> = sent.iter().map(|sent| codes(&sent.outcomes)[0]).collect();
    assert_eq!(
        answers,
        [
            (452, "4.3.1"),
            (452, "4.3.1"),
            (452, "4.3.1"),
            (250, "2.0.0")
        ]
    );
    assert_eq!(served.handed().len(), 1);
    served.stop();
}

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

#[test]
fn ids_never_repeat() {
    let (one, two) = (Ids::of_process(), Ids::of_process());
    let ids = [one.next(), one.next(), two.next(), two.next()];
    for (index, id) in ids.iter().enumerate() {
        assert!(!ids[..index].contains(id), "{ids:?}");
        assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
        );
    }
}
