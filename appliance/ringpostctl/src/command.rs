//! `ringpostctl`'s command line.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use admin::fetch::Ask as Fetch;
use admin::ldap::Ask as Directory;
use admin::logins::Ask as Logins;
use admin::places::{Remote, SOCKET, uploads};
use admin::request::Request;
use admin::spool::Ask;
use admin::{client, text};
use clap::Parser;
use plan::{Machine, Plan, Profile, Settings};
use serde_json::Value;

use crate::app_password::AppPasswordVerb;
use crate::transfer::Call;
use crate::verbs::{ConfigVerb, LogVerb, ProfileVerb, SettingsVerb, Verb};
use crate::{admin_cert, dump, file, profiles, salvage, selftest};

/// Administers a Ringpost appliance, on this machine or over HTTPS.
#[derive(Debug, Parser)]
#[command(name = "ringpostctl", version, subcommand_required = true)]
struct Command {
    /// Use the daemon with this state directory [default: the directory of this program, else /var/lib/ringpost, else ./var]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Use this control socket instead of the one in --state
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "state")]
    socket: Option<PathBuf>,
    /// Administer an appliance on another machine: https://HOST:PORT of its HTTPS listener (needs --cert, --key and --ca)
    #[arg(long, global = true, value_name = "URL", conflicts_with_all = ["state", "socket"])]
    host: Option<String>,
    /// With --host: identify with this client certificate (`ringpostctl admin-cert` makes one)
    #[arg(long, global = true, value_name = "FILE", requires = "host")]
    cert: Option<PathBuf>,
    /// With --host: use this private key of --cert
    #[arg(long, global = true, value_name = "FILE", requires = "host")]
    key: Option<PathBuf>,
    /// With --host: trust this CA for the appliance's certificate, or name its self-signed certificate
    #[arg(long, global = true, value_name = "FILE", requires = "host")]
    ca: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

/// Reads the command line and does it. Exit status: 0 done, 1 refused, 2 usage.
pub fn main() -> ExitCode {
    let command = Command::parse();
    match command.run() {
        Ok(code) => code,
        Err(refused) => {
            let _ = std::io::stdout().flush();
            if command.json {
                println!("{}", serde_json::json!({ "refused": refused }));
            }
            eprintln!("ringpostctl: {refused}");
            ExitCode::from(1)
        }
    }
}

impl Command {
    fn run(&self) -> Result<ExitCode, String> {
        match &self.verb {
            Verb::Config(ConfigVerb::Check { file }) => return self.check_config(file),
            Verb::Salvage { legs, to } => return self.salvage(legs, to),
            // Verbs above and below need no daemon: they are for the moment in which there is none.
            Verb::Profile(ProfileVerb::Applied) => {}
            Verb::Profile(verb) => return self.profile(verb),
            Verb::Selftest { within } => {
                if self.host.is_some() {
                    return Err(
                        "selftest uses the appliance's own listeners: run it on the appliance"
                            .into(),
                    );
                }
                let told = selftest::run(&self.socket(), within.0)?;
                self.print_both(&serde_json::json!({ "selftest": told }), &told)?;
                return Ok(ExitCode::SUCCESS);
            }
            Verb::Log(LogVerb::Dump { leg }) => {
                let mut out = std::io::BufWriter::new(std::io::stdout());
                dump::run(leg, self.json, &mut out)?;
                let _ = out.flush(); // a reader that went away is not an error
                return Ok(ExitCode::SUCCESS);
            }
            Verb::AdminCert { directory, name } => return self.admin_cert(directory, name),
            Verb::AppPassword(verb) => return self.app_password(verb),
            Verb::Import(_) | Verb::Export(_) => return self.transfer(),
            _ => {}
        }
        let mut request = self.verb.request(&|mut request| self.ask(&mut request))?;
        if let (
            Verb::Settings(SettingsVerb::Apply { yes: false, .. }),
            Request::SettingsApply { name, text, .. },
        ) = (&self.verb, &request)
        {
            // Asked first and shown, so that a person agrees to what the box makes of the settings and not to what they meant by them.
            let looked = Request::SettingsCheck {
                name: name.clone(),
                text: text.clone(),
            };
            let checked = self.ask(&mut looked.clone())?;
            if checked["mistakes"] == serde_json::json!([]) {
                file::is_meant(&text::reply(&looked, &checked)?)?;
            }
        }
        let value = self.ask(&mut request)?;
        self.print(&request, &value)?;
        // A verdict that is not clean is a refusal: scripts look at the exit status.
        // Each verb that judges has its row here, and REFERENCE-EXIT.md its line.
        let unclean = match request {
            Request::Fsck { .. }
            | Request::Spool {
                ask: Ask::Fsck { .. },
            } => value["clean"] != Value::Bool(true),
            Request::ProfileApplied => value["differs"] != 0,
            Request::Logins {
                ask: Logins::AuditVerify,
            } => value["intact"] != Value::Bool(true),
            Request::Ldap {
                ask: Directory::Sync { .. },
            } => !value["stopped"].is_null() || value["failed"] != 0,
            Request::Fetch {
                ask: Fetch::Run { .. } | Fetch::Check { .. },
            } => !value["last"]["error"].is_null(),
            Request::DomainCheck { .. } => value["right"] != Value::Bool(true),
            Request::VolumeAcceptDamage { yes }
            | Request::Spool {
                ask: Ask::AcceptDamage { yes },
            } => !yes && value["accepted"] != true,
            Request::SettingsCheck { .. } => value["mistakes"] != serde_json::json!([]),
            _ => false,
        };
        Ok(if unclean {
            ExitCode::from(1)
        } else {
            ExitCode::SUCCESS
        })
    }

