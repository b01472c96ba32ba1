//! The words of `ringpostctl`'s command line, and the request that each of them is.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use admin::addresses::Ask;
use admin::limits::{WITHIN_MAX, WITHIN_MIN};
use admin::request::{Request, TraceWanted};
use clap::Subcommand;
use plan::Size;

use crate::acl::AclVerb;
use crate::addresses::{AliasVerb, GroupVerb, RouteVerb};
use crate::app_password::{AppPasswordVerb, Asker};
use crate::audit::{AuditVerb, OauthVerb};
use crate::ban::BanVerb;
use crate::dkim::DkimVerb;
use crate::domain::DomainVerb;
use crate::fetch::FetchVerb;
use crate::file;
use crate::ldap::LdapVerb;
use crate::leg::LegVerb;
use crate::password::hashed;
use crate::quarantine::QuarantineVerb;
use crate::queue::QueueVerb;
use crate::report::ReportVerb;
use crate::sieve::SieveVerb;
use crate::spam::SpamVerb;
use crate::spool::SpoolVerb;
use crate::transfer::{ExportVerb, ImportVerb};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show what is running and whether mail is accepted
    Status,
    /// Show the plan: cores, limits, memory and devices
    Plan,
    /// Manage accounts
    #[command(subcommand)]
    Account(AccountVerb),
    /// Manage app passwords: passwords made up for one program or device, each for some protocols
    #[command(subcommand)]
    AppPassword(AppPasswordVerb),
    /// Manage people whose passwords another directory checks (LDAP, Active Directory)
    #[command(subcommand)]
    Ldap(LdapVerb),
    /// Read the audit of logins, and check that it was not changed
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Look at the providers whose tokens log in
    #[command(subcommand)]
    Oauth(OauthVerb),
    /// Manage the domains that this server accepts mail for
    #[command(subcommand)]
    Domain(DomainVerb),
    /// Manage aliases: addresses whose mail goes to other addresses
    #[command(subcommand)]
    Alias(AliasVerb),
    /// Manage groups: addresses whose mail goes to their members
    #[command(subcommand)]
    Group(GroupVerb),
    /// Manage routes: which server takes the mail for a domain or an address
    #[command(subcommand)]
    Route(RouteVerb),
    /// Manage who else may use the folders of an account
    #[command(subcommand)]
    Acl(AclVerb),
    /// Manage the addresses and networks that are not served
    #[command(subcommand)]
    Ban(BanVerb),
    /// Manage the Sieve scripts that filter mail: of accounts, of domains, and of the whole server
    #[command(subcommand)]
    Sieve(SieveVerb),
    /// Manage what people taught about junk
    #[command(subcommand)]
    Spam(SpamVerb),
    /// Figures that other domains reported, and reports to them
    #[command(subcommand)]
    Report(ReportVerb),
    /// Manage the messages that wait for other servers
    #[command(subcommand)]
    Queue(QueueVerb),
    /// Manage the mail that is kept apart until an administrator decides
    #[command(subcommand)]
    Quarantine(QuarantineVerb),
    /// Manage the spool: mail that waits for storage, and copies of what storage took over
    #[command(subcommand)]
    Spool(SpoolVerb),
    /// Manage the DKIM keys that sign outgoing mail. To rotate a key: make a new one, publish its DNS record, activate it, then retire the old one
    #[command(subcommand)]
    Dkim(DkimVerb),
    /// Show, scrub and repair the mirrored volume
    #[command(subcommand)]
    Volume(VolumeVerb),
    /// Manage the legs: the devices that each hold a full copy of the volume
    #[command(subcommand)]
    Leg(LegVerb),
    /// Check the volume and the mailboxes while mail is served; the exit status is 1 if anything is wrong
    Fsck {
        /// Check membership and known damage (`quick`), or also read every live byte and verify every message (`full`)
        #[arg(value_parser = ["quick", "full"], default_value = "quick")]
        how: String,
    },
    /// Write the mail of legs without a volume into Maildir; this needs no daemon and no index, and skips damage
    Salvage {
        /// Read these legs, all of one volume
        #[arg(required = true)]
        legs: Vec<PathBuf>,
        /// Write into this new directory
        #[arg(long)]
        to: PathBuf,
    },
    /// Bring mail of other servers and programs into an account; the exit status is 1 if anything is missing
    #[command(subcommand)]
    Import(ImportVerb),
    /// Fetch mail regularly from accounts elsewhere (POP3, IMAP) into accounts here
    #[command(subcommand)]
    Fetch(FetchVerb),
    /// Write the mail of an account elsewhere; the exit status is 1 if anything is missing
    #[command(subcommand)]
    Export(ExportVerb),
    /// Inspect the append log
    #[command(subcommand)]
    Log(LogVerb),
    /// Check a configuration file
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Send a message over SMTP and read it over IMAP; the exit status is 1 if that fails
    Selftest {
        /// Fail after this time
        #[arg(long, value_name = "SPAN", default_value = "60s")]
        within: plan::Span,
    },
    /// Show which hardware profile fits this machine, what it requires and what is in effect
    #[command(subcommand)]
    Profile(ProfileVerb),
    /// Show what happened to messages, by id, sender or recipient
    Trace {
        /// Show the message with this Message-ID, this id of a Received field or this number in the queue
        id: Option<String>,
        /// Show messages from this address, or from this @domain
        #[arg(long, value_name = "ADDRESS")]
        from: Option<String>,
        /// Show messages to this address, or to this @domain
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
        /// Look at this many days back
        #[arg(long, default_value_t = 14)]
        days: u64,
    },
    /// Show the last lines of the daemon's log
    Logs {
        /// Show at most this many lines
        #[arg(short = 'n', long, default_value_t = 100)]
        lines: usize,
    },
    /// Print all metrics in the OpenMetrics format
    Metrics,
    /// List every disk with its use, its health and its name for the settings
    Disks {
        #[command(subcommand)]
        verb: Option<DisksVerb>,
    },
    /// Show links, addresses, routes, name servers and time servers
    Network,
    /// Print one JSON document for a support case; it contains no mail and no secrets
    SupportBundle,
    /// Show the clock and whether a time server sets it
    Time,
    /// Manage the certificate of the TLS listeners
    #[command(subcommand)]
    Certificate(CertificateVerb),
    /// Read and change the settings of an appliance; a change that could lock administrators out is reverted unless it is confirmed
    #[command(subcommand)]
    Settings(SettingsVerb),
    /// Manage the image versions on the system disks of an appliance
    #[command(subcommand)]
    Update(UpdateVerb),
    /// Restart the appliance
    Reboot,
    /// Power the appliance off
    Poweroff,
    /// Erase the settings, certificates and volume membership of an appliance and restart it; mail stays on the legs
    FactoryReset {
        /// Confirm
        #[arg(long, required = true)]
        yes: bool,
    },
    /// Make the certificates for --host: a CA for `[admin] client_ca` and a client certificate
    AdminCert {
        /// Write the files into this directory
        directory: PathBuf,
        /// Use this name for the administrator's certificate
        #[arg(long, default_value = "client")]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DisksVerb {
    /// Manage the disks that the appliance boots from
    #[command(subcommand)]
    System(SystemVerb),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SystemVerb {
    /// Make a blank disk the second system disk, or the replacement of a lost one, and copy the system to it
    Add {
        /// Name the disk by its path below /dev/disk/by-id
        disk: String,
        /// Confirm
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertificateVerb {
    /// Show its names, its issuer and its validity
    Show,
    /// Install this certificate now and keep it after restarts
    Set {
        /// Read the certificate chain from this PEM file, the server's own certificate first
        #[arg(value_name = "CHAIN.pem")]
        chain: PathBuf,
        /// Read its private key from this PEM file
        #[arg(value_name = "KEY.pem")]
        private: PathBuf,
        /// Accept a certificate that has expired or is not valid yet
        #[arg(long)]
        yes: bool,
    },
    /// Read the certificate files that the settings name again
    Reload,
    /// Show every certificate in use, and when the authority of `[acme]` gives the next one
    Status,
    /// Order a new certificate from the authority of `[acme]` now
    Renew,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SettingsVerb {
    /// Print the settings in force; a secret is shown as `(kept)`, and applying `(kept)` keeps it
    Show,
    /// Report the mistakes in FILE, what it would change on that appliance and when; nothing is applied
    Check {
        /// Check this settings file of this machine
        file: PathBuf,
    },
    /// Apply FILE. Changes to network, listeners, TLS, administration, profile, limits and log are on probation:
    /// unless `settings confirm` follows over a new connection, the previous settings are restored
    Apply {
        /// Apply this settings file of this machine
        file: PathBuf,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
        /// Wait this long for the confirmation: 30s to 1h
        #[arg(long, value_name = "SPAN", default_value = "5min", value_parser = within)]
        within: plan::Span,
    },
    /// Keep the settings that are on probation; this connection proves that they work
    Confirm,
    /// Revert the settings on probation; if there are none, apply the previous settings again
    Revert {
        /// Wait this long for the confirmation, as in `settings apply`
        #[arg(long, value_name = "SPAN", default_value = "5min", value_parser = within)]
        within: plan::Span,
    },
    /// List the changes of settings: when, by which administrator, and what
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
    /// Show the installed versions, the running one and the one that boots next
    Status,
    /// Install a new version; the next boot tries it. SOURCE is a URL or a file (uploaded with --host), with
    /// SOURCE.minisig beside it
    Apply {
        /// Install the image from this file or URL
        source: String,
        /// Roll back for good after this many boots of the new version without success [default: 3]
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=9))]
        tries: Option<u32>,
    },
    /// Copy the system to every system disk now; this also happens after each start, update and disk insertion
    Sync,
    /// Drop the running version, or a newer one that was not booted yet; the next boot starts the previous one
    Rollback,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogVerb {
    /// Print every record on a leg; no daemon may be using it
    Dump {
        /// Read this leg: a device or a file
        leg: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountVerb {
    /// Create an account; the password is read from the terminal or from standard input
    Add {
        /// Create the account with this address
        address: String,
        /// Take the password from the command line, where other users of this machine may see it
        #[arg(long)]
        password: Option<String>,
        /// Limit what the account may store; 0 means unlimited
        #[arg(long, default_value = "0")]
        quota: Size,
    },
    /// List every account with its quota and use
    List,
    /// Show one account and its mailboxes
    Show {
        /// Show the account with this address
        address: String,
    },
    /// Remove an account and its mail
    Remove {
        /// Remove the account with this address
        address: String,
    },
    /// Set a new password; it is read from the terminal or from standard input
    Password {
        /// Change the account with this address
        address: String,
        /// Take the password from the command line, where other users of this machine may see it
        #[arg(long)]
        password: Option<String>,
    },
    /// Limit what an account may store; 0 means unlimited
    Quota {
        /// Change the account with this address
        address: String,
        /// Allow this much, such as 2GiB; 0 means unlimited
        quota: Size,
    },
    /// Let an account send more than the limits of the settings allow, from its next login on
    Allowance {
        /// Change the account with this address
        address: String,
        /// Allow so many times the limits; 1 is what every account may send
        times: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum VolumeVerb {
    /// List the volume with its state and its free space
    List,
    /// Show the volume: its log, its segments and what was written since the start
    Show,
    /// Read every live byte on every leg and repair what differs
    Scrub,
    /// Give up acknowledged mail that is damaged on every leg, so that the volume accepts mail again; without --yes, list what would be lost
    AcceptDamage {
        /// Confirm
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Report the mistakes in a configuration file, or print the plan that follows from it
    Check {
        /// Check this file
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileVerb {
    /// List every profile and whether it fits this machine
    List,
    /// Show what a profile requires on this machine
    Show {
        /// Show the profile with this name
        name: String,
    },
    /// Show which profile is chosen and why, why the others are not, and which of its settings are not in effect
    Explain,
    /// Compare every setting of the running daemon's profile with what is in effect (also over --host)
    Applied,
    /// Report the mistakes in a profile file
    Check {
        /// Check this file
        file: PathBuf,
    },
    /// Print the kernel command line that a profile requires on this machine
    Cmdline {
        /// Use the profile with this name
        name: String,
        /// Describe another machine: a file with its shape (/run/ringpost/boot.json of an appliance), or words such as
        /// "cpus=32 nodes=2 disk_node=1 nic_node=0"
        #[arg(long)]
        machine: Option<String>,
    },
}

impl Verb {
    /// `ask` sends what must be known before the request can be made.
    pub(crate) fn request(&self, ask: Asker<'_>) -> Result<Request, String> {
        Ok(match self {
            Verb::Status => Request::Status,
            Verb::Plan => Request::Plan,
            Verb::Account(verb) => verb.request(ask)?,
            Verb::Ldap(verb) => verb.request(),
            Verb::Fetch(verb) => verb.request()?,
            Verb::Audit(verb) => verb.request(),
            Verb::Oauth(verb) => verb.request(),
            Verb::Domain(verb) => verb.request(),
            Verb::Alias(verb) => Request::Addresses { ask: verb.ask() },
            Verb::Group(verb) => Request::Addresses { ask: verb.ask() },
            Verb::Route(verb) => Request::Addresses { ask: verb.ask() },
            Verb::Acl(verb) => verb.request(),
            Verb::Ban(verb) => verb.request(),
            Verb::Sieve(verb) => verb.request()?,
            Verb::Spam(verb) => verb.request(),
            Verb::Report(verb) => verb.request(),
            Verb::Queue(verb) => verb.request(),
            Verb::Quarantine(verb) => verb.request(),
            Verb::Dkim(verb) => verb.request(),
            Verb::Volume(VolumeVerb::List) => Request::VolumeList,
            Verb::Volume(VolumeVerb::Show) => Request::VolumeShow,
            Verb::Volume(VolumeVerb::Scrub) => Request::VolumeScrub,
            Verb::Volume(VolumeVerb::AcceptDamage { yes }) => {
                Request::VolumeAcceptDamage { yes: *yes }
            }
            Verb::Leg(verb) => verb.request()?,
            Verb::Spool(verb) => verb.request()?,
            Verb::Fsck { how } => Request::Fsck {
                full: how == "full",
            },
            Verb::Trace { id, from, to, days } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let now = now.map_or(0, |since| since.as_secs());
                let wanted = TraceWanted {
                    id: id.clone(),
                    from: from.clone(),
                    to: to.clone(),
                    since_unix_s: Some(now.saturating_sub(days.saturating_mul(86_400))),
                };
                Request::Trace { wanted }
            }
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
            Verb::Certificate(CertificateVerb::Status) => Request::CertificateStatus,
            Verb::Certificate(CertificateVerb::Renew) => Request::CertificateRenew,
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
            | Verb::Import(_)
            | Verb::Export(_)
            | Verb::AppPassword(_)
            | Verb::Profile(_) => {
                unreachable!("done without the daemon")
            }
        })
    }
}

impl AccountVerb {
    fn request(&self, ask: Asker<'_>) -> Result<Request, String> {
        Ok(match self {
            AccountVerb::Add {
                address,
                password,
                quota,
            } => {
                let (password_hash, keys) = hashed(password.as_deref(), address, ask)?;
                Request::AccountAdd {
                    address: address.clone(),
                    password_hash,
                    quota_bytes: quota.0,
                    keys,
                }
            }
            AccountVerb::List => Request::AccountList,
            AccountVerb::Show { address } => Request::AccountShow {
                address: address.clone(),
            },
            AccountVerb::Remove { address } => Request::AccountRemove {
                address: address.clone(),
            },
            AccountVerb::Password { address, password } => {
                let (password_hash, keys) = hashed(password.as_deref(), address, ask)?;
                Request::AccountPassword {
                    address: address.clone(),
                    password_hash,
                    keys,
                }
            }
            AccountVerb::Allowance { address, times } => Request::Addresses {
                ask: Ask::Allowance {
                    account: address.clone(),
                    times: *times,
                },
            },
            AccountVerb::Quota { address, quota } => Request::AccountQuota {
                address: address.clone(),
                quota_bytes: quota.0,
            },
        })
    }
}
