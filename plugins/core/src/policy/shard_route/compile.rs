//! The checks that need more than one field, each error with the path of the field to change.

use std::sync::Arc;

use super::fill::{self, unknown};
use super::json::{
    ByJson, FallbackJson, HeadersJson, PolicyJson, READS, RoleJson, RouteJson, StickyJson, ZoneJson,
};
use super::{
    Body, By, Fallback, OutputHeaders, RoleRule, Route, ShardRoute, Sticky, TableRules, Target,
    Zone, ps,
};
use crate::policy::PolicyError;
use crate::policy::text::{FRAMING, Name};
use crate::policy::value::Text;

/// More tables than this in one policy are a mistake.
const MAX_TABLES: usize = 64;

pub(super) fn policy(json: PolicyJson) -> Result<ShardRoute, PolicyError> {
    let headers = headers(json.headers)
        .map_err(|(field, problem)| PolicyError::new(format!("headers.{field}"), problem))?;
    if json.tables.0.len() > MAX_TABLES {
        let problem = format!(
            "found {} tables, expected at most {MAX_TABLES}",
            json.tables.0.len()
        );
        return Err(PolicyError::new("tables", problem));
    }
    let mut tables: Vec<TableRules> = Vec::with_capacity(json.tables.0.len());
    for (name, table) in json.tables.0 {
        if Name::parse(&name).is_err() {
            let problem = format!("found {name:?}, expected {}", Name::expected());
            return Err(PolicyError::new("tables", problem));
        }
        let (directory, cap) = fill::compile(&name, table).map_err(|(field, problem)| {
            PolicyError::new(format!("tables.{name}.{field}"), problem)
        })?;
        tables.push(TableRules {
            directory,
            cap,
            remember: Arc::default(),
        });
    }
    let mut routes: Vec<Route> = Vec::with_capacity(json.routes.len());
    for (index, route) in json.routes.into_iter().enumerate() {
        let path = format!("routes[{index}]");
        let name = &route.name.0;
        if let Some(twin) = routes.iter().position(|other| other.name == *name) {
            return Err(PolicyError::new(
                format!("{path}.name"),
                format!("found {name:?}, the name of routes[{twin}], expected a name of its own"),
            ));
        }
        routes
            .push(compile_route(route, &tables).map_err(|(field, problem)| {
                PolicyError::new(format!("{path}.{field}"), problem)
            })?);
    }
    let refresh = match (json.refresh, json.redis) {
        (Some(refresh), Some(redis)) => {
            let redis = redis
                .compile()
                .map_err(|(field, problem)| PolicyError::new(format!("redis.{field}"), problem))?;
            Some(refresh.compile(redis))
        }
        (None, None) => None,
        (refresh, _) => {
            let (there, missing) = match refresh {
                Some(_) => ("refresh", "redis"),
                None => ("redis", "refresh"),
            };
            let problem = format!("found this without `{missing}`, expected both or neither");
            return Err(PolicyError::new(there, problem));
        }
    };
    Ok(ShardRoute {
        headers,
        tables,
        routes,
        client_ip: json.client_ip,
        clear_route_cache: json.clear_route_cache,
        log_property: json.log_property.map(|name| name.0),
        refresh,
    })
}

/// The field at fault, and what is wrong.
type Mistake = (String, String);

fn mistake<T>(field: &str, problem: impl Into<String>) -> Result<T, Mistake> {
    Err((field.to_owned(), problem.into()))
}

fn headers(json: HeadersJson) -> Result<OutputHeaders, Mistake> {
    let fields = [
        ("shard", &json.shard),
        ("role", &json.role),
        ("zone", &json.zone),
        ("dual_write", &json.dual_write),
    ];
    for (index, (field, name)) in fields.iter().enumerate() {
        let name = name.0.as_str();
        if FRAMING.contains(&name) || name == "host" {
            let problem = format!("found {name:?}, expected none that frames the message");
            return mistake(field, problem);
        }
        let twin = fields.iter().take(index).find(|(_, other)| other.0 == name);
        if let Some((twin, _)) = twin {
            let problem = format!("found {name:?}, the name of `{twin}`, expected one of its own");
            return mistake(field, problem);
        }
    }
    Ok(OutputHeaders {
        shard: json.shard.0,
        role: json.role.0,
        zone: json.zone.0,
        dual_write: json.dual_write.0,
    })
}

