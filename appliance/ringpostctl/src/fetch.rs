//! `ringpostctl fetch`: mail that is fetched regularly from accounts elsewhere.

use std::path::PathBuf;

use admin::fetch::{Ask, How, Password, Server};
use admin::request::Request;
use clap::{Args, Subcommand};

use crate::password::read_password;

#[derive(Debug, Subcommand)]
pub(crate) enum FetchVerb {
    /// Fetch mail of an account elsewhere into an account here; its password is read from the terminal or from standard input
    Add {
        /// Put the mail into this account
        account: String,
        /// Fetch from this server: pop3s://HOST, pop3://HOST (STLS), imaps://HOST or imap://HOST (STARTTLS), with :PORT if it is another one
        url: String,
        /// Log in there with this name
        #[arg(long)]
        user: String,
        /// Read the password from the first line of this file
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Use no TLS with pop3:// and imap://: the password and the mail travel in clear
        #[arg(long)]
        allow_plaintext: bool,
        #[command(flatten)]
        how: HowArgs,
    },
    /// List the accounts elsewhere, with their state
    List {
        /// Show those of this account only
        account: Option<String>,
    },
    /// Show one account elsewhere
    Show {
        /// Show one of this account
        account: String,
        /// Show the one with this number
        number: u32,
    },
    /// Change an account elsewhere, and fetch from it at once; one that was stopped is started again
    Change {
        /// Change one of this account
        account: String,
        /// Change the one with this number
        number: u32,
        /// Fetch from this server; another host or protocol needs --password, and all mail there is fetched again
        #[arg(long)]
        url: Option<String>,
        /// Log in there with this name; another name needs --password, and all mail there is fetched again
        #[arg(long)]
        user: Option<String>,
        /// Ask for a new password
        #[arg(long)]
        password: bool,
        /// Read the new password from the first line of this file
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Use no TLS with pop3:// and imap://: the password and the mail travel in clear
        #[arg(long, requires = "url")]
        allow_plaintext: bool,
        #[command(flatten)]
        how: HowArgs,
    },
    /// Stop fetching from an account elsewhere, and forget its password; mail that was fetched stays
    Remove {
        /// Remove one of this account
        account: String,
        /// Remove the one with this number
        number: u32,
    },
    /// Fetch now, and wait for the end; the exit status is 1 if that fails
    Run {
        /// Fetch for this account
        account: String,
        /// Fetch from the one with this number
        number: u32,
    },
    /// Log in there and look, and change nothing; the exit status is 1 if that fails
    Check {
        /// Check one of this account
        account: String,
        /// Check the one with this number
        number: u32,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HowArgs {
    /// Fetch this folder, with IMAP [default: INBOX]
    #[arg(long)]
    folder: Option<String>,
    /// Fetch so often: 1min to 168h [default: 15min]
    #[arg(long, value_name = "SPAN", value_parser = every)]
    every: Option<plan::Span>,
    /// Leave messages there for good (the default)
    #[arg(long, conflicts_with_all = ["delete", "delete_after"])]
    keep: bool,
    /// Delete messages there as soon as they are here
    #[arg(long, conflicts_with = "delete_after")]
    delete: bool,
    /// Delete messages there so many days after they were fetched
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    delete_after: Option<u32>,
    /// Run the Sieve scripts of the account (`on`, the default), or put everything into INBOX (`off`)
    #[arg(long, value_name = "SWITCH", value_parser = switch)]
    filter: Option<bool>,
    /// Put what looks like junk into the folder for junk (`on`), or judge nothing (`off`, the default)
    #[arg(long, value_name = "SWITCH", value_parser = switch)]
    judge: Option<bool>,
    /// Permit a server in a private network or on this machine (`on`), or forbid it (`off`, the default)
    #[arg(long, value_name = "SWITCH", num_args = 0..=1, require_equals = true, default_missing_value = "on", value_parser = switch)]
    allow_private: Option<bool>,
}

impl HowArgs {
    fn how(&self) -> How {
        How {
            folder: self.folder.clone(),
            every_s: self.every.map(|every| every.0.as_secs() as u32),
            keep: self.keep.then_some(true),
            delete_after_days: if self.delete {
                Some(0)
            } else {
                self.delete_after
            },
            filter: self.filter,
            judge: self.judge,
            allow_private: self.allow_private,
        }
    }
}

impl FetchVerb {
    pub(crate) fn request(&self) -> Result<Request, String> {
        let one = |account: &String, number: &u32| (account.clone(), *number);
        let ask = match self {
            FetchVerb::Add {
                account,
                url,
                user,
                password_file,
                allow_plaintext,
                how,
            } => Ask::Add {
                account: account.clone(),
                server: server(url, *allow_plaintext)?,
                user: user.clone(),
                password: password(password_file)?,
                how: how.how(),
            },
            FetchVerb::List { account } => Ask::List {
                account: account.clone(),
            },
            FetchVerb::Show { account, number } => {
                let (account, number) = one(account, number);
                Ask::Show { account, number }
            }
            FetchVerb::Change {
                account,
                number,
                url,
                user,
                password: asks,
                password_file,
                allow_plaintext,
                how,
            } => {
                let is_new = *asks || password_file.is_some();
                let server = url.as_ref().map(|url| server(url, *allow_plaintext));
                Ask::Change {
                    account: account.clone(),
                    number: *number,
                    server: server.transpose()?,
                    user: user.clone(),
                    password: is_new.then(|| password(password_file)).transpose()?,
                    how: how.how(),
                }
            }
            FetchVerb::Remove { account, number } => {
                let (account, number) = one(account, number);
                Ask::Remove { account, number }
            }
            FetchVerb::Run { account, number } => {
                let (account, number) = one(account, number);
                Ask::Run { account, number }
            }
            FetchVerb::Check { account, number } => {
                let (account, number) = one(account, number);
                Ask::Check { account, number }
            }
        };
        Ok(Request::Fetch { ask })
    }
}

fn password(file: &Option<PathBuf>) -> Result<Password, String> {
    let password = match file {
        None => read_password()?,
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
            text.lines().next().unwrap_or_default().to_owned()
        }
    };
    match password.is_empty() {
        true => Err("the password is empty".to_owned()),
        false => Ok(Password(password)),
    }
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write on or off".to_owned()),
    }
}

