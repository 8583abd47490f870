//! The checked-in schemas are the code's, the examples keep to them, and the full examples show all of them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::policy::examples::{self, Examples};

/// One filter's.
struct Filter {
    name: &'static str,
    generated: fn() -> String,
    checked_in: &'static str,
    examples: Examples,
}

const RATE_LIMIT: Filter = Filter {
    name: "rate-limit",
    generated: super::rate_limit,
    checked_in: include_str!("../../../../envoy-config/schemas/rate-limit.schema.json"),
    examples: examples::RATE_LIMIT,
};

const IDEMPOTENCY: Filter = Filter {
    name: "idempotency",
    generated: super::idempotency,
    checked_in: include_str!("../../../../envoy-config/schemas/idempotency.schema.json"),
    examples: examples::IDEMPOTENCY,
};

const COALESCE: Filter = Filter {
    name: "coalesce",
    generated: super::coalesce,
    checked_in: include_str!("../../../../envoy-config/schemas/coalesce.schema.json"),
    examples: examples::COALESCE,
};

const SHARD_ROUTE: Filter = Filter {
    name: "shard-route",
    generated: super::shard_route,
    checked_in: include_str!("../../../../envoy-config/schemas/shard-route.schema.json"),
    examples: examples::SHARD_ROUTE,
};

const FILTERS: [Filter; 4] = [RATE_LIMIT, IDEMPOTENCY, COALESCE, SHARD_ROUTE];

#[test]
fn the_checked_in_schemas_are_what_the_code_reads() {
    for filter in FILTERS {
        assert!(
            (filter.generated)() == filter.checked_in,
            "the policy has changed; regenerate its schema and look at the difference:\n\
             cargo run -q -p sluice-core --features schema --example schema {0} \
             > envoy-config/schemas/{0}.schema.json",
            filter.name
        );
    }
}

#[test]
fn every_example_is_valid() {
    for filter in FILTERS {
        for (name, example) in filter.examples {
            let checked = filter.check(example);
            assert_eq!(checked.problems, Vec::<String>::new(), "{name}");
        }
    }
}

/// What a policy has in place of something else: an example that is not the full one shows it.
const ELSEWHERE: [&str; 5] = [
    "ClientIp.trusted_hops",
    "Redis.redlock",
    "Redlock.",
    ".etcd",
    "Etcd.",
];

#[test]
fn the_full_examples_use_every_property_and_every_key_part() {
    for filter in FILTERS {
        let mut used = filter.check(filter.examples[2].1).used;
        for (_, other) in filter.examples {
            let elsewhere = filter.check(other).used.into_iter();
            used.extend(
                elsewhere.filter(|name| ELSEWHERE.iter().any(|other| name.starts_with(other))),
            );
        }
        let mut all = BTreeSet::new();
        let schema: Value = serde_json::from_str(filter.checked_in).unwrap();
        collect(&schema, &schema, "", &mut all);
        let missing: Vec<_> = all.difference(&used).collect();
        assert!(missing.is_empty(), "not in the full example: {missing:?}");
    }
}

