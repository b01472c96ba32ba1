//! Headers of the PROXY protocol, as a connection from a balancer begins.

use runtime::limits::PROXY_HEADER_BYTES_MAX;
use runtime::proxy::parse;

pub const WORDS: &[&[u8]] = &[
    b"PROXY ",
    b"TCP4 ",
    b"TCP6 ",
    b"UNKNOWN",
    b"\r\n",
    b"192.0.2.1 ",
    b"::ffff:192.0.2.1 ",
    b"65535",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x20\0",
    b"\x21\x11\0\x0c",
    b"\x21\x21\0\x24",
    b"\xff\xff",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let binary =
        |head: &[u8], rest: usize| [b"\r\n\r\n\0\r\nQUIT\n", head, &vec![7; rest]].concat();
    vec![
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\nEHLO x\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::1 ::1 65535 25\r\n".to_vec(),
        b"PROXY UNKNOWN a b c d\r\n".to_vec(),
        binary(b"\x21\x11\0\x10", 16),
        binary(b"\x21\x21\0\x24", 40),
        binary(b"\x20\0\0\0", 3),
        binary(b"\x21\x31\0\xd8", 216),
    ]
}

/// What is read does not depend on what follows, needs no more than the bound, and no beginning of it is read otherwise.
pub fn header(data: &[u8]) {
    let Ok(Some((header, used))) = parse(data) else {
        assert!(
            data.len() < PROXY_HEADER_BYTES_MAX || parse(data).is_err(),
            "a header is waited for past the bound"
        );
        return;
    };
    assert!((1..=data.len().min(PROXY_HEADER_BYTES_MAX)).contains(&used));
    assert_eq!(parse(&data[..used]), Ok(Some((header, used))));
    for cut in [0, used / 2, used - 1] {
        assert_eq!(parse(&data[..cut]), Ok(None), "{cut} bytes of {used}");
    }
}
