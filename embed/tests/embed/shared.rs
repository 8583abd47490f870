//! What a filter shares with others and asks of others: data, queues, metrics, calls, and what it is refused.

use std::time::Duration;

use crate::common::{self, Gateway, module};
use sluice_embed::memory::SharedStore;
use sluice_embed::{
    CasMismatch, Effect, Headers, HttpReply, Level, Plugin, Receiver, SharedData, VmOptions,
};

/// A filter that does this at each tick.
fn at_tick(work: &str) -> String {
    format!(r#"(func (export "proxy_on_tick") (param i32) {work})"#)
}

#[test]
fn shared_data_has_envoys_versions() {
    let store = SharedStore::default();
    assert_eq!(store.get(b"key"), None);
    assert_eq!(
        store.set(b"key", b"1", 77),
        Ok(()),
        "a missing key takes any version"
    );
    assert_eq!(store.get(b"key"), Some((b"1".to_vec(), 1)));
    assert_eq!(store.set(b"other", b"", 0), Ok(()));
    assert_eq!(
        store.get(b"other"),
        Some((Vec::new(), 2)),
        "one count for all keys"
    );
    assert_eq!(store.set(b"key", b"2", 2), Err(CasMismatch));
    assert_eq!(store.set(b"key", b"2", 1), Ok(()));
    assert_eq!(store.set(b"key", b"3", 0), Ok(()), "0 overwrites");
    assert_eq!(
        store.get(b"key"),
        Some((b"3".to_vec(), 4)),
        "a mismatch draws no version"
    );
    let beside = store.beside();
    assert_eq!(beside.get(b"key"), None);
    assert_eq!(beside.set(b"key", b"", 0), Ok(()));
    assert_eq!(beside.get(b"key"), Some((Vec::new(), 5)));
}

#[test]
fn a_filter_swaps_shared_data() {
    let key = "(i32.const 100) (i32.const 3)";
    let mut gateway = Gateway::new(&format!(
        r#"(data (i32.const 100) "keyvalue") {}"#,
        at_tick(&format!(
            "(call $say (call $get_shared {key} (i32.const 16) (i32.const 20) (i32.const 24)))
            (call $say (call $set_shared {key} (i32.const 103) (i32.const 5) (i32.const 9)))
            (call $say (call $get_shared {key} (i32.const 16) (i32.const 20) (i32.const 24)))
            (call $say_text (i32.const 16))
            (call $say (i32.load (i32.const 24)))"
        ))
    ));
    gateway.vm.tick(gateway.root).unwrap();
    assert_eq!(gateway.said(), ["01", "00", "00", "value", "01"]);
    gateway.vm.tick(gateway.root).unwrap();
    assert_eq!(
        gateway.said(),
        ["00", "08", "00", "value", "01"],
        "the key is there now, at version 1"
    );
}

#[test]
fn queues_tell_their_receiver() {
    let options = VmOptions {
        number: 7,
        ..VmOptions::default()
    };
    let filter = module(&format!(
        r#"(data (i32.const 100) "nameentry")
        {}
        (func (export "proxy_on_queue_ready") (param i32) (param $token i32)
            (call $say (call $dequeue (local.get $token) (i32.const 16) (i32.const 20)))
            (call $say_text (i32.const 16))
            (call $say (call $dequeue (local.get $token) (i32.const 16) (i32.const 20)))
            (call $say (call $dequeue (i32.const 99) (i32.const 16) (i32.const 20))))"#,
        at_tick(
            "(call $say (call $register (i32.const 100) (i32.const 4) (i32.const 24)))
            (call $say (call $enqueue (i32.load (i32.const 24)) (i32.const 104) (i32.const 5)))
            (call $say (call $enqueue (i32.const 99) (i32.const 104) (i32.const 5)))"
        )
    ));
    let mut gateway = Gateway::with(&filter, &options, &Plugin::default());
    gateway.vm.tick(gateway.root).unwrap();
    assert_eq!(gateway.said(), ["00", "00", "01"]);
    let (receiver, token) = gateway.queues.take_notices()[0];
    assert_eq!(
        receiver,
        Receiver {
            vm: 7,
            root: gateway.root.number()
        }
    );
    gateway
        .vm
        .queue_ready(gateway.vm.root(receiver.root).unwrap(), token)
        .unwrap();
    assert_eq!(gateway.said(), ["00", "entry", "07", "01"]);
}

#[test]
fn metrics_keep_to_their_kind() {
    let define = |kind: u32| {
        format!("(call $say (call $define (i32.const {kind}) (i32.const 100) (i32.const 1) (i32.const 16)))
            (call $say (i32.load (i32.const 16)))")
    };
    let increment = |id: u32, by: i64| {
        format!("(call $say (call $increment (i32.const {id}) (i64.const {by})))")
    };
    let record = |id: u32, value: u64| {
        format!("(call $say (call $record (i32.const {id}) (i64.const {value})))")
    };
    let work = [
        define(0),
        define(0),
        define(1),
        define(2),
        define(3),
        increment(4, 2),
        increment(8, 3),
        increment(4, 0),
        increment(4, -1),
        increment(12, 1),
        increment(5, 9),
        increment(5, -4),
        increment(6, 1),
        record(4, 10),
        record(5, 3),
        record(6, 44),
        record(99, 1),
    ];
    let mut gateway = Gateway::new(&format!(
        r#"(data (i32.const 100) "m") {}"#,
        at_tick(&work.concat())
    ));
    gateway.vm.tick(gateway.root).unwrap();
    assert_eq!(
        gateway.said(),
        [
            // A known name draws a new id, of the same metric; 3 is no kind.
            "00", "04", "00", "08", "00", "05", "00", "06", "02", "06",
            // Counters grow by more than nothing, or are unknown; gauges go both ways; histograms take records only.
            "00", "00", "02", "02", "01", "00", "00", "02", "00", "00", "00", "01",
        ]
    );
    assert_eq!(
        gateway.metrics.value("m"),
        Some(15),
        "the counter: 2 + 3 + 10"
    );
    assert_eq!(
        gateway.metrics.recorded("m"),
        [0; 0],
        "the first of the name is the counter"
    );
}

/// The pairs `:method`, `:path`, `:authority` as the ABI writes them, at 300; 4 + 3 * 8 + the texts.
const PAIRS: &str = r#"
    (data (i32.const 300) "\03\00\00\00\07\00\00\00\04\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00POST\00:path\00/\00:authority\00r\00")
    (data (i32.const 100) "redis") (data (i32.const 110) "nowhere") (data (i32.const 120) "broken") (data (i32.const 130) "body")
"#;

fn http_call(upstream: u32, size: u32, headers_size: u32, timeout: i64) -> String {
    format!(
        "(call $say (call $http_call (i32.const {upstream}) (i32.const {size}) (i32.const 300)
            (i32.const {headers_size}) (i32.const 130) (i32.const 4) (i32.const 0) (i32.const 0)
            (i32.const {timeout}) (i32.const 24)))
        (call $say (i32.load (i32.const 24)))"
    )
}

