//! What a validator vouches for.

use hickory_proto::rr::rdata::TLSA;
use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};

use super::*;

/// A resolver that asks `plain` for all but proofs.
fn with_validator(plain: &Server, validator: &Server) -> Resolver {
    Resolver::with_validators(
        Servers::fixed(vec![plain.address]),
        Some(Servers::fixed(vec![validator.address])),
        1,
        PATIENCE,
    )
}

fn tlsa() -> RData {
    let data = vec![7; 32];
    RData::TLSA(TLSA::new(
        CertUsage::DaneEe,
        Selector::Spki,
        Matching::Sha256,
        data,
    ))
}

fn value() -> Value {
    Value::Certificate {
        usage: 3,
        selector: 1,
        matching: 1,
        data: vec![7; 32],
    }
}

/// An answer with these records, of a validator that vouches for it or does not.
fn vouched(question: &Message, vouches: bool, records: &[(&str, RData)]) -> Says {
    wire(answer(question, |message| {
        assert!(question.metadata.authentic_data, "it is asked for");
        message.metadata.authentic_data = vouches;
        for (owner, data) in records {
            let owner = WireName::from_ascii(owner).expect("a name");
            message.add_answer(Record::from_rdata(owner, 300, data.clone()));
        }
    }))
}

#[test]
fn what_is_signed_is_proved_and_the_rest_is_not() {
    run(async {
        let plain = server(|question, _| {
            assert!(!question.metadata.authentic_data);
            code(question, ResponseCode::Refused)
        });
        let validator = server(|question, _| {
            let name = question.queries[0].name().to_ascii();
            match name.as_str() {
                "_25._tcp.signed.example." => vouched(question, true, &[(&name, tlsa())]),
                "_25._tcp.plain.example." => vouched(question, false, &[(&name, tlsa())]),
                "_25._tcp.none.example." => vouched(question, true, &[]),
                "_25._tcp.absent.example." => code(question, ResponseCode::NXDomain),
                _ => code(question, ResponseCode::ServFail),
            }
        });
        let names = with_validator(&plain, &validator);
        let of = async |host: &str| {
            let name = format!("_25._tcp.{host}");
            names.proved(&name, Kind::Tlsa).await
        };
        assert_eq!(of("signed.example").await, Ok(Some(vec![value()])));
        assert_eq!(of("plain.example").await, Ok(None));
        assert_eq!(of("none.example").await, Ok(Some(Vec::new())));
        assert_eq!(of("absent.example").await, Err(NameFault::NoSuchDomain));
        let bogus = of("bogus.example").await;
        assert!(matches!(bogus, Err(NameFault::Unavailable(_))), "{bogus:?}");
        let questions = validator.questions();
        assert_eq!(of("signed.example").await, Ok(Some(vec![value()])));
        assert_eq!(of("plain.example").await, Ok(None));
        assert_eq!(validator.questions(), questions, "it was known");
        assert_eq!(plain.questions(), 0);
    });
}

#[test]
fn an_alias_that_is_not_signed_leads_to_nothing_proved() {
    run(async {
        let alias = |vouches| {
            move |question: &Message, _| {
                let name = question.queries[0].name().to_ascii();
                let target = WireName::from_ascii("real.example.").expect("a name");
                match name.as_str() {
                    "real.example." => vouched(question, true, &[(&name, tlsa())]),
                    _ => vouched(question, vouches, &[(&name, RData::CNAME(CNAME(target)))]),
                }
            }
        };
        for (vouches, proved) in [(true, Some(vec![value()])), (false, None)] {
            let validator = server(alias(vouches));
            let names = with_validator(&validator, &validator);
            let found = names.proved("alias.example", Kind::Tlsa).await;
            assert_eq!(found, Ok(proved));
        }
    });
}

#[test]
fn without_a_validator_nothing_is_proved_and_nobody_is_asked() {
    run(async {
        let plain = server(|question, _| {
            wire(answer(question, |message| {
                message.metadata.authentic_data = true;
                let owner = question.queries[0].name().clone();
                message.add_answer(Record::from_rdata(owner, 300, tlsa()));
            }))
        });
        let names = resolver(&[&plain]);
        assert_eq!(names.proved("a.example", Kind::Tlsa).await, Ok(None));
        assert_eq!(plain.questions(), 0);
        // The bit of a server that is no validator of ours says nothing.
        assert_eq!(
            names.records("a.example", Kind::Tlsa).await,
            Ok(vec![value()])
        );
    });
}
