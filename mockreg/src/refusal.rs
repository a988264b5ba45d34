//! What a client is told that sent no request: hyper answers malformed and oversized heads by itself, with a status
//! and nothing else. Such an answer is held back (`socket`) and sent with the JSON body that every error has.

use crate::problem::{Fault, Problem};

/// How hyper's own answers begin; those of handlers are announced before they are written.
const REFUSED: &[u8] = b"HTTP/1.1 4";
/// What they say about their body.
const NO_BODY: &str = "content-length: 0\r\n";

/// Whether bytes that no request waits for are hyper's refusal. An interim answer (100) is none.
pub(crate) fn is_refusal(bytes: &[u8]) -> bool {
    bytes.starts_with(REFUSED) && bytes.ends_with(b"\r\n\r\n")
}

/// The refusal `head` with a body that says what was wrong.
pub(crate) fn explained(head: &[u8], detail: &str) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    if !head.contains(NO_BODY) {
        return head.into_owned().into_bytes();
    }
    let fault = match head.split(' ').nth(1) {
        Some("414") => Fault::UriTooLong,
        Some("431") => Fault::HeadTooLarge,
        _ => Fault::RequestMalformed,
    };
    let body = Problem::new(fault, detail).into_text();
    let described = format!(
        "content-type: application/json\r\ncontent-length: {}\r\ndocker-distribution-api-version: registry/2.0\r\n",
        body.len()
    );
    let mut answer = head.replacen(NO_BODY, &described, 1).into_bytes();
    answer.extend_from_slice(&body);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_gets_a_body_and_keeps_its_head() {
        let head =
            b"HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";
        assert!(is_refusal(head));
        let answer = String::from_utf8(explained(head, "too long")).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 414 URI Too Long\r\nconnection: close\r\n"), "{head}");
        assert!(
            head.ends_with("\r\ndate: now") && head.contains(&format!("content-length: {}\r\n", body.len()))
        );
        assert!(body.contains(r#""detail":"too long""#), "{body}");
    }

    #[test]
    fn other_answers_are_no_refusals() {
        for other in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 400 Bad", ""] {
            assert!(!is_refusal(other.as_bytes()), "{other}");
        }
        let bodied = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n";
        assert_eq!(explained(bodied, "x"), bodied);
    }
}