fn every(text: &str) -> Result<plan::Span, String> {
    let span: plan::Span = text.parse()?;
    match (60..=7 * 86_400).contains(&span.0.as_secs()) {
        true => Ok(span),
        false => Err("write 1min to 168h".to_owned()),
    }
}

fn server(url: &str, is_plain: bool) -> Result<Server, String> {
    let why = || {
        format!(
            "`{url}`: write pop3s://HOST, pop3://HOST, imaps://HOST or imap://HOST, with :PORT if it is another one"
        )
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(why)?;
    let started = if is_plain { "absent" } else { "started" };
    let (protocol, port, tls) = match scheme {
        "pop3s" => ("pop3", 995, "inside"),
        "pop3" => ("pop3", 110, started),
        "imaps" => ("imap", 993, "inside"),
        "imap" => ("imap", 143, started),
        _ => return Err(why()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']').ok_or_else(why)? {
            (host, "") => (host, Some(port)),
            (host, behind) => (
                host,
                behind.strip_prefix(':').and_then(|port| port.parse().ok()),
            ),
        },
        None => match rest.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (rest, Some(port)),
        },
    };
    let port = port.filter(|port| *port > 0).ok_or_else(why)?;
    if host.is_empty() || host.contains(['/', '@', '?', ' ']) {
        return Err(why());
    }
    Ok(Server {
        protocol: protocol.to_owned(),
        host: host.to_owned(),
        port,
        tls: tls.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_protocol_a_host_and_its_tls() {
        let read = |url: &str, is_plain| {
            server(url, is_plain).map(|server| {
                format!(
                    "{} {} {} {}",
                    server.protocol, server.host, server.port, server.tls
                )
            })
        };
        for (url, is_plain, server) in [
            ("pop3s://a.example", false, "pop3 a.example 995 inside"),
            ("pop3://a.example/", false, "pop3 a.example 110 started"),
            ("imap://a.example:1143", true, "imap a.example 1143 absent"),
            ("imaps://[::1]", true, "imap ::1 993 inside"),
            ("imaps://[::1]:9", false, "imap ::1 9 inside"),
        ] {
            assert_eq!(read(url, is_plain).as_deref(), Ok(server), "{url}");
        }
        for url in [
            "a.example",
            "smtp://a",
            "imaps://",
            "imaps://u@a",
            "imap://a:x",
            "imap://a:0",
            "imap://[::1]9",
        ] {
            assert!(read(url, false).is_err(), "{url}");
        }
        assert!(every("59s").is_err() && every("1min").is_ok() && every("169h").is_err());
    }
}
