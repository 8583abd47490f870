//! What guards promise: no id that exists is refused, whatever happens between builds, looks and learning; and most that do
//! not exist are.

mod loading;
mod random;
mod world;
