//! Sessions that are passed on: how they end, and what they hold meanwhile.

use std::sync::atomic::Ordering::Relaxed;

use super::*;

const GONE: &str = "* BYE [UNAVAILABLE] The mailbox cannot be reached, connect again\r\n";

#[test]
fn a_node_that_ends_the_session_has_the_last_words() {
    let world = World::new();
    world.run(Protocol::Imap, async |mut client| {
        let node = passed_on(&world, &mut client).await;
        client.say("b LOGOUT").await;
        node.say("* BYE logging out").await;
        node.say("b OK done").await;
        node.peer.end();
        let words = client.0.rest().await;
        assert_eq!(words, "* BYE logging out\r\nb OK done\r\n");
    });
    assert_eq!(world.nodes.all()[0].broken.load(Relaxed), 0);
}

#[test]
fn a_node_that_breaks_off_costs_a_bye_behind_what_it_said() {
    type Break = fn(&MemoryPeer);
    let breaks: [Break; 2] = [MemoryPeer::cut, MemoryPeer::reset];
    for (index, broken) in breaks.into_iter().enumerate() {
        for (said, words) in [
            ("* 1 EXISTS\r\n", GONE),
            ("* 1 FETCH (BODY[] {9}\r\nab", ""),
        ] {
            let world = World::new();
            world.run(Protocol::Imap, async |mut client| {
                let node = passed_on(&world, &mut client).await;
                node.peer.send(said.as_bytes()).await.expect("it reads");
                let begin = said.split("\r\n").next().unwrap_or("");
                assert_eq!(client.line().await, begin);
                if said.ends_with("ab") {
                    while client.0.input.len() < 2 {
                        client.0.peer.receive(&mut client.0.input, 10).await;
                    }
                    client.0.input.clear();
                }
                broken(&node.peer);
                assert_eq!(client.0.rest().await, words, "{index}");
            });
            assert_eq!(world.nodes.all()[0].broken.load(Relaxed), 1, "{index}");
            assert_eq!(world.nodes.all()[0].open(Protocol::Imap), 0);
        }
    }
}

#[test]
fn a_client_that_ends_gets_what_the_node_still_says() {
    let world = World::new();
    world.run(Protocol::Imap, async |mut client| {
        let mut node = passed_on(&world, &mut client).await;
        client.say("b NOOP").await;
        client.0.peer.end();
        assert_eq!(node.rest().await, "b NOOP\r\n", "and the end of it");
        node.say("b OK done").await;
        node.peer.end();
        assert_eq!(client.0.rest().await, "b OK done\r\n");
    });
    assert_eq!(world.nodes.all()[0].broken.load(Relaxed), 0);
}

#[test]
fn a_client_that_is_gone_ends_the_node_s_session() {
    let world = World::new();
    world.run(Protocol::Imap, async |mut client| {
        let mut node = passed_on(&world, &mut client).await;
        client.0.peer.reset();
        assert_eq!(node.rest().await, "");
    });
    assert_eq!(world.nodes.all()[0].broken.load(Relaxed), 0);
}

/// After the client's end the node has a bounded time.
#[test]
fn a_node_that_ignores_the_client_s_end_is_left() {
    let world = World::new();
    world.run(Protocol::Imap, async |mut client| {
        let node = passed_on(&world, &mut client).await;
        client.0.peer.end();
        let began = world.host().now();
        client.0.rest().await;
        let waited = world.host().now().since_us(began);
        assert!(waited <= 2 * HALF_CLOSED_MAX.as_micros() as u64, "{waited}");
        drop(node);
    });
}

#[test]
fn a_node_that_hangs_in_the_middle_is_given_up_and_an_idle_one_is_not() {
    let world = World::new();
    world.run(Protocol::Imap, async |mut client| {
        let mut node = passed_on(&world, &mut client).await;
        client.say("b IDLE").await;
        assert_eq!(node.line().await, "b IDLE");
        node.say("+ idling").await;
        assert_eq!(client.line().await, "+ idling");
        // Both are silent for longer than an answer may take, and that is nothing.
        SessionHost::on(world.host()).sleep(2 * ANSWER_MAX).await;
        node.say("* 2 EXISTS").await;
        assert_eq!(client.line().await, "* 2 EXISTS");
        client.say("DONE").await;
        assert_eq!(node.line().await, "DONE");
        let began = world.host().now();
        assert_eq!(client.0.rest().await, GONE);
        let waited = world.host().now().since_us(began);
        assert!(waited >= ANSWER_MAX.as_micros() as u64, "{waited}");
    });
    assert_eq!(world.nodes.all()[0].broken.load(Relaxed), 1);
}

