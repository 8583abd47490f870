//! Whatever a filter does wrong becomes an error of its own VM, and the gateway goes on.

use std::thread;

use crate::common::{Gateway, engine, filter, module, request};
use sluice_embed::{
    Attributes, Cause, Effect, Engine, Limits, LoadError, Module, Plugin, Services, StartError, Vm,
    VmError, VmOptions,
};

/// The cause of the failure of a tick.
fn cause_of(module: &Module) -> Option<Cause> {
    let mut gateway = Gateway::with(module, &VmOptions::default(), &Plugin::default());
    match gateway.vm.tick(gateway.root) {
        Err(VmError::Failed(failure)) => Some(failure.cause),
        _ => None,
    }
}

#[test]
fn a_trap_kills_the_vm_until_it_is_rebuilt() {
    let mut gateway = Gateway::new(
        r#"(func (export "proxy_on_tick") (param i32) (drop (call $period (i32.const 5))) unreachable)"#,
    );
    let stream = gateway.requested();
    let Err(VmError::Failed(failure)) = gateway.vm.tick(gateway.root) else {
        panic!("the trap went unseen");
    };
    assert_eq!(failure.cause, Cause::Trap);
    assert!(
        matches!(failure.effects[..], [Effect::TickPeriod { .. }]),
        "what was asked for before the trap counts: {:?}",
        failure.effects
    );
    assert!(gateway.vm.is_dead());
    assert!(matches!(gateway.vm.tick(gateway.root), Err(VmError::Dead)));
    assert!(matches!(
        gateway.vm.response_headers(stream, request(), true),
        Err(VmError::Dead)
    ));
    assert!(matches!(gateway.vm.done(stream), Err(VmError::Dead)));
    assert!(matches!(gateway.vm.delete(stream), Err(VmError::Dead)));
    assert_eq!(gateway.vm.streams(), 0, "a dead VM's streams still end");

    gateway.vm.rebuild().unwrap();
    assert_eq!(gateway.vm.generation(), 2);
    assert!(matches!(
        gateway.vm.tick(gateway.root),
        Err(VmError::StaleContext)
    ));
    assert!(matches!(
        gateway.vm.done(stream),
        Err(VmError::StaleContext)
    ));
    let opened = gateway.vm.open_stream(gateway.root, Attributes::default());
    assert!(matches!(opened, Err(VmError::StaleContext)));
    let (root, _) = gateway.vm.start(&Plugin::default()).unwrap();
    assert_eq!(root.number(), gateway.root.number());
    assert_eq!(gateway.vm.root(root.number()), Some(root));
    let stream = gateway.vm.open_stream(root, Attributes::default()).unwrap();
    assert!(gateway.vm.request_headers(stream, request(), true).is_ok());
}

#[test]
fn an_endless_loop_ends_when_its_time_is_over() {
    let engine = engine();
    let loops = engine
        .compile(&filter(
            r#"(func (export "proxy_on_tick") (param i32) (loop $l (br $l)))"#,
        ))
        .unwrap();
    let (over, ended) = std::sync::mpsc::channel::<()>();
    let ticker = thread::spawn(move || {
        while ended.try_recv().is_err() {
            engine.advance_epoch();
            thread::yield_now();
        }
    });
    let cause = cause_of(&loops);
    over.send(()).unwrap();
    ticker.join().unwrap();
    assert_eq!(cause, Some(Cause::TooLong));
}

