//! What a message may cost us to look at. Nothing here refuses mail: past a bound the summary says less, and the
//! body, which is never changed, still says everything.

/// Multiparts and embedded messages inside each other. Real mail stays under ten; the scanner's stack is one frame each.
pub const DEPTH_MAX: usize = 32;
/// Parts of one message, all levels together. Past it the remaining parts are not listed.
pub const PARTS_MAX: usize = 1_000;
/// Bytes of header fields kept in one summary, embedded messages included. A References field of a long thread is 4 KiB.
pub const KEPT_HEADER_BYTES_MAX: usize = 32 * 1_024;
/// Bytes of part descriptions (types, parameters, file names) kept in one summary: 64 for each of `PARTS_MAX` parts.
pub const PART_TEXT_BYTES_MAX: usize = 64 * 1_024;
/// Parameters of one Content-Type or Content-Disposition. RFC 2231 continuations need about ten.
pub const PARAMETERS_MAX: usize = 64;
/// RFC 2046 §5.1.1: a boundary has at most 70 characters; senders that use a few more are still understood.
pub const BOUNDARY_BYTES_MAX: usize = 256;
/// Addresses in one address list of an envelope; with `KEPT_HEADER_BYTES_MAX` before it this is never the narrower bound
/// for addresses of ordinary length.
pub const ADDRESSES_MAX: usize = 2_000;
/// Bytes of an encoded summary that is still decoded: all the bounds above and the numbers of `PARTS_MAX` parts.
pub const SUMMARY_BYTES_MAX: usize = 512 * 1_024;
/// Bytes of one message that SEARCH decodes (BODY and TEXT keys); what lies behind is not searched.
pub const SEARCHED_BYTES_MAX: usize = 64 * 1_024 * 1_024;

const _: () =
    assert!(KEPT_HEADER_BYTES_MAX + PART_TEXT_BYTES_MAX + PARTS_MAX * 64 <= SUMMARY_BYTES_MAX);
