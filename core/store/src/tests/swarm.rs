//! Many small lives from many seeds: writers, checkpoints, reclaim, rot on one leg and a power cut, boot after boot. `core/sim` does
//! the same with mail and more faults; this finds the store's own faults closer to home.

use super::*;

/// What the outside knows: what was answered, and what was only asked.
#[derive(Default)]
struct Ledger {
    put: BTreeSet<u64>,
    taken: BTreeSet<u64>,
    asked_put: BTreeSet<u64>,
    asked_taken: BTreeSet<u64>,
}

fn body(key: u64) -> Bytes {
    match key % 11 {
        0 => text(key, 40_000),
        1 if key.is_multiple_of(2) => noise(key, 1_200_000),
        2 => Bytes::new(),
        _ => noise(key, 500 + (key as usize * 977) % 30_000),
    }
}

async fn write(
    shelf: Shelf,
    ledger: Rc<RefCell<Ledger>>,
    keys: std::ops::Range<u64>,
    done: Rc<Cell<usize>>,
) {
    for key in keys {
        ledger.borrow_mut().asked_put.insert(key);
        if shelf.put(key, &body(key)).await.is_ok() {
            ledger.borrow_mut().put.insert(key);
        }
        if key % 3 != 0 {
            ledger.borrow_mut().asked_taken.insert(key);
            if shelf.take(key).await.is_ok() {
                ledger.borrow_mut().taken.insert(key);
            }
        }
    }
    done.set(done.get() + 1);
}

async fn live(rig: &Rig, shelf: &Shelf, ledger: &Rc<RefCell<Ledger>>, boot: u64) {
    let done = counter();
    for writer in 0..4 {
        let first = boot * 1_000 + writer * 100;
        let keys = first..first + 4 + rig.world.draw(0..12);
        let writer = write(shelf.clone(), ledger.clone(), keys, done.clone());
        shelf.io.host.spawn(Box::pin(writer));
    }
    while done.get() < 4 {
        base::host::sleep_us(&*shelf.io.host, 100 + rig.world.draw(0..3_000)).await;
        match rig.world.draw(0..3) {
            0 => shelf.checkpoint().await.unwrap(),
            1 => shelf.verify(body).await,
            _ => {}
        }
    }
    // These pictures are only right while nothing else is appended.
    for _ in 0..rig.world.draw(0..3) {
        match shelf.store.reclaim(shelf).await {
            Ok(_) | Err(StoreFault::Full) => {}
            Err(fault) => panic!("reclaim: {fault}"),
        }
        shelf.checkpoint().await.unwrap();
    }
}

fn check(shelf: &Shelf, ledger: &Ledger, seed: u64) {
    let found: BTreeSet<u64> = shelf.keys().into_iter().collect();
    for key in ledger.put.difference(&ledger.asked_taken) {
        assert!(
            found.contains(key),
            "seed {seed}: {key} was acknowledged and is gone"
        );
    }
    for key in &found {
        assert!(
            ledger.asked_put.contains(key),
            "seed {seed}: {key} was never put"
        );
        assert!(
            !ledger.taken.contains(key),
            "seed {seed}: {key} was taken and is back"
        );
    }
}

fn one_life(seed: u64) {
    let rig = Rig::new(seed);
    let ledger: Rc<RefCell<Ledger>> = Rc::default();
    for boot in 0..4 {
        let through = {
            let end = rig.world.boundaries() + 20 + rig.world.draw(0..600);
            rig.world.crash_at(end);
            rig.run(async {
                let shelf = rig.open().await;
                check(&shelf, &ledger.borrow(), seed);
                shelf.verify(body).await;
                live(&rig, &shelf, &ledger, boot).await;
            })
        };
        if let Err(halt) = through {
            assert_eq!(halt, Halt::PowerCut, "seed {seed}");
        }
        rig.world.crash();
        // Rot on one leg, always the same one: a bit here and there among the segments.
        let leg = rig.legs[seed as usize % 2];
        for _ in 0..rig.world.draw(0..6) {
            let at = (256 << 10) + rig.world.draw(0..20 * SEGMENT_BYTES);
            rig.world.flip_bit(leg, at, 2);
        }
    }
    rig.block_on(async {
        let shelf = rig.open().await;
        check(&shelf, &ledger.borrow(), seed);
        shelf.verify(body).await;
        let kept = shelf.keys();
        shelf.store.request_rebuild().await.unwrap();
        drop(shelf);
        let shelf = rig.open().await;
        assert!(shelf.store.open_report().rebuilt);
        assert_eq!(
            shelf.keys(),
            kept,
            "seed {seed}: the log alone says otherwise"
        );
        shelf.verify(body).await;
    });
}

#[test]
fn a_swarm_of_lives_loses_nothing() {
    // RINGPOST_SEEDS=100..200 looks elsewhere.
    let seeds = std::env::var("RINGPOST_SEEDS").ok().and_then(|range| {
        let (from, to) = range.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    for seed in seeds.unwrap_or(0..8) {
        one_life(seed);
    }
}
