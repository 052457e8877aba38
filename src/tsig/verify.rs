//! Verifying requests.

use super::mac::{Hasher, Mac};
use super::record::{Coverage, Received, Stamp};
use super::rejection::{Rejection, RejectionKind, Signing};
use super::{Algorithm, Keyring, Signer, TsigKey};
use std::sync::Arc;

/// A request whose signature holds.
#[derive(Debug)]
pub struct Verified {
    /// Signs the reply.
    pub signer: Signer,
}

impl Verified {
    /// The key that the request was signed with.
    pub fn key(&self) -> &Arc<TsigKey> {
        self.signer.key()
    }
}

/// What is wrong with a MAC that no truncation gives.
pub(super) const MAC_LENGTH: &str = "its MAC is longer than the hash or shorter than half of it";

/// Verifies the TSIG record that starts at `tsig_at` and ends `message`, at the time `now` in seconds since 1970.
///
/// That no other record of the message is a TSIG is the reader's to see to. Requests older than the last one of
/// the same key are taken as long as their time is good: over UDP they overtake each other.
pub fn verify(keyring: &Keyring, message: &[u8], tsig_at: usize, now: u64) -> Result<Verified, Rejection> {
    let tsig = Received::read(message, tsig_at).map_err(|fault| RejectionKind::FormErr(fault).bare())?;

    let reject = |kind: RejectionKind, signing| kind.answered(tsig.owner, tsig.algorithm, now, signing);
    let key = keyring.get(&tsig.owner);
    let Some((key, named)) = key.and_then(|key| Some((key, tsig.served_by(key)?))) else {
        let declared = key.map(|key| key.algorithm);
        return Err(reject(RejectionKind::BadKey { declared, used: Algorithm::from_wire(&tsig.algorithm) }, None));
    };

    if !tsig.has_mac_of(named) {
        return Err(RejectionKind::FormErr(MAC_LENGTH).bare());
    }
    let mut hasher = Hasher::new(named, &key.secret);
    tsig.hash_message(&mut hasher, message, tsig_at);
    tsig.hash_self(&mut hasher, key, named, Coverage::Variables);
    if !hasher.finish().begins_with(tsig.mac) {
        return Err(reject(RejectionKind::BadSig, None));
    }

    let request = Mac::new(tsig.mac);
    let signing = || Some(Signing { key: key.clone(), named, request });
    let Stamp { signed, fudge } = tsig.stamp;
    if !tsig.stamp.allows(now) {
        return Err(reject(RejectionKind::BadTime { signed, now, fudge }, signing()));
    }
    let (received, required) = (tsig.mac.len(), key.algorithm.mac_len());
    if received < required {
        return Err(reject(RejectionKind::BadTrunc { received, required }, signing()));
    }
    Ok(Verified { signer: Signer::new(key.clone(), named, request) })
}

#[cfg(test)]
mod tests {
    use super::super::client::sign_request;
    use super::super::record::{Record, Seal};
    use super::*;

    const NOW: u64 = 1_800_000_000;
    /// A query for a.example A, with ID 1234.
    const QUERY: &[u8] = b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";

    fn key(text: &str) -> TsigKey {
        TsigKey::parse(text).unwrap()
    }

    fn keyring(texts: &[&str]) -> Keyring {
        texts.iter().map(|text| key(text)).collect()
    }

    /// QUERY as `key` signs it at NOW.
    fn signed(key: &TsigKey) -> Vec<u8> {
        signed_as(key, key.algorithm.hash(), key.algorithm.mac_len(), NOW)
    }

    fn signed_as(key: &TsigKey, named: Algorithm, mac_len: usize, time: u64) -> Vec<u8> {
        let seal = Seal {
            key,
            named,
            mac_len,
            prior: None,
            coverage: Coverage::Variables,
            stamp: Stamp::new(time, 300),
            error: 0,
            other: &[],
        };
        let mut buf = [0; 512];
        buf[..QUERY.len()].copy_from_slice(QUERY);
        let (len, _) = seal.append(&mut buf, QUERY.len()).unwrap();
        buf[..len].to_vec()
    }

    fn kind(keyring: &Keyring, message: &[u8], now: u64) -> RejectionKind {
        verify(keyring, message, QUERY.len(), now).unwrap_err().kind
    }