#[test]
fn a_session_in_which_nothing_is_said_ends() {
    let world = World::new();
    world.run(Protocol::Imap, async |mut client| {
        let node = passed_on(&world, &mut client).await;
        let words = client.0.rest().await;
        assert_eq!(words, "* BYE Logged out for inactivity\r\n");
        drop(node);
    });
}

#[test]
fn a_stop_says_bye() {
    let world = World::new();
    world.run(Protocol::Imap, async |mut client| {
        let node = passed_on(&world, &mut client).await;
        world.stop.request();
        let words = client.0.rest().await;
        assert_eq!(words, "* BYE Server shutting down\r\n");
        drop(node);
    });
}

/// Two ends that send before they read: neither waits for the other.
#[test]
fn both_directions_go_on_at_once_and_nothing_is_changed() {
    const BYTES: usize = 300_000;
    let world = World::new();
    let pattern = |seed: usize| -> Vec<u8> {
        (0..BYTES)
            .map(|at| (at * 7 + at / 251 + seed) as u8)
            .collect()
    };
    world.run(Protocol::Imap, async |mut client| {
        let node = passed_on(&world, &mut client).await;
        let talk = async |peer: &MemoryPeer, ours: Vec<u8>, theirs: Vec<u8>| {
            peer.send(&ours).await.expect("it is read");
            let mut got = Vec::new();
            while got.len() < theirs.len() && peer.receive(&mut got, 1_000).await > 0 {}
            assert!(got == theirs, "as it was");
        };
        let all = async {
            // More than pipes and pieces hold: each end is still sending when the other must be read.
            let reader = async {
                let mut got = Vec::new();
                while got.len() < BYTES && node.peer.receive(&mut got, 1_000).await > 0 {}
                assert!(got == pattern(1));
            };
            let writer = async { node.peer.send(&pattern(2)).await.expect("it is read") };
            tokio::join!(reader, writer);
        };
        let up = async { client.0.peer.send(&pattern(1)).await.expect("it is read") };
        let down = async {
            let mut got = Vec::new();
            while got.len() < BYTES && client.0.peer.receive(&mut got, 700).await > 0 {}
            assert!(got == pattern(2));
        };
        tokio::join!(all, up, down);
        // One end that reads nothing before it has sent everything, towards one that reads first.
        let theirs = async {
            let mut got = Vec::new();
            while got.len() < BYTES && node.peer.receive(&mut got, 1_000).await > 0 {}
            node.peer.send(&got).await.expect("it is read");
        };
        tokio::join!(talk(&client.0.peer, pattern(3), pattern(3)), theirs);
    });
}

#[test]
fn a_client_that_reads_slowly_stops_the_node_and_holds_no_more_than_its_share() {
    let world = World::new();
    world.run(Protocol::Imap, async |mut client| {
        let node = passed_on(&world, &mut client).await;
        let mut sent = 0;
        let push = async {
            loop {
                // until the front takes no more
                sent += node.peer.send_some(&[b'x'; 1_000]).await.expect("open");
            }
        };
        let host = SessionHost::on(world.host());
        assert_eq!(host.within(Duration::from_secs(60), push).await, None::<()>);
        let most = 2 * PIPE_BYTES + 2 * PASS_BYTES;
        assert!(sent <= most, "{sent} of at most {most}");
        // The client still gets through to the node.
        client.say("b NOOP").await;
        let mut lines = node;
        assert_eq!(lines.line().await, "b NOOP");
        // What waited comes, all of it.
        let mut got = Vec::new();
        while got.len() < sent {
            client.0.peer.receive(&mut got, 1_000).await;
        }
        assert_eq!(got.len(), sent);
        // One that takes nothing for too long is left.
        let push = async { while lines.peer.send_some(&[b'x'; 1_000]).await.is_ok() {} };
        host.within(2 * STALLED_MAX, push).await.expect("it ends");
    });
    assert_eq!(world.nodes.all()[0].open(Protocol::Imap), 0);
}
