//! The From field of what people send (RFC 6409 §6.1): every address in it is one that they may send as, or the message is refused.

use mail::{Address, header};
use smtp::Refusal;
use storage::addresses;
use storage::owner::Ask;

use inbound::receive::refusal_for;

use super::Submitter;
use super::sender::User;

/// Why a message is not taken, with what the reply says behind its text.
pub(super) struct Refused {
    pub refusal: Refusal,
    pub detail: String,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused {
            refusal,
            detail: String::new(),
        }
    }
}

impl<A: Ask> Submitter<A> {
    /// Their own address, with or without a tag; an alias whose only target they are; an address that was granted to them.
    pub(super) async fn may_send_as(&self, user: &User, address: &Address) -> Result<(), Refusal> {
        if user.is_own(address) {
            return Ok(());
        }
        let (account, address) = (user.account, address.clone());
        let asked = self.owner.ask(move |mailboxes| async move {
            addresses::may_send_as(&mailboxes, account, &address).await
        });
        let may = asked.await.map_err(|_| Refusal::Busy)?;
        match may.map_err(|fault| refusal_for(&fault))? {
            true => Ok(()),
            false => Err(Refusal::NotYourAddress),
        }
    }

    /// Looks at the From fields of `content`, which has no trace fields in front. A message without one is left to other servers' taste.
    pub(super) async fn check_authors(&self, user: &User, content: &[u8]) -> Result<(), Refused> {
        for author in authors(content) {
            let refused = |refusal, shown: &str| Refused {
                refusal,
                detail: format!("<{shown}>"),
            };
            let address = author.map_err(|shown| refused(Refusal::NotYourFrom, &shown))?;
            match self.may_send_as(user, &address).await {
                Ok(()) => {}
                Err(Refusal::NotYourAddress) => {
                    return Err(refused(Refusal::NotYourFrom, &address.to_path()));
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Ok(())
    }
}

/// Each address of the From fields once; `Err`: what stands there and is none. Of more than `AUTHORS_MAX` the last is an `Err`.
fn authors(content: &[u8]) -> Vec<Result<Address, String>> {
    let fields = header::fields(content).filter(|field| field.name.eq_ignore_ascii_case(b"From"));
    let mut found: Vec<Result<Address, String>> = Vec::new();
    for field in fields {
        let before = found.len();
        for entry in header::addresses(field.value) {
            // The begin and the end of a group (RFC 6854).
            let (Some(local), Some(host)) = (&entry.mailbox, &entry.host) else {
                continue;
            };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (local, host) = (text(local), text(host));
            let shown = match local.is_empty() && host.is_empty() {
                true => "no address".to_owned(),
                false => format!("{local}@{host}"),
            };
            let author = Address::from_parts(&local, &host).ok_or(shown);
            if !found.contains(&author) {
                found.push(author);
            }
            if found.len() > AUTHORS_MAX {
                found.push(Err("too many addresses".to_owned()));
                return found;
            }
        }
        if found.len() == before && !has_author(&found, field.value) {
            found.push(Err("no address".to_owned()));
        }
    }
    found
}

/// A second From field may repeat the addresses of the first.
fn has_author(found: &[Result<Address, String>], value: &[u8]) -> bool {
    !found.is_empty() && header::addresses(value).any(|entry| entry.mailbox.is_some())
}

/// Each may cost a look into the directory.
const AUTHORS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(content: &str) -> Vec<String> {
        let each = authors(content.as_bytes()).into_iter();
        each.map(|author| match author {
            Ok(address) => address.to_path(),
            Err(shown) => format!("!{shown}"),
        })
        .collect()
    }

    #[test]
    fn every_address_of_every_from_field_is_seen() {
        for (content, wanted) in [
            ("From: ann@example.org\r\n\r\n", &["ann@example.org"][..]),
            (
                "FROM : \"Ann, B\" <Ann@Example.org> (x)\r\n\r\n",
                &["Ann@example.org"],
            ),
            (
                "From: a@b.example,\r\n c@d.example\r\n\r\n",
                &["a@b.example", "c@d.example"],
            ),
            (
                "From: Us: a@b.example, <c@d.example>;\r\n\r\n",
                &["a@b.example", "c@d.example"],
            ),
            (
                "From: a@b.example\r\nFrom: eve@d.example\r\n\r\n",
                &["a@b.example", "eve@d.example"],
            ),
            (
                "From: a@b.example\r\nFrom: a@b.example\r\n\r\n",
                &["a@b.example"],
            ),
            ("From: plain\r\n\r\n", &["!no address"]),
            ("From:\r\n\r\n", &["!no address"]),
            ("Subject: x\r\n\r\nFrom: eve@d.example\r\n", &[]),
            ("", &[]),
        ] {
            assert_eq!(shown(content), wanted, "{content}");
        }
        let many: Vec<String> = (0..1_000)
            .map(|number| format!("a{number}@b.example"))
            .collect();
        let many = shown(&format!("From: {}\r\n\r\n", many.join(", ")));
        assert_eq!(
            (many.len(), many.last().map(String::as_str)),
            (AUTHORS_MAX + 2, Some("!too many addresses"))
        );
    }
}
