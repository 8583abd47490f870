//! The documents speak of what there is: their policies load, no field, metric or dependency is left out, and their
//! links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use host_tests::tools;
use serde_json::Value;
use sluice_core::flight::machine;
use sluice_core::guard;
use sluice_core::idempotency::counts::Event;
use sluice_core::idempotency::key_syntax;
use sluice_core::idempotency::problem::Problem;
use sluice_core::idempotency::settings::KeyMode;
use sluice_core::policy::coalesce::Coalesce;
use sluice_core::policy::idempotency::Idempotency;
use sluice_core::policy::rate_limit::RateLimit;
use sluice_core::policy::shard_route::ShardRoute;
use sluice_core::shard;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn repository_file(path: &str) -> String {
    read(&tools::root().join(path))
}

/// README.md and all of docs/.
fn documents() -> Vec<PathBuf> {
    let folder = tools::root().join("docs").read_dir().unwrap();
    let mut documents: Vec<PathBuf> = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    documents.push(tools::root().join("README.md"));
    documents
}

/// The fenced blocks of a document: what stands behind the opening fence, and the text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let body: Vec<&str> = lines
                .by_ref()
                .take_while(|line| !line.trim_start().starts_with("```"))
                .collect();
            blocks.push((language.to_owned(), body.join("\n")));
        }
    }
    blocks
}

/// A document without its fenced blocks.
fn prose(text: &str) -> String {
    let parts = text.split("```").step_by(2);
    parts.collect()
}

#[test]
fn every_policy_in_the_documents_loads() {
    let mut count = 0;
    for path in documents() {
        for (language, policy) in blocks(&read(&path)) {
            if language == "json" {
                count += 1;
                let loaded = match path.file_stem().and_then(|name| name.to_str()) {
                    Some("coalesce") => Coalesce::load(policy.as_bytes()).map(drop),
                    Some("shard-route") => ShardRoute::load(policy.as_bytes()).map(drop),
                    Some("idempotency") => Idempotency::load(policy.as_bytes()).map(drop),
                    _ => RateLimit::load(policy.as_bytes()).map(drop),
                };
                loaded.unwrap_or_else(|error| panic!("{}: {error}\n{policy}", path.display()));
            }
        }
    }
    assert!(count >= 7, "only {count} policies were found");
}

/// The policy of the README is the one in the configuration that it tells people to start.
#[test]
fn the_readme_shows_the_policy_of_its_example() {
    let mut config = host_tests::config::Config::example("rate-limit.yaml");
    let running = config.filter()["configuration"]["value"].as_str().unwrap();
    let running: Value = serde_json::from_str(running).unwrap();
    let shown: Vec<Value> = blocks(&repository_file("README.md"))
        .into_iter()
        .filter(|(language, _)| language == "json")
        .map(|(_, policy)| serde_json::from_str(&policy).unwrap())
        .collect();
    assert_eq!(shown, [running]);
}

#[test]
fn every_field_of_a_policy_is_described() {
    let rate_limit = schema("rate-limit");
    // What they share is described once, where the other pages link to.
    let shared = &rate_limit["$defs"];
    let others = ["idempotency", "coalesce", "shard-route"].map(|filter| {
        let mut schema = schema(filter);
        let own = schema["$defs"].as_object_mut().unwrap();
        own.retain(|name, definition| shared[name] != *definition);
        assert!(!own.contains_key("Match"), "a match is the same everywhere");
        schema
    });
    let [idempotency, coalesce, shard_route] = others;
    for (filter, schema, least) in [
        ("coalesce", coalesce, 45),
        ("idempotency", idempotency, 50),
        ("rate-limit", rate_limit, 60),
        ("shard-route", shard_route, 60),
    ] {
        let mut words = BTreeSet::new();
        collect_words(&schema, &mut words);
        assert!(words.len() > least, "{words:?}");
        let page = repository_file(&format!("docs/{filter}.md"));
        let missing: Vec<&String> = words
            .iter()
            .filter(|word| !is_described(&page, word))
            .collect();
        assert!(
            missing.is_empty(),
            "docs/{filter}.md leaves out {missing:?}"
        );
    }
}

fn schema(filter: &str) -> Value {
    let schema = repository_file(&format!("envoy-config/schemas/{filter}.schema.json"));
    serde_json::from_str(&schema).unwrap()
}

