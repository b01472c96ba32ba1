//! `addheader` and `deleteheader` (RFC 5293).

use crate::matching::Kind;
use crate::message::is_field_name;
use crate::position::quoted;
use crate::program::{Deletion, Index};
use crate::template::Template;

use super::{Frame, Halt, Run};

/// RFC 5293 §6: fields that a script cannot remove, since loops are found by them. On its way from one account of a box to the next a message gets
/// no Received, only Delivered-To (RFC 9228).
const KEPT_FIELDS: [&str; 3] = ["received", "auto-submitted", "delivered-to"];

impl Run<'_> {
    /// RFC 5293 §4. What is not ASCII is encoded, and a line end in the value becomes a space: one field is added, and no second one.
    pub(super) fn add_header(
        &mut self,
        frame: &Frame<'_>,
        name: &Template,
        value: &Template,
        last: bool,
    ) -> Result<(), Halt> {
        let name = self.field_name(frame, name)?;
        let value = self.text(frame, value)?;
        self.spend_bytes(2 * value.len() + self.view.fields_count())?;
        match self.view.add(&name, &value, last) {
            true => Ok(()),
            false => Err(Halt::failure("The script adds too much to the header")),
        }
    }

    /// RFC 5293 §5. All fields are looked at before the first one goes, since `:index` counts them as they are now.
    pub(super) fn delete_header(
        &mut self,
        frame: &Frame<'_>,
        deletion: &Deletion,
    ) -> Result<(), Halt> {
        let name = self.field_name(frame, &deletion.name)?;
        if KEPT_FIELDS.contains(&&name.to_ascii_lowercase()[..]) {
            return Ok(());
        }
        let keys = match &deletion.keys {
            Some(keys) => Some(self.ready(frame, keys)?),
            None => None,
        };
        self.spend(self.view.fields_count() as u64)?;
        let count = self.view.named(&name).count();
        // RFC 5293 §5: `:count` is about the number of fields of the name, which is the same for each of them.
        let counts = match (&keys, deletion.matching.kind) {
            (Some(keys), Kind::Count(relation)) => {
                Some(self.counts(count, keys, deletion.matching.comparator, relation)?)
            }
            _ => None,
        };
        let mut doomed = Vec::new();
        for (at, field) in self.view.named(&name).enumerate() {
            if deletion.index.is_some_and(|index| !is_at(index, at, count)) {
                continue;
            }
            let matched = match (&keys, counts) {
                (None, _) => true,
                (Some(_), Some(counts)) => counts,
                (Some(keys), None) => {
                    self.spend_bytes(field.value.len())?;
                    self.value_matches(frame, field.decoded(), deletion.matching, keys, false)?
                }
            };
            if matched {
                doomed.push(at);
            }
        }
        self.view
            .delete(&name, |at| doomed.binary_search(&at).is_ok());
        Ok(())
    }

    /// With its variables put in, it may have become something else.
    fn field_name(&self, frame: &Frame<'_>, name: &Template) -> Result<String, Halt> {
        let name = self.text(frame, name)?;
        match is_field_name(&name) {
            true => Ok(name.into_owned()),
            false => {
                let text = format!("{} is not the name of a header field", quoted(&name));
                Err(Halt::failure(text))
            }
        }
    }
}

/// Whether the field at `at`, which counts from 0, is the one of `index`.
fn is_at(index: Index, at: usize, count: usize) -> bool {
    let number = match index.from_end {
        false => at + 1,
        true => count - at,
    };
    number as u64 == index.number
}
