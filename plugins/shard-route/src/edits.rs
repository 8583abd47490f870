//! What is done to requests, and the answers of our own.

use sluice_core::policy::shard_route::ShardRoute;
use sluice_core::shard::Directory;
use sluice_core::shard::decide::{self, Decision, Head, Refusal};
use sluice_host::message;

/// Sets what the decision says in the running request. False when that cannot be.
pub fn set_all(
    policy: &ShardRoute,
    directory: &Directory,
    decision: &Decision,
    head: &Head,
) -> bool {
    let names = &policy.headers;
    let shard = directory.name_of(decision.place.shard);
    let role = decision.role.map(decide::Role::name);
    let host = directory.host(decision.place.shard);
    let zone = head.zone.as_deref();
    let zone = zone.or_else(|| host.and_then(|host| host.zone.as_deref()));
    let other = decision.dual_write.map(|shard| directory.name_of(shard));
    let good = set(Some((names.shard.as_str(), shard)))
        && set(role.map(|role| (names.role.as_str(), role)))
        && set(zone.map(|zone| (names.zone.as_str(), zone)))
        && set(other.map(|other| (names.dual_write.as_str(), other)));
    if let Some(property) = &policy.log_property {
        let role = role.map_or(String::new(), |role| format!("/{role}"));
        let value = format!("{}/{shard}{role}", directory.name);
        message::set_property(property, value.as_bytes());
    }
    good
}

/// Sets one field of the running request, if there is one. False when it cannot be.
pub fn set(field: Option<(&str, &str)>) -> bool {
    field.is_none_or(|(name, value)| message::set_request_header(name.as_bytes(), value.as_bytes()))
}

/// Answers the stream whose context is in effect.
pub fn answer(refusal: Refusal) {
    let problem = refusal.problem;
    let details = format!("sluice_shard_route_{}", problem.name());
    let fields = problem.fields(refusal.retry_after);
    message::answer_bytes(problem.status(), &details, &fields, &problem.body());
}

/// The status of the running response.
pub fn status() -> Option<u16> {
    let headers = message::response_headers();
    let value = headers.first(":status")?;
    std::str::from_utf8(value).ok()?.parse().ok()
}