#[test]
fn what_a_schema_refuses_is_noticed() {
    for (filter, policy, problem) in [
        (RATE_LIMIT, r#"{"limits": []}"#, "/limits: too short"),
        (RATE_LIMIT, r#"{"limits": [{}], "x": 1}"#, "/x: unknown"),
        (
            RATE_LIMIT,
            r#"{"limits": [{"name": "a b", "key": ["client_ip"], "rate": "1/s"}]}"#,
            "/limits/0/name: not of the pattern",
        ),
        (
            RATE_LIMIT,
            r#"{"limits": [{"name": "a", "key": ["client_ip"], "rate": "1/fortnight"}]}"#,
            "/limits/0/rate: no alternative fits",
        ),
        (IDEMPOTENCY, r#"{"etcd": {}}"#, "/etcd/cluster: missing"),
        (
            IDEMPOTENCY,
            r#"{"redis": {"cluster": "r", "on_error": "deny"}, "routes": []}"#,
            "/redis/on_error: unknown",
        ),
        (
            IDEMPOTENCY,
            r#"{"routes": [{"name": "a", "scope": ["consumer"], "store_statuses": ["6xx"]}]}"#,
            "/routes/0/store_statuses/0: no alternative fits",
        ),
        (COALESCE, r#"{"routes": []}"#, "/routes: too short"),
        (
            COALESCE,
            r#"{"routes": [{"name": "a", "early_refresh": 11}]}"#,
            "/routes/0/early_refresh: maximum",
        ),
    ] {
        let problems = filter.check(policy).problems;
        assert!(
            problems.iter().any(|p| p == problem),
            "{policy}: {problems:?}"
        );
    }
}

impl Filter {
    fn check(&self, policy: &str) -> Checker<'static> {
        let root: &'static Value =
            Box::leak(Box::new(serde_json::from_str(self.checked_in).unwrap()));
        let mut checker = Checker {
            root,
            problems: Vec::new(),
            used: BTreeSet::new(),
        };
        checker.check(root, &serde_json::from_str(policy).unwrap(), "", "");
        checker
    }
}

/// As much of JSON Schema as the schema uses; a keyword that is new to it is a failure.
struct Checker<'s> {
    root: &'s Value,
    problems: Vec<String>,
    /// `Definition.property`, and `Definition=constant`.
    used: BTreeSet<String>,
}

fn resolve<'s>(root: &'s Value, schema: &'s Value, owner: &str) -> (&'s Value, String) {
    match schema["$ref"].as_str().and_then(|r| r.strip_prefix('#')) {
        Some(pointer) => (
            root.pointer(pointer).unwrap(),
            pointer.rsplit('/').next().unwrap().to_owned(),
        ),
        None => (schema, owner.to_owned()),
    }
}

impl Checker<'_> {
    fn check(&mut self, schema: &Value, value: &Value, owner: &str, at: &str) {
        let (schema, owner) = resolve(self.root, schema, owner);
        for (keyword, rule) in schema.as_object().unwrap() {
            let fits = match (keyword.as_str(), value) {
                ("$defs" | "$schema" | "$ref" | "title" | "description" | "default", _)
                | ("required", _) => true,
                ("additionalProperties", Value::Object(_)) if rule.is_object() => {
                    self.object(schema, value, &owner, at);
                    true
                }
                ("additionalProperties", _) => true,
                ("type", _) => match rule.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64(),
                    "number" => value.is_number(),
                    other => panic!("unknown type {other}"),
                },
                ("const", _) => {
                    self.used.insert(format!("{owner}={rule}"));
                    rule == value
                }
                ("minimum", Value::Number(n)) => n.as_f64() >= rule.as_f64(),
                ("maximum", Value::Number(n)) => n.as_f64() <= rule.as_f64(),
                ("minItems", Value::Array(a)) => a.len() as u64 >= rule.as_u64().unwrap(),
                ("maxItems", Value::Array(a)) => a.len() as u64 <= rule.as_u64().unwrap(),
                ("minLength", Value::String(s)) => s.len() as u64 >= rule.as_u64().unwrap(),
                ("maxLength", Value::String(s)) => s.len() as u64 <= rule.as_u64().unwrap(),
                ("pattern", Value::String(s)) => {
                    let fits = regex_lite::Regex::new(rule.as_str().unwrap())
                        .unwrap()
                        .is_match(s);
                    if !fits {
                        self.problems.push(format!("{at}: not of the pattern"));
                    }
                    true
                }
                ("items", Value::Array(items)) => {
                    for (index, item) in items.iter().enumerate() {
                        self.check(rule, item, &owner, &format!("{at}/{index}"));
                    }
                    true
                }
                ("properties", Value::Object(_)) if !schema["additionalProperties"].is_object() => {
                    self.object(schema, value, &owner, at);
                    true
                }
                ("propertyNames", Value::Object(fields)) => {
                    for name in fields.keys() {
                        self.check(rule, &Value::String(name.clone()), &owner, at);
                    }
                    true
                }
                ("anyOf" | "oneOf", _) => {
                    self.alternative(rule, value, &owner, at);
                    true
                }
                (
                    "minimum" | "maximum" | "minItems" | "maxItems" | "minLength" | "maxLength",
                    _,
                )
                | ("pattern" | "items" | "properties" | "propertyNames", _) => true,
                (other, _) => panic!("unknown keyword {other}"),
            };
            if !fits {
                let problem = match keyword.as_str() {
                    "minItems" => "too short",
                    other => other,
                };
                self.problems.push(format!("{at}: {problem}"));
            }
        }
    }

    fn object(&mut self, schema: &Value, value: &Value, owner: &str, at: &str) {
        let fields = value.as_object().unwrap();
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            if !fields.contains_key(name) {
                self.problems.push(format!("{at}/{name}: missing"));
            }
        }
        for (name, field) in fields {
            let at = format!("{at}/{name}");
            let open = schema["additionalProperties"].as_object();
            match schema["properties"].get(name).or(
                // Of an object whose names the author chooses.
                open.map(|_| &schema["additionalProperties"]),
            ) {
                Some(property) => {
                    self.used.insert(format!("{owner}.{name}"));
                    self.check(property, field, &format!("{owner}.{name}"), &at);
                }
                None if schema["additionalProperties"] == false => {
                    self.problems.push(format!("{at}: unknown"));
                }
                None => panic!("{at}: open objects have no properties here"),
            }
        }
    }

    /// Goes on with the one that fits.
    fn alternative(&mut self, choices: &Value, value: &Value, owner: &str, at: &str) {
        for choice in choices.as_array().unwrap() {
            let mut trial = Checker {
                root: self.root,
                problems: Vec::new(),
                used: BTreeSet::new(),
            };
            trial.check(choice, value, owner, at);
            if trial.problems.is_empty() {
                self.used.append(&mut trial.used);
                return;
            }
        }
        self.problems.push(format!("{at}: no alternative fits"));
    }
}

/// Everything the schema knows that the full example has to show.
fn collect(root: &Value, schema: &Value, owner: &str, all: &mut BTreeSet<String>) {
    let (schema, owner) = resolve(root, schema, owner);
    if owner == "KeyPart"
        && let Some(constant) = schema.get("const")
    {
        all.insert(format!("{owner}={constant}"));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{owner}.{name}");
        // What has been seen is not walked again: a match may hold matches.
        if all.insert(path.clone()) {
            collect(root, property, &path, all);
        }
    }
    for keyword in ["anyOf", "oneOf"] {
        for choice in schema[keyword].as_array().into_iter().flatten() {
            collect(root, choice, &owner, all);
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(of_each) = schema.get(keyword).filter(|of_each| of_each.is_object()) {
            collect(root, of_each, &owner, all);
        }
    }
}
