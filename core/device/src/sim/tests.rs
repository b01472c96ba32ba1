use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use base::Time;
use base::host::{job, sleep_us};

use super::*;
use crate::{BLOCK_BYTES, Buffer, Completion, Io, IoFault, Op};

const DISK: DeviceIndex = DeviceIndex(0);

fn world(seed: u64) -> (SimWorld, Io) {
    let world = SimWorld::new(seed);
    world.add_disk(1 << 20);
    let io = world.io();
    (world, io)
}

fn filled(byte: u8, blocks: usize) -> Arc<Buffer> {
    let mut buffer = Buffer::zeroed(blocks * BLOCK_BYTES);
    buffer.fill(byte);
    Arc::new(buffer)
}

async fn write(io: &Io, at: u64, byte: u8, blocks: usize, durable: bool) -> Result<(), IoFault> {
    let op = Op::Write {
        at,
        data: filled(byte, blocks),
        range: 0..blocks * BLOCK_BYTES,
        durable,
    };
    io.device.start(DISK, op).await.result
}

async fn read(io: &Io, at: u64) -> Result<u8, IoFault> {
    let op = Op::Read {
        at,
        into: Buffer::zeroed(BLOCK_BYTES),
        bytes: BLOCK_BYTES,
    };
    let Completion { result, buffer } = io.device.start(DISK, op).await;
    let buffer = buffer.expect("a read gives its buffer back");
    result.map(|()| buffer[0])
}

async fn flush(io: &Io) -> Result<(), IoFault> {
    io.device.start(DISK, Op::Flush).await.result
}

fn with_fault(change: impl Fn(&mut Faults)) -> (SimWorld, Io) {
    let (world, io) = world(1);
    let mut faults = Faults::default();
    change(&mut faults);
    world.set_faults(DISK, faults);
    (world, io)
}

#[test]
fn what_is_written_is_read_by_both_readers() {
    let (world, io) = world(1);
    world.block_on(async {
        write(&io, 8192, 7, 2, false).await.unwrap();
        assert_eq!(read(&io, 8192).await, Ok(7));
        assert_eq!(read(&io, 0).await, Ok(0));
    });
    let reader = io.device.blocking_reader(DISK);
    let mut bytes = vec![0; BLOCK_BYTES];
    std::thread::spawn(move || {
        reader.read_at(12288, &mut bytes).unwrap();
        assert_eq!(bytes, [7; BLOCK_BYTES]);
    })
    .join()
    .unwrap();
}

#[test]
fn one_seed_gives_one_history() {
    let history = |seed: u64| {
        let (world, io) = world(seed);
        let order = Rc::new(RefCell::new(Vec::new()));
        for task in 0..20u64 {
            let (order, io2) = (order.clone(), io.clone());
            io.host.spawn(Box::pin(async move {
                write(&io2, task * 4096, task as u8, 1, true).await.unwrap();
                sleep_us(&*io2.host, 100).await;
                let at = io2.host.now();
                order.borrow_mut().push((task, at));
            }));
        }
        world.run_for_us(10_000).unwrap();
        let order = order.borrow().clone();
        assert_eq!(order.len(), 20);
        order
    };
    assert_eq!(history(5), history(5));
    assert_ne!(history(5), history(6));
}

#[test]
fn jobs_run_in_the_order_they_were_posted() {
    let (world, io) = world(3);
    let answers = world.block_on(async {
        let first = job(&*io.host, || 1);
        let second = job(&*io.host, || 2);
        let (first, second) = (Box::pin(first), Box::pin(second));
        (first.await, second.await)
    });
    assert_eq!(answers, (1, 2));
}

#[test]
fn a_wait_for_nothing_is_told_apart_from_a_wait_without_end() {
    let (world, io) = world(1);
    assert_eq!(world.run(std::future::pending::<()>()), Err(Halt::Idle));
    let host = io.host.clone();
    io.host.spawn(Box::pin(async move {
        loop {
            sleep_us(&*host, 1_000_000).await;
        }
    }));
    assert_eq!(world.run(std::future::pending::<()>()), Err(Halt::Endless));
}

#[test]
fn a_durable_write_survives_every_crash() {
    for seed in 0..50 {
        let (world, io) = world(seed);
        world.block_on(write(&io, 0, 9, 3, true)).unwrap();
        world.crash();
        assert_eq!(world.peek(DISK, 0, 3 * BLOCK_BYTES), [9; 3 * BLOCK_BYTES]);
    }
}

