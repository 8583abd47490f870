//! The etcd that holds the records, by its JSON gateway.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sluice_core::idempotency::etcd::record::{self, Record as InEtcd};
use sluice_core::idempotency::scope::Scope;
use sluice_core::idempotency::scripts::{Resolution, Resolved};
use sluice_core::idempotency::store::Kind;
use sluice_core::policy::idempotency::{Etcd as Named, Idempotency};

use super::environment;
use super::record::{Record, What};
use crate::Refusal;

/// In seconds.
const PATIENCE: u64 = 10;

/// So many keys are asked for at once.
const STEP: usize = 500;

pub struct Etcd {
    url: String,
    token: Option<String>,
}

/// A key, as it was at one moment.
struct Seen {
    name: Vec<u8>,
    value: Vec<u8>,
    /// The revisions that made and that changed it.
    created: u64,
    modified: u64,
    lease: String,
}

impl Etcd {
    /// With the policy's user, if it has one.
    pub fn connect(url: &str, named: &Named) -> Result<Self, Refusal> {
        let mut etcd = Self {
            url: url.trim_end_matches('/').to_owned(),
            token: None,
        };
        if let Some(login) = named.settings(environment).map_err(Refusal::No)?.login {
            let body = json!({"name": login.name, "password": login.password});
            etcd.token = Some(text(&etcd.ask("auth/authenticate", &body)?, "token")?);
        }
        Ok(etcd)
    }

    pub fn each(&self, policy: &Idempotency, see: &mut dyn FnMut(&Record)) -> Result<(), Refusal> {
        let keys = policy.keys();
        let first = format!("{}:idem:", keys.prefix).into_bytes();
        let mut end = first.clone();
        // Behind all that begin so.
        end.push(0x7f);
        let mut from = first;
        loop {
            let page = self.range(&json!({
                "key": STANDARD.encode(&from), "range_end": STANDARD.encode(&end), "limit": STEP,
            }))?;
            for seen in &page {
                if let Some(scope) = keys.scope(&seen.name) {
                    see(&seen.record(scope, None));
                }
            }
            match page.last() {
                Some(last) if page.len() == STEP => {
                    from.clone_from(&last.name);
                    from.push(0);
                }
                _ => return Ok(()),
            }
        }
    }

    pub fn find(&self, policy: &Idempotency, scope: &Scope) -> Result<Option<Record>, Refusal> {
        let Some(seen) = self.read(policy, scope)? else {
            return Ok(None);
        };
        let lease = self.ask("lease/timetolive", &json!({"ID": seen.lease}))?;
        // A lease of which nothing is left has less than none.
        let left = text(&lease, "TTL").ok().and_then(|ttl| ttl.parse().ok());
        Ok(Some(seen.record(*scope, left.map(Duration::from_secs))))
    }

    pub fn resolve(
        &self,
        policy: &Idempotency,
        (scope, fence): (&Scope, u64),
        force: bool,
        resolution: &Resolution,
    ) -> Result<Resolved, Refusal> {
        let Some(seen) = self.read(policy, scope)? else {
            return Ok(Resolved::Absent);
        };
        match seen.record(*scope, None).what {
            What::Corrupt => return Ok(Resolved::Corrupt),
            What::Completed { .. } => return Ok(Resolved::Completed),
            What::InFlight { .. } | What::Unknown { .. } if seen.created != fence => {
                return Ok(Resolved::Changed);
            }
            What::InFlight { lease_left } if !force => {
                return Ok(Resolved::InFlight { left: lease_left });
            }
            What::InFlight { .. } | What::Unknown { .. } => {}
        }
        let key = STANDARD.encode(&seen.name);
        let change = match resolution {
            Resolution::Free => json!({"request_delete_range": {"key": key}}),
            Resolution::Complete {
                kind,
                bytes,
                retention,
            } => {
                let seconds = retention.as_millis().div_ceil(1_000).to_string();
                let lease = text(&self.ask("lease/grant", &json!({"TTL": seconds}))?, "ID")?;
                let value = STANDARD.encode(seen.completed(*kind, bytes));
                json!({"request_put": {"key": key, "value": value, "lease": lease}})
            }
        };
        // As it was seen, or it is left alone.
        let compare = json!({
            "target": "MOD", "result": "EQUAL", "key": key,
            "mod_revision": seen.modified.to_string(),
        });
        let done = self.ask(
            "kv/txn",
            &json!({"compare": [compare], "success": [change]}),
        )?;
        Ok(match done.get("succeeded").and_then(Value::as_bool) {
            Some(true) => Resolved::Yes,
            _ => Resolved::Changed,
        })
    }

