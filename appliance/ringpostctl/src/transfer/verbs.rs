//! The words of `import` and `export`, and which ends they mean.

use std::path::{Path, PathBuf};

use admin::logins::Purpose;
use admin::places::Remote;
use clap::{Args, Subcommand};
use mailfiles::mbox::Quoting;

use super::csv::{self, Line, Secret};
use super::journal;
use super::letter::{Fault, Sink, Source};
use super::mailbox::Mailboxes;
use super::maildirs::Maildirs;
use super::mboxes::{Mboxes, Written};
use super::names::Map;
use super::outcome::{AccountOutcome, Outcome};
use super::own::Own;
use super::progress::Progress;
use super::run::{self, Ends};
use super::server::{Place, Server};
use crate::app_password::Asker;

#[derive(Debug, Subcommand)]
pub(crate) enum ImportVerb {
    /// Bring the mail of an IMAP account; run it again for what is new since then
    Imap {
        /// Bring it into the account with this address
        #[arg(required_unless_present = "csv", conflicts_with = "csv")]
        account: Option<String>,
        /// Read from this server: imaps://HOST, or imap://HOST with STARTTLS
        #[arg(long, value_name = "URL", required_unless_present = "csv")]
        from: Option<String>,
        /// Log in there with this name [default: the account]
        #[arg(long, conflicts_with = "csv")]
        user: Option<String>,
        /// Read the password from the first line of this file
        #[arg(
            long,
            value_name = "FILE",
            required_unless_present = "csv",
            conflicts_with = "csv"
        )]
        password_file: Option<PathBuf>,
        /// Bring the accounts of this file, one after another; its first line names the columns: account, from, user, password or password_file
        #[arg(long, value_name = "FILE")]
        csv: Option<PathBuf>,
        #[command(flatten)]
        trust: Trust,
        #[command(flatten)]
        folders: Folders,
        #[command(flatten)]
        range: Range,
    },
    /// Bring the mail of Maildirs: of a directory in the layout of Maildir++ (.Work.2026) or of plain directories (Work/2026)
    Maildir {
        /// Read this directory; its own `cur` and `new` are INBOX
        directory: PathBuf,
        /// Bring it into the account with this address
        account: String,
        #[command(flatten)]
        folders: Folders,
    },
    /// Bring the mail of an mbox file, or of a directory of them; each file is a folder with the file's name
    Mbox {
        /// Read this file or directory
        path: PathBuf,
        /// Bring it into the account with this address
        account: String,
        /// How the files quote a line that begins with "From "
        #[arg(long, value_parser = ["mboxrd", "mboxo"], default_value = "mboxrd")]
        quoting: String,
        #[command(flatten)]
        folders: Folders,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExportVerb {
    /// Write the mail of an account into Maildirs; run it again for what is new since then
    Maildir {
        /// Write the mail of the account with this address
        account: String,
        /// Write into this directory: a new one, or that of an earlier export
        directory: PathBuf,
        #[command(flatten)]
        folders: Folders,
        #[command(flatten)]
        range: Range,
    },
    /// Write the mail of an account into mbox files, one for each folder
    Mbox {
        /// Write the mail of the account with this address
        account: String,
        /// Write into this directory: a new one, or that of an earlier export
        directory: PathBuf,
        #[command(flatten)]
        folders: Folders,
        #[command(flatten)]
        range: Range,
    },
    /// Copy the mail of an account into an account of an IMAP server
    Imap {
        /// Copy the mail of the account with this address
        account: String,
        /// Write to this server: imaps://HOST, or imap://HOST with STARTTLS
        #[arg(value_name = "URL")]
        to: String,
        /// Log in there with this name [default: the account]
        #[arg(long)]
        user: Option<String>,
        /// Read the password from the first line of this file
        #[arg(long, value_name = "FILE")]
        password_file: PathBuf,
        #[command(flatten)]
        trust: Trust,
        #[command(flatten)]
        folders: Folders,
        #[command(flatten)]
        range: Range,
    },
}

/// How the other server is known.
#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Trust also this CA, or this very certificate, of the other server (PEM)
    #[arg(long, value_name = "FILE")]
    server_ca: Option<PathBuf>,
    /// With imap://HOST: send the password and the mail without TLS
    #[arg(long)]
    allow_plaintext: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Folders {
    /// Move this folder only; may be given several times
    #[arg(long = "folder", value_name = "NAME")]
    folders: Vec<String>,
    /// Move this folder, and those below it, to another name; may be given several times
    #[arg(long, value_name = "OLD=NEW", value_parser = Map::pair)]
    map: Vec<(String, String)>,
    /// Remember in this directory what was moved, so that another run with the same directory moves only what is new
    #[arg(long, value_name = "DIR", default_value = "ringpost-transfers")]
    journal: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Range {
    /// Move messages of this day and later only, such as 2026-11-30; the day on which the server got them counts
    #[arg(long, value_name = "DAY", value_parser = day)]
    since: Option<String>,
}

/// `2026-11-30` as IMAP has it.
fn day(text: &str) -> Result<String, String> {
    let wrong = || "write a day such as 2026-11-30".to_owned();
    let mut parts = text.split('-').map(|part| part.parse::<i64>().ok());
    let mut next = || parts.next().flatten().ok_or_else(wrong);
    let (year, month, day) = (next()?, next()?, next()?);
    let days = mail::text::days_from_civil(year, month, day).ok_or_else(wrong)?;
    match (text.len(), (1970..=9999).contains(&year)) {
        (10, true) => Ok(imap::date::encode_day(days).trim().to_owned()),
        _ => Err(wrong()),
    }
}

/// With what the verbs are performed.
pub(crate) struct Call<'a> {
    pub ask: Asker<'a>,
    pub remote: Option<&'a Remote>,
    pub json: bool,
}

/// One end that is reached again and again.
type Again<'a, T> = Box<dyn FnMut() -> Result<Box<T>, Fault> + 'a>;

impl Call<'_> {
    pub(crate) fn import(&self, verb: &ImportVerb) -> Result<Outcome, String> {
        keep_private();
        match verb {
            ImportVerb::Imap {
                account,
                from,
                user,
                password_file,
                csv,
                trust,
                folders,
                range,
            } => {
                let lines = match (csv, account, password_file) {
                    (Some(file), _, _) => csv::read(file)?,
                    (None, Some(account), Some(file)) => vec![Line {
                        account: account.clone(),
                        from: None,
                        user: user.clone().unwrap_or_else(|| account.clone()),
                        password: Secret::In(file.clone()),
                    }],
                    _ => return Err("give an account and its password file, or a CSV file".into()),
                };
                let is_one = lines.len() == 1;
                let mut outcome = Outcome::default();
                for line in &lines {
                    let from = line.from.as_ref().or(from.as_ref());
                    let done = self.import_imap(line, from, trust, folders, range);
                    outcome.accounts.push(match done {
                        Ok(done) => done,
                        Err(why) if is_one => return Err(why),
                        // One account stops no other.
                        Err(why) => AccountOutcome {
                            account: line.account.clone(),
                            ended: Some(why),
                            ..AccountOutcome::default()
                        },
                    });
                }
                Ok(outcome.judged())
            }
            ImportVerb::Maildir {
                directory,
                account,
                folders,
            } => {
                let of = format!("import maildir {}", absolute(directory)?);
                let source = || Ok(Box::new(Maildirs::read(directory).map_err(Fault::Stop)?) as _);
                self.import_from(account, &of, Box::new(source), folders)
            }
            ImportVerb::Mbox {
                path,
                account,
                quoting,
                folders,
            } => {
                let quoting = match quoting.as_str() {
                    "mboxo" => Quoting::Mboxo,
                    _ => Quoting::Mboxrd,
                };
                let of = format!("import mbox {}", absolute(path)?);
                let source =
                    || Ok(Box::new(Mboxes::read(path, quoting).map_err(Fault::Stop)?) as _);
                self.import_from(account, &of, Box::new(source), folders)
            }
        }
    }

    pub(crate) fn export(&self, verb: &ExportVerb) -> Result<Outcome, String> {
        keep_private();
        match verb {
            ExportVerb::Maildir {
                account,
                directory,
                folders,
                range,
            } => {
                let of = format!("export maildir {}", absolute(directory)?);
                let sink = || Ok(Box::new(Maildirs::write(directory).map_err(Fault::Stop)?) as _);
                self.export_to(account, &of, Box::new(sink), folders, range)
            }
            ExportVerb::Mbox {
                account,
                directory,
                folders,
                range,
            } => {
                let of = format!("export mbox {}", absolute(directory)?);
                let sink = || Ok(Box::new(Written::begin(directory).map_err(Fault::Stop)?) as _);
                self.export_to(account, &of, Box::new(sink), folders, range)
            }
            ExportVerb::Imap {
                account,
                to,
                user,
                password_file,
                trust,
                folders,
                range,
            } => {
                let user = user.as_ref().unwrap_or(account);
                let password = Secret::In(password_file.clone()).read()?;
                let place = Place::parse(to, trust.allow_plaintext)?;
                let of = format!("export imap {} {} {user}", place.host, place.port);
                let server = Server::of_others(place, trust.server_ca.as_deref())?;
                let sink = || {
                    let line = server.open(user, &password)?;
                    Ok(Box::new(Mailboxes::over(line, server.clone(), None)?) as _)
                };
                self.export_to(account, &of, Box::new(sink), folders, range)
            }
        }
    }

    fn import_imap(
        &self,
        line: &Line,
        from: Option<&String>,
        trust: &Trust,
        folders: &Folders,
        range: &Range,
    ) -> Result<AccountOutcome, String> {
        let from = from.ok_or("no server is named: give --from, or the column `from`")?;
        let password = line.password.read()?;
        let place = Place::parse(from, trust.allow_plaintext)?;
        let of = format!("import imap {} {} {}", place.host, place.port, line.user);
        let server = Server::of_others(place, trust.server_ca.as_deref())?;
        let mut source = || {
            let opened = server.open(&line.user, &password)?;
            let mailboxes = Mailboxes::over(opened, server.clone(), range.since.clone())?;
            Ok(Box::new(mailboxes) as Box<dyn Source>)
        };
        self.import_one(&line.account, &of, &mut source, folders)
    }

    fn import_from(
        &self,
        account: &str,
        of: &str,
        mut source: Again<'_, dyn Source>,
        folders: &Folders,
    ) -> Result<Outcome, String> {
        let done = self.import_one(account, of, &mut *source, folders)?;
        Ok(Outcome::of(done))
    }

    fn import_one(
        &self,
        account: &str,
        of: &str,
        source: &mut dyn FnMut() -> Result<Box<dyn Source>, Fault>,
        folders: &Folders,
    ) -> Result<AccountOutcome, String> {
        let own = Own::find(self.ask, self.remote)?;
        own.check(account)?;
        let mut sink = || {
            let opened = own.open(account, Purpose::Import, None)?;
            Ok(Box::new(opened) as Box<dyn Sink>)
        };
        let ends = Ends {
            source,
            sink: &mut sink,
            pause: &std::thread::sleep,
        };
        self.moved(account, of, ends, folders)
    }

    fn export_to(
        &self,
        account: &str,
        of: &str,
        mut sink: Again<'_, dyn Sink>,
        folders: &Folders,
        range: &Range,
    ) -> Result<Outcome, String> {
        let own = Own::find(self.ask, self.remote)?;
        own.check(account)?;
        let mut source = || {
            let opened = own.open(account, Purpose::Export, range.since.clone())?;
            Ok(Box::new(opened) as Box<dyn Source>)
        };
        let ends = Ends {
            source: &mut source,
            sink: &mut *sink,
            pause: &std::thread::sleep,
        };
        Ok(Outcome::of(self.moved(account, of, ends, folders)?))
    }

    fn moved(
        &self,
        account: &str,
        of: &str,
        ends: Ends<'_>,
        folders: &Folders,
    ) -> Result<AccountOutcome, String> {
        // Another account of another daemon has a journal of its own.
        let to = self.remote.map_or("", |remote| remote.host.as_str());
        let of = format!("{of}\n{account}\n{to}");
        let place = journal::Place::open(&folders.journal, account, &of)?;
        let map = Map {
            only: folders.folders.clone(),
            map: folders.map.clone(),
        };
        let progress = Progress::new(self.json);
        let done = run::run(ends, &place, &map, &progress);
        progress.end();
        let done = done?;
        Ok(AccountOutcome {
            account: account.to_owned(),
            ..done
        })
    }
}

