//! Numbers as Go reads them, prints them, shortest and with an exponent from a million on, and sends them.

use serde_json::Value;

/// A number as Go's `strconv.ParseFloat` reads it, but for hexadecimal ones: underscores may stand between digits, and
/// one beyond all bounds is none.
pub(super) fn read(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let is_between = |(at, _): (usize, _)| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1));
    if !text.match_indices('_').all(is_between) {
        return None;
    }
    let number: f64 = text.replace('_', "").parse().ok()?;
    let is_spelt = text.bytes().any(|byte| byte.is_ascii_digit());
    (number.is_finite() || !is_spelt).then_some(number)
}

/// A number as Go's `fmt.Print` has it.
pub(super) fn shown(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').expect("it is printed with an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if (-4..6).contains(&exponent) { number.to_string() } else { scientific(digits, exponent) }
}

fn scientific(digits: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// A number as JSON, whole ones without a fraction; `None` for those that JSON does not have.
pub(super) fn sent(number: f64) -> Option<Value> {
    // Up to here every whole number is exact.
    let is_exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    if is_exact {
        Some(Value::from(number as i64))
    } else {
        serde_json::Number::from_f64(number).map(Value::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_in_go() {
        for (text, number) in [
            ("1_000", Some(1000.0)),
            ("1_0.5", Some(10.5)),
            ("+5", Some(5.0)),
            ("5.", Some(5.0)),
            (".5e1", Some(5.0)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("_1", None),
            ("1_", None),
            ("1__0", None),
            ("1_.5", None),
            ("1e400", None),
            (" 5", None),
            ("", None),
        ] {
            assert_eq!(read(text), number, "{text}");
        }
    }

    #[test]
    fn numbers_are_those_of_go() {
        for (number, text) in [
            (0.0, "0"),
            (100.0, "100"),
            (-5.0, "-5"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (12.5, "12.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e21, "1e+21"),
        ] {
            assert_eq!(shown(number), text);
        }
        assert_eq!(sent(100.0).unwrap().to_string(), "100");
        assert_eq!(sent(0.5).unwrap().to_string(), "0.5");
        assert_eq!(sent(f64::NAN), None);
    }
}
