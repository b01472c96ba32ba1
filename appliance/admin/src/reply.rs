//! What the daemon answers: one JSON document per line.

use hardware::health::DiskLine;
use hardware::incident::Incident;
use hardware::san::PathLine;
use serde::{Deserialize, Serialize};

/// The profile that the daemon runs with, read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    pub profile: String,
    /// Why it was chosen at boot; `None`: not an appliance image.
    pub why: Option<String>,
    pub pinned: bool,
    pub differs: usize,
    pub not_possible: usize,
    pub rows: Vec<hardware::Row>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateLine {
    pub subject: String,
    pub issuer: String,
    pub names: Vec<String>,
    pub not_before: String,
    pub not_after: String,
    /// Whole days left; negative once it is over.
    pub days_left: i64,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Done(serde_json::Value),
    Refused(String),
}

/// What an answer of the daemon says. `Err`: why not, or that it is not an answer.
pub(crate) fn read(text: &str) -> Result<serde_json::Value, String> {
    match serde_json::from_str(text) {
        Ok(Reply::Done(value)) => Ok(value),
        Ok(Reply::Refused(why)) => Err(why),
        Err(error) => Err(format!("ringpostd's answer cannot be read: {error}")),
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub server_name: String,
    pub serving: bool,
    /// Why no mail is taken in, when it is not.
    pub refuses: Option<String>,
    pub uptime_s: u64,
    pub services: Vec<ServiceLine>,
    pub legs: Vec<LegLine>,
    #[serde(default)]
    pub scrub: Option<ScrubLine>,
    pub messages_accepted: u64,
    pub bytes_accepted: u64,
    pub receive_memory_bytes: u64,
    /// Work waiting in the lane of the volume's owner, and begun there.
    pub owner_waiting: u64,
    pub owner_under_way: u64,
    /// Where mail waits that storage does not take at once; `None` of an older daemon.
    #[serde(default)]
    pub spool: Option<SpoolDetail>,
    /// What the operator should look at, in sentences: disks that report a failure, bonds that lost a member.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// Where mail leaves from (`outbound.sources`).
    #[serde(default)]
    pub sources: Vec<SourceLine>,
    /// Settings that wait for a confirmation.
    #[serde(default)]
    pub probation: Option<crate::settings::Told>,
    /// What went wrong with the box and the engine, the newest last; at most `limits::INCIDENTS_SHOWN`.
    #[serde(default)]
    pub incidents: Vec<Incident>,
    /// On a node without storage: where its mail goes.
    #[serde(default)]
    pub storage_nodes: Vec<StorageNodeLine>,
    /// On such a node: the table of recipients.
    #[serde(default)]
    pub recipients: Option<RecipientsLine>,
    /// On a front: the storage nodes that people are passed on to.
    #[serde(default)]
    pub front: Vec<crate::front::FrontNodeLine>,
}

/// A storage node, as a node without storage sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StorageNodeLine {
    pub address: String,
    pub protocol: String,
    pub name: String,
    pub up: bool,
    /// In a row.
    pub failures: u32,
    /// Of the last failure; empty while it works.
    pub why: String,
    pub messages_taken: u64,
    pub messages_failed: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecipientsLine {
    pub version: String,
    pub addresses: u64,
    pub domains: u64,
    /// Since a storage node confirmed it; `None`: none did since the start.
    pub age_s: Option<u64>,
    /// Unknown addresses are refused; else they are deferred.
    pub fresh: bool,
    /// Why it cannot be fetched; empty while it can.
    pub trouble: String,
    /// Deliveries whose answer was lost.
    pub in_doubt: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceLine {
    pub service: String,
    pub addresses: Vec<String>,
    pub open: u64,
    pub accepted: u64,
    pub refused: u64,
}

/// One source of mail on its way out, since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceLine {
    pub name: String,
    pub conversations: u64,
    /// Destinations that refused it.
    pub refused: u64,
    /// Its address could not be used.
    pub unavailable: u64,
    /// Destinations for which it is left out now.
    pub resting: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LegLine {
    pub index: u8,
    pub id: String,
    pub state: String,
    pub path: Option<String>,
    /// Bytes done and bytes to do, while it is resynced or rebuilt.
    pub progress: Option<(u64, u64)>,
    pub repairs: u64,
    pub read_faults: u64,
    pub write_faults: u64,
    pub stale_since: Option<u64>,
    pub why: Option<String>,
}

/// When everything was last read, and how far the present scrub is. Dates in Unix seconds, 0: never, none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScrubLine {
    pub ended_unix_s: i64,
    pub began_unix_s: i64,
    pub done_bytes: u64,
    pub all_bytes: u64,
}

/// What `volume accept-damage` gives up, or would.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Damage {
    pub accepted: bool,
    /// LSNs; at most `limits::FSCK_FINDINGS_MAX`.
    pub batches: Vec<u64>,
    pub batch_count: usize,
    /// What the damaged batches still show of themselves.
    pub messages: Vec<String>,
    /// The end of the log cannot be read: what is stored there is unknown.
    pub unknown_end: bool,
}

