//! Lines of commands in the input.

/// What the input begins with.
pub(super) enum Line<'a> {
    /// Without its CRLF, and how many bytes it had with it.
    Whole(&'a [u8], usize),
    /// The end of the line has not come.
    Partial,
    /// Longer than it may be.
    TooLong,
}

/// The first line of the input. Looks at `bytes_max` of it at most.
pub(super) fn split_line(input: &[u8], bytes_max: usize) -> Line<'_> {
    let window = &input[..input.len().min(bytes_max)];
    match find_crlf(window) {
        Some(end) => Line::Whole(&window[..end], end + 2),
        None if window.len() == bytes_max => Line::TooLong,
        None => Line::Partial,
    }
}

/// Where the first CRLF is. An LF alone ends nothing: the line that holds one is refused as a whole.
pub(super) fn find_crlf(input: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', input)
        .find(|at| *at > 0 && input[at - 1] == b'\r')
        .map(|at| at - 1)
}
