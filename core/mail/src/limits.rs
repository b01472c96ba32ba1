//! What a message may cost us to look at. Nothing here refuses mail: past a bound the kept summary says that it is not complete, and
//! the body, which is never changed, still says everything.

/// Multiparts and embedded messages inside each other. Real mail stays under ten; the scanner's stack is one frame each.
pub const DEPTH_MAX: usize = 32;
/// Parts in one kept summary, all levels together. A message of more is read again when its structure is asked for.
pub const KEPT_PARTS_MAX: usize = 1_000;
/// Bytes of header fields kept in one summary, embedded messages included. A References field of a long thread is 4 KiB.
pub const KEPT_HEADER_BYTES_MAX: usize = 32 * 1_024;
/// Bytes of part descriptions (types, parameters, file names) kept in one summary: 64 for each of `KEPT_PARTS_MAX` parts.
pub const KEPT_TEXT_BYTES_MAX: usize = 64 * 1_024;
/// The same three where a message is read for its summary. Past this many parts a multipart shows all that is left of it as one part.
pub const WHOLE_PARTS_MAX: usize = 10_000;
/// 40,000 addresses of ordinary length. Past it an ENVELOPE would be incomplete, and is refused.
pub const WHOLE_HEADER_BYTES_MAX: usize = 1_024 * 1_024;
/// As for the header: past it a BODYSTRUCTURE is refused.
pub const WHOLE_TEXT_BYTES_MAX: usize = 1_024 * 1_024;
/// Parameters of one Content-Type or Content-Disposition. RFC 2231 continuations of the longest file names need about a hundred.
pub const PARAMETERS_MAX: usize = 1_000;
/// RFC 2046 §5.1.1: a boundary has at most 70 characters; senders that use a few more are still understood.
pub const BOUNDARY_BYTES_MAX: usize = 256;
/// Bytes of an encoded summary that is still decoded: all the bounds above and the numbers of `WHOLE_PARTS_MAX` parts.
pub const SUMMARY_BYTES_MAX: usize = 4 * 1_024 * 1_024;

const _: () = assert!(
    WHOLE_HEADER_BYTES_MAX + WHOLE_TEXT_BYTES_MAX + 2 * WHOLE_PARTS_MAX * 64 <= SUMMARY_BYTES_MAX
);
