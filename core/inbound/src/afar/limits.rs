//! Times and bounds between an inbound node and storage nodes.

use std::time::Duration;

/// A node on the same network answers within milliseconds; one that takes longer is not waited for by every sender.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);
/// TLS, greeting and hello together.
pub const HELLO_MAX: Duration = Duration::from_secs(10);
/// From MAIL to the answer to DATA: look-ups of up to a thousand recipients.
pub const ENVELOPE_MAX: Duration = Duration::from_secs(30);
/// One piece of content, and one of a table.
pub const PIECE_MAX: Duration = Duration::from_secs(30);
/// From the end of data to its answer. Longer than a storage node waits for a leg that is silent, so that the answer is seldom lost.
pub const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Content is stuffed and sent in such pieces.
pub const PIECE_BYTES: usize = 64 * 1_024;

/// Conversations of one core at a time. A storage node commits in batches, so more of them do not make it faster.
pub const TALKS_MAX: usize = 32;
/// A message waits so long for its turn; then it is deferred.
pub const TURN_MAX: Duration = Duration::from_secs(10);
/// Connections of one core to one storage node that wait for the next message.
pub const IDLE_MAX: usize = 4;
/// They wait so long: a storage node closes after five minutes of silence.
pub const IDLE_FOR: Duration = Duration::from_secs(60);
/// Messages over one connection.
pub const CARRIED_MAX: u32 = 1_000;

/// Messages from the spool at a time. More do not make a storage node faster, and receivers have the rest of its doors.
pub const SPOOLED_AT_ONCE: usize = 8;

/// A stop waits so long for answers to them. A node answers within a second as a rule.
pub const LAST_ANSWERS_MAX: Duration = Duration::from_secs(10);

/// Storage nodes that may be named.
pub const TARGETS_MAX: usize = 8;
/// A storage node that failed is asked again after so long, doubled with each failure up to the last.
pub const DOWN_MIN: Duration = Duration::from_secs(1);
pub const DOWN_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether a node is to be probed.
pub const PROBE_LOOK: Duration = Duration::from_millis(500);

/// Deliveries in doubt that are remembered, about 100 bytes each.
pub const DOUBTS_MAX: usize = 4_096;
/// RFC 5321 §4.5.4.1: a sender gives up after 4 to 5 days.
pub const DOUBT_FOR: Duration = Duration::from_secs(5 * 24 * 60 * 60);
/// So long only the storage node that may have the message is asked: by then it works again, or an operator has given it up.
pub const DOUBT_HOLDS_FOR: Duration = Duration::from_secs(60 * 60);

/// A line of the protocol of tables.
pub const TABLE_LINE_BYTES_MAX: usize = 256;
/// A whole table.
pub const TABLE_MAX: Duration = Duration::from_secs(60);
/// A storage node makes a new table at most this often, however many nodes ask.
pub const TABLE_FRESH_FOR: Duration = Duration::from_secs(2);
/// A node that fetches tables and says nothing for so long is gone.
pub const TABLE_SILENCE_MAX: Duration = Duration::from_secs(120);

/// Connections of one core at a time.
pub const CONNECTIONS_MAX: usize = TALKS_MAX + TARGETS_MAX * IDLE_MAX;
const _: () = assert!(DOWN_MIN.as_millis() < DOWN_MAX.as_millis());
