//! Whose mailbox a name means, and what this session may do there (RFC 2342, RFC 4314).
//!
//! `Other Users/ADDRESS/FOLDER` and `Shared/ADDRESS/FOLDER` are folders of other accounts; every other name is one's own, and nothing is looked up for
//! it. An account that has a folder of its own called `Shared` or `Other Users` keeps it: that namespace is hidden from it until the folder has
//! another name. What may be known of a mailbox that is not shown: nothing, so it is answered as one that does not exist.

use imap::list::SEPARATOR;
use imap::respond::put;
use mail::{Address, Rights};
use mailbox::{AccountId, MailboxFault, MailboxId};
use storage::owner::Ask;

use super::fault::Failure;
use super::{Done, Imap};

/// The folders of other people.
pub(super) const OTHERS: &str = "Other Users";
/// Those of accounts that an administrator marked as shared.
pub(super) const SHARED: &str = "Shared";

/// A mailbox, or the place of one that is not there yet.
pub(super) struct Place {
    /// Whose it is.
    pub account: AccountId,
    /// As its owner names it.
    pub name: String,
    /// `None`: one's own, with every right; whether it exists was not looked up.
    pub foreign: Option<Foreign>,
}

/// What is known of a place of another account.
pub(super) struct Foreign {
    pub address: Address,
    pub is_shared: bool,
    /// `None`: it does not exist.
    pub mailbox: Option<MailboxId>,
    pub rights: Rights,
    /// On the folder above it.
    pub rights_above: Rights,
}

/// A name in a namespace of others.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    /// A namespace, or an account, without a folder.
    Above,
    Folder {
        address: Address,
        is_shared: bool,
        folder: String,
    },
}

impl Place {
    fn own(account: AccountId, name: &str) -> Place {
        Place {
            account,
            name: name.to_owned(),
            foreign: None,
        }
    }

    /// The rights here: all of them where it is one's own.
    pub fn rights(&self) -> Rights {
        let foreign = self.foreign.as_ref();
        foreign.map_or(Rights::ALL, |foreign| foreign.rights)
    }

    /// Whether a command may go on that needs all of `needed` on this mailbox.
    pub fn needs(&self, needed: Rights) -> Result<(), Failure> {
        match &self.foreign {
            None => Ok(()),
            Some(foreign) if foreign.mailbox.is_none() => Err(MailboxFault::NoMailbox.into()),
            Some(foreign) => needs(foreign.rights, needed),
        }
    }

    /// The same for a command that makes it.
    pub fn needs_above(&self, needed: Rights) -> Result<(), Failure> {
        match &self.foreign {
            Some(foreign) if !foreign.rights_above.contains(needed) => Err(NO_PERMISSION),
            _ => Ok(()),
        }
    }

    /// RFC 9051 §7.1 TRYCREATE is for one's own mailboxes.
    pub fn missing(&self) -> Failure {
        match &self.foreign {
            None => Failure::NoTarget,
            Some(_) => MailboxFault::NoMailbox.into(),
        }
    }

    /// The whole name, in this session.
    pub fn shown(&self) -> String {
        match &self.foreign {
            None => self.name.clone(),
            Some(foreign) => shown(foreign.is_shared, &foreign.address, &self.name),
        }
    }
}

/// RFC 4314 §6: without `l` a mailbox is not there.
pub(super) fn needs(rights: Rights, needed: Rights) -> Result<(), Failure> {
    match rights.contains(needed) {
        true => Ok(()),
        false if rights.contains(Rights::LOOKUP) => Err(NO_PERMISSION),
        false => Err(MailboxFault::NoMailbox.into()),
    }
}

/// RFC 5530 §3.
pub(super) const NO_PERMISSION: Failure = Failure::No("NOPERM", "Permission denied");

/// Of one of another account's folders.
pub(super) fn shown(is_shared: bool, address: &Address, folder: &str) -> String {
    let root = if is_shared { SHARED } else { OTHERS };
    format!("{root}{SEPARATOR}{}{SEPARATOR}{folder}", address.to_path())
}

/// The namespace that a name is in, and what follows its separator.
pub(super) fn root_of(name: &str) -> Option<(&'static str, &str)> {
    [OTHERS, SHARED].into_iter().find_map(|root| {
        let rest = name.strip_prefix(root)?;
        match rest.strip_prefix(SEPARATOR) {
            Some(below) => Some((root, below)),
            None => rest.is_empty().then_some((root, "")),
        }
    })
}

