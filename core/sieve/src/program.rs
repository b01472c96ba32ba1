//! A compiled script: what a run walks through. `compile` makes it and `run` reads it; neither changes the other's work.

use crate::matching::Matching;
use crate::pattern::Pattern;
use crate::position::Position;
use crate::template::{Slot, Template};

/// A script that was checked and can run. It is never changed, and any number of runs may share it.
#[derive(Debug)]
pub struct Script {
    /// What it does, from its first line on.
    pub(crate) commands: Block,
    /// How many variables of its own it has.
    pub(crate) locals_count: usize,
    /// The names of the variables that it shares with other scripts, in lower case.
    pub(crate) globals: Box<[Box<str>]>,
    /// It needs to know what wildcards matched.
    pub(crate) has_variables: bool,
    /// Each once, in the order in which they stand.
    pub(crate) includes: Box<[Wanted]>,
    /// Counted while it was compiled: sizes of nodes, and the texts that they own.
    pub(crate) bytes: usize,
}

impl Script {
    /// Bytes of memory that the script takes, for caches that are bounded. A regular expression counts with what it takes while
    /// one run uses it; each further run at the same time has a table of its own.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The scripts that this one may include, each once. A caller that reads them before the run spares a second run.
    pub fn includes(&self) -> &[Wanted] {
        &self.includes
    }
}

/// A script that another one includes (RFC 6609 §3.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    pub location: Location,
    pub name: Box<str>,
}

/// Whose scripts a name is looked up among.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Location {
    /// The person whose mail it is.
    Personal,
    /// Those of the administrator.
    Global,
}

pub(crate) type Block = Box<[Command]>;
pub(crate) type Strings = Box<[Template]>;

/// A command with the place that its errors name.
#[derive(Debug)]
pub(crate) struct Command {
    pub at: Position,
    pub action: Action,
}

/// What a command does. Large ones are boxed: most commands of most scripts are small, and a cache holds them all.
#[derive(Debug)]
pub(crate) enum Action {
    /// The first block whose test is true; then the last one.
    If(Box<[(Test, Block)]>, Block),
    /// Ends all scripts that include each other; the implicit keep stays.
    Stop,
    Discard,
    /// `None`: with the flags of the internal variable (RFC 5232 §5).
    Keep(Option<Strings>),
    FileInto(Box<Filing>),
    /// With `copies` the implicit keep stays (RFC 3894).
    Redirect {
        address: Template,
        copies: bool,
    },
    /// `extended`: it was written as `ereject`.
    Reject {
        reason: Template,
        extended: bool,
    },
    /// Modifiers are sorted by precedence when the script is compiled.
    Set {
        slot: Slot,
        modifiers: Box<[Modifier]>,
        value: Template,
    },
    Flags {
        change: FlagChange,
        variable: Option<Slot>,
        flags: Strings,
    },
    Vacation(Box<Vacation>),
    Notify(Box<Notify>),
    Include {
        wanted: Wanted,
        once: bool,
        optional: bool,
    },
    /// Ends this script alone (RFC 6609 §3.3).
    Return,
    AddHeader {
        name: Template,
        value: Template,
        last: bool,
    },
    DeleteHeader(Box<Deletion>),
    /// `error` (RFC 5463 §5).
    Error(Template),
    /// Something of an extension that we lack, behind an `ihave` that is false: an error only if a run gets there.
    Unsupported(Box<str>),
}

/// Where a copy goes: `fileinto` and `:fcc`.
#[derive(Debug)]
pub(crate) struct Filing {
    pub mailbox: Template,
    /// The implicit keep stays (RFC 3894).
    pub copies: bool,
    /// Makes the mailbox if it is not there (RFC 5490 §3.2).
    pub create: bool,
    pub flags: Option<Strings>,
    /// RFC 9042; the name counts only if no mailbox has the id.
    pub id: Option<Template>,
    /// RFC 8579; the name counts only if no mailbox has the use.
    pub special_use: Option<Template>,
}

/// `vacation` (RFC 5230).
#[derive(Debug)]
pub(crate) struct Vacation {
    /// Within bounds already; what the script wrote is not kept.
    pub again_s: u64,
    pub subject: Option<Template>,
    pub from: Option<Template>,
    /// More addresses of the owner, beside those that the caller knows.
    pub addresses: Strings,
    /// The reason is a MIME entity (RFC 5230 §4.4).
    pub mime: bool,
    pub handle: Option<Template>,
    pub reason: Template,
    pub fcc: Option<Filing>,
}

/// `notify` (RFC 5435).
#[derive(Debug)]
pub(crate) struct Notify {
    pub method: Template,
    pub from: Option<Template>,
    /// `None`: "2", which is normal.
    pub importance: Option<Template>,
    /// They are expanded and mean nothing for mail.
    pub options: Strings,
    pub message: Option<Template>,
    pub fcc: Option<Filing>,
}

