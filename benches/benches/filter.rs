//! What a script costs a delivery: `cargo bench -p bench --bench filter`.
//!
//! The same deliveries to one account, on simulated legs that answer at once: without a script, with 50 rules of which none applies, and with
//! 50 rules of which the last one does. What counts is the difference; the promise is less than 50 µs for each message, and a tenth of the rate.
#![forbid(unsafe_code)]

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::BodyName;
use bench::commit::MemoryWitness;
use bench::load::message::Composer;
use bytes::Bytes;
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use device::sim::SimWorld;
use mail::{Address, InternalDate, Summary};
use mailbox::{AccountId, Mailboxes};
use queue::Queue;
use runtime::SessionHost;
use scripts::{Owner, Scripts};
use storage::arrival::{Arrival, Posted};
use storage::filter::Filter;
use storage::outgoing::Outgoing;
use store::{BodyIn, Store};
use volume::{Settings, Volume};

const MESSAGE_BYTES: usize = 10 * 1_024;
/// Deliveries to one volume before another is made.
const PER_VOLUME: u64 = 4_096;
const RULES: usize = 50;

/// `applies`: the last rule does.
fn script(applies: bool) -> String {
    let mut text = "require \"fileinto\";\r\n".to_owned();
    for rule in 0..RULES {
        let word = match applies && rule + 1 == RULES {
            true => "",
            false => "no message says so",
        };
        text += &format!(
            "if anyof(header :contains [\"Subject\", \"List-Id\"] \"{word}\", address :domain :is \"From\" \"rule{rule}.example\") {{ fileinto \"Archive\"; stop; }}\r\n"
        );
    }
    text
}

fn body(number: u64) -> BodyIn {
    let mut raw = format!("Return-Path: <load@example.net>\r\nReceived: {number}\r\n").into_bytes();
    let mut composer = Composer::new(number, "load@example.net");
    composer.compose("alice@example.org", MESSAGE_BYTES, &mut raw);
    let raw = Bytes::from(raw);
    BodyIn {
        name: BodyName::of(&raw),
        summary: Bytes::from(Summary::of(&raw).encode()),
        raw,
    }
}

async fn open(world: &SimWorld, text: Option<&str>) -> (Outgoing, AccountId) {
    let legs = [world.add_disk(1 << 30), world.add_disk(1 << 30)];
    let (io, witness) = (world.io(), Rc::new(MemoryWitness::default()));
    let settings = Settings::default();
    let made = Volume::create(&io, &legs, &settings, &*witness, 1).await;
    made.expect("blank legs");
    let volume = Volume::open(&io, &legs, &settings, witness).await;
    let settings = store::Settings {
        projection_cache_bytes: 16 << 20,
        compression_level: 1,
        lead: mail::header::bytes,
    };
    let opened = Store::open(io.clone(), volume.expect("a new volume"), settings).await;
    let (store, replay) = opened.expect("a new store");
    let settings = mailbox::Settings {
        cache_bytes: 64 << 20,
        checkpoint_groups: u64::MAX,
        checkpoint_bytes: u64::MAX,
        checkpoint_us: u64::MAX,
    };
    let (mut queue, mut scripts) = (None, None);
    let others = |tenancy: &_| {
        let queue = queue.insert(Queue::new(tenancy)).tenant();
        vec![queue, scripts.insert(Scripts::new(tenancy)).tenant()]
    };
    let opened = Mailboxes::open_beside(io.clone(), store, replay, settings, others).await;
    let mailboxes = opened.expect("new mailboxes");
    mailboxes.add_domain("example.org").await.expect("a domain");
    let address = Address::from_parts("alice", "example.org").expect("plain words");
    let account = mailboxes.add_account(&address, "!", 0).await;
    let account = account.expect("an account");
    let scripts: Scripts = scripts.expect("made just now");
    if let Some(text) = text {
        let text = Bytes::copy_from_slice(text.as_bytes());
        let owner = Owner::Account(account.0);
        let put = scripts.put(&owner, "main", text, true).await;
        put.expect("there is room");
    }
    let host = SessionHost::on(io.host.clone());
    let filter = Filter::new(
        scripts.clone(),
        host,
        "mx.example.org".to_owned(),
        Arc::default(),
    );
    let outgoing = Outgoing::new(mailboxes, queue.expect("made just now"));
    (outgoing.with_scripts(scripts).with_filter(filter), account)
}

fn deliver(text: Option<&str>, count: u64) -> Duration {
    let bodies: Vec<BodyIn> = (0..count).map(body).collect();
    let world = SimWorld::new(1);
    world.block_on(async {
        let (outgoing, account) = open(&world, text).await;
        let begin = Instant::now();
        for body in bodies {
            let arrival = Arrival {
                body,
                internal_date: InternalDate::utc(1),
                accounts: vec![account],
                junk: Vec::new(),
                posted: Posted {
                    from: "load@example.net".to_owned(),
                    ..Posted::default()
                },
            };
            let delivered = outgoing.deliver(arrival).await;
            assert_eq!(delivered, [Ok(())]);
        }
        begin.elapsed()
    })
}

fn deliveries(criterion: &mut Criterion) {
    let (idle, busy) = (script(false), script(true));
    let mut group = criterion.benchmark_group("filter");
    group.throughput(Throughput::Elements(1));
    group.sample_size(10);
    group.sampling_mode(SamplingMode::Flat);
    for (name, text) in [
        ("a delivery of 10 KiB without a script", None),
        ("with 50 rules of which none applies", Some(&idle[..])),
        ("with 50 rules of which the last one applies", Some(&busy)),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut took = Duration::ZERO;
                let mut left = iterations;
                while left > 0 {
                    // until all were made
                    let now = left.min(PER_VOLUME);
                    took += deliver(text, now);
                    left -= now;
                }
                took
            });
        });
    }
    group.finish();
}

criterion_group!(benches, deliveries);
criterion_main!(benches);