/// An address has no separator in a name: the first one ends it.
fn named(root: &str, below: &str) -> Named {
    let Some((address, folder)) = below.split_once(SEPARATOR) else {
        return Named::Above;
    };
    match Address::from_path(address) {
        Some(address) if !folder.is_empty() => Named::Folder {
            address,
            is_shared: root == SHARED,
            folder: folder.to_owned(),
        },
        _ => Named::Above,
    }
}

impl<K: Ask> Imap<K> {
    /// Where `name` is. `NONEXISTENT`: a name in a namespace that is not a folder of an account there.
    pub(super) async fn find_place(
        &self,
        account: AccountId,
        name: &str,
    ) -> Result<Place, Failure> {
        let Some((root, below)) = root_of(name) else {
            return Ok(Place::own(account, name));
        };
        let named = named(root, below);
        let own = name.to_owned();
        let found = self.owner.ask(move |mailboxes| async move {
            if mailboxes.has_root(account, root).await? {
                return Ok(Place::own(account, &own));
            }
            let Named::Folder {
                address,
                is_shared,
                folder,
            } = named
            else {
                return Err(MailboxFault::NoMailbox);
            };
            let found = mailboxes.reach(account, &address, is_shared, &folder);
            let reached = found.await?;
            Ok(Place {
                account: reached.owner,
                name: reached.folder,
                foreign: Some(Foreign {
                    address: reached.owner_address,
                    is_shared,
                    mailbox: reached.mailbox,
                    rights: reached.rights,
                    rights_above: reached.rights_above,
                }),
            })
        });
        Ok(found.await??)
    }

    /// For CREATE and RENAME. Whether there is such an account is not told, and a name that no folder can have is refused in its own words.
    pub(super) async fn new_place(&self, account: AccountId, name: &str) -> Result<Place, Failure> {
        let found = self.find_place(account, name).await;
        let Err(Failure::Mailbox(MailboxFault::NoMailbox)) = found else {
            return found;
        };
        match root_of(name).map(|(root, below)| named(root, below)) {
            Some(Named::Folder { .. }) => Err(NO_PERMISSION),
            _ => Err(Failure::No(
                "CANNOT",
                "Name belongs to the namespace of other accounts",
            )),
        }
    }

    /// RFC 2342 §5. A namespace that a folder of one's own hides is not among them.
    pub(super) async fn on_namespace(
        &self,
        account: AccountId,
        out: &mut Vec<u8>,
    ) -> Result<Done, Failure> {
        let hidden = self.owner.ask(move |mailboxes| async move {
            let others = mailboxes.has_root(account, OTHERS).await?;
            Ok::<_, MailboxFault>((others, mailboxes.has_root(account, SHARED).await?))
        });
        let (hides_others, hides_shared) = hidden.await??;
        put(out, "* NAMESPACE ((\"\" \"/\"))");
        for (root, is_hidden) in [(OTHERS, hides_others), (SHARED, hides_shared)] {
            match is_hidden {
                true => put(out, " NIL"),
                false => put(out, &format!(" ((\"{root}/\" \"/\"))")),
            }
        }
        put(out, "\r\n");
        Ok(Done::plain("Namespace completed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_an_address_and_a_folder() {
        let of = |name: &str| root_of(name).map(|(root, below)| named(root, below));
        let folder = |local: &str, is_shared, folder: &str| {
            Some(Named::Folder {
                address: Address::from_parts(local, "example.org").unwrap(),
                is_shared,
                folder: folder.to_owned(),
            })
        };
        assert_eq!(
            of("Other Users/bob@example.org/Plans/May"),
            folder("bob", false, "Plans/May")
        );
        assert_eq!(
            of("Shared/info@example.org/INBOX"),
            folder("info", true, "INBOX")
        );
        for name in [
            "Shared",
            "Shared/",
            "Other Users/bob@example.org",
            "Shared/x/y",
            "Shared/a@b.c/",
        ] {
            assert_eq!(of(name), Some(Named::Above), "{name}");
        }
        for name in ["INBOX", "Shared-old", "shared/x", "Other", "a/Shared/b"] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[test]
    fn what_may_not_be_seen_is_not_there() {
        let may = |rights: &str| {
            let rights = Rights::parse(rights).unwrap();
            needs(rights, Rights::READ.with(Rights::EXPUNGE))
        };
        assert_eq!(may("re"), Ok(()));
        assert_eq!(may("lr"), Err(NO_PERMISSION));
        assert_eq!(may("l"), Err(NO_PERMISSION));
        let none = Err(Failure::Mailbox(MailboxFault::NoMailbox));
        assert_eq!(may("r"), none);
        assert_eq!(may(""), none);
    }
}
