//! The arguments of NOTIFY (RFC 5465 §8).

use crate::command::Body;
use crate::fetch::FetchItem;
use crate::limits::{NOTIFY_GROUPS_MAX, NOTIFY_NAMES_MAX, NOTIFY_TEXT_BYTES_MAX};
use crate::notify::{EventGroup, Events, Notify, NotifySet, OfSelected, Watched};

use super::words::Words;
use super::{Parsed, Refusal, fetch};

/// What was read so far, against its bounds.
#[derive(Default)]
struct Taken {
    groups_count: usize,
    names_count: usize,
    text_bytes: usize,
    /// An event of another kind was asked for.
    has_unknown: bool,
}

impl Taken {
    fn text(&mut self, bytes: usize) -> Parsed<()> {
        self.text_bytes += bytes;
        match self.text_bytes <= NOTIFY_TEXT_BYTES_MAX {
            true => Ok(()),
            false => Err(Refusal::TooMuch("octets of names in one NOTIFY")),
        }
    }
}

/// Which mailboxes a group is about.
enum Filter {
    Selected { delayed: bool },
    Other(Watched),
}

/// `NONE`, or `SET`, perhaps `STATUS`, and groups.
pub(super) fn notify(words: &mut Words<'_>) -> Parsed<Body> {
    words.space()?;
    if words.keyword("NONE") {
        return Ok(Body::Notify(Notify::None));
    }
    if !words.keyword("SET") {
        return Err(Refusal::Syntax("Expected SET or NONE"));
    }
    words.space()?;
    let mut set = NotifySet {
        status: words.keyword("STATUS"),
        ..NotifySet::default()
    };
    if set.status {
        words.space()?;
    }
    let mut taken = Taken::default();
    let mut names_selected = false;
    loop {
        // each turn takes a group
        if taken.groups_count == NOTIFY_GROUPS_MAX {
            return Err(Refusal::TooMuch("groups in one NOTIFY"));
        }
        taken.groups_count += 1;
        words.expect(b'(')?;
        let filter = filter(words, &mut taken)?;
        words.space()?;
        let (events, items) = events(words, &mut taken)?;
        words.expect(b')')?;
        match filter {
            Filter::Selected { .. } if names_selected => {
                return Err(Refusal::Syntax(
                    "SELECTED and SELECTED-DELAYED can be given once",
                ));
            }
            Filter::Selected { delayed } => {
                if !of_messages_alone(events) {
                    return Err(Refusal::Syntax(
                        "SELECTED takes message events and no others",
                    ));
                }
                names_selected = true;
                set.selected = events.messages.then_some(OfSelected {
                    delayed,
                    events,
                    items,
                });
            }
            Filter::Other(mailboxes) => set.groups.push(EventGroup { mailboxes, events }),
        }
        if words.space().is_err() || words.at_end() {
            break;
        }
    }
    // Last: what is not a command at all is BAD, whatever its events are.
    match taken.has_unknown {
        true => Err(Refusal::BadEvent),
        false => Ok(Body::Notify(Notify::Set(Box::new(set)))),
    }
}

/// §6.1.
fn of_messages_alone(events: Events) -> bool {
    let Events {
        messages: _,
        flags: _,
        names,
        subscriptions,
        annotations,
        server_annotations,
    } = events;
    !(names || subscriptions || annotations || server_annotations)
}

fn filter(words: &mut Words<'_>, taken: &mut Taken) -> Parsed<Filter> {
    let word = words
        .atom("Expected SELECTED, SELECTED-DELAYED, INBOXES, PERSONAL, SUBSCRIBED, SUBTREE or MAILBOXES")?
        .to_ascii_uppercase();
    Ok(match &word[..] {
        "SELECTED" => Filter::Selected { delayed: false },
        "SELECTED-DELAYED" => Filter::Selected { delayed: true },
        "INBOXES" => Filter::Other(Watched::Inboxes),
        "PERSONAL" => Filter::Other(Watched::Personal),
        "SUBSCRIBED" => Filter::Other(Watched::Subscribed),
        "SUBTREE" => Filter::Other(Watched::Subtree(names(words, taken)?)),
        "MAILBOXES" => Filter::Other(Watched::Mailboxes(names(words, taken)?)),
        _ => {
            return Err(Refusal::Syntax(
                "Expected SELECTED, SELECTED-DELAYED, INBOXES, PERSONAL, SUBSCRIBED, SUBTREE or MAILBOXES",
            ));
        }
    })
}