    /// QUERY with a TSIG record whose MAC is made up.
    fn with_mac(key: &TsigKey, named: Algorithm, mac: &[u8]) -> Vec<u8> {
        let record = Record {
            owner: key.name.as_bytes(),
            algorithm: named.wire_name(),
            stamp: Stamp::new(NOW, 300),
            mac,
            error: 0,
            other: &[],
        };
        let mut buf = [0; 512];
        buf[..QUERY.len()].copy_from_slice(QUERY);
        let len = record.append(&mut buf, QUERY.len()).unwrap();
        buf[..len].to_vec()
    }

    fn form_err(keyring: &Keyring, message: &[u8]) -> bool {
        let rejection = verify(keyring, message, QUERY.len(), NOW).unwrap_err();
        matches!(rejection.kind, RejectionKind::FormErr(_))
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
    }

    /// Requests that dig 9.18 made for `-y ALGORITHM:Laptop.Key:c2VjcmV0c2VjcmV0`, with their times.
    const FROM_DIG: [(&str, &str); 5] = [
        (
            "hmac-md5",
            "22c7012000010000000000010161076578616d706c650000010001
             066c6170746f70036b65790000fa00ff00000000003a
             08686d61632d6d6435077369672d616c670372656703696e7400
             00006b0164ad012c 0010 de3a8bda605799e12618554d8b758144 22c7 0000 0000",
        ),
        (
            "hmac-sha1",
            "a1b1012000010000000000010161076578616d706c650000010001
             066c6170746f70036b65790000fa00ff00000000002f 09686d61632d7368613100
             00006b0164ad012c 0014 33a44227b6dcdeabd533efdca737170975eddb2c a1b1 0000 0000",
        ),
        (
            "hmac-sha256",
            "3c67012000010000000000010161076578616d706c650000010001
             066c6170746f70036b65790000fa00ff00000000003d 0b686d61632d73686132353600
             00006b0164ad012c 0020 3ae7028ff9f5dbab61fe356ea21861ca2ca255de303e3efd6c3e57e928351e24 3c67 0000 0000",
        ),
        (
            "hmac-sha256-128",
            "7baa012000010000000000010161076578616d706c650000010001
             066c6170746f70036b65790000fa00ff00000000002d 0b686d61632d73686132353600
             00006b0164ad012c 0010 5a5d806286f82d145812e3b82675ebd9 7baa 0000 0000",
        ),
        (
            "hmac-sha384-192",
            "b80f012000010000000000010161076578616d706c650000010001
             066c6170746f70036b65790000fa00ff000000000035 0b686d61632d73686133383400
             00006b0164ad012c 0018 5b4a344db9f00e1a8334a9410c892a0f318e8971b2a6b91f b80f 0000 0000",
        ),
    ];

    #[test]
    fn requests_of_dig_are_verified() {
        for (algorithm, request) in FROM_DIG {
            let request = hex(request);
            let keyring = keyring(&[&format!("{algorithm}:laptop.key:c2VjcmV0c2VjcmV0")]);
            let verified = verify(&keyring, &request, 27, 0x6b01_64ad).unwrap();
            assert_eq!(verified.key().algorithm.name(), algorithm);
            assert!(verify(&keyring, &request, 27, 0x6b01_64ad + 300).is_ok());
            assert!(verify(&keyring, &request, 27, 0x6b01_64ad + 301).is_err());
        }
    }

    #[test]
    fn our_requests_are_octet_for_octet_those_of_dig() {
        for (algorithm, request) in FROM_DIG {
            let request = hex(request);
            let mut buf = [0; 512];
            buf[..27].copy_from_slice(&request[..27]);
            buf[11] = 0;
            let key = key(&format!("{algorithm}:laptop.key:c2VjcmV0c2VjcmV0"));
            let (len, _) = sign_request(&key, &mut buf, 27, 0x6b01_64ad, 300).unwrap();
            assert_eq!(&buf[..len], request, "{algorithm}");
        }
    }

    #[test]
    fn any_flipped_bit_is_rejected() {
        let keyring = keyring(&["laptop.key:c2VjcmV0c2VjcmV0"]);
        let (_, request) = FROM_DIG[2];
        let request = hex(request);
        // The key's name and the algorithm's count without case; the ID is covered as the original ID, 4 octets
        // before the end (RFC 8945 sections 4.3.2 and 4.3.3).
        let names = |at: usize| (27..39).contains(&at) || (49..62).contains(&at);
        for at in 0..request.len() {
            for bit in 0..8 {
                let mut changed = request.clone();
                changed[at] ^= 1 << bit;
                let harmless = at < 2 || names(at) && changed[at].eq_ignore_ascii_case(&request[at]);
                let result = verify(&keyring, &changed, 27, 0x6b01_64ad);
                assert_eq!(result.is_ok(), harmless, "octet {at}, bit {bit}: {result:?}");
            }
        }
    }

