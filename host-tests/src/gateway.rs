//! A gateway to test: Envoy with a filter, an origin behind it, and Redis beside it when the policy asks for one.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::client::{self, Client, Response};
use crate::config::Config;
use crate::envoy::Envoy;
use crate::etcd::Etcd;
use crate::origin::Origin;
use crate::ports;
use crate::redis::Redis;
use crate::redis_cluster::RedisCluster;
use crate::tls::Certificates;

/// How the filter reaches Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Not at all: `rate-limit.yaml`.
    None,
    /// A connection for each pipeline: `rate-limit-redis.yaml`.
    Direct,
    /// One connection for each worker, which stays open: `rate-limit-redis-stream.yaml`.
    Stream,
    /// Through `redis_proxy`: `rate-limit-redis-pooled.yaml`.
    Pooled,
    /// As `Direct`, with the idempotency filter: `idempotency.yaml`.
    Idempotency,
    /// As `Stream`, with the idempotency filter: `idempotency-redis-stream.yaml`.
    IdempotencyStream,
    /// As `Idempotency`, with three Redis that vote: `idempotency-redlock.yaml`.
    Redlock,
    /// With etcd in the place of Redis: `idempotency-etcd.yaml`.
    Etcd,
    /// Not at all, with the coalescing filter: `coalesce.yaml`.
    Coalesce,
    /// As `Direct`, with the coalescing filter and its guards: `coalesce-bloom.yaml`.
    CoalesceBloom,
    /// As `Direct`, with the coalescing filter and flights of the fleet: `coalesce-fleet.yaml`.
    CoalesceFleet,
    /// Without Redis, with the shard-route filter and its shards: `shard-route.yaml`.
    ShardRoute,
}

impl Route {
    /// The example that goes this way.
    #[must_use]
    pub fn example(self) -> &'static str {
        match self {
            Self::None => "rate-limit.yaml",
            Self::Direct => "rate-limit-redis.yaml",
            Self::Stream => "rate-limit-redis-stream.yaml",
            Self::Pooled => "rate-limit-redis-pooled.yaml",
            Self::Idempotency => "idempotency.yaml",
            Self::IdempotencyStream => "idempotency-redis-stream.yaml",
            Self::Redlock => "idempotency-redlock.yaml",
            Self::Etcd => "idempotency-etcd.yaml",
            Self::Coalesce => "coalesce.yaml",
            Self::CoalesceBloom => "coalesce-bloom.yaml",
            Self::CoalesceFleet => "coalesce-fleet.yaml",
            Self::ShardRoute => "shard-route.yaml",
        }
    }
}

/// The clusters of the Redis that vote.
const VOTERS: [&str; 3] = ["redis-a", "redis-b", "redis-c"];

type Edit = Box<dyn FnOnce(&mut Config)>;

/// What a gateway is started with. Without a word: one worker, the example's policy, an origin of its own, no Redis.
pub struct Builder {
    route: Route,
    workers: usize,
    wasm: Option<String>,
    policy: Option<String>,
    redis: Vec<SocketAddr>,
    alternatives: Vec<&'static str>,
    origin: Option<Arc<Origin>>,
    environment: Vec<(String, String)>,
    edits: Vec<Edit>,
}

impl Builder {
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// The policy, instead of the example's.
    #[must_use]
    pub fn policy(mut self, json: impl ToString) -> Self {
        self.policy = Some(json.to_string());
        self
    }

    /// Another built filter, for example `noop`, instead of the example's.
    #[must_use]
    pub fn wasm(mut self, name: &str) -> Self {
        self.wasm = Some(name.to_owned());
        self
    }

    /// The Redis to use, by its plain port.
    #[must_use]
    pub fn redis(self, redis: &Redis) -> Self {
        self.redis_at(&[redis.address()])
    }

    /// The Redis Cluster to use; on the pooled route only.
    #[must_use]
    pub fn redis_cluster(self, cluster: &RedisCluster) -> Self {
        let nodes: Vec<SocketAddr> = cluster.nodes().iter().map(Redis::address).collect();
        self.redis_at(&nodes).alternative("cluster")
    }

    /// The Redis to use, by its TLS port.
    #[must_use]
    pub fn redis_tls(self, redis: &Redis) -> Self {
        let authority = redis.certificates().authority();
        self.redis_at(&[([127, 0, 0, 1], redis.tls_port()).into()])
            .alternative("tls")
            .edit(move |config| config.trusted_authority("redis", &authority))
    }

