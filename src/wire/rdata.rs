//! Record data: what each type's octets may be, where names stand in them, and how they compare.
