//! Built-in detectors of secrets in text.

use super::pattern::Pattern;
use std::sync::LazyLock;

/// Names of the detectors, as configuration and counters have them, in the order of their numbers.
pub const DETECTORS: [&str; 5] = [
    "bearer-token",
    "jwt",
    "private-key",
    "cloud-key",
    "card-number",
];

/// RFC 6750 §2.1, with at least 8 characters: shorter ones are words of a sentence.
const BEARER: &str = r#"(?i)\bbearer["']?[\s:=]+["']?([A-Za-z0-9._~+/=-]{8,})"#;

/// RFC 7519: the header is a JSON object in base64url, which begins with `{"`.
const JWT: &str = r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*){0,3}";

/// RFC 7468 and PGP; without an end it goes to the end of the text.
const PRIVATE_KEY: &str = r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)";

/// Keys that clouds and the services around them give out, by their documented prefixes; AWS secret keys by the name in
/// front of them.
const CLOUD_KEY: &str = concat!(
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b",
    r#"|(?i:secret_?access_?key)\\?["']?\s*[:=>]{1,2}\s*\\?["']?[A-Za-z0-9/+]{40}"#,
    r"|\bAIza[A-Za-z0-9_-]{35}",
    r"|\bya29\.[A-Za-z0-9_-]{20,}",
    r"|\bGOCSPX-[A-Za-z0-9_-]{20,}",
    r"|\bAccountKey=[A-Za-z0-9+/]{40,}={0,2}",
    // The three characters in front say nothing.
    r"|[78]Q~[A-Za-z0-9_~.-]{31,34}",
    r"|\bgh[pousr]_[A-Za-z0-9]{36,}",
    r"|\bgithub_pat_[A-Za-z0-9_]{22,}",
    r"|\bglpat-[A-Za-z0-9_-]{20,}",
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"|\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    r"|\bdo[opr]_v1_[a-f0-9]{64}",
    r"|\bhv[bs]\.[A-Za-z0-9_-]{24,}",
);

/// Compiled once: the patterns are large, and each stack has them.
static COMPILED: LazyLock<[Result<Pattern, String>; DETECTORS.len()]> = LazyLock::new(|| {
    [
        Pattern::exact_case(BEARER),
        Pattern::exact_case(JWT),
        Pattern::exact_case(PRIVATE_KEY),
        Pattern::exact_case(CLOUD_KEY),
        Ok(Pattern::Card),
    ]
});

/// The detector with this number.
///
/// # Errors
/// When there is none, or its pattern does not compile: a test sees to it that each does.
pub(super) fn detector(number: usize) -> Result<Pattern, String> {
    let found = COMPILED.get(number).cloned();
    found.unwrap_or_else(|| Err("no such detector".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made up, in the form of real ones. Pieces, so that no scanner of sources takes them for real.
    fn samples() -> Vec<(usize, String)> {
        let x = |n: usize| "Ab3dEf6hIj9k".chars().cycle().take(n).collect::<String>();
        vec![
            (0, "Bearer abcDEF123.~+/-_==".to_owned()),
            (0, "\"bearer\": \"abcdefgh\"".to_owned()),
            (1, format!("eyJ{}.eyJ{}.{}", x(20), x(30), x(43))),
            (1, format!("eyJ{}.{}", x(20), x(5))),
            (
                2,
                format!(
                    "-----BEGIN {}PRIVATE KEY-----\n{}\n-----END {0}PRIVATE KEY-----",
                    "RSA ",
                    x(64)
                ),
            ),
            (2, format!("-----BEGIN PRIVATE KEY-----\\n{}", x(64))),
            (3, format!("AKIA{}", "ABCDEFGHIJKLMNOP")),
            (3, format!("aws_secret_access_key = {}", x(40))),
            (3, format!("\"SecretAccessKey\": \"{}\"", x(40))),
            (3, format!("AIza{}", x(35))),
            (3, format!("ya29.{}", x(40))),
            (3, format!("AccountKey={}==", x(86))),
            (3, format!("ghp_{}", x(36))),
            (3, format!("xoxb-{}", x(24))),
            (3, format!("sk_live_{}", x(24))),
            (4, "4111111111111111".to_owned()),
        ]
    }

    #[test]
    fn each_detector_finds_its_secrets_and_each_beginning_of_one_at_a_cut() {
        for (number, sample) in samples() {
            let pattern = detector(number).unwrap();
            let text = format!("x: {sample}");
            let mut whole = Vec::new();
            assert!(pattern.find(text.as_bytes(), false, |r| whole.push(r)));
            assert_eq!(whole.len(), 1, "{sample}: {whole:?}");
            for end in 0..text.len() {
                let mut part = Vec::new();
                assert!(pattern.find(&text.as_bytes()[..end], true, |r| part.push(r)));
                for at in whole[0].start..end {
                    let hidden = part.iter().any(|r| r.contains(&at));
                    assert!(hidden, "byte {at} of {text:?} cut at {end}: {part:?}");
                }
            }
        }
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        let text = "The bearer of good news paid 12 EUR on 2024-01-02, id 0190a5c0-7b6c-7a3b, \
            key: public, -----BEGIN CERTIFICATE-----, 1735689600000, eyJust.a.word";
        for (number, name) in DETECTORS.iter().enumerate() {
            let mut found = 0;
            let pattern = detector(number).unwrap();
            assert!(pattern.find(text.as_bytes(), false, |_| found += 1));
            assert_eq!(found, 0, "{name}");
        }
    }
}