fn compile_route(json: RouteJson, tables: &[TableRules]) -> Result<Route, Mistake> {
    let zone = match json.zone {
        ZoneJson::Shard => Zone::Shard,
        ZoneJson::Fixed(name) => Zone::Fixed(name.0),
        ZoneJson::Environment(variable) => Zone::Environment {
            variable: variable.0,
            value: None,
        },
        ZoneJson::Header(header) => Zone::Header {
            name: header.name.0,
            zones: header
                .zones
                .0
                .into_iter()
                .map(|(value, zone)| (value, zone.0))
                .collect(),
            default: header.default.map(|zone| zone.0),
        },
    };
    let Some(name) = json.table else {
        if zone == Zone::Shard {
            return mistake(
                "table",
                "found nothing, expected a table, or a `zone` that needs none",
            );
        }
        for (field, there) in [
            ("key", json.key.is_some()),
            ("body", json.body.is_some()),
            ("role", json.role.is_some()),
        ] {
            if there {
                return mistake(
                    field,
                    "found this without `table`, expected both or neither",
                );
            }
        }
        return Ok(Route {
            name: json.name.0,
            matcher: json.matcher,
            target: None,
            zone,
        });
    };
    let table = tables
        .iter()
        .position(|table| table.directory.name == name.0);
    let Some((table, rules)) = table.and_then(|place| Some((place, tables.get(place)?))) else {
        let known: Vec<&str> = tables
            .iter()
            .map(|table| table.directory.name.as_str())
            .collect();
        let known = match known.as_slice() {
            [] => "one of `tables`, which is empty".to_owned(),
            known => format!("one of `tables`: `{}`", known.join("`, `")),
        };
        return mistake("table", format!("found {:?}, expected {known}", name.0));
    };
    if json.key.is_none() && json.body.is_none() {
        return mistake("key", "found nothing, expected `key` or `body`");
    }
    let mut key = json.key;
    if let Some(key) = &mut key {
        key.bind(&json.matcher)
            .map_err(|(part, problem)| (format!("key[{part}].path"), problem))?;
    }
    let mut reads = json.reads;
    reads.default_methods(&READS);
    let fallback = |field: &str, json: FallbackJson| match json {
        FallbackJson::Reject => Ok(Fallback::Reject),
        FallbackJson::Spread => Ok(Fallback::Spread),
        FallbackJson::Shard(name) if rules.directory.find(&name.0).is_some() => {
            Ok(Fallback::Shard(name.0))
        }
        FallbackJson::Shard(name) => {
            let problem = unknown(&name.0, &rules.directory.hosts);
            mistake(&format!("{field}.shard"), problem)
        }
    };
    Ok(Route {
        name: json.name.0,
        matcher: json.matcher,
        target: Some(Target {
            table,
            key,
            body: json.body.map(|body| Body {
                pointer: body.pointer,
                max: usize::try_from(body.max.0).unwrap_or(usize::MAX),
                wait: ps(body.wait.0),
            }),
            normalise: json.normalise.into_iter().map(|step| step.step()).collect(),
            on_missing: fallback("on_missing_key", json.on_missing_key)?,
            on_invalid: fallback("on_invalid_key", json.on_invalid_key)?,
            reads,
            role: json.role.map(role),
        }),
        zone,
    })
}

fn role(json: RoleJson) -> RoleRule {
    match json {
        RoleJson::Primary => RoleRule::Primary,
        RoleJson::Replica => RoleRule::Replica,
        RoleJson::Split(split) => RoleRule::Split {
            force_primary: split.force_primary.map(|name| name.0),
            sticky: split.sticky.map(|json| Arc::new(sticky(json))),
        },
    }
}

fn sticky(json: StickyJson) -> Sticky {
    Sticky {
        window: ps(json.window.0),
        by: match json.by {
            ByJson::SharedData => By::SharedData,
            ByJson::Cookie(cookie) => By::Cookie {
                name: cookie.name.0,
                secret: cookie.secret,
                cookies: None,
            },
        },
    }
}
