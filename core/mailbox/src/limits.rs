//! Every number of this crate, with its reason.

use base::units::{KIB, MIB};

/// Messages that share one row of the projection: those whose UIDs agree in all but the lowest bits. Larger rows make a
/// scan cheaper, smaller ones make a checkpoint that touches many mailboxes write less: at about 70 bytes a message a
/// full row of 32 fits in one 4 KiB page, and ten deliveries into each of a thousand mailboxes rewrite about a
/// thousand pages.
pub const CHUNK_MESSAGES: u32 = 32;

/// Messages in one mailbox. 4 M of them are about 700 MiB when loaded; nothing in the format needs the limit.
pub const MESSAGES_PER_MAILBOX_MAX: u32 = 4 << 20;

/// Mailboxes of one account. Their names share one row, which deliveries read: 10,000 names are about 400 KiB.
pub const MAILBOXES_PER_ACCOUNT_MAX: usize = 10_000;

/// Subscribed names of one account; names of deleted mailboxes stay subscribed, so they are bounded by themselves.
pub const SUBSCRIPTIONS_PER_ACCOUNT_MAX: usize = 2 * MAILBOXES_PER_ACCOUNT_MAX;

/// Bytes that mailboxes and subscriptions of one account take in its row. All of the row is written again as one record when reclaim needs the room of the
/// records before it, and a record that does not fit a commit group would keep their segments for ever.
pub const NAMES_BYTES_PER_ACCOUNT_MAX: usize = 640 * KIB;

/// Names of one account that a mailbox left and whose last UIDVALIDITY is known exactly: more than anyone makes and leaves by hand, and 40 KiB
/// of the account's row at most for usual names. A name beyond them may cost its next mailbox a new UIDVALIDITY.
pub const NAMES_LEFT_MAX: usize = 1_000;
/// Bytes of these names.
pub const NAMES_LEFT_BYTES_MAX: usize = 64 * KIB;

/// Entries of one folder's access list: the people and groups of a small company by name; larger ones use groups.
pub const ACCESS_PER_FOLDER_MAX: usize = 64;
/// Entries of all access lists of one account, which stand in its row: some 20 KiB with accounts.
pub const ACCESS_PER_ACCOUNT_MAX: usize = 2_048;
/// Bytes of them in the row, at most: all of it is written again as one record, with folders and annotations.
pub const ACCESS_BYTES_PER_ACCOUNT_MAX: usize = 128 * KIB;
/// Different accounts and groups that the lists of one account give rights to.
pub const SHARED_WITH_MAX: usize = 512;
/// The same for all accounts together: they are in memory, some 100 bytes each and 400 at most.
pub const SHARES_MAX: usize = 65_536;
/// Accounts that are looked through for what others may see, and names that are listed of them: a LIST is answered from them. What is not among
/// them is still opened by its name.
pub const FOREIGN_ACCOUNTS_MAX: usize = 1_024;
pub const FOREIGN_NAMES_MAX: usize = 20_000;

/// Accounts and groups that are held against one viewer before other tasks of the thread go on: a millisecond or two where all of them are groups.
pub const SHARES_LOOKED_AT: usize = 1_024;
/// The same for folders of those who share.
pub const FOLDERS_LOOKED_AT: usize = 10_000;

/// Annotations of one account's folders, and bytes of their names and values: they stand in the account's row. Programs keep a colour and a
/// comment for a folder.
pub const NOTES_PER_ACCOUNT_MAX: usize = 1_024;
pub const NOTES_BYTES_PER_ACCOUNT_MAX: usize = 32 * KIB;

/// Levels of a mailbox name. Clients show mailboxes as a tree; no tree deeper than eight levels was found.
pub const NAME_LEVELS_MAX: usize = 16;
/// Bytes of one level: what file systems allow, so that an export to Maildir fits.
pub const NAME_LEVEL_BYTES_MAX: usize = 255;
/// Bytes of a whole name: fits one IMAP quoted string of every client.
pub const NAME_BYTES_MAX: usize = 1_000;

/// Changes that a loaded mailbox remembers for `changes`: 16 bytes each. Past it a session takes a fresh view.
pub const HISTORY_MAX: usize = 16_384;

/// Runs of expunged UIDs that a mailbox keeps in its row for clients that come back: some 5 KiB of it at most, a third of that as a rule, and
/// 24 bytes each in memory. A person who deletes messages one at a time makes one each; past it such a client gets more than went.
pub const GONE_RUNS_MAX: usize = 1_024;

/// Keywords of one mailbox that are listed when it is opened. Clients show a handful; RFC 9051 §7.3.5 lets others appear later.
pub const KEYWORDS_NOTED_MAX: usize = 256;

/// Mailboxes with messages of which no session was notified: some 32 bytes each. In further ones nothing is \Recent.
pub const RECENTS_MAX: usize = 1 << 18;

/// Accounts that one session watches: its own, and those of others that it names mailboxes of. Each is an entry that every change of that account
/// looks at.
pub const ACCOUNTS_WATCHED_MAX: usize = 33;
/// All of them on one volume, some 100 bytes each: ten for each of the IMAP connections that a box has as a rule.
pub const ACCOUNT_WATCHES_MAX: usize = 100_000;
/// Folders that one group renames of which watching sessions are notified one by one; sessions do not keep more notices than this either.
pub const NOTICES_TOGETHER_MAX: usize = 128;

/// Watches on one volume: one for each idle or selected IMAP session.
pub const WATCHES_MAX: usize = 1 << 20;