/// One mailbox, or some in parentheses. §6.6: `*` and `%` are letters.
fn names(words: &mut Words<'_>, taken: &mut Taken) -> Parsed<Vec<Box<str>>> {
    words.space()?;
    let mut names = Vec::new();
    let in_parentheses = words.accept(b'(');
    loop {
        // each turn takes a name
        if taken.names_count == NOTIFY_NAMES_MAX {
            return Err(Refusal::TooMuch("mailboxes in one NOTIFY"));
        }
        taken.names_count += 1;
        let name = words.mailbox()?;
        taken.text(name.len())?;
        names.push(name);
        if !in_parentheses || words.accept(b')') {
            return Ok(names);
        }
        words.space()?;
    }
}

/// `NONE`, or events in parentheses. §5: some are asked for together.
fn events(words: &mut Words<'_>, taken: &mut Taken) -> Parsed<(Events, Vec<FetchItem>)> {
    let (mut events, mut items) = (Events::default(), Vec::new());
    if words.keyword("NONE") {
        return Ok((events, items));
    }
    words.expect(b'(')?;
    let (mut new, mut expunge, mut of_messages) = (false, false, false);
    loop {
        // each turn takes an event
        match &words.atom("Expected an event")?.to_ascii_uppercase()[..] {
            "MESSAGENEW" => {
                new = true;
                if words.is_next(b" (") {
                    words.space()?;
                    items = fetch::items(words)?;
                    let text = items.iter().map(FetchItem::name_bytes).sum();
                    taken.text(text)?;
                }
            }
            "MESSAGEEXPUNGE" => expunge = true,
            "FLAGCHANGE" => events.flags = true,
            "MAILBOXNAME" => events.names = true,
            "SUBSCRIPTIONCHANGE" => events.subscriptions = true,
            "MAILBOXMETADATACHANGE" => events.annotations = true,
            "SERVERMETADATACHANGE" => events.server_annotations = true,
            // Annotations of messages (RFC 5257) are not there, and the rule about what goes with them is.
            "ANNOTATIONCHANGE" => {
                of_messages = true;
                taken.has_unknown = true;
            }
            _ => taken.has_unknown = true,
        }
        if words.accept(b')') {
            break;
        }
        words.space()?;
    }
    if new != expunge {
        return Err(Refusal::Syntax(
            "MessageNew and MessageExpunge belong together",
        ));
    }
    if (events.flags || of_messages) && !new {
        return Err(Refusal::Syntax(
            "FlagChange and AnnotationChange need MessageNew and MessageExpunge",
        ));
    }
    events.messages = new;
    Ok((events, items))
}

#[cfg(test)]
mod tests {
    use crate::client::put_command;
    use crate::command::{Body, Command};
    use crate::limits::{NOTIFY_GROUPS_MAX, NOTIFY_NAMES_MAX, NOTIFY_TEXT_BYTES_MAX};
    use crate::notify::Notify;
    use crate::parse::{Names, Refusal, command};

    fn parsed(line: &str) -> Result<Body, Refusal> {
        let line = format!("t {line}\r\n");
        let parsed = command(line.as_bytes(), Names::Utf8);
        parsed
            .map(|command| command.body)
            .map_err(|bad| bad.refusal)
    }

    fn written(body: Body) -> String {
        let mut out = Vec::new();
        let command = Command {
            tag: "t".into(),
            body,
        };
        put_command(&mut out, &command, b"", Names::Utf8);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        for line in [
            "NOTIFY NONE",
            "NOTIFY SET (SELECTED NONE)",
            "NOTIFY SET STATUS (SELECTED (MessageNew (UID BODY.PEEK[HEADER.FIELDS (From Subject)]) MessageExpunge)) (SUBTREE (Lists) (MessageNew MessageExpunge))",
            "NOTIFY SET (SELECTED-DELAYED (MessageNew MessageExpunge FlagChange)) (INBOXES NONE)",
            "NOTIFY SET (PERSONAL (MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)) (SUBSCRIBED (MailboxName))",
            "NOTIFY SET (MAILBOXES (\"a*\" INBOX) (MessageNew MessageExpunge))",
        ] {
            let body = parsed(line).expect(line);
            let again = written(body.clone());
            let again = again.trim_end().strip_prefix("t ").unwrap();
            assert_eq!(parsed(again), Ok(body), "{line}: {again}");
        }
    }