#[test]
fn the_volatile_cache_loses_what_no_flush_covered() {
    let (world, io) = world(1);
    world.block_on(async {
        write(&io, 0, 1, 1, false).await.unwrap();
        flush(&io).await.unwrap();
        write(&io, 0, 2, 1, false).await.unwrap();
        write(&io, 4096, 3, 1, false).await.unwrap();
        assert_eq!(read(&io, 0).await, Ok(2));
    });
    world.crash_with(CacheLanding::Lost, |_| Landing::Nothing);
    assert_eq!(world.peek(DISK, 0, 1), [1]);
    assert_eq!(world.peek(DISK, 4096, 1), [0]);
    assert_eq!(world.fault_counts(DISK).cache_blocks_lost, 2);
}

#[test]
fn a_flush_never_puts_older_bytes_over_a_later_durable_write() {
    for seed in 0..100 {
        let (world, io) = world(seed);
        world.block_on(async {
            write(&io, 0, 1, 1, false).await.unwrap();
            let flushing = io.device.start(DISK, Op::Flush);
            let durable = write(&io, 0, 2, 1, true);
            durable.await.unwrap();
            let cached = write(&io, 0, 3, 1, false);
            cached.await.unwrap();
            flushing.await.result.unwrap();
        });
        world.crash_with(CacheLanding::Lost, |_| Landing::Nothing);
        assert_eq!(world.peek(DISK, 0, 1), [2], "seed {seed}");
    }
}

#[test]
fn a_crash_tears_a_write_in_flight_by_sectors() {
    let (world, io) = world(2);
    world.crash_at(1); // right after the write starts
    assert_eq!(world.run(write(&io, 0, 5, 2, true)), Err(Halt::PowerCut));
    world.crash_with(CacheLanding::Lost, |cut| {
        assert_eq!(cut.bytes().len(), 2 * BLOCK_BYTES);
        Landing::Before(3)
    });
    let bytes = world.peek(DISK, 0, 2 * BLOCK_BYTES);
    assert!(bytes[..1536].iter().all(|byte| *byte == 5));
    assert!(bytes[1536..].iter().all(|byte| *byte == 0));
    assert_eq!(world.fault_counts(DISK).torn_writes, 1);
}

#[test]
fn a_cut_at_completion_stores_the_write_and_tells_nobody() {
    let (world, io) = world(2);
    world.crash_at(2);
    assert_eq!(world.run(write(&io, 0, 5, 1, true)), Err(Halt::PowerCut));
    let cut = world.power_cut();
    assert!(cut.writes.is_empty());
    world.crash();
    assert_eq!(world.peek(DISK, 0, 1), [5]);
}

#[test]
fn every_outcome_of_one_cut_can_be_tried() {
    let (world, io) = world(4);
    world.crash_at(2);
    let both = async {
        let first = io.device.start(
            DISK,
            Op::Write {
                at: 0,
                data: filled(1, 1),
                range: 0..4096,
                durable: true,
            },
        );
        let second = io.device.start(
            DISK,
            Op::Write {
                at: 4096,
                data: filled(2, 1),
                range: 0..4096,
                durable: true,
            },
        );
        first.await.result.and(second.await.result)
    };
    assert_eq!(world.run(both), Err(Halt::PowerCut));
    let cut = world.power_cut();
    assert_eq!(cut.writes.len(), 2);
    for subset in 0..4u8 {
        let after = SimWorld::after_cut(9, &cut, CacheLanding::Lost, |index, _| {
            if subset >> index & 1 == 1 {
                Landing::All
            } else {
                Landing::Nothing
            }
        });
        assert_eq!(after.peek(DISK, 0, 1), [subset & 1]);
        assert_eq!(after.peek(DISK, 4096, 1), [subset & 2]);
    }
}

#[test]
fn handles_from_before_a_crash_are_dead() {
    let (world, io) = world(1);
    world.crash();
    assert_eq!(world.run(write(&io, 0, 1, 1, true)), Err(Halt::Idle));
    assert_eq!(world.run(io.host.sleep_until(Time(5))), Err(Halt::Idle));
    assert_eq!(world.boundaries(), 0);
    let io = world.io();
    world.block_on(write(&io, 0, 1, 1, true)).unwrap();
}

