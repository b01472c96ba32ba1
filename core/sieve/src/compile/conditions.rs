//! Tests.

use crate::capability::Capability;
use crate::limits::{DUPLICATE_S, DUPLICATE_S_MAX};
use crate::position::{CompileError, quoted};
use crate::program::{Duplicate, DuplicateSource, Match, Source, Test, Transform, Zone};
use crate::syntax::Node;
use crate::template::{Slot, Template};

use super::Compiler;
use super::arguments::Arguments;
use super::matches::{Tags, keys};

/// RFC 5228 §5.1 wants the address test kept to fields that hold addresses.
const ADDRESS_FIELDS: [&str; 24] = [
    "from",
    "to",
    "cc",
    "bcc",
    "sender",
    "reply-to",
    "resent-from",
    "resent-sender",
    "resent-to",
    "resent-cc",
    "resent-bcc",
    "resent-reply-to",
    "return-path",
    "delivered-to",
    "envelope-to",
    "x-original-to",
    "x-envelope-to",
    "errors-to",
    "disposition-notification-to",
    "return-receipt-to",
    "mail-reply-to",
    "mail-followup-to",
    "apparently-to",
    "x-forwarded-to",
];
/// RFC 5260 §4.2 and §4.3.
const DATE_PARTS: [&str; 13] = [
    "year", "month", "day", "date", "julian", "hour", "minute", "second", "time", "iso8601",
    "std11", "zone", "weekday",
];

impl Compiler {
    /// A test of any kind. RFC 5463 §4: behind an `ihave` that is false, one that is not known is kept and not refused.
    pub(super) fn test(&mut self, node: Node) -> Result<Test, CompileError> {
        let at = node.at;
        self.charge(at, size_of::<Test>())?;
        // Taken before the test is read: an `ihave` inside of this very test makes its neighbours doubtful, not the test around it.
        let doubtful = self.doubtful;
        match self.known_test(node) {
            // Behind an `ihave` that is false, also in the same test; not the test around it.
            Err(error) if doubtful => Ok(Test::Unsupported(at, self.unsupported(error)?)),
            other => other,
        }
    }

    /// The tests that hold others first: their arguments are tests, and all others have none.
    fn known_test(&mut self, mut node: Node) -> Result<Test, CompileError> {
        let at = node.at;
        if node.block.is_some() {
            return Err(CompileError::new(at, "A test has no block"));
        }
        match &node.name[..] {
            "not" => {
                Arguments::of(&mut node).end()?;
                return Ok(Test::Not(Box::new(self.only_test(node)?)));
            }
            "allof" | "anyof" => {
                Arguments::of(&mut node).end()?;
                if !node.in_list {
                    let text = format!("{} needs tests in parentheses", quoted(&node.name));
                    return Err(CompileError::new(at, text));
                }
                let mut tests = Vec::with_capacity(node.tests.len());
                for test in node.tests {
                    tests.push(self.test(test)?);
                }
                return Ok(match node.name == "allof" {
                    true => Test::All(tests.into()),
                    false => Test::Any(tests.into()),
                });
            }
            _ => {}
        }
        // Here and not in each: a test that ignores what is inside it would do half of what was written.
        if let Some(test) = node.tests.first() {
            let text = format!("{} has no tests inside it", quoted(&node.name));
            return Err(CompileError::new(test.at, text));
        }
        let mut arguments = Arguments::of(&mut node);
        let arguments_left = &mut arguments;
        let test = match &node.name[..] {
            "true" => Test::Constant(true),
            "false" => Test::Constant(false),
            "header" => self.header_test(arguments_left)?,
            "address" => self.address_test(arguments_left)?,
            "envelope" => self.envelope_test(arguments_left)?,
            "exists" => Test::Exists(arguments.strings(self, "the names of header fields")?),
            "size" => self.size_test(arguments_left)?,
            "string" => self.string_test(arguments_left)?,
            "hasflag" => self.flags_test(arguments_left)?,
            "body" => self.body_test(arguments_left)?,
            "date" | "currentdate" => self.date_test(arguments_left, node.name == "date")?,
            "environment" => self.environment_test(arguments_left)?,
            "spamtest" | "virustest" => self.score_test(arguments_left, node.name == "spamtest")?,
            "mailboxexists" => {
                self.need(Capability::Mailbox, at)?;
                Test::MailboxExists(arguments.strings(self, "the names of mailboxes")?)
            }
            "mailboxidexists" => {
                self.need(Capability::MailboxId, at)?;
                Test::MailboxIdExists(arguments.strings(self, "the ids of mailboxes")?)
            }
            // RFC 8579 §3: the mailbox is optional and comes first, so the number of arguments decides.
            "specialuse_exists" => {
                self.need(Capability::SpecialUse, at)?;
                let mailbox = match arguments.count() {
                    0 | 1 => None,
                    _ => Some(arguments.string(self, "the name of a mailbox")?),
                };
                let uses = arguments.strings(self, "special uses")?;
                Test::SpecialUseExists { mailbox, uses }
            }
            "duplicate" => self.duplicate_test(arguments_left)?,
            "ihave" => self.ihave(arguments_left)?,
            "valid_notify_method" => {
                self.need(Capability::Enotify, at)?;
                Test::ValidNotifyMethod(arguments.strings(self, "the URIs of methods")?)
            }
            "notify_method_capability" => self.notify_capability_test(arguments_left)?,
            _ => {
                let text = format!("There is no test {}", quoted(&node.name));
                return Err(CompileError::new(at, text));
            }
        };
        arguments.end()?;
        Ok(test)
    }

