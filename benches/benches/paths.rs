//! The paths that every message walks, one at a time: `cargo bench -p bench`.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::BodyName;
use base::hash::xxh3_128;
use bench::commit::MemoryWitness;
use bench::load::message::Composer;
use bytes::Bytes;
use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use device::sim::SimWorld;
use mail::Summary;
use smtp::{Action, Config, Limits, Role, Service, Session};
use store::{Change, Group, Record, RecordKind, Store, Table};
use volume::{Settings, Volume};

const MESSAGE_BYTES: usize = 10 * 1_024;
/// A commit batch's payload under load: sixty-four messages.
const BATCH_MESSAGES: usize = 64;
/// Some 160 MiB on each simulated leg, which live in memory.
const BATCHES_PER_VOLUME: u64 = 256;

fn message() -> Vec<u8> {
    let mut out = Vec::new();
    Composer::new(1, "load@example.net").compose("alice@example.org", MESSAGE_BYTES, &mut out);
    out
}

/// A message as a person would send it: alternative text and an attachment.
fn letter() -> Vec<u8> {
    let part = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n".repeat(50);
    format!(
        "From: Ann Example <ann@example.net>\r\nTo: Alice <alice@example.org>, Bob <bob@example.org>\r\n\
         Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.net>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n\
         --outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n\
         --inner\r\nContent-Type: text/plain\r\n\r\n{part}\r\n--inner\r\nContent-Type: text/html\r\n\r\n{part}\r\n--inner--\r\n\
         --outer\r\nContent-Type: application/octet-stream; name=\"a.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{part}\r\n--outer--\r\n"
    )
    .into_bytes()
}

fn checksums(criterion: &mut Criterion) {
    let message = message();
    let mut group = criterion.benchmark_group("checksum");
    group.throughput(Throughput::Bytes(message.len() as u64));
    group.bench_function("xxh3_128, 10 KiB", |bencher| {
        bencher.iter(|| xxh3_128(black_box(&message), 7))
    });
    group.bench_function("blake3 body name, 10 KiB", |bencher| {
        bencher.iter(|| BodyName::of(black_box(&message)))
    });
    group.finish();
}

fn smtp_transaction(criterion: &mut Criterion) {
    let mut input =
        b"MAIL FROM:<a@example.net>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n".to_vec();
    let envelope_bytes = input.len();
    input.extend_from_slice(&message());
    input.extend_from_slice(b".\r\n");
    let config = Arc::new(Config {
        role: Role::Smtp,
        service: Service::Exchange,
        hostname: "mx.example.org".into(),
        limits: Limits::default(),
        tls_available: false,
        tls_required: false,
    });
    let mut group = criterion.benchmark_group("smtp");
    group.throughput(Throughput::Bytes((input.len() - envelope_bytes) as u64));
    group.bench_function("one transaction, 10 KiB", |bencher| {
        // A new session each time, because a session keeps the buffers of its last message.
        bencher.iter_batched(
            || {
                let mut output = Vec::new();
                let mut session = Session::new(config.clone(), false, &mut output);
                session.step(b"EHLO client.example.net\r\n", &mut output);
                (session, output)
            },
            |(mut session, mut output)| transact(&mut session, &input, &mut output),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Feeds one whole transaction and returns the content's size.
fn transact(session: &mut Session<()>, input: &[u8], output: &mut Vec<u8>) -> usize {
    let mut at = 0;
    let mut content_bytes = 0;
    while at < input.len() {
        let (used, action) = session.step(&input[at..], output);
        at += used;
        match action {
            Action::CheckRecipient => session.recipient_verdict(Ok(()), output),
            Action::BeginContent => {
                session.begin_content(Vec::with_capacity(session.content_reserve_bytes()), output);
            }
            Action::Message(message) => {
                content_bytes = message.content.len();
                session.outcome(&[Ok("1")], output);
            }
            Action::NeedInput => {
                assert_eq!(at, input.len(), "a whole transaction needs no more input")
            }
            Action::StartTls
            | Action::Close
            | Action::CheckLogin(_)
            | Action::FindKeys(_)
            | Action::Proved(_)
            | Action::CheckToken(_)
            | Action::CheckCertificate(_)
            | Action::CheckSender
            | Action::Forwarded(_) => panic!("not in this conversation"),
        }
    }
    assert_eq!(content_bytes, MESSAGE_BYTES);
    content_bytes
}

fn imap_commands(criterion: &mut Criterion) {
    let commands: [(&str, &[u8]); 3] = [
        ("FETCH of a list view", b"a1 UID FETCH 1:500,502,600:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"),
        ("SEARCH", b"a2 UID SEARCH OR (FROM \"ann\" SINCE 1-Jan-2026) (NOT SEEN KEYWORD work) LARGER 4096 1:*"),
        ("STORE", b"a3 UID STORE 17:40 +FLAGS.SILENT (\\Seen \\Flagged Project)"),
    ];
    let mut group = criterion.benchmark_group("imap");
    for (name, line) in commands {
        assert!(
            imap::parse::command(line, imap::Names::ModifiedUtf7).is_ok(),
            "{name}"
        );
        group.bench_function(name, |bencher| {
            bencher.iter(|| imap::parse::command(black_box(line), imap::Names::ModifiedUtf7));
        });
    }
    group.finish();
}

fn summaries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("summary");
    for (name, raw) in [
        ("plain, 10 KiB", message()),
        ("multipart, 10 KiB", letter()),
    ] {
        group.throughput(Throughput::Bytes(raw.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| Summary::of(black_box(&raw)).encode())
        });
    }
    let encoded = Summary::of(&letter()).encode();
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| Summary::decode(black_box(&encoded)).is_ok())
    });
    group.finish();
}