    fn read(&self, policy: &Idempotency, scope: &Scope) -> Result<Option<Seen>, Refusal> {
        let name = policy.keys().record(scope);
        let found = self.range(&json!({"key": STANDARD.encode(name)}))?;
        Ok(found.into_iter().next())
    }

    fn range(&self, body: &Value) -> Result<Vec<Seen>, Refusal> {
        let found = self.ask("kv/range", body)?;
        let all = found.get("kvs").and_then(Value::as_array);
        all.into_iter().flatten().map(Seen::read).collect()
    }

    fn ask(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        let mut request = minreq::post(format!("{}/v3/{path}", self.url))
            .with_timeout(PATIENCE)
            .with_body(body.to_string());
        if let Some(token) = &self.token {
            request = request.with_header("authorization", token);
        }
        let answer = request.send().map_err(away)?;
        let json: Option<Value> = serde_json::from_slice(answer.as_bytes()).ok();
        match (answer.status_code, json) {
            (200, Some(json)) => Ok(json),
            (status, json) => Err(away(
                match json.and_then(|json| text(&json, "message").ok()) {
                    Some(message) => message,
                    None => format!("found an answer with status {status}, expected one of etcd's"),
                },
            )),
        }
    }
}

impl Seen {
    fn read(kv: &Value) -> Result<Self, Refusal> {
        let number = |name: &str| text(kv, name)?.parse().map_err(away);
        let bytes = |name: &str| {
            STANDARD
                .decode(text(kv, name).unwrap_or_default())
                .map_err(away)
        };
        Ok(Self {
            name: bytes("key")?,
            value: bytes("value")?,
            created: number("create_revision")?,
            modified: number("mod_revision")?,
            lease: text(kv, "lease").unwrap_or_else(|_| "0".to_owned()),
        })
    }

    fn record(&self, scope: Scope, left: Option<Duration>) -> Record {
        let Some(found) = InEtcd::read(&self.value) else {
            return Record {
                scope,
                what: What::Corrupt,
                route: String::new(),
                key: String::new(),
                fence: None,
                token: None,
                started: None,
                left,
            };
        };
        let now = now();
        let (what, fence) = match found.what {
            record::What::Done { kind, bytes, .. } => {
                (What::Completed { kind, bytes }, found.fence)
            }
            record::What::Flight { ends, .. } => {
                let what = match ends.checked_sub(now).filter(|left| *left > 0) {
                    Some(left) => What::InFlight {
                        lease_left: Duration::from_micros(left),
                    },
                    None => What::Unknown {
                        since: Duration::from_micros(now - ends),
                    },
                };
                (what, Some(self.created))
            }
        };
        Record {
            scope,
            what,
            route: found.route,
            key: found.key,
            fence,
            token: None,
            started: found.started,
            left,
        }
    }

    /// The value of the record with an answer. Nobody's token is in it: what its holder commits later is refused.
    fn completed(&self, kind: Kind, bytes: &[u8]) -> Vec<u8> {
        let line = self.value.split(|byte| *byte == b'\n').next();
        let mut head: Value = serde_json::from_slice(line.unwrap_or_default()).unwrap_or_default();
        if let Some(fields) = head.as_object_mut() {
            fields.remove("token");
            fields.remove("lease");
            let state = match kind {
                Kind::Answer => "answer",
                Kind::Tombstone => "tombstone",
            };
            fields.insert("state".to_owned(), state.into());
            fields.insert("fence".to_owned(), self.created.into());
            fields.insert("done".to_owned(), now().into());
        }
        [head.to_string().as_bytes(), b"\n", bytes].concat()
    }
}

/// Microseconds since 1970: gateways write their clocks' into records.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

fn text(json: &Value, name: &str) -> Result<String, Refusal> {
    let text = json.get(name).and_then(Value::as_str);
    let missing = || away(format!("found no {name}, expected one in the answer"));
    text.map(str::to_owned).ok_or_else(missing)
}

fn away(why: impl std::fmt::Display) -> Refusal {
    Refusal::Away(format!("etcd: {why}"))
}
