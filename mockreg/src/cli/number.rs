//! Whole numbers on the command line, with messages that say what may be written.

use std::ops::RangeInclusive;

/// Reads a whole number of `range`.
pub(super) fn within(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| match (*range.start(), *range.end()) {
            (least, u64::MAX) => format!("give a whole number, {least} or more (up to {})", u64::MAX),
            (least, most) => format!("give a whole number from {least} to {most}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_such_number_is_told_the_range() {
        let read = within(1..=7);
        assert_eq!([read("1"), read("7")], [Ok(1), Ok(7)]);
        for text in ["0", "8", "-1", "abc", "1.5", ""] {
            assert_eq!(read(text).unwrap_err(), "give a whole number from 1 to 7", "{text}");
        }
        assert!(within(0..=u64::MAX)("18446744073709551616").unwrap_err().contains("18446744073709551615"));
    }
}
