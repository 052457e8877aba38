//! Key files: the `key` statement that BIND, `nsupdate -k` and `dig -k` read.
//!
//! ```text
//! key "laptop" {
//!     algorithm hmac-sha256;
//!     secret "c2VjcmV0IG9mIGxhcHRvcA==";
//! };
//! ```
//!
//! Only text is handled here; where the file lies and who may read it is the configuration's business.

use super::{Algorithm, KeyError, Secret, TsigKey};
use crate::wire::Name;
use std::fmt;
use zeroize::Zeroizing;

/// Why a key file cannot be read, and in which line; displays why alone. Holds nothing of the text, which contains
/// secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFileError {
    /// The line, from 1.
    pub line: usize,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    Key(KeyError),
    Expected(&'static str),
    Unknown,
    Missing(&'static str),
    Twice(&'static str),
    Unended(&'static str),
    NoKey,
}

impl TsigKey {
    /// The key as a key file's text.
    pub fn to_key_file(&self) -> Zeroizing<String> {
        let secret = self.secret.to_base64();
        Zeroizing::new(format!(
            "key \"{}\" {{\n\talgorithm {};\n\tsecret \"{}\";\n}};\n",
            self.name,
            self.algorithm,
            secret.as_str()
        ))
    }

    /// Reads all keys of a key file's text: at least one.
    pub fn from_key_file(text: &str) -> Result<Vec<TsigKey>, KeyFileError> {
        let mut tokens = Tokens { rest: text, line: 1 };
        let mut keys = Vec::new();
        while let Some(token) = tokens.next()? {
            match token {
                Token::Word(word) if word.eq_ignore_ascii_case("key") => keys.push(read_key(&mut tokens)?),
                _ => return tokens.fail(Fault::Expected("`key NAME { ... };`")),
            }
        }
        if keys.is_empty() { tokens.fail(Fault::NoKey) } else { Ok(keys) }
    }
}

/// Reads a key statement after its `key`.
fn read_key(tokens: &mut Tokens<'_>) -> Result<TsigKey, KeyFileError> {
    let name = tokens.word("the key's name")?;
    let name = Name::parse(name).or_else(|error| tokens.fail(Fault::Key(KeyError::Name(error))))?;
    tokens.expect(Token::Open, "`{` after the key's name")?;
    let (mut algorithm, mut secret) = (None, None);
    loop {
        match tokens.next()? {
            Some(Token::Close) => break,
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("algorithm") => {
                let parsed = Algorithm::parse(tokens.word("the algorithm's name")?);
                let parsed = parsed.map_or_else(|| tokens.fail(Fault::Key(KeyError::Algorithm)), Ok)?;
                if algorithm.replace(parsed).is_some() {
                    return tokens.fail(Fault::Twice("algorithm"));
                }
                tokens.expect(Token::End, "`;` after the algorithm")?;
            }
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("secret") => {
                let parsed = Secret::from_base64(tokens.word("the secret")?);
                let parsed = parsed.or_else(|error| tokens.fail(Fault::Key(error)))?;
                if secret.replace(parsed).is_some() {
                    return tokens.fail(Fault::Twice("secret"));
                }
                tokens.expect(Token::End, "`;` after the secret")?;
            }
            Some(_) => return tokens.fail(Fault::Unknown),
            None => return tokens.fail(Fault::Expected("`};` at the end of the key")),
        }
    }
    let algorithm = algorithm.map_or_else(|| tokens.fail(Fault::Missing("algorithm")), Ok)?;
    let secret = secret.map_or_else(|| tokens.fail(Fault::Missing("secret")), Ok)?;
    tokens.expect(Token::End, "`;` after `}`")?;
    Ok(TsigKey { name, algorithm, secret })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// A word, or what stands between quotes.
    Word(&'a str),
    Open,
    Close,
    End,
}

/// The tokens of a text, and the line of the last one.
struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Result<Option<Token<'a>>, KeyFileError> {
        loop {
            let rest = self.rest;
            let Some(first) = rest.chars().next() else { return Ok(None) };
            match first {
                '{' => return Ok(Some(self.single(Token::Open))),
                '}' => return Ok(Some(self.single(Token::Close))),
                ';' => return Ok(Some(self.single(Token::End))),
                '"' => return self.quoted().map(Some),
                '#' => self.skip(rest.find('\n').unwrap_or(rest.len())),
                '/' if rest.starts_with("//") => self.skip(rest.find('\n').unwrap_or(rest.len())),
                '/' if rest.starts_with("/*") => match rest.find("*/") {
                    Some(at) => self.skip(at + 2),
                    None => return self.fail(Fault::Unended("comment")),
                },
                space if space.is_whitespace() => self.skip(space.len_utf8()),
                _ => {
                    let end = rest.find(|c: char| c.is_whitespace() || "{};\"".contains(c)).unwrap_or(rest.len());
                    return Ok(Some(Token::Word(self.take(end))));
                }
            }
        }
    }

    /// What stands between quotes, on one line; a `\` keeps the quote after it from ending the text.
    fn quoted(&mut self) -> Result<Token<'a>, KeyFileError> {
        self.skip(1);
        let mut escaped = false;
        for (at, octet) in self.rest.bytes().enumerate() {
            match octet {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'\n' => break,
                b'"' => {
                    let word = self.take(at);
                    self.skip(1);
                    return Ok(Token::Word(word));
                }
                _ => (),
            }
        }
        self.fail(Fault::Unended("quoted text"))
    }

    fn single(&mut self, token: Token<'a>) -> Token<'a> {
        self.skip(1);
        token
    }

    fn skip(&mut self, len: usize) {
        self.take(len);
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn word(&mut self, what: &'static str) -> Result<&'a str, KeyFileError> {
        match self.next()? {
            Some(Token::Word(word)) => Ok(word),
            _ => self.fail(Fault::Expected(what)),
        }
    }

    fn expect(&mut self, token: Token<'_>, what: &'static str) -> Result<(), KeyFileError> {
        if self.next()? == Some(token) { Ok(()) } else { self.fail(Fault::Expected(what)) }
    }

    fn fail<T>(&self, fault: Fault) -> Result<T, KeyFileError> {
        Err(KeyFileError { line: self.line, fault })
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Fault::Key(error) => error.fmt(f),
            Fault::Expected(what) => write!(f, "expected {what}"),
            Fault::Unknown => f.write_str("a key has an algorithm and a secret, nothing else; take the rest out"),
            Fault::Missing(what) => write!(f, "the key has no {what}; add a line `{what} ...;`"),
            Fault::Twice(what) => write!(f, "a second {what} in one key; keep one"),
            Fault::Unended(what) => write!(f, "a {what} that does not end"),
            Fault::NoKey => f.write_str("no key in the file; make one with `dyndns key generate`"),
        }
    }
}

impl std::error::Error for KeyFileError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let error = TsigKey::from_key_file(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("c2Vj"), "{error:?}");
        format!("line {}: {error}", error.line)
    }

    #[test]
    fn a_key_file_is_written_as_bind_writes_it() {
        let key = TsigKey::parse("laptop.example:c2VjcmV0").unwrap();
        let text = key.to_key_file();
        assert_eq!(*text, "key \"laptop.example\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n");
        assert_eq!(TsigKey::from_key_file(&text).unwrap(), [key]);
    }

    #[test]
    fn every_name_and_algorithm_comes_back() {
        for algorithm in Algorithm::all() {
            for name in ["a", "a\\.b.c", "a\\\"b", "sp\\032ace", "a\\;b", "a\\\\b", "."] {
                let name = Name::parse(name).unwrap();
                let key = TsigKey { name, algorithm, secret: Secret::new(vec![0, 255, 62]) };
                assert_eq!(TsigKey::from_key_file(&key.to_key_file()).unwrap(), [key]);
            }
        }
    }

    #[test]
    fn comments_order_and_white_space_do_not_matter() {
        let text = "# made by hand\n/* two\nlines */ key laptop{SECRET c2VjcmV0 ; // the rest\n algorithm\n\"HMAC-MD5\";}\n;\r\nkey \"b\" { algorithm hmac-sha1; secret \"YQ==\"; }; // end";
        let keys = TsigKey::from_key_file(text).unwrap();
        assert_eq!(keys[0], TsigKey::parse("hmac-md5:laptop:c2VjcmV0").unwrap());
        assert_eq!(keys[1], TsigKey::parse("hmac-sha1:b:YQ==").unwrap());
    }

    #[test]
    fn faults_are_told_with_their_line_and_without_the_secret() {
        assert_eq!(error("\n\n# nothing\n"), "line 4: no key in the file; make one with `dyndns key generate`");
        assert_eq!(error("c2VjcmV0"), "line 1: expected `key NAME { ... };`");
        assert_eq!(
            error("key a {\nsecret c2VjcmV0;\n};"),
            "line 3: the key has no algorithm; add a line `algorithm ...;`"
        );
        assert_eq!(
            error("key a {\nalgorithm hmac-sha1;\n\n};"),
            "line 4: the key has no secret; add a line `secret ...;`"
        );
        assert_eq!(error("key a {\nsecret c2VjcmV0\n};"), "line 3: expected `;` after the secret");
        assert_eq!(
            error("key a { secret c2VjcmV0;\nsecret c2VjcmV0; };"),
            "line 2: a second secret in one key; keep one"
        );
        assert_eq!(error("key a { secret \"c2VjcmV0;\n};"), "line 1: a quoted text that does not end");
        assert_eq!(error("key a /* { secret \"c2VjcmV0;\n};"), "line 1: a comment that does not end");
        assert_eq!(
            error("key a {\nsecret \"c2VjcmV0%\";\n};"),
            "line 2: the secret is not base64; copy all of it, from the key file that `dyndns key` wrote"
        );
        assert_eq!(
            error("key a {\nc2VjcmV0;"),
            "line 2: a key has an algorithm and a secret, nothing else; take the rest out"
        );
        assert_eq!(error("key a {\nalgorithm hmac-sha1;\n"), "line 3: expected `};` at the end of the key");
        assert!(
            error("key a {\nalgorithm c2VjcmV0;")
                .starts_with("line 2: unknown TSIG algorithm; use hmac-sha256, or one of hmac-md5, ")
        );
        assert!(error("key a..b {").starts_with("line 1: the key's name is no domain name: "));
    }
}
