//! Times and bounds between a front and the storage nodes behind it. `plan` counts what a connection costs.

use std::time::Duration;

use runtime::limits::{CONNECTION_BYTES, READ_BYTES_MIN, TLS_BYTES};

/// From READY to the end of the storage node's greeting (and its answers to EHLO and ID).
pub const GREETING_MAX: Duration = Duration::from_secs(10);
/// A storage node's verdict on a login: it answers a wrong password late, and later with each failure (`login::attempts`).
pub const VERDICT_MAX: Duration = Duration::from_secs(90);
/// A front that connected says within this what it wants.
pub const PREFACE_MAX: Duration = Duration::from_secs(10);
/// A client has this long for each line before its login, as without a front, …
pub const SILENCE_BEFORE_LOGIN_MAX: Duration = Duration::from_secs(60);
/// … and for submission (RFC 5321 §4.5.3.2.7).
pub const SILENCE_OF_SENDER_MAX: Duration = Duration::from_secs(300);
/// A client's response in an exchange, all of it. A storage node waits for it longer: it would end the session for its silence, and count as one that fails.
pub const RESPONSE_MAX: Duration = Duration::from_secs(45);
/// A session in which neither side says anything ends. Longer than each protocol's own limit, which the storage node holds the client to.
pub const SILENCE_MAX: Duration = Duration::from_secs(35 * 60);
/// A side that takes none of what is sent to it for so long is gone.
pub const STALLED_MAX: Duration = Duration::from_secs(10 * 60);
/// The client said something last, and the storage node does not answer: RFC 5321 §4.5.3.2.6 gives a server ten minutes after the end of data.
pub const ANSWER_MAX: Duration = Duration::from_secs(10 * 60);
/// After the client's end the storage node has this long for its last answers.
pub const HALF_CLOSED_MAX: Duration = Duration::from_secs(60);

/// One read of either side, and so what waits for the other.
pub const PASS_BYTES: usize = 16 * 1_024;
/// A session that is passed on, at work: two connections with TLS; for each direction a read, what was read (with what TLS had
/// of a record), and what is sent of it.
pub const SESSION_BYTES: usize = 2 * (CONNECTION_BYTES + TLS_BYTES) + 2 * 4 * PASS_BYTES;
/// … and while it is idle: two read buffers and two connections.
pub const IDLE_SESSION_BYTES: usize = 2 * (READ_BYTES_MIN + CONNECTION_BYTES + TLS_BYTES);

/// A line of the preface and its answers.
pub const PREFACE_BYTES_MAX: usize = 4 * 1_024;
/// A line of a login, of either side: a SASL response has at most 12,288 bytes (RFC 4954 §4).
pub const LINE_BYTES_MAX: usize = 12_288 + 128;
/// Lines of a storage node's greeting, capabilities and answers to one command.
pub const LINES_MAX: usize = 128;
/// Logins of one client before one is granted: each costs a storage node a handshake, also one that is given up or put off and counts as no failure.
pub const LOGINS_MAX: usize = 20;
/// Challenges of one login.
pub const CHALLENGES_MAX: usize = 8;

/// How often a storage node is asked what it offers, …
pub const OFFER_EVERY: Duration = Duration::from_secs(10);
/// … and how long for the answer.
pub const OFFER_MAX: Duration = Duration::from_secs(10);

const _: () = assert!(IDLE_SESSION_BYTES < SESSION_BYTES);
const _: () = assert!(PASS_BYTES >= READ_BYTES_MIN);
const _: () =
    assert!(RESPONSE_MAX.as_secs() < crate::imap::limits::SILENCE_BEFORE_LOGIN_MAX.as_secs());
const _: () =
    assert!(RESPONSE_MAX.as_secs() < crate::pop3::limits::SILENCE_BEFORE_LOGIN_MAX.as_secs());
const _: () = assert!(
    RESPONSE_MAX.as_secs() < crate::managesieve::limits::SILENCE_BEFORE_LOGIN_MAX.as_secs()
);