/// `deleteheader` (RFC 5293 §5).
#[derive(Debug)]
pub(crate) struct Deletion {
    pub name: Template,
    /// Which of the fields of that name, counted before any is removed.
    pub index: Option<Index>,
    pub matching: Matching,
    /// `None`: fields of any value.
    pub keys: Option<Keys>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlagChange {
    Set,
    Add,
    Remove,
}

/// What `set` does to a value (RFC 5229 §4.1), in the order in which it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modifier {
    Lower,
    Upper,
    LowerFirst,
    UpperFirst,
    QuoteWildcard,
    QuoteRegex,
    EncodeUrl,
    Length,
}

impl Modifier {
    /// The higher one is done first; two of the same cannot stand together.
    pub fn precedence(self) -> u8 {
        match self {
            Modifier::Lower | Modifier::Upper => 40,
            Modifier::LowerFirst | Modifier::UpperFirst => 30,
            Modifier::QuoteWildcard | Modifier::QuoteRegex => 20,
            Modifier::EncodeUrl => 15,
            Modifier::Length => 10,
        }
    }
}

/// What an `if` asks.
#[derive(Debug)]
pub(crate) enum Test {
    Constant(bool),
    Not(Box<Test>),
    All(Box<[Test]>),
    Any(Box<[Test]>),
    /// Values out of a message or elsewhere, against keys.
    Match(Box<Match>),
    /// All of the fields are there.
    Exists(Strings),
    /// Of the message as it came, whatever scripts edited.
    Size {
        over: bool,
        bytes: u64,
    },
    /// All of them, and mail can be filed there.
    MailboxExists(Strings),
    MailboxIdExists(Strings),
    /// `None`: any mailbox of the account may have them.
    SpecialUseExists {
        mailbox: Option<Template>,
        uses: Strings,
    },
    Duplicate(Box<Duplicate>),
    /// `false` for an extension that we lack.
    Ihave(bool),
    ValidNotifyMethod(Strings),
    Unsupported(Position, Box<str>),
}

/// A comparison. Its place is kept, since errors in it happen in a run.
#[derive(Debug)]
pub(crate) struct Match {
    pub at: Position,
    pub source: Source,
    pub matching: Matching,
    pub keys: Keys,
}

/// What a value is compared with.
#[derive(Debug)]
pub(crate) struct Keys {
    /// One of them has to match one of the values.
    pub texts: Strings,
    /// For `:regex`: those that need not wait for a run.
    pub patterns: Box<[Option<Pattern>]>,
}

/// Where values come from.
#[derive(Debug)]
pub(crate) enum Source {
    Header {
        names: Strings,
        index: Option<Index>,
    },
    Address {
        part: Part,
        names: Strings,
        index: Option<Index>,
    },
    Envelope {
        part: Part,
        fields: Strings,
    },
    /// It never fills match variables (RFC 5173 §6).
    Body(Transform),
    Date {
        /// `None`: now.
        header: Option<Template>,
        index: Option<Index>,
        zone: Zone,
        part: Box<str>,
    },
    /// `string`, which compares what the script itself says (RFC 5229 §5).
    Texts(Strings),
    /// None: the internal variable.
    Flags(Box<[Slot]>),
    /// An item by its name (RFC 5183).
    Environment(Template),
    Spam {
        percent: bool,
    },
    Virus,
    /// RFC 5435 §5; of mail only whether the person is online can be asked.
    NotifyCapability {
        method: Template,
        capability: Template,
    },
}

/// Of an address (RFC 5228 §2.7.4, RFC 5233 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    Local,
    Domain,
    User,
    Detail,
}

/// The field of a name that counts (RFC 5260 §6); the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Index {
    pub number: u64,
    pub from_end: bool,
}

/// RFC 5173 §5.
#[derive(Debug)]
pub(crate) enum Transform {
    /// As it stands, boundaries and encodings too.
    Raw,
    /// Decoded parts of these types.
    Content(Strings),
    /// What a person would read.
    Text,
}

/// The time zone in which a date falls into its parts.
#[derive(Debug)]
pub(crate) enum Zone {
    /// The one of the appliance.
    Local,
    /// The one that the field names.
    Original,
    /// Minutes east of UTC.
    Fixed(i32),
}

/// `duplicate` (RFC 7352).
#[derive(Debug)]
pub(crate) struct Duplicate {
    /// Tells several tests for the same id apart.
    pub handle: Option<Template>,
    pub source: DuplicateSource,
    /// Within bounds already.
    pub kept_s: u64,
    /// The time counts from the last delivery, not from the first.
    pub last: bool,
}

/// Both share one space of ids (RFC 7352 §3.1).
#[derive(Debug)]
pub(crate) enum DuplicateSource {
    Header(Template),
    Unique(Template),
}
