//! `ringpost.toml`: what the operator wants.

mod front;
mod trial;
mod zones;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::acme::Acme;
use crate::door::Door;
use crate::fetch::Fetch;
use crate::front::Front;
use crate::imap::Imap;
use crate::ldap::Ldap;
use crate::limits::*;
use crate::load::{self, Misfit, Source};
use crate::oauth::{self, Client, Oauth};
use crate::plan::parts::Zone;
use crate::pop3::Pop3;
use crate::quarantine::Quarantine;
use crate::reports::Reports;
use crate::san::{self, Target};
use crate::scan::Scan;
use crate::site::{Account, Domain, Network, Time};
use crate::source;
use crate::spam::Spam;
use crate::spool::Spool;
use crate::units::Size;
use crate::zones::{Peers, Recipients, Run, StorageNode};

/// The whole file, strict. Every key except `volume.legs` may be omitted, and that one on a node without storage.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default)]
    pub server: Server,
    /// Needed where the storage zone runs.
    #[serde(default)]
    pub volume: Volume,
    /// Where mail waits that the volume does not take at once.
    #[serde(default)]
    pub spool: Spool,
    #[serde(default)]
    pub zones: Run,
    #[serde(default)]
    pub peers: Peers,
    /// Storage nodes behind a node that passes people on.
    #[serde(default)]
    pub front: Front,
    #[serde(default)]
    pub listen: Listen,
    #[serde(default)]
    pub tls: Tls,
    /// A certificate that an authority gives by itself.
    #[serde(default)]
    pub acme: Acme,
    #[serde(default)]
    pub login: Login,
    /// Another directory that checks passwords.
    #[serde(default)]
    pub ldap: Ldap,
    /// Mail that is fetched from accounts elsewhere.
    #[serde(default)]
    pub fetch: Fetch,
    /// Providers whose tokens log in.
    #[serde(default)]
    pub oauth: Vec<Oauth>,
    #[serde(default)]
    pub client: Client,
    #[serde(default)]
    pub inbound: Inbound,
    #[serde(default)]
    pub dns: Dns,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub memory: Memory,
    #[serde(default)]
    pub log: Log,
    #[serde(default)]
    pub trace: Trace,
    #[serde(default)]
    pub outbound: Outbound,
    /// Addresses, bonds, VLANs: `ringpost-boot` writes them for systemd-networkd. Left out: DHCP on every card.
    pub network: Option<Network>,
    #[serde(default)]
    pub time: Time,
    /// Made when the volume is made; later ones by `ringpostctl domain add`.
    #[serde(default, rename = "domain")]
    pub domains: Vec<Domain>,
    /// Made when the volume is made; later ones by `ringpostctl account add`.
    #[serde(default, rename = "account")]
    pub accounts: Vec<Account>,
    #[serde(default)]
    pub admin: Admin,
    #[serde(default)]
    pub door: Door,
    #[serde(default)]
    pub scan: Scan,
    #[serde(default)]
    pub spam: Spam,
    #[serde(default)]
    pub quarantine: Quarantine,
    #[serde(default)]
    pub imap: Imap,
    #[serde(default)]
    pub pop3: Pop3,
    #[serde(default)]
    pub reports: Reports,
    /// Targets that hold legs: `ringpost-boot` and `ringpost-san` reach them.
    #[serde(default)]
    pub san: Vec<Spanned<Target>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// The host name in greetings and trace fields.
    pub name: String,
    /// Where the witness, the control socket and the certificate live.
    pub state: PathBuf,
    /// The name of a hardware profile, or the path of one. Left out: `generic`; on an appliance the best match (`ringpost-boot`).
    pub profile: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Block devices or preallocated files; each holds a full copy.
    #[serde(default = "no_legs")]
    pub legs: Spanned<Vec<PathBuf>>,
    /// Size of a file leg that is made at first start. A block device has its own.
    #[serde(default = "leg_size_default")]
    pub leg_size: Size,
    /// Make a new volume on blank legs at first start.
    #[serde(default)]
    pub create: bool,
    /// zstd level of bodies; 0 stores them as they are.
    #[serde(default = "compression_default")]
    pub compression: Spanned<i32>,
    /// The file has no such table: right on a node without storage only.
    #[serde(skip)]
    pub is_absent: bool,
}

