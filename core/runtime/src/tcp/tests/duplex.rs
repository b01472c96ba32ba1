//! Both directions awaited together, over real sockets.

use super::*;
use crate::connection::{Duplex, Moved};

/// Sends a megabyte while it takes what comes; then says how much came, and that the peer ended.
fn both_ways(mut connection: TcpConnection) -> LocalTask {
    Box::pin(async move {
        connection.read_at_most(16 * 1_024);
        let (mut left, mut came, mut ended) = (1 << 20, 0, false);
        let mut into = Vec::new();
        while left > 0 || connection.is_sending() || !ended {
            if left > 0 && !connection.is_sending() {
                let bytes = left.min(10_000);
                let begun = connection.begin_send(&vec![b'x'; bytes]);
                begun.expect("the client is there");
                left -= bytes;
            }
            let reads = (!ended).then_some(&mut into);
            match connection.moves(reads).await {
                Ok(Moved::Received(bytes)) => {
                    assert_eq!(bytes, into.len());
                    assert!(bytes <= 64 * 1_024);
                    into.clear();
                    came += bytes;
                }
                Ok(Moved::Sent) => {}
                Ok(Moved::Ended) => ended = true,
                Err(fault) => panic!("{fault}"),
            }
        }
        let words = format!("{came} came");
        connection.send(words.as_bytes()).await.expect("it reads");
        connection.finish().await.expect("it is there");
        connection.close().await;
    })
}

/// The client reads nothing before all of its own is sent, which is more than the kernel holds.
#[test]
fn an_end_that_sends_first_is_read_while_it_is_sent_to() {
    const BYTES: usize = 16 << 20;
    let served = serve(10, both_ways);
    let mut client = served.connect();
    client.write_all(&vec![b'y'; BYTES]).expect("it is read");
    client.shutdown(Shutdown::Write).expect("a socket");
    let mut all = Vec::new();
    client.read_to_end(&mut all).expect("the server goes on");
    let words = format!("{BYTES} came");
    assert_eq!(all.len(), (1 << 20) + words.len());
    assert!(all.ends_with(words.as_bytes()));
    served.stop();
}

/// A peer that takes nothing is left when the deadline is over, and bytes of its own do not put that off for ever.
fn never_ends(mut connection: TcpConnection) -> LocalTask {
    Box::pin(async move {
        connection.deadline(Duration::from_millis(300));
        let fault = loop {
            // until the peer took nothing for too long
            if !connection.is_sending() {
                let begun = connection.begin_send(&[b'x'; 64 * 1_024]);
                begun.expect("the client is there");
            }
            match connection.moves(None).await {
                Ok(moved) => assert_eq!(moved, Moved::Sent),
                Err(fault) => break fault,
            }
        };
        assert_eq!(fault, ConnectionFault::TimedOut);
        assert_eq!(connection.begin_send(b"x"), Err(ConnectionFault::TimedOut));
    })
}

#[test]
fn a_peer_that_takes_nothing_is_left() {
    let served = serve(10, never_ends);
    let client = served.connect();
    while served.counters.open.load(Relaxed) > 0 || served.counters.timed_out.load(Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(served.counters.timed_out.load(Relaxed), 1);
    drop(client);
    served.stop();
}
