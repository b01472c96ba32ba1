//! What a client can ask, as parsed. Text is what the client meant: literals and quotes are gone, mailbox names are UTF-8.

use mail::{Flags, InternalDate, ModSeq};

use crate::acl::Acl;
use crate::fetch::FetchItem;
use crate::metadata::Metadata;
use crate::notify::Notify;
use crate::search::SearchKey;
use crate::sequence::SequenceSet;
use crate::sort::SortCriterion;
use crate::thread::ThreadAlgorithm;

/// One command as the client sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// At most `TAG_BYTES_MAX` bytes; it is repeated in the tagged reply.
    pub tag: Box<str>,
    pub body: Body,
}

/// RFC 9051 §6 and RFC 3501 §6; the extensions name their RFC.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// RFC 9051 §6.1.1. The session answers it.
    Capability,
    /// RFC 9051 §6.1.2: reports what changed.
    Noop,
    /// RFC 9051 §6.1.3: BYE, OK, and the end of the connection.
    Logout,
    /// RFC 9051 §6.2.1. The session allows it before login only.
    StartTls,
    /// RFC 9051 §6.2.2. `initial` is decoded from base64 (RFC 4959); `None` where the client waits for `+`.
    Authenticate {
        mechanism: Box<str>,
        initial: Option<Vec<u8>>,
    },
    /// RFC 9051 §6.2.3. Refused outside TLS unless the policy allows it.
    Login {
        user: Vec<u8>,
        password: Vec<u8>,
    },
    /// RFC 5161: capabilities in upper case. Unknown ones are ignored, not refused.
    Enable(Vec<Box<str>>),
    /// RFC 2971; an empty list is NIL.
    Id(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// RFC 2342.
    Namespace,
    /// RFC 4314.
    Acl(Acl),
    /// RFC 5464.
    Metadata(Metadata),
    /// RFC 5465.
    Notify(Notify),
    /// RFC 4978. The session asks its caller for memory first.
    Compress,
    /// RFC 9208 §4.2; the name of a quota root.
    GetQuota(Vec<u8>),
    /// RFC 9208 §4.3; a mailbox, which need not exist.
    GetQuotaRoot(Box<str>),
    /// RFC 9208 §4.1. The session refuses it: administrators set limits.
    SetQuota {
        root: Vec<u8>,
        limits: Vec<(Box<str>, u64)>,
    },
    /// RFC 8437: back to the state before the login.
    Unauthenticate,
    /// RFC 9051 §6.3.2; `read_only` is EXAMINE (§6.3.3).
    /// `condstore` and `resync` are RFC 7162 §3.1.8 and §3.2.5.
    Select {
        mailbox: Box<str>,
        read_only: bool,
        condstore: bool,
        resync: Option<Box<Resync>>,
    },
    /// RFC 9051 §6.3.4; the special use is RFC 6154 §3.
    Create {
        mailbox: Box<str>,
        special_use: Option<SpecialUse>,
    },
    /// RFC 9051 §6.3.5. The name stays as a parent if it has children.
    Delete(Box<str>),
    /// RFC 9051 §6.3.6; the children move along.
    Rename {
        from: Box<str>,
        to: Box<str>,
    },
    /// RFC 9051 §6.3.7.
    Subscribe(Box<str>),
    /// RFC 9051 §6.3.8.
    Unsubscribe(Box<str>),
    /// RFC 9051 §6.3.9.
    List(ListRequest),
    /// RFC 3501 §6.3.9; IMAP4rev1 only.
    Lsub {
        reference: Box<str>,
        pattern: Box<str>,
    },
    /// RFC 9051 §6.3.11. It does not open the mailbox.
    Status {
        mailbox: Box<str>,
        items: Vec<StatusItem>,
    },
    /// RFC 9051 §6.3.12. `date` becomes the internal date; `None` is the time of arrival.
    Append {
        mailbox: Box<str>,
        flags: Flags,
        date: Option<InternalDate>,
        message: Message,
    },
    /// RFC 3502: several messages, all of them or none. A single one is `Append`.
    AppendMany {
        mailbox: Box<str>,
        letters: Vec<Letter>,
    },
    /// RFC 8508: a message in the place of another one, which is expunged in the same step.
    Replace {
        uid: bool,
        /// One message.
        set: SequenceSet,
        mailbox: Box<str>,
        letter: Letter,
    },
    /// RFC 2177. The session waits for DONE.
    Idle,
    /// RFC 3501 §6.4.1; the same as NOOP here, because every change is durable at once.
    Check,
    /// RFC 9051 §6.4.1: removes \Deleted messages without reporting them.
    Close,
    /// RFC 9051 §6.4.2: closes the mailbox and removes nothing.
    Unselect,
    /// RFC 4315 when `uids` are given.
    Expunge {
        uids: Option<SequenceSet>,
    },
    Search(SearchRequest),
    /// RFC 5256 §3.
    Sort(SortRequest),
    /// RFC 5256 §3.
    Thread(ThreadRequest),
    /// RFC 10022: ranges of UIDs that hold `size` messages each, the newest first. `batches`: only these, counted from 1.
    UidBatches {
        size: u32,
        batches: Option<(u32, u32)>,
    },
    /// RFC 9051 §6.4.5. `uid`: the set has UIDs, and the replies carry the UID.
    Fetch {
        uid: bool,
        set: SequenceSet,
        items: Vec<FetchItem>,
        since: Option<ChangedSince>,
        /// RFC 9394 §3.3; in UID FETCH only.
        slice: Option<Slice>,
    },
    /// RFC 9051 §6.4.6. `silent` omits the FETCH replies for the client's own change. `unchanged_since` is RFC 7162 §3.1.3.
    Store {
        uid: bool,
        set: SequenceSet,
        change: StoreChange,
        silent: bool,
        flags: Flags,
        unchanged_since: Option<ModSeq>,
    },
    /// RFC 9051 §6.4.7.
    Copy {
        uid: bool,
        set: SequenceSet,
        mailbox: Box<str>,
    },
    /// RFC 6851.
    Move {
        uid: bool,
        set: SequenceSet,
        mailbox: Box<str>,
    },
}

