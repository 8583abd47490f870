//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sluice_core::units::parse_duration;

/// Sluice's tool for operators.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Says whether a filter would take a policy, and if not, why
    Check {
        /// Whose policy it is
        filter: Filter,
        /// The policy, a JSON file
        file: PathBuf,
    },
    /// Lists, shows and resolves records of idempotency keys
    Idem {
        #[command(subcommand)]
        command: Box<Idem>,
    },
    /// Says where keys are, what a change of the shards moves, and how even they are; publishes tables
    Shard {
        #[command(subcommand)]
        command: Shard,
    },
    /// Builds the filters of ids that exist, and adds ids to them
    Bloom {
        #[command(subcommand)]
        command: Bloom,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Filter {
    Coalesce,
    RateLimit,
    Idempotency,
    ShardRoute,
}

#[derive(Debug, Subcommand)]
pub enum Shard {
    /// Says where a key is, and why
    Explain {
        /// The policy, a JSON file
        #[arg(long)]
        policy: PathBuf,
        /// The key, as a client writes it
        #[arg(long)]
        key: String,
        /// The table; may be left out if there is one
        #[arg(long)]
        table: Option<String>,
    },
    /// Says which slots move from one policy to another, and what part that is
    Plan {
        /// The policy as it is
        #[arg(long)]
        from: PathBuf,
        /// The policy as it is to be; without it, what the first one's migration leads to
        #[arg(long)]
        to: Option<PathBuf>,
        /// The table; may be left out if there is one
        #[arg(long)]
        table: Option<String>,
    },
    /// Publishes the tables of a policy in Redis, for gateways to take while they run
    Publish {
        /// The policy, a JSON file with `refresh`: its tables and their version are published
        #[arg(long)]
        policy: PathBuf,
        /// Redis, as `redis://user:password@host:port/database`.
        /// Without a password here the policy's is used, if its variable is set
        #[arg(
            long,
            env = "SLUICE_REDIS_URL",
            hide_env_values = true,
            default_value = "redis://127.0.0.1:6379"
        )]
        redis: String,
    },
    /// Says how a list of keys is spread over the shards
    Skew {
        /// The policy, a JSON file
        #[arg(long)]
        policy: PathBuf,
        /// A file with a key in each line: one for each request, or one for each user
        #[arg(long)]
        keys: PathBuf,
        /// The table; may be left out if there is one
        #[arg(long)]
        table: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Bloom {
    /// Builds a filter from a list of all ids that exist at standard input, one in each line
    Build {
        #[command(flatten)]
        place: Where,
        /// The part of the ids that do not exist that may pass all the same
        #[arg(long, default_value = "0.001", value_parser = rate)]
        rate: f64,
        /// For how many ids it is made; by default a tenth more than there are
        #[arg(long)]
        capacity: Option<u64>,
        /// Although the list has less than half of the ids of the filter that is there
        #[arg(long)]
        shrink: bool,
    },
    /// Adds ids that have come into being
    Add {
        #[command(flatten)]
        place: Where,
        /// The ids; without any, standard input has one in each line
        ids: Vec<String>,
    },
}

/// Where the filter of a guard is.
#[derive(Debug, Args)]
pub struct Where {
    /// Redis, as `redis://user:password@host:port/database`; of a Redis Cluster, the primary that has the key
    #[arg(
        long,
        env = "SLUICE_REDIS_URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379"
    )]
    pub redis: String,
    /// The guard's `key` in the policy, or its name if it has none
    #[arg(long)]
    pub key: String,
    /// The policy's `redis.key_prefix`
    #[arg(long, default_value = "sluice")]
    pub prefix: String,
}