/// Who listens where; an empty list switches a service off.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    pub smtp: Vec<SocketAddr>,
    pub lmtp: Vec<SocketAddr>,
    pub submission: Vec<SocketAddr>,
    pub submissions: Vec<SocketAddr>,
    pub imap: Vec<SocketAddr>,
    pub imaps: Vec<SocketAddr>,
    pub pop3: Vec<SocketAddr>,
    pub pop3s: Vec<SocketAddr>,
    pub managesieve: Vec<SocketAddr>,
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    /// HTTPS for strangers: the policies of our domains (MTA-STS), and what mail programs are set up with.
    pub policy: Vec<SocketAddr>,
    /// HTTP for an authority that asks whether a name is ours (ACME, `http-01`), and nothing else.
    pub challenge: Vec<SocketAddr>,
    /// For nodes of the inbound zone, with a certificate of `[peers]`: mail by LMTP, SMTP and QMQP, and the table of recipients.
    pub zone_lmtp: Vec<SocketAddr>,
    pub zone_smtp: Vec<SocketAddr>,
    pub zone_qmqp: Vec<SocketAddr>,
    pub recipients: Vec<SocketAddr>,
    /// For nodes that run the client zone alone: sessions of people.
    pub zone_client: Vec<SocketAddr>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM, the server's own certificate first. Without it a self-signed one is made and kept in the state directory.
    pub certificate: Option<PathBuf>,
    /// PEM; readable by us alone.
    pub key: Option<PathBuf>,
    /// Further ones, for clients that ask for a name in them (SNI).
    pub certificates: Vec<TlsPair>,
}

/// A certificate beside the default one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsPair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plaintext {
    /// Passwords only over TLS.
    #[default]
    Never,
    /// Also without TLS from this machine itself.
    Loopback,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Login {
    pub plaintext: Plaintext,
    /// SCRAM-SHA-256 is offered.
    pub scram: bool,
    /// How long lines of the audit are kept.
    pub audit_days: u32,
    /// All of them, in the state directory; the oldest make room.
    pub audit_size: Size,
}

/// Whether mail of strangers is authenticated (SPF, DKIM, DMARC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Authentication {
    /// What the author's domain asks for is done: mail is refused or marked.
    #[default]
    Enforce,
    /// The results are written into the message, and nothing else.
    Report,
    Off,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inbound {
    pub authentication: Authentication,
    pub policy: PolicyMode,
    /// Where mail goes on a node without storage.
    pub storage: Vec<StorageNode>,
    pub recipients: Recipients,
}

/// What our domains ask of servers that send to them (MTA-STS, RFC 8461 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    /// Our domains have no policy.
    #[default]
    Off,
    /// They send, and report.
    Testing,
    /// They send nothing in clear, or to a server without a valid certificate.
    Enforce,
    /// There was a policy; senders are to forget it.
    None,
}

/// Who is asked for names.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// At most three; empty: those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub message: Spanned<Size>,
    pub smtp_connections: Option<usize>,
    pub lmtp_connections: Option<usize>,
    pub submission_connections: Option<usize>,
    pub imap_connections: Option<usize>,
    pub pop3_connections: Option<usize>,
    pub managesieve_connections: Option<usize>,
    pub http_connections: Option<usize>,
    /// Of other zones' nodes, for each of the services `zone_…` and `recipients`.
    pub zone_connections: Option<usize>,
    /// Sessions that fronts pass on to this node.
    pub zone_client_connections: Option<usize>,
    /// Of each person who submits mail; 0: no limit.
    pub messages_per_hour: u32,
    pub messages_per_day: u32,
    pub recipients_per_hour: u32,
    pub recipients_per_day: u32,
}

