//! What is known of a user when a login is decided: the account, its SCRAM keys, its app passwords.
//!
//! App passwords are random, 120 bits of them: a fast keyed hash tells as little of one as argon2id would, and a login with one costs no core.
//! They are taken as they are shown, and by PLAIN also without the hyphens, with spaces, or in capitals.

use mailbox::names::Mark;
use mailbox::{Account, AccountId, MailboxFault};
use runtime::SessionHost;
use runtime::limits::SHORT_WORK_BYTES_MAX;
use sasl::scram::{ITERATIONS, Keys};
use storage::logins;
use storage::owner::Ask;

use super::audit::{From, Outcome};
use super::{Learning, Unavailable, fill_random};

/// Who may be meant.
pub(super) struct Known {
    /// `None`: there is no such account.
    pub account: Option<Account>,
    /// The same for all spellings of a name.
    pub name: String,
    /// It was given as an address of a domain of this server.
    pub is_of_ours: bool,
    /// Another directory owns the account.
    pub mark: Option<Mark>,
    pub salt: [u8; 16],
    row: ::logins::Row,
    /// Of the password hash that is there now.
    of: [u8; 16],
    /// `None`: nothing is kept about logins here.
    app_key: Option<[u8; 32]>,
}

/// By what a login is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Main,
    /// The number of an app password.
    App(u32),
    Nothing(Outcome),
}

impl Known {
    /// `user` is an address, or a local part if there is one domain only.
    pub async fn find(
        owner: &impl Ask,
        user: &str,
        has_keyring: bool,
    ) -> Result<Known, Unavailable> {
        let asked = user.to_owned();
        if has_keyring {
            let mut fresh = [0; 32];
            fill_random(&mut fresh);
            let found = owner.ask_outgoing(move |outgoing| async move {
                logins::find(&outgoing, &asked, fresh).await
            });
            let found = found.await.map_err(|_| Unavailable)?;
            let found = found.map_err(|_| Unavailable)?;
            return Ok(Known {
                account: found.account,
                name: found.name,
                is_of_ours: found.is_of_ours,
                mark: found.mark,
                salt: found.salt,
                row: found.row,
                of: found.of,
                app_key: found.app_key,
            });
        }
        let found = owner.ask(move |mailboxes| async move {
            let is_of_ours = logins::is_of_ours(&mailboxes, &asked);
            let Some(address) = logins::address_of(&mailboxes, &asked) else {
                return Ok((None, asked.to_lowercase(), is_of_ours, None));
            };
            let account = mailboxes.account(&address).await?;
            let name = account.as_ref().map(|account| account.address.key());
            let id = account.as_ref().map(|account| account.id);
            let mark = id.and_then(|id| mailboxes.directory().account_mark(id));
            Ok((
                account,
                name.unwrap_or_else(|| address.key()),
                is_of_ours,
                mark,
            ))
        });
        let (account, name, is_of_ours, mark) = match found.await {
            Ok(Ok(found)) => found,
            Ok(Err(MailboxFault::NoAccount)) => (None, user.to_lowercase(), false, None),
            Ok(Err(_)) | Err(_) => return Err(Unavailable),
        };
        Ok(Known {
            account,
            is_of_ours,
            mark,
            ..Known::nameless(name)
        })
    }

    /// Stands for a client that gives no name; `name` counts its failures.
    pub fn nameless(name: String) -> Known {
        Known {
            account: None,
            name,
            is_of_ours: false,
            mark: None,
            salt: [0; 16],
            row: ::logins::Row::default(),
            of: [0; 16],
            app_key: None,
        }
    }

    /// Who is meant, without what proves it.
    pub fn shallow(&self) -> Known {
        Known {
            account: self.account.clone(),
            is_of_ours: self.is_of_ours,
            mark: self.mark,
            ..Known::nameless(self.name.clone())
        }
    }

    /// The name as the audit may have it: a password that was typed as a name has no place in a file.
    pub fn audited(&self) -> Option<&str> {
        let is_name = self.account.is_some() || self.is_of_ours;
        is_name.then_some(self.name.as_str())
    }

    /// Another directory has disabled it: all logins are refused.
    pub fn is_disabled(&self) -> bool {
        self.mark.is_some_and(|mark| mark.is_disabled)
    }

    /// The keys that SCRAM may prove, for this scope.
    pub fn keys(&self, scope: u8) -> Vec<Keys> {
        let main = self.row.main.as_ref();
        let main = main.filter(|main| main.of == self.of && main.iterations == ITERATIONS);
        let apps = self.row.apps.iter();
        let apps = apps.filter(|app| app.scopes & scope != 0 && app.iterations == ITERATIONS);
        let all = main.map(|main| &main.keys).into_iter();
        all.chain(apps.map(|app| &app.keys)).map(of_kept).collect()
    }

    /// Whose keys these are now.
    pub fn by_keys(&self, keys: &Keys, scope: u8) -> By {
        if let Some(main) = &self.row.main
            && main.of == self.of
            && of_kept(&main.keys) == *keys
        {
            return By::Main;
        }
        let mut apps = self.row.apps.iter();
        match apps.find(|app| of_kept(&app.keys) == *keys) {
            Some(app) if app.scopes & scope != 0 => By::App(app.number),
            Some(_) => By::Nothing(Outcome::Scope),
            None => By::Nothing(Outcome::Password),
        }
    }

