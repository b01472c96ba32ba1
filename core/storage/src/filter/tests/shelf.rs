//! Scripts in memory. What is remembered becomes visible with its group, as that of a tenant does.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use bytes::Bytes;
use mailbox::{AccountId, MailboxFault};
use sieve::{Key, Location, Remember, Wanted};
use store::LocalFuture;
use tenancy::Part;

use crate::filter::{Head, Owner, Shelf};

#[derive(Default)]
pub struct MemoryShelf {
    scripts: RefCell<BTreeMap<(Owner, String), (u64, Bytes)>>,
    versions: Cell<u64>,
    remembered: Rc<RefCell<HashMap<(AccountId, Key), u64>>>,
}

impl MemoryShelf {
    /// The newest script of an owner is the active one.
    pub fn put(&self, owner: Owner, name: &str, text: &str) {
        self.versions.set(self.versions.get() + 1);
        let text = Bytes::copy_from_slice(text.as_bytes());
        let script = (self.versions.get(), text);
        self.scripts
            .borrow_mut()
            .insert((owner, name.to_owned()), script);
    }

    fn head(&self, owner: &Owner, name: Option<&str>) -> Option<Head> {
        let scripts = self.scripts.borrow();
        let own = scripts.iter().filter(|((whose, _), _)| whose == owner);
        let mut named = own.filter(|((_, own), _)| name.is_none_or(|name| name == own));
        named.next().map(|((owner, name), (version, _))| Head {
            owner: owner.clone(),
            name: name.clone(),
            version: *version,
        })
    }
}

impl Shelf for Rc<MemoryShelf> {
    fn has_any(&self) -> bool {
        !self.scripts.borrow().is_empty()
    }

    fn active<'s>(
        &'s self,
        account: AccountId,
        domain: &'s str,
    ) -> LocalFuture<'s, Result<Vec<Head>, MailboxFault>> {
        let owners = [
            Owner::Global,
            Owner::Domain(domain.to_owned()),
            Owner::Account(account),
        ];
        let heads = owners.iter().filter_map(|owner| self.head(owner, None));
        let heads = heads.collect();
        Box::pin(async move { Ok(heads) })
    }

    fn named<'s>(
        &'s self,
        account: AccountId,
        wanted: &'s Wanted,
    ) -> LocalFuture<'s, Result<Option<Head>, MailboxFault>> {
        let owner = match wanted.location {
            Location::Personal => Owner::Account(account),
            Location::Global => Owner::Global,
        };
        let head = self.head(&owner, Some(&wanted.name));
        Box::pin(async move { Ok(head) })
    }

    fn text<'s>(&'s self, head: &'s Head) -> LocalFuture<'s, Result<Option<Bytes>, MailboxFault>> {
        let scripts = self.scripts.borrow();
        let found = scripts.get(&(head.owner.clone(), head.name.clone()));
        let text = found.filter(|(version, _)| *version == head.version);
        let text = text.map(|(_, text)| text.clone());
        Box::pin(async move { Ok(text) })
    }

    fn is_remembered<'s>(
        &'s self,
        account: AccountId,
        key: &'s Key,
        now_unix_s: u64,
    ) -> LocalFuture<'s, Result<bool, MailboxFault>> {
        let remembered = self.remembered.borrow();
        let until = remembered.get(&(account, *key)).copied();
        let is_so = until.is_some_and(|until| until > now_unix_s);
        Box::pin(async move { Ok(is_so) })
    }

    fn remember(&self, account: AccountId, keys: &[Remember], now_unix_s: u64) -> Part {
        let (remembered, keys) = (self.remembered.clone(), keys.to_vec());
        Part {
            records: Vec::new(),
            rows: 0,
            applied: Box::new(move |_| {
                let mut remembered = remembered.borrow_mut();
                for each in keys {
                    remembered.insert((account, each.key), now_unix_s + each.kept_s);
                }
            }),
        }
    }

    fn rows_of(&self, _keys: usize) -> u64 {
        0
    }
}
