//! From the bytes of one whole command (literals in place, as `reader` gathers it) to a `Command`.
//!
//! RFC 9051 §9 and RFC 3501 §9, a little widened where real clients are: several spaces between words, white space at the end,
//! any case. Everything that is taken in is bounded by `limits.rs`. No input stops us.

mod access;
mod fetch;
mod list;
mod more;
mod notify;
mod search;
mod select;
mod sort;
mod words;

use mail::{Flags, Keyword, SystemFlags};

use crate::command::{Body, Command, SearchRequest, SpecialUse, StoreChange};
use crate::limits::{ID_FIELD_BYTES_MAX, ID_PAIRS_MAX, ID_VALUE_BYTES_MAX, TAG_BYTES_MAX};
use crate::sequence::SequenceSet;

use words::Words;

/// Why a command was not understood: a BAD reply with these words. `tag` is `*` when not even the tag was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCommand {
    pub tag: Box<str>,
    pub refusal: Refusal,
    /// It was a SEARCH RETURN (SAVE): when it is answered NO, `$` becomes empty (RFC 9051 §6.4.4.1).
    pub saves: bool,
}

/// The client's error, and what to call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not what the grammar allows here; the text says what was expected.
    Syntax(&'static str),
    /// No command has this name, or no command with UID in front; answered BAD.
    UnknownCommand,
    /// A bound of `limits.rs`.
    TooMuch(&'static str),
    /// RFC 9051 §6.4.4: answered NO with BADCHARSET.
    BadCharset,
    /// RFC 9051 §5.1: a name that is not a mailbox name; answered NO with CANNOT.
    BadMailboxName,
    /// RFC 5465 §3.1: answered NO with BADEVENT.
    BadEvent,
    /// RFC 6154 §5: answered NO with USEATTR.
    BadSpecialUse,
    /// RFC 9051 §6.3.12: a message with NUL; answered NO with UNKNOWN-CTE.
    Binary,
    /// RFC 10022: a range of batches that begins above its end; answered BAD with CLIENTBUG.
    TurnedBatches,
}

/// How to read mailbox names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// IMAP4rev1: modified UTF-7. Names that are plain UTF-8 are taken as well, for clients send them.
    ModifiedUtf7,
    /// After ENABLE IMAP4rev2 or UTF8=ACCEPT.
    Utf8,
}

type Parsed<T> = Result<T, Refusal>;

/// Parses one command. `bytes` ends with its last CRLF.
pub fn command(bytes: &[u8], names: Names) -> Result<Command, BadCommand> {
    let mut words = Words::new(bytes, names);
    let tag: Box<str> = match words.tag() {
        Some(tag) if tag.len() <= TAG_BYTES_MAX => tag.into(),
        _ => {
            return Err(BadCommand {
                tag: "*".into(),
                refusal: Refusal::Syntax("Missing tag"),
                saves: false,
            });
        }
    };
    match body(&mut words) {
        Ok(body) => Ok(Command { tag, body }),
        Err(refusal) => Err(BadCommand {
            tag,
            refusal,
            saves: words.saves,
        }),
    }
}

