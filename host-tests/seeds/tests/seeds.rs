//! The filters as users load them keep their promises, whatever the seed. And the checks find bugs: each one that is
//! planted is caught by the same seeds, and without one they pass.

mod rate_limit {
    use sluice_seeds::rate_limit::FILTER;
    use sluice_seeds::{planted, sweep};

    #[test]
    fn no_seed_breaks_a_promise() {
        sweep::test(&FILTER, 2000);
    }

    #[test]
    fn every_planted_bug_is_caught() {
        planted::hunt(&FILTER, 2000);
    }
}

mod idempotency {
    use sluice_seeds::idempotency::FILTER;
    use sluice_seeds::{planted, sweep};

    #[test]
    fn no_seed_breaks_a_promise() {
        sweep::test(&FILTER, 2000);
    }

    #[test]
    fn every_planted_bug_is_caught() {
        planted::hunt(&FILTER, 2000);
    }
}

mod coalesce {
    use sluice_seeds::coalesce::FILTER;
    use sluice_seeds::{planted, sweep};

    #[test]
    fn no_seed_breaks_a_promise() {
        sweep::test(&FILTER, 2000);
    }

    #[test]
    fn every_planted_bug_is_caught() {
        planted::hunt(&FILTER, 2000);
    }
}
