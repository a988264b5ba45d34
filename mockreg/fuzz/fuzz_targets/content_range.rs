//! `Content-Range` of downloads and of upload chunks: what is read is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mockreg_proto::content_range::{ByteRange, ContentRange};

fuzz_target!(|header: &str| {
    if let Ok(range) = header.parse::<ContentRange>() {
        assert_eq!(range.to_string().parse(), Ok(range));
    }
    if let Ok(range) = header.parse::<ByteRange>() {
        assert!(range.first <= range.last && range.len() > 0);
        assert_eq!(range.to_string().parse(), Ok(range));
    }
});
