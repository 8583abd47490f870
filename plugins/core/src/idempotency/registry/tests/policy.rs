//! The policy that tests start from.

use crate::gcra::{PS_PER_S, Ps};
use crate::idempotency::redis_store::RedisStore;
use crate::idempotency::seal::AtRest;
use crate::idempotency::settings::*;
use crate::redis::breaker;
use crate::redis::pipe::{Framing, Limits, Login};
use std::time::Duration;

pub const MS: Ps = PS_PER_S / 1000;
pub const TIMEOUT: Ps = 100 * MS;
pub const LEASE: Ps = 5 * PS_PER_S;

pub fn route() -> Route {
    Route {
        name: "pay".into(),
        required: true,
        key_mode: KeyMode::Strict,
        retention: Duration::from_secs(86_400),
        lease: Duration::from_secs(5),
        execution: Duration::from_secs(60),
        wait: Duration::ZERO,
        statuses: vec![(100, 599)],
        max_request_body: 1000,
        max_response_body: 1000,
        headers: HeaderFilter::Deny(vec![]),
        on_store_error: OnStoreError::Closed,
        on_commit_error: OnCommitError::Strict,
        on_timeout: OnTimeout::Unknown,
        dry_run: false,
        outbox: None,
    }
}

pub fn settings(route: Route) -> Settings {
    Settings {
        routes: vec![route],
        key_prefix: "t".into(),
        timeout: TIMEOUT,
        breaker: breaker::Settings {
            failures: 0,
            open_for: TIMEOUT,
        },
        store: Store::Redis(Redis {
            login: Login::default(),
            limits: Limits {
                max_commands: 8,
                max_bytes: 1 << 20,
                in_flight: 2,
                framing: Framing::Whole,
            },
            durability: None,
        }),
        at_rest: AtRest::default(),
        partitions: 1,
        fence_header: Some("idempotency-fence".into()),
        commit_order: CommitOrder::BeforeHeaders,
        max_open: 50,
        max_held: 1 << 20,
        memory: Memory {
            max_bytes: 1 << 20,
            trusted_for: 0,
        },
        gateway_buffer: 4_000,
    }
}

/// How the one Redis of the settings is used.
pub fn redis(settings: &mut Settings) -> &mut Redis {
    match &mut settings.store {
        Store::Redis(redis) => redis,
        Store::Etcd(etcd) => panic!("{etcd:?}"),
    }
}

/// One worker's records in Redis.
pub fn redis_store(settings: &Settings) -> RedisStore {
    RedisStore::new(settings, redis(&mut settings.clone())).remembering(settings.memory)
}
