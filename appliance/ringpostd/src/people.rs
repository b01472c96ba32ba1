//! Domains and accounts of a volume that has just been made: the settings' own, or trial mode's.

use ::admin::password;
use mail::Address;
use plan::{Misfit, Settings};
use storage::owner::Owner;

use crate::trial::{DOMAIN, PASSWORD, PEOPLE};

/// Who is to be there from the beginning.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct People {
    pub domains: Vec<String>,
    pub accounts: Vec<Person>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Person {
    pub address: Address,
    pub password_hash: String,
    pub quota_bytes: u64,
}

impl People {
    /// `[[domain]]` and `[[account]]`.
    pub fn of(settings: &Settings) -> Result<People, Misfit> {
        let mut people = People {
            domains: settings
                .domains
                .iter()
                .map(|domain| domain.name.clone())
                .collect(),
            accounts: Vec::new(),
        };
        for account in &settings.accounts {
            let told = |what: &str| Misfit::new(format!("account {}: {what}", account.address));
            let (local, domain) = account.address.rsplit_once('@').unwrap_or_default();
            let address = Address::from_parts(local, domain)
                .ok_or_else(|| told("this is not an address: write it like alice@example.org"))?;
            let hash = account.password_hash.clone().ok_or_else(|| {
                told("password_file is read by ringpost-boot on an appliance: write password_hash")
            })?;
            people.accounts.push(Person {
                address,
                password_hash: hash,
                quota_bytes: account.quota.0,
            });
        }
        Ok(people)
    }

    /// The demo accounts.
    pub fn demo() -> Result<People, Misfit> {
        let mut accounts = Vec::new();
        for person in PEOPLE {
            let hashed = password::hash(PASSWORD).map_err(Misfit::new)?;
            accounts.push(Person {
                address: Address::from_parts(person, DOMAIN).expect("a good address"),
                password_hash: hashed,
                quota_bytes: 0,
            });
        }
        Ok(People {
            domains: vec![DOMAIN.to_owned()],
            accounts,
        })
    }

    /// Makes those that are not there yet: a first start that was cut short goes on where it was.
    pub async fn settle(self, owner: &Owner) -> Result<(), Misfit> {
        let told = |what: String| Misfit::new(format!("cannot make the first accounts: {what}"));
        // One visit, in order: accounts need their domain. Each of them is durable by itself, and what was made before a fault stays made.
        let made = owner
            .ask(move |mailboxes| async move {
                let known = mailboxes.domains();
                for domain in &self.domains {
                    if !known.iter().any(|name| name.eq_ignore_ascii_case(domain)) {
                        mailboxes.add_domain(domain).await?;
                    }
                }
                for person in &self.accounts {
                    let there = mailboxes.account(&person.address).await?;
                    if there.is_none() {
                        mailboxes
                            .add_account(&person.address, &person.password_hash, person.quota_bytes)
                            .await?;
                    }
                }
                Ok::<(), mailbox::MailboxFault>(())
            })
            .await;
        made.map_err(|busy| told(busy.to_string()))?
            .map_err(|fault| told(fault.to_string()))
    }
}
