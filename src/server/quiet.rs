//! A bound on the log lines that strangers can cause, and a failing disk.

use std::sync::Mutex;
use std::sync::PoisonError;

/// How many such lines are written each second.
const LINES: u32 = 10;

/// Lets so many lines pass each second; the next second's first line tells how many did not.
#[derive(Debug, Default)]
pub(crate) struct Quiet(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    at: u64,
    written: u32,
    suppressed: u64,
}

impl Quiet {
    /// Whether a line may be written now.
    pub(crate) fn allows(&self, now: u64) -> bool {
        let suppressed = {
            let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut suppressed = 0;
            if second.at != now {
                suppressed = second.suppressed;
                *second = Second { at: now, ..Second::default() };
            }
            if second.written >= LINES {
                second.suppressed += 1;
                return false;
            }
            second.written += 1;
            suppressed
        };
        if suppressed > 0 {
            tracing::warn!(suppressed, "refusals not logged");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_lines_pass_each_second() {
        let quiet = Quiet::default();
        assert_eq!((0..50).filter(|_| quiet.allows(7)).count(), 10);
        assert_eq!((0..50).filter(|_| quiet.allows(8)).count(), 10);
    }
}
