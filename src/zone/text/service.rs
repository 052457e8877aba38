//! The parameters of SVCB and HTTPS records (RFC 9460 section 2.1).
//!
//! hickory-proto knows the values of the parameters that RFC 9460 defines; what it does not decode, lists of
//! protocols with escapes and keys by number, is read and written here.

use super::encode::{quoted, unquoted};
use super::lexer::Token;
use super::rdata::number;
use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, BinEncodable, Restrict};
use std::collections::BTreeMap;

/// Priority 1 and the root as target: the shortest data that can have parameters.
const BEFORE: &[u8] = &[0, 1, 0];
/// The same as text.
const BEFORE_TEXT: &str = "1 . ";

const ALPN: u16 = 1;
/// Keys registered after RFC 9460, which hold text.
const LATER: [(&str, u16); 3] = [("dohpath", 7), ("ohttp", 8), ("tls-supported-groups", 9)];

/// The wire form of the parameters, sorted by key.
pub(super) fn params(tokens: &[Token<'_>]) -> Result<Vec<u8>, String> {
    let mut params = BTreeMap::new();
    let mut tokens = tokens.iter().peekable();
    while let Some(token) = tokens.next() {
        let (key, value) = match token.text.split_once('=') {
            // The value may stand in quotes after the equals sign.
            Some((key, "")) => {
                (key, Some(tokens.next_if(|next| next.joined && next.quoted).map_or("", |next| next.text)))
            }
            Some((key, value)) => (key, Some(value)),
            None => (token.text, None),
        };
        let (number, value) = param(key, value)?;
        if params.insert(number, value).is_some() {
            return Err(format!("the service parameter {key} stands twice; keep one"));
        }
    }
    let mut octets = Vec::new();
    for (key, value) in params {
        let length =
            u16::try_from(value.len()).map_err(|_| "a service parameter is longer than 65535 octets; shorten it")?;
        octets.extend_from_slice(&key.to_be_bytes());
        octets.extend_from_slice(&length.to_be_bytes());
        octets.extend(value);
    }
    Ok(octets)
}

/// The text of parameters in wire form; `None` where it is better given in hex.
pub(super) fn text(mut params: &[u8]) -> Option<Vec<String>> {
    let mut words = Vec::new();
    while let [key_high, key_low, high, low, after @ ..] = params {
        let key = u16::from_be_bytes([*key_high, *key_low]);
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (param, rest) = params.split_at_checked(4 + length)?;
        let value = after.get(..length)?;
        params = rest;
        words.push(match key {
            ALPN => format!("alpn={}", quoted(&protocols_text(value)?)),
            0..=6 => known_text(param)?,
            _ => format!("key{key}={}", quoted(value)),
        });
    }
    params.is_empty().then_some(words)
}

/// The number and wire value of one parameter.
fn param(key: &str, value: Option<&str>) -> Result<(u16, Vec<u8>), String> {
    let wrong = || {
        let value = value.map(|value| format!("={value}")).unwrap_or_default();
        format!("{key}{value} is no service parameter; write it as alpn=h2, port=8443 or key65000=text")
    };
    let octets = unquoted(value.unwrap_or_default()).ok_or_else(wrong)?;
    if key == "alpn" {
        return Ok((ALPN, protocols(&octets).ok_or_else(wrong)?));
    }
    let later = LATER.iter().find(|(name, _)| *name == key).map(|&(_, number)| number);
    if let Some(number) = later.or_else(|| key.strip_prefix("key").and_then(number)) {
        return Ok((number, octets));
    }
    // Nothing in these values needs quotes, blanks or escapes, so nothing of the kind reaches the other parser.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-+/=.,:".contains(byte);
    if !key.as_bytes().iter().chain(&octets).all(plain) {
        return Err(wrong());
    }
    let text = match std::str::from_utf8(&octets).map_err(|_| wrong())? {
        "" => format!("{BEFORE_TEXT}{key}"),
        value => format!("{BEFORE_TEXT}{key}={value}"),
    };
    let data = RData::try_from_str(RecordType::SVCB, &text).map_err(|_| wrong())?;
    let data = data.to_bytes().map_err(|_| wrong())?;
    match data.strip_prefix(BEFORE) {
        Some([high, low, _, _, value @ ..]) => {
            let number = u16::from_be_bytes([*high, *low]);
            let mut value = value.to_vec();
            if number == 0 {
                sort_keys(&mut value);
            }
            Ok((number, value))
        }
        _ => Err(wrong()),
    }
}

/// RFC 9460 section 8: the keys of `mandatory` ascend on the wire, in whatever order they were written.
fn sort_keys(value: &mut Vec<u8>) {
    let mut keys: Vec<[u8; 2]> = value.chunks(2).filter_map(|key| key.try_into().ok()).collect();
    keys.sort_unstable();
    *value = keys.concat();
}

/// RFC 9460 appendix A.1: items part at commas; `\,` and `\\` stand for themselves, and that after the escapes
/// of the string are gone.
fn protocols(text: &[u8]) -> Option<Vec<u8>> {
    let mut items = vec![Vec::new()];
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b',' => items.push(Vec::new()),
            b'\\' => items.last_mut()?.push(*bytes.next()?),
            _ => items.last_mut()?.push(byte),
        }
    }
    let mut octets = Vec::new();
    for item in items.into_iter().filter(|item| !item.is_empty()) {
        octets.push(u8::try_from(item.len()).ok()?);
        octets.extend(item);
    }
    Some(octets)
}

fn protocols_text(mut value: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    while let Some((&length, rest)) = value.split_first() {
        let (item, rest) = rest.split_at_checked(usize::from(length))?;
        if !text.is_empty() {
            text.push(b',');
        }
        for &octet in item {
            if matches!(octet, b',' | b'\\') {
                text.push(b'\\');
            }
            text.push(octet);
        }
        value = rest;
    }
    Some(text)
}

fn known_text(param: &[u8]) -> Option<String> {
    let data = [BEFORE, param].concat();
    let length = Restrict::new(u16::try_from(data.len()).ok()?);
    let data = RData::read(&mut BinDecoder::new(&data), RecordType::SVCB, length).ok()?.to_string();
    // It ends each list with a comma, and a key without a value with an equals sign.
    Some(data.strip_prefix(BEFORE_TEXT)?.trim_end_matches([',', ' ', '=']).to_owned())
}