#[derive(Debug, Subcommand)]
pub enum Idem {
    /// Lists records: those that are unknown or in flight, unless told otherwise
    List {
        #[command(flatten)]
        store: Store,
        /// Only records in this state; may be given several times
        #[arg(long)]
        state: Vec<State>,
        /// Only records of this route
        #[arg(long)]
        route: Option<String>,
        /// One JSON object for each record
        #[arg(long)]
        json: bool,
    },
    /// Shows one record, and the answer it holds
    Show {
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        which: Which,
        /// Writes the answer's body to this file instead of saying how long it is
        #[arg(long)]
        body: Option<PathBuf>,
    },
    /// Says of a request of which nobody knows whether it was carried out that it was, or was not
    Resolve {
        #[command(flatten)]
        store: Store,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        word: Word,
        /// Although its lease still runs: its gateway may be waiting for an answer right now
        #[arg(long)]
        in_flight: bool,
        /// Does not ask first
        #[arg(long)]
        yes: bool,
    },
}

/// Where records are.
#[derive(Debug, Args)]
pub struct Store {
    /// The policy of the gateways whose records these are
    #[arg(long)]
    pub policy: PathBuf,
    /// Redis, as `redis://user:password@host:port/database`; for a Redis Cluster, each of its primaries;
    /// with `redlock`, each Redis that votes.
    /// Without a password here the policy's is used, if its variable is set
    #[arg(
        long,
        env = "SLUICE_REDIS_URL",
        hide_env_values = true,
        value_delimiter = ',',
        default_value = "redis://127.0.0.1:6379"
    )]
    pub redis: Vec<String>,
    /// etcd, where the policy has its records there, as `http://host:port`: a member's client port.
    /// User and password are the policy's
    #[arg(long, env = "SLUICE_ETCD_URL", default_value = "http://127.0.0.1:2379")]
    pub etcd: String,
}

/// Which record.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Which {
    /// The record, as `list` shows it: 64 digits
    #[arg(conflicts_with_all = ["route", "scope", "key"])]
    pub record: Option<String>,
    /// The route's name in the policy
    #[arg(long, requires = "key")]
    pub route: Option<String>,
    /// The value of a part of the route's scope; once for each part, in order
    #[arg(long, requires = "key")]
    pub scope: Vec<String>,
    /// The client's key, without quotes
    #[arg(long, requires = "route")]
    pub key: Option<String>,
}

/// What an operator knows.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Word {
    /// It was carried out, with this status: retries get that answer from now on
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..=599), group = "end")]
    pub completed: Option<u16>,
    /// It was carried out, and its answer is lost: retries are told so, with this status
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..=599), group = "end")]
    pub lost: Option<u16>,
    /// It was not carried out: the next request with the key is
    #[arg(long, group = "end")]
    pub free: bool,
    /// A header field of the answer, as `name: value`; may be given several times
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["free", "lost"], value_parser = field)]
    pub header: Vec<(String, String)>,
    /// A file with the answer's body; none: it is empty
    #[arg(long, value_name = "FILE", conflicts_with_all = ["free", "lost"])]
    pub body: Option<PathBuf>,
    /// How long retries get it, such as `7d`; by default the route's retention
    #[arg(long, value_parser = duration, conflicts_with = "free")]
    pub retention: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Nobody knows whether it was carried out
    Unknown,
    /// It is being carried out
    InFlight,
    /// It has an answer, or the word that its answer is lost
    Completed,
    /// It cannot be read
    Corrupt,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    rate.filter(|rate| (0.000_001..=0.5).contains(rate))
        .ok_or_else(|| "expected a number from 0.000001 to 0.5".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "expected a duration such as 30s, 5m or 7d".to_owned())
}

fn field(text: &str) -> Result<(String, String), String> {
    let expected = || "expected a header field such as `content-type: text/plain`".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(expected)?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let plain = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    if name.is_empty() || !name.bytes().all(token) || !value.bytes().all(plain) {
        return Err(expected());
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn fields_cannot_smuggle_others() {
        let ok = field("X-Charge:  17 ").unwrap();
        assert_eq!(ok, ("x-charge".to_owned(), "17".to_owned()));
        for wrong in ["x", ": 1", "x y: 1", "x: 1\r\ny: 2", "x: \0"] {
            assert!(field(wrong).is_err(), "{wrong:?}");
        }
    }
}
