//! Which log events are about one message on its way.

use tracing::{Level, Span};

/// The target of tracing events about a message: taken, refused, sent, tried again, given up. `ringpostctl trace` shows the events of this
/// target and no others.
///
/// Fields: `from`, `to` (addresses, with commas between them), `message_id`, `peer`, `host`, `queue` (number in the queue), `spool` (number in the spool), `about` (of a
/// report: the number of the message that it reports on), `into` (numbers of the messages that take its place). The span `message` has
/// the `id` that is in the message's Received field, or the number in the `spool` that a hand-over is about.
pub const MESSAGE: &str = "message";

/// For work that reports nothing of `MESSAGE`: `span` where the log shows details, which then have the id, else none. Entering a span each time
/// such work goes on would cost storage 1 µs for each message.
pub fn detail(span: &Span) -> Span {
    if tracing::enabled!(Level::DEBUG) {
        span.clone()
    } else {
        Span::none()
    }
}
