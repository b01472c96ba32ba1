//! Doors for `core/fuzz`, no part of the API: a server's answer read from any bytes.

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, MX, PTR, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record};

use crate::Exchangers;
use crate::limits::{EXCHANGERS_MAX, RECORDS_MAX};
use crate::question::{Kind, Question, Reading, Value};
use crate::resolver::bounded_records;

const IDENTIFIER: u16 = 0x1234;

/// Reads `bytes` as the answer to a question, of each kind; where it is taken it is bounded.
pub fn answer(bytes: &[u8]) {
    for kind in [Kind::Mx, Kind::A, Kind::Txt, Kind::Ptr, Kind::Srv] {
        let question = Question::new(name("example.org."), kind, IDENTIFIER);
        let Ok(Reading::Found { values, .. }) = question.read(bytes) else {
            continue;
        };
        // The shortest record: a pointer for its name, ten bytes, and nothing in it.
        assert!(!values.is_empty() && values.len() <= bytes.len() / 12);
        // A text is no longer than its record.
        let heap: usize = values.iter().map(Value::heap_bytes).sum();
        assert!(kind != Kind::Txt || heap <= bytes.len());
        if let Ok(values) = bounded_records(values.clone(), kind) {
            assert!(values.len() <= RECORDS_MAX);
        }
        let records = values.into_iter().filter_map(|value| match value {
            Value::Exchanger(preference, host) => Some((preference, host)),
            _ => None,
        });
        if let Ok(Exchangers::Hosts(hosts)) = Exchangers::of(records) {
            assert!((1..=EXCHANGERS_MAX).contains(&hosts.len()));
        }
    }
}

/// Answers as servers give them.
pub fn answers() -> Vec<Vec<u8>> {
    let [exchangers, address, text, pointer, absent] =
        [(); 5].map(|()| Message::response(IDENTIFIER, OpCode::Query));
    let exchangers = with(exchangers, Kind::Mx, |message| {
        message.add_answer(record(
            "example.org.",
            RData::CNAME(CNAME(name("a.example."))),
        ));
        message.add_answer(record(
            "a.example.",
            RData::MX(MX::new(10, name("b.example."))),
        ));
        message.add_answer(record("a.example.", RData::MX(MX::new(20, Name::root()))));
    });
    let address = with(address, Kind::A, |message| {
        message.add_answer(record("example.org.", RData::A(A::new(192, 0, 2, 1))));
    });
    let text = with(text, Kind::Txt, |message| {
        let strings = vec!["v=spf1 ".to_owned(), "-all".to_owned()];
        message.add_answer(record("example.org.", RData::TXT(TXT::new(strings))));
    });
    let pointer = with(pointer, Kind::Ptr, |message| {
        message.add_answer(record("example.org.", RData::PTR(PTR(name("a.example.")))));
    });
    let absent = with(absent, Kind::Mx, |message| {
        message.metadata.response_code = ResponseCode::NXDomain;
        let soa = SOA::new(name("ns.org."), name("x.org."), 1, 2, 3, 4, 5);
        message.add_authority(record("org.", RData::SOA(soa)));
    });
    vec![exchangers, address, text, pointer, absent]
}

fn with(mut message: Message, kind: Kind, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let question = Question::new(name("example.org."), kind, IDENTIFIER);
    message.add_query(question.query().clone());
    change(&mut message);
    message.to_vec().expect("it fits")
}

fn record(owner: &str, data: RData) -> Record {
    Record::from_rdata(name(owner), 300, data)
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}
