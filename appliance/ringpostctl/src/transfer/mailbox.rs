//! The mailboxes of an account on an IMAP server, as a source and as a destination.

use std::time::{SystemTime, UNIX_EPOCH};

use imap::client::{Response, Value};
use imap::date::parse_date_time;
use imap::respond::put_flags;
use imap::{sequence, utf7};
use mail::{Flags, InternalDate, Keyword, SystemFlags};
use mua::mover::{Mover, fetched, quoted};

use super::letter::{Digest, Each, Fault, Folder, Letter, Listed, Sink, Source, digest};
use super::limits::{FOLDERS_MAX, MESSAGES_MAX, NAME_BYTES_MAX};
use super::names::{joined, same};
use super::server::Server;

/// One logged-in connection.
pub(crate) struct Mailboxes {
    line: Mover,
    /// For the words of faults.
    server: Server,
    folders: Vec<Folder>,
    /// Between levels of names there; `None`: there are no levels.
    separator: Option<char>,
    /// What all names of the person begin with there.
    prefix: String,
    /// UIDVALIDITY of the open one, and its name there.
    generation: u64,
    selected: String,
    /// Messages of this day and later only: `30-Nov-2026`.
    since: Option<String>,
}

/// The server's fault in words of ours.
type Told<T> = Result<T, Fault>;

impl Mailboxes {
    pub(crate) fn over(line: Mover, server: Server, since: Option<String>) -> Told<Mailboxes> {
        let mut mailboxes = Mailboxes {
            line,
            server,
            folders: Vec::new(),
            separator: None,
            prefix: String::new(),
            generation: 0,
            selected: String::new(),
            since,
        };
        mailboxes.read_namespace()?;
        mailboxes.read_folders()?;
        Ok(mailboxes)
    }

    fn command(
        &mut self,
        text: &str,
        each: impl FnMut(&Response) -> Result<(), mua::mover::Fault>,
    ) -> Told<Response> {
        let done = self.line.command(text, each);
        done.map_err(|fault| self.server.told(fault))
    }

    fn has(&mut self, capability: &str) -> Told<bool> {
        let has = self.line.has(capability);
        has.map_err(|fault| self.server.told(fault))
    }

    /// RFC 2342: what names begin with (`INBOX.` at some servers).
    fn read_namespace(&mut self) -> Told<()> {
        if !self.has("NAMESPACE")? {
            return Ok(());
        }
        let mut prefix = None;
        self.command("NAMESPACE", |response| {
            let values = response.values().unwrap_or_default();
            if let [_, Value::Atom(word), Value::List(personal), ..] = &values[..]
                && word.eq_ignore_ascii_case("NAMESPACE")
                && let Some(Value::List(first)) = personal.first()
                && let Some(name) = first.first().and_then(text)
            {
                prefix = Some(name);
            }
            Ok(())
        })?;
        self.prefix = prefix.unwrap_or_default();
        Ok(())
    }

    fn read_folders(&mut self) -> Told<()> {
        let has_uses = self.has("SPECIAL-USE")? && self.has("LIST-EXTENDED")?;
        let more = if has_uses {
            " RETURN (SPECIAL-USE)"
        } else {
            ""
        };
        let mut all = Vec::new();
        self.command(&format!("LIST \"\" \"*\"{more}"), |response| {
            if let Some(one) = listed(response)?
                && all.len() <= FOLDERS_MAX
            {
                all.push(one);
            }
            Ok(())
        })?;
        let mut separators = all.iter().filter_map(|one| one.separator);
        self.separator = separators.next_back();
        self.folders = all
            .into_iter()
            .filter(|one| one.has_messages)
            .map(|one| Folder {
                name: self.our_name(&one.own_name, one.separator),
                own_name: one.own_name,
                special_use: one.special_use,
            })
            .collect();
        Ok(())
    }

    fn our_name(&self, own_name: &str, separator: Option<char>) -> String {
        let stripped = match same(own_name, "INBOX") {
            true => own_name,
            false => own_name.strip_prefix(&self.prefix).unwrap_or(own_name),
        };
        let name = utf7::decode(stripped).unwrap_or_else(|| stripped.to_owned());
        match separator {
            Some(separator) => joined(name.split(separator)),
            None => joined([name.as_str()].into_iter()),
        }
    }

