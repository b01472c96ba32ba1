//! Where the values of tests come from.

use std::borrow::Cow;

use crate::addresses::Found;
use crate::body;
use crate::dates::{self, Moment};
use crate::flags;
use crate::limits::BODY_BYTES_MAX;
use crate::message::Field;
use crate::notify::mailto;
use crate::program::{Index, Part, Source, Transform, Zone};

use super::{Frame, Halt, Run};

type Values<'v> = Vec<Cow<'v, str>>;

/// Of each value of a message: all of them stay in memory while a test runs, and a script may name the same field again and again.
const STEPS_OF_VALUE: u64 = 10;

impl Run<'_> {
    /// All values of a source. `counts`: they are only counted.
    pub(super) fn values<'v>(
        &'v self,
        frame: &'v Frame<'_>,
        source: &'v Source,
        counts: bool,
    ) -> Result<Values<'v>, Halt> {
        let mut values = Vec::new();
        match source {
            Source::Header { names, index } => {
                for name in names {
                    let name = self.text(frame, name)?;
                    for field in self.fields(&name, *index)? {
                        self.spend(STEPS_OF_VALUE)?;
                        self.spend_bytes(field.value.len())?;
                        values.push(Cow::Borrowed(field.decoded()));
                    }
                }
            }
            Source::Address { part, names, index } => {
                for name in names {
                    let name = self.text(frame, name)?;
                    self.addresses(&name, *part, *index, &mut values)?;
                }
            }
            Source::Envelope { part, fields } => {
                for field in fields {
                    let field = self.text(frame, field)?;
                    let address = match &field.to_ascii_lowercase()[..] {
                        // The null sender is `None` here: a message that must not be answered, and most scripts that ask want to know just that.
                        "from" => self.envelope.from,
                        "to" => Some(self.envelope.to),
                        _ => continue,
                    };
                    // RFC 5228 §5.4: the null sender is an empty string, whatever part of it is asked for.
                    let Some(address) = address else {
                        values.push(Cow::Borrowed(""));
                        continue;
                    };
                    let found = Found::of(address);
                    let part = found.part(*part, self.environment.separator);
                    values.extend(part.map(|part| Cow::Owned(part.to_owned())));
                }
            }
            Source::Body(transform) => self.body(frame, transform, &mut values)?,
            Source::Date {
                header,
                index,
                zone,
                part,
            } => {
                let moment = match header {
                    Some(name) => self.date(&self.text(frame, name)?, *index)?,
                    None => Some(Moment {
                        unix_s: self.environment.now_unix_s,
                        zone_minutes: self.environment.zone_minutes,
                    }),
                };
                values.extend(moment.and_then(|moment| self.date_part(moment, zone, part)));
            }
            Source::Texts(texts) => {
                values = self.texts(frame, texts)?;
                // RFC 5229 §5: an empty string does not count.
                if counts {
                    values.retain(|text| !text.is_empty());
                }
            }
            Source::Flags(slots) if slots.is_empty() => {
                values.extend(self.flags.iter().map(|flag| Cow::Borrowed(&flag[..])));
            }
            Source::Flags(slots) => {
                let mut list = Vec::new();
                for slot in slots {
                    let text = self.variable(frame, *slot);
                    self.spend(flags::steps(text))?;
                    flags::add(&mut list, text);
                }
                values.extend(list.into_iter().map(Cow::Owned));
            }
            Source::Environment(name) => {
                let name = self.text(frame, name)?;
                values.extend(self.item(&name.to_ascii_lowercase()));
            }
            Source::Spam { percent } => {
                let judged = self
                    .environment
                    .spam_percent
                    .map(|percent| percent.min(100));
                // RFC 5235: 0 is "not tested", 1 to 10 rise with the likelihood; with `:percent` 0 to 100 do.
                let score = match (judged, *percent) {
                    (Some(score), true) => Some(score),
                    // 0 to 100 onto 1 to 10, the ends included: 0 is 1, and 99 and 100 are 10.
                    (Some(score), false) => Some(1 + score / 11),
                    (None, _) => None,
                };
                self.scored(score, counts, &mut values);
            }
            Source::Virus => self.scored(self.environment.virus, counts, &mut values),
            Source::NotifyCapability { method, capability } => {
                let method = self.text(frame, method)?;
                let capability = self.text(frame, capability)?;
                // Mail waits for a person, and whether one reads it now is not known.
                if mailto(&method).is_some() && capability.eq_ignore_ascii_case("online") {
                    values.push(Cow::Borrowed("maybe"));
                }
            }
        }
        Ok(values)
    }

    /// RFC 5235: what was not tested is 0, and does not count.
    fn scored<'v>(&self, score: Option<u8>, counts: bool, values: &mut Values<'v>) {
        match score {
            Some(score) => values.push(Cow::Owned(score.to_string())),
            None if counts => {}
            None => values.push(Cow::Borrowed("0")),
        }
    }

    /// The fields of a name, or the one of them that `index` picks.
    fn fields(&self, name: &str, index: Option<Index>) -> Result<Vec<&Field<'_>>, Halt> {
        self.spend(1 + self.view.fields_count() as u64 / 4)?;
        let mut fields = self.view.named(name);
        // The number is at least 1: the compiler refuses 0 (RFC 5260 §6).
        Ok(match index {
            None => fields.collect(),
            Some(Index { number, from_end }) => {
                let skipped = usize::try_from(number - 1).unwrap_or(usize::MAX);
                let one = match from_end {
                    false => fields.nth(skipped),
                    true => fields.nth_back(skipped),
                };
                one.into_iter().collect()
            }
        })
    }

    /// The parts of all addresses in the fields of a name. An address without such a part is not a value.
    fn addresses<'v>(
        &'v self,
        name: &str,
        part: Part,
        index: Option<Index>,
        values: &mut Values<'v>,
    ) -> Result<(), Halt> {
        for field in self.fields(name, index)? {
            self.spend_bytes(4 * field.value.len())?;
            for found in field.addresses() {
                self.spend(STEPS_OF_VALUE)?;
                let part = found.part(part, self.environment.separator);
                values.extend(part.map(Cow::Borrowed));
            }
        }
        Ok(())
    }

    /// RFC 5173 §5. Parts are decoded once in a run, when the first test asks for them.
    fn body<'v>(
        &'v self,
        frame: &Frame<'_>,
        transform: &Transform,
        values: &mut Values<'v>,
    ) -> Result<(), Halt> {
        if let Transform::Raw = transform {
            let body = self.view.body();
            let body = &body[..body.len().min(BODY_BYTES_MAX)];
            self.spend_bytes(body.len())?;
            // Raw is raw: no transfer encoding is undone, which is what a script that looks for a boundary wants.
            values.push(String::from_utf8_lossy(body));
            return Ok(());
        }
        if self.bodies.get().is_none() {
            // Where the parts begin is looked for in all of the message, byte by byte.
            self.spend_bytes(self.view.raw().len().min(BODY_BYTES_MAX * 8))?;
        }
        let parts = self.bodies.get_or_init(|| body::parts(self.view.raw()));
        match transform {
            Transform::Raw => {}
            Transform::Content(types) => {
                let types = self.texts(frame, types)?;
                for part in parts {
                    self.spend(1 + types.len() as u64)?;
                    if types.iter().any(|wanted| part.has_type(wanted)) {
                        values.push(Cow::Borrowed(&part.text));
                    }
                }
            }
            Transform::Text => {
                for part in parts {
                    self.spend_bytes(part.text.len())?;
                    values.extend(part.readable().map(Cow::Borrowed));
                }
            }
        }
        Ok(())
    }

    /// The moment that a field names; `None`: no field, or none that is a date.
    fn date(&self, name: &str, index: Option<Index>) -> Result<Option<Moment>, Halt> {
        // RFC 5260 §4: the first field, unless an index picks another one.
        let fields = self.fields(name, index)?;
        let Some(field) = fields.first() else {
            return Ok(None);
        };
        self.spend_bytes(field.value.len() + 400)?;
        Ok(dates::parse(field.decoded()))
    }

    /// RFC 5260 §4.1: the part as it is in the zone that the test wants.
    fn date_part(&self, moment: Moment, zone: &Zone, part: &str) -> Option<Cow<'static, str>> {
        let zone_minutes = match zone {
            Zone::Local => self.environment.zone_minutes,
            Zone::Original => moment.zone_minutes,
            Zone::Fixed(minutes) => *minutes,
        };
        let moment = Moment {
            zone_minutes,
            ..moment
        };
        dates::part(moment, part).map(Cow::Owned)
    }

    /// RFC 5183 §4.1. An item without a value is as one that we do not have.
    fn item(&self, name: &str) -> Option<Cow<'_, str>> {
        let environment = self.environment;
        if let Some(rest) = name.strip_prefix("imap.") {
            return self.event_item(rest).map(Cow::Borrowed);
        }
        Some(Cow::Borrowed(match name {
            "domain" => environment.domain,
            "host" => environment.host,
            // The final delivery into a mailbox, while the message is stored.
            "location" => "MS",
            // RFC 6785: what happened to the message is done.
            "phase" if environment.event.is_some() => "post",
            "phase" => "during",
            "name" => "Ringpost",
            "version" => env!("CARGO_PKG_VERSION"),
            "remote-host" => environment.remote_host?,
            "remote-ip" => environment.remote_ip?,
            _ => return None,
        }))
    }
}
