//! Pages of sorted names: `n` names after `last`, and a link to the next page.

use mockreg_proto::query::{Query, encode};

use crate::policy::OverMax;
use crate::problem::{Fault, Problem};

/// How a list is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paging {
    /// Whether `n` and `last` mean anything.
    pub(super) on: bool,
    /// Most names in one answer.
    pub(super) max: Option<usize>,
    /// What asking for more gets.
    pub(super) over_max: OverMax,
    /// Whether a page links to the next.
    pub(super) link: bool,
}

impl Paging {
    /// As the specification has it.
    pub(super) const PLAIN: Self = Self { on: true, max: None, over_max: OverMax::Truncate, link: true };
}

/// Which part of a list is asked for.
#[derive(Debug)]
pub(super) struct Window<'a> {
    /// The name before the first; it need not be in the list.
    pub(super) last: Option<&'a str>,
    most: Option<usize>,
    link: bool,
}

/// Some of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) names: Vec<String>,
    /// How many were asked for, if there are more and they are linked to.
    next: Option<usize>,
}

impl<'a> Window<'a> {
    /// What `query` asks for: everything where it does not say.
    ///
    /// # Errors
    /// `n` is no number, or more than is given.
    pub(super) fn of(query: &'a Query, paging: &Paging) -> Result<Self, Problem> {
        if !paging.on {
            return Ok(Self { last: None, most: None, link: false });
        }
        let refused = |detail: String| Problem::new(Fault::PageInvalid, detail);
        let number = |given: &str| {
            given.parse().map_err(|_| refused(format!("`n` is a number from 0, not `{given}`")))
        };
        let asked: Option<usize> = query.first("n").map(number).transpose()?;
        if let (Some(asked), Some(max), OverMax::Refuse) = (asked, paging.max, paging.over_max)
            && asked > max
        {
            return Err(refused(format!("`n` is at most {max}, not {asked}")));
        }
        let most = asked.map_or(paging.max, |asked| Some(asked.min(paging.max.unwrap_or(asked))));
        Ok(Self { last: query.first("last"), most, link: paging.link })
    }

    /// How many names after `last` it takes to make the page: one more than it has, to know whether there are more.
    pub(super) fn fetch(&self) -> usize {
        self.most.map_or(usize::MAX, |most| most.saturating_add(1))
    }

    /// The page, of the first [`Window::fetch`] names after `last`.
    pub(super) fn page(&self, mut names: Vec<String>) -> Page {
        let Some(most) = self.most else { return Page { names, next: None } };
        let more = names.len() > most && most > 0;
        names.truncate(most);
        Page { names, next: (more && self.link).then_some(most) }
    }
}

impl Page {
    /// The `Link` to the next page, relative, so that it leads through whatever the client came through.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        let (count, last) = (self.next?, self.names.last()?);
        Some(format!("<{path}?n={count}&last={}>; rel=\"next\"", encode(last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_with(query: &str, paging: &Paging) -> Result<(String, Option<String>), Problem> {
        let query = Query::parse(Some(query));
        let window = Window::of(&query, paging)?;
        let names = ["a", "b/c", "d", "e"].map(str::to_owned);
        let after = names.into_iter().filter(|name| window.last.is_none_or(|last| name.as_str() > last));
        let page = window.page(after.take(window.fetch()).collect());
        Ok((page.names.join(" "), page.link("/v2/_catalog")))
    }

    fn page(query: &str) -> (String, Option<String>) {
        page_with(query, &Paging::PLAIN).unwrap()
    }

    fn link(text: &str) -> Option<String> {
        Some(format!("</v2/_catalog?{text}>; rel=\"next\""))
    }

    #[test]
    fn pages_follow_each_other() {
        assert_eq!(page(""), ("a b/c d e".into(), None));
        assert_eq!(page("n=2"), ("a b/c".into(), link("n=2&last=b/c")));
        assert_eq!(page("n=2&last=b/c"), ("d e".into(), None));
        assert_eq!(page("n=1&last=c"), ("d".into(), link("n=1&last=d")));
        assert_eq!(page("last=a"), ("b/c d e".into(), None));
        assert_eq!(page("last=z"), (String::new(), None));
        assert_eq!(page("n=0"), (String::new(), None));
        assert_eq!(page("n=4"), ("a b/c d e".into(), None));
        assert_eq!(page(&format!("n={}", usize::MAX)), ("a b/c d e".into(), None));
    }

    #[test]
    fn a_page_size_is_a_number() {
        for given in ["n=", "n=x", "n=-1", "n=1.5"] {
            assert!(page_with(given, &Paging::PLAIN).is_err(), "{given}");
        }
    }

    #[test]
    fn a_list_may_be_given_in_other_ways() {
        let capped = Paging { max: Some(2), ..Paging::PLAIN };
        for query in ["", "n=3", "n=2"] {
            assert_eq!(page_with(query, &capped).unwrap(), ("a b/c".into(), link("n=2&last=b/c")), "{query}");
        }
        assert_eq!(page_with("n=1", &capped).unwrap(), ("a".into(), link("n=1&last=a")));
        let strict = Paging { over_max: OverMax::Refuse, ..capped };
        assert!(page_with("n=3", &strict).is_err());
        assert_eq!(page_with("", &strict).unwrap().0, "a b/c");
        let unpaged = Paging { on: false, ..capped };
        assert_eq!(page_with("n=x&last=d", &unpaged).unwrap(), ("a b/c d e".into(), None));
        let unlinked = Paging { link: false, ..Paging::PLAIN };
        assert_eq!(page_with("n=1", &unlinked).unwrap(), ("a".into(), None));
    }
}
