//! Doors for `core/fuzz`, no part of the API: records and rows read from any bytes. What is read is written and read again.

use base::cursor::Reader;
use bytes::Bytes;
use mail::Address;
use store::{Lsn, Record, RecordKind};

use crate::AccountId;
use crate::account::{AccountEntry, AccountRow};
use crate::alias::Alias;
use crate::allowance::Allowance;
use crate::dkim_key::{DkimKeyEntry, DkimKeyRow, KeyName};
use crate::domain::DomainEntry;
use crate::fetch::{Fetch, FetchProtocol, FetchRow, FetchTls, Keep, Sealed, SeenMark};
use crate::grant::Grant;
use crate::group::{Group, Member, Posters};
use crate::kept_policy::KeptPolicy;
use crate::key::Key;
use crate::mark::Mark;
use crate::record::Entry;
use crate::route::Route;
use crate::whole::Named;
use crate::{DkimAlgorithm, DkimState, PrivateKey};

/// Reads `bytes` as a record: the kind in the first byte, then the payload.
pub fn record(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else {
        return;
    };
    let record = Record {
        kind: RecordKind(*kind),
        payload: Bytes::copy_from_slice(payload),
    };
    if let Ok(entry) = Entry::decode(&record) {
        let again = Entry::decode(&entry.encode());
        assert_eq!(
            again.as_ref(),
            Ok(&entry),
            "what was read is written readably"
        );
    }
}

/// Reads `bytes` as an account's row, and as a DKIM key's.
pub fn row(bytes: &[u8]) {
    if let Ok(row) = DkimKeyRow::decode(&mut Reader::new(bytes)) {
        let mut again = Vec::new();
        row.encode(&mut again);
        assert_eq!(
            DkimKeyRow::decode(&mut Reader::new(&again)).as_ref(),
            Ok(&row)
        );
    }
    if let Ok(row) = AccountRow::decode(&mut Reader::new(bytes)) {
        let mut again = Vec::new();
        row.encode(&mut again);
        assert_eq!(
            AccountRow::decode(&mut Reader::new(&again)).as_ref(),
            Ok(&row)
        );
    }
}

/// Every record as this release writes it, in the form `record` reads.
pub fn records() -> Vec<Vec<u8>> {
    let bytes = |entry: &Entry| {
        let record = entry.encode();
        [&[record.kind.0][..], &record.payload].concat()
    };
    entries().iter().map(bytes).collect()
}

/// Rows as this release writes them.
pub fn rows() -> Vec<Vec<u8>> {
    let mut row = Vec::new();
    sample_row().encode(&mut row);
    let mut key = Vec::new();
    sample_key_row().encode(&mut key);
    vec![row, key]
}

fn sample_row() -> AccountRow {
    AccountRow {
        address: Address::from_parts("alice", "example.org").expect("an address"),
        password_hash: "$argon2id$".into(),
        quota_bytes: 1 << 30,
        snapshot: Lsn(8),
    }
}

fn sample_key_name() -> KeyName {
    KeyName {
        domain: "example.org".into(),
        selector: "s1".into(),
    }
}

fn sample_key_row() -> DkimKeyRow {
    DkimKeyRow {
        algorithm: DkimAlgorithm::Ed25519,
        state: DkimState::Active,
        made_unix_s: 1_800_000_000,
        written: Lsn(9),
        private: PrivateKey::new(b"$secret").expect("it is short"),
    }
}

pub(crate) fn sample_fetch() -> FetchRow {
    FetchRow {
        serial: 77,
        protocol: FetchProtocol::Pop3,
        tls: FetchTls::Inside,
        host: "pop.example.net".into(),
        port: 995,
        user: "ann".into(),
        sealed: Sealed(b"$secret sealed".to_vec()),
        folder: "INBOX".into(),
        every_s: 900,
        keep: Keep::Days(7),
        is_filtered: true,
        is_judged: false,
        may_be_private: true,
        stopped: String::new(),
        refusals: 2,
        validity: 5,
        uid: 300,
    }
}

