//! On real files, with every set of flags this kernel knows.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use base::host::{job, sleep_us};
use base::units::MIB;
use device::{BLOCK_BYTES, Buffer, Device, DeviceIndex, IoFault, Op};
use tempfile::TempDir;

use crate::limits::IN_KERNEL_MAX;
use crate::local::Local;
use crate::setup::FLAGS;
use crate::{Ring, create_file_leg};

fn leg(directory: &TempDir, bytes: u64) -> PathBuf {
    let path = directory.path().join("leg");
    create_file_leg(&path, bytes, |_| {}).unwrap();
    path
}

fn filled(byte: u8, bytes: usize) -> Arc<Buffer> {
    let mut buffer = Buffer::zeroed(bytes);
    buffer.fill(byte);
    Arc::new(buffer)
}

fn write(at: u64, data: &Arc<Buffer>, durable: bool) -> Op {
    Op::Write {
        at,
        data: data.clone(),
        range: 0..data.len(),
        durable,
    }
}

fn read(at: u64, bytes: usize) -> Op {
    Op::Read {
        at,
        into: Buffer::zeroed(bytes),
        bytes,
    }
}

fn refusal(path: &Path) -> String {
    Ring::new().unwrap().open(path).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_with_every_set_of_flags() {
    for flags in FLAGS {
        let directory = TempDir::new().unwrap();
        let path = leg(&directory, MIB as u64);
        let Ok(ring) = Ring::with_flags(&[flags]) else {
            continue;
        };
        assert_eq!(ring.flags(), flags);
        let local = Local::with_ring(ring).unwrap();
        let device = local.ring.open(&path).unwrap();
        local.run(async {
            let durable = local
                .ring
                .start(device, write(8192, &filled(7, 16384), true));
            let plain = local.ring.start(device, write(0, &filled(1, 4096), false));
            assert_eq!(durable.await.result, Ok(()));
            assert_eq!(plain.await.result, Ok(()));
            assert_eq!(local.ring.start(device, Op::Flush).await.result, Ok(()));
            let done = local.ring.start(device, read(4096, 12288)).await;
            assert_eq!(done.result, Ok(()));
            let bytes = done.buffer.unwrap();
            assert!(bytes[..4096].iter().all(|byte| *byte == 0));
            assert!(bytes[4096..].iter().all(|byte| *byte == 7));
            assert_eq!(
                local
                    .ring
                    .start(device, Op::Discard { at: 0, bytes: 4096 })
                    .await
                    .result,
                Ok(())
            );
        });
        assert_eq!(local.ring.in_flight(device), 0);
        let mut bytes = vec![0; 3 * 65536];
        local
            .ring
            .blocking_reader(device)
            .read_at(4096, &mut bytes)
            .unwrap();
        assert!(bytes[4096..20480].iter().all(|byte| *byte == 7));
        assert_eq!(bytes[20480], 0);
    }
}

#[test]
fn registered_and_plain_buffers_say_the_same() {
    let directory = TempDir::new().unwrap();
    let path = leg(&directory, 4 * MIB as u64);
    let local = Local::new().unwrap();
    let device = local.ring.open(&path).unwrap();
    let mut data = local.ring.allocate(MIB);
    assert!(data.registered().is_some());
    assert_eq!(data.len(), MIB, "also where its memory is a huge page");
    assert!(local.ring.allocate(BLOCK_BYTES).registered().is_none());
    for (index, byte) in data.iter_mut().enumerate() {
        *byte = (index / 4096) as u8;
    }
    let data = Arc::new(data);
    local.run(async {
        assert_eq!(
            local
                .ring
                .start(device, write(MIB as u64, &data, true))
                .await
                .result,
            Ok(())
        );
        let into = local.ring.allocate(MIB);
        let done = local
            .ring
            .start(
                device,
                Op::Read {
                    at: MIB as u64,
                    into,
                    bytes: MIB,
                },
            )
            .await;
        assert_eq!(done.result, Ok(()));
        assert_eq!(done.buffer.unwrap()[..], data[..]);
        let done = local.ring.start(device, read(MIB as u64, MIB)).await;
        assert_eq!(done.buffer.unwrap()[..], data[..]);
    });
    assert_eq!(local.ring.registered_buffers(), 2);
}

#[test]
fn more_than_the_kernel_takes_waits_in_order() {
    let directory = TempDir::new().unwrap();
    let path = leg(&directory, 4 * MIB as u64);
    let local = Local::new().unwrap();
    let device = local.ring.open(&path).unwrap();
    let all = 3 * IN_KERNEL_MAX;
    local.run(async {
        let pending: Vec<_> = (0..all)
            .map(|index| {
                local.ring.start(
                    device,
                    write((index * 4096) as u64, &filled(index as u8, 4096), false),
                )
            })
            .collect();
        assert_eq!(local.ring.in_flight(device), all);
        assert!(local.ring.has_unsubmitted());
        for pending in pending {
            assert_eq!(pending.await.result, Ok(()));
        }
        for index in 0..all {
            let done = local
                .ring
                .start(device, read((index * 4096) as u64, 4096))
                .await;
            assert_eq!(done.buffer.unwrap()[0], index as u8);
        }
    });
    assert_eq!(local.ring.outstanding(), 0);
}

#[test]
fn an_operation_nobody_waits_for_keeps_its_buffer_and_ends() {
    let directory = TempDir::new().unwrap();
    let path = leg(&directory, MIB as u64);
    let local = Local::new().unwrap();
    let device = local.ring.open(&path).unwrap();
    drop(local.ring.start(device, write(0, &filled(9, 65536), true)));
    assert_eq!(local.ring.in_flight(device), 1);
    assert!(!local.ring.close(device));
    local.run(async {
        while local.ring.in_flight(device) > 0 {
            sleep_us(&*local.host, 500).await;
        }
    });
    assert!(local.ring.close(device));
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes[..65536].iter().all(|byte| *byte == 9));
}