    #[test]
    fn one_name_needs_no_parentheses_and_no_word_has_a_case() {
        let all = parsed("notify set (subtree Lists (messagenew messageexpunge))");
        let other = parsed("NOTIFY SET (SUBTREE (Lists) (MessageNew MessageExpunge))");
        assert_eq!(all, other);
        assert!(matches!(all, Ok(Body::Notify(Notify::Set(_)))));
    }

    #[test]
    fn events_that_belong_together_are_asked_for_together() {
        for line in [
            "NOTIFY SET (selected (MessageNew))",
            "NOTIFY SET (selected (MessageExpunge))",
            "NOTIFY SET (personal (FlagChange))",
            "NOTIFY SET (personal (AnnotationChange))",
            "NOTIFY SET (personal (AnnotationChange MessageNew))",
            "NOTIFY SET (selected (MessageNew MessageExpunge MailboxName))",
            "NOTIFY SET (selected-delayed (SubscriptionChange))",
            "NOTIFY SET (selected NONE) (selected-delayed NONE)",
            "NOTIFY SET (selected (Odd MailboxName))",
        ] {
            let refused = parsed(line);
            assert!(matches!(refused, Err(Refusal::Syntax(_))), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_is_a_syntax_error() {
        for line in [
            "NOTIFY",
            "NOTIFY ALL",
            "NOTIFY NONE (selected NONE)",
            "NOTIFY SET",
            "NOTIFY SET STATUS",
            "NOTIFY SET selected NONE",
            "NOTIFY SET (selected)",
            "NOTIFY SET (selected ())",
            "NOTIFY SET (everything NONE)",
            "NOTIFY SET (mailboxes NONE)",
            "NOTIFY SET (mailboxes () NONE)",
            "NOTIFY SET (selected (MessageNew () MessageExpunge))",
            "NOTIFY SET (selected (MessageNew (NONSENSE) MessageExpunge))",
            "NOTIFY SET (personal NONE)(personal NONE)",
        ] {
            let refused = parsed(line);
            assert!(
                matches!(refused, Err(Refusal::Syntax(_))),
                "{line}: {refused:?}"
            );
        }
    }

    #[test]
    fn other_events_are_refused_as_such() {
        for line in [
            "NOTIFY SET (personal (MessageNew MessageExpunge AnnotationChange))",
            "NOTIFY SET (personal (VendorThing)) (selected NONE)",
            "NOTIFY SET (selected (MessageNew MessageExpunge Odd))",
        ] {
            assert_eq!(parsed(line), Err(Refusal::BadEvent), "{line}");
        }
    }

    #[test]
    fn what_a_session_keeps_is_bounded() {
        let groups = |count: usize| format!("NOTIFY SET{}", " (personal NONE)".repeat(count));
        assert!(parsed(&groups(NOTIFY_GROUPS_MAX)).is_ok());
        let too_many = parsed(&groups(NOTIFY_GROUPS_MAX + 1));
        assert!(matches!(too_many, Err(Refusal::TooMuch(_))));
        let names = |count: usize| format!("NOTIFY SET (mailboxes (a{}) NONE)", " a".repeat(count));
        assert!(parsed(&names(NOTIFY_NAMES_MAX - 1)).is_ok());
        let too_many = parsed(&names(NOTIFY_NAMES_MAX));
        assert!(matches!(too_many, Err(Refusal::TooMuch(_))));
        let long = "x".repeat(1_000);
        let times = NOTIFY_TEXT_BYTES_MAX / 1_000;
        let texts = |count: usize| {
            let names = format!("{long} ").repeat(count);
            format!("NOTIFY SET (mailboxes ({names}a) NONE)")
        };
        assert!(parsed(&texts(times)).is_ok());
        assert!(matches!(
            parsed(&texts(times + 1)),
            Err(Refusal::TooMuch(_))
        ));
        let fields = format!(
            "NOTIFY SET (selected (MessageNew (BODY.PEEK[HEADER.FIELDS ({long}{long}{long}{long} {long}{long}{long}{long} {long})]) MessageExpunge))"
        );
        assert!(matches!(parsed(&fields), Err(Refusal::TooMuch(_))));
    }
}