    fn own_name(&self, name: &str) -> String {
        if same(name, "INBOX") {
            return "INBOX".into();
        }
        let levels = name.split('/');
        let name = match self.separator {
            Some('/') => name.to_owned(),
            Some(separator) => {
                let levels: Vec<String> =
                    levels.map(|level| level.replace(separator, "_")).collect();
                levels.join(&separator.to_string())
            }
            None => name.replace('/', "_"),
        };
        format!("{}{}", self.prefix, utf7::encode(&name))
    }

    /// SELECT or EXAMINE; UIDVALIDITY.
    fn select(&mut self, command: &str, own_name: &str) -> Told<u64> {
        let mut validity = None;
        self.command(&format!("{command} {}", quoted(own_name)), |response| {
            let line = String::from_utf8_lossy(response.as_bytes()).to_ascii_uppercase();
            if let Some((_, rest)) = line.split_once("[UIDVALIDITY ") {
                validity = rest
                    .split(']')
                    .next()
                    .and_then(|number| number.parse().ok());
            }
            Ok(())
        })?;
        self.selected = own_name.to_owned();
        // RFC 3501 §2.3.1.1: without one, UIDs mean nothing later.
        self.generation =
            validity.ok_or_else(|| Fault::Refused("the server gives no UIDVALIDITY".into()))?;
        Ok(self.generation)
    }