#[test]
fn a_ring_dropped_with_writes_in_flight_finishes_them() {
    let directory = TempDir::new().unwrap();
    let path = leg(&directory, MIB as u64);
    let ring = Ring::new().unwrap();
    let device = ring.open(&path).unwrap();
    drop(ring.start(device, write(0, &filled(3, MIB), true)));
    ring.turn();
    drop(ring);
    // The lock is free again and the bytes are there.
    let ring = Ring::new().unwrap();
    ring.open(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap()[MIB - 1], 3);
}

#[test]
fn a_leg_is_opened_by_one_at_a_time() {
    let directory = TempDir::new().unwrap();
    let path = leg(&directory, MIB as u64);
    let ring = Ring::new().unwrap();
    let device = ring.open(&path).unwrap();
    assert!(refusal(&path).contains("in use by another process"));
    assert!(ring.close(device));
    assert!(Ring::new().unwrap().open(&path).is_ok());
}

#[test]
fn a_lock_that_is_released_in_time_is_waited_for() {
    let directory = TempDir::new().unwrap();
    let path = leg(&directory, MIB as u64);
    let held = path.clone();
    let (sender, receiver) = std::sync::mpsc::channel();
    let holder = std::thread::spawn(move || {
        let ring = Ring::new().unwrap();
        ring.open(&held).unwrap();
        sender.send(()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
    });
    receiver.recv().unwrap();
    assert!(Ring::new().unwrap().open(&path).is_ok());
    holder.join().unwrap();
}

#[test]
fn what_cannot_be_a_leg_is_refused_with_the_reason() {
    let directory = TempDir::new().unwrap();
    assert!(refusal(directory.path()).contains("is a directory"));
    assert!(refusal(&directory.path().join("none")).contains("no such leg"));
    let odd = directory.path().join("odd");
    std::fs::write(&odd, vec![0; 5000]).unwrap();
    assert!(refusal(&odd).contains("multiple of 4096"));
    let empty = directory.path().join("empty");
    std::fs::write(&empty, []).unwrap();
    assert!(refusal(&empty).contains("is empty"));
    assert!(refusal(Path::new("/dev/null")).contains("neither a file nor a block device"));
    let whole = leg(&directory, 8192);
    assert!(
        create_file_leg(&whole, 8192, |_| {})
            .unwrap_err()
            .to_string()
            .contains("exists already")
    );
    let missing = directory.path().join("no/leg");
    assert!(
        create_file_leg(&missing, 8192, |_| {})
            .unwrap_err()
            .to_string()
            .contains("does its directory exist")
    );
    assert!(
        create_file_leg(&odd, 5000, |_| {})
            .unwrap_err()
            .to_string()
            .contains("multiple of 4096")
    );
}

#[test]
fn a_new_leg_is_written_through_and_tells_how_far_it_is() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("leg");
    let mut steps = Vec::new();
    create_file_leg(&path, 2 * MIB as u64 + 4096, |done| steps.push(done)).unwrap();
    assert_eq!(steps, [MIB as u64, 2 * MIB as u64, 2 * MIB as u64 + 4096]);
    assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn a_new_leg_has_no_name_until_it_is_whole_and_takes_no_name_that_is_given_meanwhile() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("leg");
    let refused = create_file_leg(&path, 2 * MIB as u64, |done| {
        if done == MIB as u64 {
            assert!(!path.exists(), "half a leg under its name");
            std::fs::write(&path, b"brought back meanwhile").unwrap();
        }
    });
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("exists already"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), b"brought back meanwhile");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_leg_cut_short_is_gone_for_readers_and_writers() {
    let directory = TempDir::new().unwrap();
    let path = leg(&directory, MIB as u64);
    let local = Local::new().unwrap();
    let device = local.ring.open(&path).unwrap();
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(8192)
        .unwrap();
    let mut bytes = [0; BLOCK_BYTES];
    assert_eq!(
        local.ring.blocking_reader(device).read_at(8192, &mut bytes),
        Err(IoFault::Gone)
    );
    local.run(async {
        let done = local.ring.start(device, read(65536, 4096)).await;
        assert_eq!(done.result, Err(IoFault::Gone));
        assert!(done.buffer.is_some());
        assert_eq!(
            local
                .ring
                .start(device, write(0, &filled(1, 4096), true))
                .await
                .result,
            Err(IoFault::Gone)
        );
    });
    assert!(!local.ring.is_present(device));
}

