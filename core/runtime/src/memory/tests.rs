//! On the simulator's virtual time: minutes cost nothing.

use std::future::Future;

use device::sim::SimWorld;

use super::*;

const PEER: ([u8; 4], u16) = ([192, 0, 2, 1], 25);

/// Runs `story` with a connection whose pipes hold ten bytes.
fn with_pair<F: Future<Output = ()>>(
    story: impl FnOnce(MemoryConnection, MemoryPeer, Rc<dyn Host>, Stop) -> F,
) {
    let world = SimWorld::new(1);
    let host = world.io().host;
    let stop = Stop::new();
    let (connection, peer) = connect(&host, &stop, PEER.into(), 10);
    world.block_on(story(connection, peer, host, stop));
}

#[test]
fn a_pipe_holds_no_more_than_it_may_and_loses_nothing() {
    with_pair(|mut connection, peer, _host, _stop| async move {
        let bytes: Vec<u8> = (0..100).collect();
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let ours = async {
            while up.len() < 100 {
                connection
                    .receive(&mut up)
                    .await
                    .expect("the peer is there");
            }
            connection.send(&up).await.expect("the peer reads");
        };
        let theirs = async {
            peer.send(&bytes).await.expect("we are there");
            while down.len() < 100 {
                let (to, from) = peer.under_way();
                assert!(to <= 10 && from <= 10);
                assert!(peer.receive(&mut down, 3).await <= 3);
            }
        };
        tokio::join!(ours, theirs);
        assert_eq!((&up, &down), (&bytes, &bytes));
    });
}

#[test]
fn a_silent_peer_is_left_when_the_deadline_is_over() {
    with_pair(|mut connection, peer, host, _stop| async move {
        connection.deadline(Duration::from_secs(300));
        let began = host.now();
        let mut into = Vec::new();
        // Dropped and called again: the clock goes on.
        let given_up = SessionHost::on(host.clone())
            .within(Duration::from_secs(200), connection.receive(&mut into))
            .await;
        assert_eq!(given_up, None);
        let fault = connection.receive(&mut into).await;
        assert_eq!(fault, Err(ConnectionFault::TimedOut));
        assert_eq!(host.now().since_us(began), 300_000_000);
        connection
            .send(b"421")
            .await
            .expect("the last words are sent");
        drop(connection);
        assert_eq!(peer.send(b"x").await, Err(BrokenOff));
        assert_eq!(peer.receive(&mut into, 9).await, 3);
        assert_eq!(peer.receive(&mut into, 9).await, 0);
    });
}

#[test]
fn a_peer_that_takes_nothing_is_left_too() {
    with_pair(|mut connection, peer, host, _stop| async move {
        connection.deadline(Duration::from_secs(5));
        let sent = connection.send(&[0; 11]).await;
        assert_eq!(sent, Err(ConnectionFault::TimedOut));
        assert_eq!(host.now().0, 5_000_000);
        let again = connection.send(b"x").await;
        assert_eq!(again, Err(ConnectionFault::TimedOut));
        drop(peer);
    });
}

#[test]
fn a_peer_that_ended_is_read_to_the_end_and_may_still_read() {
    with_pair(|mut connection, peer, _host, _stop| async move {
        peer.send(b"last").await.expect("we are there");
        peer.end();
        let mut into = Vec::new();
        assert_eq!(connection.receive(&mut into).await, Ok(4));
        connection.send(b"words").await.expect("it reads");
        let fault = connection.receive(&mut into).await;
        assert_eq!(fault, Err(ConnectionFault::Closed));
        assert_eq!(peer.receive(&mut into, 9).await, 5);
        assert_eq!(peer.receive(&mut into, 9).await, 0);
        assert_eq!(into, b"lastwords");
    });
}

#[test]
fn a_reset_ends_both_directions_at_once() {
    with_pair(|mut connection, peer, _host, _stop| async move {
        peer.send(b"lost").await.expect("we are there");
        peer.reset();
        let mut into = Vec::new();
        let fault = connection.receive(&mut into).await;
        assert_eq!((fault, into.len()), (Err(ConnectionFault::Closed), 0));
        assert_eq!(connection.send(b"x").await, Err(ConnectionFault::Closed));
    });
}

#[test]
fn a_peer_that_vanished_is_noticed_by_whoever_sends() {
    with_pair(|mut connection, peer, _host, _stop| async move {
        drop(peer);
        assert_eq!(connection.send(b"x").await, Err(ConnectionFault::Closed));
    });
}

#[test]
fn a_silent_peer_hears_that_we_stop_and_one_that_sends_may_finish() {
    with_pair(|mut connection, peer, host, stop| async move {
        stop.request();
        peer.send(b"a").await.expect("we are there");
        let mut into = Vec::new();
        assert_eq!(connection.receive(&mut into).await, Ok(1));
        let fault = connection.receive(&mut into).await;
        assert_eq!(fault, Err(ConnectionFault::Stopping));
        assert_eq!(host.now().0, STOP_SILENCE.as_micros() as u64);
        connection.send(b"421").await.expect("last words");
        connection.close().await;
        assert_eq!(peer.receive(&mut into, 9).await, 3);
        assert_eq!(peer.receive(&mut into, 9).await, 0);
    });
}

#[test]
fn a_close_waits_a_moment_for_the_peer_to_end() {
    with_pair(|connection, peer, host, _stop| async move {
        let ours = connection.close();
        let theirs = async {
            assert_eq!(peer.receive(&mut Vec::new(), 9).await, 0);
            peer.send(b"too late").await.expect("we linger");
            peer.end();
        };
        tokio::join!(ours, theirs);
        assert_eq!(host.now().0, 0);
    });
    with_pair(|connection, peer, host, _stop| async move {
        connection.close().await;
        assert_eq!(host.now().0, LINGER.as_micros() as u64);
        drop(peer);
    });
}
