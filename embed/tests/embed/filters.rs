//! The built filters run here, unchanged: the host functions that they link, and the callbacks in their order.

use std::path::Path;

use crate::common::{self, Gateway, request};
use sluice_embed::{Action, Effect, Module, Plugin, Services, StartError, Vm, VmOptions};

/// A built filter; `make build` builds them.
fn built(path: &str) -> Module {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../dist")
        .join(path);
    common::load(&path)
}

#[test]
fn rate_limit_admits_what_its_policy_says() {
    let policy = r#"{"limits": [{"name": "all", "key": [{"const": "x"}], "rate": "2/day"}]}"#;
    let plugin = Plugin {
        configuration: policy.as_bytes().to_vec(),
        ..Plugin::default()
    };
    let mut gateway = Gateway::with(&built("rate-limit.wasm"), &VmOptions::default(), &plugin);
    let mut answers = Vec::new();
    for _ in 0..3 {
        let stream = gateway.open();
        let outcome = gateway.vm.request_headers(stream, request(), true).unwrap();
        answers.push(match (outcome.action, &outcome.effects[..]) {
            (Action::Continue, []) => 200,
            (Action::Pause(_), [Effect::LocalReply(reply)]) => reply.status,
            other => unreachable!("{other:?}"),
        });
        gateway.end(stream);
    }
    assert_eq!(answers, [200, 200, 429], "{:?}", gateway.said());
    assert_eq!(gateway.vm.streams(), 0);
}

#[test]
fn a_policy_with_a_mistake_is_refused_with_the_reason() {
    let module = built("rate-limit.wasm");
    let log = std::sync::Arc::new(sluice_embed::memory::LogLines::default());
    let services = Services {
        log: log.clone(),
        ..Services::default()
    };
    let mut vm = Vm::new(&module, &VmOptions::default(), &services).unwrap();
    let plugin = Plugin {
        configuration: br#"{"limits": [{"nam": "all"}]}"#.to_vec(),
        ..Plugin::default()
    };
    let refused = vm.start(&plugin);
    assert!(matches!(refused, Err(StartError::ConfigurationRefused)));
    assert!(log.take().iter().any(|(_, line)| line.contains("nam")));
}

#[test]
fn the_other_filters_load() {
    for path in ["resp-bridge.wasm", "test/noop.wasm"] {
        let mut gateway = Gateway::with(&built(path), &VmOptions::default(), &Plugin::default());
        let stream = gateway.open();
        let outcome = gateway.vm.request_headers(stream, request(), true).unwrap();
        assert_eq!(outcome.effects, [], "{path}");
    }
}
