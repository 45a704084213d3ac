use super::*;
use crate::event::build::EventBuilder;
use crate::event::{Event, Role, decode};

fn record(messages: &[u8]) -> Vec<u8> {
    let mut out = vec![HANDSHAKE, 3, 1];
    out.extend_from_slice(&(messages.len() as u16).to_be_bytes());
    out.extend_from_slice(messages);
    out
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    [&[kind], &len[1..], body].concat()
}

fn vec16(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes()[..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vec16(content)].concat()
}

fn client(padding: usize) -> Vec<u8> {
    client_with(padding, &[])
}

fn client_with(padding: usize, more: &[u8]) -> Vec<u8> {
    let name = [&[0][..], &vec16(b"example.org")].concat();
    let extensions = [
        extension(21, &vec![0; padding]),
        extension(0, &vec16(&name)),
        extension(16, &vec16(b"\x02h2\x08http/1.1")),
        more.to_vec(),
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &vec16(&[0x13, 1]),
        &[1, 0],
        &vec16(&extensions),
    ]
    .concat();
    record(&message(CLIENT_HELLO, &body))
}

fn server(random: &[u8; 32], selected: Option<u16>) -> Vec<u8> {
    let extensions = selected.map_or(vec![], |v| extension(43, &v.to_be_bytes()));
    let body = [
        &[3, 3][..],
        random,
        &[0],
        &[0x13, 1, 0],
        &vec16(&extensions),
    ]
    .concat();
    record(&message(SERVER_HELLO, &body))
}

/// Reads both directions, each operation given as its bytes.
fn read(operations: &[(Dir, &[u8])]) -> Hellos {
    let mut hellos = Hellos::default();
    let mut b = EventBuilder::new(1, 1, Role::Client);
    for (dir, bytes) in operations {
        match decode(&b.hello(*dir, bytes)) {
            Ok(Event::Data(data)) => hellos.push(&data),
            other => panic!("not data: {other:?}"),
        }
    }
    hellos
}

fn all() -> TlsInfo {
    TlsInfo {
        version: Some("1.3"),
        sni: Some("example.org".into()),
        alpn_offered: vec!["h2".into(), "http/1.1".into()],
    }
}

fn randoms(hellos: &Hellos) -> (Option<[u8; 32]>, Option<[u8; 32]>) {
    (hellos.read.client_random, hellos.read.server_random)
}

#[test]
fn both_hellos_are_read_wherever_operations_end() {
    let (c, s) = (client(0), server(&[9; 32], Some(0x0304)));
    for cut in 1..c.len() {
        let cut_s = cut.min(s.len() - 1);
        let hellos = read(&[
            (Dir::Write, &c[..cut]),
            (Dir::Write, &c[cut..]),
            (Dir::Read, &s[..cut_s]),
            (Dir::Read, &s[cut_s..]),
        ]);
        assert_eq!(*hellos.info(), all(), "{cut}");
        assert_eq!(randoms(&hellos), (Some([7; 32]), Some([9; 32])), "{cut}");
        assert!(hellos.is_client() && hellos.no_early_data(), "{cut}");
        assert_eq!(hellos.memory(), 0);
    }
}

#[test]
fn tls_12_has_its_version_in_the_old_place() {
    let hellos = read(&[(Dir::Read, &server(&[9; 32], None))]);
    assert_eq!(hellos.info().version, Some("1.2"));
}

#[test]
fn a_retry_request_is_passed_over() {
    let retry = server(&RETRY_RANDOM, Some(0x0304));
    let real = server(&[9; 32], Some(0x0304));
    let change = [CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1];
    let apart = read(&[
        (Dir::Read, &retry),
        (Dir::Read, &change),
        (Dir::Read, &real),
    ]);
    assert_eq!(randoms(&apart).1, Some([9; 32]));
    let together = [&retry[..], &change, &real].concat();
    assert_eq!(randoms(&read(&[(Dir::Read, &together)])).1, Some([9; 32]));
    let asked = read(&[(Dir::Read, &retry), (Dir::Write, &client(0))]);
    assert_eq!(randoms(&asked), (Some([7; 32]), None));
    assert!(asked.key().is_none());
}

#[test]
fn other_talk_before_the_hello_is_passed_over() {
    let c = client(0);
    let v2 = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, 0x11, 0, 2, 1, 2], &c].concat();
    let v1 = [&b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"[..], &c].concat();
    for operations in [
        vec![
            (Dir::Write, &b"EHLO x\r\n"[..]),
            (Dir::Write, b"STARTTLS\r\n"),
            (Dir::Write, &c),
        ],
        vec![(Dir::Write, &v2[..])],
        vec![(Dir::Write, &v1[..])],
        vec![(Dir::Write, &[22, 3][..]), (Dir::Write, &c)],
    ] {
        assert_eq!(read(&operations).info().sni.as_deref(), Some("example.org"));
    }
}

#[test]
fn a_hello_longer_than_what_is_kept_gives_its_random() {
    let hellos = read(&[(Dir::Write, &client(4000))]);
    assert_eq!(randoms(&hellos).0, Some([7; 32]));
    assert_eq!((hellos.info().sni.as_deref(), hellos.memory()), (None, 0));
    assert!(
        !hellos.no_early_data(),
        "it may be announced in what is not kept"
    );
}

#[test]
fn a_direction_without_a_hello_is_given_up() {
    let noise = vec![b'x'; 2000];
    let mut operations = vec![(Dir::Read, &noise[..]); 40];
    let late = server(&[9; 32], None);
    operations.push((Dir::Read, &late));
    assert_eq!(randoms(&read(&operations)).1, None);
}

#[test]
fn early_data_is_noticed_and_a_hello_of_the_peer_makes_this_end_the_server() {
    let early = client_with(0, &extension(42, &[]));
    let hellos = read(&[(Dir::Read, &early), (Dir::Write, &server(&[9; 32], None))]);
    assert!(!hellos.no_early_data() && !hellos.is_client());
    assert!(hellos.key().is_some());
}
