//! The durable side: the journal of commits and the table that follows it.
