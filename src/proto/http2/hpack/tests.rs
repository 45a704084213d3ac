use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("hex")
        })
        .collect()
}

fn fields(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let show = |part: Part<'_>| {
        part.map_or("?".to_owned(), |bytes| {
            String::from_utf8_lossy(bytes).into_owned()
        })
    };
    let mut out = Vec::new();
    decoder.decode(block, |name, value| out.push((show(name), show(value))))?;
    Ok(out)
}

fn list(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn rfc_7541_c_3_requests_without_huffman() {
    let mut d = Decoder::new(true);
    assert_eq!(
        fields(&mut d, &hex("828684410f7777772e6578616d706c652e636f6d")),
        Ok(list(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
        ]))
    );
    assert_eq!(d.table_size(), 57);
    let second = fields(&mut d, &hex("828684be58086e6f2d6361636865")).expect("decodes");
    assert_eq!(second[4], ("cache-control".into(), "no-cache".into()));
    let third = fields(
        &mut d,
        &hex("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"),
    )
    .expect("decodes");
    assert_eq!(third[3], (":authority".into(), "www.example.com".into()));
    assert_eq!(d.table_size(), 164);
}

#[test]
fn rfc_7541_c_6_responses_with_huffman_and_eviction() {
    let mut d = Decoder::new(true);
    d.table.resize(256);
    let first = fields(
        &mut d,
        &hex(
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        ),
    );
    assert_eq!(
        first,
        Ok(list(&[
            (":status", "302"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("location", "https://www.example.com"),
        ]))
    );
    assert_eq!(d.table_size(), 222);
    assert_eq!(
        fields(&mut d, &hex("4883640effc1c0bf")),
        Ok(list(&[
            (":status", "307"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("location", "https://www.example.com"),
        ]))
    );
    let third = fields(
        &mut d,
        &hex(
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ),
    )
    .expect("decodes");
    assert_eq!(
        third[5],
        (
            "set-cookie".into(),
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1".into()
        )
    );
    assert_eq!(d.table_size(), 215);
}

#[test]
fn what_was_inserted_before_the_decoder_began_is_unknown_and_what_came_later_is_exact() {
    let mut late = Decoder::new(false);
    // 62 and 63 were inserted before; then a literal is inserted and takes index 62.
    assert_eq!(
        fields(&mut late, &hex("82bebf")),
        Ok(list(&[(":method", "GET"), ("?", "?"), ("?", "?")]))
    );
    assert_eq!(
        fields(&mut late, &hex("400178 0179 be bf")),
        Ok(list(&[("x", "y"), ("x", "y"), ("?", "?")]))
    );
    // A literal with a name from before: the value is known, also when it is referred to later.
    assert_eq!(
        fields(&mut late, &hex("7f00 017a be")),
        Ok(list(&[("?", "z"), ("?", "z")]))
    );
    // A decoder from the start knows that there is nothing.
    assert_eq!(
        fields(&mut Decoder::new(true), &hex("be")),
        Err(Error::Index)
    );
}

#[test]
fn a_lost_block_makes_older_entries_unknown() {
    let mut d = Decoder::new(true);
    fields(&mut d, &hex("4001780179")).expect("decodes");
    d.lost_block();
    assert_eq!(fields(&mut d, &hex("be")), Ok(list(&[("?", "?")])));
}

#[test]
fn a_table_emptied_by_its_encoder_is_known_again() {
    let mut late = Decoder::new(false);
    fields(&mut late, &hex("20 3fe11f")).expect("two size updates: 0, then 4096");
    assert_eq!(fields(&mut late, &hex("be")), Err(Error::Index));
}

#[test]
fn a_size_update_after_a_field_is_an_error() {
    assert_eq!(
        fields(&mut Decoder::new(true), &hex("82 20")),
        Err(Error::TableSize)
    );
}

#[test]
fn integers_of_any_length_are_bounded() {
    assert_eq!(
        fields(&mut Decoder::new(true), &hex("ff80808080808080808001")),
        Err(Error::Integer)
    );
    assert_eq!(
        fields(&mut Decoder::new(true), &hex("ff80")),
        Err(Error::Short)
    );
}

#[test]
fn a_list_is_bounded_whatever_indexes_it_repeats() {
    let mut d = Decoder::new(true);
    let mut block = hex("400178");
    block.extend_from_slice(&[0x7f, 0xd9, 0x1e]); // a value of 4,056 bytes
    block.resize(block.len() + 127 + 0x59 + (0x1e << 7), b'v');
    let value = 127 + 0x59 + (0x1e << 7);
    assert!(value < MAX_STRING);
    block.resize(block.len() + 600, 0xbe);
    assert_eq!(fields(&mut d, &block), Err(Error::ListTooLong));
}

#[test]
fn every_cut_of_a_block_is_an_error_or_a_shorter_list_and_never_a_panic() {
    let block = hex(
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
    );
    for len in 0..block.len() {
        match fields(&mut Decoder::new(true), &block[..len]) {
            Ok(list) => assert!(list.len() < 4),
            Err(error) => assert!(matches!(error, Error::Short | Error::Huffman)),
        }
    }
}