#[test]
fn a_leg_removed_under_load_is_gone_soon() {
    let directory = TempDir::new().unwrap();
    let path = leg(&directory, MIB as u64);
    let local = Local::new().unwrap();
    let device = local.ring.open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    local.run(async {
        let data = filled(1, 4096);
        while local
            .ring
            .start(device, write(0, &data, true))
            .await
            .result
            .is_ok()
        {
            sleep_us(&*local.host, 5_000).await;
        }
    });
    assert!(!local.ring.is_present(device));
}

#[test]
fn jobs_run_beside_the_ring_and_wake_their_waiters() {
    let local = Local::new().unwrap();
    let answer = local.run(async {
        let host = local.host.clone();
        let (sender, receiver) = base::host::oneshot();
        base::Host::spawn(
            &*local.host,
            Box::pin(async move {
                let sum = job(&*host, || {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    41
                })
                .await;
                sleep_us(&*host, 2_000).await;
                sender.send(sum + 1);
            }),
        );
        receiver.await
    });
    assert_eq!(answer, Some(42));
}

#[test]
fn the_owner_is_kicked_once_until_its_turn() {
    let directory = TempDir::new().unwrap();
    let path = leg(&directory, MIB as u64);
    let ring = Ring::new().unwrap();
    let device = ring.open(&path).unwrap();
    let kicks = Rc::new(std::cell::Cell::new(0));
    let counted = kicks.clone();
    ring.set_kick(Box::new(move || counted.set(counted.get() + 1)));
    let data = filled(1, 4096);
    drop(ring.start(device, write(0, &data, false)));
    drop(ring.start(device, write(4096, &data, false)));
    assert_eq!(kicks.get(), 1);
    ring.turn();
    drop(ring.start(device, write(0, &data, false)));
    assert_eq!(kicks.get(), 2);
    while ring.outstanding() > 0 {
        ring.turn();
    }
}

#[test]
#[should_panic(expected = "unaligned")]
fn an_unaligned_operation_stops_the_process() {
    let directory = TempDir::new().unwrap();
    let path = leg(&directory, MIB as u64);
    let ring = Ring::new().unwrap();
    let device = ring.open(&path).unwrap();
    assert_eq!(device, DeviceIndex(0));
    drop(ring.start(device, read(100, 4096)));
}
