//! What a request that changes something invalidates (RFC 9111, 4.4).

use crate::headers::Headers;

/// Whether a method may change something; one that is not known may.
#[must_use]
pub fn is_unsafe(method: &[u8]) -> bool {
    !matches!(
        method,
        b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"CONNECT"
    )
}

/// The targets (`:path`) at the request's own authority whose answers are void, its own first: when the method is
/// unsafe and the status is 2xx or 3xx.
#[must_use]
pub fn invalidated_by(request: &Headers, status: u16, response: &Headers) -> Vec<Vec<u8>> {
    let method = request.first(":method").unwrap_or_default();
    if !is_unsafe(method) || !(200..400).contains(&status) {
        return Vec::new();
    }
    let base = request.first(":path").unwrap_or(b"/");
    let mut targets = vec![without_fragment(base).to_vec()];
    for name in ["location", "content-location"] {
        if let Some(target) = response
            .first(name)
            .and_then(|uri| resolve(request, base, uri))
            && !targets.contains(&target)
        {
            targets.push(target);
        }
    }
    targets
}

/// The target that a URI reference means, whatever its scheme and authority.
pub(crate) fn resolve_anywhere(request: &Headers, uri: &[u8]) -> Option<Vec<u8>> {
    let uri = uri.trim_ascii();
    let end = uri
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let (scheme, after) = uri.split_at_checked(end.unwrap_or(uri.len()))?;
    let target = match after.strip_prefix(b"//") {
        Some(rest) if scheme.is_empty() || scheme.ends_with(b":") => {
            let end = rest
                .iter()
                .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
            let target = end.and_then(|end| rest.get(end..)).unwrap_or_default();
            match target.first() {
                Some(b'/') => target.to_vec(),
                _ => [b"/", target].concat(),
            }
        }
        _ => uri.to_vec(),
    };
    let base = request.first(":path").unwrap_or(b"/");
    resolve(request, base, &target)
}

/// The target that a URI reference means (RFC 3986, 5.2), if it is of the same scheme and authority.
fn resolve(request: &Headers, base: &[u8], uri: &[u8]) -> Option<Vec<u8>> {
    let uri = without_fragment(uri.trim_ascii());
    if uri.is_empty() {
        return Some(without_fragment(base).to_vec());
    }
    let scheme = request.first(":scheme").unwrap_or(b"http");
    let colon = uri
        .iter()
        .position(|byte| matches!(byte, b':' | b'/' | b'?'));
    let rest = match colon.and_then(|at| Some((uri.get(at)?, uri.split_at_checked(at)?))) {
        Some((b':', (name, rest))) if !name.is_empty() => {
            if !name.eq_ignore_ascii_case(scheme) {
                return None;
            }
            rest.get(1..)?
        }
        _ => uri,
    };
    if let Some(rest) = rest.strip_prefix(b"//") {
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
        let (authority, target) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        let ours = request.first(":authority").unwrap_or_default();
        let same = super::key::authority(scheme, authority) == super::key::authority(scheme, ours);
        let target = match target.first() {
            Some(b'/') => normalized(target),
            _ => [b"/", target].concat(),
        };
        return same.then_some(target);
    }
    if rest.len() != uri.len() {
        // `http:path`: no one can tell what was meant.
        return None;
    }
    let path = |target: &[u8]| {
        let end = target.iter().position(|byte| *byte == b'?');
        target
            .get(..end.unwrap_or(target.len()))
            .unwrap_or_default()
            .to_vec()
    };
    let base = path(without_fragment(base));
    Some(match rest.first() {
        Some(b'/') => normalized(rest),
        Some(b'?') => [base.as_slice(), rest].concat(),
        _ => {
            let folder = base
                .iter()
                .rposition(|byte| *byte == b'/')
                .map_or(0, |at| at + 1);
            let folder = base.get(..folder).unwrap_or_default();
            normalized(&[folder, rest].concat())
        }
    })
}

fn without_fragment(uri: &[u8]) -> &[u8] {
    uri.split(|byte| *byte == b'#').next().unwrap_or_default()
}

/// Without dot segments (RFC 3986, 5.2.4); the query as it is.
fn normalized(target: &[u8]) -> Vec<u8> {
    let end = target.iter().position(|byte| *byte == b'?');
    let (path, query) = target
        .split_at_checked(end.unwrap_or(target.len()))
        .unwrap_or((target, b""));
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|byte| *byte == b'/').peekable();
    segments.next_if(|first| first.is_empty());
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." => {}
            b".." => {
                kept.pop();
            }
            other => {
                kept.push(other);
                continue;
            }
        }
        if last {
            kept.push(b"");
        }
    }
    let mut out = Vec::with_capacity(target.len());
    for segment in kept {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out.extend_from_slice(query);
    out
}
