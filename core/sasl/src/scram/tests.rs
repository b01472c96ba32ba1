//! RFC 7677's example, channel binding, and what a client may get wrong.

use super::client::Client;
use super::*;
use crate::{Exchange, Mechanism, Offer, Step};

const SALT: &[u8] = b"0123456789abcdef";
const BOUND: Binding = Binding([9; 32]);

fn found(passwords: &[&str]) -> Found {
    let keys = passwords
        .iter()
        .map(|password| Keys::derive(password, SALT, 4_096));
    Found {
        salt: SALT.to_vec(),
        iterations: 4_096,
        keys: keys.collect(),
        nonce: [7; NONCE_BYTES],
        fate: Default::default(),
    }
}

fn exchange(mechanism: Mechanism, binding: Option<Binding>) -> Exchange {
    let offer = Offer {
        scram: true,
        binding,
        ..Offer::default()
    };
    Exchange::offering(mechanism, offer)
}

/// The whole exchange, up to what the caller has to decide.
fn run(mut exchange: Exchange, client: &Client, found: Found) -> Step {
    let step = exchange.respond(client.first().as_bytes());
    let Step::FindKeys(user) = step else {
        return step;
    };
    assert_eq!(user, b"ann");
    let challenge = match exchange.keys_found(found) {
        Step::Challenge(challenge) => challenge,
        refused => return refused,
    };
    let last = client.last(&challenge).expect("a challenge");
    match exchange.respond(last.as_bytes()) {
        Step::Challenge(signature) => {
            let signature = base64::decode(signature.as_bytes()).expect("base64");
            assert!(signature.starts_with(b"v="));
            exchange.respond(b"")
        }
        step => step,
    }
}

fn by(step: &Step) -> Option<Keys> {
    match step {
        Step::Proved(proved) => proved.by.clone(),
        step => panic!("{step:?}"),
    }
}

