//! What is fuzzed. Each target is one file: its seeds, its words, and what must hold for any bytes.

mod auth;
mod directory;
mod disk;
mod imap;
mod mailbox;
mod proxy;
mod settings;
mod smtp;
mod summary;

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
        name: "smtp",
        run: smtp::session,
        seeds: smtp::seeds,
        words: smtp::WORDS,
        runs: 400_000,
    },
    Target {
        name: "smtp-client",
        run: smtp::client,
        seeds: smtp::client_seeds,
        words: smtp::CLIENT_WORDS,
        runs: 800_000,
    },
    Target {
        name: "proxy-header",
        run: proxy::header,
        seeds: proxy::seeds,
        words: proxy::WORDS,
        runs: 1_000_000,
    },
    Target {
        name: "imap",
        run: imap::session,
        seeds: imap::seeds,
        words: imap::WORDS,
        runs: 150_000,
    },
    Target {
        name: "imap-ask",
        run: imap::ask,
        seeds: imap::ask_seeds,
        words: imap::ASK_WORDS,
        runs: 400_000,
    },
    Target {
        name: "imap-client",
        run: imap::responses,
        seeds: imap::response_seeds,
        words: imap::WORDS,
        runs: 300_000,
    },
    Target {
        name: "summary",
        run: summary::summary,
        seeds: summary::seeds,
        words: summary::WORDS,
        runs: 200_000,
    },
    Target {
        name: "digest",
        run: summary::digest,
        seeds: summary::digest_seeds,
        words: &[],
        runs: 1_000_000,
    },
    Target {
        name: "settings",
        run: settings::settings,
        seeds: settings::seeds,
        words: settings::WORDS,
        runs: 60_000,
    },
    Target {
        name: "superblock",
        run: volume::fuzzing::superblock,
        seeds: volume::fuzzing::superblocks,
        words: &[],
        runs: 400_000,
    },
    Target {
        name: "batch",
        run: volume::fuzzing::header,
        seeds: volume::fuzzing::headers,
        words: &[],
        runs: 500_000,
    },
    Target {
        name: "table",
        run: volume::fuzzing::table,
        seeds: volume::fuzzing::tables,
        words: &[],
        runs: 1_000_000,
    },
    Target {
        name: "frame",
        run: store::fuzzing::frames,
        seeds: store::fuzzing::frame_seeds,
        words: &[],
        runs: 300_000,
    },
    Target {
        name: "projection",
        run: store::fuzzing::projection,
        seeds: store::fuzzing::projection_seeds,
        words: &[],
        runs: 150_000,
    },
    Target {
        name: "reference",
        run: store::fuzzing::references,
        seeds: store::fuzzing::reference_seeds,
        words: &[],
        runs: 60_000,
    },
    Target {
        name: "leg",
        run: disk::leg,
        seeds: disk::seeds,
        words: &[],
        runs: 1_500,
    },
    Target {
        name: "directory-record",
        run: ::directory::fuzzing::record,
        seeds: ::directory::fuzzing::records,
        words: &[],
        runs: 300_000,
    },
    Target {
        name: "directory-row",
        run: ::directory::fuzzing::row,
        seeds: directory::row_seeds,
        words: &[],
        runs: 300_000,
    },
    Target {
        name: "dkim",
        run: dkim::fuzzing::message,
        seeds: dkim::fuzzing::messages,
        words: &[
            b"From:", b"\r\n", b" \r\n", b"\r\n ", b"\t", b"To:", b"@", b"<", b">", b",",
        ],
        runs: 20_000,
    },
    Target {
        name: "dns-answer",
        run: dns::fuzzing::answer,
        seeds: dns::fuzzing::answers,
        words: &[],
        runs: 300_000,
    },
    Target {
        name: "auth",
        run: ::auth::fuzzing::evaluate,
        seeds: ::auth::fuzzing::seeds,
        words: auth::WORDS,
        runs: 60_000,
    },
    Target {
        name: "queue-arrived",
        run: queue::fuzzing::arrived,
        seeds: queue::fuzzing::arrived_rows,
        words: &[],
        runs: 300_000,
    },
    Target {
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
        name: "record",
        run: ::mailbox::fuzzing::record,
        seeds: ::mailbox::fuzzing::records,
        words: &[],
        runs: 500_000,
    },
    Target {
        name: "row",
        run: ::mailbox::fuzzing::row,
        seeds: mailbox::row_seeds,
        words: &[],
        runs: 500_000,
    },
];