#[test]
fn time_that_passed_before_a_call_does_not_count() {
    let engine = engine();
    let module = engine
        .compile(&filter(r#"(func (export "proxy_on_tick") (param i32))"#))
        .unwrap();
    let mut gateway = Gateway::with(&module, &VmOptions::default(), &Plugin::default());
    for _ in 0..100 {
        engine.advance_epoch();
    }
    assert!(gateway.vm.tick(gateway.root).is_ok());
}

#[test]
fn endless_recursion_is_a_stack_overflow() {
    let recursion = module(
        r#"(func $f (param i64) (call $f (i64.add (local.get 0) (i64.const 1))) (call $say (i32.wrap_i64 (local.get 0))))
        (func (export "proxy_on_tick") (param i32) (call $f (i64.const 0)))"#,
    );
    assert_eq!(cause_of(&recursion), Some(Cause::StackOverflow));
}

#[test]
fn memory_ends_at_the_limit() {
    let limits = Limits {
        memory_bytes: 4 * 65536,
        ..Limits::default()
    };
    let grow = |pages: u32| {
        // As an allocator does: no memory, no going on.
        filter(&format!(
            r#"(func (export "proxy_on_tick") (param i32)
                (if (i32.lt_s (memory.grow (i32.const {pages})) (i32.const 0)) (then unreachable)))"#
        ))
    };
    let engine = Engine::new(&limits).unwrap();
    let fits = engine.compile(&grow(2)).unwrap();
    let mut gateway = Gateway::with(&fits, &VmOptions::default(), &Plugin::default());
    gateway.vm.tick(gateway.root).unwrap();
    assert_eq!(gateway.vm.memory_bytes(), 4 * 65536);
    let does_not = engine.compile(&grow(3)).unwrap();
    assert_eq!(cause_of(&does_not), Some(Cause::OutOfMemory));

    let small = Engine::new(&Limits {
        memory_bytes: 65536,
        ..limits
    })
    .unwrap();
    let too_large = small.compile(&filter("")).unwrap();
    let made = Vm::new(&too_large, &VmOptions::default(), &Services::default());
    assert!(matches!(made, Err(VmError::Failed(failure)) if failure.cause == Cause::OutOfMemory));
}

#[test]
fn bad_pointers_are_answered_and_harm_nothing() {
    // Each call has one pointer or size past the end of memory (two pages, 131072 bytes).
    let calls = [
        "(call $log (i32.const 2) (i32.const 131070) (i32.const 3))",
        "(call $log (i32.const 2) (i32.const -1) (i32.const -1))",
        "(call $get_shared (i32.const -4) (i32.const 8) (i32.const 16) (i32.const 20) (i32.const 24))",
        "(call $set_shared (i32.const 0) (i32.const 1) (i32.const 131072) (i32.const 1) (i32.const 0))",
        "(call $register (i32.const 0) (i32.const 1) (i32.const 131069))",
        "(call $headers (i32.const 0) (i32.const 131069) (i32.const 16))",
        "(call $header (i32.const 0) (i32.const 100) (i32.const 5) (i32.const 16) (i32.const -1))",
        "(call $buffer (i32.const 6) (i32.const 0) (i32.const -1) (i32.const -1) (i32.const 16))",
        "(call $http_call (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16))",
        "(call $reply (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)
            (i32.const 0) (i32.const 0) (i32.const -1))",
        "(call $define (i32.const 0) (i32.const 0) (i32.const 1) (i32.const -1))",
        "(call $property (i32.const 131072) (i32.const 1) (i32.const 16) (i32.const 20))",
    ];
    let said: String = calls
        .iter()
        .map(|call| format!("(call $say {call})"))
        .collect();
    let mut gateway = Gateway::new(&format!(
        r#"(data (i32.const 100) ":path")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {said} (i32.const 0))"#
    ));
    let stream = gateway.open();
    let outcome = gateway.vm.request_headers(stream, request(), true).unwrap();
    assert_eq!(gateway.said(), vec!["06"; calls.len()]);
    assert_eq!(outcome.effects, []);
}

#[test]
fn an_allocator_that_gives_nothing_or_nonsense_is_answered() {
    for place in ["0", "-1"] {
        let text = format!(
            r#"(module
                (import "env" "proxy_get_header_map_pairs" (func $headers (param i32 i32 i32) (result i32)))
                (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
                (memory (export "memory") 1)
                (func (export "proxy_abi_version_0_2_0"))
                (func (export "malloc") (param i32) (result i32) (i32.const {place}))
                (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                    (i32.store8 (i32.const 32) (call $headers (i32.const 0) (i32.const 16) (i32.const 20)))
                    (drop (call $set (i32.const 0) (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 0)))
                    (i32.const 0)))"#
        );
        let module = engine().compile(&wat::parse_str(text).unwrap()).unwrap();
        let mut gateway = Gateway::with(&module, &VmOptions::default(), &Plugin::default());
        gateway.requested();
        let entries = gateway.shared.entries();
        assert_eq!(
            entries.values().next().unwrap().0,
            [6],
            "allocated at {place}"
        );
    }
}

