//! What a run asks about its account: answered from what was looked up before the run, and noted down where it was not.

use std::cell::RefCell;
use std::collections::HashMap;

use mail::spelling::composed;
use mailbox::{AccountId, MailboxFault, MailboxId, Mailboxes, SpecialUse};
use sieve::{Answer, Host, Included, Key, Wanted};

use super::Filter;

/// Answers for one account and one message. It owns all that it has, so that a run on another thread can take it along.
/// A run never waits: it asks here, and what is not here ends it with `Later`. What it asked for is then looked up, and it runs again from the
/// start. A script asks for little, so two or three runs are the rule, and a run costs less than keeping its state over an await would.
#[derive(Default)]
pub(super) struct Answers {
    /// Those that mail can be filed in.
    // All of them at once: a script that asks for one mailbox mostly asks for others.
    folders: Option<Vec<Folder>>,
    scripts: HashMap<Wanted, Included>,
    remembered: HashMap<Key, bool>,
    lacks: RefCell<Lacks>,
}

struct Folder {
    id: String,
    name: String,
    special_use: Option<SpecialUse>,
}

/// What was asked and is not known.
#[derive(Default)]
struct Lacks {
    folders: bool,
    scripts: Vec<Wanted>,
    keys: Vec<Key>,
}

impl Host for Answers {
    fn script(&self, wanted: &Wanted) -> Answer<Included> {
        match self.scripts.get(wanted) {
            Some(included) => Answer::Is(included.clone()),
            None => {
                self.lacks.borrow_mut().scripts.push(wanted.clone());
                Answer::Later
            }
        }
    }

    fn has_mailbox(&self, name: &str) -> Answer<bool> {
        self.any(|folder| is_same(&folder.name, name))
    }

    fn has_mailbox_with_id(&self, id: &str) -> Answer<bool> {
        self.any(|folder| folder.id == id)
    }

    fn has_special_use(&self, mailbox: Option<&str>, special_use: &str) -> Answer<bool> {
        let wanted = special_use_of(special_use);
        self.any(|folder| {
            let is_named = mailbox.is_none_or(|name| is_same(&folder.name, name));
            is_named && wanted.is_some() && folder.special_use == wanted
        })
    }

    fn is_remembered(&self, key: &Key) -> Answer<bool> {
        match self.remembered.get(key) {
            Some(is_so) => Answer::Is(*is_so),
            None => {
                self.lacks.borrow_mut().keys.push(*key);
                Answer::Later
            }
        }
    }
}

impl Answers {
    fn any(&self, is: impl Fn(&Folder) -> bool) -> Answer<bool> {
        match &self.folders {
            Some(folders) => Answer::Is(folders.iter().any(is)),
            None => {
                self.lacks.borrow_mut().folders = true;
                Answer::Later
            }
        }
    }

    pub fn knows(&self, wanted: &Wanted) -> bool {
        self.scripts.contains_key(wanted)
    }

    pub fn know(&mut self, wanted: Wanted, included: Included) {
        self.scripts.insert(wanted, included);
    }

    /// Looks up what the run asked for in vain.
    pub async fn look_up(
        &mut self,
        filter: &Filter,
        mailboxes: &Mailboxes,
        account: AccountId,
    ) -> Result<(), MailboxFault> {
        // Taken, so that the next run notes only what it lacks then.
        let lacks = self.lacks.take();
        if lacks.folders {
            self.folders = Some(folders(mailboxes, account).await?);
        }
        for wanted in lacks.scripts {
            let included = filter.included(account, &wanted).await?;
            self.scripts.insert(wanted, included);
        }
        for key in lacks.keys {
            let is_so = filter.remembers(account, &key);
            self.remembered.insert(key, is_so);
        }
        Ok(())
    }
}

async fn folders(mailboxes: &Mailboxes, account: AccountId) -> Result<Vec<Folder>, MailboxFault> {
    let all = mailboxes.list(account).await?.into_iter();
    let open = all.filter(|folder| folder.selectable);
    Ok(open
        .map(|folder| Folder {
            id: id_of(folder.id),
            name: folder.name,
            special_use: folder.special_use,
        })
        .collect())
}

/// RFC 8474, as IMAP names it (`client::imap::object`).
/// The same text as in IMAP: a person copies the id of a mailbox from one into the other.
pub(super) fn id_of(mailbox: MailboxId) -> String {
    format!("F{}", mailbox.0)
}

fn is_same(one: &str, other: &str) -> bool {
    // INBOX is the one name whose case does not matter (RFC 3501 §5.1).
    if other.eq_ignore_ascii_case("INBOX") {
        return one == "INBOX";
    }
    one == other || !other.is_ascii() && composed(one) == composed(other)
}

/// RFC 6154 §2; with the backslash in front.
pub(super) fn special_use_of(text: &str) -> Option<SpecialUse> {
    let word = text.strip_prefix('\\')?.to_ascii_lowercase();
    Some(match &word[..] {
        "archive" => SpecialUse::Archive,
        "drafts" => SpecialUse::Drafts,
        "flagged" => SpecialUse::Flagged,
        "junk" => SpecialUse::Junk,
        "sent" => SpecialUse::Sent,
        "trash" => SpecialUse::Trash,
        "all" => SpecialUse::All,
        _ => return None,
    })
}