/// Everything after the tag. The whole command must be used up: what is left over is refused.
fn body(words: &mut Words<'_>) -> Parsed<Body> {
    words.space()?;
    let mut name = words.atom("Expected a command")?.to_ascii_uppercase();
    let uid = name == "UID";
    if uid {
        words.space()?;
        name = words
            .atom("Expected COPY, EXPUNGE, FETCH, MOVE, REPLACE, SEARCH, SORT, STORE or THREAD")?
            .to_ascii_uppercase();
        if !matches!(
            &name[..],
            "COPY"
                | "EXPUNGE"
                | "FETCH"
                | "MOVE"
                | "REPLACE"
                | "SEARCH"
                | "SORT"
                | "STORE"
                | "THREAD"
        ) {
            return Err(Refusal::UnknownCommand);
        }
    }
    let body = match &name[..] {
        "CAPABILITY" => Body::Capability,
        "NOOP" => Body::Noop,
        "LOGOUT" => Body::Logout,
        "STARTTLS" => Body::StartTls,
        "AUTHENTICATE" => authenticate(words)?,
        "LOGIN" => {
            words.space()?;
            let user = words.astring()?.into_owned();
            words.space()?;
            Body::Login {
                user,
                password: words.astring()?.into_owned(),
            }
        }
        "ENABLE" => enable(words)?,
        "ID" => id(words)?,
        "NAMESPACE" => Body::Namespace,
        "COMPRESS" => more::compress(words)?,
        "GETQUOTA" => more::get_quota(words)?,
        "GETQUOTAROOT" => Body::GetQuotaRoot(spaced_mailbox(words)?),
        "SETQUOTA" => more::set_quota(words)?,
        "UNAUTHENTICATE" => Body::Unauthenticate,
        "SETACL" | "DELETEACL" | "GETACL" | "LISTRIGHTS" | "MYRIGHTS" => access::acl(words, &name)?,
        "GETMETADATA" => access::get_metadata(words)?,
        "SETMETADATA" => access::set_metadata(words)?,
        "NOTIFY" => notify::notify(words)?,
        "SELECT" | "EXAMINE" => {
            let mailbox = spaced_mailbox(words)?;
            let (condstore, resync) = select::parameters(words)?;
            Body::Select {
                mailbox,
                read_only: name == "EXAMINE",
                condstore,
                resync,
            }
        }
        "CREATE" => create(words)?,
        "DELETE" => Body::Delete(spaced_mailbox(words)?),
        "RENAME" => {
            let from = spaced_mailbox(words)?;
            Body::Rename {
                from,
                to: spaced_mailbox(words)?,
            }
        }
        "SUBSCRIBE" => Body::Subscribe(spaced_mailbox(words)?),
        "UNSUBSCRIBE" => Body::Unsubscribe(spaced_mailbox(words)?),
        "LIST" => Body::List(list::list(words)?),
        "LSUB" => {
            words.space()?;
            let reference = words.list_reference()?;
            words.space()?;
            Body::Lsub {
                reference,
                pattern: words.list_mailbox()?,
            }
        }
        "STATUS" => {
            let mailbox = spaced_mailbox(words)?;
            words.space()?;
            Body::Status {
                mailbox,
                items: list::status_items(words)?,
            }
        }
        "APPEND" => more::append(words)?,
        "REPLACE" => more::replace(words, uid)?,
        "IDLE" => Body::Idle,
        "CHECK" => Body::Check,
        "CLOSE" => Body::Close,
        "UNSELECT" => Body::Unselect,
        "EXPUNGE" => Body::Expunge {
            uids: if uid { Some(spaced_set(words)?) } else { None },
        },
        "SEARCH" => {
            let (results, key) = search::search(words)?;
            Body::Search(SearchRequest { uid, results, key })
        }
        "SORT" => Body::Sort(sort::sort(words, uid)?),
        "THREAD" => Body::Thread(sort::thread(words, uid)?),
        "FETCH" => {
            let set = spaced_set(words)?;
            words.space()?;
            let items = fetch::items(words)?;
            let (since, slice) = fetch::modifiers(words, uid)?;
            Body::Fetch {
                uid,
                set,
                items,
                since,
                slice,
            }
        }
        "UIDBATCHES" => more::uid_batches(words)?,
        "STORE" => store(words, uid)?,
        "COPY" => {
            let set = spaced_set(words)?;
            Body::Copy {
                uid,
                set,
                mailbox: spaced_mailbox(words)?,
            }
        }
        "MOVE" => {
            let set = spaced_set(words)?;
            Body::Move {
                uid,
                set,
                mailbox: spaced_mailbox(words)?,
            }
        }
        _ => return Err(Refusal::UnknownCommand),
    };
    words.end()?;
    Ok(body)
}

/// A space and a mailbox name.
fn spaced_mailbox(words: &mut Words<'_>) -> Parsed<Box<str>> {
    words.space()?;
    words.mailbox()
}

/// A space and a sequence set.
fn spaced_set(words: &mut Words<'_>) -> Parsed<SequenceSet> {
    words.space()?;
    words.sequence_set()
}

/// `SP auth-type [SP initial-resp]`. The mechanism is in upper case; whether it is offered is decided by the session.
fn authenticate(words: &mut Words<'_>) -> Parsed<Body> {
    words.space()?;
    let mechanism = words
        .atom("Expected a mechanism")?
        .to_ascii_uppercase()
        .into();
    // RFC 4959 §3: the initial response, `=` for an empty one.
    let mut initial = None;
    if words.space().is_ok() && !words.at_end() {
        let text = words.rest_of_line();
        initial = Some(if text == b"=" {
            Vec::new()
        } else {
            sasl::base64::decode(text)
                .ok_or(Refusal::Syntax("Invalid base64 in initial response"))?
        });
    }
    Ok(Body::Authenticate { mechanism, initial })
}

/// One capability or more, in upper case.
fn enable(words: &mut Words<'_>) -> Parsed<Body> {
    let mut capabilities = Vec::new();
    while words.space().is_ok() && !words.at_end() {
        capabilities.push(
            words
                .atom("Expected a capability")?
                .to_ascii_uppercase()
                .into(),
        );
    }
    if capabilities.is_empty() {
        return Err(Refusal::Syntax("Missing capability"));
    }
    Ok(Body::Enable(capabilities))
}

/// RFC 2971 §3.1: NIL, or pairs of a field and a value. Bounds are those of §3.3.
fn id(words: &mut Words<'_>) -> Parsed<Body> {
    words.space()?;
    if words.keyword("NIL") {
        return Ok(Body::Id(Vec::new()));
    }
    words.expect(b'(')?;
    let mut pairs = Vec::new();
    while !words.accept(b')') {
        if pairs.len() == ID_PAIRS_MAX {
            return Err(Refusal::TooMuch("ID fields"));
        }
        if !pairs.is_empty() {
            words.space()?;
        }
        let name = words.string()?.into_owned();
        if name.len() > ID_FIELD_BYTES_MAX {
            return Err(Refusal::TooMuch("octets in an ID field"));
        }
        words.space()?;
        let value = if words.keyword("NIL") {
            None
        } else {
            Some(words.string()?.into_owned())
        };
        if value
            .as_ref()
            .is_some_and(|value| value.len() > ID_VALUE_BYTES_MAX)
        {
            return Err(Refusal::TooMuch("octets in an ID value"));
        }
        pairs.push((name, value));
    }
    Ok(Body::Id(pairs))
}