#[test]
fn a_crash_ends_every_task() {
    let (world, io) = world(1);
    let alive = Rc::new(());
    let held = alive.clone();
    io.host.spawn(Box::pin(async move {
        let _held = held;
        std::future::pending::<()>().await;
    }));
    world.run_for_us(10).unwrap();
    assert_eq!(Rc::strong_count(&alive), 2);
    world.crash();
    assert_eq!(Rc::strong_count(&alive), 1);
}

#[test]
fn a_transient_read_error_passes() {
    let (world, io) = with_fault(|faults| faults.read_error = 1.0);
    assert_eq!(world.block_on(read(&io, 0)), Err(IoFault::Medium));
    world.set_faults(DISK, Faults::default());
    assert_eq!(world.block_on(read(&io, 0)), Ok(0));
}

#[test]
fn a_sticky_read_error_stays_until_the_block_is_rewritten() {
    let (world, io) = with_fault(|faults| faults.sticky_read_error = 1.0);
    assert_eq!(world.block_on(read(&io, 0)), Err(IoFault::Medium));
    world.set_faults(DISK, Faults::default());
    assert_eq!(world.block_on(read(&io, 0)), Err(IoFault::Medium));
    world.block_on(write(&io, 0, 4, 1, true)).unwrap();
    assert_eq!(world.block_on(read(&io, 0)), Ok(4));
}

#[test]
fn a_write_error_may_leave_some_sectors() {
    let (world, io) = with_fault(|faults| faults.write_error = 1.0);
    assert_eq!(
        world.block_on(write(&io, 0, 4, 8, true)),
        Err(IoFault::Medium)
    );
    let stored = world.peek(DISK, 0, 8 * BLOCK_BYTES);
    assert!(stored.contains(&4) && stored.contains(&0));
}

#[test]
fn a_lost_write_is_acknowledged_and_absent() {
    let (world, io) = with_fault(|faults| faults.lost_write = 1.0);
    world.block_on(write(&io, 0, 4, 1, true)).unwrap();
    assert_eq!(world.block_on(read(&io, 0)), Ok(0));
    assert_eq!(world.fault_counts(DISK).lost_writes, 1);
}

#[test]
fn a_misdirected_write_lands_elsewhere() {
    let (world, io) = with_fault(|faults| faults.misdirected_write = 1.0);
    world.block_on(write(&io, 0, 4, 1, true)).unwrap();
    let blocks = world.with_disk(DISK, |medium| medium.written_blocks());
    assert_eq!(blocks.len(), 1);
    assert_ne!(blocks, [0]);
}

#[test]
fn a_misdirected_read_answers_with_other_bytes() {
    let (world, io) = with_fault(|_| {});
    world.block_on(write(&io, 0, 4, 1, true)).unwrap();
    let faults = Faults {
        misdirected_read: 1.0,
        ..Faults::default()
    };
    world.set_faults(DISK, faults);
    assert_eq!(world.block_on(read(&io, 0)), Ok(0));
}

#[test]
fn rot_turns_over_one_bit() {
    let (world, io) = with_fault(|faults| faults.rot = 1.0);
    world.block_on(write(&io, 0, 0, 4, true)).unwrap();
    let ones: u32 = world
        .peek(DISK, 0, 4 * BLOCK_BYTES)
        .iter()
        .map(|byte| byte.count_ones())
        .sum();
    assert_eq!(ones, 1);
    world.flip_bit(DISK, 4097, 3);
    assert_eq!(world.peek(DISK, 4097, 1)[0] & 8, 8);
}

#[test]
fn a_lying_flush_protects_nothing() {
    let (world, io) = with_fault(|faults| faults.lying_flush = 1.0);
    world.block_on(async {
        write(&io, 0, 4, 1, true).await.unwrap();
        write(&io, 4096, 4, 1, false).await.unwrap();
        flush(&io).await.unwrap();
        assert_eq!(read(&io, 0).await, Ok(4));
    });
    world.crash_with(CacheLanding::Lost, |_| Landing::Nothing);
    assert_eq!(world.peek(DISK, 0, 1), [0]);
    assert_eq!(world.peek(DISK, 4096, 1), [0]);
}

