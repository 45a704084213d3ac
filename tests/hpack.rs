//! Our HPACK decoder against the encoder of the `hpack` package from PyPI.

use plainspan::proto::http2::hpack::Decoder;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

const BLOCKS: usize = 10_000;
const SEED: u64 = 20260;

#[derive(Deserialize)]
struct Block {
    new: bool,
    block: String,
    fields: Vec<(String, String)>,
}

/// The tests' Python.
fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let venv = std::env::var_os("PLAINSPAN_TEST_VENV")
        .map_or_else(|| root.join("target/test-venv"), PathBuf::from);
    let python = venv.join("bin/python3");
    assert!(
        python.exists(),
        "{} is missing: run tests/setup.sh",
        python.display()
    );
    python
}

fn blocks() -> Vec<Block> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/hpack_blocks.py");
    let output = Command::new(python())
        .arg(script)
        .args([SEED.to_string(), BLOCKS.to_string()])
        .output()
        .expect("start Python");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "hpack_blocks.py failed; is the hpack package there (tests/setup.sh)?\n{errors}"
    );
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let blocks: Vec<Block> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a block"))
        .collect();
    assert_eq!(blocks.len(), BLOCKS);
    blocks
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

type Fields = Vec<(Option<Vec<u8>>, Option<Vec<u8>>)>;

fn decode(decoder: &mut Decoder, block: &[u8]) -> Fields {
    let mut fields = Fields::new();
    let own = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
    decoder
        .decode(block, |name, value| fields.push((own(name), own(value))))
        .expect("a right block");
    fields
}

fn wanted(block: &Block) -> Fields {
    let known = |(n, v): &(String, String)| (Some(bytes(n)), Some(bytes(v)));
    block.fields.iter().map(known).collect()
}

#[test]
fn every_block_of_the_hpack_package_is_decoded_as_it_was_encoded() {
    let mut decoder = Decoder::new(true);
    for (number, block) in blocks().iter().enumerate() {
        if block.new {
            decoder = Decoder::new(true);
        }
        let got = decode(&mut decoder, &bytes(&block.block));
        assert!(got == wanted(block), "block {number}: {got:?}");
    }
}

#[test]
fn from_the_middle_of_a_connection_what_is_given_is_right_and_the_rest_is_unknown() {
    let blocks = blocks();
    let mut unknown = 0;
    for start in (0..blocks.len()).step_by(7) {
        let mut decoder = Decoder::new(false);
        let rest = blocks[start..].iter().take(40).enumerate();
        for (number, block) in rest.take_while(|(n, b)| *n == 0 || !b.new) {
            let got = decode(&mut decoder, &bytes(&block.block));
            let want = wanted(block);
            assert_eq!(got.len(), want.len(), "block {}", start + number);
            for (got, want) in got.iter().zip(&want) {
                let right =
                    |got: &Option<Vec<u8>>, want: &Option<Vec<u8>>| got.is_none() || got == want;
                assert!(
                    right(&got.0, &want.0) && right(&got.1, &want.1),
                    "block {}: {got:?} for {want:?}",
                    start + number
                );
                unknown += usize::from(got.0.is_none() || got.1.is_none());
            }
        }
    }
    assert!(unknown > 0, "nothing was unknown: the test shows nothing");
}