/// What a client knows of a mailbox that it opens again (RFC 7162 §3.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resync {
    /// With another UIDVALIDITY nothing of the rest is of use.
    pub uid_validity: u32,
    /// Not 0.
    pub modseq: ModSeq,
    /// The UIDs that it knows; `None`: all there ever were. No `*` and no `$`.
    pub known: Option<SequenceSet>,
    /// Message numbers and the UIDs that belong to them, as many of either, ascending (§3.2.5.2).
    pub matches: Option<(SequenceSet, SequenceSet)>,
}

/// FETCH modifiers (RFC 7162 §3.1.4.1 and §3.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedSince {
    /// Only messages that changed after it.
    pub modseq: ModSeq,
    /// And which ones are gone; in UID FETCH only.
    pub vanished: bool,
}

/// One message of several, as `Body::Append` has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    pub flags: Flags,
    pub date: Option<InternalDate>,
    pub message: Message,
}

/// The message of an APPEND: its place in the command's bytes, so that fifty megabytes are not copied to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(pub std::ops::Range<usize>);

/// How STORE changes the flags of a message (RFC 9051 §6.4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreChange {
    /// FLAGS: the flags given, and no other.
    Replace,
    /// +FLAGS.
    Add,
    /// -FLAGS.
    Remove,
}

/// RFC 6154 §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialUse {
    All,
    Archive,
    Drafts,
    Flagged,
    Junk,
    Sent,
    Trash,
}

impl SpecialUse {
    /// Every use, for the parser.
    pub const ALL: [SpecialUse; 7] = [
        SpecialUse::All,
        SpecialUse::Archive,
        SpecialUse::Drafts,
        SpecialUse::Flagged,
        SpecialUse::Junk,
        SpecialUse::Sent,
        SpecialUse::Trash,
    ];

    /// The attribute of RFC 6154 §2, with its backslash.
    pub fn attribute(self) -> &'static str {
        match self {
            SpecialUse::All => "\\All",
            SpecialUse::Archive => "\\Archive",
            SpecialUse::Drafts => "\\Drafts",
            SpecialUse::Flagged => "\\Flagged",
            SpecialUse::Junk => "\\Junk",
            SpecialUse::Sent => "\\Sent",
            SpecialUse::Trash => "\\Trash",
        }
    }
}

/// LIST with the options of RFC 5258 and RFC 6154.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListRequest {
    /// The beginning of each pattern (RFC 9051 §6.3.9); usually empty.
    pub reference: Box<str>,
    /// One without the extended form, at most `LIST_PATTERNS_MAX` with it.
    pub patterns: Vec<Box<str>>,
    /// The extended form was used: `RECURSIVEMATCH` and attribute rules of RFC 5258 apply.
    pub extended: bool,
    /// SUBSCRIBED: subscribed names only, also those without a mailbox.
    pub select_subscribed: bool,
    /// SPECIAL-USE (RFC 6154 §4): mailboxes with a special use only.
    pub select_special_use: bool,
    /// RECURSIVEMATCH: a parent is listed if a name below it is selected.
    pub recursive_match: bool,
    /// RETURN (SUBSCRIBED): the attribute \Subscribed is given.
    pub return_subscribed: bool,
    /// RETURN (CHILDREN): \HasChildren or \HasNoChildren is given.
    pub return_children: bool,
    /// RETURN (SPECIAL-USE): the attribute of the special use is given.
    pub return_special_use: bool,
    /// RFC 5819; empty: not asked for.
    pub return_status: Vec<StatusItem>,
    /// RETURN (MYRIGHTS): rights are reported (RFC 8440).
    pub return_my_rights: bool,
    /// RETURN (METADATA …): these entries are reported (RFC 9590); empty: none.
    pub return_metadata: Vec<Box<str>>,
}