/// One of each.
pub(crate) fn entries() -> Vec<Entry> {
    let (account, row, name) = (AccountId(7), sample_row(), sample_key_name());
    let domain = "example.org".to_owned();
    vec![
        Entry::Domain(DomainEntry::Put {
            domain: domain.clone(),
        }),
        Entry::Domain(DomainEntry::Remove { domain }),
        Entry::Account(AccountEntry::Put {
            account,
            address: row.address.clone(),
            password_hash: row.password_hash.clone(),
            quota_bytes: row.quota_bytes,
        }),
        Entry::Account(AccountEntry::Remove { account }),
        Entry::Account(AccountEntry::Password {
            account,
            password_hash: "$".into(),
        }),
        Entry::Account(AccountEntry::Quota {
            account,
            quota_bytes: 0,
        }),
        Entry::Account(AccountEntry::Snapshot { account, row }),
        Entry::DkimKey(DkimKeyEntry::Put {
            name: name.clone(),
            row: sample_key_row(),
        }),
        Entry::DkimKey(DkimKeyEntry::Remove { name }),
    ]
    .into_iter()
    .chain(named())
    .collect()
}

/// One `Put` and one `Remove` of each noun of `whole.rs`.
pub(crate) fn named() -> Vec<Entry> {
    let address = |text: &str| {
        let (local, domain) = text.split_once('@').expect("an address");
        Address::from_parts(local, domain).expect("an address")
    };
    let alias = Alias {
        targets: vec![address("alice@example.org"), address("bob@example.net")],
    };
    let group = Group {
        serial: 300,
        posters: Posters::Members,
        owner: address("alice@example.org"),
        title: "All of us".into(),
    };
    let member = Member {
        address: address("Bob@example.net"),
    };
    let host = Route::Host {
        host: "smart.example".into(),
        port: 587,
        needs_tls: true,
    };
    let grant = Grant {
        account: AccountId(7),
    };
    fn both<N>(name: &str, row: N) -> [Named<N>; 2] {
        let name = name.to_owned();
        [
            Named::Put {
                name: name.clone(),
                row,
            },
            Named::Remove { name },
        ]
    }
    let mut entries = Vec::new();
    entries.extend(both("sales@example.org", alias).map(Entry::Alias));
    entries.extend(both("all@example.org", group).map(Entry::Group));
    let name = "all@example.org\x00300\x00bob@example.net";
    entries.extend(both(name, member).map(Entry::Member));
    entries.extend(both("example.net", host).map(Entry::Route));
    entries.push(Entry::Route(Named::Put {
        name: "*".into(),
        row: Route::Here,
    }));
    entries.extend(both("sales@example.org\x007", grant).map(Entry::Grant));
    entries.extend(both("srs", Key([9; 32])).map(Entry::Key));
    entries.extend(both("7", Allowance { times: 300 }).map(Entry::Allowance));
    let policy = KeptPolicy {
        id: "20260101T000000".into(),
        text: "version: STSv1\r\nmode: enforce\r\nmx: mx.example.net\r\nmax_age: 604800\r\n".into(),
        read_unix_s: 1_800_000_000,
        ends_unix_s: 1_800_604_800,
    };
    entries.extend(both("example.net", policy).map(Entry::KeptPolicy));
    let mark = Mark {
        is_disabled: true,
        proved_unix_s: 1_800_000_000,
    };
    entries.extend(both("account 7", mark).map(Entry::Mark));
    let row = Fetch::Source(Box::new(sample_fetch()));
    entries.extend(both("7\x001", row).map(Entry::Fetch));
    let marks = [(0x0102_0304_0506_0708, 20_000), (u64::MAX, 0)];
    let marks = marks.map(|(id, day)| SeenMark { id, day });
    let marks = Fetch::Seen(marks.to_vec());
    entries.extend(both("7\x001\x000", marks).map(Entry::Fetch));
    entries
}
