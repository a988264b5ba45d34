//! Upload sessions against a model of them: whatever comes in whatever order, the answer is the one the model gives,
//! and what is stored in the end is what was taken.

use mockreg_proto::digest::{Algorithm, Digest};
use proptest::prelude::*;

use crate::client::{Answer, Client, bytes_of, foreign, layer, open_upload, registry};

/// One request to a session.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Bytes without a place.
    Stream { len: usize },
    /// A chunk that begins `off` bytes from where the session ends, and announces `lie` bytes more than it has.
    Chunk { len: usize, off: i32, lie: i32 },
    /// How far is it?
    Ask,
    /// An end with a digest that is none.
    Malformed,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug)]
enum Body {
    Announced,
    Chunked { piece: usize },
}

fn step() -> impl Strategy<Value = (Step, Body)> {
    let len = 1usize..20_000;
    let step = prop_oneof![
        3 => len.clone().prop_map(|len| Step::Stream { len }),
        3 => len.clone().prop_map(|len| Step::Chunk { len, off: 0, lie: 0 }),
        2 => (len.clone(), -30_000i32..30_000).prop_map(|(len, off)| Step::Chunk { len, off, lie: 0 }),
        2 => (len, -300i32..300).prop_map(|(len, lie)| Step::Chunk { len, off: 0, lie }),
        1 => Just(Step::Ask),
        1 => Just(Step::Malformed),
    ];
    let body = prop_oneof![Just(Body::Announced), (1usize..5_000).prop_map(|piece| Body::Chunked { piece })];
    (step, body)
}

fn send(client: &mut Client, location: &str, range: Option<&str>, bytes: &[u8], body: Body) -> Answer {
    let headers: Vec<(&str, &str)> = range.iter().map(|range| ("Content-Range", *range)).collect();
    match body {
        Body::Announced => client.send("PATCH", location, &headers, bytes),
        Body::Chunked { piece } => {
            let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
            client.send_chunked("PATCH", location, &headers, &pieces)
        }
    }
}

/// What the model says: status, code, and how many bytes of the body are taken.
fn expected(step: Step, body: Body, len: usize) -> (u16, &'static str, usize) {
    match step {
        Step::Stream { len } => (202, "", len),
        Step::Ask => (204, "", 0),
        Step::Malformed => (400, "DIGEST_INVALID", 0),
        Step::Chunk { off, .. } if (len as i64 + i64::from(off)).max(0) != len as i64 => {
            (416, "RANGE_INVALID", 0)
        }
        Step::Chunk { len, lie, .. } => match (announced(len, lie), body) {
            (said, _) if said == len => (202, "", len),
            (_, Body::Announced) => (416, "RANGE_INVALID", 0),
            (said, Body::Chunked { .. }) => (400, "SIZE_INVALID", said.min(len)),
        },
    }
}

fn announced(len: usize, lie: i32) -> usize {
    (len as i64 + i64::from(lie)).max(1) as usize
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_sequence_of_requests_gives_the_blob_or_the_exact_error(
        steps in proptest::collection::vec(step(), 1..12),
        synthetic in 0usize..100_000,
        end in 0usize..10_000,
        right in proptest::bool::weighted(0.8),
        algorithm in prop_oneof![3 => Just(Algorithm::Sha256), 1 => Just(Algorithm::Sha512)],
    ) {
        let whole = [&bytes_of(layer("100kb"))[..synthetic], &foreign(400_000)].concat();
        let registry = registry();
        let mut client = Client::of(&registry);
        let location = open_upload(&mut client, "a");
        let mut len = 0;
        for (step, body) in steps {
            let (status, code, taken) = expected(step, body, len);
            let answer = match step {
                Step::Ask => client.get(&location),
                Step::Malformed => client.send("PUT", &format!("{location}?digest=sha256:0"), &[], b"lost"),
                Step::Stream { len: count } => send(&mut client, &location, None, &whole[len..len + count], body),
                Step::Chunk { len: count, off, lie } => {
                    let first = (len as i64 + i64::from(off)).max(0) as usize;
                    let range = format!("{first}-{}", first + announced(count, lie) - 1);
                    send(&mut client, &location, Some(&range), &whole[len..len + count], body)
                }
            };
            len += taken;
            prop_assert_eq!(answer.status, status, "{:?} {:?} at {}: {:?}", step, body, len, answer);
            if !code.is_empty() {
                prop_assert_eq!(answer.code(), code);
            }
            if status != 400 || code == "SIZE_INVALID" {
                let range = format!("0-{}", len.saturating_sub(1));
                prop_assert_eq!(answer.header("range"), Some(range.as_str()), "{:?} {:?}", step, body);
                prop_assert_eq!(answer.header("location"), Some(location.as_str()));
            }
        }
        let blob = &whole[..len + end];
        let found = Digest::of_with(algorithm, blob);
        let digest = if right { found } else { Digest::of_with(algorithm, b"else") };
        let put = client.send("PUT", &format!("{location}?digest={digest}"), &[], &blob[len..]);
        let got = client.get(&format!("/v2/a/blobs/{digest}"));
        if right {
            prop_assert_eq!(put.status, 201);
            prop_assert!(got.status == 200 && got.body == blob);
        } else {
            prop_assert_eq!((put.status, put.code()), (400, "DIGEST_INVALID".to_owned()));
            prop_assert_eq!((got.status, client.get(&format!("/v2/a/blobs/{found}")).status), (404, 404));
        }
        prop_assert_eq!(client.get(&location).code(), "BLOB_UPLOAD_UNKNOWN");
    }
}