/// Encoded messages in one group of a COPY, a relocation or a snapshot: the records of a group are stored in one commit batch
/// (1 MiB at most), beside whatever else the batch holds.
pub const GROUP_MESSAGE_BYTES_MAX: usize = 256 * KIB;

/// COPYs under way at once that are larger than a group, and ranges of UIDs that they placed, all together: 8 bytes each. A range grows as long as nothing
/// else arrives between two groups, so that a COPY of millions has a handful. Past either a COPY is refused, and taken back.
pub const COPIES_UNFINISHED_MAX: usize = 64;
pub const COPY_RANGES_MAX: usize = 16_384;

/// UIDs in one flag or expunge record: 5 bytes each when nothing can be written as a range.
pub const UIDS_PER_RECORD_MAX: usize = 32_768;

/// Messages that are appended together: a group's bodies and rows are bounded (`store::limits::GROUP_BODIES_MAX`).
pub const APPENDED_MAX: usize = 32;

/// Recipients of one delivery: one record of about 32 bytes each.
pub const RECIPIENTS_MAX: usize = 4_096;

/// Rows fetched by one read of the projection while a mailbox is loaded: 512 rows are 16,384 messages.
pub const ROWS_PER_READ: usize = 512;

/// Changed messages that may wait for a checkpoint before deliveries wait for it instead: 64 Ki of them take about 12 MiB and
/// one checkpoint writes them in well under a second.
pub const DIRTY_MESSAGES_MAX: usize = 65_536;

/// As many mailboxes may wait for a checkpoint as have room in the cache with their last chunk, but at least this many.
pub const DIRTY_MAILBOXES_MIN: usize = 64;

/// Deleted mailboxes whose rows one checkpoint clears away, and rows cleared of each: bounds a checkpoint's extra work.
pub const CONDEMNED_PER_CHECKPOINT: usize = 16;
pub const CONDEMNED_ROWS_PER_CHECKPOINT: usize = 1_024;
/// Deleted mailboxes whose rows are not yet cleared away; past it DELETE is refused for a while.
pub const CONDEMNED_MAX: usize = 1 << 20;

/// Cache entries looked at for one eviction attempt, so that a cache full of dirty entries costs little.
pub const EVICT_LOOK_MAX: usize = 32;

/// Accounts held in memory take at most this share of `Settings::cache_bytes`, and at least `ACCOUNT_CACHE_MIN` accounts.
pub const ACCOUNT_CACHE_SHARE: usize = 8;
pub const ACCOUNT_CACHE_MIN: usize = 64;

/// Of `Settings::cache_bytes` digests of messages are sure of this share, and have what loaded mailboxes do not take. A digest takes
/// some 430 bytes for the load program's short headers and more for others, a row about 170, and a mailbox that is listed is one whose rows are loaded.
pub const DIGESTS_SHARE: usize = 4;
/// A larger digest is read again each time. One of a short header has some 230 bytes.
pub const DIGEST_KEPT_BYTES_MAX: usize = 16 * KIB;
/// Digests looked at in one turn while room is made. More than one turn brings in.
pub const DIGEST_LOOK_MAX: usize = 1_024;

/// Smallest message cache that works: a delivery to many mailboxes at once holds all their tails.
pub const CACHE_BYTES_MIN: usize = MIB;

/// Rows looked at in one turn while reclaim marks: 2,048 messages, some 0.2 ms of the owner thread.
pub const MARK_ROWS_PER_READ: usize = 64;

/// Snapshots that reclaim takes at once, and messages in them: all of those are in memory together.
pub const SNAPSHOTS_AT_ONCE: usize = 64;
pub const SNAPSHOT_MESSAGES_AT_ONCE: usize = 16_384;

/// Rounds of checkpoint and reclaim that a deletion waits for when a full volume has no room even for it.
pub const ROOM_ROUNDS_AWAITED: usize = 16;
/// A row of so many bytes counts as one more row in what is owed to the projection: two of its pages.
pub const ROW_BYTES: usize = 8 * KIB;
/// Rows that a change of an account or of one of its folders writes: account, key, counters, head, a row of a deleted mailbox.
pub const DIRECTORY_ROWS: u64 = 5;
/// Rows of a new account with its folders.
pub const ACCOUNT_ROWS: u64 = 40;

/// Bodies that were moved by reclaim and are remembered by their old place, for sessions that still hold it.
pub const RELOCATED_MAX: usize = 65_536;

/// Times a reader of pieces looks up where a body is now: reclaim moves one body once in many minutes.
pub const LOOK_UPS_MAX: usize = 3;

/// Mailboxes whose references are redirected by one group.
pub const RELOCATE_MAILBOXES_PER_GROUP: usize = 64;

const _: () = assert!(CHUNK_MESSAGES.is_power_of_two());
const _: () = assert!(UIDS_PER_RECORD_MAX * 10 <= 512 * KIB);
// The last part of a snapshot has them all beside it.
const _: () = assert!(
    GROUP_MESSAGE_BYTES_MAX + COPY_RANGES_MAX * 10 + COPIES_UNFINISHED_MAX * 48 <= 512 * KIB
);

// The row of an account whose every bound is reached, with its numbers, is a record that fits.
const _: () = assert!(
    NAMES_BYTES_PER_ACCOUNT_MAX
        + NAMES_LEFT_BYTES_MAX
        + NAMES_LEFT_MAX * 8
        + ACCESS_BYTES_PER_ACCOUNT_MAX
        + NOTES_BYTES_PER_ACCOUNT_MAX
        + 4 * KIB
        <= store::limits::GROUP_FIXED_BYTES_MAX
);