impl Outcome {
    fn of(account: AccountOutcome) -> Outcome {
        let accounts = vec![account];
        Outcome {
            complete: false,
            accounts,
        }
        .judged()
    }

    fn judged(self) -> Outcome {
        let complete = self.accounts.iter().all(AccountOutcome::is_complete);
        Outcome { complete, ..self }
    }
}

/// Mail, and what is remembered of it, is for its owner alone.
fn keep_private() {
    use nix::sys::stat::{Mode, umask};
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
}

/// The same for all ways to write a path. One that is not there yet is made by the export.
fn absolute(path: &Path) -> Result<String, String> {
    let absolute = std::path::absolute(path);
    let absolute = absolute.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(absolute.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        keep_private();
        let root = tempfile::tempdir().expect("a directory");
        let letter = super::super::letter::Letter {
            message: b"A: 1\r\n".to_vec(),
            flags: mail::Flags::default(),
            date: mail::InternalDate::utc(0),
        };
        let (maildir, mboxes) = (root.path().join("maildir"), root.path().join("mboxes"));
        let mut maildirs = Maildirs::write(&maildir).expect("made");
        let mut written = Written::begin(&mboxes).expect("made");
        let sinks: [&mut dyn Sink; 2] = [&mut maildirs, &mut written];
        for sink in sinks {
            sink.open("INBOX", None).expect("made");
            sink.put(&letter).expect("room");
        }
        let file = std::fs::read_dir(maildir.join("cur")).expect("made").next();
        let file = file.expect("one").expect("readable").path();
        for path in [maildir, mboxes.clone(), file, mboxes.join("INBOX.mbox")] {
            let mode = std::fs::metadata(&path).expect("made").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
    }

    #[test]
    fn days_are_written_as_imap_wants_them() {
        assert_eq!(day("2026-11-30"), Ok("30-Nov-2026".into()));
        assert_eq!(day("2026-02-03"), Ok("3-Feb-2026".into()));
        for wrong in [
            "",
            "2026-02-30",
            "2026-2-3",
            "30-11-2026",
            "1960-01-01",
            "2026-11-300",
        ] {
            assert!(day(wrong).is_err(), "{wrong}");
        }
    }
}
