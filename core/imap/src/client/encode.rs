//! `Command` to bytes: what `parse::command` reads back as the same command. Literals are non-synchronising (RFC 7888).

mod access;
mod notify;
mod search;

use mail::{Flags, ModSeq};

use crate::command::{Body, Command, Letter, ListRequest, Resync, StatusItem, StoreChange};
use crate::date::encode_date_time;
use crate::fetch::{FetchItem, Partial};
use crate::parse::Names;
use crate::respond::{put, put_binary_name, put_flags, put_mailbox, put_number, put_section_name};
use crate::sequence::SequenceSet;
use sasl::base64;

/// Appends `command` with its line end. `message` is the message of an APPEND.
pub fn put_command(out: &mut Vec<u8>, command: &Command, message: &[u8], names: Names) {
    put(out, &command.tag);
    out.push(b' ');
    let mut line = Line { out, names };
    line.body(&command.body, message);
    put(out, "\r\n");
}

/// The line that is written, and how mailbox names are spelled in it.
struct Line<'o> {
    out: &'o mut Vec<u8>,
    names: Names,
}

impl Line<'_> {
    /// A command without its tag, and without the line end.
    fn body(&mut self, body: &Body, message: &[u8]) {
        match body {
            Body::Capability => self.word("CAPABILITY"),
            Body::Noop => self.word("NOOP"),
            Body::Logout => self.word("LOGOUT"),
            Body::StartTls => self.word("STARTTLS"),
            Body::Namespace => self.word("NAMESPACE"),
            Body::Idle => self.word("IDLE"),
            Body::Compress => self.word("COMPRESS DEFLATE"),
            Body::Unauthenticate => self.word("UNAUTHENTICATE"),
            Body::Acl(acl) => self.acl(acl),
            Body::Metadata(metadata) => self.metadata(metadata),
            Body::Notify(notify) => self.notify(notify),
            Body::GetQuota(root) => {
                self.word("GETQUOTA ");
                self.string(root);
            }
            Body::GetQuotaRoot(mailbox) => {
                self.word("GETQUOTAROOT ");
                self.mailbox(mailbox);
            }
            Body::SetQuota { root, limits } => {
                self.word("SETQUOTA ");
                self.string(root);
                self.word(" (");
                for (index, (resource, limit)) in limits.iter().enumerate() {
                    self.word(if index == 0 { "" } else { " " });
                    self.word(resource);
                    self.word(" ");
                    put_number(self.out, *limit);
                }
                self.word(")");
            }
            Body::Check => self.word("CHECK"),
            Body::Close => self.word("CLOSE"),
            Body::Unselect => self.word("UNSELECT"),
            Body::Authenticate { mechanism, initial } => {
                self.word("AUTHENTICATE ");
                self.word(mechanism);
                if let Some(initial) = initial {
                    self.word(" ");
                    self.word(
                        if initial.is_empty() {
                            "=".into()
                        } else {
                            base64::encode(initial)
                        }
                        .as_str(),
                    );
                }
            }
            Body::Login { user, password } => {
                self.word("LOGIN ");
                self.string(user);
                self.word(" ");
                self.string(password);
            }
            Body::Enable(capabilities) => {
                self.word("ENABLE");
                for capability in capabilities {
                    self.word(" ");
                    self.word(capability);
                }
            }
            Body::Id(pairs) => self.id(pairs),
            Body::Select {
                mailbox,
                read_only,
                condstore,
                resync,
            } => {
                self.word(if *read_only { "EXAMINE " } else { "SELECT " });
                self.mailbox(mailbox);
                match (condstore, resync) {
                    (false, None) => {}
                    (true, None) => self.word(" (CONDSTORE)"),
                    (_, Some(resync)) => {
                        self.word(if *condstore { " (CONDSTORE " } else { " (" });
                        self.resync(resync);
                        self.word(")");
                    }
                }
            }
            Body::Create {
                mailbox,
                special_use,
            } => {
                self.word("CREATE ");
                self.mailbox(mailbox);
                if let Some(special_use) = special_use {
                    self.word(" (USE (");
                    self.word(special_use.attribute());
                    self.word("))");
                }
            }
            Body::Delete(mailbox) => {
                self.word("DELETE ");
                self.mailbox(mailbox);
            }
            Body::Rename { from, to } => {
                self.word("RENAME ");
                self.mailbox(from);
                self.word(" ");
                self.mailbox(to);
            }
            Body::Subscribe(mailbox) => {
                self.word("SUBSCRIBE ");
                self.mailbox(mailbox);
            }
            Body::Unsubscribe(mailbox) => {
                self.word("UNSUBSCRIBE ");
                self.mailbox(mailbox);
            }
            Body::List(request) => self.list(request),
            Body::Lsub { reference, pattern } => {
                self.word("LSUB ");
                self.mailbox(reference);
                self.word(" ");
                self.mailbox(pattern);
            }
            Body::Status { mailbox, items } => {
                self.word("STATUS ");
                self.mailbox(mailbox);
                self.word(" ");
                self.status_items(items);
            }
            Body::Append {
                mailbox,
                flags,
                date,
                ..
            } => {
                self.word("APPEND ");
                self.mailbox(mailbox);
                self.word(" ");
                put_flags(self.out, flags);
                self.word(" ");
                if let Some(date) = date {
                    self.word("\"");
                    self.word(&encode_date_time(*date));
                    self.word("\" ");
                }
                self.literal(message);
            }
            // `message` stands for each of them.
            Body::AppendMany { mailbox, letters } => {
                self.word("APPEND ");
                self.mailbox(mailbox);
                for letter in letters {
                    self.letter(letter, message);
                }
            }
            Body::Replace {
                uid,
                set,
                mailbox,
                letter,
            } => {
                self.with_set(*uid, "REPLACE", set);
                self.word(" ");
                self.mailbox(mailbox);
                self.letter(letter, message);
            }
            Body::Expunge { uids } => match uids {
                Some(uids) => self.with_set(true, "EXPUNGE", uids),
                None => self.word("EXPUNGE"),
            },
            Body::Search(request) => {
                self.word(if request.uid { "UID SEARCH" } else { "SEARCH" });
                self.results(request.results);
                self.word(" CHARSET");
                self.program(&request.key);
            }
            Body::Sort(request) => {
                let search = &request.search;
                self.word(if search.uid { "UID SORT" } else { "SORT" });
                self.results(search.results);
                for (index, criterion) in request.criteria.iter().enumerate() {
                    self.word(if index == 0 { " (" } else { " " });
                    self.word(if criterion.reverse { "REVERSE " } else { "" });
                    self.word(criterion.field.word());
                }
                self.word(")");
                self.program(&search.key);
            }
            Body::Thread(request) => {
                self.word(if request.uid {
                    "UID THREAD "
                } else {
                    "THREAD "
                });
                self.word(request.algorithm.word());
                self.program(&request.key);
            }
            Body::UidBatches { size, batches } => {
                self.word("UIDBATCHES ");
                put_number(self.out, *size);
                if let Some((first, last)) = batches {
                    self.word(&format!(" {first}:{last}"));
                }
            }
            Body::Fetch {
                uid,
                set,
                items,
                since,
                slice,
            } => {
                self.with_set(*uid, "FETCH", set);
                self.word(" (");
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.word(" ");
                    }
                    self.fetch_item(item);
                }
                self.word(")");
                let mut modifiers = Vec::new();
                if let Some(since) = since {
                    modifiers.push(format!("CHANGEDSINCE {}", since.modseq.0));
                    modifiers.extend(since.vanished.then(|| "VANISHED".into()));
                }
                modifiers.extend(slice.map(|slice| format!("PARTIAL {}", slice.written())));
                if !modifiers.is_empty() {
                    self.word(&format!(" ({})", modifiers.join(" ")));
                }
            }
            Body::Store {
                uid,
                set,
                change,
                silent,
                flags,
                unchanged_since,
            } => {
                self.with_set(*uid, "STORE", set);
                if let Some(ModSeq(since)) = unchanged_since {
                    self.word(" (UNCHANGEDSINCE ");
                    put_number(self.out, *since);
                    self.word(")");
                }
                self.store(*change, *silent, flags);
            }
            Body::Copy { uid, set, mailbox } => {
                self.with_set(*uid, "COPY", set);
                self.word(" ");
                self.mailbox(mailbox);
            }
            Body::Move { uid, set, mailbox } => {
                self.with_set(*uid, "MOVE", set);
                self.word(" ");
                self.mailbox(mailbox);
            }
        }
    }

    /// One message of an APPEND, behind a blank.
    fn letter(&mut self, letter: &Letter, message: &[u8]) {
        self.word(" ");
        put_flags(self.out, &letter.flags);
        self.word(" ");
        if let Some(date) = letter.date {
            self.word("\"");
            self.word(&encode_date_time(date));
            self.word("\" ");
        }
        self.literal(message);
    }

    /// Text that needs no quoting.
    fn word(&mut self, text: &str) {
        put(self.out, text);
    }

    /// A quoted string where the bytes allow it, else a literal.
    fn string(&mut self, bytes: &[u8]) {
        let quotable = bytes.len() < 200 && bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
        if !quotable {
            return self.literal(bytes);
        }
        self.out.push(b'"');
        for &byte in bytes {
            if matches!(byte, b'"' | b'\\') {
                self.out.push(b'\\');
            }
            self.out.push(byte);
        }
        self.out.push(b'"');
    }

    /// A non-synchronising literal (RFC 7888): the bytes follow at once.
    fn literal(&mut self, bytes: &[u8]) {
        self.out.push(b'{');
        put_number(self.out, bytes.len() as u64);
        self.word("+}\r\n");
        self.out.extend_from_slice(bytes);
    }

    /// A mailbox name. A long one is a literal, since servers bound the length of a line.
    fn mailbox(&mut self, name: &str) {
        if name.len() < 200 {
            return put_mailbox(self.out, name, self.names);
        }
        match self.names {
            Names::ModifiedUtf7 => self.literal(crate::utf7::encode(name).as_bytes()),
            Names::Utf8 => self.literal(name.as_bytes()),
        }
    }

    /// A command about messages: by UID or by number, and which.
    fn with_set(&mut self, uid: bool, word: &str, set: &SequenceSet) {
        if uid {
            self.word("UID ");
        }
        self.word(word);
        self.word(" ");
        set.encode(self.out);
    }

    /// ID (RFC 2971): pairs of names and values, or NIL.
    fn id(&mut self, pairs: &[(Vec<u8>, Option<Vec<u8>>)]) {
        self.word("ID ");
        if pairs.is_empty() {
            return self.word("NIL");
        }
        for (index, (name, value)) in pairs.iter().enumerate() {
            self.word(if index == 0 { "(" } else { " " });
            self.string(name);
            self.word(" ");
            match value {
                Some(value) => self.string(value),
                None => self.word("NIL"),
            }
        }
        self.word(")");
    }

    /// LIST in its basic form, or in that of RFC 5258 where options are given.
    fn list(&mut self, request: &ListRequest) {
        self.word("LIST ");
        let selection = [
            (request.select_subscribed, "SUBSCRIBED"),
            (request.select_special_use, "SPECIAL-USE"),
            (request.recursive_match, "RECURSIVEMATCH"),
        ];
        if request.extended {
            self.options(selection);
            self.word(" ");
        }
        self.mailbox(&request.reference);
        self.word(" ");
        if let ([only], false) = (&request.patterns[..], request.extended) {
            return self.mailbox(only);
        }
        for (index, pattern) in request.patterns.iter().enumerate() {
            self.word(if index == 0 { "(" } else { " " });
            self.mailbox(pattern);
        }
        self.word(") RETURN (");
        self.words([
            (request.return_subscribed, "SUBSCRIBED"),
            (request.return_children, "CHILDREN"),
            (request.return_special_use, "SPECIAL-USE"),
            (request.return_my_rights, "MYRIGHTS"),
        ]);
        if !request.return_metadata.is_empty() {
            self.word(" METADATA ");
            self.entry_list(&request.return_metadata);
        }
        if !request.return_status.is_empty() {
            self.word(" STATUS ");
            self.status_items(&request.return_status);
        }
        self.word(")");
    }

    /// A list of words in parentheses.
    fn options(&mut self, options: [(bool, &str); 3]) {
        self.word("(");
        self.words(options);
        self.word(")");
    }

    /// The words that are wanted, with blanks between.
    fn words<const N: usize>(&mut self, options: [(bool, &str); N]) {
        let wanted: Vec<&str> = options
            .into_iter()
            .filter(|(wanted, _)| *wanted)
            .map(|(_, word)| word)
            .collect();
        self.word(&wanted.join(" "));
    }

    /// The items of STATUS, in parentheses.
    fn status_items(&mut self, items: &[StatusItem]) {
        let names: Vec<&str> = items.iter().map(|item| item.name()).collect();
        self.word("(");
        self.word(&names.join(" "));
        self.word(")");
    }

    fn fetch_item(&mut self, item: &FetchItem) {
        match item {
            FetchItem::Uid => self.word("UID"),
            FetchItem::Flags => self.word("FLAGS"),
            FetchItem::InternalDate => self.word("INTERNALDATE"),
            FetchItem::Rfc822Size => self.word("RFC822.SIZE"),
            FetchItem::ModSeq => self.word("MODSEQ"),
            FetchItem::EmailId => self.word("EMAILID"),
            FetchItem::ThreadId => self.word("THREADID"),
            FetchItem::SaveDate => self.word("SAVEDATE"),
            FetchItem::Preview { lazy } => {
                self.word(if *lazy { "PREVIEW (LAZY)" } else { "PREVIEW" });
            }
            FetchItem::Envelope => self.word("ENVELOPE"),
            FetchItem::BodyStructureBasic => self.word("BODY"),
            FetchItem::BodyStructure => self.word("BODYSTRUCTURE"),
            FetchItem::Rfc822 => self.word("RFC822"),
            FetchItem::Rfc822Header => self.word("RFC822.HEADER"),
            FetchItem::Rfc822Text => self.word("RFC822.TEXT"),
            FetchItem::Section {
                peek,
                section,
                partial,
            } => {
                let mut name = Vec::new();
                put_section_name(&mut name, section, None);
                self.word(if *peek { "BODY.PEEK" } else { "BODY" });
                self.out.extend_from_slice(&name[b"BODY".len()..]);
                self.partial(*partial);
            }
            FetchItem::Binary {
                peek,
                part,
                partial,
            } => {
                put_binary_name(
                    self.out,
                    if *peek { "BINARY.PEEK" } else { "BINARY" },
                    part,
                    None,
                );
                self.partial(*partial);
            }
            FetchItem::BinarySize { part } => put_binary_name(self.out, "BINARY.SIZE", part, None),
        }
    }

    /// A part of a section: offset and count, in octets.
    fn partial(&mut self, partial: Option<Partial>) {
        if let Some(Partial { offset, count }) = partial {
            self.word(&format!("<{offset}.{count}>"));
        }
    }

    /// What a client knows of a mailbox (RFC 7162 §3.2.5).
    fn resync(&mut self, resync: &Resync) {
        let (validity, modseq) = (resync.uid_validity, resync.modseq.0);
        self.word(&format!("QRESYNC ({validity} {modseq}"));
        if let Some(known) = &resync.known {
            self.word(" ");
            known.encode(self.out);
        }
        if let Some((numbers, uids)) = &resync.matches {
            self.word(" (");
            numbers.encode(self.out);
            self.word(" ");
            uids.encode(self.out);
            self.word(")");
        }
        self.word(")");
    }

    /// The item of STORE, with or without `.SILENT`, and the flags.
    fn store(&mut self, change: StoreChange, silent: bool, flags: &Flags) {
        self.word(match change {
            StoreChange::Replace => " FLAGS",
            StoreChange::Add => " +FLAGS",
            StoreChange::Remove => " -FLAGS",
        });
        self.word(if silent { ".SILENT " } else { " " });
        put_flags(self.out, flags);
    }
}