    #[test]
    fn a_message_cut_anywhere_is_malformed() {
        let keyring = keyring(&["laptop.key:c2VjcmV0c2VjcmV0"]);
        let request = hex(FROM_DIG[2].1);
        for len in 0..request.len() {
            let rejection = verify(&keyring, &request[..len], 27, 0x6b01_64ad).unwrap_err();
            assert!(matches!(rejection.kind, RejectionKind::FormErr(_)), "{len} octets: {rejection}");
        }
        let longer = [&request[..], b"\0"].concat();
        assert!(verify(&keyring, &longer, 27, 0x6b01_64ad).is_err());
        for at in 0..request.len() + 2 {
            assert_eq!(verify(&keyring, &request, at, 0x6b01_64ad).is_ok(), at == 27);
        }
    }

    #[test]
    fn a_forwarded_request_is_verified_by_its_original_id() {
        let mut request = signed(&key("laptop:c2VjcmV0"));
        request[..2].copy_from_slice(b"\xab\xcd");
        assert!(verify(&keyring(&["laptop:c2VjcmV0"]), &request, QUERY.len(), NOW).is_ok());
        let original_id = request.len() - 6;
        request[original_id] ^= 1;
        assert_eq!(kind(&keyring(&["laptop:c2VjcmV0"]), &request, NOW), RejectionKind::BadSig);
    }

    #[test]
    fn key_names_count_without_case_on_both_sides() {
        for (server, client) in [("LAPTOP", "laptop"), ("laptop", "lapTOP")] {
            let server = keyring(&[&format!("{server}:c2VjcmV0")]);
            assert!(verify(&server, &signed(&key(&format!("{client}:c2VjcmV0"))), QUERY.len(), NOW).is_ok());
        }
    }

    #[test]
    fn an_unknown_key_or_another_algorithm_is_badkey() {
        let request = signed(&key("hmac-md5:laptop:c2VjcmV0"));
        let used = Some(Algorithm::HmacMd5);
        assert_eq!(kind(&keyring(&[]), &request, NOW), RejectionKind::BadKey { declared: None, used });
        let declared = Some(Algorithm::HmacSha256);
        assert_eq!(kind(&keyring(&["laptop:c2VjcmV0"]), &request, NOW), RejectionKind::BadKey { declared, used });

        // The registered name of a truncated form serves only a key that is declared so.
        let short = key("hmac-sha256-128:laptop:c2VjcmV0");
        let request = signed_as(&short, Algorithm::HmacSha256_128, 16, NOW);
        assert!(verify(&keyring(&["hmac-sha256-128:laptop:c2VjcmV0"]), &request, QUERY.len(), NOW).is_ok());
        let used = Some(Algorithm::HmacSha256_128);
        assert_eq!(kind(&keyring(&["laptop:c2VjcmV0"]), &request, NOW), RejectionKind::BadKey { declared, used });
    }

    #[test]
    fn a_mac_of_impossible_length_is_malformed() {
        for (algorithm, least, most) in [
            ("hmac-md5", 10, 16),
            ("hmac-sha1", 10, 20),
            ("hmac-sha224", 14, 28),
            ("hmac-sha256-128", 16, 32),
            ("hmac-sha512", 32, 64),
        ] {
            let key = key(&format!("{algorithm}:laptop:c2VjcmV0"));
            let keyring: Keyring = [key.clone()].into_iter().collect();
            for len in 0..=most {
                let request = signed_as(&key, key.algorithm.hash(), len, NOW);
                let result = verify(&keyring, &request, QUERY.len(), NOW).map_err(|rejection| rejection.kind);
                let malformed = matches!(result, Err(RejectionKind::FormErr(_)));
                assert_eq!(malformed, len < least, "{algorithm}, {len} octets: {result:?}");
            }
            assert!(form_err(&keyring, &with_mac(&key, key.algorithm.hash(), &vec![0; most + 1])));
        }
        // The registered name of a truncated form has that length and no other.
        let key = key("hmac-sha256-128:laptop:c2VjcmV0");
        let keyring: Keyring = [key.clone()].into_iter().collect();
        assert!(form_err(&keyring, &signed_as(&key, Algorithm::HmacSha256_128, 17, NOW)));
        assert!(form_err(&keyring, &signed_as(&key, Algorithm::HmacSha256_128, 15, NOW)));
    }

