//! Who may change what: grants and their rules.
