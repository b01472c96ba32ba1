//! What ManageSieve sessions may cost.

use std::time::Duration;

/// All of a command but a script.
pub const COMMAND_BYTES_MAX: usize = managesieve::limits::COMMAND_BYTES_MAX;
/// Before login a client has this long for each command.
pub const SILENCE_BEFORE_LOGIN_MAX: Duration = Duration::from_secs(60);
/// RFC 5804 §1.2: at least 30 minutes.
pub const SILENCE_MAX: Duration = Duration::from_secs(31 * 60);
/// While a script is received, memory of the account's share waits for it.
pub const SILENCE_IN_SCRIPT_MAX: Duration = Duration::from_secs(60);
/// A failed login is answered after this, so that guessing is slow on one connection.
pub const LOGIN_FAILURE_DELAY: Duration = crate::limits::LOGIN_FAILURE_DELAY;
/// A script up to this is sent from the connection's own memory; a larger one takes from the account's share.
pub const SENT_FREE_BYTES_MAX: usize = 16 * 1_024;
/// Bytes of a script that compile on the core. A larger one, and one with regular expressions, whose cost is not in their length, is compiled
/// beside it.
pub const COMPILED_HERE_BYTES_MAX: usize = 8 * 1_024;
/// What a compilation takes beside the script.
pub const COMPILING_BYTES: usize = 2 * sieve::limits::COMPILED_BYTES_MAX;
/// And one with regular expressions.
pub const COMPILING_REGEX_BYTES: usize = 2
    * (sieve::limits::COMPILED_BYTES_MAX
        + 4 * sieve::limits::REGEXES_COUNT_MAX * sieve::limits::REGEX_BYTES_MAX);

const _: () = assert!(managesieve::limits::SCRIPT_BYTES_MAX == sieve::limits::SCRIPT_BYTES_MAX);
const _: () = assert!(managesieve::limits::SCRIPT_BYTES_MAX == scripts::limits::SCRIPT_BYTES_MAX);
const _: () = assert!(managesieve::limits::NAME_BYTES_MAX == scripts::limits::NAME_BYTES_MAX);
const _: () = assert!(COMPILED_HERE_BYTES_MAX < runtime::limits::WORK_BYTES_MAX);
/// A script that is received, one that is sent and its copy fit the smallest share of an account.
const _: () =
    assert!(3 * managesieve::limits::SCRIPT_BYTES_MAX <= crate::limits::SENDING_SHARE_BYTES_MIN);
