//! What the caller found for a recipient comes back beside that recipient, whatever was refused or forgotten around it.

use std::sync::Arc;

use smtp::{Action, Message, Refusal, Role, Session};

use crate::world::config;

/// Neither copied nor compared by the session.
struct Route(String);

/// The messages of one conversation, in which each recipient's route is its path, and those of `nobody` are refused.
fn converse(input: &[u8]) -> Vec<Message<Route>> {
    let mut output = Vec::new();
    let mut session = Session::new(Arc::new(config(Role::Smtp)), false, &mut output);
    let mut messages = Vec::new();
    let mut at = 0;
    loop {
        // Ends at NeedInput: each other action uses up input or ends a content.
        let (used, action) = session.step(&input[at..], &mut output);
        at += used;
        match action {
            Action::NeedInput => return messages,
            Action::CheckRecipient => {
                let path = session.recipient().to_string();
                let verdict = match path.contains("nobody") {
                    true => Err(Refusal::UnknownRecipient),
                    false => Ok(Route(path)),
                };
                session.recipient_verdict(verdict, &mut output);
            }
            Action::BeginContent => session.begin_content(Vec::new(), &mut output),
            Action::Message(message) => {
                messages.push(message);
                session.outcome(&[Ok("id")], &mut output);
            }
            Action::StartTls
            | Action::Close
            | Action::CheckLogin(_)
            | Action::FindKeys(_)
            | Action::Proved(_)
            | Action::CheckToken(_)
            | Action::CheckCertificate(_)
            | Action::CheckSender
            | Action::Forwarded(_) => {
                panic!("not in this conversation")
            }
        }
    }
}

fn paths(message: &Message<Route>) -> Vec<String> {
    let recipients = &message.envelope.recipients;
    let own = |recipient: &smtp::Recipient<Route>| recipient.path.to_string() == recipient.route.0;
    assert!(recipients.iter().all(own), "a route of another recipient");
    let routes = recipients.iter().map(|recipient| recipient.route.0.clone());
    routes.collect()
}

#[test]
fn each_recipient_keeps_its_route() {
    let messages = converse(
        b"EHLO c.example\r\nMAIL FROM:<x@y.example>\r\nRCPT TO:<forgotten@example.org>\r\nRSET\r\n\
        MAIL FROM:<x@y.example>\r\nRCPT TO:<alice@example.org>\r\nRCPT TO:<nobody@example.org>\r\nRCPT TO:<Postmaster>\r\n\
        RCPT TO:<alice@example.org>\r\nDATA\r\nhello\r\n.\r\n",
    );
    assert_eq!(messages.len(), 1);
    assert_eq!(
        paths(&messages[0]),
        ["<alice@example.org>", "<Postmaster>", "<alice@example.org>"]
    );
}

#[test]
fn a_transaction_has_no_routes_of_the_one_before() {
    let messages = converse(
        b"EHLO c.example\r\nMAIL FROM:<x@y.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\none\r\n.\r\n\
        MAIL FROM:<x@y.example>\r\nRCPT TO:<bob@example.org>\r\nBDAT 5 LAST\r\ntwo\r\n",
    );
    let routes: Vec<_> = messages.iter().map(paths).collect();
    assert_eq!(routes, [["<alice@example.org>"], ["<bob@example.org>"]]);
}
