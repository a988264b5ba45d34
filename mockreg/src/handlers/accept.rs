//! Which manifests a client says that it can read. All `Accept` lines count as one list, and weights are ignored: a
//! registry has one manifest to give.

use http::HeaderMap;
use http::header::ACCEPT;
use mockreg_proto::media_type::essence;

/// Whether `media_type` is named, by itself.
pub(super) fn names(headers: &HeaderMap, media_type: &str) -> bool {
    ranges(headers).any(|range| range == essence(media_type))
}

/// Whether `media_type` may be sent: it is named, or a wildcard is, or there is no `Accept` at all.
pub(super) fn takes(headers: &HeaderMap, media_type: &str) -> bool {
    !headers.contains_key(ACCEPT)
        || ranges(headers).any(|range| matches!(range, "*/*" | "application/*"))
        || names(headers, media_type)
}

fn ranges(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(essence)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn all_lines_count_and_weights_do_not() {
        for (lines, taken, named) in [
            (vec![], true, false),
            (vec!["a/b"], true, true),
            (vec!["c/d, a/b;q=0"], true, true),
            (vec!["c/d", "e/f,a/b; q=0.5"], true, true),
            (vec!["*/*"], true, false),
            (vec!["x/y, application/*;q=0.1"], true, false),
            (vec!["c/d"], false, false),
            (vec![""], false, false),
        ] {
            let values = lines.iter().map(|line| (ACCEPT, HeaderValue::from_static(line)));
            let headers: HeaderMap = values.collect();
            assert_eq!((takes(&headers, "a/b; x=1"), names(&headers, "a/b")), (taken, named), "{lines:?}");
        }
    }
}
