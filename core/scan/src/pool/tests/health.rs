//! Which server a call goes to, whose turn it is, and which server is left alone.

use std::collections::VecDeque;

use super::*;

#[test]
fn load_is_spread_and_a_server_that_is_gone_is_left_alone_until_it_is_back() {
    let world = world();
    let asked = Rc::new(RefCell::new(Vec::new()));
    for last in [1, 2] {
        let asked = asked.clone();
        world.serve(last, async move |peer| {
            until(&peer, END).await;
            asked.borrow_mut().push(last);
            peer.send(b"stream: OK\0").await.expect("there");
        });
    }
    let pool = world.pool(&[1, 2]);
    let ask = async || ask_clamd(&pool, b"x").await;
    world.sim.block_on(async {
        for _ in 0..6 {
            assert_eq!(ask().await, Ok(clamd::Answer::Clean));
        }
        let of = |last: u8| asked.borrow().iter().filter(|one| **one == last).count();
        assert_eq!((of(1), of(2)), (3, 3));

        world.dial.set(address(1), Manner::Refuses);
        let dialled = world.dial.dialled();
        for _ in 0..10 {
            assert_eq!(ask().await, Ok(clamd::Answer::Clean));
        }
        assert_eq!((of(1), of(2)), (3, 13));
        assert_eq!(world.dial.dialled() - dialled, 11, "it was tried once");
        assert_eq!(pool.counters.resting(), 1);

        // The probe fails, and the next one comes after twice the time.
        world.host.sleep(REST_MIN).await;
        let dialled = world.dial.dialled();
        assert_eq!(ask().await, Ok(clamd::Answer::Clean));
        world.host.sleep(REST_MIN).await;
        assert_eq!(ask().await, Ok(clamd::Answer::Clean));
        assert_eq!(world.dial.dialled() - dialled, 3);
        world.dial.set(address(1), Manner::Answers);
        world.host.sleep(REST_MIN).await;
        assert_eq!(ask().await, Ok(clamd::Answer::Clean));
        assert_eq!((of(1), pool.counters.resting()), (4, 0));
    });
}

#[test]
fn when_all_are_down_a_call_fails_at_once_and_rests_do_not_grow_for_ever() {
    let world = world();
    world.dial.set(address(1), Manner::Unreachable);
    let pool = world.pool(&[1]);
    let (mut faults, mut rests) = (VecDeque::new(), 0u64);
    world.sim.block_on(async {
        for _ in 0..12 {
            faults.push_back(ask_clamd(&pool, b"x").await.expect_err("down"));
            rests = pool.servers[0].rest_us.get();
            assert_eq!(ask_clamd(&pool, b"x").await, Err(Fault::AllResting));
            world.host.sleep(Duration::from_micros(rests)).await;
        }
    });
    assert!(
        faults
            .iter()
            .all(|fault| *fault == Fault::Dial(DialFault::Unreachable))
    );
    assert_eq!(rests, REST_MAX.as_micros() as u64);
    let counters = pool.counters.clone();
    assert_eq!(counters.resting(), 1);
    drop(pool);
    assert_eq!(counters.resting(), 0);
}

/// A clamd that hangs at what contains `poison`, and serves any number of connections at a time.
fn serve_poisonable(world: &World) {
    let listener: MemoryListener = world.dial.listen(address(1));
    let host = world.host.clone();
    world.host.spawn(Box::pin(async move {
        loop {
            // until the world ends
            let peer = listener.accept().await;
            host.spawn(Box::pin(async move {
                let got = until(&peer, END).await;
                if got.windows(6).any(|window| window == b"poison") {
                    return hangs(&peer).await;
                }
                peer.send(b"stream: OK\0").await.expect("there");
            }));
        }
    }));
}

const CLEAN: Result<clamd::Answer, Fault> = Ok(clamd::Answer::Clean);

#[test]
fn a_server_that_fails_at_the_messages_of_one_peer_still_serves_the_others() {
    let world = world();
    serve_poisonable(&world);
    let pool = world.pool(&[1]);
    world.sim.block_on(async {
        for failures in [STRIKES_MAX + 1, STRIKES_OF_ONE_MAX as usize - 1] {
            for _ in 0..failures {
                assert_eq!(ask_clamd(&pool, b"poison").await, Err(Fault::TimedOut));
            }
            assert_eq!(ask_clamd_for(Holder(2), &pool, b"x").await, CLEAN);
        }
        // A relay that brings all mail is one peer too.
        for _ in 0..STRIKES_OF_ONE_MAX {
            assert_eq!(ask_clamd(&pool, b"poison").await, Err(Fault::TimedOut));
        }
        assert_eq!(ask_clamd(&pool, b"x").await, Err(Fault::AllResting));
    });
}

#[test]
fn a_server_that_fails_at_the_messages_of_several_peers_in_a_row_is_left_alone() {
    let world = world();
    serve_poisonable(&world);
    let pool = world.pool(&[1]);
    world.sim.block_on(async {
        for peer in 1..STRIKES_MAX as u64 {
            let answer = ask_clamd_for(Holder(peer), &pool, b"poison").await;
            assert_eq!(answer, Err(Fault::TimedOut));
        }
        // An answer ends the row.
        assert_eq!(ask_clamd(&pool, b"x").await, CLEAN);
        for peer in 1..=STRIKES_MAX as u64 {
            let answer = ask_clamd_for(Holder(peer), &pool, b"poison").await;
            assert_eq!(answer, Err(Fault::TimedOut));
        }
        assert_eq!(ask_clamd(&pool, b"x").await, Err(Fault::AllResting));
    });
}

