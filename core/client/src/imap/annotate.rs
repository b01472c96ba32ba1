//! Annotations of mailboxes and of the account (RFC 5464, RFC 9590).
//!
//! `/private` entries of one's own mailboxes and of the server (the account's own notes) are one's own; those of other accounts' mailboxes do not
//! exist. `/shared` entries stand with the mailbox: who may read it reads them, and who may change something there sets them. Of `/shared`
//! entries of the server there is one, which says that an administrator's script runs for mailboxes (RFC 6785). Which script of its owner runs for a
//! mailbox is set by those who administer it.

use imap::Names;
use imap::metadata::{Depth, Metadata};
use imap::respond::put_metadata;
use mail::Rights;
use mailbox::{AccountId, MailboxFault, NoteList};
use storage::filter::SCRIPT_ENTRY;
use storage::owner::Ask;

use super::fault::Failure;
use super::limits::ANNOTATION_BYTES_MAX;
use super::place::{NO_PERMISSION, needs};
use super::{Done, Imap};

const PRIVATE: &str = "/private/";
const SHARED: &str = "/shared/";

impl<K: Ask> Imap<K> {
    pub(super) async fn on_metadata(
        &self,
        account: AccountId,
        metadata: Metadata,
        names: Names,
        out: &mut Vec<u8>,
    ) -> Result<Done, Failure> {
        match metadata {
            Metadata::Get {
                mailbox,
                size_max,
                depth,
                entries,
            } => {
                let all = self.annotations(account, &mailbox).await?;
                let mut found = chosen(&all, &entries, depth);
                // RFC 5464 §4.2.1: the size of the largest one that is not sent.
                let is_long = |value: &[u8]| size_max.is_some_and(|max| value.len() > max as usize);
                let long = found.iter().filter_map(|(_, value)| *value);
                let longest = long.filter(|value| is_long(value)).map(<[u8]>::len).max();
                found.retain(|(_, value)| !value.is_some_and(is_long));
                if !found.is_empty() {
                    put_metadata(out, &mailbox, found.into_iter(), names);
                }
                Ok(Done {
                    code: longest.map_or(String::new(), |bytes| {
                        format!("METADATA LONGENTRIES {bytes}")
                    }),
                    text: "Getmetadata completed",
                })
            }
            Metadata::Set { mailbox, entries } => {
                self.annotate(account, &mailbox, entries).await?;
                Ok(Done::plain("Setmetadata completed"))
            }
        }
    }

