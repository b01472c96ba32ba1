//! Bounds of what one message costs to judge.

/// Bytes of a message that are looked at; what comes later counts for nothing. The mail that people call junk is short.
pub const READ_BYTES_MAX: usize = 256 * 1_024;
/// Bytes of text that words are taken from, before and after decoding: some 5,000 words.
pub const TEXT_BYTES_MAX: usize = 48 * 1_024;
/// Parts that are looked at; a message of more gets points for that alone.
pub const PARTS_MAX: usize = 100;
/// Different words of one message. A letter has some 150.
pub const TOKENS_MAX: usize = 512;
/// Words looked at for them: a text that repeats itself ends here.
pub const WORDS_MAX: usize = 8_192;
/// Bytes of one word: longer ones are not words.
pub const WORD_BYTES_MAX: usize = 32;
/// Bytes of one word at least; two letters say little.
pub const WORD_BYTES_MIN: usize = 3;
/// Hosts of links that are looked at.
pub const LINKS_MAX: usize = 64;
/// Reasons of one judgement: more than there are, so that words, which come last, always count.
pub const REASONS_MAX: usize = 24;
/// Words that decide: those that are furthest from even. Robinson's letter takes all; a bound keeps long mail from drowning in them.
pub const DECISIVE_MAX: usize = 150;
/// Messages of each kind before words say anything.
pub const LESSONS_MIN: u32 = 10;
