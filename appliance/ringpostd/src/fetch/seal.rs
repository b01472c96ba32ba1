//! Passwords of accounts elsewhere, sealed: the volume has them, and the key to them is in the state directory.
//!
//! Why so: a leg that is sent back for repair, a copy of the volume, a dump of the log must not give passwords away; the state directory never leaves with a leg. Without the
//! key (a new state directory) the passwords must be entered again. AES-256-GCM; what a password is for is a part of what is sealed: one that is put into
//! another row, or whose host was changed, does not open.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use files::Mode;
use mailbox::AccountId;
use mailbox::names::{FetchProtocol, FetchRow, Sealed};

use crate::certificate::others_read;

/// In the state directory, for the daemon alone.
const FILE: &str = "fetch.key";
const KEY_BYTES: usize = 32;

/// Where the key is. It is read when it is needed.
pub(super) struct Seal {
    path: PathBuf,
    /// Of two administrators who are the first, one makes the key: a second one would take the place of the first.
    making: Mutex<()>,
}

impl Seal {
    pub fn of(state: &Path) -> Seal {
        Seal {
            path: state.join(FILE),
            making: Mutex::new(()),
        }
    }

    /// The password for `row`, with a key that is made if there is none. `Err`: one sentence.
    pub fn seal(
        &self,
        account: AccountId,
        row: &FetchRow,
        password: &str,
    ) -> Result<Sealed, String> {
        let key = {
            let _making = self.making.lock().expect("no holder panics");
            match self.key()? {
                Some(key) => key,
                None => self.make()?,
            }
        };
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| "there are no random bytes".to_owned())?;
        let mut bytes = password.as_bytes().to_vec();
        let about = Aad::from(about(account, row));
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), about, &mut bytes)
            .map_err(|_| "the password cannot be sealed".to_owned())?;
        Ok(Sealed([&nonce[..], &bytes].concat()))
    }

    /// `Err`: it must be entered again, in one sentence.
    pub fn open(&self, account: AccountId, row: &FetchRow) -> Result<String, String> {
        let again = || "the password must be entered again: `ringpostctl fetch change` asks for it";
        let key = self.key()?.ok_or_else(|| {
            format!(
                "the key of the passwords is not in the state directory: {}",
                again()
            )
        })?;
        let (nonce, sealed) = row
            .sealed
            .0
            .split_first_chunk::<NONCE_LEN>()
            .ok_or_else(again)?;
        let mut bytes = sealed.to_vec();
        let about = Aad::from(about(account, row));
        let opened = key.open_in_place(Nonce::assume_unique_for_key(*nonce), about, &mut bytes);
        let opened = opened.map_err(|_| again())?;
        let password = std::str::from_utf8(opened).map_err(|_| again())?;
        Ok(password.to_owned())
    }

    /// `None`: there is no file. One that is there and cannot be used is never replaced: it may be the right one.
    fn key(&self) -> Result<Option<LessSafeKey>, String> {
        let wrong = |why: &str| format!("{}: {why}", self.path.display());
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(&error.to_string())),
        };
        if others_read(&self.path) {
            return Err(wrong(
                "others may read or change it: give it to the daemon alone (chmod 600)",
            ));
        }
        let is_whole = bytes.len() == KEY_BYTES;
        let key = is_whole.then(|| UnboundKey::new(&AES_256_GCM, &bytes));
        match key {
            Some(Ok(key)) => Ok(Some(LessSafeKey::new(key))),
            _ => Err(wrong(
                "it is not a key of 32 bytes: restore it, or remove it and enter the passwords again",
            )),
        }
    }

    fn make(&self) -> Result<LessSafeKey, String> {
        let mut bytes = [0; KEY_BYTES];
        rand::fill(&mut bytes).map_err(|_| "there are no random bytes".to_owned())?;
        files::replace(&self.path, &bytes, Mode::Private)
            .map_err(|error| format!("{}: {error}", self.path.display()))?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes);
        key.map(LessSafeKey::new)
            .map_err(|_| "the key cannot be used".to_owned())
    }
}

/// What the password is for. Not the port and the folder: changing them needs no password.
fn about(account: AccountId, row: &FetchRow) -> Vec<u8> {
    let protocol = match row.protocol {
        FetchProtocol::Pop3 => "pop3",
        FetchProtocol::Imap => "imap",
    };
    format!("{}\0{protocol}\0{}\0{}", account.0, row.host, row.user).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::tests::row;

    #[test]
    fn of_two_that_are_the_first_one_makes_the_key() {
        let directory = tempfile::tempdir().expect("a directory");
        let seal = Seal::of(directory.path());
        std::thread::scope(|threads| {
            let sealing = [1, 2, 3, 4].map(|account| {
                let seal = &seal;
                threads.spawn(move || {
                    let mut row = row(FetchProtocol::Pop3, 1);
                    row.sealed = seal.seal(AccountId(account), &row, "x").expect("sealed");
                    (AccountId(account), row)
                })
            });
            for thread in sealing {
                let (account, row) = thread.join().expect("it ends");
                assert_eq!(seal.open(account, &row).as_deref(), Ok("x"));
            }
        });
    }

    #[test]
    fn a_password_opens_with_its_key_and_for_its_account_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let (seal, account) = (Seal::of(directory.path()), AccountId(7));
        let mut row = row(FetchProtocol::Pop3, 1);
        let no_key = seal.open(account, &row).expect_err("no key");
        assert!(no_key.contains("entered again"), "{no_key}");
        row.sealed = seal.seal(account, &row, "pä ss").expect("sealed");
        let held = row
            .sealed
            .0
            .windows(5)
            .any(|some| some == "pä ss".as_bytes());
        assert!(!held, "not in clear");
        let second = seal.seal(account, &row, "pä ss").expect("sealed");
        assert_ne!(second, row.sealed, "each time another one");
        assert_eq!(seal.open(account, &row).as_deref(), Ok("pä ss"));
        row.port = 2;
        assert_eq!(seal.open(account, &row).as_deref(), Ok("pä ss"));
        assert!(seal.open(AccountId(8), &row).is_err());
        let elsewhere = FetchRow {
            host: "evil.example".to_owned(),
            ..row.clone()
        };
        assert!(seal.open(account, &elsewhere).is_err());
        let mut cut = row.clone();
        cut.sealed.0.truncate(5);
        assert!(seal.open(account, &cut).is_err());
        // Another key: the password must be entered again, and the key stays.
        let path = directory.path().join(FILE);
        files::replace(&path, &[9; KEY_BYTES], Mode::Private).expect("written");
        let other = seal.open(account, &row).expect_err("another key");
        assert!(other.contains("entered again"), "{other}");
        files::replace(&path, b"short", Mode::Private).expect("written");
        assert!(seal.seal(account, &row, "x").is_err(), "it is not replaced");
        assert_eq!(fs::read(&path).expect("there"), b"short");
        files::replace(&path, &[9; KEY_BYTES], Mode::Public).expect("written");
        assert!(
            seal.open(account, &row)
                .expect_err("open to all")
                .contains("chmod")
        );
    }
}
