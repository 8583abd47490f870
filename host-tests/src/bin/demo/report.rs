//! What the demo prints, and whether it came out as it should.

use std::fmt::{Debug, Display};

/// Prints scenarios and their checks, and remembers failures.
#[derive(Debug, Default)]
pub struct Report {
    scenarios: usize,
    checks: usize,
    failed: usize,
}

impl Report {
    /// Begins a scenario: what is about to happen, and the limits in force.
    pub fn scenario(&mut self, title: &str, limits: &[&str]) {
        self.scenarios += 1;
        println!("\n{}. {title}\n", self.scenarios);
        for limit in limits {
            println!("   limit    {limit}");
        }
    }

    /// Something worth seeing that is not checked.
    pub fn note(&self, label: &str, text: impl Display) {
        println!("   {label:<8} {text}");
    }

    /// Holds a number to what it has to be.
    pub fn equal<T: PartialEq + Debug>(&mut self, what: impl Display, found: T, expected: T) {
        let holds = found == expected;
        self.holds(what, holds, format!("{expected:?}"), format!("{found:?}"));
    }

    /// Prints whether it holds; if not, what was expected and what was found.
    pub fn holds(
        &mut self,
        what: impl Display,
        holds: bool,
        expected: impl Display,
        found: impl Display,
    ) {
        self.checks += 1;
        if holds {
            println!("   ok       {what}");
        } else {
            self.failed += 1;
            println!("   FAILED   {what}: expected {expected}, found {found}");
        }
    }

    /// The last line; false when anything failed.
    pub fn end(&self, seconds: f64) -> bool {
        let Self {
            scenarios,
            checks,
            failed,
        } = self;
        if *failed == 0 {
            println!("\nAll {checks} checks of {scenarios} scenarios hold ({seconds:.1} s).");
        } else {
            println!(
                "\nFAILED: {failed} of {checks} checks in {scenarios} scenarios ({seconds:.1} s)."
            );
        }
        *failed == 0
    }
}