/// What the volume itself costs per batch: two simulated legs that answer at once.
fn commit_batch(criterion: &mut Criterion) {
    let payload = vec![7; MESSAGE_BYTES];
    let mut group = criterion.benchmark_group("volume");
    group.throughput(Throughput::Elements(BATCH_MESSAGES as u64));
    group.sample_size(10);
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function("commit batch, 64 x 10 KiB, two legs", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut took = Duration::ZERO;
            let mut left = iterations;
            while left > 0 {
                // A volume is made again before it is full; that is not measured.
                let now = left.min(BATCHES_PER_VOLUME);
                took += commit_batches(&payload, now);
                left -= now;
            }
            took
        });
    });
    group.finish();
}

/// On a new volume in memory.
fn commit_batches(payload: &[u8], count: u64) -> Duration {
    const LEG_BYTES: u64 = 1 << 30;
    let world = SimWorld::new(1);
    let legs = [world.add_disk(LEG_BYTES), world.add_disk(LEG_BYTES)];
    let io = world.io();
    world.block_on(async {
        let witness = Rc::new(MemoryWitness::default());
        let settings = Settings::default();
        Volume::create(&io, &legs, &settings, &*witness, 1)
            .await
            .expect("blank legs");
        let volume = Volume::open(&io, &legs, &settings, witness)
            .await
            .expect("a new volume");
        let begin = Instant::now();
        for _ in 0..count {
            let mut batch = volume.begin().await;
            for _ in 0..BATCH_MESSAGES {
                batch.place(payload);
            }
            black_box(volume.commit(batch).await.expect("durable").lsn);
        }
        begin.elapsed()
    })
}

/// The rows of ten thousand new messages go into the projection and are logged, on simulated legs.
fn projection_checkpoint(criterion: &mut Criterion) {
    const LEG_BYTES: u64 = 2 << 30;
    const ROWS: u64 = 10_000;
    let world = SimWorld::new(1);
    let legs = [world.add_disk(LEG_BYTES), world.add_disk(LEG_BYTES)];
    let io = world.io();
    let store = world.block_on(async {
        let witness = Rc::new(MemoryWitness::default());
        let settings = Settings::default();
        Volume::create(&io, &legs, &settings, &*witness, 1)
            .await
            .expect("blank legs");
        let volume = Volume::open(&io, &legs, &settings, witness)
            .await
            .expect("a new volume");
        let settings = store::Settings {
            projection_cache_bytes: 64 << 20,
            compression_level: 0,
            lead: mail::header::bytes,
        };
        let (store, mut replay) = Store::open(io.clone(), volume, settings)
            .await
            .expect("a new store");
        while replay.next().await.expect("a new log").is_some() {}
        store
    });
    let mut group = criterion.benchmark_group("projection");
    group.throughput(Throughput::Elements(ROWS));
    group.sample_size(10);
    group.sampling_mode(SamplingMode::Flat);
    // New keys in every turn: rows that are written over would be a smaller tree than mail makes.
    let mut first = 0u64;
    group.bench_function("checkpoint of 10,000 rows of 160 bytes", |bencher| {
        bencher.iter(|| {
            world.block_on(async {
                let record = Record {
                    kind: RecordKind(0),
                    payload: Bytes::from_static(b"x"),
                };
                let group = Group {
                    records: vec![record],
                    ..Group::default()
                };
                let lsn = store.append(group).await.expect("durable").lsn;
                let rows = first..first + ROWS;
                let change = |row: u64| Change {
                    table: Table(1),
                    key: row.to_be_bytes().to_vec(),
                    value: Some(vec![row as u8; 160]),
                };
                store
                    .checkpoint(rows.map(change).collect(), lsn)
                    .await
                    .expect("logged");
            });
            first += ROWS;
        });
    });
    group.finish();
}

criterion_group!(
    paths,
    checksums,
    smtp_transaction,
    imap_commands,
    summaries,
    commit_batch,
    projection_checkpoint
);
criterion_main!(paths);
