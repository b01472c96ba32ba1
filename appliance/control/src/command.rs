//! `ringpostctl`'s command line.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use plan::{Machine, Plan, Profile, Settings, Size};
use serde_json::Value;

use crate::admin::SOCKET;
use crate::client::Remote;
use crate::words::Request;
use crate::{client, credentials, dump, password, profiles, salvage, show};

/// Looks after a Ringpost appliance.
#[derive(Debug, Parser)]
#[command(name = "ringpostctl", version, subcommand_required = true)]
struct Command {
    /// The daemon's state directory [default: where this program was called from, else ./var]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The daemon's control socket, in place of --state
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "state")]
    socket: Option<PathBuf>,
    /// An appliance on another machine: https://HOST:PORT of its HTTPS listener; needs --cert, --key and --ca
    #[arg(long, global = true, value_name = "URL", conflicts_with_all = ["state", "socket"])]
    host: Option<String>,
    /// With --host: our client certificate (`ringpostctl admin-cert` makes one)
    #[arg(long, global = true, value_name = "FILE", requires = "host")]
    cert: Option<PathBuf>,
    /// With --host: its key
    #[arg(long, global = true, value_name = "FILE", requires = "host")]
    key: Option<PathBuf>,
    /// With --host: who signed the appliance's certificate, or its self-signed certificate itself
    #[arg(long, global = true, value_name = "FILE", requires = "host")]
    ca: Option<PathBuf>,
    /// One JSON document instead of text for people
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What runs, and whether it takes mail
    Status,
    /// The plan it runs by
    Plan,
    /// People
    #[command(subcommand)]
    Account(AccountVerb),
    /// Domains whose mail is ours
    #[command(subcommand)]
    Domain(DomainVerb),
    /// The mirrored volume
    #[command(subcommand)]
    Volume(VolumeVerb),
    /// The devices that each hold a full copy
    #[command(subcommand)]
    Leg(LegVerb),
    /// Check everything, beside the mail; the exit status is 1 unless all is well
    Fsck {
        /// `quick`: membership and known damage. `full`: read every live byte, prove every message
        #[arg(value_parser = ["quick", "full"], default_value = "quick")]
        how: String,
    },
    /// Write the mail of orphan legs into Maildir: no daemon, no index, past damage
    Salvage {
        #[arg(required = true)]
        legs: Vec<PathBuf>,
        /// A new directory
        #[arg(long)]
        to: PathBuf,
    },
    /// The append log
    #[command(subcommand)]
    Log(LogVerb),
    /// The configuration file
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Hardware profiles: which fits this machine, what it asks for, what is so
    #[command(subcommand)]
    Profile(ProfileVerb),
    /// The last lines of the daemon's log
    Logs {
        /// At most this many
        #[arg(short = 'n', long, default_value_t = 100)]
        lines: usize,
    },
    /// One JSON document for whoever helps from afar: no mail, no secrets
    SupportBundle,
    /// The clock, and whether a time server sets it
    Time,
    /// Versions of the image on an appliance's system disks
    #[command(subcommand)]
    Update(UpdateVerb),
    /// Restart the appliance
    Reboot,
    /// Switch the appliance off
    Poweroff,
    /// Forget settings, certificates and membership of an appliance, and restart; mail stays on its legs
    FactoryReset {
        /// Say that it is meant
        #[arg(long, required = true)]
        yes: bool,
    },
    /// Make certificates for --host in a directory: an authority for `[admin] client_ca`, and a client
    AdminCert {
        directory: PathBuf,
        /// Of the administrator
        #[arg(long, default_value = "client")]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum UpdateVerb {
    /// Which versions are there, which runs, which is tried next
    Status,
    /// Put a new version beside the running one; the next boot tries it. FILE (sent along with --host) or URL, with
    /// FILE.minisig beside it
    Apply { source: String },
    /// Give up the running version; the next boot starts the other one
    Rollback,
}

#[derive(Debug, Subcommand)]
enum LogVerb {
    /// Print every record on a leg that no daemon uses
    Dump { leg: PathBuf },
}

#[derive(Debug, Subcommand)]
enum AccountVerb {
    /// Make an account; the password is asked for, or read from standard input
    Add {
        address: String,
        /// The password itself; others on this machine may see it
        #[arg(long)]
        password: Option<String>,
        /// Most that the account may hold; 0 means no bound
        #[arg(long, default_value = "0")]
        quota: Size,
    },
    List,
    Show {
        address: String,
    },
    /// Remove an account and its mail
    Remove {
        address: String,
    },
    /// Set a new password; asked for, or read from standard input
    Password {
        address: String,
        #[arg(long)]
        password: Option<String>,
    },
    /// Set the most that the account may hold; 0 means no bound
    Quota {
        address: String,
        quota: Size,
    },
}

