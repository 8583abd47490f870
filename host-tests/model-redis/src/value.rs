//! What a key can hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use indexmap::IndexMap;

pub(crate) type Bytes = Vec<u8>;
/// Fields in the order in which they came, as Redis lists those of a small hash.
pub(crate) type Hash = IndexMap<Bytes, Bytes>;
pub(crate) type List = VecDeque<Bytes>;
pub(crate) type Set = BTreeSet<Bytes>;
/// An entry's name: milliseconds, then a number within them.
pub(crate) type StreamId = (u64, u64);

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Stream {
    pub entries: BTreeMap<StreamId, Vec<(Bytes, Bytes)>>,
    pub last: StreamId,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SortedSet {
    pub scores: BTreeMap<Bytes, f64>,
}

impl SortedSet {
    /// Members by score, and by name where scores are equal.
    pub(crate) fn ordered(&self) -> Vec<(&Bytes, f64)> {
        let mut members: Vec<_> = self.scores.iter().map(|(m, s)| (m, *s)).collect();
        members.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(b.0)));
        members
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    String(Bytes),
    Hash(Hash),
    List(List),
    Set(Set),
    SortedSet(SortedSet),
    Stream(Stream),
}

impl Value {
    /// What TYPE says.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Hash(_) => "hash",
            Self::List(_) => "list",
            Self::Set(_) => "set",
            Self::SortedSet(_) => "zset",
            Self::Stream(_) => "stream",
        }
    }

    /// About the bytes it takes; the payload and a guess at what holds it.
    pub(crate) fn size(&self) -> usize {
        const ITEM: usize = 16;
        let sum = |sizes: &mut dyn Iterator<Item = usize>| sizes.map(|size| size + ITEM).sum();
        match self {
            Self::String(bytes) => bytes.len(),
            Self::Hash(hash) => sum(&mut hash.iter().map(|(f, v)| f.len() + v.len())),
            Self::List(list) => sum(&mut list.iter().map(Vec::len)),
            Self::Set(set) => sum(&mut set.iter().map(Vec::len)),
            Self::SortedSet(set) => sum(&mut set.scores.keys().map(|m| m.len() + 8)),
            Self::Stream(stream) => {
                let fields = stream.entries.values().flatten();
                sum(&mut fields.map(|(f, v)| f.len() + v.len()))
            }
        }
    }
}

/// One of the types that a [`Value`] can be.
pub(crate) trait Kind: Default {
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    fn into_value(self) -> Value;
    /// Whether the key goes when this is left.
    fn vanishes(&self) -> bool;
}

macro_rules! kind {
    ($type:ty, $variant:ident, $vanishes:expr) => {
        impl Kind for $type {
            fn of(value: &Value) -> Option<&Self> {
                match value {
                    Value::$variant(inner) => Some(inner),
                    _ => None,
                }
            }
            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                match value {
                    Value::$variant(inner) => Some(inner),
                    _ => None,
                }
            }
            fn into_value(self) -> Value {
                Value::$variant(self)
            }
            fn vanishes(&self) -> bool {
                let vanishes: fn(&Self) -> bool = $vanishes;
                vanishes(self)
            }
        }
    };
}

kind!(Bytes, String, |_| false);
kind!(Hash, Hash, Hash::is_empty);
kind!(List, List, List::is_empty);
kind!(Set, Set, Set::is_empty);
kind!(SortedSet, SortedSet, |set| set.scores.is_empty());
kind!(Stream, Stream, |_| false);