#[test]
fn what_the_host_lacks_is_named_at_load() {
    let module = wat::parse_str(
        r#"(module
            (import "env" "proxy_dance" (func (param i32)))
            (import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_seek" (func (param i32 i64 i32 i32) (result i32)))
            (import "elsewhere" "proxy_log" (func))
            (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#,
    );
    let error = engine().compile(&module.unwrap()).unwrap_err();
    let LoadError::MissingImports(names) = &error else {
        panic!("{error}");
    };
    assert_eq!(names, &["elsewhere.proxy_log", "env.proxy_dance"]);
}

#[test]
fn what_is_no_filter_is_refused() {
    let load = |text: &str| {
        engine()
            .compile(&wat::parse_str(text).unwrap())
            .unwrap_err()
    };
    let abi = r#"(func (export "proxy_abi_version_0_2_1"))"#;
    let memory = r#"(memory (export "memory") 1)"#;
    let malloc = r#"(func (export "malloc") (param i32) (result i32) (i32.const 0))"#;
    assert!(matches!(
        engine().compile(b"no module"),
        Err(LoadError::Invalid(_))
    ));
    assert!(matches!(
        load(&format!("(module {memory} {malloc})")),
        LoadError::Abi
    ));
    assert!(matches!(
        load(&format!("(module {abi} {malloc})")),
        LoadError::MissingExport("memory")
    ));
    assert!(matches!(
        load(&format!("(module {abi} {memory})")),
        LoadError::MissingExport(_)
    ));
    let callback = r#"(func (export "proxy_on_tick") (param i64))"#;
    let import = r#"(import "env" "proxy_log" (func (param i64) (result i32)))"#;
    let error = load(&format!("(module {abi} {memory} {malloc} {callback})"));
    assert!(matches!(error, LoadError::Signature(_)), "{error}");
    let error = load(&format!("(module {import} {abi} {memory} {malloc})"));
    assert!(matches!(error, LoadError::Signature(_)), "{error}");
}

#[test]
fn a_refused_start_is_told_from_a_failure() {
    let start = |functions: &str| {
        let mut vm = Vm::new(
            &module(functions),
            &VmOptions::default(),
            &Services::default(),
        )
        .unwrap();
        vm.start(&Plugin::default()).unwrap_err()
    };
    let no = |name: &str| {
        format!(r#"(func (export "{name}") (param i32 i32) (result i32) (i32.const 0))"#)
    };
    assert!(matches!(
        start(&no("proxy_on_vm_start")),
        StartError::VmRefused
    ));
    assert!(matches!(
        start(&no("proxy_on_configure")),
        StartError::ConfigurationRefused
    ));
    let trap = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) unreachable)"#;
    assert!(matches!(start(trap), StartError::Vm(VmError::Failed(_))));
}

#[test]
fn what_may_not_be_called_yet_ends_the_vm() {
    let early = module(r#"(func (export "_initialize") (drop (call $period (i32.const 1))))"#);
    let made = Vm::new(&early, &VmOptions::default(), &Services::default());
    assert!(matches!(made, Err(VmError::Failed(failure)) if failure.cause == Cause::Restricted));
}

#[test]
fn a_precompiled_module_runs_and_one_for_another_engine_is_refused() {
    let compiled = engine().precompile(&filter(
        r#"(func (export "proxy_on_tick") (param i32) (call $say (i32.const 7)))"#,
    ));
    let compiled = compiled.unwrap();
    #[allow(unsafe_code)]
    // SAFETY: the bytes come from a compiler of the same kind, or are none that the engine takes for machine code.
    let load = |bytes: &[u8]| unsafe { engine().load_precompiled(bytes) };
    let mut gateway = Gateway::with(
        &load(&compiled).unwrap(),
        &VmOptions::default(),
        &Plugin::default(),
    );
    gateway.vm.tick(gateway.root).unwrap();
    assert_eq!(gateway.said(), ["07"]);

    assert!(matches!(load(&[]), Err(LoadError::Precompiled(_))));
    assert!(
        matches!(load(&filter("")), Err(LoadError::Precompiled(_))),
        "a module that is not compiled"
    );
    // Of another version, or of an engine that could not end an endless loop.
    let precompile = |config: &mut wasmtime::Config| {
        let engine = wasmtime::Engine::new(config).unwrap();
        engine.precompile_module(&filter("")).unwrap()
    };
    let mut config = wasmtime::Config::new();
    config.max_wasm_stack(Limits::default().stack_bytes);
    assert!(matches!(
        load(&precompile(&mut config)),
        Err(LoadError::Precompiled(_))
    ));
    config.epoch_interruption(true);
    assert!(
        load(&precompile(&mut config)).is_ok(),
        "the same in all that counts"
    );
    let other = wasmtime::ModuleVersionStrategy::Custom("another".to_owned());
    config.module_version(other).unwrap();
    assert!(matches!(
        load(&precompile(&mut config)),
        Err(LoadError::Precompiled(_))
    ));
}

#[test]
fn vms_of_one_module_run_on_several_threads() {
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    let module = module(r#"(func (export "proxy_on_tick") (param i32) (call $say (i32.const 1)))"#);
    is_shared(&module);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let module = module.clone();
            thread::spawn(move || {
                let mut gateway = Gateway::with(&module, &VmOptions::default(), &Plugin::default());
                for _ in 0..100 {
                    gateway.vm.tick(gateway.root).unwrap();
                }
                gateway
            })
        })
        .collect();
    for thread in threads {
        // The VM comes over from its thread, and runs on here.
        let mut gateway = thread.join().unwrap();
        gateway.vm.tick(gateway.root).unwrap();
        assert_eq!(gateway.said().len(), 101);
    }
}
