//! Updates: prerequisites, prescan, application, and who may change what (RFC 2136).
pub mod policy;
