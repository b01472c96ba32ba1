//! What one connection may ask of us. `appliance/plan` multiplies the byte figures by the number of connections.

/// A command without APPEND's message: its lines and all its literals. RFC 9051 §4: a server should take command lines of
/// 8,000 octets; a client that fetches a scattered set of 10,000 messages sends about 60 KiB.
pub const COMMAND_BYTES_MAX: usize = 64 * 1_024;
/// Before login: two strings of a login are all that is needed, except for ID.
pub const COMMAND_BYTES_BEFORE_LOGIN_MAX: usize = 8 * 1_024;
/// A response inside of AUTHENTICATE: the largest token of OAuth (`sasl::bearer`) in base64, with its CRLF.
pub const SASL_LINE_BYTES_MAX: usize = 12_288 + 2;
/// ID, which clients send before login too: the largest lawful one (RFC 2971 §3.3) takes 31.8 kB, and 63.5 kB when every octet
/// in its quoted strings is escaped. A connection that has not logged in keeps no more than this.
pub const ID_COMMAND_BYTES_MAX: usize = 64 * 1_024;
/// One APPEND message; the same as the SMTP receiver's SIZE.
pub const APPEND_BYTES_MAX: usize = 50 * 1_024 * 1_024;
/// A non-synchronising literal that is too large is read and thrown away up to here, then the connection is closed.
pub const DISCARD_BYTES_MAX: u64 = 4 * APPEND_BYTES_MAX as u64;
/// Literals in one command.
pub const LITERALS_MAX: usize = 64;
/// RFC 9051 sets no limit; clients use four to ten characters. It is repeated in our reply.
pub const TAG_BYTES_MAX: usize = 64;
/// Pieces of a sequence set (`1,3:5` has two); what fits in `COMMAND_BYTES_MAX` and is not absurd.
pub const SEQUENCE_PIECES_MAX: usize = 16_384;
/// Keys of one SEARCH, all levels together.
pub const SEARCH_KEYS_MAX: usize = 1_024;
/// BODY and TEXT among them: the text of every message is looked through for each. People look for a few words.
pub const SEARCH_TEXTS_MAX: usize = 32;
/// Parentheses, NOT and OR inside each other. Each is a stack frame in parsing and in matching.
pub const SEARCH_DEPTH_MAX: usize = 32;
/// Criteria of one SORT: there are nine, and each may be turned round.
pub const SORT_CRITERIA_MAX: usize = 32;
/// Octets of a subject or name that count in SORT, mapped for comparison. What agrees in all of them is sorted by the next criterion: a few thousand
/// mails with subjects of 30 KiB do not use up what a SORT may hold.
pub const SORT_KEY_BYTES_MAX: usize = 512;
/// Message-IDs of one References field that THREAD uses: the last ones, which are the nearest. Each may become a node of the tree.
pub const REFERENCES_MAX: usize = 10_000;
/// Steps that THREAD goes up in its trees to find loops: so many, and as many for each node. Past them a link that might close a loop is not made.
pub const THREAD_STEPS_MIN: u64 = 1_000_000;
pub const THREAD_STEPS_PER_NODE: u64 = 64;
/// Data items of one FETCH.
pub const FETCH_ITEMS_MAX: usize = 128;
/// Names in one HEADER.FIELDS list.
pub const FIELD_NAMES_MAX: usize = 128;
/// Numbers in `BODY[1.2.3]`; above mail's bound on depth.
pub const SECTION_DEPTH_MAX: usize = 40;
/// Patterns of one LIST.
pub const LIST_PATTERNS_MAX: usize = 32;
/// Wildcards of one LIST pattern: matching is at worst pattern times name, this keeps even that small.
pub const LIST_WILDCARDS_MAX: usize = 32;
/// A mailbox name in UTF-8.
pub const MAILBOX_NAME_BYTES_MAX: usize = 1_024;
/// RFC 2971 §3.3: 30 field-value pairs; values are 1,024 octets at most.
pub const ID_PAIRS_MAX: usize = 30;
/// BAD replies before BYE; ordinary clients never see three.
pub const BAD_COMMANDS_MAX: u32 = 20;
/// Replies of ours that wait to be sent while there are more commands in the input: 64 KiB of short ones would bring 1.6 MB.
pub const REPLIES_BYTES_MAX: usize = 16 * 1_024;
/// Failed logins before BYE.
pub const LOGIN_FAILURES_MAX: u32 = 3;
/// Longest string sent in quotes; longer ones go as literals, which clients read without scanning.
pub const QUOTED_BYTES_MAX: usize = 512;
/// What our client takes as one response line before it says the server is mad.
pub const RESPONSE_BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// RFC 2971 §3.3: octets of a field name, and of a value.
pub const ID_FIELD_BYTES_MAX: usize = 30;
/// Octets of a value.
pub const ID_VALUE_BYTES_MAX: usize = 1_024;