    /// What a password comes to that has the form of an app password. `None`: it is none of this account.
    pub fn by_app(&self, password: &[u8], scope: u8) -> Option<By> {
        let app_key = self.app_key.as_ref()?;
        let shown = shown(password)?;
        let digest = blake3::hash(shown.as_bytes());
        let hash = blake3::keyed_hash(app_key, digest.as_bytes());
        // `blake3::Hash` compares in constant time.
        let mut apps = self.row.apps.iter();
        let app = apps.find(|app| hash == blake3::Hash::from(app.hash))?;
        Some(match app.scopes & scope != 0 {
            true => By::App(app.number),
            false => By::Nothing(Outcome::Scope),
        })
    }

    pub fn app(&self, number: u32) -> Option<&::logins::App> {
        self.row.apps.iter().find(|app| app.number == number)
    }

    /// The account has no keys of the password that it has.
    pub fn lacks_keys(&self) -> bool {
        let main = self.row.main.as_ref();
        self.app_key.is_some()
            && !main.is_some_and(|main| main.of == self.of && main.iterations == ITERATIONS)
    }
}

/// Makes the keys of a password that was right, in the background. Without a place it is done by a later login.
pub(super) fn learn(
    owner: &impl Ask,
    host: &SessionHost,
    account: AccountId,
    known: &Known,
    password: &[u8],
    learning: Option<Learning>,
) {
    let (Some(learning), Ok(password)) = (learning, std::str::from_utf8(password)) else {
        return;
    };
    let (password, salt, of) = (password.to_owned(), known.salt, known.of);
    let (owner, at) = (owner.clone(), host.clone());
    host.spawn(Box::pin(async move {
        let derive = move || Keys::derive(&password, &salt, ITERATIONS);
        let keys = at.work(SHORT_WORK_BYTES_MAX, derive).await;
        let main = ::logins::Main {
            of,
            iterations: ITERATIONS,
            keys: kept_of(&keys),
        };
        let written = owner.ask_outgoing(move |outgoing| async move {
            logins::learn_keys(&outgoing, account, main).await
        });
        match written.await {
            Ok(Ok(())) => tracing::debug!(account = account.0, "SCRAM keys were made"),
            Ok(Err(fault)) => tracing::debug!(account = account.0, %fault, "no SCRAM keys"),
            Err(busy) => tracing::debug!(account = account.0, %busy, "no SCRAM keys"),
        }
        drop(learning);
    }));
}

/// Writes down the first use of an app password on a day, in the background.
pub(super) fn note_use(
    owner: &impl Ask,
    host: &SessionHost,
    account: AccountId,
    app: &::logins::App,
    from: &From,
) {
    let day = day(host.unix_seconds());
    if app.used.as_ref().is_some_and(|used| used.day >= day) {
        return;
    }
    let used = ::logins::Used {
        day,
        protocol: from.protocol.bit(),
        peer: from.peer.to_string(),
    };
    let (owner, number) = (owner.clone(), app.number);
    host.spawn(Box::pin(async move {
        let written = owner.ask_outgoing(move |outgoing| async move {
            logins::note_use(&outgoing, account, number, used).await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            tracing::debug!(
                account = account.0,
                "the use of an app password is not written down"
            );
        }
    }));
}

/// Days since 1970.
pub fn day(unix_seconds: i64) -> u32 {
    u32::try_from(unix_seconds.max(0) / 86_400).unwrap_or(u32::MAX)
}

/// An app password as it is shown: six groups of four. `None`: it has another form.
fn shown(password: &[u8]) -> Option<String> {
    if password.len() > 2 * APP_LETTERS {
        return None;
    }
    let mut letters = String::new();
    for byte in password {
        match byte.to_ascii_lowercase() {
            b' ' | b'-' => {}
            letter @ (b'a'..=b'z' | b'2'..=b'7') => {
                if !letters.is_empty() && letters.len() % 5 == 4 {
                    letters.push('-');
                }
                letters.push(letter.into());
            }
            _ => return None,
        }
    }
    (letters.len() == APP_LETTERS + APP_LETTERS / 4 - 1).then_some(letters)
}

/// Of base32, 5 bits each.
pub const APP_LETTERS: usize = 24;

fn of_kept(keys: &::logins::Keys) -> Keys {
    Keys {
        stored: keys.stored,
        server: keys.server,
    }
}

fn kept_of(keys: &Keys) -> ::logins::Keys {
    ::logins::Keys {
        stored: keys.stored,
        server: keys.server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_passwords_are_found_however_they_are_typed() {
        let plain = "abcd-efgh-ijkl-mnop-qrst-uvwx";
        for typed in [
            plain,
            "ABCD EFGH IJKL MNOP QRST UVWX",
            "abcdefghijklmnopqrstuvwx",
        ] {
            assert_eq!(shown(typed.as_bytes()).as_deref(), Some(plain), "{typed}");
        }
        for other in [
            "",
            "secret",
            "abcd-efgh-ijkl-mnop-qrst-uvw",
            "abcd-efgh-ijkl-mnop-qrst-uvwx2",
            "abcd-efgh-ijkl-mnop-qrst-uvw1",
        ] {
            assert_eq!(shown(other.as_bytes()), None, "{other}");
        }
        assert_eq!(shown(&[b'a'; 4_096]), None);
    }
}
