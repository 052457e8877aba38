//! TSIG: keys, verification and signing (RFC 8945).