/// Every disk of the machine, and the ways to those that stand elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disks {
    pub disks: Vec<DiskLine>,
    pub san: Vec<PathLine>,
}

/// How `LegLine::why` of a leg ends that an operator took out: only an operator puts it back.
pub const BY_THE_OPERATOR: &str = "by the operator";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountLine {
    pub address: String,
    pub quota_bytes: u64,
    pub used_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountDetail {
    pub account: AccountLine,
    pub mailboxes: Vec<MailboxLine>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailboxLine {
    pub name: String,
    pub messages: u32,
    pub unseen: u32,
    pub bytes: u64,
}

/// An address or a network that is not served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BanLine {
    pub network: String,
    /// From now on.
    pub left_s: u64,
    /// How often in a row its failures banned it; 0: an administrator did.
    pub times: u32,
}

/// Traces of some messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracePage {
    /// The events of each message, in order; the oldest message first.
    pub messages: Vec<Vec<TraceEvent>>,
    /// There is more than one answer holds.
    pub more: bool,
}

/// Something that happened to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEvent {
    /// RFC 3339, in UTC.
    pub at: String,
    pub what: String,
    #[serde(flatten)]
    pub fields: serde_json::Map<String, serde_json::Value>,
}

/// What an account or a domain was taught about junk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LessonsDetail {
    /// Messages; old ones fade.
    pub junk: u32,
    pub good: u32,
    /// Different words that were in them.
    pub words: usize,
    /// There are messages enough of each kind for the words to count.
    pub suffice: bool,
}

/// What is known of one domain by reports of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportSummary {
    pub domain: String,
    /// Others reported it to us; otherwise it is what we report to the domain.
    pub received: bool,
    /// `dmarc` or `tls`.
    pub kind: String,
    /// Days with figures, and the last of them.
    pub days: u64,
    pub last: String,
    /// Reports of others that the figures come from.
    pub reports: u64,
    /// Messages that were authenticated and aligned, or conversations under TLS as it should be; and the others.
    pub passed: u64,
    pub failed: u64,
}

/// The figures of a domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportDetail {
    pub domain: String,
    pub days: Vec<ReportDay>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportDay {
    /// `2026-11-30`, in UTC.
    pub day: String,
    pub kind: String,
    pub received: bool,
    /// The domain has its report of it.
    pub sent: bool,
    /// Who reported, and what the report is called.
    pub reports: Vec<String>,
    pub passed: u64,
    pub failed: u64,
    /// Counted without details.
    pub other: u64,
    pub lines: Vec<ReportLine>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportLine {
    pub count: u64,
    pub passed: bool,
    /// Of DMARC: address, disposition, DKIM and SPF aligned or not, domain in From and more. Of TLS: policy, result, host and more.
    pub fields: Vec<String>,
}

/// What came of a report that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportSent {
    pub domain: String,
    pub kind: String,
    pub day: String,
    /// Empty: nowhere.
    pub to: Vec<String>,
    pub why: String,
}