#[test]
fn messages_that_hang_while_others_are_answered_are_to_blame_themselves() {
    let world = world();
    serve_poisonable(&world);
    let pool = world.pool(&[1]);
    world.sim.block_on(async {
        let poison = |peer| ask_clamd_for(Holder(peer), &pool, b"poison");
        let fine = async {
            world.host.sleep(DEADLINE / 2).await;
            ask_clamd_for(Holder(9), &pool, b"x").await
        };
        let (a, b, c, fine) = tokio::join!(poison(1), poison(2), poison(3), fine);
        for answer in [a, b, c] {
            assert_eq!(answer, Err(Fault::TimedOut));
        }
        assert_eq!(fine, CLEAN);
        assert_eq!(pool.counters.resting(), 0);
        assert_eq!(ask_clamd(&pool, b"x").await, CLEAN);
    });
}

#[test]
fn calls_that_fail_together_begin_one_rest() {
    let world = world();
    serve_poisonable(&world);
    let pool = world.pool(&[1]);
    world.sim.block_on(async {
        let poison = async |peer| {
            let answer = ask_clamd_for(Holder(peer), &pool, b"poison").await;
            assert_eq!(answer, Err(Fault::TimedOut));
        };
        tokio::join!(poison(1), poison(2), poison(3), poison(4));
        assert_eq!(pool.servers[0].rest_us.get(), REST_MIN.as_micros() as u64);
        assert_eq!(pool.counters.resting(), 1);
        // Three probes that fail are one failure more.
        world.host.sleep(REST_MIN).await;
        tokio::join!(poison(1), poison(2), poison(3));
        let twice = 2 * REST_MIN.as_micros() as u64;
        assert_eq!(pool.servers[0].rest_us.get(), twice);
    });
}

#[test]
fn a_probe_that_hangs_does_not_keep_other_peers_from_a_server_that_is_back() {
    let world = world();
    serve_poisonable(&world);
    let pool = world.pool(&[1]);
    world.sim.block_on(async {
        let poison = async |peer| {
            let answer = ask_clamd_for(Holder(peer), &pool, b"poison").await;
            assert_eq!(answer, Err(Fault::TimedOut));
        };
        tokio::join!(poison(1), poison(2), poison(3));
        world.host.sleep(REST_MIN).await;
        let others = async {
            // Behind the one that hangs; its own peer has no second probe.
            world.host.sleep(Duration::from_secs(1)).await;
            let began = world.host.now();
            let same = ask_clamd_for(Holder(1), &pool, b"x").await;
            let other = ask_clamd_for(Holder(2), &pool, b"x").await;
            (same, other, world.host.now() == began)
        };
        let ((), (same, other, at_once)) = tokio::join!(poison(1), others);
        assert_eq!(same, Err(Fault::AllResting));
        assert_eq!((other, at_once), (CLEAN, true));
        // The probe that failed at last says nothing about a server that has answered.
        assert_eq!(pool.counters.resting(), 0);
    });
    assert!(pool.servers[0].probes.borrow().is_empty());
}

#[test]
fn slow_messages_of_one_peer_leave_half_of_the_calls_to_others() {
    let world = world();
    serve_poisonable(&world);
    let pool = world.pool(&[1]);
    world.sim.block_on(async {
        let slow = || ask_clamd(&pool, b"poison");
        let others = async {
            world.host.sleep(Duration::from_secs(1)).await;
            let began = world.host.now();
            let open = world.dial.open();
            let answer = ask_clamd_for(Holder(2), &pool, b"x").await;
            (answer, open, world.host.now() == began)
        };
        let ends = tokio::join!(slow(), slow(), slow(), slow(), slow(), slow(), others);
        assert_eq!(ends.6, (CLEAN, 2, true));
        for ended in [ends.0, ends.1, ends.2, ends.3, ends.4, ends.5] {
            assert!(matches!(ended, Err(Fault::TimedOut | Fault::Busy)));
        }
    });
    assert_eq!(pool.calls.used_bytes(), 0, "every place is given back");
}

#[test]
fn calls_are_bounded_and_those_that_wait_have_the_same_deadline() {
    let world = world();
    world.serve(1, async |peer| hangs(&peer).await);
    let pool = world.pool(&[1]);
    let began = world.host.now();
    let ends = world.sim.block_on(async {
        let one = || async { (ask_clamd(&pool, b"x").await, world.dial.open()) };
        tokio::join!(one(), one(), one(), one(), one(), one())
    });
    assert!(world.host.now().since_us(began) <= DEADLINE.as_micros() as u64);
    for (answer, open) in [ends.0, ends.1, ends.2, ends.3, ends.4, ends.5] {
        assert!(
            matches!(answer, Err(Fault::TimedOut | Fault::Busy)),
            "{answer:?}"
        );
        assert!(open <= 2, "one peer has half of them");
    }
    assert_eq!(world.dial.open(), 0, "nothing is left open");
}
