//! The worked examples, which the tests hold to the code.

pub(super) const FULL: &str =
    include_str!("../../../../envoy-config/policies/rate-limit-full.json");

pub(super) const ALL: [(&str, &str); 3] = [
    (
        "rate-limit-minimal.json",
        include_str!("../../../../envoy-config/policies/rate-limit-minimal.json"),
    ),
    (
        "rate-limit-redis.json",
        include_str!("../../../../envoy-config/policies/rate-limit-redis.json"),
    ),
    ("rate-limit-full.json", FULL),
];