    /// All that this session may read. The empty name stands for the server.
    async fn annotations(&self, account: AccountId, mailbox: &str) -> Result<NoteList, Failure> {
        if mailbox.is_empty() {
            let asked = self
                .owner
                .ask_either(move |mailboxes, outgoing| async move {
                    let mut all = mailboxes.notes(account, None).await?;
                    if let Some(outgoing) = outgoing
                        && let Some(name) = outgoing.common_script(account).await?
                    {
                        all.push((SCRIPT_ENTRY.to_owned(), name.as_bytes().to_vec()));
                    }
                    Ok::<_, MailboxFault>(all)
                });
            return Ok(asked.await??);
        }
        let place = self.find_place(account, mailbox).await?;
        place.needs(Rights::READ)?;
        let (owner, folder) = (place.account, place.name);
        let asked = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.notes(owner, Some(&folder)).await });
        let mut all = asked.await??;
        if place.foreign.is_some() {
            all.retain(|(name, _)| name.starts_with(SHARED));
        }
        Ok(all)
    }

    /// All of `entries`, or none.
    async fn annotate(
        &self,
        account: AccountId,
        mailbox: &str,
        entries: Vec<(Box<str>, Option<Vec<u8>>)>,
    ) -> Result<(), Failure> {
        for (name, value) in &entries {
            if !name.starts_with(PRIVATE) && !name.starts_with(SHARED) {
                return Err(Failure::No(
                    "CANNOT",
                    "Entry names begin with /private/ or /shared/",
                ));
            }
            let bytes = value.as_ref().map_or(0, Vec::len);
            if bytes > ANNOTATION_BYTES_MAX {
                return Err(TOO_LONG);
            }
        }
        let is_private = |name: &str| name.starts_with(PRIVATE);
        let (owner, folder) = if mailbox.is_empty() {
            // RFC 5464 §6: shared entries of the server are its administrators'.
            if !entries.iter().all(|(name, _)| is_private(name)) {
                return Err(NO_PERMISSION);
            }
            (account, None)
        } else {
            let place = self.find_place(account, mailbox).await?;
            place.needs(Rights::READ)?;
            if place.foreign.is_some() {
                // RFC 5464 §6.2.1: an account that may change something in the mailbox; seen flags are the reader's.
                let changes = Rights::parse("wite").expect("letters of rights");
                if !place.rights().meets(changes) {
                    return Err(NO_PERMISSION);
                }
                if entries.iter().any(|(name, _)| is_private(name)) {
                    return Err(NO_PRIVATE);
                }
                // It acts in the owner's name.
                let is_script = |(name, _): &(Box<str>, _)| &**name == SCRIPT_ENTRY;
                if entries.iter().any(is_script) {
                    needs(place.rights(), Rights::ADMINISTER)?;
                }
            }
            (place.account, Some(place.name))
        };
        let values = entries.into_iter();
        let values: Vec<_> = values
            .map(|(name, value)| (name.into_string(), value))
            .collect();
        let set = self.owner.ask(move |mailboxes| async move {
            mailboxes.set_notes(owner, folder.as_deref(), values).await
        });
        match set.await? {
            Err(MailboxFault::TooMany(_)) => Err(TOO_MANY),
            done => Ok(done?),
        }
    }
}

/// RFC 5464 §4.3: the limit is `ANNOTATION_BYTES_MAX`.
const TOO_LONG: Failure = Failure::No("METADATA MAXSIZE 16384", "Annotation is too long");
const _: () = assert!(ANNOTATION_BYTES_MAX == 16_384);
const TOO_MANY: Failure = Failure::No("METADATA TOOMANY", "Too many annotations");
const NO_PRIVATE: Failure = Failure::No(
    "METADATA NOPRIVATE",
    "Mailboxes of other accounts have no private annotations",
);

/// Those of `all` that are asked for, in their order; one that is named and not there is NIL.
pub(super) fn chosen<'a>(
    all: &'a NoteList,
    wanted: &'a [Box<str>],
    depth: Depth,
) -> Vec<(&'a str, Option<&'a [u8]>)> {
    let mut found: Vec<(&str, Option<&[u8]>)> = Vec::new();
    let mut is_taken = vec![false; all.len()];
    for wanted in wanted {
        let mut is_there = false;
        for (index, (name, value)) in all.iter().enumerate() {
            is_there |= **name == **wanted;
            if depth.reaches(wanted, name) && !std::mem::replace(&mut is_taken[index], true) {
                found.push((name, Some(value)));
            }
        }
        if !is_there && depth == Depth::Zero {
            found.push((wanted, None));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_and_not_there_is_nil() {
        let all: NoteList = vec![
            ("/private/a".into(), b"1".to_vec()),
            ("/private/a/b".into(), b"2".to_vec()),
        ];
        let wanted: Vec<Box<str>> = vec!["/private/a".into(), "/shared/a".into()];
        let names = |depth| -> Vec<(String, bool)> {
            let chosen = chosen(&all, &wanted, depth).into_iter();
            chosen
                .map(|(name, value)| (name.to_owned(), value.is_some()))
                .collect()
        };
        let a = ("/private/a".to_owned(), true);
        let b = ("/private/a/b".to_owned(), true);
        assert_eq!(
            names(Depth::Zero),
            [a.clone(), ("/shared/a".to_owned(), false)]
        );
        assert_eq!(names(Depth::Infinity), [a, b]);
    }
}
