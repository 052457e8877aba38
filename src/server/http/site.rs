//! Whether a page of another site made a browser ask, which adds the password by itself.

use axum::http::header::{HOST, ORIGIN, REFERER};
use axum::http::{HeaderMap, HeaderValue};

/// Whether a browser says that another site sent it here. A router, or a person who types the address, sends none of
/// these headers. Of them a browser that comes unencrypted sends `Referer` alone with a GET, unless the page tells it
/// not to: who goes by such a way with a browser that knows the password has no more protection than that.
pub(crate) fn is_from_another_site(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    let is_here = |url: &HeaderValue| {
        let url = url.as_bytes();
        let rest = url.windows(3).position(|part| part == b"://").and_then(|at| url.get(at + 3..));
        rest.and_then(|rest| rest.split(|octet| *octet == b'/').next()) == host && host.is_some()
    };
    headers.get("sec-fetch-site").is_some_and(|site| site != "none" && site != "same-origin")
        || [ORIGIN, REFERER].iter().flat_map(|name| headers.get(name)).any(|url| !is_here(url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    #[test]
    fn a_browser_that_another_site_sent_is_known() {
        for (name, value, elsewhere) in [
            ("accept", "*/*", false),
            ("sec-fetch-site", "none", false),
            ("sec-fetch-site", "same-origin", false),
            ("sec-fetch-site", "cross-site", true),
            ("sec-fetch-site", "same-site", true),
            ("origin", "http://h:1", false),
            ("origin", "http://h", true),
            ("origin", "http://evil.example", true),
            ("origin", "http://evil.example/://h:1", true),
            ("origin", "null", true),
            ("referer", "http://h:1/host/nas", false),
            ("referer", "http://h:1", false),
            ("referer", "http://evil.example/h:1", true),
            ("referer", "", true),
        ] {
            let pairs = [(HeaderName::from_static("host"), "h:1"), (HeaderName::from_static(name), value)];
            let headers = pairs.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect();
            assert_eq!(is_from_another_site(&headers), elsewhere, "{name}: {value}");
        }
    }
}
