//! The words of `ringpostctl`'s command line, and the request that each of them is.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use admin::limits::{WITHIN_MAX, WITHIN_MIN};
use admin::password;
use admin::request::Request;
use clap::Subcommand;
use plan::Size;

use crate::file;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
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
    /// Mail that must leave
    #[command(subcommand)]
    Queue(QueueVerb),
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
    /// Send a message by SMTP and read it by IMAP; the exit status is 1 unless that works
    Selftest {
        /// Give up after this long
        #[arg(long, value_name = "SPAN", default_value = "60s")]
        within: plan::Span,
    },
    /// Hardware profiles: which fits this machine, what it asks for, what is so
    #[command(subcommand)]
    Profile(ProfileVerb),
    /// The last lines of the daemon's log
    Logs {
        /// At most this many
        #[arg(short = 'n', long, default_value_t = 100)]
        lines: usize,
    },
    /// Counters and gauges, as a monitoring system reads them
    Metrics,
    /// Every disk: what it is for, its health, its name for settings
    Disks {
        #[command(subcommand)]
        verb: Option<DisksVerb>,
    },
    /// Links, addresses, routes, name servers
    Network,
    /// One JSON document for whoever helps from afar: no mail, no secrets
    SupportBundle,
    /// The clock, and whether a time server sets it
    Time,
    /// The certificate that TLS listeners show
    #[command(subcommand)]
    Certificate(CertificateVerb),
    /// The settings of an appliance, changed from afar; what could lock everybody out goes back by itself
    #[command(subcommand)]
    Settings(SettingsVerb),
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
pub(crate) enum DisksVerb {
    /// The disks that the box starts from
    #[command(subcommand)]
    System(SystemVerb),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SystemVerb {
    /// Make a blank disk the second system disk, or the one in place of a lost one; what it is to hold is copied to it
    Add {
        /// By its name below /dev/disk/by-id
        disk: String,
        /// Say that it is meant
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertificateVerb {
    /// Its names, who signed it, until when it is good
    Show,
    /// Show this one from now on, and after restarts
    Set {
        /// PEM, the server's own certificate first
        #[arg(value_name = "CHAIN.pem")]
        chain: PathBuf,
        #[arg(value_name = "KEY.pem")]
        private: PathBuf,
        /// Also a certificate that has ended, or is not good yet
        #[arg(long)]
        yes: bool,
    },
    /// Read the files that the settings name again
    Reload,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SettingsVerb {
    /// The settings in force; a secret is shown as `(kept)`, and what is applied with that keeps it
    Show,
    /// Say what is wrong with FILE on that appliance, and what it would change when; nothing is applied
    Check { file: PathBuf },
    /// Make FILE the settings of this and the next starts. Network, listeners, TLS, administration, profile, limits and log
    /// are on probation: unless `settings confirm` follows by a new connection, the previous settings come back by themselves
    Apply {
        file: PathBuf,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// How long a confirmation is waited for: 30s to 1h
        #[arg(long, value_name = "SPAN", default_value = "5min", value_parser = within)]
        within: plan::Span,
    },
    /// Keep the settings that are on probation: you could reach the appliance with them
    Confirm,
    /// Take the settings on probation back; without any, apply the ones before these again
    Revert {
        /// As of `apply`
        #[arg(long, value_name = "SPAN", default_value = "5min", value_parser = within)]
        within: plan::Span,
    },
    /// Who changed which settings when
    History,
}

/// A span that a probation may have.
fn within(text: &str) -> Result<plan::Span, String> {
    let span: plan::Span = text.parse()?;
    if (WITHIN_MIN..=WITHIN_MAX).contains(&span.0) {
        return Ok(span);
    }
    Err(format!(
        "write {} s to {} min",
        WITHIN_MIN.as_secs(),
        WITHIN_MAX.as_secs() / 60
    ))
}

#[derive(Debug, Subcommand)]
pub(crate) enum UpdateVerb {
    /// Which versions are there, which runs, which is tried next
    Status,
    /// Put a new version beside the running one; the next boot tries it. FILE (sent along with --host) or URL, with
    /// FILE.minisig beside it
    Apply {
        source: String,
        /// Boots that the new version gets before the box goes back for good [default: 3]
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=9))]
        tries: Option<u32>,
    },
    /// Make every system disk hold the same, now; by itself it happens after a start, an update, or when a disk comes
    Sync,
    /// Give up the running version, or a newer one that waits for its boot; the next boot starts the one before
    Rollback,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogVerb {
    /// Print every record on a leg that no daemon uses
    Dump { leg: PathBuf },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountVerb {
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
pub(crate) enum DomainVerb {
    Add { domain: String },
    List,
    Remove { domain: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueVerb {
    /// What waits, by number: a page of it
    List {
        /// Begin behind this message
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// At most so many
        #[arg(short = 'n', long)]
        count: Option<usize>,
    },
    /// One message: each recipient, and what the last try was answered
    Show { id: u64 },
    /// Try it now
    Retry { id: u64 },
    /// Keep it until it is released
    Hold { id: u64 },
    /// Let it go on
    Release { id: u64 },
    /// Take it out for ever; its sender hears nothing
    Drop { id: u64 },
}

impl QueueVerb {
    fn request(&self) -> Request {
        match *self {
            QueueVerb::List { after, count } => Request::QueueList { after, count },
            QueueVerb::Show { id } => Request::QueueShow { id },
            QueueVerb::Retry { id } => Request::QueueRetry { id },
            QueueVerb::Hold { id } => Request::QueueHold { id },
            QueueVerb::Release { id } => Request::QueueRelease { id },
            QueueVerb::Drop { id } => Request::QueueDrop { id },
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum VolumeVerb {
    List,
    Show,
    /// Read every live byte on every leg, and repair what differs
    Scrub,
    /// Give up acknowledged mail that every leg has lost, so that the volume takes mail again; without --yes, say what would be lost
    AcceptDamage {
        /// Confirm
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LegVerb {
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
pub(crate) enum ConfigVerb {
    /// Say what is wrong with a configuration, or nothing
    Check { file: PathBuf },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileVerb {
    /// Every profile, and whether it fits this machine
    List,
    /// What a profile asks for on this machine
    Show { name: String },
    /// Which profile is taken and why, why not the others, and what is not as promised
    Explain,
    /// Everything that the running daemon's profile promises, beside what is so (also over --host)
    Applied,
    /// Say what is wrong with a profile file, or nothing
    Check { file: PathBuf },
    /// The words that the kernel should be started with on this machine
    Cmdline {
        name: String,
        /// Another machine than this one: a file with its shape (a box's /run/ringpost/boot.json), or words like
        /// "cpus=32 nodes=2 disk_node=1 nic_node=0"
        #[arg(long)]
        machine: Option<String>,
    },
}

impl Verb {
    pub(crate) fn request(&self) -> Result<Request, String> {
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
            Verb::Queue(verb) => verb.request(),
            Verb::Volume(VolumeVerb::List) => Request::VolumeList,
            Verb::Volume(VolumeVerb::Show) => Request::VolumeShow,
            Verb::Volume(VolumeVerb::Scrub) => Request::VolumeScrub,
            Verb::Volume(VolumeVerb::AcceptDamage { yes }) => {
                Request::VolumeAcceptDamage { yes: *yes }
            }
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
            Verb::Metrics => Request::Metrics,
            Verb::Disks { verb: None } => Request::Disks,
            Verb::Disks {
                verb: Some(DisksVerb::System(SystemVerb::Add { disk, .. })),
            } => Request::SystemDiskAdd { path: disk.clone() },
            Verb::Network => Request::Network,
            Verb::SupportBundle => Request::SupportBundle,
            Verb::Time => Request::Time,
            Verb::Certificate(CertificateVerb::Show) => Request::CertificateShow,
            Verb::Certificate(CertificateVerb::Set {
                chain,
                private,
                yes,
            }) => {
                let read = |path: &PathBuf| {
                    std::fs::read_to_string(path)
                        .map_err(|error| format!("{}: {error}", path.display()))
                };
                Request::CertificateSet {
                    chain: read(chain)?,
                    key: read(private)?,
                    yes: *yes,
                }
            }
            Verb::Certificate(CertificateVerb::Reload) => Request::CertificateReload,
            Verb::Settings(SettingsVerb::Show) => Request::SettingsShow,
            Verb::Settings(SettingsVerb::History) => Request::SettingsHistory,
            Verb::Settings(SettingsVerb::Check { file }) => {
                let (name, text) = file::read(file)?;
                Request::SettingsCheck { name, text }
            }
            Verb::Settings(SettingsVerb::Apply { file, within, .. }) => {
                let (name, text) = file::read(file)?;
                Request::SettingsApply {
                    name,
                    text,
                    within_s: within.0.as_secs(),
                }
            }
            Verb::Settings(SettingsVerb::Confirm) => Request::SettingsConfirm,
            Verb::Settings(SettingsVerb::Revert { within }) => Request::SettingsRevert {
                within_s: within.0.as_secs(),
            },
            Verb::Update(UpdateVerb::Status) => Request::UpdateStatus,
            Verb::Update(UpdateVerb::Apply { source, tries }) => Request::UpdateApply {
                source: source.clone(),
                tries: *tries,
            },
            Verb::Update(UpdateVerb::Sync) => Request::UpdateSync,
            Verb::Update(UpdateVerb::Rollback) => Request::UpdateRollback,
            Verb::Reboot => Request::Reboot,
            Verb::Poweroff => Request::PowerOff,
            Verb::FactoryReset { .. } => Request::FactoryReset,
            Verb::Profile(ProfileVerb::Applied) => Request::ProfileApplied,
            Verb::Config(_)
            | Verb::Salvage { .. }
            | Verb::Log(_)
            | Verb::AdminCert { .. }
            | Verb::Selftest { .. }
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