/// The names of all fields, and all words that stand for a choice.
fn collect_words(schema: &Value, words: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Object(properties)) = fields.get("properties") {
                words.extend(properties.keys().cloned());
            }
            if let Some(Value::String(choice)) = fields.get("const") {
                words.insert(choice.clone());
            }
            if let Some(Value::Array(choices)) = fields.get("enum") {
                words.extend(choices.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            fields
                .values()
                .for_each(|value| collect_words(value, words));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_words(item, words)),
        _ => {}
    }
}

/// Whether a word stands somewhere as code: alone, behind a dot (`cost.max`), or quoted as in JSON.
fn is_described(page: &str, word: &str) -> bool {
    page.contains(&format!("`{word}`"))
        || page.contains(&format!(".{word}`"))
        || page.contains(&format!("\"{word}\""))
        || page.contains(&format!("`{word}: "))
}

/// The table of the page, held to the parser.
#[test]
fn keys_are_read_as_the_table_says() {
    let page = repository_file("docs/idempotency.md");
    let (_, table) = page.split_once("| Field value |").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        let [_, value, strict, compat, _] = row.as_slice() else {
            panic!("{row:?}");
        };
        let value = value.trim_matches('`');
        for (mode, expected) in [(KeyMode::Strict, strict), (KeyMode::Compat, compat)] {
            let key = key_syntax::parse([value.as_bytes()], mode);
            let found = key.map_or("refused".to_owned(), Option::unwrap);
            assert_eq!(found, *expected, "{value} {mode:?}");
        }
    }
}

#[test]
fn every_metric_is_described() {
    // Those of Redis are the same in every filter.
    let source = repository_file("plugins/rate-limit/src/metrics.rs")
        + &repository_file("plugins/host/src/redis_metrics.rs")
            .replace("{store}.", "{PREFIX}.redis.");
    let page = repository_file("docs/rate-limit.md");
    let names: Vec<&str> = source
        .split("{PREFIX}.")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(names.len() >= 11, "{names:?}");
    for name in names {
        // `limit.{}.outcome.{outcome}`, `limit.{}.degraded` and `redis.error.{}`: what is put in is held below.
        let name = name
            .replace("{}.outcome.{outcome}", "NAME.outcome.allowed")
            .replace("{}.degraded", "NAME.degraded")
            .replace("error.{}", "error.KIND");
        let full = format!("`sluice_rate_limit.{name}`");
        assert!(page.contains(&full), "docs/rate-limit.md leaves out {full}");
    }
    for outcome in ["allowed", "denied", "shadow_denied"] {
        assert!(
            source.contains(&format!("\"{outcome}\"")),
            "{outcome} is gone"
        );
        assert!(page.contains(&format!("outcome.{outcome}`")), "{outcome}");
    }
    for kind in sluice_core::redis::trouble::Trouble::ALL {
        assert!(
            page.contains(&format!("`{}`", kind.name())),
            "{}",
            kind.name()
        );
    }
}

/// Everything that a client can be told, and everything that is counted.
#[test]
fn every_problem_and_event_of_idempotency_is_described() {
    let page = repository_file("docs/idempotency.md");
    for problem in Problem::ALL {
        let row = format!("| `{}` | {} |", problem.name(), problem.status());
        assert!(page.contains(&row), "docs/idempotency.md leaves out {row}");
    }
    for event in Event::ALL {
        let name = format!("`{}`", event.name());
        assert!(
            page.contains(&name),
            "docs/idempotency.md leaves out {name}"
        );
    }
    let source = repository_file("plugins/idempotency/src/metrics.rs")
        + &repository_file("plugins/host/src/redis_metrics.rs")
            .replace("{store}.", "{PREFIX}.redis.");
    let names: Vec<&str> = source
        .split("{PREFIX}.")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        let name = name
            .replace("{route}.event.{event}", "NAME.event.EVENT")
            .replace("error.{}", "error.KIND");
        let full = format!("`sluice_idempotency.{name}`");
        assert!(
            page.contains(&full),
            "docs/idempotency.md leaves out {full}"
        );
    }
}

