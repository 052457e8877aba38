//! `$GENERATE`, the directive by which BIND writes many records alike:
//! `$GENERATE 1-3 host$ A 192.0.2.$`.

use super::lexer::Token;

/// More than the addresses of an IPv4 /16 in one line is a slip.
const MOST: u32 = 65_536;

/// The lines that one directive stands for.
pub(super) struct Generate<'a> {
    words: &'a [Token<'a>],
    numbers: std::iter::StepBy<std::ops::RangeInclusive<u32>>,
}

impl<'a> Generate<'a> {
    /// Takes the words after `$GENERATE`: a range, then the parts of a record.
    pub(super) fn new(words: &'a [Token<'a>]) -> Result<Generate<'a>, String> {
        let usage = || "$GENERATE needs a range and a record; write $GENERATE 1-3 host$ A 192.0.2.$".to_owned();
        let (range, words) = words.split_first().filter(|(_, words)| words.len() >= 3).ok_or_else(usage)?;
        let (range, step) = range.text.split_once('/').unwrap_or((range.text, "1"));
        let (first, last) = range.split_once('-').ok_or_else(usage)?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| usage());
        let (first, last, step) = (number(first)?, number(last)?, number(step)?);
        if first > last || step == 0 || (last - first) / step >= MOST {
            return Err(format!("$GENERATE {range} is not a range of 1 to {MOST} numbers; write it as 1-3"));
        }
        let step = usize::try_from(step).map_err(|_| usage())?;
        Ok(Generate { words, numbers: (first..=last).step_by(step) })
    }
}

impl Iterator for Generate<'_> {
    type Item = Result<String, String>;

    fn next(&mut self) -> Option<Result<String, String>> {
        let number = self.numbers.next()?;
        let mut line = String::new();
        for (index, word) in self.words.iter().enumerate() {
            if index > 0 && !word.joined {
                line.push(' ');
            }
            // BIND takes quotes away that hold all of the data, as in `MX "10 mail$"`.
            let whole = word.quoted && index + 1 == self.words.len();
            let text = if whole { word.text.replace("\\\"", "\"") } else { word.text.to_owned() };
            let quote = if word.quoted && !whole { "\"" } else { "" };
            line.push_str(quote);
            if let Err(error) = substitute(&text, number, &mut line) {
                return Some(Err(error));
            }
            line.push_str(quote);
        }
        Some(Ok(line))
    }
}

/// Writes `text` with the number for each `$`, and for each `${offset,width,base}`; `\$` and `$$` stay a `$`.
fn substitute(text: &str, number: u32, line: &mut String) -> Result<(), String> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        line.push_str(before);
        rest = after;
        if before.ends_with('\\') {
            line.push('$');
        } else if let Some(after) = after.strip_prefix('$') {
            line.push_str("\\$");
            rest = after;
        } else if let Some((format, after)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) {
            line.push_str(&formatted(format, number)?);
            rest = after;
        } else {
            line.push_str(&number.to_string());
        }
    }
    line.push_str(rest);
    Ok(())
}

fn formatted(format: &str, number: u32) -> Result<String, String> {
    let wrong = || format!("${{{format}}} is no number format; write ${{offset,width,base}} with base d, o, x or X");
    let mut fields = format.split(',');
    let offset: i64 = fields.next().unwrap_or_default().parse().map_err(|_| wrong())?;
    let width: usize = fields.next().unwrap_or("0").parse().ok().filter(|&width| width <= 63).ok_or_else(wrong)?;
    let value = i64::from(number).checked_add(offset).filter(|&value| value >= 0).ok_or_else(wrong)?;
    let base = fields.next().unwrap_or("d");
    if fields.next().is_some() {
        return Err(wrong());
    }
    match base {
        "d" => Ok(format!("{value:0width$}")),
        "o" => Ok(format!("{value:0width$o}")),
        "x" => Ok(format!("{value:0width$x}")),
        "X" => Ok(format!("{value:0width$X}")),
        _ => Err(wrong()),
    }
}