/// A page of the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuePage {
    /// Messages in the queue.
    pub count: usize,
    pub messages: Vec<QueueLine>,
    /// There are more behind the last one.
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueLine {
    pub id: u64,
    /// `waiting`, `sending` or `held`.
    pub state: String,
    /// Empty: no report is sent.
    pub from: String,
    pub bytes: u64,
    pub arrived_unix_s: u64,
    pub expires_unix_s: u64,
    /// `None`: nothing of it is tried, it is held.
    pub next_try_unix_s: Option<u64>,
    /// Recipients that wait, and all.
    pub waiting: usize,
    pub recipients: usize,
    /// The first that waits, and what its last try was answered.
    pub to: String,
    pub reply: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueDetail {
    pub message: QueueLine,
    pub warned: bool,
    pub envelope_id: String,
    pub recipients: Vec<QueueRecipient>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueRecipient {
    pub to: String,
    /// `waiting`, `delivered` or `failed`.
    pub state: String,
    pub tries: u32,
    pub next_try_unix_s: Option<u64>,
    /// 0: it was not tried yet.
    pub tried_unix_s: u64,
    /// The server that answered; empty: none did.
    pub host: String,
    pub reply: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeLine {
    pub id: String,
    pub state: String,
    pub legs: usize,
    pub legs_in_sync: usize,
    pub segments: usize,
    pub segments_free: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeDetail {
    pub volume: VolumeLine,
    pub legs: Vec<LegLine>,
    pub segments_open: usize,
    pub segments_sealed: usize,
    pub segments_arena: usize,
    pub used_bytes: u64,
    pub checkpoint_lsn: u64,
    pub since_checkpoint_bytes: u64,
    pub batches: u64,
    pub device_writes: u64,
    pub bytes_written: u64,
    pub damaged_batches: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scrubbed {
    pub bytes_read: u64,
    pub repaired: u64,
    pub damaged_batches: usize,
}

/// `fsck`'s verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub full: bool,
    /// No mail is lost and every leg is in sync.
    pub clean: bool,
    pub legs: Vec<LegVerdict>,
    pub scrub: Option<Scrubbed>,
    pub accounts: u64,
    pub mailboxes: u64,
    pub messages: u64,
    pub bodies_proved: u64,
    /// At most `limits::FSCK_FINDINGS_MAX` sentences.
    pub findings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LegVerdict {
    pub leg: LegLine,
    pub verdict: String,
}

/// Outcome of `spool fsck`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpoolVerdict {
    pub full: bool,
    /// Nothing is lost and every leg is in sync.
    pub clean: bool,
    pub legs: Vec<LegVerdict>,
    pub scrub: Option<Scrubbed>,
    pub waiting: u64,
    pub kept: u64,
    pub messages_proved: u64,
    /// At most `limits::FSCK_FINDINGS_MAX` sentences.
    pub findings: Vec<String>,
}

/// How the spool is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SpoolDetail {
    /// `empty`, `holding`, `full`, `away`, `unopened` (it is planned, and could not be opened) or `none`.
    pub state: String,
    /// Why it is away or unopened, or there is none.
    pub why: Option<String>,
    /// Messages that wait, and their bytes; the most that may.
    pub waiting: usize,
    pub waiting_bytes: u64,
    pub waiting_max: usize,
    pub waiting_bytes_max: u64,
    pub oldest_unix_s: Option<u64>,
    /// Of them, messages that cannot be handed over.
    pub stuck: usize,
    /// Copies of messages that storage has.
    pub kept: usize,
    pub kept_bytes: u64,
    pub keep_s: u64,
    /// Since the start.
    pub taken: u64,
    pub handed: u64,
    /// `None`: there is no spool, or its thread does not answer.
    pub volume: Option<VolumeLine>,
    pub legs: Vec<LegLine>,
    pub scrub: Option<ScrubLine>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpoolPage {
    /// Messages that wait, and copies.
    pub waiting: usize,
    pub kept: usize,
    pub messages: Vec<SpoolLine>,
    /// There are more.
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpoolLine {
    pub id: u64,
    /// `waiting` or `kept`.
    pub state: String,
    pub from: String,
    /// The first recipient.
    pub to: String,
    pub recipients: usize,
    pub bytes: u64,
    pub arrived_unix_s: u64,
    /// When storage took it over last; `None`: it has not.
    pub handed_unix_s: Option<u64>,
    /// How often storage took it over.
    pub times: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redelivery {
    /// Copies that wait for storage again.
    pub messages: usize,
}
