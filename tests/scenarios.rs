//! Whole conversations with the real binary, each in a file of tests/scenarios: zones, steps, expected replies.
//!
//! `NAME.txt` reads as its first lines say; [`script`] has the form, [`request`] the options of a step, [`reply`] what
//! can be expected. Each step's comment names the rule that it holds the server to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "in a test a panic is the failure to be seen"
)]

mod common;
#[path = "scenarios/play.rs"]
mod play;
#[path = "scenarios/reply.rs"]
mod reply;
#[path = "scenarios/request.rs"]
mod request;
#[path = "scenarios/script.rs"]
mod script;

/// A test for each file, and one that no file is forgotten.
macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            play::play(&stringify!($name).replace('_', "-"));
        })*

        #[test]
        fn every_scenario_file_is_played() {
            let listed: std::collections::BTreeSet<String> =
                [$(stringify!($name).replace('_', "-")),*].into_iter().collect();
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
            let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            let there: std::collections::BTreeSet<String> =
                names.filter_map(|name| Some(name.to_str()?.strip_suffix(".txt")?.to_string())).collect();
            assert_eq!(listed, there);
        }
    };
}

scenarios! {
    answers_basic cname wildcards delegation dname negative any edns truncation chaos_class opcodes_and_malformed
    rfc3597_types tcp
    update_zone_section update_prerequisites update_prescan update_add update_delete update_soa_serial update_cname
    update_ttl update_all_or_nothing update_types update_unsigned update_rights update_create_zone
    tsig_errors tsig_algorithms tsig_queries durability transfer
}
