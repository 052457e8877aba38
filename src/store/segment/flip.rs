//! A frame that is not what was written by one bit.
//!
//! A write that was never finished lacks whole sectors; a disk or a memory at fault turns a bit over. So a frame of which all
//! but one bit is there was written to its end, and may have been answered. The checksum tells which bit it is, and the
//! chain hash proves it: what comes of it is what was written, to the last bit.

use super::{FRAME, Frames, crc_of};

/// The polynomial of CRC-32, the lowest bit first.
const POLYNOMIAL: u32 = 0xEDB8_8320;

impl Frames<'_> {
    /// The octets of the next frame as they were written, where one bit of them is not what it was.
    pub(in crate::store) fn flipped(&self) -> Option<Vec<u8>> {
        let rest = self.octets.get(self.at..)?;
        let length = *rest.first_chunk()?;
        // As one bit of the length may be wrong, any of 33 lengths is that of the frame.
        let other = (0..32).map(|bit| (u32::from_be_bytes(length) ^ (1 << bit)).to_be_bytes());
        let otherwise = other.filter_map(|other| {
            let mut frame = taken(rest, other)?;
            frame.get_mut(..4)?.copy_from_slice(&other);
            Some(frame)
        });
        taken(rest, length)
            .and_then(|frame| self.agreeing(frame))
            .into_iter()
            .chain(otherwise)
            .find(|frame| self.leads(frame))
    }

    /// Whether these octets are the frame that comes next.
    fn leads(&self, frame: &[u8]) -> bool {
        Frames::resume(frame, self.header, self.seq, self.chain).next().is_some()
    }

    /// Turns over the one bit, not of the length, by which the frame would agree with its checksum.
    fn agreeing(&self, mut frame: Vec<u8>) -> Option<Vec<u8>> {
        let crc = u32::from_be_bytes(*frame.get(4..)?.first_chunk()?);
        let wrong = crc ^ crc_of(&frame, &self.header);
        if wrong.count_ones() == 1 {
            frame.get_mut(4..8)?.copy_from_slice(&(crc ^ wrong).to_be_bytes());
            return Some(frame);
        }
        // What a bit does to the checksum depends on nothing but how many bits come after it.
        let mut does = 1u32;
        for place in (8..frame.len()).rev() {
            for bit in (0..8).rev() {
                does = if does & 1 == 1 { does >> 1 ^ POLYNOMIAL } else { does >> 1 };
                if does == wrong {
                    *frame.get_mut(place)? ^= 1 << bit;
                    return Some(frame);
                }
            }
        }
        None
    }
}

/// A frame with a payload of this length.
fn taken(rest: &[u8], length: [u8; 4]) -> Option<Vec<u8>> {
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    rest.get(..FRAME.checked_add(length)?).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, segment};
    use super::super::{Frames, Tail};

    #[test]
    fn any_one_bit_of_the_last_frame_is_put_right_and_two_are_not() {
        let (whole, starts) = segment(&[1, 1]);
        let end = whole.len() - 300;
        for at in starts[1]..end {
            for bit in 0..8 {
                let mut octets = whole.clone();
                octets[at] ^= 1 << bit;
                let mut frames = Frames::new(&octets).unwrap();
                assert_eq!(frames.by_ref().count(), 1);
                assert_eq!(frames.flipped().unwrap(), &whole[starts[1]..end], "octet {at}, bit {bit}");
            }
            let mut octets = whole.clone();
            octets[at] ^= 0x11;
            let mut frames = Frames::new(&octets).unwrap();
            assert_eq!(frames.by_ref().count(), 1);
            assert_eq!(frames.flipped(), None, "octet {at}");
        }
    }

    #[test]
    fn a_write_that_was_never_finished_is_not_put_right() {
        let (whole, starts) = segment(&[1, 1]);
        for cut in starts[1] + 4..whole.len() - 301 {
            let mut octets = whole.clone();
            octets[cut..].fill(0);
            // Its last octets may have been zeros all the same.
            let missing = &whole[cut..whole.len() - 300];
            if missing.iter().map(|octet| octet.count_ones()).sum::<u32>() < 2 {
                continue;
            }
            assert_eq!(read(&octets).1, Tail::Torn);
            let mut frames = Frames::new(&octets).unwrap();
            while frames.next().is_some() {}
            assert_eq!(frames.flipped(), None, "cut at {cut}");
        }
    }
}