    /// The etcd to use, in the place of Redis; with TLS if it speaks that.
    #[must_use]
    pub fn etcd(self, etcd: &Etcd) -> Self {
        let builder = self.route(Route::Etcd).redis_at(&[etcd.address()]);
        match etcd.certificates().map(Certificates::authority) {
            None => builder,
            Some(authority) => builder
                .alternative("tls")
                .edit(move |config| config.trusted_authority("etcd", &authority)),
        }
    }

    /// Whatever listens there, for example a [`crate::fake_redis::FakeRedis`].
    #[must_use]
    pub fn redis_at(mut self, addresses: &[SocketAddr]) -> Self {
        self.redis = addresses.to_vec();
        self
    }

    /// Switches on one of the example's alternatives (lines that start with `#NAME `).
    #[must_use]
    pub fn alternative(mut self, name: &'static str) -> Self {
        self.alternatives.push(name);
        self
    }

    /// An origin that several gateways share.
    #[must_use]
    pub fn origin(mut self, origin: &Arc<Origin>) -> Self {
        self.origin = Some(Arc::clone(origin));
        self
    }

    /// An environment variable of Envoy.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Any other change of the configuration, made last.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(&mut Config) + 'static) -> Self {
        self.edits.push(Box::new(edit));
        self
    }

    /// Starts Envoy and waits until it is ready.
    ///
    /// # Panics
    /// With its log, when it does not start.
    #[must_use]
    pub fn start(mut self) -> Gateway {
        let (address, origin, config) = self.prepare();
        Gateway {
            envoy: Envoy::start(config, self.workers, &self.environment),
            address,
            origin,
        }
    }

    /// Starts Envoy with what it should refuse, such as a policy with a mistake.
    ///
    /// # Errors
    /// Its log, when it ends instead of becoming ready.
    pub fn try_start(mut self) -> Result<Gateway, String> {
        let (address, origin, config) = self.prepare();
        Ok(Gateway {
            envoy: Envoy::try_start(config, self.workers, &self.environment)?,
            address,
            origin,
        })
    }

    fn prepare(&mut self) -> (SocketAddr, Arc<Origin>, Config) {
        let address: SocketAddr = ([127, 0, 0, 1], ports::free()).into();
        let origin = self
            .origin
            .take()
            .unwrap_or_else(|| Arc::new(Origin::start()));
        let mut config = Config::example_with(self.route.example(), &self.alternatives);
        config.listener_port("gateway", address.port());
        config.endpoints("origin", &[origin.address()]);
        if self.route == Route::Redlock {
            for (name, address) in VOTERS.iter().zip(&self.redis) {
                config.endpoints(name, &[*address]);
            }
        } else if match self.route {
            Route::None | Route::Coalesce => false,
            // For the alternative `refresh`.
            Route::ShardRoute => !self.redis.is_empty(),
            _ => true,
        } {
            assert!(
                !self.redis.is_empty(),
                "the route {:?} needs a store",
                self.route
            );
            let cluster = match self.route {
                Route::Etcd => "etcd",
                _ => "redis",
            };
            config.endpoints(cluster, &self.redis);
        }
        if let Some(policy) = &self.policy {
            config.policy(policy);
        }
        if let Some(name) = &self.wasm {
            config.wasm(name);
        }
        for edit in self.edits.drain(..) {
            edit(&mut config);
        }
        (address, origin, config)
    }
}

/// A running gateway; dropping it kills its Envoy.
#[derive(Debug)]
pub struct Gateway {
    envoy: Envoy,
    address: SocketAddr,
    origin: Arc<Origin>,
}

impl Gateway {
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            route: Route::None,
            workers: 1,
            wasm: None,
            policy: None,
            redis: Vec::new(),
            alternatives: Vec::new(),
            origin: None,
            environment: Vec::new(),
            edits: Vec::new(),
        }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// GET on a connection of its own.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.client()
            .get(path, headers)
            .expect("the gateway answers")
    }

    /// A connection that is kept.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// `clients` connections at once, each asking `each` times for `path` with `headers`; the statuses in any order.
    #[must_use]
    pub fn blast(
        &self,
        clients: usize,
        each: usize,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Vec<u16> {
        let headers: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        client::blast(self.address, clients, each, |_, _| {
            (path.to_owned(), headers.clone())
        })
    }

    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    #[must_use]
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// To kill it or to start it again.
    pub fn envoy_mut(&mut self) -> &mut Envoy {
        &mut self.envoy
    }
}