/// Shares of the memory; each is computed when omitted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// Messages being received, all sessions together.
    pub receive: Option<Size>,
    /// Messages that are looked into: SEARCH, parts that are decoded.
    pub read: Option<Size>,
    /// Pieces of messages that wait for clients to take them.
    pub send: Option<Size>,
    pub mailbox_cache: Option<Size>,
    pub projection_cache: Option<Size>,
}

/// Administration from other machines, on the HTTPS port.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// A client with a certificate that this authority signed may administer: PEM itself, or the path of a PEM file.
    /// Without it only the control socket is open. `ringpostctl admin-cert` makes one.
    pub client_ca: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Human,
    Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, or tracing's directives (`info,smtp=debug`).
    pub level: String,
}

/// How long traces of messages are kept for `ringpostctl trace`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trace {
    /// 0: they are not kept.
    pub days: u32,
    /// All of them, in the state directory; the oldest make room.
    pub size: Size,
}

/// How mail leaves.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// Name servers that validate, on this machine or over a way that is as safe: what they say of certificates (DANE) is trusted. Empty: no
    /// domain's certificates are looked up.
    pub validators: Vec<SocketAddr>,
    /// Policies of domains about their servers (MTA-STS) are looked up and met.
    pub policies: bool,
    /// PEM: authorities that count beside those of the web, for servers under a policy and for reports that are posted.
    pub authorities: Option<PathBuf>,
    /// Addresses and names that mail leaves from. Empty: the system chooses the address, and the name is `server.name`.
    pub sources: Vec<source::Source>,
}

impl Default for Volume {
    fn default() -> Volume {
        Volume {
            legs: no_legs(),
            leg_size: leg_size_default(),
            create: false,
            compression: compression_default(),
            is_absent: true,
        }
    }
}

impl Default for Outbound {
    fn default() -> Outbound {
        Outbound {
            validators: Vec::new(),
            policies: true,
            authorities: None,
            sources: Vec::new(),
        }
    }
}

impl Default for Server {
    fn default() -> Server {
        Server {
            name: "localhost".into(),
            state: "/var/lib/ringpost".into(),
            profile: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message: Spanned::new(0..0, Size(MESSAGE_BYTES_DEFAULT)),
            smtp_connections: None,
            lmtp_connections: None,
            submission_connections: None,
            imap_connections: None,
            pop3_connections: None,
            managesieve_connections: None,
            http_connections: None,
            zone_connections: None,
            zone_client_connections: None,
            messages_per_hour: 300,
            messages_per_day: 2_000,
            recipients_per_hour: 1_000,
            recipients_per_day: 5_000,
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log {
            format: LogFormat::Auto,
            level: "info".into(),
        }
    }
}

impl Default for Login {
    fn default() -> Login {
        Login {
            plaintext: Plaintext::default(),
            scram: true,
            audit_days: 400,
            audit_size: Size(256 << 20),
        }
    }
}

impl Default for Trace {
    fn default() -> Trace {
        Trace {
            days: 14,
            size: Size(256 << 20),
        }
    }
}

fn compression_default() -> Spanned<i32> {
    Spanned::new(0..0, COMPRESSION_DEFAULT)
}

fn no_legs() -> Spanned<Vec<PathBuf>> {
    Spanned::new(0..0, Vec::new())
}

fn leg_size_default() -> Size {
    Size(LEG_BYTES_DEFAULT)
}

impl Settings {
    pub fn load(path: &Path) -> Result<Settings, Misfit> {
        let text = load::read_file(path)?;
        Settings::parse(&path.display().to_string(), &text)
    }

    /// The pinned profile, else `generic`.
    pub fn profile(&self) -> &str {
        self.server.profile.as_deref().unwrap_or("generic")
    }

    /// Checks what depends on the file alone; `Plan::make` checks what needs the machine.
    pub fn parse(name: &str, text: &str) -> Result<Settings, Misfit> {
        let settings = Settings::parse_before_legs(name, text)?;
        if settings.runs(Zone::Storage) {
            settings.check_legs(&Source { name, text })?;
        }
        Ok(settings)
    }

