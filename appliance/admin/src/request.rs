//! What is asked of the daemon: one JSON document per line, one request per connection.

use serde::{Deserialize, Serialize};

use crate::dkim::DkimAlgorithm;

/// Which messages a trace is wanted of; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceWanted {
    /// A Message-ID, the id of a Received field of ours, or a number in the queue.
    pub id: Option<String>,
    /// An address, or `@` and a domain.
    pub from: Option<String>,
    pub to: Option<String>,
    /// Files that were last written before are not read.
    pub since_unix_s: Option<u64>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Status,
    Plan,
    AccountAdd {
        address: String,
        password_hash: String,
        quota_bytes: u64,
        /// SCRAM keys of the same password. Without them the first login with the password makes them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys: Option<crate::logins::Keys>,
    },
    AccountList,
    AccountShow {
        address: String,
    },
    AccountRemove {
        address: String,
    },
    AccountPassword {
        address: String,
        password_hash: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys: Option<crate::logins::Keys>,
    },
    /// Another directory that checks passwords.
    Ldap {
        ask: crate::ldap::Ask,
    },
    /// Accounts elsewhere from which mail is fetched.
    Fetch {
        ask: crate::fetch::Ask,
    },
    /// Keys of logins, app passwords, and the audit.
    Logins {
        ask: crate::logins::Ask,
    },
    AccountQuota {
        address: String,
        quota_bytes: u64,
    },
    DomainAdd {
        domain: String,
    },
    DomainList,
    DomainRemove {
        domain: String,
    },
    /// Aliases, groups, routes, and who may send under them.
    Addresses {
        ask: crate::addresses::Ask,
    },
    /// Access lists of folders.
    Acl {
        ask: crate::acl::Ask,
    },
    /// Scripts that filter mail.
    Scripts {
        ask: crate::scripts::Ask,
    },
    /// Addresses and networks that are not served.
    BanList,
    BanAdd {
        network: String,
        seconds: u64,
    },
    BanLift {
        network: String,
    },
    /// What an account (`alice@example.org`) or a domain was taught about junk.
    SpamShow {
        of: String,
    },
    SpamForget {
        of: String,
    },
    /// What others reported of domains of ours, and what is counted for others.
    ReportList,
    ReportShow {
        domain: String,
    },
    /// Makes reports that wait, of one day (`2026-11-30`) or domain, or all.
    ReportSend {
        #[serde(default)]
        day: Option<String>,
        #[serde(default)]
        domain: Option<String>,
    },
    /// Messages that must leave, by number, after `after`.
    QueueList {
        #[serde(default)]
        after: u64,
        #[serde(default)]
        count: Option<usize>,
    },
    QueueShow {
        id: u64,
    },
    /// Tries it now, whatever is known of its servers.
    QueueRetry {
        id: u64,
    },
    /// It waits until it is released.
    QueueHold {
        id: u64,
    },
    QueueRelease {
        id: u64,
    },
    /// Takes it out for ever; its sender hears nothing.
    QueueDrop {
        id: u64,
    },
    /// Which way a message (its number in the queue), a domain or an address takes, and why.
    QueueRoute {
        of: String,
    },
    /// Sets a route for a domain, and tries what waits for it there now.
    QueueReroute {
        domain: String,
        /// `HOST:PORT`.
        host: String,
        #[serde(default)]
        needs_tls: bool,
    },
    /// Messages in quarantine, by number, after `after`.
    QuarantineList {
        #[serde(default)]
        after: u32,
        #[serde(default)]
        count: Option<usize>,
    },
    QuarantineShow {
        number: u32,
    },
    /// Delivers it to its recipients, once.
    QuarantineRelease {
        number: u32,
    },
    /// Takes it out for ever.
    QuarantineDrop {
        number: u32,
    },
    /// Every DNS record to publish for a domain.
    DomainDns {
        domain: String,
    },
    /// Looks these records up.
    DomainCheck {
        domain: String,
    },
    /// Makes a key in the daemon; its private half does not leave it.
    DkimMake {
        domain: String,
        /// `None`: from the algorithm and the date.
        #[serde(default)]
        selector: Option<String>,
        algorithm: DkimAlgorithm,
    },
    DkimList {
        domain: String,
    },
    DkimShow {
        domain: String,
        selector: String,
    },
    DkimActivate {
        domain: String,
        selector: String,
    },
    DkimRetire {
        domain: String,
        selector: String,
    },
    DkimRemove {
        domain: String,
        selector: String,
    },
    VolumeList,
    VolumeShow,
    VolumeScrub,
    /// Gives up acknowledged batches that no leg has; without `yes` it only says which.
    VolumeAcceptDamage {
        yes: bool,
    },
    LegList,
    LegAttach {
        path: String,
        fresh: bool,
    },
    LegDetach {
        leg: String,
    },
    LegFail {
        leg: String,
    },
    LegRetire {
        leg: String,
    },
    /// Mail that waits for storage, copies of what storage has, and the spool's own legs.
    Spool {
        ask: crate::spool::Ask,
    },
    Fsck {
        full: bool,
    },
    /// The last lines of the daemon's own log.
    Logs {
        lines: usize,
    },
    /// Traces of messages.
    Trace {
        wanted: TraceWanted,
    },
    /// Everything that a person who helps from afar wants to see; no secrets, no mail.
    SupportBundle,
    /// The daemon's counters, as `/metrics` shows them.
    Metrics,
    /// Every disk of the machine and how it is, and the paths of the SAN.
    Disks,
    /// Links, addresses, routes, name servers.
    Network,
    /// Whether a time server sets the clock.
    Time,
    CertificateShow,
    /// PEM of both; the key travels over the control socket or TLS only.
    CertificateSet {
        chain: String,
        key: String,
        /// Also one that clients refuse by its dates.
        #[serde(default)]
        yes: bool,
    },
    CertificateReload,
    /// All that listeners show, and how the certificate of an authority is (ACME).
    CertificateStatus,
    /// Orders a new one from the authority now.
    CertificateRenew,
    /// The settings in force, without secrets.
    SettingsShow,
    /// Who changed what when.
    SettingsHistory,
    /// What these would change, and what is wrong with them.
    SettingsCheck {
        /// What the file is called, for sentences.
        name: String,
        text: String,
    },
    SettingsApply {
        name: String,
        text: String,
        /// How long a change on probation is waited for.
        within_s: u64,
    },
    /// Ends a probation: the settings stay.
    SettingsConfirm,
    /// Ends a probation: the settings before come back. Without one: the previous settings are applied again.
    SettingsRevert {
        within_s: u64,
    },
    UpdateStatus,
    /// A path on the appliance or a URL, with its signature beside it.
    UpdateApply {
        source: String,
        #[serde(default)]
        tries: Option<u32>,
    },
    UpdateRollback,
    /// Every system disk is made to hold the same, now.
    UpdateSync,
    /// A blank disk becomes a system disk.
    SystemDiskAdd {
        path: String,
    },
    Reboot,
    PowerOff,
    FactoryReset,
    /// Everything that the hardware profile promises, beside what is so.
    ProfileApplied,
}