/// A name, and `(USE (\Sent))` where a special use is asked for.
fn create(words: &mut Words<'_>) -> Parsed<Body> {
    let mailbox = spaced_mailbox(words)?;
    let mut special_use = None;
    // RFC 6154 §3: CREATE name (USE (\Sent))
    if words.space().is_ok() && !words.at_end() {
        words.expect(b'(')?;
        if !words.keyword("USE") {
            return Err(Refusal::Syntax("USE is the only CREATE parameter"));
        }
        words.space()?;
        words.expect(b'(')?;
        while !words.accept(b')') {
            if special_use.is_some() {
                words.space()?;
            }
            let attribute = words.flag_text()?;
            let known = SpecialUse::ALL
                .into_iter()
                .find(|known| known.attribute().eq_ignore_ascii_case(attribute));
            // One use for one mailbox; two in one CREATE are refused as RFC 6154 §5 allows.
            match known {
                Some(known) if special_use.is_none() => special_use = Some(known),
                _ => return Err(Refusal::BadSpecialUse),
            }
        }
        words.expect(b')')?;
    }
    Ok(Body::Create {
        mailbox,
        special_use,
    })
}

/// `FLAGS`, `+FLAGS` or `-FLAGS`, with `.SILENT` or without, and the flags, in parentheses or bare.
fn store(words: &mut Words<'_>, uid: bool) -> Parsed<Body> {
    let set = spaced_set(words)?;
    words.space()?;
    let unchanged_since = select::unchanged_since(words)?;
    let item = words
        .atom("Expected FLAGS, +FLAGS or -FLAGS")?
        .to_ascii_uppercase();
    let (name, silent) = match item.strip_suffix(".SILENT") {
        Some(name) => (name, true),
        None => (&item[..], false),
    };
    let change = match name {
        "FLAGS" => StoreChange::Replace,
        "+FLAGS" => StoreChange::Add,
        "-FLAGS" => StoreChange::Remove,
        _ => return Err(Refusal::Syntax("Expected FLAGS, +FLAGS or -FLAGS")),
    };
    words.space()?;
    let flags = if words.peek() == Some(b'(') {
        flag_list(words)?
    } else {
        bare_flags(words)?
    };
    Ok(Body::Store {
        uid,
        set,
        change,
        silent,
        flags,
        unchanged_since,
    })
}

/// `(\Seen $Work)`
fn flag_list(words: &mut Words<'_>) -> Parsed<Flags> {
    words.expect(b'(')?;
    let mut flags = Flags::default();
    words.skip_spaces();
    while !words.accept(b')') {
        let text = words.flag_text()?;
        put_flag(&mut flags, text)?;
        words.skip_spaces();
    }
    Ok(flags)
}

/// Flags without parentheses, which RFC 9051 §9 allows in STORE only. There is one at least.
fn bare_flags(words: &mut Words<'_>) -> Parsed<Flags> {
    let mut flags = Flags::default();
    loop {
        // each turn takes a word
        let text = words.flag_text()?;
        put_flag(&mut flags, text)?;
        if words.space().is_err() || words.at_end() {
            return Ok(flags);
        }
    }
}

/// Adds the flag with this name. Fails for an unknown system flag and past `KEYWORDS_MAX` keywords.
fn put_flag(flags: &mut Flags, text: &str) -> Parsed<()> {
    if text.starts_with('\\') {
        match system_flag(text) {
            Some(flag) => flags.system = flags.system.with(flag),
            // RFC 9051 §2.3.2: \Recent cannot be altered by the client; clients that send it mean no harm.
            None if text.eq_ignore_ascii_case("\\Recent") => {}
            None => return Err(Refusal::Syntax("Unknown system flag")),
        }
        return Ok(());
    }
    let keyword = Keyword::parse(text).ok_or(Refusal::TooMuch("characters in a keyword"))?;
    if !flags.keywords.contains(&keyword) {
        if flags.keywords.len() == mail::flags::KEYWORDS_MAX {
            return Err(Refusal::TooMuch("keywords"));
        }
        flags.keywords.push(keyword);
    }
    Ok(())
}

/// The system flags by name.
pub const SYSTEM_FLAGS: [(&str, SystemFlags); 5] = [
    ("\\Answered", SystemFlags::ANSWERED),
    ("\\Flagged", SystemFlags::FLAGGED),
    ("\\Deleted", SystemFlags::DELETED),
    ("\\Seen", SystemFlags::SEEN),
    ("\\Draft", SystemFlags::DRAFT),
];

/// By name, in any case; \Recent has no entry, because a client cannot set it.
fn system_flag(text: &str) -> Option<SystemFlags> {
    SYSTEM_FLAGS
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text))
        .map(|(_, flag)| flag)
}

#[cfg(test)]
mod tests;