    /// As `parse`, but the legs may be left for the hardware profile to name.
    pub fn parse_before_legs(name: &str, text: &str) -> Result<Settings, Misfit> {
        let source = Source { name, text };
        let settings: Settings = load::parse(&source)?;
        if !settings.volume.legs.get_ref().is_empty() || settings.volume.legs.span() != (0..0) {
            settings.check_legs(&source)?;
        }
        settings.check(&source)?;
        Ok(settings)
    }

    /// Asks `servers` in place of those that the settings name.
    pub fn ask(&mut self, servers: &[SocketAddr]) -> Result<(), Misfit> {
        if servers.len() > NAME_SERVERS_MAX {
            return Err(Misfit::new(format!(
                "--name-server: give at most {NAME_SERVERS_MAX}"
            )));
        }
        self.dns.servers = servers.to_vec();
        Ok(())
    }

    fn check_legs(&self, source: &Source<'_>) -> Result<(), Misfit> {
        let legs = self.volume.legs.get_ref();
        let at = self.volume.legs.span().start;
        if !(LEGS_MIN..=LEGS_MAX).contains(&legs.len()) {
            return Err(source.misfit(
                at,
                format!("a volume has {LEGS_MIN} to {LEGS_MAX} legs: name two devices"),
            ));
        }
        for (index, leg) in legs.iter().enumerate() {
            if legs[..index].contains(leg) {
                return Err(source.misfit(
                    at,
                    format!(
                        "{} is named twice: a mirror needs two devices; name another",
                        leg.display()
                    ),
                ));
            }
        }
        Ok(())
    }

    fn check(&self, source: &Source<'_>) -> Result<(), Misfit> {
        let compression = &self.volume.compression;
        if !(0..=9).contains(compression.get_ref()) {
            return Err(source.misfit(
                compression.span().start,
                "volume.compression: write 0 (off) to 9",
            ));
        }
        let message = &self.limits.message;
        if !(64 << 10..=1 << 30).contains(&message.get_ref().0) {
            return Err(source.misfit(message.span().start, "limits.message: write 64KiB to 1GiB"));
        }
        if self.dns.servers.len() > NAME_SERVERS_MAX {
            return Err(Misfit::new(format!(
                "{}: dns.servers: write at most {NAME_SERVERS_MAX}",
                source.name
            )));
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err(Misfit::new(format!(
                "{}: [tls] needs `certificate` and `key` together: add the missing one",
                source.name
            )));
        }
        let told = |sentence: String| Misfit::new(format!("{}: {sentence}", source.name));
        if self.tls.certificates.len() > CERTIFICATES_MAX {
            return Err(told(format!(
                "[[tls.certificates]]: write at most {CERTIFICATES_MAX}"
            )));
        }
        crate::site::check_host("server.name", &self.server.name).map_err(told)?;
        if let Some(network) = &self.network {
            network.check().map_err(told)?;
        }
        self.time.check().map_err(told)?;
        let (challenge, policy) = (&self.listen.challenge, &self.listen.policy);
        self.acme
            .check(&self.server.name, !challenge.is_empty(), !policy.is_empty())
            .map_err(told)?;
        oauth::check(&self.oauth).map_err(told)?;
        self.door.check().map_err(told)?;
        self.scan.check().map_err(told)?;
        self.spam.check().map_err(told)?;
        source::check(&self.outbound.sources).map_err(told)?;
        self.quarantine.check(message.get_ref().0).map_err(told)?;
        self.check_zones().map_err(told)?;
        self.reports.check().map_err(told)?;
        self.imap.check().map_err(told)?;
        self.pop3.check().map_err(told)?;
        self.ldap.check(self.runs(Zone::Storage)).map_err(told)?;
        self.fetch.check(self.runs(Zone::Storage)).map_err(told)?;
        let volume = self.volume.legs.get_ref();
        self.spool.check(volume).map_err(told)?;
        let legs = self.volume.legs.get_ref().iter();
        let legs: Vec<String> = legs.map(|leg| leg.display().to_string()).collect();
        san::check(&self.san, &legs, source)?;
        crate::site::check_people(&self.domains, &self.accounts).map_err(told)
    }
}

#[cfg(test)]
mod tests;