    fn ask(&self, request: &mut Request) -> Result<Value, String> {
        match self.remote()? {
            None => client::ask(&self.socket(), request),
            Some(remote) => {
                // A path names a file of this machine, and the appliance has another disk.
                if let Request::UpdateApply { source, .. } = request {
                    self.send_along(&remote, source)?;
                }
                remote.ask(request)
            }
        }
    }

    fn remote(&self) -> Result<Option<Remote>, String> {
        let Some(host) = &self.host else {
            return Ok(None);
        };
        match (&self.cert, &self.key, &self.ca) {
            (Some(certificate), Some(key), Some(authority)) => Ok(Some(Remote {
                host: host.clone(),
                certificate: certificate.clone(),
                key: key.clone(),
                authority: authority.clone(),
            })),
            _ => Err(
                "--host needs --cert, --key and --ca: see `ringpostctl admin-cert --help`".into(),
            ),
        }
    }

    /// A file of this machine is brought to the appliance first; `source` becomes its place there.
    fn send_along(&self, remote: &Remote, source: &mut String) -> Result<(), String> {
        if source.starts_with("https://") || source.starts_with("http://") {
            return Ok(());
        }
        let signature = format!("{source}.minisig");
        for (file, name) in [signature.as_str(), source.as_str()]
            .into_iter()
            // The signature first: it is small, and if it cannot be sent the image need not be.
            .zip(["ringpost.efi.minisig", "ringpost.efi"])
        {
            let length = std::fs::metadata(file)
                .map_err(|error| format!("{file}: {error}"))?
                .len();
            let bar = match self.json || !std::io::stderr().is_terminal() {
                true => indicatif::ProgressBar::hidden(),
                false => indicatif::ProgressBar::new(length),
            };
            remote.upload(std::path::Path::new(file), name, |done| {
                bar.set_position(done)
            })?;
            bar.finish_and_clear();
        }
        let plan: Plan = serde_json::from_value(remote.ask(&Request::Plan)?).map_err(|error| {
            format!(
                "the appliance has another version ({error}): use the ringpostctl of that version"
            )
        })?;
        *source = uploads(&plan.state)
            .join("ringpost.efi")
            .display()
            .to_string();
        Ok(())
    }

