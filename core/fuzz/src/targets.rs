//! What is fuzzed. Each target is one file: its seeds, its words, and what must hold for any bytes.

mod auth;
mod deflate;
mod directory;
mod disk;
mod imap;
mod mailbox;
mod mailfiles;
mod managesieve;
mod pop3;
mod proxy;
mod settings;
mod smtp;
mod summary;
mod zones;

/// See the crate.
pub struct Target {
    pub name: &'static str,
    /// Comes back for any bytes, or panics with what does not hold.
    pub run: fn(&[u8]),
    /// Well-formed inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What the grammar is made of.
    pub words: &'static [&'static [u8]],
    /// Mutations in a smoke run: a second or two of a release build.
    pub runs: u64,
}

pub static TARGETS: &[Target] = &[
    Target {
        // Strangers on port 25. The worst finding is a message that we read otherwise than the server before us did (smuggling).
        name: "smtp",
        run: smtp::session,
        seeds: smtp::seeds,
        words: smtp::WORDS,
        runs: 400_000,
    },
    Target {
        // Servers that our queue hands mail to. They are chosen by whoever writes an address, so they are strangers as well.
        name: "smtp-client",
        run: smtp::client,
        seeds: smtp::client_seeds,
        words: smtp::CLIENT_WORDS,
        runs: 800_000,
    },
    Target {
        // From nodes of our own system, over TLS with certificates; still bounded, because one of them may be an old release.
        name: "qmqp",
        run: zones::request,
        seeds: zones::request_seeds,
        words: zones::WORDS,
        runs: 400_000,
    },
    Target {
        // The table of addresses that a node without storage pulls. A wrong answer about one of them refuses mail for good.
        name: "recipients",
        run: zones::table,
        seeds: zones::table_seeds,
        words: &[],
        runs: 400_000,
    },
    Target {
        // What a balancer puts in front of a connection. An address that is misread here is banned or trusted in place of another.
        name: "proxy-header",
        run: proxy::header,
        seeds: proxy::seeds,
        words: proxy::WORDS,
        runs: 1_000_000,
    },
    Target {
        // Servers that mail is fetched from. A person may name any host.
        name: "pop3-client",
        run: pop3::client,
        seeds: pop3::client_seeds,
        words: pop3::CLIENT_WORDS,
        runs: 400_000,
    },
    Target {
        // Before the login anybody can send this; the parser is the largest piece of code that faces strangers.
        name: "imap",
        run: imap::session,
        seeds: imap::seeds,
        words: imap::WORDS,
        runs: 150_000,
    },
    Target {
        // The message is a stranger's, the command is its reader's: offsets of one are used to cut the other.
        name: "imap-ask",
        run: imap::ask,
        seeds: imap::ask_seeds,
        words: imap::ASK_WORDS,
        runs: 400_000,
    },
    Target {
        // Message-IDs and subjects are chosen by senders, and can form circles. A thread that never ends would hold a core.
        name: "imap-sort",
        run: imap::sort,
        seeds: imap::sort_seeds,
        words: imap::SORT_WORDS,
        runs: 200_000,
    },
    Target {
        // Our own client, of tests, benches and fetching: a server's answer must not stop the program that reads it.
        name: "imap-client",
        run: imap::responses,
        seeds: imap::response_seeds,
        words: imap::WORDS,
        runs: 300_000,
    },
    Target {
        name: "mbox",
        run: mailfiles::mbox,
        seeds: mailfiles::mbox_seeds,
        words: mailfiles::MBOX_WORDS,
        runs: 150_000,
    },
    Target {
        name: "maildir",
        run: mailfiles::maildir,
        seeds: mailfiles::maildir_seeds,
        words: mailfiles::MAILDIR_WORDS,
        runs: 400_000,
    },
    Target {
        name: "managesieve",
        run: managesieve::session,
        seeds: managesieve::seeds,
        // Literals come before the login is checked, so their announced size must cost nothing until they are there.
        words: managesieve::WORDS,
        runs: 100_000,
    },
    Target {
        // A bomb: a kilobyte on the wire that wants to be a gigabyte in memory.
        name: "imap-deflate",
        run: deflate::stream,
        seeds: deflate::seeds,
        words: deflate::WORDS,
        runs: 100_000,
    },
    Target {
        // The one protocol here that deletes mail as its ordinary end, so what is marked and what is removed are held against each other.
        name: "pop3",
        run: pop3::session,
        seeds: pop3::seeds,
        words: pop3::WORDS,
        runs: 400_000,
    },
    Target {
        // Dot stuffing and line ends of any bytes: an octet too few, and the client takes a line of the message for its end.
        name: "pop3-message",
        run: pop3::message,
        seeds: pop3::message_seeds,
        words: &[b"\r\n", b"\n", b"\r", b".", b"\r\n.\r\n", b"\r\n\r\n"],
        runs: 400_000,
    },
    Target {
        // The scanner of message structure, which is ours because a recursive one ends the stack.
        name: "summary",
        run: summary::summary,
        seeds: summary::seeds,
        words: summary::WORDS,
        runs: 200_000,
    },
    Target {
        // Digests are read back from the volume. Damage that passes the checksum must not lead outside of the message.
        name: "digest",
        run: summary::digest,
        seeds: summary::digest_seeds,
        words: &[],
        runs: 1_000_000,
    },
    Target {
        // What an operator or a browser at set-up writes. A hash that is shown in a refusal would be in a log.
        name: "settings",
        run: settings::settings,
        seeds: settings::seeds,
        words: settings::WORDS,
        runs: 60_000,
    },
    Target {
        // The left pillar from here on. Any bytes may be on a leg: a stranger's disk, a torn write, rot.
        name: "superblock",
        run: volume::fuzzing::superblock,
        seeds: volume::fuzzing::superblocks,
        words: &[],
        runs: 400_000,
    },
    Target {
        // With a good checksum too: whatever a checksum proves, it does not prove that the numbers are sane.
        name: "batch",
        run: volume::fuzzing::header,
        seeds: volume::fuzzing::headers,
        words: &[],
        runs: 500_000,
    },
    Target {
        // Which segment is free. A table that is read wrongly lets new mail be written over old mail.
        name: "table",
        run: volume::fuzzing::table,
        seeds: volume::fuzzing::tables,
        words: &[],
        runs: 1_000_000,
    },
    Target {
        // A group as it was committed: records and bodies share one payload, and each length in it is a claim.
        name: "frame",
        run: store::fuzzing::frames,
        seeds: store::fuzzing::frame_seeds,
        words: &[],
        runs: 300_000,
    },
    Target {
        // What leads from a checkpoint to the index. Where it is refused the log is replayed; where it is misread, mail is missing.
        name: "projection",
        run: store::fuzzing::projection,
        seeds: store::fuzzing::projection_seeds,
        words: &[],
        runs: 150_000,
    },
    Target {
        // Where a body is. Expanding is bounded before the first byte is written.
        name: "reference",
        run: store::fuzzing::references,
        seeds: store::fuzzing::reference_seeds,
        words: &[],
        runs: 60_000,
    },
    Target {
        // The whole path: superblocks, recovery and reading on a volume that was in use. Slow, hence the few runs.
        name: "leg",
        run: disk::leg,
        seeds: disk::seeds,
        words: &[],
        runs: 1_500,
    },
    Target {
        // Records of a tenant are read at every start, before anything can be refused to a person: a panic is a machine that does not come up.
        name: "directory-record",
        run: ::directory::fuzzing::record,
        seeds: ::directory::fuzzing::records,
        words: &[],
        runs: 300_000,
    },
    Target {
        // Rows of the projection: of the same tenant, read one at a time while mail flows.
        name: "directory-row",
        run: ::directory::fuzzing::row,
        seeds: directory::row_seeds,
        words: &[],
        runs: 300_000,
    },
    Target {
        // The signer works on what a person submits. Two of our canonical forms of one body would make our signature fail elsewhere.
        name: "dkim",
        run: dkim::fuzzing::message,
        seeds: dkim::fuzzing::messages,
        words: &[
            b"From:", b"\r\n", b" \r\n", b"\r\n ", b"\t", b"To:", b"@", b"<", b">", b",",
        ],
        runs: 20_000,
    },
    Target {
        // Anybody who can guess a port can answer. Compression pointers may form circles, and counts may be lies.
        name: "dns-answer",
        run: dns::fuzzing::answer,
        seeds: dns::fuzzing::answers,
        words: &[],
        runs: 300_000,
    },
    Target {
        // A policy decides whether mail may leave without a proof. What cannot be read must not become "no policy".
        name: "sts",
        run: sts::fuzzing::read,
        seeds: sts::fuzzing::samples,
        words: &[
            b"v=STSv1;",
            b"id=",
            b"mx: ",
            b"*.",
            b"mode: ",
            b"max_age: ",
            b"\r\n",
            b"\r\n\r\n",
            b"HTTP/1.1 200",
            b"Content-Length: ",
            b"Transfer-Encoding: chunked",
        ],
        runs: 300_000,
    },
    Target {
        // SPF includes and DKIM keys of any domain: look-ups, depth and time of the evaluation stay bounded.
        name: "auth",
        run: ::auth::fuzzing::evaluate,
        seeds: ::auth::fuzzing::seeds,
        words: auth::WORDS,
        runs: 60_000,
    },
    Target {
        // A scanner is a program of the operator's, but it repeats a stranger's bytes in its answer.
        name: "scan-rspamd",
        run: scan::fuzzing::rspamd,
        seeds: scan::fuzzing::rspamd_seeds,
        words: &[
            b"\r\n\r\n",
            b"\"action\":",
            b"\"reject\"",
            b"\"add_headers\":",
            b"{",
            b"}",
            b"[",
            b"]",
            b"\\r\\n",
            b"1e400",
            b"Content-Length: ",
            b"Transfer-Encoding: chunked",
            b"\xff",
        ],
        runs: 200_000,
    },
    Target {
        // Its second half searches encoded parts for the test strings, which is our own decoder.
        name: "scan-clamd",
        run: scan::fuzzing::clamd,
        seeds: scan::fuzzing::clamd_seeds,
        words: &[
            b"stream: ",
            b" FOUND",
            b" ERROR",
            b"\0",
            b"base64",
            b"--b\r\n",
        ],
        runs: 200_000,
    },
    Target {
        // The judge reads HTML and odd alphabets of senders who want to be misread. A score must come out, and in bounded time.
        name: "spam",
        run: spam::fuzzing::message,
        seeds: spam::fuzzing::seeds,
        words: &[
            b"http://",
            b"@",
            b"</a",
            b">",
            b"Content-Type: text/html\r\n\r\n",
            b"\xe2\x80\x8b",
            b"\xe5\x85\x8d",
        ],
        runs: 100_000,
    },
    Target {
        // Scripts are people's, and one is compiled on the way of every message to its owner.
        name: "sieve-script",
        run: sieve::fuzzing::script,
        seeds: sieve::fuzzing::scripts,
        words: sieve::fuzzing::WORDS,
        runs: 150_000,
    },
    Target {
        // Twice to the same end, because a delivery that was cut off runs its script again.
        name: "sieve-run",
        run: sieve::fuzzing::delivery,
        seeds: sieve::fuzzing::deliveries,
        words: sieve::fuzzing::WORDS,
        runs: 60_000,
    },
    Target {
        // A filter may change the message: its lengths and its folded fields must not break the header in two.
        name: "scan-milter",
        run: scan::fuzzing::milter,
        seeds: scan::fuzzing::milter_seeds,
        words: &[
            b"\0\0\0\x05h",
            b"\0\0\0\x09i",
            b"\0\0\0\x0fm",
            b"\0\0\0\x02Subject\0",
            b"\r\n",
            b"\n ",
            b"\0",
            b"From: x",
        ],
        runs: 300_000,
    },
    Target {
        // The tenants that came later, in pairs as above: records at the start, rows while mail flows.
        name: "report-record",
        run: reports::fuzzing::record,
        seeds: reports::fuzzing::records,
        words: &[],
        runs: 200_000,
    },
    Target {
        name: "report-row",
        run: reports::fuzzing::row,
        seeds: reports::fuzzing::rows,
        words: &[],
        runs: 200_000,
    },
    Target {
        // Mail to postmaster from anywhere, packed: a bomb in gzip, in XML entities, or in the depth of elements.
        name: "dmarc-report",
        run: feedback::fuzzing::dmarc_report,
        seeds: feedback::fuzzing::dmarc_reports,
        words: &[
            b"<record>",
            b"</record>",
            b"<row>",
            b"<count>",
            b"&amp;",
            b"&#65;",
            b"<![CDATA[",
            b"<!DOCTYPE",
            b"xmlns:x=",
        ],
        runs: 100_000,
    },
    Target {
        // The same in JSON, where counts are as large as a sender likes.
        name: "tls-report",
        run: feedback::fuzzing::tls_report,
        seeds: feedback::fuzzing::tls_reports,
        words: &[
            b"\"policies\"",
            b"\"failure-details\"",
            b"[",
            b"{",
            b"18446744073709551615",
        ],
        runs: 100_000,
    },
    Target {
        // The MIME message around both, with the address that a domain wants its reports at.
        name: "report-message",
        run: feedback::fuzzing::message,
        seeds: feedback::fuzzing::messages,
        words: &[
            b"Content-Type: ",
            b"application/gzip",
            b"mailto:",
            b"!10m",
            b"\r\n\r\n",
        ],
        runs: 20_000,
    },
    Target {
        name: "ldap-replies",
        run: ldap::fuzzing::replies,
        seeds: ldap::fuzzing::seeds,
        words: &[
            b"\x30\x84",
            b"\x64",
            b"\x65",
            b"\x61",
            b"\xa0",
            b"\x0a\x01\x00",
            b"1.2.840.113556.1.4.319",
        ],
        runs: 100_000,
    },
    Target {
        name: "ldap-filters",
        run: ldap::fuzzing::filters,
        seeds: ldap::fuzzing::filter_seeds,
        words: &[
            b"(&",
            b"(|",
            b"(!",
            b"=*",
            b":=",
            b"\\2a",
            b"{user}",
            b"{address}",
            b"))))",
        ],
        runs: 50_000,
    },
    Target {
        name: "oauth-token",
        run: oauth::fuzzing::token,
        seeds: oauth::fuzzing::tokens,
        words: &[
            b"eyJ",
            b".",
            b"\"alg\":\"none\"",
            b"\"keys\":[",
            b"\"active\":true",
        ],
        runs: 20_000,
    },
    Target {
        name: "sasl-exchange",
        run: sasl::fuzzing::exchange,
        seeds: sasl::fuzzing::exchanges,
        // SCRAM messages before the login. What the client repeats is compared, so that nothing of it can be bent.
        words: &[
            b"n,,",
            b"y,,",
            b"p=tls-exporter,,",
            b",r=",
            b",p=",
            b"c=",
            b"=2C",
            b"=3D",
            b"a=",
        ],
        runs: 100_000,
    },
    Target {
        // Keys and app passwords: a record that is misread is a person who cannot log in, or a stranger who can.
        name: "login-record",
        run: logins::fuzzing::record,
        seeds: logins::fuzzing::records,
        words: &[],
        runs: 200_000,
    },
    Target {
        name: "login-row",
        run: logins::fuzzing::row,
        seeds: logins::fuzzing::rows,
        words: &[],
        runs: 200_000,
    },
    Target {
        // What people taught about junk: counts that a sum of several records could overflow.
        name: "lesson-record",
        run: lessons::fuzzing::record,
        seeds: lessons::fuzzing::records,
        words: &[],
        runs: 200_000,
    },
    Target {
        name: "lesson-row",
        run: lessons::fuzzing::row,
        seeds: lessons::fuzzing::rows,
        words: &[],
        runs: 200_000,
    },
    Target {
        // Lists of scripts and what is remembered for them.
        name: "script-record",
        run: scripts::fuzzing::record,
        seeds: scripts::fuzzing::records,
        words: &[],
        runs: 200_000,
    },
    Target {
        name: "script-row",
        run: scripts::fuzzing::row,
        seeds: scripts::fuzzing::rows,
        words: &[],
        runs: 200_000,
    },
    Target {
        // Which deliveries came in already: without it a node that asks again brings a message twice.
        name: "queue-arrived",
        run: queue::fuzzing::arrived,
        seeds: queue::fuzzing::arrived_rows,
        words: &[],
        runs: 300_000,
    },
    Target {
        // Envelopes of mail that must leave. Replies of other servers are in them as they came.
        name: "queue-record",
        run: queue::fuzzing::record,
        seeds: queue::fuzzing::records,
        words: &[],
        runs: 300_000,
    },
    Target {
        name: "queue-row",
        run: queue::fuzzing::row,
        seeds: queue::fuzzing::rows,
        words: &[],
        runs: 300_000,
    },
    Target {
        // The tenant with the most kinds: one for each thing that can happen to a message or a folder.
        name: "record",
        run: ::mailbox::fuzzing::record,
        seeds: ::mailbox::fuzzing::records,
        words: &[],
        runs: 500_000,
    },
    Target {
        // Mailboxes, messages, changes. A row is found by its key, so a bad one must cost one mailbox and not the start.
        name: "row",
        run: ::mailbox::fuzzing::row,
        seeds: mailbox::row_seeds,
        words: &[],
        runs: 500_000,
    },
];

/// What a server may offer beside passwords, without a binding.
fn offer() -> ::sasl::Offer {
    ::sasl::Offer {
        scram: true,
        binding: None,
        tokens: true,
        external: true,
    }
}
