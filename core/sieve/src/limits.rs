//! Bounds of a script, of its compiled form, and of one run. A script past the first ones is refused when it is stored; a run past the others
//! ends with an error, and the message is kept.

/// Bytes of a script. Filters that programs write for thousands of rules stay below; what a person writes has a few KiB.
pub const SCRIPT_BYTES_MAX: usize = 256 * 1_024;
/// Bytes that the compiled form of one script may take. A script of `SCRIPT_BYTES_MAX` that is one list of empty strings would take ten times its size.
pub const COMPILED_BYTES_MAX: usize = 1_024 * 1_024;
/// Blocks and tests inside each other. RFC 5228 §2.10.7 asks for 15 at least; each level is a frame of our stack.
pub const NESTING_COUNT_MAX: usize = 24;
/// Commands and tests of a script: 5,000 rules of an `if`, a test, and an action.
pub const NODES_COUNT_MAX: usize = 16_384;
/// Arguments of one command or test; no extension has more than a dozen.
pub const ARGUMENTS_COUNT_MAX: usize = 64;
/// Strings of one list: the addresses of a large circle of friends.
pub const LIST_COUNT_MAX: usize = 4_096;
/// Bytes of one string of a script: the text of a vacation reply is the longest.
pub const STRING_BYTES_MAX: usize = 64 * 1_024;
/// Letters of a script that an error message quotes.
pub const QUOTED_COUNT_MAX: usize = 40;

/// Variables of one script; RFC 5229 §6 asks for 128 at least.
pub const VARIABLES_COUNT_MAX: usize = 256;
/// Bytes of a variable's name; RFC 5229 §6 asks for 32 at least.
pub const VARIABLE_NAME_BYTES_MAX: usize = 64;
/// Bytes of one variable's value, which is cut there; RFC 5229 §6 asks for 4,000 at least.
pub const VARIABLE_BYTES_MAX: usize = 8 * 1_024;
/// Bytes of the values of all variables of one run, those of included scripts too.
pub const VARIABLES_BYTES_MAX: usize = 256 * 1_024;
/// The largest match variable, `${9}`; RFC 5229 §3.2 asks for that.
pub const CAPTURE_INDEX_MAX: usize = 9;
/// Bytes of a string after its variables were put in.
pub const EXPANDED_BYTES_MAX: usize = 128 * 1_024;

/// Regular expressions of one script. Each one may take `REGEX_BYTES_MAX` four times.
pub const REGEXES_COUNT_MAX: usize = 32;
/// Bytes of one compiled regular expression, and again of the states that it remembers while it runs.
pub const REGEX_BYTES_MAX: usize = 64 * 1_024;
/// Bytes of one regular expression as written.
pub const REGEX_PATTERN_BYTES_MAX: usize = 1_024;

/// Steps of one run; a test is ten, and looking at four bytes is one or more. All of them take some 10 ms, and 80 ms at the worst that is known.
/// Beside them, the addresses of a field are read once in a run: at `HEADER_BYTES_MAX` that was 150 ms on a busy machine.
pub const STEPS_COUNT_MAX: u64 = 8_000_000;
/// Header fields of a message that scripts look at. Real mail has at most some hundred.
pub const FIELDS_COUNT_MAX: usize = 4_096;
/// Bytes of a message's header that scripts look at. Real mail stays below 64 KiB.
pub const HEADER_BYTES_MAX: usize = 1_024 * 1_024;
/// Bytes of text that `body` decodes of one message. What people filter by is in the first pages.
pub const BODY_BYTES_MAX: usize = 128 * 1_024;
/// Parts of a message that `body` looks at.
pub const BODY_PARTS_COUNT_MAX: usize = 200;
/// Actions of one run (RFC 5228 §2.10.4), the implicit keep not counted.
pub const ACTIONS_COUNT_MAX: usize = 32;
/// Redirects of one run: a person who sends mail on to more addresses wants a group, and an attacker wants more.
pub const REDIRECTS_COUNT_MAX: usize = 4;
/// Notifications of one run.
pub const NOTIFICATIONS_COUNT_MAX: usize = 4;
/// Scripts inside each other by `include`, the first one not counted; RFC 6609 §3.1 asks for 3 at least.
pub const INCLUDE_DEPTH_MAX: usize = 5;
/// Scripts that one run includes, and different ones that one script names.
pub const INCLUDES_COUNT_MAX: usize = 64;
/// Headers that `addheader` and `deleteheader` left, which an action used: each is a message of its own to the caller.
pub const EDITIONS_COUNT_MAX: usize = 4;
/// Bytes that `addheader` puts into one message.
pub const ADDED_BYTES_MAX: usize = 64 * 1_024;
/// Tests by `duplicate` in one run: each is an entry that the caller keeps.
pub const DUPLICATES_COUNT_MAX: usize = 8;
/// Bytes of a reason of `reject`, and of a message of `notify`.
pub const REASON_BYTES_MAX: usize = 8 * 1_024;
/// Bytes of the References field of a reply.
pub const REFERENCES_BYTES_MAX: usize = 2 * 1_024;

/// Seconds of a day.
pub const DAY_S: u64 = 86_400;
/// How long no second reply goes to the same sender if the script does not say (RFC 5230 §4.1).
pub const REPLY_AGAIN_S: u64 = 7 * DAY_S;
/// As long as a script may ask for; a longer time counts as this one.
pub const REPLY_AGAIN_S_MAX: u64 = 90 * DAY_S;
/// How long `duplicate` remembers if the script does not say (RFC 7352 §3.3).
pub const DUPLICATE_S: u64 = 7 * DAY_S;
/// As long as a script may ask for; a longer time counts as this one.
pub const DUPLICATE_S_MAX: u64 = 90 * DAY_S;

const _: () = assert!(STRING_BYTES_MAX <= EXPANDED_BYTES_MAX);
const _: () = assert!(VARIABLE_BYTES_MAX <= VARIABLES_BYTES_MAX);
