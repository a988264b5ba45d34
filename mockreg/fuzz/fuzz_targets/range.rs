//! `Range` headers: whatever they say, what is resolved lies inside the content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mockreg_proto::content_range::RangeRequest;

fuzz_target!(|input: (u64, &str)| {
    let (size, header) = input;
    if let Some(Ok(request)) = RangeRequest::parse(header) {
        for range in request.resolve(size) {
            assert!(range.first <= range.last && range.last < size, "{range} of {size}");
        }
    }
});
