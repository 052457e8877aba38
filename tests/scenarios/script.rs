//! Scenario files: what stands in them, not yet what it means.
//!
//! A line that starts in the first column begins a block, the indented lines after it belong to it. `;` in the first
//! column starts a comment; inside a block it does so at the start of a line, but in `zone` and `config`, whose lines
//! are a zone file's and a configuration's.

use dyndns::tsig::TsigKey;
use std::path::Path;

/// One file.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// `zone NAME`: its name and its file's text.
    pub(crate) zones: Vec<(String, String)>,
    /// `config`: the text of the configuration; zones are then served only as it says.
    pub(crate) config: Option<String>,
    /// `serve ARGUMENT...`: more arguments for `dyndns serve`.
    pub(crate) arguments: Vec<String>,
    /// `client [ALG:]NAME:SECRET`, known to the client, and `key`, known to both sides.
    pub(crate) keys: Vec<TsigKey>,
    /// Everything else, in order.
    pub(crate) steps: Vec<Step>,
}

/// One step: a message and what is expected of the answer, or something done to the server.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) line: usize,
    /// The words of its first line but the options.
    pub(crate) words: Vec<String>,
    /// `+NAME` and `+NAME=VALUE` of its first line.
    options: Vec<(String, String)>,
    /// What is sent: an update's operations, or octets.
    pub(crate) content: Vec<Line>,
    /// What is expected.
    pub(crate) expected: Vec<Line>,
}

/// An indented line without its indentation.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) text: String,
}

/// The words that begin an expectation.
const EXPECTATIONS: [&str; 12] = [
    "unread",
    "=",
    "answer",
    "authority",
    "additional",
    "count",
    "edns",
    "tsig",
    "size",
    "question",
    "silence",
    "messages",
];

/// Every option there is; another one is a slip of the pen.
const OPTIONS: [&str; 28] = [
    "tcp",
    "v6",
    "hold",
    "split",
    "rd",
    "ad",
    "cd",
    "tc",
    "opcode",
    "count",
    "answers",
    "edns",
    "version",
    "do",
    "option",
    "opts",
    "trailing",
    "key",
    "time",
    "fudge",
    "mac",
    "badmac",
    "originalid",
    "algorithm",
    "tsigs",
    "notlast",
    "shout",
    "tsigclass",
];

impl Script {
    pub(crate) fn read(path: &Path) -> Script {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut script = Script::default();
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line)).peekable();
        while let Some((line, head)) = lines.next() {
            if head.trim().is_empty() || head.starts_with(';') {
                continue;
            }
            assert!(!head.starts_with(' '), "{}:{line}: an indented line outside a block", path.display());
            let mut body = Vec::new();
            while let Some((number, text)) = lines.next_if(|(_, line)| line.is_empty() || line.starts_with(' ')) {
                body.push(Line { number, text: text.trim_end().to_string() });
            }
            script.block(line, head, body).unwrap_or_else(|what| panic!("{}:{line}: {what}", path.display()));
        }
        script
    }

    fn block(&mut self, line: usize, head: &str, body: Vec<Line>) -> Result<(), String> {
        let mut words: Vec<String> = head.split_whitespace().map(String::from).collect();
        let verbatim = || body.iter().map(|line| line.text.strip_prefix("    ").unwrap_or(&line.text));
        let argument = words.get(1).cloned().unwrap_or_default();
        match words[0].as_str() {
            "zone" => self.zones.push((argument, verbatim().collect::<Vec<_>>().join("\n") + "\n")),
            "config" => self.config = Some(verbatim().collect::<Vec<_>>().join("\n") + "\n"),
            "serve" => self.arguments.extend(words.split_off(1)),
            "client" => self.keys.push(TsigKey::parse(&argument).map_err(|error| error.to_string())?),
            "key" => {
                self.keys.push(TsigKey::parse(&argument).map_err(|error| error.to_string())?);
                self.arguments.extend(["--tsig".to_string(), argument]);
            }
            _ => self.steps.push(Step::new(line, words, body)?),
        }
        Ok(())
    }
}

impl Step {
    fn new(line: usize, words: Vec<String>, body: Vec<Line>) -> Result<Step, String> {
        let (options, words): (Vec<String>, Vec<String>) = words.into_iter().partition(|word| word.starts_with('+'));
        let options = options.iter().map(|option| {
            let (name, value) = option[1..].split_once('=').unwrap_or((&option[1..], ""));
            match OPTIONS.contains(&name) {
                true => Ok((name.to_string(), value.to_string())),
                false => Err(format!("no option {option}")),
            }
        });
        let options = options.collect::<Result<_, _>>()?;
        let body = body.into_iter().map(|line| Line { text: line.text.trim().to_string(), ..line });
        let body = body.filter(|line| !line.text.is_empty() && !line.text.starts_with(';'));
        let (expected, content) =
            body.partition(|line| EXPECTATIONS.contains(&line.words().next().unwrap_or_default()));
        Ok(Step { line, words, options, content, expected })
    }

    /// What the step does.
    pub(crate) fn action(&self) -> &str {
        &self.words[0]
    }

    /// The word after the action, and so on.
    pub(crate) fn word(&self, index: usize) -> Result<&str, String> {
        self.words.get(index).map(String::as_str).ok_or_else(|| format!("`{}` needs {index} words", self.action()))
    }

    /// Whether the option is given.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.option(option).is_some()
    }

    /// The value of an option.
    pub(crate) fn option(&self, option: &str) -> Option<&str> {
        assert!(OPTIONS.contains(&option), "{option} is not in the list of options");
        self.options.iter().find(|(name, _)| name == option).map(|(_, value)| value.as_str())
    }

    /// The value of an option that is a number.
    pub(crate) fn number<N: std::str::FromStr>(&self, option: &str) -> Result<Option<N>, String> {
        let read = |value: &str| value.parse().map_err(|_| format!("+{option} needs a number"));
        self.option(option).map(read).transpose()
    }
}

impl Line {
    pub(crate) fn words(&self) -> std::str::SplitWhitespace<'_> {
        self.text.split_whitespace()
    }
}
