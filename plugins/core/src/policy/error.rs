//! What is wrong with a policy, said so that its author can mend it: where, what was found, what was expected.

use std::fmt;

use serde::de::{Expected, Unexpected};

/// A refused policy. Its `Display` reads `limits[2].rate: found string "5/fortnight", expected a rate such as ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    path: String,
    problem: String,
}

impl PolicyError {
    /// A mistake at `path` (such as `limits[2].rate`; empty for the whole document).
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            problem: problem.into(),
        }
    }

    /// The JSON path of the mistake; empty for the whole document.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What was found and what was expected.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// The text is no JSON; the problem has the line and column.
    pub(super) fn syntax(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let text = text
            .rsplit_once(" at line ")
            .map_or(&*text, |(what, _)| what);
        let problem = format!("not valid JSON: {text} (line {line}, column {column})");
        Self::new("", problem)
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self.path.as_str() {
            "" => "policy",
            path => path,
        };
        write!(f, "{path}: {}", self.problem)
    }
}

impl std::error::Error for PolicyError {}

/// A mistake on its way out of the document, which gains a step of its path at each level. Boxed, so that the results
/// of good values stay small.
#[derive(Debug)]
pub(crate) struct Mistake(Box<PolicyError>);

impl Mistake {
    pub(super) fn in_field(mut self, name: &str) -> Self {
        let path = &mut self.0.path;
        if !path.is_empty() && !path.starts_with('[') {
            path.insert(0, '.');
        }
        path.insert_str(0, name);
        self
    }

    pub(super) fn in_item(mut self, index: usize) -> Self {
        let path = &mut self.0.path;
        if !path.is_empty() && !path.starts_with('[') {
            path.insert(0, '.');
        }
        path.insert_str(0, &format!("[{index}]"));
        self
    }

    fn at(field: &str, problem: String) -> Self {
        Self(Box::new(PolicyError::new(field, problem)))
    }
}

impl From<Mistake> for PolicyError {
    fn from(mistake: Mistake) -> Self {
        *mistake.0
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Mistake {}

impl serde::de::Error for Mistake {
    #[cold]
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self::at("", problem.to_string())
    }

    #[cold]
    #[inline(never)]
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_value(found, expected)
    }

    #[cold]
    #[inline(never)]
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let (found, expected) = (found.to_string(), expected.to_string());
        let problem = format!("found {}, expected {}", in_json(&found), in_json(&expected));
        Self::at("", problem)
    }

    #[cold]
    #[inline(never)]
    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let problem = format!("unknown field, expected {}", alternatives(field, known));
        Self::at(field, problem)
    }

    #[cold]
    #[inline(never)]
    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let problem = format!("found {found:?}, expected {}", alternatives(found, known));
        Self::at("", problem)
    }

    #[cold]
    #[inline(never)]
    fn missing_field(field: &'static str) -> Self {
        let problem = "found nothing, expected a value: this field is required";
        Self::at(field, problem.to_owned())
    }

    #[cold]
    #[inline(never)]
    fn duplicate_field(field: &'static str) -> Self {
        let problem = "found this field twice, expected it once";
        Self::at(field, problem.to_owned())
    }
}

/// serde speaks of Rust.
fn in_json(words: &str) -> &str {
    match words {
        "unit value" => "null",
        "map" => "an object",
        "sequence" | "a sequence" => "a list",
        "f64" => "a number",
        "a boolean" => "`true` or `false`",
        other => other,
    }
}

/// "`a`, `b` or `c`; did you mean `b`?"
fn alternatives(found: &str, known: &[&str]) -> String {
    let list = match known.split_last() {
        None => return "none".to_owned(),
        Some((last, [])) => format!("`{last}`"),
        Some((last, others)) => format!("`{}` or `{last}`", others.join("`, `")),
    };
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(name, found), name))
        .min()
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1));
    match nearest {
        Some((_, name)) => format!("{list}; did you mean `{name}`?"),
        None => list,
    }
}
