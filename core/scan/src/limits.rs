//! Every number of this crate, with its reason.

use std::time::Duration;

use base::units::KIB;

/// What one server may answer in one call. rspamd writes some 5 KiB about a message with fifty symbols.
pub const REPLY_BYTES_MAX: usize = 128 * KIB;
/// The head of an HTTP reply, …
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * KIB;
/// … and its fields. rspamd sends five.
pub const HTTP_FIELDS_MAX: usize = 64;
/// What clamd answers is one line: a path and the name of a signature.
pub const CLAMD_REPLY_BYTES_MAX: usize = 4 * KIB;
/// Content in one chunk of INSTREAM.
pub const CLAMD_CHUNK_BYTES: usize = 64 * KIB;
/// Content in one packet of a milter: the protocol's chunk (`MILTER_CHUNK_SIZE`) has 65,535 bytes.
pub const MILTER_CHUNK_BYTES: usize = 65_535;
/// How long the last word to a filter may wait for room.
pub const QUIT_WAIT: Duration = Duration::from_millis(500);
/// A field's name is shown to a filter up to here: a line has no more (RFC 5322 §2.1.1).
pub const MILTER_NAME_BYTES: usize = 998;
/// Changes that one filter may ask for. A filter that signs and marks asks for a handful.
pub const CHANGES_MAX: usize = 64;
/// Bytes of fields that a server adds, all of them together.
pub const ADDED_BYTES_MAX: usize = 32 * KIB;
/// Recipients named to a server. One that counts recipients sees that there are many.
pub const RECIPIENTS_NAMED_MAX: usize = 100;
/// Symbols of rspamd in our header field: those that count most.
pub const SYMBOLS_SHOWN_MAX: usize = 12;
/// Characters of a name or sentence of a server that are shown or sent on. RFC 5321 §4.5.3.1.5 allows 512 in a reply line.
pub const TEXT_CHARS_MAX: usize = 200;

/// Servers that one call tries. Two that fail are no accident of one server.
pub const TRIES_MAX: usize = 2;
/// A server that is reached and then fails in a row at messages of so many peers is left alone: fewer may be the fault of one sender.
pub const STRIKES_MAX: usize = 3;
/// Where all mail comes from one peer, so many failures in a row count as well.
pub const STRIKES_OF_ONE_MAX: u32 = 12;
/// Peers whose calls probe a server at a time: a message that hangs is not the only one that is tried.
pub const PROBES_MAX: usize = 3;
/// It is left alone for so long, then for twice as long after each probe that fails, …
pub const REST_MIN: Duration = Duration::from_secs(1);
/// … and never longer than this: a server that is back is used again within a minute.
pub const REST_MAX: Duration = Duration::from_secs(60);

/// Servers of one kind, filters of one box. `appliance/plan` names the same numbers.
pub const SERVERS_MAX: usize = 8;
pub const FILTERS_MAX: usize = 8;
/// What one call holds beside the message: the connection, a write under way (`runtime::limits::WRITE_BYTES_MAX`), the reply in a buffer that
/// doubled, and a packet of it. The JSON of a reply is read in one go, by one call of a core at a time. `appliance/plan` adds it up.
pub const CALL_BYTES: usize = 640 * KIB;
/// The tree of that JSON, once for each core: some thirty times its text, where that is all empty lists.
pub const JSON_BYTES: usize = 4 * 1_024 * KIB;

/// Our own search decodes a part in pieces of so many bytes, each searched and dropped before the next.
pub const PIECE_BYTES: usize = 48 * KIB;
/// Header fields of a message that a filter may be shown: each is a round trip, and no mail of people or programs has a hundred.
pub const FIELDS_MAX: usize = 2_000;
/// Bytes of them: they are taken apart on the core, at some 5 ns a byte where each line is a fold.
pub const HEADER_BYTES_MAX: usize = 512 * KIB;