#[derive(Debug, Subcommand)]
enum DomainVerb {
    Add { domain: String },
    List,
    Remove { domain: String },
}

#[derive(Debug, Subcommand)]
enum VolumeVerb {
    List,
    Show,
    /// Read every live byte on every leg, and repair what differs
    Scrub,
}

#[derive(Debug, Subcommand)]
enum LegVerb {
    List,
    /// Take in a leg that returned, or a blank one
    Attach {
        path: PathBuf,
        /// Make a blank file of the right size there first
        #[arg(long)]
        fresh: bool,
    },
    /// Take a leg out and let go of its device
    Detach {
        leg: String,
    },
    /// Forget a leg that will not come back
    Retire {
        leg: String,
    },
    /// Take a leg out of the mirror
    Fail {
        leg: String,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Say what is wrong with a configuration, or nothing
    Check { file: PathBuf },
}

#[derive(Debug, Subcommand)]
enum ProfileVerb {
    /// Every profile, and whether it fits this machine
    List,
    /// What a profile asks for on this machine
    Show { name: String },
    /// Which profile is taken and why, why not the others, and what is not as promised
    Explain,
    /// Say what is wrong with a profile file, or nothing
    Check { file: PathBuf },
    /// The words that the kernel should be started with on this machine
    Cmdline { name: String },
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
            Verb::Profile(verb) => return self.profile(verb),
            Verb::Log(LogVerb::Dump { leg }) => {
                let mut out = std::io::BufWriter::new(std::io::stdout());
                dump::run(leg, self.json, &mut out)?;
                let _ = out.flush(); // a reader that went away is no error
                return Ok(ExitCode::SUCCESS);
            }
            Verb::AdminCert { directory, name } => return self.admin_cert(directory, name),
            _ => {}
        }
        let mut request = self.verb.request()?;
        let value = match self.remote()? {
            None => client::ask(&self.socket(), &request)?,
            Some(remote) => {
                if let Request::UpdateApply { source } = &mut request {
                    self.send_along(&remote, source)?;
                }
                remote.ask(&request)?
            }
        };
        self.print(&request, &value)?;
        // A verdict that is not clean is a refusal: scripts look at the exit status.
        let unclean =
            matches!(request, Request::Fsck { .. }) && value["clean"] != Value::Bool(true);
        Ok(if unclean {
            ExitCode::from(1)
        } else {
            ExitCode::SUCCESS
        })
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
        let plan: Plan = serde_json::from_value(remote.ask(&Request::Plan)?)
            .map_err(|error| format!("the appliance speaks another version: {error}"))?;
        *source = crate::remote::uploads(&plan.state)
            .join("ringpost.efi")
            .display()
            .to_string();
        Ok(())
    }

    fn admin_cert(&self, directory: &std::path::Path, name: &str) -> Result<ExitCode, String> {
        let written = credentials::make(directory, name)?;
        if self.json {
            println!("{}", serde_json::json!({ "written": written }));
        } else {
            let at = directory.display();
            println!(
                "written in {at}: {}\n\n  1. put ca.pem into [admin] client_ca of the appliance's settings\n  2. ringpostctl --host https://HOST:443 --cert {at}/{name}.pem --key {at}/{name}-key.pem --ca APPLIANCE.pem status\n\nKeep ca-key.pem off the appliance: whoever has it can administer.",
                written.join(", ")
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    fn socket(&self) -> PathBuf {
        if let Some(socket) = &self.socket {
            return socket.clone();
        }
        if let Some(state) = &self.state {
            return state.join(SOCKET);
        }
        // `./var/ringpostctl` looks after the daemon of ./var.
        let called = std::env::args_os()
            .next()
            .map(PathBuf::from)
            .unwrap_or_default();
        let beside = called
            .parent()
            .map(|parent| parent.join(SOCKET))
            .filter(|socket| socket.exists());
        beside.unwrap_or_else(|| PathBuf::from("var").join(SOCKET))
    }

    fn print(&self, request: &Request, value: &Value) -> Result<(), String> {
        let text = if self.json {
            String::new()
        } else {
            show::reply(request, value)?
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
                "{} messages of {} mailboxes written to {}; {} could not be read",
                salvaged.messages,
                salvaged.mailboxes,
                to.display(),
                salvaged.lost
            );
        }
        // What was there was written; what was not is a refusal that scripts can see.
        Ok(if salvaged.lost == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(1)
        })
    }

    fn profile(&self, verb: &ProfileVerb) -> Result<ExitCode, String> {
        let root = std::path::Path::new("/");
        let (value, text) = match verb {
            ProfileVerb::List => profiles::list(root)?,
            ProfileVerb::Show { name } => profiles::show(root, name)?,
            ProfileVerb::Explain => profiles::explain(root)?,
            ProfileVerb::Check { file } => profiles::check(file)?,
            ProfileVerb::Cmdline { name } => profiles::cmdline(root, name)?,
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
            // `ringpostctl … | head` is no error.
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
                "{} is right; on this machine it means:\n\n{}",
                file.display(),
                plan.to_string().trim_end()
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Verb {
    fn request(&self) -> Result<Request, String> {
        Ok(match self {
            Verb::Status => Request::Status,
            Verb::Plan => Request::Plan,
            Verb::Account(verb) => verb.request()?,
            Verb::Domain(DomainVerb::Add { domain }) => Request::DomainAdd {
                domain: domain.clone(),
            },
            Verb::Domain(DomainVerb::List) => Request::DomainList,
            Verb::Domain(DomainVerb::Remove { domain }) => Request::DomainRemove {
                domain: domain.clone(),
            },
            Verb::Volume(VolumeVerb::List) => Request::VolumeList,
            Verb::Volume(VolumeVerb::Show) => Request::VolumeShow,
            Verb::Volume(VolumeVerb::Scrub) => Request::VolumeScrub,
            Verb::Leg(LegVerb::List) => Request::LegList,
            Verb::Leg(LegVerb::Attach { path, fresh }) => {
                // The daemon may have been started elsewhere.
                let path = std::path::absolute(path).map_err(|error| error.to_string())?;
                Request::LegAttach {
                    path: path.display().to_string(),
                    fresh: *fresh,
                }
            }
            Verb::Leg(LegVerb::Detach { leg }) => Request::LegDetach { leg: leg.clone() },
            Verb::Leg(LegVerb::Retire { leg }) => Request::LegRetire { leg: leg.clone() },
            Verb::Leg(LegVerb::Fail { leg }) => Request::LegFail { leg: leg.clone() },
            Verb::Fsck { how } => Request::Fsck {
                full: how == "full",
            },
            Verb::Logs { lines } => Request::Logs { lines: *lines },
            Verb::SupportBundle => Request::SupportBundle,
            Verb::Time => Request::Time,
            Verb::Update(UpdateVerb::Status) => Request::UpdateStatus,
            Verb::Update(UpdateVerb::Apply { source }) => Request::UpdateApply {
                source: source.clone(),
            },
            Verb::Update(UpdateVerb::Rollback) => Request::UpdateRollback,
            Verb::Reboot => Request::Reboot,
            Verb::Poweroff => Request::PowerOff,
            Verb::FactoryReset { .. } => Request::FactoryReset,
            Verb::Config(_)
            | Verb::Salvage { .. }
            | Verb::Log(_)
            | Verb::AdminCert { .. }
            | Verb::Profile(_) => {
                unreachable!("done without the daemon")
            }
        })
    }
}

impl AccountVerb {
    fn request(&self) -> Result<Request, String> {
        Ok(match self {
            AccountVerb::Add {
                address,
                password,
                quota,
            } => Request::AccountAdd {
                address: address.clone(),
                password_hash: hashed(password.as_deref())?,
                quota_bytes: quota.0,
            },
            AccountVerb::List => Request::AccountList,
            AccountVerb::Show { address } => Request::AccountShow {
                address: address.clone(),
            },
            AccountVerb::Remove { address } => Request::AccountRemove {
                address: address.clone(),
            },
            AccountVerb::Password { address, password } => Request::AccountPassword {
                address: address.clone(),
                password_hash: hashed(password.as_deref())?,
            },
            AccountVerb::Quota { address, quota } => Request::AccountQuota {
                address: address.clone(),
                quota_bytes: quota.0,
            },
        })
    }
}

fn hashed(given: Option<&str>) -> Result<String, String> {
    match given {
        Some(password) => password::hash(password),
        None => password::hash(&read_password()?),
    }
}

/// From the terminal without showing it, else the first line of standard input.
fn read_password() -> Result<String, String> {
    let stdin = std::io::stdin();
    let read = || {
        let mut line = String::new();
        stdin
            .lock()
            .read_line(&mut line)
            .map_err(|error| format!("cannot read the password: {error}"))?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    };
    if !stdin.is_terminal() {
        return read();
    }
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    let told = |errno| format!("cannot hide the password: {errno}");
    eprint!("Password: ");
    let before = tcgetattr(&stdin).map_err(told)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent).map_err(told)?;
    let password = read();
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &before).map_err(told)?;
    eprintln!();
    password
}