    fn search(&mut self) -> Told<Vec<u64>> {
        let what = match &self.since {
            Some(day) => format!("UID SEARCH SINCE {day}"),
            None => "UID SEARCH ALL".to_owned(),
        };
        let mut uids: Vec<u64> = Vec::new();
        self.command(&what, |response| {
            let line = String::from_utf8_lossy(response.as_bytes());
            let mut words = line.split_ascii_whitespace().skip(1);
            if words
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case("SEARCH"))
            {
                let numbers = words.map_while(|word| word.parse::<u32>().ok());
                uids.extend(numbers.map(u64::from).take(MESSAGES_MAX + 1));
                uids.truncate(MESSAGES_MAX + 1);
            }
            Ok(())
        })?;
        uids.sort_unstable();
        uids.dedup();
        Ok(uids)
    }

    fn create(&mut self, own_name: &str, special_use: Option<&str>) -> Told<()> {
        let name = quoted(own_name);
        let created = match special_use {
            Some(special_use) if self.has("CREATE-SPECIAL-USE")? => {
                self.command(&format!("CREATE {name} (USE ({special_use}))"), |_| Ok(()))
            }
            _ => Err(Fault::Refused(String::new())),
        };
        match created {
            Err(Fault::Refused(_)) => {
                self.command(&format!("CREATE {name}"), |_| Ok(()))?;
            }
            other => {
                other?;
            }
        }
        // A program that shows subscribed folders alone shows this one, too.
        match self.command(&format!("SUBSCRIBE {name}"), |_| Ok(())) {
            Ok(_) | Err(Fault::Refused(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    fn store(&mut self, key: u64, sign: char, flags: &Flags) -> Told<bool> {
        if flags.system.0 == 0 && flags.keywords.is_empty() {
            return Ok(true);
        }
        let mut line = format!("UID STORE {key} {sign}FLAGS.SILENT ").into_bytes();
        put_flags(&mut line, flags);
        match self.command(&String::from_utf8_lossy(&line), |_| Ok(())) {
            Ok(_) => Ok(true),
            Err(Fault::Refused(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// FETCH of these, with what `each` is given of one message.
    fn fetch_items(
        &mut self,
        keys: &[u64],
        items: &str,
        mut each: impl FnMut(u64, Fetched) -> Told<()>,
    ) -> Told<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let uids = keys.iter().filter_map(|key| u32::try_from(*key).ok());
        let set = sequence::compact(uids);
        let mut stopped = None;
        let done = self.command(&format!("UID FETCH {set} ({items})"), |response| {
            let Some((uid, found)) = fetched(response).and_then(read) else {
                return Ok(());
            };
            each(uid, found).map_err(|fault| {
                stopped = Some(fault);
                mua::mover::Fault::Broken("the transfer stops".into())
            })
        });
        match stopped {
            Some(fault) => Err(fault),
            None => done.map(drop),
        }
    }
}

impl Source for Mailboxes {
    fn folders(&mut self) -> Told<Vec<Folder>> {
        Ok(self.folders.clone())
    }

    fn open(&mut self, folder: &Folder) -> Told<u64> {
        self.select("EXAMINE", &folder.own_name)
    }

    fn keys(&mut self) -> Told<Vec<u64>> {
        self.search()
    }

    fn look(&mut self, keys: &[u64]) -> Told<Vec<Listed>> {
        let mut listed = Vec::new();
        self.fetch_items(keys, "UID FLAGS RFC822.SIZE", |key, found| {
            // A server may report others' changes meanwhile.
            if let Some(bytes) = found.bytes
                && keys.binary_search(&key).is_ok()
            {
                listed.push(Listed {
                    key,
                    flags: found.flags,
                    bytes,
                });
            }
            Ok(())
        })?;
        listed.sort_by_key(|listed| listed.key);
        listed.dedup_by_key(|listed| listed.key);
        Ok(listed)
    }

    fn name_of(&self, key: u64) -> String {
        format!("UID {key}")
    }

    fn fetch(&mut self, keys: &[u64], each: Each<'_>) -> Told<()> {
        let items = "UID FLAGS INTERNALDATE BODY.PEEK[]";
        self.fetch_items(keys, items, |key, found| {
            let Some(message) = found.message else {
                return Ok(());
            };
            each(
                key,
                Letter {
                    message,
                    flags: found.flags,
                    date: found.date.unwrap_or_else(now),
                },
            )
        })
    }
}

impl Sink for Mailboxes {
    fn open(&mut self, name: &str, special_use: Option<&str>) -> Told<(u64, String)> {
        let is_used = |folder: &&Folder| {
            special_use.is_some_and(|wanted| {
                let known = folder.special_use.as_deref().unwrap_or_default();
                known.eq_ignore_ascii_case(wanted)
            })
        };
        let by_use = self.folders.iter().find(is_used);
        let by_name = self.folders.iter().find(|folder| same(&folder.name, name));
        let found = by_use.or(by_name).cloned();
        let folder = match found {
            Some(folder) => folder,
            None => {
                let own_name = self.own_name(name);
                match self.create(&own_name, special_use) {
                    // Another session made it meanwhile, or the name is spelled in two ways.
                    Err(Fault::Refused(why)) => {
                        let selected = self.select("SELECT", &own_name);
                        selected.map_err(|fault| match fault {
                            Fault::Refused(_) => Fault::Refused(why),
                            fault => fault,
                        })?;
                    }
                    created => created?,
                }
                let folder = Folder {
                    name: name.to_owned(),
                    own_name,
                    special_use: special_use.map(str::to_owned),
                };
                self.folders.push(folder.clone());
                folder
            }
        };
        let generation = self.select("SELECT", &folder.own_name)?;
        Ok((generation, folder.name))
    }

    fn keys(&mut self) -> Told<Vec<u64>> {
        self.search()
    }

    fn digests(&mut self, keys: &[u64], each: &mut dyn FnMut(u64, Digest)) -> Told<()> {
        self.fetch_items(keys, "UID BODY.PEEK[]", |key, found| {
            if let Some(message) = found.message {
                each(key, digest(&message));
            }
            Ok(())
        })
    }

    fn put(&mut self, letter: &Letter) -> Told<Option<u64>> {
        if letter.message.contains(&0) {
            return Err(Fault::Refused(
                "the message has NUL octets, which IMAP does not carry".into(),
            ));
        }
        let limit = self.line.append_limit();
        let limit = limit.map_err(|fault| self.server.told(fault))?;
        if let Some(limit) = limit
            && letter.message.len() as u64 > limit
        {
            return Err(Fault::Refused(format!(
                "the message is larger than the {limit} bytes that the server takes"
            )));
        }
        let name = self.selected.clone();
        let put = self
            .line
            .append(&name, &letter.flags, letter.date, &letter.message);
        let stored = put.map_err(|fault| self.server.told(fault))?;
        let is_here = |(validity, _): &(u32, u32)| u64::from(*validity) == self.generation;
        Ok(stored.filter(is_here).map(|(_, uid)| u64::from(uid)))
    }

    fn change(&mut self, key: u64, added: &Flags, removed: &Flags) -> Told<bool> {
        Ok(self.store(key, '+', added)? && self.store(key, '-', removed)?)
    }

    /// A person may have removed it.
    fn refills(&self) -> bool {
        false
    }

    fn finish(&mut self) -> Told<Option<String>> {
        Ok(None)
    }
}

/// What is kept of a LIST line.
#[derive(Debug)]
struct Named {
    own_name: String,
    separator: Option<char>,
    has_messages: bool,
    special_use: Option<String>,
}

/// `None`: it is another response. A name that no server of mail has ends the transfer, or thousands of them would fill the memory.
fn listed(response: &Response) -> Result<Option<Named>, mua::mover::Fault> {
    let values = response.values().unwrap_or_default();
    let [
        _,
        Value::Atom(word),
        Value::List(attributes),
        separator,
        name,
        ..,
    ] = &values[..]
    else {
        return Ok(None);
    };
    let Some(own_name) = text(name).filter(|_| word.eq_ignore_ascii_case("LIST")) else {
        return Ok(None);
    };
    if own_name.len() > NAME_BYTES_MAX {
        return Err(mua::mover::Fault::Refused(format!(
            "a folder there has a name of more than {NAME_BYTES_MAX} bytes"
        )));
    }
    let attributes: Vec<String> = attributes.iter().filter_map(text).collect();
    let has = |name: &str| {
        let mut all = attributes.iter();
        all.any(|known| known.eq_ignore_ascii_case(name))
    };
    let separator = match separator {
        Value::String(bytes) => bytes.first().map(|byte| char::from(*byte)),
        _ => None,
    };
    Ok(Some(Named {
        separator,
        has_messages: !has("\\Noselect") && !has("\\NonExistent"),
        special_use: special_use(&attributes),
        own_name,
    }))
}

/// What a FETCH line says of a message.
#[derive(Default)]
struct Fetched {
    flags: Flags,
    date: Option<InternalDate>,
    bytes: Option<u64>,
    message: Option<Vec<u8>>,
}

/// `None`: it is about no UID.
fn read(pairs: Vec<(String, Value)>) -> Option<(u64, Fetched)> {
    let (mut uid, mut found) = (None, Fetched::default());
    for (name, value) in pairs {
        match (name.as_str(), value) {
            ("UID", Value::Atom(number)) => uid = number.parse::<u32>().ok(),
            ("RFC822.SIZE", Value::Atom(number)) => found.bytes = number.parse().ok(),
            ("INTERNALDATE", Value::String(date)) => found.date = parse_date_time(&date),
            ("BODY[]", Value::String(message)) => found.message = Some(message),
            ("FLAGS", Value::List(words)) => found.flags = flags(&words),
            _ => {}
        }
    }
    Some((u64::from(uid?), found))
}

/// Flags of a server; those that are no keyword of ours are omitted, and `\Recent` is the server's own.
fn flags(words: &[Value]) -> Flags {
    let mut flags = Flags::default();
    for word in words.iter().filter_map(text) {
        let system = SYSTEM
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&word));
        match (system, Keyword::parse(&word)) {
            (Some((_, flag)), _) => flags.system = flags.system.with(*flag),
            (None, Some(keyword)) => {
                let one = Flags {
                    keywords: vec![keyword],
                    ..Flags::default()
                };
                flags = flags.with(&one);
            }
            (None, None) => {}
        }
    }
    flags
}

const SYSTEM: [(&str, SystemFlags); 5] = [
    ("\\Seen", SystemFlags::SEEN),
    ("\\Answered", SystemFlags::ANSWERED),
    ("\\Flagged", SystemFlags::FLAGGED),
    ("\\Deleted", SystemFlags::DELETED),
    ("\\Draft", SystemFlags::DRAFT),
];

/// Of RFC 6154, and Gmail's `\Important`.
const USES: [&str; 8] = [
    "\\All",
    "\\Archive",
    "\\Drafts",
    "\\Flagged",
    "\\Important",
    "\\Junk",
    "\\Sent",
    "\\Trash",
];

fn special_use(attributes: &[String]) -> Option<String> {
    let known = |attribute: &&String| {
        USES.iter()
            .any(|known| known.eq_ignore_ascii_case(attribute))
    };
    attributes.iter().find(known).cloned()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Atom(text) => Some(text.clone()),
        Value::String(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::List(_) => None,
    }
}

fn now() -> InternalDate {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    InternalDate::utc(now.map_or(0, |now| now.as_secs() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(line: &str) -> Response {
        let mut responses = imap::client::Responses::default();
        responses.input().extend_from_slice(line.as_bytes());
        responses.step().expect("whole").expect("whole")
    }

    #[test]
    fn of_a_list_line_what_is_needed_is_kept() {
        let line = "* LIST (\\HasNoChildren \\sent) \".\" INBOX.Sent\r\n";
        let named = listed(&response(line)).expect("short").expect("a LIST");
        assert_eq!(
            (&*named.own_name, named.separator),
            ("INBOX.Sent", Some('.'))
        );
        assert!(named.has_messages && named.special_use.as_deref() == Some("\\sent"));
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let line = format!("* LIST () \"/\" {long}\r\n");
        assert!(listed(&response(&line)).is_err());
        let line = format!("* OK {long}\r\n");
        assert!(listed(&response(&line)).expect("no LIST").is_none());
    }
}
