use hickory_proto::rr::rdata::{A, CNAME, MX, NS, PTR, SOA, SRV, TXT};

use super::*;

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn question(kind: Kind) -> Question {
    Question::new(name("example.org."), kind, 0x1234)
}

/// An answer to `question`, changed by `change`.
fn answer(question: &Question, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::response(question.id, OpCode::Query);
    message.add_query(question.query().clone());
    change(&mut message);
    message.to_vec().expect("it fits")
}

fn record(owner: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(name(owner), ttl, data)
}

fn mx(preference: u16, host: &str) -> RData {
    RData::MX(MX::new(preference, name(host)))
}

fn alias(owner: &str, target: &str) -> Record {
    record(owner, 50, RData::CNAME(CNAME(name(target))))
}

fn soa(minimum: u32) -> Record {
    let data = SOA::new(name("a."), name("b."), 1, 2, 3, 4, minimum);
    record("org.", 300, RData::SOA(data))
}

#[test]
fn a_question_asks_to_look_further_and_takes_long_datagrams() {
    let wire = question(Kind::Mx).to_wire().expect("it fits");
    let message = Message::from_vec(&wire).expect("it can be read");
    assert!(message.metadata.recursion_desired);
    assert_eq!(message.max_payload(), UDP_BYTES_ASKED);
    let plain = question(Kind::Mx)
        .without_edns()
        .to_wire()
        .expect("it fits");
    assert!(plain.len() < wire.len());
}

#[test]
fn records_are_taken_from_the_end_of_the_aliases_only() {
    let asked = question(Kind::Mx);
    let wire = answer(&asked, |message| {
        message.add_answer(record("b.example.", 70, mx(10, "Mx.Example.")));
        message.add_answer(alias("example.org.", "a.example."));
        message.add_answer(alias("A.example.", "b.example."));
        message.add_answer(record("forged.example.", 9, mx(1, "evil.example.")));
        message.add_additional(record("b.example.", 9, mx(2, "evil.example.")));
        message.add_answer(record("b.example.", 9, RData::A(A::new(192, 0, 2, 1))));
    });
    let values = vec![Value::Exchanger(10, "Mx.Example.".to_owned())];
    assert_eq!(asked.read(&wire), Ok(Reading::Found { values, ttl: 50 }));

    let wire = answer(&asked, |message| {
        message.add_answer(alias("example.org.", "a.example."));
    });
    let target = name("a.example.");
    assert_eq!(asked.read(&wire), Ok(Reading::Alias { target, ttl: 50 }));
}

#[test]
fn the_strings_of_a_text_are_joined_and_pointers_are_names() {
    let asked = question(Kind::Txt);
    let text = |strings: &[&[u8]]| RData::TXT(TXT::from_bytes(strings.to_vec()));
    let wire = answer(&asked, |message| {
        message.add_answer(alias("example.org.", "a.example."));
        message.add_answer(record("a.example.", 9, text(&[b"v=spf1 a", b" -all"])));
        message.add_answer(record("a.example.", 70, text(&[b"\xff\0", b"", b"x"])));
        message.add_answer(record("b.example.", 70, text(&[b"of another"])));
    });
    let values = vec![
        Value::Text(b"v=spf1 a -all".to_vec()),
        Value::Text(b"\xff\0x".to_vec()),
    ];
    assert_eq!(asked.read(&wire), Ok(Reading::Found { values, ttl: 9 }));

    let asked = question(Kind::Ptr);
    let wire = answer(&asked, |message| {
        let name = PTR(name("A.Example."));
        message.add_answer(record("example.org.", 70, RData::PTR(name)));
        message.add_answer(record("example.org.", 70, text(&[b"of another kind"])));
    });
    let values = vec![Value::Name("A.Example.".to_owned())];
    assert_eq!(asked.read(&wire), Ok(Reading::Found { values, ttl: 70 }));

    let asked = question(Kind::Srv);
    let wire = answer(&asked, |message| {
        let service = SRV::new(0, 1, 465, name("A.Example."));
        message.add_answer(record("example.org.", 70, RData::SRV(service)));
    });
    let values = vec![Value::Service {
        priority: 0,
        weight: 1,
        port: 465,
        target: "A.Example.".to_owned(),
    }];
    assert_eq!(asked.read(&wire), Ok(Reading::Found { values, ttl: 70 }));
}

