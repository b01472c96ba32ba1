//! On the simulator's virtual time.

use std::future::Future;
use std::sync::Arc;

use device::sim::SimWorld;
use rustls::pki_types::ServerName;

use super::*;
use crate::connection::{Connection as _, ConnectionFault, Dialled as _};

const WITHIN: Duration = Duration::from_secs(30);

fn place(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 25))
}

/// Runs `story` with a dialler of two connections whose pipes hold a hundred bytes.
fn with_dial<F: Future<Output = ()>>(story: impl FnOnce(MemoryDial, Rc<dyn Host>, Stop) -> F) {
    let world = SimWorld::new(1);
    let host = world.io().host;
    let stop = Stop::new();
    let dial = MemoryDial::new(&host, &stop, 100, 2);
    world.block_on(story(dial, host, stop));
}

fn client() -> (Arc<rustls::ClientConfig>, ServerName<'static>) {
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("mx.example").expect("a name");
    (Arc::new(config), name)
}

async fn dialled(dial: &MemoryDial, to: SocketAddr) -> Result<MemoryConnection, DialFault> {
    dial.dial(to, WITHIN).await
}

#[test]
fn each_manner_has_its_answer_and_leaves_no_connection_behind() {
    with_dial(|dial, host, _stop| async move {
        let dial = &dial;
        let fault = |to| async move { dialled(dial, place(to)).await.err() };
        assert_eq!(fault(1).await, Some(DialFault::Refused), "not in the table");
        dial.set(place(2), Manner::Refuses);
        assert_eq!(fault(2).await, Some(DialFault::Refused));
        dial.set(place(3), Manner::Unreachable);
        assert_eq!(fault(3).await, Some(DialFault::Unreachable));
        assert_eq!(host.now().0, 0, "these answer at once");
        dial.set(place(4), Manner::Hangs);
        assert_eq!(fault(4).await, Some(DialFault::TimedOut));
        dial.set(place(5), Manner::Slow(WITHIN * 2));
        assert_eq!(fault(5).await, Some(DialFault::TimedOut));
        assert_eq!(host.now().0, 2 * WITHIN.as_micros() as u64);
        dial.set(place(5), Manner::Slow(WITHIN / 2));
        assert_eq!(fault(5).await, None);
        assert_eq!((dial.open(), dial.dialled()), (0, 6));
    });
}

#[test]
fn a_dial_past_the_bound_is_busy_until_one_is_dropped() {
    with_dial(|dial, _host, _stop| async move {
        let listener = dial.listen(place(1));
        dial.set(place(2), Manner::Hangs);
        let first = dialled(&dial, place(1)).await.expect("it listens");
        let hanging = Box::pin(dialled(&dial, place(2)));
        let mut hanging = Some(hanging);
        // One that is not answered counts too.
        std::future::poll_fn(|context| {
            let poll = hanging.as_mut().expect("it is there").as_mut();
            assert!(poll.poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        assert_eq!(dial.open(), 2);
        let fault = dialled(&dial, place(1)).await.err();
        assert_eq!(fault, Some(DialFault::Busy));
        hanging = None;
        let second = dialled(&dial, place(1)).await.expect("it listens");
        drop((first, second, hanging));
        assert_eq!(dial.open(), 0);
        // Who was dialled and left is met nevertheless, as by `accept` of a socket.
        let mut rest = Vec::new();
        assert_eq!(listener.accept().await.receive(&mut rest, 9).await, 0);
    });
}

#[test]
fn a_stop_ends_a_dial_and_no_other_begins() {
    with_dial(|dial, host, stop| async move {
        dial.set(place(1), Manner::Hangs);
        let stops = async {
            SessionHost::on(host.clone())
                .sleep(Duration::from_secs(1))
                .await;
            stop.request();
        };
        let (outcome, ()) = tokio::join!(dialled(&dial, place(1)), stops);
        assert_eq!(outcome.err(), Some(DialFault::Stopping));
        assert_eq!(host.now().0, 1_000_000);
        let fault = dialled(&dial, place(1)).await.err();
        assert_eq!(fault, Some(DialFault::Stopping));
    });
}

#[test]
fn a_sender_goes_on_under_tls_once_the_server_is_ready_for_it() {
    with_dial(|dial, _host, _stop| async move {
        let listener = dial.listen(place(1));
        let (config, name) = client();
        let server = async {
            let peer = listener.accept().await;
            peer.send(b"220 go\r\n").await.expect("the sender is there");
            peer.start_tls();
            peer.send(b"secret").await.expect("the sender is there");
            peer
        };
        let sender = async {
            let mut connection = dialled(&dial, place(1)).await.expect("it listens");
            let mut heard = Vec::new();
            while heard.len() < 8 {
                connection.receive(&mut heard).await.expect("a line");
            }
            heard.truncate(8);
            connection.secure(&config, &name).await.map(|()| connection)
        };
        let (_peer, outcome) = tokio::join!(server, sender);
        let mut connection = outcome.expect("a handshake");
        let facts = connection.tls().expect("TLS is on");
        assert_eq!(facts.server_name.as_deref(), Some("mx.example"));
        let mut heard = Vec::new();
        connection.receive(&mut heard).await.expect("what follows");
        assert_eq!(heard, b"secret");
    });
}

#[test]
fn a_handshake_that_fails_or_comes_behind_unread_plaintext_breaks_the_connection() {
    with_dial(|dial, host, _stop| async move {
        let listener = dial.listen(place(1));
        let (config, name) = client();
        // Bytes put in before TLS (CVE-2011-0411): the sender has not read them when it begins.
        let mut connection = dialled(&dial, place(1)).await.expect("it listens");
        let peer = listener.accept().await;
        peer.send(b"250 injected\r\n").await.expect("there is room");
        peer.start_tls();
        let fault = connection.secure(&config, &name).await;
        assert_eq!(fault, Err(ConnectionFault::Tls));
        assert_eq!(connection.send(b"x").await, Err(ConnectionFault::Tls));

        let mut connection = dialled(&dial, place(1)).await.expect("it listens");
        let peer = listener.accept().await;
        peer.fail_tls();
        let fault = connection.secure(&config, &name).await;
        assert_eq!(fault, Err(ConnectionFault::Tls));
        assert!(connection.tls_trouble().is_some());
        drop(connection);

        let mut connection = dialled(&dial, place(1)).await.expect("it listens");
        let began = host.now();
        let fault = connection.secure(&config, &name).await;
        assert_eq!(
            fault,
            Err(ConnectionFault::TimedOut),
            "the server is silent"
        );
        let took = host.now().since_us(began);
        assert_eq!(took, crate::limits::HANDSHAKE_DEADLINE.as_micros() as u64);
    });
}
