//! How far the table has come: what it keeps beside the records, in the same batches.
//!
//! | octets | the mark                                                                                            |
//! |--------|-----------------------------------------------------------------------------------------------------|
//! | 1      | form: 1                                                                                             |
//! | 8 + 16 | sequence number of the last commit that is in the table whole, and the chain hash after it          |
//! | 8 + 16 | the same of the last commit that is in the table in part, or again the last whole one               |
//! | 8      | sum of the weights of all other keys and values                                                     |
//!
//! A table that is being made from a checkpoint has nothing whole, and in part the checkpoint's last commit.

use super::encode::Input;
use super::segment::Chain;

/// How far the table has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// The last commit that is in the table whole.
    pub(super) done: Step,
    /// The last commit of those that are in the table in part, all after `done`, or `done`.
    pub(super) begun: Step,
    /// The sum of the weights of everything else in the table.
    pub(super) sum: u64,
}

/// A commit and everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Step {
    /// Its sequence number.
    pub(super) seq: u64,
    /// The chain hash after it.
    pub(super) chain: Chain,
}

const FORM: u8 = 1;

impl Mark {
    pub(super) fn octets(&self) -> Vec<u8> {
        let mut out = vec![FORM];
        for step in [self.done, self.begun] {
            out.extend_from_slice(&step.seq.to_be_bytes());
            out.extend_from_slice(&step.chain);
        }
        out.extend_from_slice(&self.sum.to_be_bytes());
        out
    }

    pub(super) fn read(octets: &[u8]) -> Option<Mark> {
        let mut input = Input(octets);
        (input.u8()? == FORM).then_some(())?;
        let mut step = || Some(Step { seq: input.u64()?, chain: input.array()? });
        let (done, begun) = (step()?, step()?);
        let sum = input.u64()?;
        input.0.is_empty().then_some(Mark { done, begun, sum })
    }

    /// Whether the table is in the middle of being made from a checkpoint, and of no use before the end of that; or has none of
    /// the journal's first commits whole, and is of as little.
    pub(super) fn is_filling(&self) -> bool {
        self.done.seq == 0 && self.begun.seq > 1
    }
}