    fn admin_cert(&self, directory: &std::path::Path, name: &str) -> Result<ExitCode, String> {
        let written = admin_cert::make(directory, name)?;
        if self.json {
            println!("{}", serde_json::json!({ "written": written }));
        } else {
            let at = directory.display();
            println!(
                "written in {at}: {}\n\n  1. put ca.pem into [admin] client_ca of the appliance's settings\n  2. ringpostctl --host https://HOST:443 --cert {at}/{name}.pem --key {at}/{name}-key.pem --ca APPLIANCE.pem status\n\nDo not store ca-key.pem on the appliance: it gives administrator access to its owner.",
                written.join(", ")
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    fn app_password(&self, verb: &AppPasswordVerb) -> Result<ExitCode, String> {
        let (mut request, password) = verb.request(&|mut request| self.ask(&mut request))?;
        let value = self.ask(&mut request)?;
        match password {
            // Here and nowhere else, once.
            Some(password) => self.print_both(
                &serde_json::json!({ "password": password }),
                &format!("{password}\n\nIt is shown this once. Remove it when the device is lost."),
            )?,
            None => self.print(&request, &value)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn transfer(&self) -> Result<ExitCode, String> {
        let remote = self.remote()?;
        let ask = |mut request: Request| self.ask(&mut request);
        let call = Call {
            ask: &ask,
            remote: remote.as_ref(),
            json: self.json,
        };
        let outcome = match &self.verb {
            Verb::Import(verb) => call.import(verb)?,
            Verb::Export(verb) => call.export(verb)?,
            _ => unreachable!("another verb"),
        };
        let value = serde_json::to_value(&outcome).map_err(|error| error.to_string())?;
        self.print_both(&value, &outcome.text())?;
        Ok(match outcome.complete {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(1),
        })
    }

    fn socket(&self) -> PathBuf {
        if let Some(socket) = &self.socket {
            return socket.clone();
        }
        if let Some(state) = &self.state {
            return state.join(SOCKET);
        }
        // (So several trials on one machine each have their tool, and none has to be told which.)
        // `./var/ringpostctl` looks after the daemon of ./var.
        let called = std::env::args_os()
            .next()
            .map(PathBuf::from)
            .unwrap_or_default();
        let beside = called
            .parent()
            .map(|parent| parent.join(SOCKET))
            .filter(|socket| socket.exists());
        // On an appliance it is called from anywhere.
        let appliance = PathBuf::from("/var/lib/ringpost").join(SOCKET);
        let appliance = || appliance.exists().then_some(appliance);
        beside
            .or_else(appliance)
            .unwrap_or_else(|| PathBuf::from("var").join(SOCKET))
    }

    fn print(&self, request: &Request, value: &Value) -> Result<(), String> {
        let text = if self.json {
            String::new()
        } else {
            text::reply(request, value)?
        };
        self.print_both(value, &text)
    }

    fn salvage(&self, legs: &[PathBuf], to: &std::path::Path) -> Result<ExitCode, String> {
        let salvaged = salvage::run(legs, to)?;
        if self.json {
            println!(
                "{}",
                serde_json::to_string_pretty(&salvaged).map_err(|error| error.to_string())?
            );
        } else {
            for finding in &salvaged.findings {
                println!("found: {finding}");
            }
            println!(
                "{} messages of {} mailboxes are in {}; {} could not be read, {} could not be written",
                salvaged.messages,
                salvaged.mailboxes,
                to.display(),
                salvaged.lost,
                salvaged.left_out
            );
        }
        // What was there was written; what was not is a refusal that scripts can see.
        Ok(if salvaged.is_whole() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(1)
        })
    }

    fn profile(&self, verb: &ProfileVerb) -> Result<ExitCode, String> {
        let here_alone = !matches!(verb, ProfileVerb::Check { .. });
        if self.host.is_some() && here_alone {
            return Err("this verb describes the machine that it runs on: use `profile applied` with --host".into());
        }
        let root = std::path::Path::new("/");
        let (value, text) = match verb {
            ProfileVerb::Applied => unreachable!("the daemon is asked"),
            ProfileVerb::List => profiles::list(root)?,
            ProfileVerb::Show { name } => profiles::show(root, name)?,
            ProfileVerb::Explain => profiles::explain(root)?,
            ProfileVerb::Check { file } => profiles::check(file)?,
            ProfileVerb::Cmdline { name, machine } => {
                profiles::cmdline(root, name, machine.as_deref())?
            }
        };
        self.print_both(&value, &text)?;
        Ok(ExitCode::SUCCESS)
    }

    /// JSON for programs, text for people.
    fn print_both(&self, value: &Value, text: &str) -> Result<(), String> {
        let json;
        let text = if self.json {
            json = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
            &json
        } else {
            text
        };
        match writeln!(std::io::stdout(), "{}", text.trim_end()) {
            // `ringpostctl … | head` is not an error.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    fn check_config(&self, file: &std::path::Path) -> Result<ExitCode, String> {
        let checked = Settings::load(file).and_then(|settings| {
            let profile = Profile::load(settings.profile())?;
            Plan::make(
                &settings,
                &profile,
                &Machine::of(&hardware::probe(std::path::Path::new("/"))),
            )
        });
        let plan = checked.map_err(|misfit| misfit.to_string())?;
        if self.json {
            println!(
                "{}",
                serde_json::to_string_pretty(&plan).map_err(|error| error.to_string())?
            );
        } else {
            println!(
                "{} is valid; on this machine it results in this plan:\n\n{}",
                file.display(),
                plan.to_string().trim_end()
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Command;

    /// Collects the verbs and arguments below `command` that have no help text.
    fn unexplained(command: &clap::Command, place: &str, found: &mut Vec<String>) {
        for argument in command.get_arguments() {
            let name = argument.get_id();
            if argument.get_help().is_none() && !["help", "version"].contains(&name.as_str()) {
                found.push(format!("{place} {name}"));
            }
        }
        for verb in command.get_subcommands() {
            let place = format!("{place} {}", verb.get_name());
            if verb.get_about().is_none() {
                found.push(place.clone());
            }
            unexplained(verb, &place, found);
        }
    }

    #[test]
    fn every_verb_and_every_argument_has_a_help_text() {
        let mut found = Vec::new();
        unexplained(&Command::command(), "ringpostctl", &mut found);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_verb_without_a_help_text_is_found() {
        let bare = clap::Command::new("tool")
            .subcommand(clap::Command::new("list").arg(clap::Arg::new("name")));
        let mut found = Vec::new();
        unexplained(&bare, "tool", &mut found);
        assert_eq!(found, ["tool list", "tool list name"]);
    }
}
