//! One store, or several, over a model of etcd. What every store promises is in `store_tests`.

mod model;
mod refusals;
pub mod stage;
mod troubles;
