//! What a client can ask, as parsed. Text is what the client meant: literals and quotes are gone, mailbox names are UTF-8.

use mail::{Flags, InternalDate};

use crate::fetch::FetchItem;
use crate::search::SearchKey;
use crate::sequence::SequenceSet;

#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    pub tag: Box<str>,
    pub body: Body,
}

/// RFC 9051 §6 and RFC 3501 §6; the extensions name their RFC.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    Capability,
    Noop,
    Logout,
    StartTls,
    Authenticate {
        mechanism: Box<str>,
        initial: Option<Vec<u8>>,
    },
    Login {
        user: Vec<u8>,
        password: Vec<u8>,
    },
    Enable(Vec<Box<str>>),
    /// RFC 2971; an empty list is NIL.
    Id(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Namespace,
    Select {
        mailbox: Box<str>,
        read_only: bool,
    },
    Create {
        mailbox: Box<str>,
        special_use: Option<SpecialUse>,
    },
    Delete(Box<str>),
    Rename {
        from: Box<str>,
        to: Box<str>,
    },
    Subscribe(Box<str>),
    Unsubscribe(Box<str>),
    List(ListRequest),
    Lsub {
        reference: Box<str>,
        pattern: Box<str>,
    },
    Status {
        mailbox: Box<str>,
        items: Vec<StatusItem>,
    },
    Append {
        mailbox: Box<str>,
        flags: Flags,
        date: Option<InternalDate>,
        message: Message,
    },
    Idle,
    Check,
    Close,
    Unselect,
    /// RFC 4315 when `uids` are given.
    Expunge {
        uids: Option<SequenceSet>,
    },
    Search(SearchRequest),
    Fetch {
        uid: bool,
        set: SequenceSet,
        items: Vec<FetchItem>,
    },
    Store {
        uid: bool,
        set: SequenceSet,
        change: StoreChange,
        silent: bool,
        flags: Flags,
    },
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

/// The message of an APPEND: its place in the command's bytes, so that fifty megabytes are not copied to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(pub std::ops::Range<usize>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreChange {
    Replace,
    Add,
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
    pub const ALL: [SpecialUse; 7] = [
        SpecialUse::All,
        SpecialUse::Archive,
        SpecialUse::Drafts,
        SpecialUse::Flagged,
        SpecialUse::Junk,
        SpecialUse::Sent,
        SpecialUse::Trash,
    ];

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
    pub reference: Box<str>,
    pub patterns: Vec<Box<str>>,
    /// The extended form was used: `RECURSIVEMATCH` and attribute rules of RFC 5258 apply.
    pub extended: bool,
    pub select_subscribed: bool,
    pub select_special_use: bool,
    pub recursive_match: bool,
    pub return_subscribed: bool,
    pub return_children: bool,
    pub return_special_use: bool,
    /// RFC 5819; empty: not asked for.
    pub return_status: Vec<StatusItem>,
}

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
}

impl StatusItem {
    pub const ALL: [StatusItem; 9] = [
        StatusItem::Messages,
        StatusItem::Recent,
        StatusItem::UidNext,
        StatusItem::UidValidity,
        StatusItem::Unseen,
        StatusItem::Deleted,
        StatusItem::Size,
        StatusItem::HighestModSeq,
        StatusItem::AppendLimit,
    ];

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SearchResults {
    pub min: bool,
    pub max: bool,
    pub all: bool,
    pub count: bool,
    /// RFC 9051 §6.4.4.1: what is found becomes `$`.
    pub save: bool,
}

impl SearchResults {
    /// RFC 9051 §6.4.4.1: SAVE alone asks for no ESEARCH response.
    pub fn is_silent(self) -> bool {
        self.save && !(self.min || self.max || self.all || self.count)
    }
}
