//! Bounds of what people taught.

/// Models of persons and domains together. A person without one is served by the domain's.
pub const MODELS_MAX: usize = 1_000;
/// Different words of one model; past it the words that were seen least go.
pub const WORDS_PER_MODEL_MAX: usize = 8_192;
/// What is left of them then, so that it does not happen with each lesson.
pub const WORDS_PER_MODEL_KEPT: usize = 6_144;
/// Words of all models together. Past it no lesson is taken until models are removed.
pub const WORDS_MAX: usize = 600_000;
/// Messages of which a model knows how they were taught last: so a message counts once, and can be taken back.
pub const MESSAGES_PER_MODEL_MAX: usize = 128;
/// Messages of one kind; at this number the counts of that kind are halved, so that old lessons fade. It fits a byte.
pub const LESSONS_MAX: u8 = 250;
/// Messages of one kind that one account may add to its domain's model in a day: an eighth of what the model holds of a kind. One person alone in a
/// domain still teaches it enough in a day.
pub const DOMAIN_SHARE: u8 = LESSONS_MAX / 8;
/// Accounts that teach their domains in one day. Past it the others teach their own models only.
pub const GIVERS_MAX: usize = 8_192;
/// Words of one message (`spam::limits::TOKENS_MAX`).
pub const WORDS_PER_LESSON_MAX: usize = 512;
/// A domain's name (RFC 1035 §2.3.4).
pub const DOMAIN_BYTES_MAX: usize = 255;

/// Models that may wait for a checkpoint: each is written whole, some 80 KiB at most. From half of it on a checkpoint is due; past it a lesson is
/// refused, and nothing else waits.
pub const DIRTY_MAX: usize = 32;
/// Rows fetched by one read of the projection.
pub const ROWS_PER_READ: usize = 8;
/// Rows of usual size that one model stands for when a checkpoint's room is worked out.
pub const MODEL_ROWS: u64 = 24;

/// A word with its two counts.
pub(crate) const WORD_BYTES: usize = 10;
/// A model beside its words: its name, its messages, the maps that it is in.
const MODEL_BYTES: usize = 400 + DOMAIN_BYTES_MAX + MESSAGES_PER_MODEL_MAX * 8;
/// An account in the table of a day, with the table's free places.
const GIVER_BYTES: usize = 24;
/// All models in memory, and all of them as rows of one checkpoint: reclaim may touch every one before it.
/// Beside them what accounts gave their domains.
pub const BYTES_MAX: usize =
    2 * (WORDS_MAX * WORD_BYTES + MODELS_MAX * MODEL_BYTES) + GIVERS_MAX * GIVER_BYTES;
/// A model as a row, or as a record.
pub const ROW_BYTES_MAX: usize =
    64 + DOMAIN_BYTES_MAX + WORDS_PER_MODEL_MAX * WORD_BYTES + MESSAGES_PER_MODEL_MAX * 8;

const _: () = assert!(BYTES_MAX <= 16 << 20, "the plan counts 16 MiB");
const _: () = assert!(ROW_BYTES_MAX <= store::limits::GROUP_FIXED_BYTES_MAX);
const _: () = assert!(WORDS_PER_MODEL_KEPT + WORDS_PER_LESSON_MAX <= WORDS_PER_MODEL_MAX);