/// MULTIAPPEND: messages of one APPEND. Together they may have as many octets as one message may, and each costs a parse.
pub const APPENDED_TOGETHER_MAX: usize = 32;
/// ACL: octets of an identifier: the longest address, quoted, behind its sign.
pub const IDENTIFIER_BYTES_MAX: usize = 1_024;
/// METADATA: entries of one command.
pub const METADATA_ENTRIES_MAX: usize = 64;
/// METADATA: octets of an entry's name. Names of vendors' entries have some forty.
pub const METADATA_NAME_BYTES_MAX: usize = 255;
/// RFC 10022: messages of a batch, at least.
pub const BATCH_MESSAGES_MIN: u32 = 500;
/// NOTIFY: groups of one command, and mailboxes that it names. A program that follows more of them asks for all.
pub const NOTIFY_GROUPS_MAX: usize = 16;
pub const NOTIFY_NAMES_MAX: usize = 128;
/// NOTIFY: octets of the names of mailboxes and of fields, which a session keeps.
pub const NOTIFY_TEXT_BYTES_MAX: usize = 8 * 1_024;
/// RFC 8474 §7: octets of an object identifier.
pub const OBJECT_ID_BYTES_MAX: usize = 255;
/// Resources in one SETQUOTA: RFC 9208 §5 has four.
pub const QUOTA_LIMITS_MAX: usize = 16;
/// Octets of a client's name (ID) that are kept to hide capabilities from it.
pub const CLIENT_NAME_BYTES_MAX: usize = 64;
/// COMPRESS: bytes packed at once. Deflate looks back 32 KiB, so larger pieces gain little; each takes a millisecond.
pub const PACKED_BYTES_MAX: usize = 64 * 1_024;
/// COMPRESS: bytes that one step expands to, before they are looked at.
pub const EXPANDED_BYTES_MAX: usize = 16 * 1_024;
/// COMPRESS: what one connection's `Inflater` takes: a window of 32 KiB and tables.
pub const INFLATER_BYTES: usize = 48 * 1_024;
/// COMPRESS: what the `Deflater` of a core takes: hashes and chains of its window, codes that wait.
pub const DEFLATER_BYTES: usize = 384 * 1_024;
/// COMPRESS: commands expand to at most so many times what arrives. Deflate reaches 1,032; a thousand FETCHes in a row reach 20.
pub const BOMB_RATIO: usize = 100;
/// COMPRESS: and to so much more, for a command that repeats itself.
pub const BOMB_BYTES_MIN: usize = 1_024 * 1_024;

const _: () = assert!(COMMAND_BYTES_MAX >= 8_000);
// Each octet escaped, quotes and spaces between; then the tag and the word.
const _: () = assert!(
    ID_PAIRS_MAX * (2 * ID_FIELD_BYTES_MAX + 2 * ID_VALUE_BYTES_MAX + 6) + TAG_BYTES_MAX + 16
        <= ID_COMMAND_BYTES_MAX
);
const _: () = assert!(2 * ID_PAIRS_MAX <= LITERALS_MAX);
// And the name of the mailbox.
const _: () = assert!(APPENDED_TOGETHER_MAX < LITERALS_MAX);
const _: () = assert!(SECTION_DEPTH_MAX > mail::limits::DEPTH_MAX);
