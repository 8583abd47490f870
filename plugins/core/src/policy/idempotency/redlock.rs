//! How a policy says that several Redis vote.

use serde::Deserialize;

use crate::policy::redis::json::ClusterName;

/// All of them, the first one too.
const MAX_STORES: usize = 7;

/// Several Redis that know nothing of each other (no replicas of each other, no Redis Cluster), of which more than half
/// must have a record before it counts. The other fields of `redis` hold for each of them.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Redlock"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"others\": [\"redis-b\", \"redis-c\"]}"
)]
pub(super) struct RedlockJson {
    /// The gateway's clusters that lead to the Redis besides `redis.cluster`: 2, 4 or 6 of them, each a Redis of its own.
    #[cfg_attr(feature = "schema", schemars(length(min = 2, max = 6)))]
    others: Vec<ClusterName>,
}

impl RedlockJson {
    /// The clusters besides the `first` one.
    ///
    /// # Errors
    /// The field at fault, and what is wrong.
    pub(super) fn compile(self, first: &str) -> Result<Vec<String>, (String, String)> {
        let names: Vec<String> = self.others.into_iter().map(|name| name.0).collect();
        let all = names.len() + 1;
        if !(3..=MAX_STORES).contains(&all) || all.is_multiple_of(2) {
            let problem = format!(
                "found {}, expected 2, 4 or 6: with `cluster` an odd number, since one more bears no more failures",
                names.len()
            );
            return Err(("redlock.others".to_owned(), problem));
        }
        for (index, name) in names.iter().enumerate() {
            if name == first || names.iter().take(index).any(|other| other == name) {
                let problem = format!(
                    "found {name:?}, which has a vote already, expected a cluster of its own"
                );
                return Err((format!("redlock.others[{index}]"), problem));
            }
        }
        Ok(names)
    }
}
