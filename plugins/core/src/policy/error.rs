//! What is wrong with a policy, said so that its author can mend it: where, what was found, what was expected.

use std::fmt;

use serde_json::error::Category;

/// A refused policy. Its `Display` reads `limits[2].rate: found string "5/fortnight", expected a rate such as ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    path: String,
    problem: String,
    position: Option<(usize, usize)>,
}

impl PolicyError {
    /// A mistake at `path` (such as `limits[2].rate`; empty for the whole document).
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            problem: problem.into(),
            position: None,
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

    /// The text is no JSON.
    pub(super) fn syntax(error: &serde_json::Error) -> Self {
        Self {
            path: String::new(),
            problem: format!("not valid JSON: {}", without_position(&error.to_string())),
            position: position(error),
        }
    }

    /// The JSON is no policy.
    pub(super) fn data(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        let mut path = error.path().to_string();
        let inner = error.into_inner();
        if path == "." {
            path.clear();
        }
        while let Some(known) = path.strip_suffix(".?") {
            path.truncate(known.len());
        }
        let text = inner.to_string();
        let message = without_position(&text);
        let problem = if is_about_choices(&inner, message) {
            "found none or several of the choices, expected one: its name, or an object with it as the only key"
                .to_owned()
        } else {
            in_our_words(message, &mut path)
        };
        Self {
            path,
            problem,
            position: position(&inner),
        }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() {
            "policy"
        } else {
            &self.path
        };
        write!(f, "{path}: {}", self.problem)?;
        match self.position {
            Some((line, column)) => write!(f, " (line {line}, column {column})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PolicyError {}

fn position(error: &serde_json::Error) -> Option<(usize, usize)> {
    (error.line() > 0).then(|| (error.line(), error.column()))
}

fn without_position(message: &str) -> &str {
    message
        .rsplit_once(" at line ")
        .map_or(message, |(before, _)| before)
}

/// The text has been parsed before. What calls itself a syntax error all the same is a value of another type, or an
/// object with too few or too many keys, where one of several is chosen by name; or an escape or number that the first
/// pass did not look into.
fn is_about_choices(error: &serde_json::Error, message: &str) -> bool {
    matches!(error.classify(), Category::Syntax | Category::Eof)
        && ["expected ", "trailing ", "key must be "]
            .iter()
            .any(|start| message.starts_with(start))
}

/// serde hands its complaints over as text. What is not recognised stays as it is, so a change of serde's wording
/// costs polish, not meaning.
fn in_our_words(message: &str, path: &mut String) -> String {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (found, known) = rest.rsplit_once(", expected ").unwrap_or((rest, ""));
        let found = found.trim_matches('`');
        end_with(path, found);
        return format!("unknown field, expected {}", alternatives(found, known));
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let (found, known) = rest.rsplit_once(", expected ").unwrap_or((rest, ""));
        let known = alternatives(found.trim_matches('`'), known);
        return format!("found {found}, expected {known}");
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        end_with(path, rest.trim_matches('`'));
        return "found nothing, expected a value: this field is required".to_owned();
    }
    if let Some(rest) = message.strip_prefix("duplicate field ") {
        end_with(path, rest.trim_matches('`'));
        return "found this field twice, expected it once".to_owned();
    }
    let complaint = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix));
    match complaint.map(|rest| {
        rest.rsplit_once(", expected ")
            .unwrap_or((rest, "something else"))
    }) {
        None => message.to_owned(),
        Some(("unit variant", _)) => {
            "found only this name, expected an object with the name as its key".to_owned()
        }
        Some((found, "unit")) => {
            format!(
                "found {}, expected only this name, as a text",
                json_word(found)
            )
        }
        Some((found, expected)) => {
            format!(
                "found {}, expected {}",
                json_word(found),
                json_word(expected)
            )
        }
    }
}

/// serde speaks of Rust.
fn json_word(word: &str) -> &str {
    match word {
        "map" => "an object",
        "sequence" | "a sequence" => "a list",
        "f64" => "a number",
        other => other,
    }
}

/// Errors about a field are reported at its object or at the field, depending on when serde noticed.
fn end_with(path: &mut String, field: &str) {
    let ends = path
        .strip_suffix(field)
        .is_some_and(|before| before.is_empty() || before.ends_with('.'));
    if !ends {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(field);
    }
}

/// Turns serde's "one of `a`, `b`" into "`a` or `b`; did you mean `b`?".
fn alternatives(found: &str, known: &str) -> String {
    let names: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let list = match names.split_last() {
        None => return known.to_owned(),
        Some((last, [])) => format!("`{last}`"),
        Some((last, others)) => format!("`{}` or `{last}`", others.join("`, `")),
    };
    let nearest = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(name, found), name))
        .min()
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1));
    match nearest {
        Some((_, name)) => format!("{list}; did you mean `{name}`?"),
        None => list,
    }
}