    /// The keys, and the test that they make with `source`.
    fn matched(
        &mut self,
        arguments: &mut Arguments,
        tags: &Tags,
        source: Source,
    ) -> Result<Test, CompileError> {
        let at = arguments.place();
        // After all tags, since they come in any order, and before the keys: with `:count` those are numbers.
        let matching = tags.finish(at)?;
        let keys = keys(self, arguments, matching)?;
        self.charge(at, size_of::<Match>())?;
        Ok(Test::Match(Box::new(Match {
            at,
            source,
            matching,
            keys,
        })))
    }

    /// RFC 5228 §5.7, with `:index` of RFC 5260 §6.
    fn header_test(&mut self, arguments: &mut Arguments) -> Result<Test, CompileError> {
        let mut tags = Tags::default();
        while let Some(tag) = arguments.tag()? {
            if !tags.matching(self, arguments, &tag)?
                && !tags.field_index(self, arguments, &tag, Capability::Index)?
            {
                return Err(arguments.unknown(&tag));
            }
        }
        let index = tags.index(arguments.place())?;
        let names = arguments.strings(self, "the names of header fields")?;
        self.matched(arguments, &tags, Source::Header { names, index })
    }

    /// RFC 5228 §5.1. A field that holds no addresses is refused only if its name is constant: a run finds no address in it.
    fn address_test(&mut self, arguments: &mut Arguments) -> Result<Test, CompileError> {
        let mut tags = Tags::default();
        while let Some(tag) = arguments.tag()? {
            if !tags.matching(self, arguments, &tag)?
                && !tags.address_part(self, &tag)?
                && !tags.field_index(self, arguments, &tag, Capability::Index)?
            {
                return Err(arguments.unknown(&tag));
            }
        }
        let place = arguments.place();
        let index = tags.index(place)?;
        let names = arguments.strings(self, "the names of header fields")?;
        for name in names.iter().filter_map(Template::constant) {
            if !ADDRESS_FIELDS.contains(&&name.to_ascii_lowercase()[..]) {
                let text = format!(
                    "The field {} holds no addresses; use \"header\"",
                    quoted(name)
                );
                return Err(CompileError::new(place, text));
            }
        }
        let part = tags.part();
        self.matched(arguments, &tags, Source::Address { part, names, index })
    }

    /// RFC 5228 §5.4.
    fn envelope_test(&mut self, arguments: &mut Arguments) -> Result<Test, CompileError> {
        self.need(Capability::Envelope, arguments.place())?;
        let mut tags = Tags::default();
        while let Some(tag) = arguments.tag()? {
            if !tags.matching(self, arguments, &tag)? && !tags.address_part(self, &tag)? {
                return Err(arguments.unknown(&tag));
            }
        }
        let place = arguments.place();
        let fields = arguments.strings(self, "parts of the envelope")?;
        // RFC 5228 §5.4: others are an error. One from a variable is known only in a run, and has no values there.
        for field in fields.iter().filter_map(Template::constant) {
            if !["from", "to"].contains(&&field.to_ascii_lowercase()[..]) {
                let text = format!(
                    "The envelope has \"from\" and \"to\", not {}",
                    quoted(field)
                );
                return Err(CompileError::new(place, text));
            }
        }
        let part = tags.part();
        self.matched(arguments, &tags, Source::Envelope { part, fields })
    }

