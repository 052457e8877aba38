//! Queries: from question to answer (RFC 1034 section 4.3.2).
