//! A door for `core/fuzz`, no part of the API: whole exchanges with whatever a client sends.

use crate::bearer::{Failure, Status};
use crate::scram::{Binding, Found, Keys, NONCE_BYTES};
use crate::{Exchange, Fault, Mechanism, Offer, Step, base64};

/// The first byte chooses the mechanism and what is offered; the rest are the client's messages, one to a line.
pub fn exchange(bytes: &[u8]) {
    let Some((choice, messages)) = bytes.split_first() else {
        return;
    };
    let mechanism = Mechanism::ALL[usize::from(*choice) % Mechanism::ALL.len()];
    let binding = (choice & 0x80 != 0).then_some(Binding([1; 32]));
    let offer = Offer {
        scram: true,
        binding,
        tokens: true,
        external: true,
    };
    let mut exchange = Exchange::offering(mechanism, offer);
    for message in messages.split(|byte| *byte == b'\n') {
        match exchange.respond_decoded(message.to_vec()) {
            Step::FindKeys(user) => {
                assert!(user.len() <= message.len(), "a name is in its message");
                let step = exchange.keys_found(found());
                let is_answer = matches!(
                    step,
                    Step::Challenge(_) | Step::Refused(Fault::Binding | Fault::Downgraded)
                );
                assert!(is_answer, "keys were asked for");
            }
            // Without the password no proof fits.
            Step::Proved(proved) => assert_eq!(proved.by, None),
            Step::Challenge(text) => assert!(base64::decode(text.as_bytes()).is_some()),
            Step::Token(bearer) => {
                assert!(
                    bearer.token.len() <= message.len(),
                    "a token is in its message"
                );
                let refused = exchange.token_refused(&failure());
                assert!(matches!(refused, Step::Challenge(_)), "the reason is sent");
                let last = exchange.respond(message);
                assert_eq!(last, Step::Refused(Fault::Token));
            }
            Step::External(user) => {
                assert!(user.is_none_or(|user| user == message), "it is the message");
            }
            Step::Credentials(_) | Step::Refused(_) => {}
        }
    }
}

/// Of a token that is never good.
pub fn failure() -> Failure {
    Failure {
        status: Status::InvalidToken,
        scope: "mail".to_owned(),
        configuration: "https://id.example/.well-known/openid-configuration".to_owned(),
    }
}

/// Keys that no proof fits.
pub fn found() -> Found {
    Found {
        salt: vec![1; 16],
        iterations: 1,
        keys: vec![Keys {
            stored: [1; 32],
            server: [2; 32],
        }],
        nonce: [3; NONCE_BYTES],
        fate: Default::default(),
    }
}

/// Conversations that get far.
pub fn exchanges() -> Vec<Vec<u8>> {
    let nonce = base64::encode(&[3; NONCE_BYTES]);
    let scram = format!(
        "\u{2}n,,n=ann,r=abc\nc=biws,r=abc{nonce},p={}\n",
        base64::encode(&[5; 32])
    );
    let bound =
        b"\x83p=tls-exporter,,n=a=2Cb,r=abc\nc=cD10bHMtZXhwb3J0ZXIsLAE=,r=abc,p=AAAA".to_vec();
    vec![
        scram.into_bytes(),
        bound,
        b"\0\0ann\0secret".to_vec(),
        b"\x01ann\nsecret".to_vec(),
        b"\x04n,a=ann,\x01host=h\x01auth=Bearer abc\x01\x01\n\x01".to_vec(),
        b"\x05user=ann\x01auth=Bearer abc\x01\x01\n".to_vec(),
        b"\x06ann".to_vec(),
    ]
}