const PAIRS_SIZE: u32 = 4 + 24 + 13 + 8 + 13;

#[test]
fn a_call_is_refused_at_once_or_answered_later() {
    let calls = [
        http_call(100, 5, PAIRS_SIZE, 250),
        http_call(110, 7, PAIRS_SIZE, 250),
        http_call(120, 6, PAIRS_SIZE, 250),
        http_call(100, 5, 0, 250),
        http_call(100, 5, PAIRS_SIZE, -1),
        http_call(100, 5, PAIRS_SIZE, 0),
    ];
    let mut gateway = Gateway::new(&format!(
        r#"{PAIRS} {}
        (data (i32.const 140) ":status")
        (func (export "proxy_on_http_call_response") (param i32 i32) (param $headers i32) (param $body i32) (param $trailers i32)
            (call $say (local.get $headers)) (call $say (local.get $body)) (call $say (local.get $trailers))
            (call $say (call $header (i32.const 6) (i32.const 140) (i32.const 7) (i32.const 16) (i32.const 20)))
            (call $say (call $buffer (i32.const 4) (i32.const 0) (i32.const 99) (i32.const 16) (i32.const 20)))
            (call $say (call $status (i32.const 24) (i32.const 16) (i32.const 20)))
            (call $say (i32.load (i32.const 24)))
            (call $say (call $add_header (i32.const 6) (i32.const 140) (i32.const 7) (i32.const 140) (i32.const 1))))"#,
        at_tick(&calls.concat())
    ));
    let effects = gateway.vm.tick(gateway.root).unwrap();
    // Accepted; unknown; failed, which draws a token; no pseudo headers; a negative time; no time limit.
    assert_eq!(
        gateway.said(),
        [
            "00", "04", "02", "00", "10", "00", "02", "00", "02", "00", "00", "16"
        ]
    );
    let [
        Effect::HttpCall {
            token: 4,
            root,
            call,
        },
        Effect::HttpCall {
            token: 16,
            call: unlimited,
            ..
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!(*root, gateway.root);
    assert_eq!(call.upstream, b"redis");
    assert_eq!(call.headers.get("content-length"), Some(&b"4"[..]));
    assert_eq!(
        (call.timeout, unlimited.timeout),
        (Some(Duration::from_millis(250)), None)
    );
    assert_eq!(*gateway.calls.0.lock().unwrap(), [4, 16]);
    assert_eq!(gateway.vm.calls(), 2);

    let reply = HttpReply {
        headers: Headers::from([(":status", "200")]),
        body: b"+OK".to_vec(),
        trailers: None,
    };
    gateway
        .vm
        .http_call_response(4, Some(reply.clone()))
        .unwrap();
    assert_eq!(
        gateway.said(),
        ["01", "03", "00", "00", "00", "00", "00", "02"]
    );
    gateway.vm.http_call_response(4, Some(reply)).unwrap();
    assert_eq!(gateway.said(), [""; 0], "a call is answered once");
    gateway.vm.http_call_response(16, None).unwrap();
    // Broken off: no headers, and no map to read them from; the status says broken connection.
    assert_eq!(
        gateway.said(),
        ["00", "00", "00", "02", "01", "00", "11", "02"]
    );
}

#[test]
fn a_grpc_stream_lives_until_both_sides_closed_it() {
    let stream = |upstream: u32, size: u32| {
        format!("(call $say (call $grpc_stream (i32.const {upstream}) (i32.const {size}) (i32.const 100) (i32.const 5)
            (i32.const 130) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 24)))")
    };
    let mut gateway = Gateway::new(&format!(
        r#"{PAIRS} {}
        (func (export "proxy_on_grpc_receive") (param i32) (param $token i32) (param $size i32)
            (call $say (local.get $size))
            (drop (call $buffer (i32.const 5) (i32.const 0) (i32.const 99) (i32.const 16) (i32.const 20)))
            (call $say_text (i32.const 16))
            (call $say (call $grpc_send (local.get $token) (i32.const 130) (i32.const 4) (i32.const 0)))
            (call $say (call $grpc_close (local.get $token))))
        (func (export "proxy_on_grpc_close") (param i32) (param $token i32) (param $status i32)
            (call $say (local.get $status))
            (drop (call $status (i32.const 24) (i32.const 16) (i32.const 20)))
            (call $say_text (i32.const 16))
            (call $say (call $grpc_send (i32.const 99) (i32.const 0) (i32.const 0) (i32.const 0)))
            (call $say (call $grpc_cancel (i32.const 10))))"#,
        at_tick(&[stream(110, 7), stream(120, 6), stream(100, 5)].concat())
    ));
    let effects = gateway.vm.tick(gateway.root).unwrap();
    assert_eq!(
        gateway.said(),
        ["04", "10", "00"],
        "unknown, failed, opened"
    );
    let [
        Effect::GrpcStream {
            token: 14, open, ..
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!(
        (&open.service[..], &open.method[..]),
        (&b"redis"[..], &b"body"[..])
    );
    let effects = gateway.vm.grpc_message(14, b"message".to_vec()).unwrap();
    assert_eq!(gateway.said(), ["07", "message", "00", "00"]);
    assert!(matches!(
        effects[..],
        [
            Effect::GrpcSend { token: 14, .. },
            Effect::GrpcClose { token: 14 }
        ]
    ));
    assert_eq!(gateway.vm.calls(), 1, "the other side is open");
    gateway.vm.grpc_close(14, 14, "unavailable").unwrap();
    assert_eq!(gateway.said(), ["14", "unavailable", "02", "01"]);
    assert_eq!(gateway.vm.calls(), 0);
    gateway.vm.grpc_message(14, b"late".to_vec()).unwrap();
    assert_eq!(gateway.said(), [""; 0]);
}

#[test]
fn what_is_not_allowed_is_refused_and_not_called() {
    let filter = module(&format!(
        r#"{} (func (export "proxy_on_queue_ready") (param i32 i32) (call $say (i32.const 99)))"#,
        at_tick("(call $say (call $period (i32.const 5)))")
    ));
    let allowed = ["proxy_log", "proxy_on_tick"].map(str::to_owned).into();
    let options = VmOptions {
        allowed: Some(allowed),
        ..VmOptions::default()
    };
    let mut gateway = Gateway::with(&filter, &options, &Plugin::default());
    let effects = gateway.vm.tick(gateway.root).unwrap();
    assert_eq!(effects, []);
    let log = gateway.log.take();
    assert_eq!(log[0].0, Level::Error);
    assert!(
        log[0].1.ends_with("proxy_set_tick_period_milliseconds"),
        "{log:?}"
    );
    assert_eq!(log[1].1, "10");
    gateway.vm.queue_ready(gateway.root, 1).unwrap();
    assert_eq!(gateway.said(), [""; 0]);
}

#[test]
fn wasi_gives_time_environment_and_output() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 4)
        (data (i32.const 0) "\40\00\00\00\06\00\00\00\46\00\00\00\01\00\00\00") (data (i32.const 64) "hello \n")
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_tick") (param i32)
            (i32.store8 (i32.const 200) (call $time (i32.const 0) (i64.const 0) (i32.const 216)))
            (i32.store8 (i32.const 201) (call $time (i32.const 2) (i64.const 0) (i32.const 216)))
            (i32.store8 (i32.const 202) (call $sizes (i32.const 224) (i32.const 228)))
            (i32.store8 (i32.const 203) (call $environ (i32.const 232) (i32.const 236)))
            (i32.store8 (i32.const 204) (call $write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 244)))
            (i32.store8 (i32.const 205) (call $write (i32.const 3) (i32.const 0) (i32.const 2) (i32.const 244)))
            (i32.store8 (i32.const 206) (call $write (i32.const 2) (i32.const -8) (i32.const 2) (i32.const 244)))
            (i32.store8 (i32.const 207) (call $seek (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 0)))
            (i32.store8 (i32.const 208) (call $random (i32.const 300) (i32.const 65537)))
            (i32.store8 (i32.const 209) (call $random (i32.const 300) (i32.const 16)))
            (drop (call $set (i32.const 0) (i32.const 0) (i32.const 200) (i32.const 48) (i32.const 0)))))"#;
    let module = common::engine()
        .compile(&wat::parse_str(text).unwrap())
        .unwrap();
    let options = VmOptions {
        environment: vec![("A".to_owned(), "bc".to_owned())],
        ..VmOptions::default()
    };
    let mut gateway = Gateway::with(&module, &options, &Plugin::default());
    gateway.vm.tick(gateway.root).unwrap();
    let (seen, _) = gateway.shared.get(b"").unwrap();
    assert_eq!(seen[..10], [0, 58, 0, 0, 0, 8, 21, 52, 28, 0]);
    assert_eq!(seen[16..24], 1_700_000_000_000_000_000_u64.to_le_bytes());
    assert_eq!(
        seen[24..32],
        [1, 0, 0, 0, 5, 0, 0, 0],
        "one variable of five bytes"
    );
    assert_eq!(&seen[36..41], b"A=bc\0");
    assert_eq!(seen[44..48], [7, 0, 0, 0], "bytes written");
    assert_eq!(
        gateway.log.take(),
        [(Level::Info, "hello ".to_owned())],
        "one newline at the end is left out"
    );
}
