//! Octets as text: hexadecimal, base64, base32, times and escapes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The digits of base32 with the extended hex alphabet (RFC 4648 section 7).
const BASE32: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";
const DAY: i64 = 86_400;

pub(super) fn base64(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

pub(super) fn unbase64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(super) fn hex(octets: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase();
    octets.iter().flat_map(|octet| [digit(octet >> 4), digit(octet & 15)]).collect()
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

pub(super) fn base32(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() * 8 / 5 + 1);
    let (mut bits, mut count) = (0u32, 0);
    let mut digit = |bits: u32| text.extend(BASE32.get((bits & 31) as usize).map(|&byte| char::from(byte)));
    for &octet in octets {
        bits = bits << 8 | u32::from(octet);
        count += 8;
        while count >= 5 {
            count -= 5;
            digit(bits >> count);
        }
        bits &= 31;
    }
    if count > 0 {
        digit(bits << (5 - count));
    }
    text
}

pub(super) fn unbase32(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes() {
        let value = BASE32.iter().position(|&digit| digit == byte.to_ascii_uppercase())?;
        bits = (bits << 5 | u32::try_from(value).ok()?) & 0xFFFF;
        count += 5;
        if count >= 8 {
            count -= 8;
            octets.push(u8::try_from(bits >> count & 0xFF).ok()?);
        }
    }
    // What fills the last digit is zero, and less than a digit.
    (count < 5 && bits & ((1 << count) - 1) == 0).then_some(octets)
}

/// Seconds since 1970 as `YYYYMMDDHHmmSS` (RFC 4034 section 3.2).
pub(super) fn time(seconds: u32) -> String {
    let seconds = i64::from(seconds);
    let (day, second) = (seconds / DAY, seconds % DAY);
    let mut year = 1970 + day / 366;
    while first_day(year + 1) <= day {
        year += 1;
    }
    let mut left = day - first_day(year);
    let mut month = 1;
    while left >= month_days(year, month) {
        left -= month_days(year, month);
        month += 1;
    }
    format!("{year:04}{month:02}{:02}{:02}{:02}{:02}", left + 1, second / 3600, second / 60 % 60, second % 60)
}

/// The seconds since 1970 of `YYYYMMDDHHmmSS`, or as a plain number; they wrap at 2^32 (RFC 4034 section 3.1.5).
pub(super) fn untime(text: &str) -> Option<u32> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if text.len() != 14 {
        return text.parse().ok();
    }
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let real = year >= 1970
        && (1..=12).contains(&month)
        && (1..=month_days(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !real {
        return None;
    }
    let days = first_day(year) + (1..month).map(|month| month_days(year, month)).sum::<i64>() + day - 1;
    u32::try_from((days * DAY + hour * 3600 + minute * 60 + second) & 0xFFFF_FFFF).ok()
}

/// The day on which a year from 1970 starts; 0 is the first day of 1970.
fn first_day(year: i64) -> i64 {
    let leap_days = |year: i64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    (year - 1970) * 365 + leap_days(year) - leap_days(1970)
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Octets between quotes, escaped where a reader could mistake them (RFC 1035 section 5.1).
pub(super) fn quoted(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() + 2);
    text.push('"');
    for &octet in octets {
        match octet {
            b'"' | b'\\' => text.extend(['\\', char::from(octet)]),
            b' '..=b'~' => text.push(char::from(octet)),
            _ => text.push_str(&format!("\\{octet:03}")),
        }
    }
    text.push('"');
    text
}

/// The octets of a word or of what stood between quotes; `None` after a `\` that escapes nothing.
pub(super) fn unquoted(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            octets.push(byte);
            continue;
        }
        let (&first, after) = rest.split_first()?;
        if !first.is_ascii_digit() {
            octets.push(first);
            rest = after;
            continue;
        }
        let (digits, after) = rest.split_at_checked(3)?;
        let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        octets.push(digits.parse().ok()?);
        rest = after;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base32_follows_the_rfc() {
        // RFC 4648 section 10, without its padding.
        assert_eq!(base32(b"foobar"), "CPNMUOJ1E8");
        assert_eq!(base32(b"f"), "CO");
        assert_eq!(unbase32("cpnmuoj1e8"), Some(b"foobar".to_vec()));
        assert_eq!(unbase32("CP1"), None);
        assert_eq!(unbase32("C!"), None);
    }

    #[test]
    fn times_follow_the_calendar() {
        assert_eq!(time(0), "19700101000000");
        assert_eq!(time(951_782_400), "20000229000000");
        assert_eq!(time(u32::MAX), "21060207062815");
        assert_eq!(untime("20040509183619"), Some(1_084_127_779));
        assert_eq!(untime("1084127779"), Some(1_084_127_779));
        assert_eq!(untime("20040231000000"), None);
        assert_eq!(untime("2004050918361"), None);
    }

    proptest! {
        #[test]
        fn octets_come_back(octets in prop::collection::vec(any::<u8>(), 0..40), seconds in any::<u32>()) {
            prop_assert_eq!(unhex(&hex(&octets)), Some(octets.clone()));
            prop_assert_eq!(unbase64(&base64(&octets)), Some(octets.clone()));
            prop_assert_eq!(unbase32(&base32(&octets)), Some(octets.clone()));
            let text = quoted(&octets);
            prop_assert_eq!(unquoted(&text[1..text.len() - 1]), Some(octets));
            prop_assert_eq!(untime(&time(seconds)), Some(seconds));
        }
    }
}
