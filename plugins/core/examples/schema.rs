//! Prints the JSON Schema of a filter's policy, as `envoy-config/schemas/` holds it.

use sluice_core::policy::schema;
use std::process::ExitCode;

fn main() -> ExitCode {
    let schema = match std::env::args().nth(1).as_deref() {
        Some("rate-limit") => schema::rate_limit(),
        Some("coalesce") => schema::coalesce(),
        Some("idempotency") => schema::idempotency(),
        Some("shard-route") => schema::shard_route(),
        other => {
            let found = other.unwrap_or("nothing");
            eprintln!(
                "found {found}, expected `coalesce`, `idempotency`, `rate-limit` or `shard-route`"
            );
            return ExitCode::FAILURE;
        }
    };
    print!("{schema}");
    ExitCode::SUCCESS
}
