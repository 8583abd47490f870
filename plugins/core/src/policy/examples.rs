//! The worked examples, which the tests hold to the code.

/// Of one filter; the third uses everything that a policy can have at once.
pub(crate) type Examples = &'static [(&'static str, &'static str)];

pub(super) const RATE_LIMIT: Examples = &[
    (
        "rate-limit-minimal.json",
        include_str!("../../../../envoy-config/policies/rate-limit-minimal.json"),
    ),
    (
        "rate-limit-redis.json",
        include_str!("../../../../envoy-config/policies/rate-limit-redis.json"),
    ),
    (
        "rate-limit-full.json",
        include_str!("../../../../envoy-config/policies/rate-limit-full.json"),
    ),
];

pub(super) const COALESCE: Examples = &[
    (
        "coalesce-minimal.json",
        include_str!("../../../../envoy-config/policies/coalesce-minimal.json"),
    ),
    (
        "coalesce-shop.json",
        include_str!("../../../../envoy-config/policies/coalesce-shop.json"),
    ),
    (
        "coalesce-full.json",
        include_str!("../../../../envoy-config/policies/coalesce-full.json"),
    ),
];

pub(super) const IDEMPOTENCY: Examples = &[
    (
        "idempotency-minimal.json",
        include_str!("../../../../envoy-config/policies/idempotency-minimal.json"),
    ),
    (
        "idempotency-payments.json",
        include_str!("../../../../envoy-config/policies/idempotency-payments.json"),
    ),
    (
        "idempotency-full.json",
        include_str!("../../../../envoy-config/policies/idempotency-full.json"),
    ),
    (
        "idempotency-redlock.json",
        include_str!("../../../../envoy-config/policies/idempotency-redlock.json"),
    ),
    (
        "idempotency-etcd.json",
        include_str!("../../../../envoy-config/policies/idempotency-etcd.json"),
    ),
];

pub(crate) const SHARD_ROUTE: Examples = &[
    (
        "shard-route-minimal.json",
        include_str!("../../../../envoy-config/policies/shard-route-minimal.json"),
    ),
    (
        "shard-route-users.json",
        include_str!("../../../../envoy-config/policies/shard-route-users.json"),
    ),
    (
        "shard-route-full.json",
        include_str!("../../../../envoy-config/policies/shard-route-full.json"),
    ),
];