#[test]
fn a_stalled_write_is_late() {
    let (world, io) = with_fault(|faults| {
        faults.stall = 1.0;
        faults.stall_us = 500_000;
    });
    world.block_on(write(&io, 0, 4, 1, true)).unwrap();
    assert!(world.now() >= Time(500_000));
}

#[test]
fn a_hung_write_lands_when_it_is_released() {
    let (world, io) = with_fault(|faults| faults.hang = 1.0);
    let op = Op::Write {
        at: 0,
        data: filled(6, 1),
        range: 0..4096,
        durable: true,
    };
    let pending = io.device.start(DISK, op);
    drop(pending); // no caller waits: a zombie
    world.run_for_us(1_000_000).unwrap();
    assert_eq!(io.device.in_flight(DISK), 1);
    world.release(DISK);
    world.run_for_us(10).unwrap();
    assert_eq!(io.device.in_flight(DISK), 0);
    assert_eq!(world.peek(DISK, 0, 1), [6]);
}

#[test]
fn a_removed_disk_answers_gone_and_returns_with_its_bytes_or_older_ones() {
    let (world, io) = world(1);
    world.block_on(write(&io, 0, 1, 1, true)).unwrap();
    let old = world.snapshot(DISK);
    world.block_on(write(&io, 0, 2, 1, true)).unwrap();
    world.remove(DISK);
    assert_eq!(world.block_on(read(&io, 0)), Err(IoFault::Gone));
    assert_eq!(
        world.block_on(write(&io, 0, 3, 1, true)),
        Err(IoFault::Gone)
    );
    world.insert(DISK);
    assert_eq!(world.block_on(read(&io, 0)), Ok(2));
    world.restore(DISK, &old);
    assert_eq!(world.block_on(read(&io, 0)), Ok(1));
}

#[test]
fn a_disk_cut_short_ends_there_and_keeps_what_lies_before() {
    let (world, io) = world(1);
    for at in [0, 512 << 10, 1020 << 10] {
        world.block_on(write(&io, at, 7, 1, at == 0)).unwrap();
    }
    world.cut_short(DISK, 516 << 10);
    assert_eq!(io.device.geometry(DISK).capacity_bytes, 516 << 10);
    for at in [0, 512 << 10] {
        assert_eq!(world.block_on(read(&io, at)), Ok(7), "at {at}");
    }
    assert_eq!(
        world.with_disk(DISK, |medium| medium.written_blocks()),
        [0, 128]
    );
    world.crash_with(CacheLanding::Lost, |_| Landing::All);
    assert_eq!(world.block_on(read(&world.io(), 512 << 10)), Ok(0));
}

#[test]
fn the_write_log_names_every_write() {
    let (world, io) = world(1);
    world.log_writes();
    world.block_on(write(&io, 8192, 1, 2, true)).unwrap();
    let log = world.take_write_log();
    assert_eq!(log.len(), 1);
    assert_eq!(
        (log[0].at, log[0].bytes, log[0].durable),
        (8192, 8192, true)
    );
    assert!(log[0].completed > Some(log[0].started));
    assert!(world.take_write_log().is_empty());
}

#[test]
#[should_panic(expected = "unaligned")]
fn an_unaligned_operation_stops_the_process() {
    let (_world, io) = world(1);
    drop(io.device.start(
        DISK,
        Op::Discard {
            at: 100,
            bytes: 4096,
        },
    ));
}

#[test]
#[should_panic(expected = "out of range")]
fn an_operation_past_the_end_stops_the_process() {
    let (_world, io) = world(1);
    let op = Op::Read {
        at: 1 << 20,
        into: Buffer::zeroed(4096),
        bytes: 4096,
    };
    drop(io.device.start(DISK, op));
}

#[test]
fn a_look_comes_after_each_step_until_it_has_nothing_to_look_at() {
    let (world, io) = world(1);
    let (polls, looks) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let seen = (polls.clone(), looks.clone());
    world.after_each_step(move || {
        let (polls, looks) = &seen;
        looks.set(looks.get() + 1);
        assert_eq!(polls.get(), looks.get(), "nothing runs in between");
        looks.get() < 3
    });
    let counted = polls.clone();
    world.block_on(async move {
        for _ in 0..5 {
            counted.set(counted.get() + 1);
            sleep_us(&*io.host, 10).await;
        }
        counted.set(counted.get() + 1);
    });
    assert_eq!((polls.get(), looks.get()), (6, 3));
}
