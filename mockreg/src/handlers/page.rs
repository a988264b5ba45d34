//! Pages of sorted names: `n` names after `last`, and a link to the next page.

use crate::problem::{Fault, Problem};
use crate::query::{Query, encode};

/// Some of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) names: Vec<String>,
    /// How many were asked for, if there are more.
    next: Option<usize>,
}

impl Page {
    /// The page of sorted `names` that `query` asks for: all of them where it does not say.
    ///
    /// # Errors
    /// `n` is no number.
    pub(super) fn of(mut names: Vec<String>, query: &Query) -> Result<Self, Problem> {
        if let Some(last) = query.first("last") {
            // In byte order, and also where `last` itself is not in the list.
            let start = names.partition_point(|name| name.as_str() <= last);
            names.drain(..start);
        }
        let Some(given) = query.first("n") else { return Ok(Self { names, next: None }) };
        let count: usize = given.parse().map_err(|_| {
            Problem::new(Fault::PageInvalid, format!("`n` is a number from 0, not `{given}`"))
        })?;
        let more = names.len() > count && count > 0;
        names.truncate(count);
        Ok(Self { names, next: more.then_some(count) })
    }

    /// The `Link` to the next page, relative, so that it leads through whatever the client came through.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        let (count, last) = (self.next?, self.names.last()?);
        Some(format!("<{path}?n={count}&last={}>; rel=\"next\"", encode(last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> (String, Option<String>) {
        let names = ["a", "b/c", "d", "e"].map(str::to_owned).to_vec();
        let page = Page::of(names, &Query::parse(Some(query))).unwrap();
        (page.names.join(" "), page.link("/v2/_catalog"))
    }

    #[test]
    fn pages_follow_each_other() {
        let link = |text: &str| Some(format!("</v2/_catalog?{text}>; rel=\"next\""));
        assert_eq!(page(""), ("a b/c d e".into(), None));
        assert_eq!(page("n=2"), ("a b/c".into(), link("n=2&last=b/c")));
        assert_eq!(page("n=2&last=b/c"), ("d e".into(), None));
        assert_eq!(page("n=1&last=c"), ("d".into(), link("n=1&last=d")));
        assert_eq!(page("last=a"), ("b/c d e".into(), None));
        assert_eq!(page("last=z"), (String::new(), None));
        assert_eq!(page("n=0"), (String::new(), None));
        assert_eq!(page("n=4"), ("a b/c d e".into(), None));
    }

    #[test]
    fn a_page_size_is_a_number() {
        for given in ["n=", "n=x", "n=-1", "n=1.5"] {
            assert!(Page::of(Vec::new(), &Query::parse(Some(given))).is_err(), "{given}");
        }
    }
}
