//! `ringpostctl app-password`: passwords that we make up for one program or device; and SCRAM keys of passwords that people type.
//!
//! They are made on this machine. The daemon gets keys and a digest, and the password is printed once.

use admin::logins::{Ask, Keys, Salt};
use admin::request::Request;
use argon2::password_hash::rand_core::{OsRng, RngCore};
use clap::Subcommand;
use sasl::scram;
use serde_json::Value;

/// Sends a request of its own before the one that a verb is.
pub(crate) type Asker<'a> = &'a dyn Fn(Request) -> Result<Value, String>;

#[derive(Debug, Subcommand)]
pub(crate) enum AppPasswordVerb {
    /// Make up a password for one program or device, and print it once
    Add {
        /// Make it for the account with this address
        account: String,
        /// Call it so in lists and in the audit, such as "phone"
        #[arg(long)]
        name: String,
        /// Let it be used for these protocols
        #[arg(long, value_delimiter = ',', default_value = "imap,submission", value_parser = ["imap", "pop3", "submission", "sieve"])]
        scope: Vec<String>,
    },
    /// List the app passwords of an account, and when each was last used
    List {
        /// List those of the account with this address
        account: String,
    },
    /// Remove an app password; it is refused from then on
    Remove {
        /// Remove it from the account with this address
        account: String,
        /// Remove the one with this name
        #[arg(long)]
        name: String,
    },
}

impl AppPasswordVerb {
    /// The request, and the password where one was made up.
    pub(crate) fn request(&self, ask: Asker<'_>) -> Result<(Request, Option<String>), String> {
        Ok(match self {
            AppPasswordVerb::Add {
                account,
                name,
                scope,
            } => {
                let password = made_up();
                let keys = keys_of(&password, account, ask)?;
                let ask = Ask::AppAdd {
                    account: account.clone(),
                    name: name.clone(),
                    scopes: scope.clone(),
                    digest: *blake3::hash(password.as_bytes()).as_bytes(),
                    keys,
                };
                (Request::Logins { ask }, Some(password))
            }
            AppPasswordVerb::List { account } => {
                let account = account.clone();
                let ask = Ask::AppList { account };
                (Request::Logins { ask }, None)
            }
            AppPasswordVerb::Remove { account, name } => {
                let (account, name) = (account.clone(), name.clone());
                let ask = Ask::AppRemove { account, name };
                (Request::Logins { ask }, None)
            }
        })
    }
}

/// SCRAM keys of a password of this account.
pub(crate) fn keys_of(password: &str, account: &str, ask: Asker<'_>) -> Result<Keys, String> {
    let wanted = Ask::Salt {
        account: account.to_owned(),
    };
    let value = ask(Request::Logins { ask: wanted })?;
    let Salt { salt, iterations } =
        serde_json::from_value(value).map_err(|error| error.to_string())?;
    if !(4_096..=1_000_000).contains(&iterations) {
        return Err("the daemon asks for keys that this ringpostctl does not make".into());
    }
    let scram::Keys { stored, server } = scram::Keys::derive(password, &salt, iterations);
    Ok(Keys {
        iterations,
        stored,
        server,
    })
}

/// 120 random bits in base32 (RFC 4648 §6, in small letters), in groups of four.
fn made_up() -> String {
    let mut random = [0; LETTERS];
    OsRng.fill_bytes(&mut random);
    let mut password = String::new();
    for (index, byte) in random.iter().enumerate() {
        if index > 0 && index % 4 == 0 {
            password.push('-');
        }
        password.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    password
}

const LETTERS: usize = 24;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_passwords_have_120_bits_and_differ() {
        let (one, two) = (made_up(), made_up());
        assert_ne!(one, two);
        assert_eq!(one.len(), LETTERS + 5);
        let letters = one.bytes().filter(|byte| *byte != b'-');
        assert!(letters.clone().all(|byte| ALPHABET.contains(&byte)));
        assert_eq!(letters.count() * 5, 120);
    }

    #[test]
    fn the_request_has_a_digest_and_no_password() {
        let verb = AppPasswordVerb::Add {
            account: "ann@example.org".into(),
            name: "phone".into(),
            scope: vec!["imap".into()],
        };
        let salt = Salt {
            salt: vec![7; 16],
            iterations: 4_096,
        };
        let asker = |request: Request| {
            assert!(matches!(
                request,
                Request::Logins {
                    ask: Ask::Salt { .. }
                }
            ));
            serde_json::to_value(&salt).map_err(|error| error.to_string())
        };
        let (request, password) = verb.request(&asker).expect("a request");
        let password = password.expect("a password");
        let sent = serde_json::to_string(&request).expect("JSON");
        assert!(!sent.contains(&password), "{sent}");
        let Request::Logins {
            ask: Ask::AppAdd { keys, digest, .. },
        } = request
        else {
            panic!("another request")
        };
        assert_eq!(digest, *blake3::hash(password.as_bytes()).as_bytes());
        let scram::Keys { stored, server } = scram::Keys::derive(&password, &[7; 16], 4_096);
        assert_eq!((keys.stored, keys.server), (stored, server));
    }
}