    /// RFC 5228 §5.9: the tag is not optional, and it takes the number with it.
    fn size_test(&mut self, arguments: &mut Arguments) -> Result<Test, CompileError> {
        // A missing tag is named where it should stand, and the number after it is then not the fault.
        let place = arguments.place();
        let over = match arguments.tag()? {
            Some(tag) if tag.name == "over" => true,
            Some(tag) if tag.name == "under" => false,
            Some(tag) => return Err(arguments.unknown(&tag)),
            None => {
                return Err(CompileError::new(
                    place,
                    "\"size\" needs \":over\" or \":under\"",
                ));
            }
        };
        let bytes = arguments.number("a size")?;
        Ok(Test::Size { over, bytes })
    }

    /// RFC 5229 §5.
    fn string_test(&mut self, arguments: &mut Arguments) -> Result<Test, CompileError> {
        self.need(Capability::Variables, arguments.place())?;
        let mut tags = Tags::default();
        while let Some(tag) = arguments.tag()? {
            if !tags.matching(self, arguments, &tag)? {
                return Err(arguments.unknown(&tag));
            }
        }
        let texts = arguments.strings(self, "strings to look at")?;
        self.matched(arguments, &tags, Source::Texts(texts))
    }

    /// RFC 5232 §4: one argument means the internal variable, two mean variables and flags.
    fn flags_test(&mut self, arguments: &mut Arguments) -> Result<Test, CompileError> {
        self.need(Capability::Imap4Flags, arguments.place())?;
        let mut tags = Tags::default();
        while let Some(tag) = arguments.tag()? {
            if !tags.matching(self, arguments, &tag)? {
                return Err(arguments.unknown(&tag));
            }
        }
        // Which one the first argument is only their number says, so that it is asked before any is taken.
        let mut variables: Vec<Slot> = Vec::new();
        if arguments.count() > 1 {
            for (at, name) in arguments.raw_strings("the names of variables")? {
                variables.push(self.named_slot(at, &name)?);
            }
        }
        self.matched(arguments, &tags, Source::Flags(variables.into()))
    }

    /// RFC 5173 §4; without a transform it is `:text`.
    fn body_test(&mut self, arguments: &mut Arguments) -> Result<Test, CompileError> {
        self.need(Capability::BodyTest, arguments.place())?;
        let mut tags = Tags::default();
        let mut transform = None;
        while let Some(tag) = arguments.tag()? {
            if tags.matching(self, arguments, &tag)? {
                continue;
            }
            let found = match &tag.name[..] {
                "raw" => Transform::Raw,
                "text" => Transform::Text,
                "content" => Transform::Content(arguments.strings(self, "content types")?),
                _ => return Err(arguments.unknown(&tag)),
            };
            if transform.replace(found).is_some() {
                let text = "A body test has one of \":raw\", \":content\" and \":text\"";
                return Err(CompileError::new(tag.at, text));
            }
        }
        let transform = transform.unwrap_or(Transform::Text);
        self.matched(arguments, &tags, Source::Body(transform))
    }

    /// RFC 5260 §4 (`of_field`) and §5. The part is a constant, so that a part that does not exist is found now.
    fn date_test(
        &mut self,
        arguments: &mut Arguments,
        of_field: bool,
    ) -> Result<Test, CompileError> {
        self.need(Capability::Date, arguments.place())?;
        let mut tags = Tags::default();
        let mut zone = None;
        while let Some(tag) = arguments.tag()? {
            if tags.matching(self, arguments, &tag)?
                || (of_field && tags.field_index(self, arguments, &tag, Capability::Index)?)
            {
                continue;
            }
            let found = match &tag.name[..] {
                "zone" => {
                    let (at, text) = arguments.constant(self, "a time zone")?;
                    Zone::Fixed(zone_minutes(&text).ok_or_else(|| {
                        CompileError::new(at, "A time zone is written like \"+0100\"")
                    })?)
                }
                "originalzone" if of_field => Zone::Original,
                _ => return Err(arguments.unknown(&tag)),
            };
            if zone.replace(found).is_some() {
                return Err(CompileError::new(tag.at, "A date test has one time zone"));
            }
        }
        let index = tags.index(arguments.place())?;
        let header = match of_field {
            true => Some(arguments.string(self, "the name of a header field")?),
            false => None,
        };
        let (at, part) = arguments.constant(self, "a part of a date")?;
        let part = part.to_ascii_lowercase();
        if !DATE_PARTS.contains(&&part[..]) {
            let text = format!("A date has no part {}", quoted(&part));
            return Err(CompileError::new(at, text));
        }
        let source = Source::Date {
            header,
            index,
            zone: zone.unwrap_or(Zone::Local),
            part: part.into(),
        };
        self.matched(arguments, &tags, source)
    }

