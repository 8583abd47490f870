//! An etcd as far as records need one: transactions on single keys, leases, and logins. That it answers as a real one is
//! shown by the suite of stores, which is held against both.

use super::super::{Login, Reply, Request};
use crate::gcra::{PS_PER_S, Ps};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kv {
    pub value: Vec<u8>,
    pub created: u64,
    pub modified: u64,
    lease: i64,
}

#[derive(Default)]
pub struct Model {
    pub revision: u64,
    pub keys: BTreeMap<Vec<u8>, Kv>,
    /// When each ends.
    pub leases: BTreeMap<i64, Ps>,
    /// Leases that were ever granted.
    pub granted: i64,
    /// Whom it knows, if it asks.
    pub login: Option<Login>,
    /// The token that is good now.
    pub token: u64,
    /// Logins so far.
    pub logins: u64,
}

/// A status and a body.
pub type Answer = (u16, Vec<u8>);

pub fn reply(answer: &Answer) -> Reply<'_> {
    Reply {
        status: answer.0,
        body: &answer.1,
    }
}

pub fn refusal(status: u16, code: u32, message: &str) -> Answer {
    let body = json!({"error": message, "message": message, "code": code});
    (status, body.to_string().into_bytes())
}

impl Model {
    pub fn answer(&mut self, request: &Request, now: Ps) -> Answer {
        self.expire(now);
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let token = self.token.to_string();
        if request.path == "/v3/auth/authenticate" {
            let known = self.login.as_ref();
            if known
                .is_none_or(|login| body != json!({"name": login.name, "password": login.password}))
            {
                let message = "etcdserver: authentication failed, invalid user ID or password";
                return refusal(400, 3, message);
            }
            self.logins += 1;
            return (200, json!({"token": token}).to_string().into_bytes());
        }
        if self.login.is_some() && request.authorization.as_ref() != Some(&token) {
            return refusal(401, 16, "etcdserver: invalid auth token");
        }
        match request.path {
            "/v3/lease/grant" => {
                self.granted += 1;
                let seconds: u64 = body["TTL"].as_str().unwrap().parse().unwrap();
                let end = now + Ps::from(seconds) * PS_PER_S;
                self.leases.insert(self.granted, end);
                let id = self.granted.to_string();
                let answer = json!({"header": self.header(), "ID": id, "TTL": seconds.to_string()});
                (200, answer.to_string().into_bytes())
            }
            "/v3/kv/txn" => self.txn(&body),
            other => panic!("{other}"),
        }
    }

    fn header(&self) -> Value {
        json!({"cluster_id": "1", "revision": self.revision.to_string()})
    }

    fn expire(&mut self, now: Ps) {
        let over = self.leases.iter().filter(|(_, end)| **end <= now);
        for lease in over.map(|(lease, _)| *lease).collect::<Vec<_>>() {
            self.leases.remove(&lease);
            self.keys.retain(|_, kv| kv.lease != lease);
            self.revision += 1;
        }
    }

    fn txn(&mut self, body: &Value) -> Answer {
        let list = |name: &str| body[name].as_array().unwrap().clone();
        let holds = list("compare").iter().all(|compare| self.holds(compare));
        let steps = list(if holds { "success" } else { "failure" });
        let puts = steps
            .iter()
            .filter_map(|step| step["request_put"]["lease"].as_str());
        for lease in puts
            .map(|lease| lease.parse().unwrap())
            .collect::<Vec<i64>>()
        {
            if !self.leases.contains_key(&lease) {
                return refusal(404, 5, "etcdserver: requested lease not found");
            }
        }
        let responses: Vec<Value> = steps.iter().map(|step| self.step(step)).collect();
        let mut answer = json!({"header": self.header()});
        if holds {
            answer["succeeded"] = true.into();
        }
        if !responses.is_empty() {
            answer["responses"] = responses.into();
        }
        (200, answer.to_string().into_bytes())
    }

    fn holds(&self, compare: &Value) -> bool {
        let kv = self.keys.get(&bytes(&compare["key"]));
        match (compare["target"].as_str(), compare["result"].as_str(), kv) {
            (Some("CREATE"), Some("EQUAL"), kv) => {
                let created = kv.map_or(0, |kv| kv.created);
                compare["create_revision"].as_str() == Some(&*created.to_string())
            }
            (Some("VALUE"), _, None) => false,
            (Some("VALUE"), Some("GREATER"), Some(kv)) => kv.value > bytes(&compare["value"]),
            (Some("VALUE"), Some("LESS"), Some(kv)) => kv.value < bytes(&compare["value"]),
            other => panic!("{other:?}"),
        }
    }

    fn step(&mut self, step: &Value) -> Value {
        let (kind, what) = step.as_object().unwrap().iter().next().unwrap();
        let key = bytes(&what["key"]);
        match kind.as_str() {
            "request_put" => {
                self.revision += 1;
                let created = self.keys.get(&key).map_or(self.revision, |kv| kv.created);
                let kv = Kv {
                    value: bytes(&what["value"]),
                    created,
                    modified: self.revision,
                    lease: what["lease"].as_str().unwrap().parse().unwrap(),
                };
                self.keys.insert(key, kv);
                json!({"response_put": {"header": self.header()}})
            }
            "request_delete_range" => {
                self.revision += u64::from(self.keys.remove(&key).is_some());
                json!({"response_delete_range": {"deleted": "1"}})
            }
            "request_range" => {
                let Some(kv) = self.keys.get(&key) else {
                    return json!({"response_range": {"header": self.header()}});
                };
                let mut found = json!({
                    "key": what["key"],
                    "create_revision": kv.created.to_string(),
                    "mod_revision": kv.modified.to_string(),
                    "lease": kv.lease.to_string(),
                });
                if what["keys_only"] != true {
                    found["value"] = STANDARD.encode(&kv.value).into();
                }
                json!({"response_range": {"kvs": [found], "count": "1"}})
            }
            other => panic!("{other}"),
        }
    }
}

fn bytes(text: &Value) -> Vec<u8> {
    STANDARD.decode(text.as_str().unwrap()).unwrap()
}
