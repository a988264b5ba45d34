//! What the head of a request must say before anybody looks at what it asks for: which host it is for (RFC 9112 §3.2,
//! RFC 9113 §8.3.1). Where a body ends is the HTTP libraries' business: one that has both `Content-Length` and
//! `Transfer-Encoding` comes here without the former, and hyper ends its connection (RFC 9112 §6.3).

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Request, Version};

/// Whether a request names its host as its version of HTTP wants it: once, in a form that can be one, and over HTTP/2
/// not as two different ones. HTTP/1.0 knew no hosts.
///
/// # Errors
/// It does not; the text says what is wrong.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), &'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let authority = request.uri().authority();
    match (request.version(), first) {
        (Version::HTTP_11, None) => return Err("the request has no Host header"),
        (Version::HTTP_2, None) if authority.is_none() => {
            return Err("the request has neither :authority nor a Host header");
        }
        _ => {}
    }
    if second.is_some() {
        return Err("the request has more than one Host header");
    }
    match first.map(host) {
        Some(None) => Err("the Host header is no host"),
        Some(Some(host)) if request.version() == Version::HTTP_2 && differs(host, authority) => {
            Err("the Host header names another host than :authority")
        }
        _ => Ok(()),
    }
}

/// The host that a header names, which may be the empty one; `None` for what cannot be one.
fn host(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let fits = is_plain(text) || text.parse::<Authority>().is_ok() && !text.contains('@');
    (text.is_empty() || fits).then_some(text)
}

/// Whether a text is a host and perhaps a port as nearly every client writes them, which needs no closer look.
fn is_plain(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !host.is_empty()
        && host.bytes().all(fits)
        && (1..=5).contains(&port.len())
        && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn differs(host: &str, authority: Option<&Authority>) -> bool {
    authority.is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_once_and_in_a_form_that_can_be_one() {
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        for (version, uri, hosts, wanted) in [
            (one, "/v2/", &["a.test:5000"][..], None),
            (one, "/v2/", &["[::1]:5000"], None),
            (one, "/v2/", &[""], None),
            (one, "/v2/", &[], Some("no Host")),
            (one, "http://a.test/v2/", &[], Some("no Host")),
            (one, "/v2/", &["a.test", "a.test"], Some("more than one")),
            (one, "/v2/", &["a\"b"], Some("no host")),
            (one, "/v2/", &["<a>"], Some("no host")),
            (one, "/v2/", &["a.test/path"], Some("no host")),
            (one, "/v2/", &["ann@a.test"], Some("no host")),
            (Version::HTTP_10, "/v2/", &[], None),
            (Version::HTTP_10, "/v2/", &["a", "b"], Some("more than one")),
            (two, "http://a.test/v2/", &[], None),
            (two, "http://a.test/v2/", &["A.test"], None),
            (two, "http://a.test/v2/", &["b.test"], Some("another host")),
            (two, "/v2/", &["a.test"], None),
            (two, "/v2/", &[], Some("neither")),
        ] {
            let mut request = Request::builder().version(version).uri(uri);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let found = check(&request.body(()).unwrap());
            match wanted {
                None => assert_eq!(found, Ok(()), "{version:?} {uri} {hosts:?}"),
                Some(wanted) => assert!(found.unwrap_err().contains(wanted), "{version:?} {uri} {hosts:?}"),
            }
        }
    }
}