/// What STATUS can report (RFC 9051 §6.3.11; SIZE is RFC 8438, APPENDLIMIT RFC 7889, HIGHESTMODSEQ RFC 7162,
/// DELETED-STORAGE RFC 9208, MAILBOXID RFC 8474).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    Deleted,
    Size,
    HighestModSeq,
    AppendLimit,
    DeletedStorage,
    MailboxId,
}

impl StatusItem {
    /// Every item, for the parser.
    pub const ALL: [StatusItem; 11] = [
        StatusItem::Messages,
        StatusItem::Recent,
        StatusItem::UidNext,
        StatusItem::UidValidity,
        StatusItem::Unseen,
        StatusItem::Deleted,
        StatusItem::Size,
        StatusItem::HighestModSeq,
        StatusItem::AppendLimit,
        StatusItem::DeletedStorage,
        StatusItem::MailboxId,
    ];

    /// The item's word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            StatusItem::Messages => "MESSAGES",
            StatusItem::Recent => "RECENT",
            StatusItem::UidNext => "UIDNEXT",
            StatusItem::UidValidity => "UIDVALIDITY",
            StatusItem::Unseen => "UNSEEN",
            StatusItem::Deleted => "DELETED",
            StatusItem::Size => "SIZE",
            StatusItem::HighestModSeq => "HIGHESTMODSEQ",
            StatusItem::AppendLimit => "APPENDLIMIT",
            StatusItem::DeletedStorage => "DELETED-STORAGE",
            StatusItem::MailboxId => "MAILBOXID",
        }
    }
}

/// SEARCH with the result options of RFC 4731 and RFC 5182.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    pub uid: bool,
    /// `None`: no RETURN was given (IMAP4rev1 then answers `* SEARCH`, rev2 as RETURN (ALL)).
    pub results: Option<SearchResults>,
    pub key: SearchKey,
}

/// SORT with the result options of RFC 5267 §3.
#[derive(Debug, Clone, PartialEq)]
pub struct SortRequest {
    /// Not empty.
    pub criteria: Vec<SortCriterion>,
    /// Without RETURN the answer is `* SORT`, whatever was enabled.
    pub search: SearchRequest,
}

/// THREAD.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadRequest {
    pub uid: bool,
    pub algorithm: ThreadAlgorithm,
    pub key: SearchKey,
}

/// A part of a list of results (RFC 9394 §4 partial-range): places from 1, both included, in the order that the client wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    pub first: u32,
    pub last: u32,
    /// Written with minus signs: counted from the last result.
    pub from_end: bool,
}

impl Slice {
    /// Which of `count` results it names.
    pub fn of(self, count: usize) -> std::ops::Range<usize> {
        let low = (self.first.min(self.last) as usize - 1).min(count);
        let high = (self.first.max(self.last) as usize).min(count);
        match self.from_end {
            false => low..high,
            true => count - high..count - low,
        }
    }

    /// As the client wrote it.
    pub fn written(self) -> String {
        let sign = if self.from_end { "-" } else { "" };
        format!("{sign}{}:{sign}{}", self.first, self.last)
    }
}

/// What RETURN asks for (RFC 4731 §3.1). All `false`: RETURN () means ALL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SearchResults {
    pub min: bool,
    pub max: bool,
    pub all: bool,
    pub count: bool,
    /// RFC 9051 §6.4.4.1: what is found becomes `$`.
    pub save: bool,
    /// RFC 9394 §3.1; never together with `all`.
    pub partial: Option<Slice>,
}

impl Body {
    /// RFC 7162 §3.1: the commands from which on a client gets modification sequences. ENABLE is not among them.
    pub fn enables_condstore(&self) -> bool {
        match self {
            Body::Select {
                condstore, resync, ..
            } => *condstore || resync.is_some(),
            Body::Status { items, .. } => items.contains(&StatusItem::HighestModSeq),
            Body::List(request) => request.return_status.contains(&StatusItem::HighestModSeq),
            Body::Fetch { items, since, .. } => {
                since.is_some() || items.contains(&FetchItem::ModSeq)
            }
            Body::Store {
                unchanged_since, ..
            } => unchanged_since.is_some(),
            Body::Search(request) => request.key.names_modseq(),
            Body::Sort(request) => request.search.key.names_modseq(),
            Body::Thread(request) => request.key.names_modseq(),
            _ => false,
        }
    }
}

impl SearchResults {
    /// RFC 9051 §6.4.4.1: SAVE alone asks for no ESEARCH response.
    pub fn is_silent(self) -> bool {
        self.save && !(self.min || self.max || self.all || self.count || self.partial.is_some())
    }
}