    #[test]
    fn class_ttl_and_type_are_checked() {
        let keyring = keyring(&["laptop:c2VjcmV0"]);
        let request = signed(&key("laptop:c2VjcmV0"));
        // The name `laptop.` has 8 octets; type, class and TTL follow.
        for at in QUERY.len() + 8..QUERY.len() + 16 {
            let mut changed = request.clone();
            changed[at] ^= 1;
            assert!(form_err(&keyring, &changed), "octet {at}");
        }
        let mut uncounted = request.clone();
        uncounted[11] = 0;
        assert!(form_err(&keyring, &uncounted));
    }

    #[test]
    fn a_compressed_algorithm_name_is_malformed() {
        let mut request = QUERY.to_vec();
        request[11] = 1;
        // The algorithm's name is a pointer to the question's.
        request.extend(b"\x06laptop\0\0\xfa\0\xff\0\0\0\0\0\x12\xc0\x0c\0\0\x6b\x49\xd2\0\x01\x2c\0\0\x12\x34\0\0\0\0");
        assert!(form_err(&keyring(&["laptop:c2VjcmV0"]), &request));
    }

    #[test]
    fn checks_come_in_the_order_key_mac_time_truncation() {
        let right = keyring(&["laptop:c2VjcmV0"]);
        let other_secret = keyring(&["laptop:b3RoZXI="]);
        let key = key("laptop:c2VjcmV0");
        // Too short for any hash, for the key, and too old, all at once.
        let tiny = signed_as(&key, Algorithm::HmacSha256, 3, NOW - 1000);
        assert!(matches!(kind(&keyring(&[]), &tiny, NOW), RejectionKind::BadKey { .. }));
        assert!(form_err(&right, &tiny));
        let short = signed_as(&key, Algorithm::HmacSha256, 20, NOW - 1000);
        assert_eq!(kind(&other_secret, &short, NOW), RejectionKind::BadSig);
        assert_eq!(kind(&right, &short, NOW), RejectionKind::BadTime { signed: NOW - 1000, now: NOW, fudge: 300 });
        assert_eq!(kind(&right, &short, NOW - 1000), RejectionKind::BadTrunc { received: 20, required: 32 });
    }

    #[test]
    fn time_is_good_within_the_fudge_on_both_sides() {
        let keyring = keyring(&["laptop:c2VjcmV0"]);
        let request = signed(&key("laptop:c2VjcmV0"));
        for (now, fine) in [(NOW - 301, false), (NOW - 300, true), (NOW + 300, true), (NOW + 301, false), (0, false)] {
            assert_eq!(verify(&keyring, &request, QUERY.len(), now).is_ok(), fine, "{now}");
        }
    }

    #[test]
    fn times_have_48_bits() {
        let (key, keyring) = (key("laptop:c2VjcmV0"), keyring(&["laptop:c2VjcmV0"]));
        // 2^32 seconds are over in 2106.
        for time in [0, 1 << 32, (1 << 32) + 7, (1 << 48) - 1] {
            let request = signed_as(&key, Algorithm::HmacSha256, 32, time);
            assert!(verify(&keyring, &request, QUERY.len(), time).is_ok());
            assert!(verify(&keyring, &request, QUERY.len(), time + 301).is_err());
            assert!(verify(&keyring, &request, QUERY.len(), time ^ 1 << 32).is_err());
        }
        let request = signed_as(&key, Algorithm::HmacSha256, 32, 5);
        assert!(verify(&keyring, &request, QUERY.len(), u64::MAX).is_err());
    }
    proptest::proptest! {
        #[test]
        fn no_octets_make_verify_panic(message: Vec<u8>, at: usize, within in 0usize..64) {
            let keyring = keyring(&["laptop:c2VjcmV0"]);
            for at in [at, within, QUERY.len()] {
                proptest::prop_assert!(verify(&keyring, &message, at, NOW).is_err());
            }
            // The octets after a request's names, which is where they are looked at.
            let mut request = signed(&key("laptop:c2VjcmV0"));
            for (place, octet) in request[QUERY.len() + 8..].iter_mut().skip(within).zip(&message) {
                *place = *octet;
            }
            let _ = verify(&keyring, &request, QUERY.len(), NOW);
        }
    }
}
