//! A host in memory, and outcomes as text.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use mail::{Address, Flags, SystemFlags};
use sieve::{
    Action, Answer, Edition, Envelope, Environment, Event, Host, Included, Key, Later, Outcome,
    Script, Target, Wanted,
};

/// What a delivery is surrounded by; tests change what they are about.
pub struct World {
    pub from: Option<&'static str>,
    pub to: &'static str,
    pub now_unix_s: i64,
    pub zone_minutes: i32,
    pub own_addresses: Vec<String>,
    pub spam_percent: Option<u8>,
    pub virus: Option<u8>,
    /// RFC 6785: the cause, the flags that changed, and those that the message has.
    pub event: Option<(&'static str, &'static str, Flags)>,
    /// Names of mailboxes with their ids and special uses.
    pub mailboxes: Vec<(&'static str, &'static str, &'static str)>,
    /// Included scripts: `personal/name` or `global/name`.
    pub scripts: HashMap<&'static str, &'static str>,
    pub remembered: RefCell<Vec<Key>>,
    /// No question is answered.
    pub is_away: bool,
}

impl Default for World {
    fn default() -> World {
        World {
            from: Some("ann@example.net"),
            to: "bob@example.org",
            // Monday, 30 November 2026, 10:00 UTC.
            now_unix_s: 1_796_032_800,
            zone_minutes: 0,
            own_addresses: vec![
                "bob@example.org".to_owned(),
                "robert@example.org".to_owned(),
            ],
            spam_percent: None,
            virus: None,
            event: None,
            mailboxes: vec![
                ("INBOX", "F1", ""),
                ("Lists", "F2", ""),
                ("Spam", "F3", "\\Junk"),
            ],
            scripts: HashMap::new(),
            remembered: RefCell::default(),
            is_away: false,
        }
    }
}

impl Host for World {
    fn script(&self, wanted: &Wanted) -> Answer<Included> {
        let location = format!("{:?}", wanted.location).to_lowercase();
        let name = format!("{location}/{}", wanted.name);
        self.answer(match self.scripts.get(&name[..]) {
            None => Included::Absent,
            Some(source) => match Script::compile(source.as_bytes()) {
                Ok(script) => Included::Script(Arc::new(script)),
                Err(error) => Included::Broken(error.to_string()),
            },
        })
    }
    fn has_mailbox(&self, name: &str) -> Answer<bool> {
        self.answer(self.mailboxes.iter().any(|(known, ..)| *known == name))
    }
    fn has_mailbox_with_id(&self, id: &str) -> Answer<bool> {
        self.answer(self.mailboxes.iter().any(|(_, known, _)| *known == id))
    }
    fn has_special_use(&self, mailbox: Option<&str>, special_use: &str) -> Answer<bool> {
        self.answer(self.mailboxes.iter().any(|(name, _, known)| {
            known.eq_ignore_ascii_case(special_use)
                && mailbox.is_none_or(|mailbox| mailbox == *name)
        }))
    }
    fn is_remembered(&self, key: &Key) -> Answer<bool> {
        self.answer(self.remembered.borrow().contains(key))
    }
}

impl World {
    fn answer<T>(&self, answer: T) -> Answer<T> {
        match self.is_away {
            true => Answer::Later,
            false => Answer::Is(answer),
        }
    }

    /// Runs scripts in a row.
    pub fn run(&self, scripts: &[&str], message: &str) -> Result<Outcome, Later> {
        let compile = |source: &&str| {
            let script = Script::compile(source.as_bytes());
            script.unwrap_or_else(|error| panic!("{error}\n{source}"))
        };
        let scripts: Vec<Script> = scripts.iter().map(compile).collect();
        let scripts: Vec<&Script> = scripts.iter().collect();
        let address = |path: &str| Address::from_path(path).expect("an address");
        let (from, to) = (self.from.map(address), address(self.to));
        let envelope = Envelope {
            from: from.as_ref(),
            to: &to,
        };
        let environment = Environment {
            now_unix_s: self.now_unix_s,
            zone_minutes: self.zone_minutes,
            host: "mx.example.org",
            domain: "example.org",
            remote_host: Some("client.example.net"),
            remote_ip: None,
            own_addresses: &self.own_addresses,
            separator: '+',
            spam_percent: self.spam_percent,
            virus: self.virus,
            event: self.event.as_ref().map(|event| Event {
                user: "bob",
                email: "bob@example.org",
                cause: event.0,
                mailbox: "Lists",
                changed_flags: event.1,
                flags: &event.2,
            }),
        };
        sieve::run(
            &scripts,
            wire(message).as_bytes(),
            &envelope,
            &environment,
            self,
        )
    }