    /// RFC 5183 §4. A name that is not known is not an error: the test is false.
    fn environment_test(&mut self, arguments: &mut Arguments) -> Result<Test, CompileError> {
        self.need(Capability::Environment, arguments.place())?;
        let mut tags = Tags::default();
        while let Some(tag) = arguments.tag()? {
            if !tags.matching(self, arguments, &tag)? {
                return Err(arguments.unknown(&tag));
            }
        }
        let name = arguments.string(self, "the name of an item")?;
        self.matched(arguments, &tags, Source::Environment(name))
    }

    /// `spamtest` and `virustest` (RFC 5235).
    fn score_test(&mut self, arguments: &mut Arguments, spam: bool) -> Result<Test, CompileError> {
        let needed = match spam {
            true => Capability::SpamTest,
            false => Capability::VirusTest,
        };
        self.need(needed, arguments.place())?;
        let mut tags = Tags::default();
        let mut percent = false;
        while let Some(tag) = arguments.tag()? {
            if spam && tag.name == "percent" {
                self.need(Capability::SpamTestPlus, tag.at)?;
                percent = true;
            } else if !tags.matching(self, arguments, &tag)? {
                return Err(arguments.unknown(&tag));
            }
        }
        let source = match spam {
            true => Source::Spam { percent },
            false => Source::Virus,
        };
        self.matched(arguments, &tags, source)
    }

    /// RFC 7352 §3.
    fn duplicate_test(&mut self, arguments: &mut Arguments) -> Result<Test, CompileError> {
        self.need(Capability::Duplicate, arguments.place())?;
        let mut duplicate = Duplicate {
            handle: None,
            source: DuplicateSource::Header(Template::Text("message-id".into())),
            kept_s: DUPLICATE_S,
            last: false,
        };
        // The same tag twice is refused for all commands; these are two tags for one thing.
        let mut has_source = false;
        while let Some(tag) = arguments.tag()? {
            match &tag.name[..] {
                "handle" => duplicate.handle = Some(arguments.string(self, "a name")?),
                "header" | "uniqueid" if has_source => {
                    let text = "\":header\" and \":uniqueid\" cannot stand together";
                    return Err(CompileError::new(tag.at, text));
                }
                "header" => {
                    has_source = true;
                    let name = arguments.string(self, "the name of a header field")?;
                    duplicate.source = DuplicateSource::Header(name);
                }
                "uniqueid" => {
                    has_source = true;
                    let value = arguments.string(self, "a value")?;
                    duplicate.source = DuplicateSource::Unique(value);
                }
                "seconds" => {
                    let seconds = arguments.number("a number of seconds")?;
                    duplicate.kept_s = seconds.min(DUPLICATE_S_MAX);
                }
                "last" => duplicate.last = true,
                _ => return Err(arguments.unknown(&tag)),
            }
        }
        Ok(Test::Duplicate(Box::new(duplicate)))
    }

    /// RFC 5463 §4: what is there is enabled from here on, as if it had been required.
    fn ihave(&mut self, arguments: &mut Arguments) -> Result<Test, CompileError> {
        self.need(Capability::Ihave, arguments.place())?;
        let names = arguments.raw_strings("the names of extensions")?;
        let known: Vec<Option<Capability>> = names
            .iter()
            .map(|(_, name)| Capability::by_name(name))
            .collect();
        // All or none: a script that asks for two uses both in its block.
        let has_all = known.iter().all(Option::is_some);
        match has_all {
            true => known
                .into_iter()
                .flatten()
                .for_each(|known| self.enabled.add(known)),
            false => self.doubtful = true,
        }
        Ok(Test::Ihave(has_all))
    }

    /// RFC 5435 §5.
    fn notify_capability_test(&mut self, arguments: &mut Arguments) -> Result<Test, CompileError> {
        self.need(Capability::Enotify, arguments.place())?;
        let mut tags = Tags::default();
        while let Some(tag) = arguments.tag()? {
            if !tags.matching(self, arguments, &tag)? {
                return Err(arguments.unknown(&tag));
            }
        }
        let method = arguments.string(self, "the URI of a method")?;
        let capability = arguments.string(self, "the name of a capability")?;
        let source = Source::NotifyCapability { method, capability };
        self.matched(arguments, &tags, source)
    }
}

/// `+hhmm` or `-hhmm` as minutes east of UTC.
fn zone_minutes(text: &str) -> Option<i32> {
    let sign = match text.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    // The sign is one byte, so that the slice ends between two letters.
    let digits = &text[1..];
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i32 = digits.parse().ok()?;
    let (hours, minutes) = (number / 100, number % 100);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}