/// RFC 7677 §3, each message as it stands there.
#[test]
fn the_example_of_rfc_7677() {
    let salt = base64::decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
    let keys = Keys::derive("pencil", &salt, 4_096);
    let mut conversation = Conversation::new(false, None);
    let first = conversation.respond(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    assert!(matches!(first, Ok(Next::Find(user)) if user == b"user"));
    let server_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    // Our own nonces are base64; the example's is put where the challenge would be.
    let At::Finding(first) = std::mem::replace(&mut conversation.at, At::Over) else {
        panic!("keys are owed");
    };
    let server_first =
        format!("r=rOprNGfwEbeRWgbNEkqO{server_nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let said = format!(
        "{},{server_first},{}",
        first.bare, "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    );
    let proof = last.rsplit(|byte| *byte == b'=').nth(1).expect("a proof");
    let proof = base64::decode(&[proof, b"="].concat()).expect("base64");
    let signature = mac(&keys.stored, said.as_bytes());
    let key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    assert_eq!(sha256(&key), keys.stored, "the client's proof");
    let ours = base64::encode(&mac(&keys.server, said.as_bytes()));
    assert_eq!(ours, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn the_right_password_is_proved_and_a_wrong_one_is_not() {
    let client = Client::new("ann", "secret", "abc", "n", b"");
    let plain = || exchange(Mechanism::ScramSha256, None);
    let known = found(&["secret"]);
    assert_eq!(
        by(&run(plain(), &client, known.clone())),
        Some(known.keys[0].clone())
    );
    assert_eq!(by(&run(plain(), &client, found(&["other"]))), None);
    assert_eq!(by(&run(plain(), &client, found(&[]))), None, "no such user");
    let several = found(&["other", "secret", "third"]);
    assert_eq!(
        by(&run(plain(), &client, several.clone())),
        Some(several.keys[1].clone())
    );
}

#[test]
fn a_proof_is_bound_to_its_connection() {
    let plus = || exchange(Mechanism::ScramSha256Plus, Some(BOUND));
    let client = |bound: &[u8]| Client::new("ann", "secret", "abc", "p=tls-exporter", bound);
    assert!(by(&run(plus(), &client(&BOUND.0), found(&["secret"]))).is_some());
    let elsewhere = run(plus(), &client(&[8; 32]), found(&["secret"]));
    assert_eq!(
        elsewhere,
        Step::Refused(Fault::Binding),
        "relayed from another connection"
    );
    let unique = Client::new("ann", "secret", "abc", "p=tls-unique", &BOUND.0);
    assert_eq!(
        run(plus(), &unique, found(&["secret"])),
        Step::Refused(Fault::Binding)
    );
    let unbound = Client::new("ann", "secret", "abc", "n", b"");
    assert_eq!(
        run(plus(), &unbound, found(&["secret"])),
        Step::Refused(Fault::Malformed)
    );
}

/// The list of mechanisms was shortened on the way: the client says that it could have bound.
#[test]
fn a_client_that_was_shown_a_shorter_list_is_refused() {
    let client = Client::new("ann", "secret", "abc", "y", b"");
    let offered = exchange(Mechanism::ScramSha256, Some(BOUND));
    assert_eq!(
        run(offered, &client, found(&["secret"])),
        Step::Refused(Fault::Downgraded)
    );
    let not_offered = exchange(Mechanism::ScramSha256, None);
    assert!(by(&run(not_offered, &client, found(&["secret"]))).is_some());
    let cannot = Client::new("ann", "secret", "abc", "n", b"");
    let offered = exchange(Mechanism::ScramSha256, Some(BOUND));
    assert!(by(&run(offered, &cannot, found(&["secret"]))).is_some());
}

#[test]
fn names_lose_their_escapes_and_nothing_else_is_taken() {
    let first = |text: &str| {
        let mut conversation = Conversation::new(false, None);
        conversation
            .respond(text.as_bytes())
            .map(|next| match next {
                Next::Find(user) => String::from_utf8(user).expect("UTF-8"),
                _ => panic!("keys are owed"),
            })
    };
    assert_eq!(first("n,,n=a=2Cb=3Dc,r=x").as_deref(), Ok("a,b=c"));
    assert_eq!(first("n,a=ann,n=ann,r=x").as_deref(), Ok("ann"));
    assert_eq!(first("n,a=bob,n=ann,r=x"), Err(Fault::ActingAs));
    for text in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=ann",
        "n,,r=x,n=ann",
        "n,,n=a=2c,r=x",
        "n,,n=a=,r=x",
        "n,,n=,r=x",
        "n,,n=ann,r=",
        "n,,n=ann,r=a b",
        "n,,m=x,n=ann,r=x",
        "x,,n=ann,r=x",
        "p=tls-exporter,,n=ann,r=x",
        "n,b=ann,n=ann,r=x",
        "n,,n=a\0b,r=x",
    ] {
        assert_eq!(first(text), Err(Fault::Malformed), "{text:?}");
    }
    let long = format!("n,,n=ann,r={}", "x".repeat(NONCE_BYTES_MAX + 1));
    assert_eq!(first(&long), Err(Fault::Malformed));
}

#[test]
fn a_proof_for_another_nonce_or_of_another_shape_is_refused() {
    let client = Client::new("ann", "secret", "abc", "n", b"");
    let mut open = exchange(Mechanism::ScramSha256, None);
    open.respond(client.first().as_bytes());
    let other = base64::encode(b"r=abcOTHER,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096");
    let _ = open.keys_found(found(&["secret"]));
    let replayed = client.last(&other).expect("a challenge");
    assert_eq!(
        open.respond(replayed.as_bytes()),
        Step::Refused(Fault::Malformed)
    );
    for last in [
        "c=biws,r=abc",
        "c=biws,p=AAAA",
        "r=abc,c=biws,p=AAAA",
        "p=AAAA",
        "c=biws,r=abc,p=!",
    ] {
        let mut open = exchange(Mechanism::ScramSha256, None);
        open.respond(client.first().as_bytes());
        let _ = open.keys_found(found(&["secret"]));
        let last = base64::encode(last.as_bytes());
        assert_eq!(
            open.respond(last.as_bytes()),
            Step::Refused(Fault::Malformed)
        );
    }
    // Nothing of an exchange that broke off can be used.
    assert_eq!(
        open.respond(replayed.as_bytes()),
        Step::Refused(Fault::Malformed)
    );
}

#[test]
fn passwords_are_prepared_as_clients_do() {
    assert_eq!(prepared("I\u{ad}X"), "IX");
    assert_eq!(prepared("a\u{a0}b"), "a b");
    assert_eq!(prepared("\u{aa}"), "a");
    assert_eq!(prepared("\u{2168}"), "IX");
    assert_eq!(prepared("plain text"), "plain text");
}

#[test]
fn nothing_secret_is_printed() {
    let found = found(&["secret"]);
    let proved = Proved {
        user: b"ann".to_vec(),
        by: Some(found.keys[0].clone()),
    };
    let step = Step::Proved(proved);
    let printed = format!("{found:?} {:?} {step:?} {BOUND:?}", found.keys[0]);
    assert!(
        !printed.contains(|byte: char| byte.is_ascii_digit()),
        "{printed}"
    );
}
