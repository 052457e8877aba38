//! Zones as text: zone files in, zone files out (RFC 1035 section 5, RFC 3597 section 5).
