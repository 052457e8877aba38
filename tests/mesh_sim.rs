//! Meshes of 3, 50 and 2,000 nodes in virtual time: joining, loss, churn, partitions, changes of address, wrong clocks
//! and lying members. Run with `--no-capture` they print the figures that stand in the docs of `dyndns::mesh`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "in a test a panic is the failure to be seen, and the figures are printed"
)]

#[path = "mesh_sim/healing.rs"]
mod healing;
#[path = "mesh_sim/joining.rs"]
mod joining;
#[path = "mesh_sim/lies.rs"]
mod lies;
#[path = "mesh_sim/nearby.rs"]
mod nearby;
#[path = "mesh_sim/size.rs"]
mod size;
#[path = "mesh_sim/world.rs"]
mod world;
