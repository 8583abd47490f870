//! The checks find bugs: each one that is planted is caught by the seeds of `coalesce_seeds.rs`, and without one they
//! pass.

#[test]
fn every_planted_bug_is_caught() {
    sluice_seeds::planted::hunt(&sluice_seeds::coalesce::FILTER, 2000);
}
