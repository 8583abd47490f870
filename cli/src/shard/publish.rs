//! Has gateways take other tables while they run.

use std::path::Path;

use serde_json::{Value, json};
use sluice_core::policy::shard_route::ShardRoute;
use sluice_core::shard::published::{MAX_TABLES_SIZE, PUBLISH, Published};

use super::no;
use crate::Refusal;
use crate::check::read;
use crate::idem::environment;
use crate::idem::servers::{connect, refusal};

pub fn run(file: &Path, url: &str) -> Result<(), Refusal> {
    let wrong = |problem: String| no(format!("{}: {problem}", file.display()));
    let text = read(file)?;
    let policy = ShardRoute::load(&text).map_err(|problem| wrong(problem.to_string()))?;
    let missing = "refresh: found nothing, expected where the tables are published";
    let source = policy.refresh.as_ref();
    let source = source.ok_or_else(|| wrong(missing.to_owned()))?;
    let published = Published {
        version: source.version,
        tables: tables(&text).map_err(wrong)?,
    };
    if published.version == 0 {
        return Err(wrong(
            "refresh.version: found 0, expected at least 1".to_owned(),
        ));
    }
    let signer = source.signer(environment).map_err(wrong)?;
    let signature = signer.map_or(Vec::new(), |signer| signer.sign(&published));
    let mut server = connect(url, &source.redis).map_err(refusal)?;
    let (done, before): (bool, String) = redis::cmd("EVAL")
        .arg(PUBLISH)
        .arg(1)
        .arg(&source.place)
        .arg(published.version)
        .arg(published.tables)
        .arg(signature)
        .query(&mut server)
        .map_err(refusal)?;
    let version = published.version;
    if !done {
        return Err(no(format!(
            "refresh.version: found {version}, expected more than {before}, which is published at {}",
            source.place
        )));
    }
    println!(
        "version {version} is published at {}, after {before}",
        source.place
    );
    Ok(())
}

/// The policy's tables alone.
fn tables(policy: &[u8]) -> Result<Vec<u8>, String> {
    let policy: Value = serde_json::from_slice(policy).map_err(|error| error.to_string())?;
    let tables = policy.get("tables").unwrap_or(&Value::Null);
    let tables = json!({"tables": tables}).to_string().into_bytes();
    if tables.len() > MAX_TABLES_SIZE {
        let size = tables.len();
        return Err(format!(
            "tables: found {size} bytes, expected at most {MAX_TABLES_SIZE}"
        ));
    }
    Ok(tables)
}
