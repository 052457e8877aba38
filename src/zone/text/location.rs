//! Locations, the data of LOC: `52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m` (RFC 1876).

use super::rdata::number;

/// The equator and the prime meridian, in thousandths of a second of arc (RFC 1876 section 2).
const ZERO: i64 = 1 << 31;
/// The surface of the reference ellipsoid, in centimetres above the lowest altitude.
const GROUND: i64 = 10_000_000;
const DEGREE: i64 = 3_600_000;
/// Size, horizontal and vertical precision where none are given: 1 m, 10 km and 10 m (RFC 1876 section 3).
const DEFAULTS: [u8; 3] = [0x12, 0x16, 0x13];

/// The 16 octets of a location in words.
pub(super) fn read(words: &[&str]) -> Result<Vec<u8>, String> {
    parse(words).ok_or_else(|| {
        format!("{} is no location; write one such as 52 22 23.000 N 4 53 32.000 E -2m 1m 10000m 10m", words.join(" "))
    })
}

fn parse(words: &[&str]) -> Option<Vec<u8>> {
    let (latitude, words) = angle(words, 'N', 'S', 90)?;
    let (longitude, words) = angle(words, 'E', 'W', 180)?;
    let (altitude, sizes) = words.split_first()?;
    let altitude = u32::try_from(centimetres(altitude)?.checked_add(GROUND)?).ok()?;
    if sizes.len() > 3 {
        return None;
    }
    let mut octets = vec![0];
    for (index, default) in DEFAULTS.into_iter().enumerate() {
        octets.push(match sizes.get(index) {
            Some(size) => precision(centimetres(size)?)?,
            None => default,
        });
    }
    for number in [latitude, longitude, altitude] {
        octets.extend_from_slice(&number.to_be_bytes());
    }
    Some(octets)
}

/// Degrees, and optionally minutes and seconds, up to the letter of a hemisphere.
fn angle<'a>(words: &'a [&'a str], positive: char, negative: char, most: i64) -> Option<(u32, &'a [&'a str])> {
    let is = |word: &str, letter: char| word.len() == 1 && word.starts_with(letter.to_ascii_uppercase());
    let end = words.iter().position(|word| {
        let word = word.to_ascii_uppercase();
        is(&word, positive) || is(&word, negative)
    })?;
    let (numbers, rest) = words.split_at_checked(end)?;
    let (letter, rest) = rest.split_first()?;
    let minute = |word: &&str| number::<i64>(word).filter(|&minutes| minutes < 60);
    let (degrees, minutes, thousandths) = match numbers {
        [degrees] => (number(degrees)?, 0, 0),
        [degrees, minutes] => (number(degrees)?, minute(minutes)?, 0),
        [degrees, minutes, seconds] => (number(degrees)?, minute(minutes)?, decimal(seconds, 3)?),
        _ => return None,
    };
    if !(0..=most).contains(&degrees) || !(0..60_000).contains(&thousandths) {
        return None;
    }
    let value = degrees * DEGREE + minutes * 60_000 + thousandths;
    if value > most * DEGREE {
        return None;
    }
    let positive = is(&letter.to_ascii_uppercase(), positive);
    Some((u32::try_from(if positive { ZERO + value } else { ZERO - value }).ok()?, rest))
}

/// Metres, with or without their `m`, in centimetres.
fn centimetres(word: &str) -> Option<i64> {
    let word = word.strip_suffix(['m', 'M']).unwrap_or(word);
    match word.strip_prefix('-') {
        Some(word) => decimal(word, 2).map(|value| -value),
        None => decimal(word, 2),
    }
}

/// A decimal number with at most `places` digits after its point, times ten to the power of `places`.
fn decimal(word: &str, places: usize) -> Option<i64> {
    let (whole, part) = word.split_once('.').unwrap_or((word, ""));
    if part.len() > places || whole.len() > 9 {
        return None;
    }
    number(&format!("{whole}{part:0<places$}"))
}

/// One digit and a power of ten, in centimetres (RFC 1876 section 2).
fn precision(centimetres: i64) -> Option<u8> {
    let mut value = centimetres;
    let mut power = 0u8;
    while value > 9 {
        value /= 10;
        power += 1;
    }
    let value = u8::try_from(value).ok()?;
    (power <= 9).then_some(value << 4 | power)
}

/// The text of a location; `None` where its version is not 0 or a number is out of range.
pub(super) fn text(octets: &[u8]) -> Option<String> {
    let [0, size, horizontal, vertical, numbers @ ..] = octets else { return None };
    let mut words =
        numbers.chunks_exact(4).map(|word| word.try_into().map_or(0, |word| i64::from(u32::from_be_bytes(word))));
    let (latitude, longitude, altitude) = (words.next()? - ZERO, words.next()? - ZERO, words.next()? - GROUND);
    let angle = |value: i64, positive, negative| {
        let (letter, value) = if value < 0 { (negative, -value) } else { (positive, value) };
        let (degrees, minutes, part) = (value / DEGREE, value / 60_000 % 60, value % 60_000);
        format!("{degrees} {minutes} {}.{:03} {letter}", part / 1000, part % 1000)
    };
    let metres = |value: i64| {
        let sign = if value < 0 { "-" } else { "" };
        format!("{sign}{}.{:02}m", value.abs() / 100, value.abs() % 100)
    };
    let sizes = [size, horizontal, vertical].map(|octet| {
        let centimetres = (0..octet & 15).fold(i64::from(octet >> 4), |value, _| value * 10);
        metres(centimetres)
    });
    let (latitude, longitude) = (angle(latitude, 'N', 'S'), angle(longitude, 'E', 'W'));
    Some(format!("{latitude} {longitude} {} {}", metres(altitude), sizes.join(" ")))
}
