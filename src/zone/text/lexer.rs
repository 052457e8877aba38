//! Zone file text into entries, each a run of tokens (RFC 1035 section 5.1).

/// Splits text into entries.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// The line of `at`, from 1.
    pub(super) line: u32,
}

/// A word or a quoted string, its escapes as they stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    /// Without the quotes.
    pub(super) text: &'a str,
    /// Whether quotes stood round it.
    pub(super) quoted: bool,
    /// Whether it followed the token before without a blank, as in `alpn="h2"`.
    pub(super) joined: bool,
}

/// One entry; its tokens are in the caller's list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// The line of its first token.
    pub(super) line: u32,
    /// What its line starts with.
    pub(super) start: Start,
}

/// What an entry's line starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// A token: an owner or a directive.
    Word,
    /// A blank: the owner is that of the entry before.
    Blank,
}

/// Text that is no entry.
#[derive(Debug)]
pub(super) struct LexError {
    pub(super) line: u32,
    pub(super) what: &'static str,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        // Some editors put a byte order mark before UTF-8.
        Lexer { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0, line: 1 }
    }

    /// Puts the tokens of the next entry into `tokens`; `None` at the end. After an error the next call goes on
    /// with the line after it.
    pub(super) fn entry(&mut self, tokens: &mut Vec<Token<'a>>) -> Option<Result<Entry, LexError>> {
        tokens.clear();
        let mut entry = Entry { line: self.line, start: self.start() };
        let mut open = 0u32;
        let mut opened = self.line;
        let mut joined = false;
        loop {
            let Some(byte) = self.peek() else {
                if open > 0 {
                    return Some(Err(LexError { line: opened, what: "this ( is never closed; add a )" }));
                }
                return (!tokens.is_empty()).then_some(Ok(entry));
            };
            match byte {
                b'\n' => {
                    self.at += 1;
                    self.line += 1;
                    if open == 0 && !tokens.is_empty() {
                        return Some(Ok(entry));
                    }
                    if open == 0 {
                        entry.start = self.start();
                    }
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                b';' => self.skip_line(),
                b'(' => {
                    if open == 0 {
                        opened = self.line;
                    }
                    open += 1;
                    self.at += 1;
                }
                b')' => {
                    self.at += 1;
                    let Some(fewer) = open.checked_sub(1) else {
                        return Some(Err(self.fail("a ) without a ( before it; remove it, or write \\)")));
                    };
                    open = fewer;
                }
                _ => {
                    if tokens.is_empty() {
                        entry.line = self.line;
                    }
                    let quoted = byte == b'"';
                    let text = if quoted { self.quoted() } else { Some(self.word()) };
                    let Some(text) = text else {
                        return Some(Err(self.fail("a quoted string does not end in its line; add a \"")));
                    };
                    tokens.push(Token { text, quoted, joined });
                    joined = true;
                    continue;
                }
            }
            joined = false;
        }
    }

    fn start(&self) -> Start {
        if matches!(self.peek(), Some(b' ' | b'\t')) { Start::Blank } else { Start::Word }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fail(&mut self, what: &'static str) -> LexError {
        self.skip_line();
        LexError { line: self.line, what }
    }

    /// Goes to the end of the line, before its line feed.
    fn skip_line(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    }

    fn word(&mut self) -> &'a str {
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"' => break,
                b'\\' => self.escape(),
                _ => self.at += 1,
            }
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The string whose opening quote is next; `None` where the line ends first.
    fn quoted(&mut self) -> Option<&'a str> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek()? {
                b'\n' => return None,
                b'"' => break,
                b'\\' => self.escape(),
                _ => self.at += 1,
            }
        }
        let text = self.text.get(start..self.at);
        self.at += 1;
        text
    }

    /// A `\` takes the character after it, unless that ends the line.
    fn escape(&mut self) {
        self.at += 1;
        if !matches!(self.peek(), None | Some(b'\n')) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = (u32, Start, Vec<String>);

    fn entries(text: &str) -> Vec<Result<Found, u32>> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        let mut found = Vec::new();
        while let Some(entry) = lexer.entry(&mut tokens) {
            found.push(match entry {
                Ok(entry) => Ok((entry.line, entry.start, tokens.iter().map(|token| token.text.to_owned()).collect())),
                Err(error) => Err(error.line),
            });
        }
        found
    }

    #[test]
    fn parentheses_join_lines_and_comments_end_them() {
        let found = entries("; top\n\na IN SOA ( 1 ; one\n  2\n) 3 ; end\n  b\n ; only a comment\nc");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            found,
            [
                Ok((3, Start::Word, words(&["a", "IN", "SOA", "1", "2", "3"]))),
                Ok((6, Start::Blank, words(&["b"]))),
                Ok((8, Start::Word, words(&["c"]))),
            ]
        );
    }

    #[test]
    fn quotes_and_escapes_protect_what_they_hold() {
        let found = entries("a \"b ; ( \\\" c\" d\\;e f\\ g h=\"i j\"");
        let expected = ["a", "b ; ( \\\" c", "d\\;e", "f\\ g", "h=", "i j"];
        assert_eq!(found[0].as_ref().unwrap().2, expected);
    }

    #[test]
    fn an_error_costs_its_line_only() {
        let found = entries("a \"b\nc )\nd\n(e\n\n");
        assert_eq!(found[0].as_ref().unwrap_err(), &1);
        assert_eq!(found[1].as_ref().unwrap_err(), &2);
        assert_eq!(found[2].as_ref().unwrap().2, ["d"]);
        assert_eq!(found[3].as_ref().unwrap_err(), &4);
    }
}
