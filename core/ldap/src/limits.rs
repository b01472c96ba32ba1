//! Bounds of everything that a directory's server makes us hold.

/// One message of a server: a group of 10,000 members has some 700 KiB.
pub const MESSAGE_BYTES_MAX: usize = 1_024 * 1_024;
/// All entries of one search (of one page) together, as they come over the wire. They are not held.
pub const SEARCH_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// What is held of people, and as much of groups, while everything is read.
pub const KEPT_BYTES_MAX: usize = 32 * 1_024 * 1_024;
/// Entries of one page (RFC 2696).
pub const PAGE_ENTRIES: usize = 500;
/// People and groups that one reading takes.
pub const PEOPLE_MAX: usize = 50_000;
pub const GROUPS_MAX: usize = 5_000;
/// Attributes of an entry, and values of all of them together, that are read.
pub const ATTRIBUTES_MAX: usize = 64;
pub const VALUES_MAX: usize = 20_000;
/// Members of all groups together, as they are written in them.
pub const MEMBERS_MAX: usize = 200_000;
/// The same with members of groups in groups counted in each.
pub const MEMBERS_IN_ALL_MAX: usize = 400_000;
/// Addresses of one person.
pub const ADDRESSES_MAX: usize = 100;
/// Octets of a name, an address or a distinguished name that are kept.
pub const NAME_BYTES_MAX: usize = 1_024;
/// Octets of what a user logs in with: an address. A longer one is that of no user, and is asked of no server.
pub const USER_BYTES_MAX: usize = 448;
/// Octets of a password. Servers close the connection of a message that is too long for them.
pub const PASSWORD_BYTES_MAX: usize = 4_096;
/// What a filter may nest, and its octets.
pub const FILTER_DEPTH_MAX: usize = 16;
pub const FILTER_BYTES_MAX: usize = 4_096;
/// Groups in groups: further ones are not looked at.
pub const GROUP_DEPTH_MAX: usize = 16;
/// Groups that are looked at to find out whether one person is in a group.
pub const GROUPS_OF_ONE_MAX: usize = 500;
/// Connections to one server; each reads into a buffer of twice `MESSAGE_BYTES_MAX` at most.
pub const CONNECTIONS_EACH_MAX: usize = 4;
/// Servers that the settings may name.
pub const SERVERS_MAX: usize = 4;
/// Questions under way, and those that wait; past it the answer is that the directory is away.
pub const JOBS_UNDER_WAY_MAX: usize = 32;
pub const JOBS_WAITING_MAX: usize = 256;
/// Threads that look names of servers up.
pub const NAMES_LOOKED_UP_MAX: usize = 4;
/// How long a server that failed is not asked; then one question tries it.
pub const REST: std::time::Duration = std::time::Duration::from_secs(30);
/// A connection that was not used for so long is closed before a server's own limit.
pub const IDLE_MAX: std::time::Duration = std::time::Duration::from_secs(60);
/// One page of it, which takes a server longer than a question about one user: the server that does not give it in time rests, and logins do not ask it.
pub const PAGE_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);
/// Reading everything, all pages together.
pub const EVERYTHING_WITHIN: std::time::Duration = std::time::Duration::from_secs(600);

/// What all of it takes at most: buffers of connections, one reading of everything, and the lists of members made of it (some 60 bytes each).
pub const MEMORY_BYTES: u64 = (SERVERS_MAX * CONNECTIONS_EACH_MAX * 2 * MESSAGE_BYTES_MAX
    + 2 * KEPT_BYTES_MAX
    + MEMBERS_IN_ALL_MAX * 60) as u64;
