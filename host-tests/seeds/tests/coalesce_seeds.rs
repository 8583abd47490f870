//! The coalescing filter as users load it keeps its promises, whatever the seed.

#[test]
fn no_seed_breaks_a_promise() {
    sluice_seeds::sweep::test(&sluice_seeds::coalesce::FILTER, 2000);
}