    /// What `script` says about `message`, in lines.
    #[track_caller]
    pub fn says(&self, script: &str, message: &str, lines: &[&str]) {
        let outcome = self.run(&[script], message).expect("no question is open");
        assert_eq!(shown(&outcome), lines, "{script}");
    }
}

/// In a world as it usually is.
#[track_caller]
pub fn says(script: &str, message: &str, lines: &[&str]) {
    World::default().says(script, message, lines);
}

/// Runs the test in an `if` and says whether it was true.
#[track_caller]
pub fn holds(require: &str, test: &str, message: &str) -> bool {
    World::default().holds(require, test, message)
}

impl World {
    /// Runs the test in an `if` and says whether it was true.
    #[track_caller]
    pub fn holds(&self, require: &str, test: &str, message: &str) -> bool {
        let head = match require {
            "" => String::new(),
            names => format!("require [\"{}\"];\n", names.replace(' ', "\", \"")),
        };
        let script = format!("{head}if {test} {{ discard; }}");
        let outcome = self.run(&[&script], message).expect("no question is open");
        assert_eq!(outcome.failure, None, "{script}");
        outcome.actions.is_empty()
    }
}

/// What is wrong with a script.
#[track_caller]
pub fn refusal(script: &str) -> String {
    match Script::compile(script.as_bytes()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("compiles: {script}"),
    }
}

fn wire(message: &str) -> String {
    message.replace("\r\n", "\n").replace('\n', "\r\n")
}

fn flags(flags: &Flags) -> String {
    let mut words = Vec::new();
    for (name, flag) in [
        ("\\Seen", SystemFlags::SEEN),
        ("\\Answered", SystemFlags::ANSWERED),
        ("\\Flagged", SystemFlags::FLAGGED),
        ("\\Deleted", SystemFlags::DELETED),
        ("\\Draft", SystemFlags::DRAFT),
    ] {
        if flags.system.contains(flag) {
            words.push(name);
        }
    }
    words.extend(flags.keywords.iter().map(|keyword| keyword.as_str()));
    match words.is_empty() {
        true => String::new(),
        false => format!(" ({})", words.join(" ")),
    }
}

fn edition(edition: Edition) -> String {
    match edition.0 {
        0 => String::new(),
        number => format!(", edition {number}"),
    }
}

fn target(target: &Target) -> String {
    let mut text = format!("\"{}\"", target.mailbox);
    if let Some(id) = &target.id {
        text.push_str(&format!(" id {id}"));
    }
    if let Some(special_use) = &target.special_use {
        text.push_str(&format!(" use {special_use}"));
    }
    if target.create {
        text.push_str(" create");
    }
    text + &flags(&target.flags)
}

/// An outcome in lines.
pub fn shown(outcome: &Outcome) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for action in &outcome.actions {
        lines.push(match action {
            Action::Keep {
                flags: set,
                edition: header,
                implicit,
            } => {
                let implicit = if *implicit { "implicit " } else { "" };
                format!("{implicit}keep{}{}", flags(set), edition(*header))
            }
            Action::FileInto {
                target: place,
                edition: header,
            } => format!("fileinto {}{}", target(place), edition(*header)),
            Action::Redirect {
                address,
                edition: header,
            } => format!("redirect {address}{}", edition(*header)),
            Action::Reject {
                reason, extended, ..
            } => {
                let extended = if *extended { "e" } else { "" };
                format!("{extended}reject {reason}")
            }
            Action::Reply(reply) => format!(
                "reply to {} from {} after {} s: {}: {}{}",
                reply.to,
                reply.from,
                reply.again_s,
                reply.subject,
                reply.reason,
                reply
                    .copy_to
                    .as_ref()
                    .map_or(String::new(), |to| format!(", copy to {}", target(to)))
            ),
            Action::Notify(note) => {
                let to: Vec<String> = note.to.iter().map(Address::to_string).collect();
                format!(
                    "notify {} with {}: {}: {}",
                    to.join(" "),
                    note.importance,
                    note.subject,
                    note.text
                )
            }
        });
    }
    if outcome.actions.is_empty() {
        lines.push("discard".to_owned());
    }
    if let Some(failure) = &outcome.failure {
        lines.push(format!("failed: {failure}"));
    }
    lines
}
