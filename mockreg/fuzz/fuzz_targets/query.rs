//! Query strings: what is decoded can be encoded and comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mockreg_proto::query::{Query, decode, encode};

fuzz_target!(|text: &str| {
    let query = Query::parse(Some(text));
    for key in ["digest", "n", "last", "mount", "from", "tag", "scope"] {
        assert_eq!(query.first(key), query.all(key).next());
    }
    let decoded = decode(text);
    assert_eq!(decode(&encode(&decoded)), decoded);
});
