//! Tests, except those that compare values (`matches.rs`).

use crate::host::Key;
use crate::limits::DUPLICATES_COUNT_MAX;
use crate::notify::mailto;
use crate::outcome::Remember;
use crate::program::{Duplicate, DuplicateSource, Test};

use super::{Frame, Halt, Run, STEPS_OF_ONE};

impl Run<'_> {
    /// Whether it is so. The recursion is bounded by `NESTING_COUNT_MAX`, which the parser holds to.
    pub(super) fn test(&self, frame: &Frame<'_>, test: &Test) -> Result<bool, Halt> {
        // Every test costs, the constant ones too: a script of nothing but tests still ends within its steps.
        self.spend(STEPS_OF_ONE)?;
        match test {
            Test::Constant(is_so) | Test::Ihave(is_so) => Ok(*is_so),
            Test::Not(test) => self.test(frame, test).map(|is_so| !is_so),
            // RFC 5228 §5.2: what comes behind the first false one is not looked at.
            Test::All(tests) => {
                for test in tests {
                    if !self.test(frame, test)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::Any(tests) => {
                for test in tests {
                    if self.test(frame, test)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Test::Match(test) => {
                let matched = self.matches(frame, test);
                matched.map_err(|halt| halt.located(test.at, &self.chain))
            }
            Test::Exists(names) => {
                for name in names {
                    let name = self.text(frame, name)?;
                    self.spend(self.view.fields_count() as u64)?;
                    if !self.view.has(&name) {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::Size { over, bytes } => {
                let size = self.view.raw().len() as u64;
                Ok(if *over { size > *bytes } else { size < *bytes })
            }
            // The host is asked by a question that may not wait for storage: what it does not know yet ends this run, is looked up, and the
            // script runs again from its start. That is safe, because a run only leaves a ledger.
            Test::MailboxExists(names) => {
                for name in self.texts(frame, names)? {
                    if !self.asked(|| self.host.has_mailbox(&name))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::MailboxIdExists(ids) => {
                for id in self.texts(frame, ids)? {
                    if !self.asked(|| self.host.has_mailbox_with_id(&id))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::SpecialUseExists { mailbox, uses } => {
                let mailbox = self.optional_text(frame, mailbox)?;
                for special_use in self.texts(frame, uses)? {
                    if !self
                        .asked(|| self.host.has_special_use(mailbox.as_deref(), &special_use))?
                    {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::Duplicate(duplicate) => self.duplicate(frame, duplicate),
            Test::ValidNotifyMethod(methods) => {
                let methods = self.texts(frame, methods)?;
                Ok(methods.iter().all(|method| mailto(method).is_some()))
            }
            // Behind an `ihave` that was false at compile time. Reached only if the script ignores its own question.
            Test::Unsupported(at, text) => Err(Halt::failure(&**text).located(*at, &self.chain)),
        }
    }

    /// RFC 7352 §3. What this run remembers it does not see itself: only what is delivered counts.
    fn duplicate(&self, frame: &Frame<'_>, duplicate: &Duplicate) -> Result<bool, Halt> {
        let handle = self.optional_text(frame, &duplicate.handle)?;
        // Without one all tests of the account share a space, which lets two scripts agree about a message.
        let handle = handle.as_deref().unwrap_or_default();
        let key = match &duplicate.source {
            DuplicateSource::Unique(value) => {
                Key::of(KEY_KIND, &[handle, &self.text(frame, value)?])
            }
            DuplicateSource::Header(name) => {
                let name = self.text(frame, name)?;
                self.spend(self.view.fields_count() as u64)?;
                // RFC 7352 §3.1: without the field the test is false, and nothing is remembered.
                let Some(value) = self.view.first(&name) else {
                    return Ok(false);
                };
                self.spend_bytes(value.len())?;
                Key::of(KEY_KIND, &[handle, value])
            }
        };
        // The host answers for earlier deliveries alone; what this run remembers is not among them.
        let is_there = self.asked(|| self.host.is_remembered(&key))?;
        let mut remember = self.remember.borrow_mut();
        let is_new = !remember.iter().any(|other| other.key == key);
        if is_new && (!is_there || duplicate.last) {
            if remember.len() == DUPLICATES_COUNT_MAX {
                let text = format!("More than {DUPLICATES_COUNT_MAX} duplicates are tested for");
                return Err(Halt::failure(text));
            }
            remember.push(Remember {
                key,
                kept_s: duplicate.kept_s,
            });
        }
        Ok(is_there)
    }
}

const KEY_KIND: &str = "ringpost sieve duplicate 1";
