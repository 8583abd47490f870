//! The coalescing filter and other caches: what a hit costs, what a herd does, what an entry takes.

use crate::crowd::Crowd;
use crate::edits::{answer_with, cache_v2, reading, with_every_callback, without_filter};
use crate::measure::{BASELINE, Effort, Load, Server, Start, Variants, family, is_picked};
use crate::proxies::{nginx, varnish};
use crate::stampede;
use host_tests::client;
use host_tests::coalesce::{answer, policy};
use host_tests::config::Config;
use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::idempotency::Service;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// Of every answer.
const SIZE: usize = 1_024;
/// How long the origin takes for what a herd waits for.
const SLOW: Duration = Duration::from_millis(200);
/// Answers to count the memory of.
const ENTRIES: usize = 20_000;

pub fn run(picked: &[String], effort: Effort) {
    let origin = Service::start(|message, _, stream| {
        if message.path.starts_with("/herd") {
            std::thread::sleep(SLOW);
            return answer(
                stream,
                "content-type: text/plain\r\ncache-control: max-age=1\r\n",
                &[b'x'; SIZE],
            );
        }
        answer(
            stream,
            "content-type: text/plain\r\ncache-control: max-age=3600\r\n",
            &[b'x'; SIZE],
        )
    });
    let address = origin.address();
    hits(address, picked).measure(
        "one hot key",
        &Load {
            connections: 64,
            arguments: Vec::new(),
            filter: "sluice_coalesce",
            answer: SIZE,
        },
        effort,
    );
    if is_picked(picked, "stampede") {
        let crowd: Start<'_> = Box::new(|| Box::new(Crowd::start(SLOW, SIZE)));
        let mut all = servers(address);
        all.insert(0, ("no cache, one thread answers all at once", crowd));
        stampede::run(&origin, &all);
    }
    if is_picked(picked, "memory") {
        memory(&origin, &servers(address));
    }
}

/// The caches by name, each started by calling it.
fn servers(origin: SocketAddr) -> Vec<(&'static str, Start<'static>)> {
    let gateway = move |workers: usize, edit: fn(Builder) -> Builder| -> Start<'static> {
        Box::new(move || {
            let builder = caching(origin, json!({})).workers(workers);
            Box::new(edit(builder).start())
        })
    };
    let stale = move || -> Start<'static> {
        Box::new(move || {
            let route = json!({"stale_while_revalidate": "10s", "refresh": {"cluster": "origin"}});
            Box::new(caching(origin, route).workers(2).start())
        })
    };
    let same: fn(Builder) -> Builder = |builder| builder;
    let other: fn(Builder) -> Builder = |builder| builder.edit(cache_v2);
    let mut all = vec![
        ("coalesce, one worker", gateway(1, same)),
        ("coalesce, two workers", gateway(2, same)),
        ("coalesce, two workers, stale while revalidated", stale()),
        ("envoy cache_v2, two workers", gateway(2, other)),
    ];
    let stale = "proxy_cache_use_stale updating; proxy_cache_background_update on;";
    for (name, more) in [
        ("nginx, proxy_cache_lock", ""),
        ("nginx, the same, stale while updated", stale),
    ] {
        if let Some(start) = nginx(origin, more) {
            all.push((name, Box::new(move || Box::new(start()))));
        }
    }
    for (name, grace) in [("varnish", 0), ("varnish, grace", 10)] {
        if let Some(start) = varnish(origin, grace) {
            all.push((name, Box::new(move || Box::new(start()))));
        }
    }
    all
}

fn caching(origin: SocketAddr, route: Value) -> Builder {
    let route = host_tests::limits::with(json!({"flight": {"wait": "20s"}}), route);
    Gateway::builder()
        .route(Route::Coalesce)
        .policy(policy(route))
        .edit(move |config| config.endpoints("origin", &[origin]))
}

/// With as much as the caches answer.
fn answering(config: &mut Config) {
    answer_with(config, &"x".repeat(SIZE));
}

fn hits(origin: SocketAddr, picked: &[String]) -> Variants<'_> {
    let mut variants = Variants::new(picked);
    let gateway = move || caching(origin, json!({}));
    variants.add("no filter, the gateway answers", None, move || {
        gateway().edit(without_filter).edit(answering)
    });
    variants.add(BASELINE, None, move || {
        let builder = gateway().wasm("noop");
        builder.edit(with_every_callback).edit(answering)
    });
    variants.add("wasm that answers, and nothing else", None, move || {
        let size = SIZE.to_string();
        gateway()
            .wasm("noop")
            .edit(move |config| reading(config, &size))
    });
    variants.add("coalesce, hits", Some(0.80), gateway);
    variants.add("envoy cache_v2, hits", None, move || {
        gateway().edit(cache_v2)
    });
    if let Some(start) = nginx(origin, "") {
        variants.add_server("nginx, hits", None, move || Box::new(start()));
    }
    if let Some(start) = varnish(origin, 0) {
        variants.add_server("varnish, hits", None, move || Box::new(start()));
    }
    variants
}

/// How many of many entries a server keeps, and the bytes of its memory that each takes. Those of nginx lie in files.
fn memory(origin: &Service, servers: &[(&str, Start<'_>)]) {
    let title = format!("{ENTRIES} answers of 1 KiB");
    println!("\n{title:48} {:>8} {:>15}", "kept", "bytes an entry");
    for (name, start) in servers {
        let server = start();
        let address = server.url().trim_start_matches("http://").parse();
        let address: SocketAddr = address.expect("an address");
        let get = |first: usize, step: usize, count: usize| {
            let statuses = client::blast(address, 4, count / 4, |number, turn| {
                let entry = first + (turn * 4 + number) * step;
                (format!("/entry/{entry}"), Vec::new())
            });
            assert!(statuses.iter().all(|status| *status == 200), "{name}");
        };
        // What a server has for itself, before there is much to keep.
        get(ENTRIES, 1, 400);
        let before = resident(&*server);
        get(0, 1, ENTRIES);
        let grown = resident(&*server).saturating_sub(before) * 1024;
        let asked = origin.count();
        const SAMPLE: usize = 2_000;
        get(0, ENTRIES / SAMPLE, SAMPLE);
        let kept = ENTRIES * (SAMPLE - (origin.count() - asked)) / SAMPLE;
        println!("{name:48} {kept:>8} {:>15}", grown / kept.max(1));
    }
}

fn resident(server: &dyn Server) -> usize {
    let all = family(server.pid());
    all.into_iter().map(host_tests::process::resident).sum()
}