#[test]
fn aliases_in_a_circle_are_a_failure() {
    let asked = question(Kind::A);
    let wire = answer(&asked, |message| {
        message.add_answer(alias("example.org.", "a.example."));
        message.add_answer(alias("a.example.", "example.org."));
    });
    assert!(matches!(asked.read(&wire), Err(Bad::Failed(_))));
}

#[test]
fn only_an_answer_that_says_so_makes_a_name_absent() {
    let asked = question(Kind::Mx);
    let no_name = answer(&asked, |message| {
        message.metadata.response_code = ResponseCode::NXDomain;
        message.add_authority(soa(60));
    });
    assert_eq!(asked.read(&no_name), Ok(Reading::NoName { ttl: Some(60) }));
    let nothing = answer(&asked, |message| {
        message.add_authority(soa(900));
    });
    assert_eq!(
        asked.read(&nothing),
        Ok(Reading::Nothing { ttl: Some(300) })
    );
    let bare = answer(&asked, |_| {});
    assert_eq!(asked.read(&bare), Ok(Reading::Nothing { ttl: None }));

    let referral = answer(&asked, |message| {
        message.add_authority(record("org.", 9, RData::NS(NS(name("ns.org.")))));
    });
    let other = answer(&asked, |message| {
        message.add_answer(record("other.example.", 9, mx(1, "mx.example.")));
    });
    for wire in [referral, other] {
        assert!(matches!(asked.read(&wire), Err(Bad::Failed(_))));
    }
    for code in [
        ResponseCode::ServFail,
        ResponseCode::Refused,
        ResponseCode::NotAuth,
    ] {
        let wire = answer(&asked, |message| message.metadata.response_code = code);
        assert!(matches!(asked.read(&wire), Err(Bad::Failed(_))), "{code}");
    }
    let truncated = answer(&asked, |message| message.metadata.truncation = true);
    assert_eq!(asked.read(&truncated), Err(Bad::Truncated));
}

#[test]
fn what_answers_another_question_is_waited_past() {
    let asked = question(Kind::Mx);
    for other in [
        Question::new(name("example.org."), Kind::Mx, 0x1235),
        Question::new(name("example.org."), Kind::A, 0x1234),
        Question::new(name("example.com."), Kind::Mx, 0x1234),
    ] {
        let wire = answer(&other, |_| {});
        assert_eq!(asked.read(&wire), Err(Bad::NotOurs));
    }
    let own = asked.to_wire().expect("it fits");
    assert_eq!(
        asked.read(&own),
        Err(Bad::NotOurs),
        "a question is not an answer"
    );
    assert_eq!(asked.read(&[]), Err(Bad::NotOurs));
    assert_eq!(asked.read(&[0x12, 0x34]), Err(Bad::NotOurs));
}

#[test]
fn a_server_that_does_not_know_edns_is_asked_without() {
    let asked = question(Kind::Mx);
    for code in [ResponseCode::FormErr, ResponseCode::NotImp] {
        let mut message = Message::response(asked.id, OpCode::Query);
        message.metadata.response_code = code;
        let wire = message.to_vec().expect("it fits");
        assert_eq!(asked.read(&wire), Err(Bad::Edns));
        let plain = asked.clone().without_edns();
        let wire = answer(&plain, |message| message.metadata.response_code = code);
        assert!(matches!(plain.read(&wire), Err(Bad::Failed(_))));
    }
}

#[test]
fn no_bytes_stop_us() {
    let asked = question(Kind::Mx);
    let good = answer(&asked, |message| {
        message.add_answer(alias("example.org.", "a.example."));
        message.add_answer(record("a.example.", 70, mx(10, "mx.example.")));
        message.add_authority(soa(5));
    });
    for end in 0..good.len() {
        assert!(asked.read(&good[..end]).is_err());
    }
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..20_000 {
        let mut wire = good.clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(3..wire.len());
            wire[at] = random.u8(..);
        }
        // Whatever it says, it is bounded by the wire.
        if let Ok(Reading::Found { values, .. }) = asked.read(&wire) {
            assert!(values.len() <= wire.len() / 12);
        }
    }
}
