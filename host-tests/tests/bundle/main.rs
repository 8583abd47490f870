//! What no filter has for itself: the shipped examples and manifests, the documents, the ways to Redis, and the harness.

mod docs;
mod examples;
mod harness;
mod imports;
mod istio;
mod redis_routes;
