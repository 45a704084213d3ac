//! The secret that lets a browser see what was captured.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::hint::black_box;
use std::io;

/// 256 random bits, new at each start. Has no `Debug`.
pub struct Token(String);

impl Token {
    /// # Errors
    /// When the system has no random numbers.
    pub fn new() -> io::Result<Token> {
        let mut bytes = [0; 32];
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        random
            .fill(&mut bytes)
            .map_err(|_| io::Error::other("the random number generator failed"))?;
        Ok(Token(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// As it stands in the page's address.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `presented` is the token, in a time that does not tell where the first difference is.
    pub fn is(&self, presented: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let mut difference = u8::from(own.len() != presented.len());
        for (a, b) in own.iter().zip(presented) {
            difference |= black_box(a ^ b);
        }
        black_box(difference) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_is_another_and_knows_itself_alone() {
        let (a, b) = (Token::new().expect("random"), Token::new().expect("random"));
        assert!(a.is(a.expose().as_bytes()) && !a.is(b.expose().as_bytes()));
        assert!(a.expose().len() == 43 && !a.is(b"") && !a.is(&a.expose().as_bytes()[..42]));
        let longer = format!("{}A", a.expose());
        assert!(!a.is(longer.as_bytes()));
    }
}