#[test]
fn every_metric_of_coalescing_is_described() {
    let page = repository_file("docs/coalesce.md");
    let events = machine::EVENTS
        .iter()
        .map(|(_, name)| format!("event.{name}"));
    let guards = guard::EVENTS.iter().map(|(_, name)| *name);
    let (open, others): (Vec<&str>, Vec<&str>) = guards.partition(|name| name.starts_with("open_"));
    let others = others.iter().map(|name| format!("guard.NAME.event.{name}"));
    let rest = ["waiting", "worker_bytes", "guard.NAME.open"].map(str::to_owned);
    for name in events.chain(others).chain(rest) {
        let full = format!("`sluice_coalesce.{name}`");
        assert!(page.contains(&full), "docs/coalesce.md leaves out {full}");
    }
    for name in open {
        // What it means, and that it is counted.
        let count = page.matches(&format!("`{name}`")).count();
        assert!(count >= 2, "docs/coalesce.md leaves out {name}");
    }
}

/// Everything that a client can be told, and everything that is counted.
#[test]
fn every_problem_and_metric_of_shard_routing_is_described() {
    let page = repository_file("docs/shard-route.md");
    for problem in shard::Problem::ALL {
        let row = format!("| `{}` | {} |", problem.name(), problem.status());
        assert!(page.contains(&row), "docs/shard-route.md leaves out {row}");
    }
    for name in [
        "route.NAME.event.missing",
        "route.NAME.event.invalid",
        "route.NAME.event.refused_PROBLEM",
        "table.NAME.shard.NAME.requests.ROLE",
        "table.NAME.shard.NAME.frozen",
        "table.NAME.shard.NAME.over_cap",
        "table.NAME.shard.NAME.in_flight",
        "table.NAME.shard.NAME.slots",
        "unremembered_writes",
        "tables_version",
        "refresh.failed",
        "refresh.rejected",
        "refresh.older",
    ] {
        let full = format!("`sluice_shard_route.{name}`");
        assert!(
            page.contains(&full),
            "docs/shard-route.md leaves out {full}"
        );
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for path in documents() {
        let text = prose(&read(&path));
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .filter(|target| !target.contains("://"))
        {
            count += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(file.exists(), "{}: no {target}", path.display());
            assert!(
                anchor.is_empty() || anchors(&read(&file)).contains(anchor),
                "{}: no {target}",
                path.display()
            );
        }
    }
    assert!(count > 20, "only {count} links were found");
}

/// By its whole path, or by the end of one.
#[test]
fn every_file_that_is_named_is_there() {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        collect_sources(&tools::root().join(folder), &mut sources);
    }
    let mut count = 0;
    for path in documents() {
        let text = prose(&read(&path));
        for name in text.split('`').skip(1).step_by(2) {
            let whole = FOLDERS.iter().any(|folder| {
                let rest = name.strip_prefix(folder);
                rest.is_some_and(|rest| rest.starts_with('/'))
            });
            let there = if whole {
                tools::root().join(name).exists()
            } else if name.ends_with(".rs") {
                sources.iter().any(|source| source.ends_with(name))
            } else {
                continue;
            };
            count += 1;
            assert!(there, "{}: no {name}", path.display());
        }
    }
    assert!(count > 50, "only {count} files were found");
}

/// Where sources are.
const FOLDERS: [&str; 4] = ["cli", "embed", "host-tests", "plugins"];

fn collect_sources(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}

/// What the headings of a document are called in links.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let page = repository_file("docs/dependencies.md");
    let workspace = repository_file("Cargo.toml");
    let members = workspace
        .split("members = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next())
        .unwrap();
    let mut count = 0;
    for member in members.split('"').skip(1).step_by(2) {
        for name in dependencies(&repository_file(&format!("{member}/Cargo.toml"))) {
            count += 1;
            assert!(
                page.contains(&format!("`{name}`")),
                "docs/dependencies.md leaves out {name}, of {member}"
            );
        }
    }
    assert!(count > 30, "only {count} dependencies were found");
}

/// The names in the sections of dependencies of any kind.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut within = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            within = section.trim_end_matches(']').ends_with("dependencies");
        } else if within && let Some((name, _)) = line.split_once('=') {
            names.push(name.trim().trim_end_matches(".workspace"));
        }
    }
    names
}
