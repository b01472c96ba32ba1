//! Connections that a balancer passes on: whose they are, and what becomes of those that do not say.

use super::*;

fn behind_a_balancer(lets_in: bool) -> Gate {
    Gate {
        proxies: vec!["127.0.0.0/8".parse().expect("a network")],
        lets_in: Some(Arc::new(move |client| {
            lets_in || client != IpAddr::from([192, 0, 2, 66])
        })),
        refusal: b"banned\r\n",
    }
}

/// Names the peer, then echoes.
fn name_and_echo(mut connection: TcpConnection) -> LocalTask {
    Box::pin(async move {
        let name = format!("{} {}\n", connection.peer(), connection.local());
        if connection.send(name.as_bytes()).await.is_ok() {
            echo(connection).await;
        }
    })
}

fn everything(mut client: ClientStream) -> String {
    let mut all = Vec::new();
    // A reset in place of the FIN is as good.
    let _ = client.read_to_end(&mut all);
    String::from_utf8(all).expect("text")
}

#[test]
fn the_client_s_addresses_stand_for_the_balancer_s_and_no_byte_behind_them_is_lost() {
    let served = serve_behind(10, behind_a_balancer(true), name_and_echo);
    for cut in [0, 5, 30, 45] {
        let mut client = served.connect();
        client.set_nodelay(true).expect("a socket");
        let bytes = b"PROXY TCP4 192.0.2.66 192.0.2.25 4711 25\r\nhello";
        let (head, tail) = bytes.split_at(cut);
        client.write_all(head).expect("the server reads");
        client.write_all(tail).expect("the server reads");
        let expected = b"192.0.2.66:4711 192.0.2.25:25\nhello";
        assert_eq!(read_exactly(&mut client, expected.len()), expected);
        client.write_all(b"more").expect("the server reads");
        assert_eq!(read_exactly(&mut client, 4), b"more");
    }
    let mut check = served.connect();
    let local = check.local_addr().expect("connected");
    check
        .write_all(b"PROXY UNKNOWN\r\n")
        .expect("the server reads");
    let name = format!("{local} {}\n", served.address);
    assert_eq!(read_exactly(&mut check, name.len()), name.as_bytes());
    served.stop();
}

#[test]
fn a_trusted_peer_that_sends_anything_else_is_cut_off_unanswered() {
    let served = serve_behind(10, behind_a_balancer(true), name_and_echo);
    let mut client = served.connect();
    client
        .write_all(b"EHLO client.example\r\n")
        .expect("the server reads");
    assert_eq!(everything(client), "");
    served.stop();
}

#[test]
fn a_client_that_is_not_let_in_gets_the_refusal_and_others_do_not() {
    let served = serve_behind(10, behind_a_balancer(false), name_and_echo);
    let mut banned = served.connect();
    banned
        .write_all(b"PROXY TCP4 192.0.2.66 192.0.2.25 4711 25\r\n")
        .expect("the server reads");
    assert_eq!(everything(banned), "banned\r\n");
    let mut other = served.connect();
    other
        .write_all(b"PROXY TCP4 192.0.2.67 192.0.2.25 1 25\r\n")
        .expect("the server reads");
    assert_eq!(read_exactly(&mut other, 14), b"192.0.2.67:1 1");
    served.stop();
}

#[test]
fn one_client_behind_a_balancer_has_half_of_the_connections_and_the_balancer_all() {
    let served = serve_behind(4, behind_a_balancer(true), name_and_echo);
    let open = |client: &str| {
        let mut stream = served.connect();
        let header = format!("PROXY TCP4 {client} 192.0.2.25 1 25\r\n");
        stream
            .write_all(header.as_bytes())
            .expect("the server reads");
        stream
    };
    let mut held: Vec<ClientStream> = (0..2).map(|_| open("192.0.2.1")).collect();
    for stream in &mut held {
        read_exactly(stream, 12);
    }
    assert_eq!(everything(open("192.0.2.1")), "full\r\n");
    let mut other = open("192.0.2.2");
    assert_eq!(read_exactly(&mut other, 9), b"192.0.2.2");
    drop(held);
    served.stop();
}
