//! What the last pattern that matched captured (RFC 5229 §3.2).

use crate::limits::CAPTURE_INDEX_MAX;

/// `${0}` is the first one.
#[derive(Debug, Default)]
pub(super) struct Captures(Vec<String>);

impl Captures {
    /// What a wildcard matched, or nothing if there were not so many.
    pub fn text(&self, index: u8) -> &str {
        self.0.get(usize::from(index)).map_or("", String::as_str)
    }

    /// The whole match first. What has no variable is dropped.
    pub fn set<'t>(&mut self, texts: impl Iterator<Item = &'t str>) {
        self.0.clear();
        self.0
            .extend(texts.take(CAPTURE_INDEX_MAX + 1).map(str::to_owned));
    }
}
