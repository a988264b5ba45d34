//! What may be shown on a terminal. Names are anybody's who can reach an API, and a terminal obeys what it is shown.

use std::borrow::Cow;

/// The text with what a terminal would obey instead of showing, control characters and those that turn the direction of
/// writing, spelt as `\n` or `\u{1b}`.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return text.into();
    }
    let spelt = text.chars().fold(String::new(), |mut spelt, character| {
        if is_obeyed(character) {
            spelt.extend(character.escape_default());
        } else {
            spelt.push(character);
        }
        spelt
    });
    spelt.into()
}

fn is_obeyed(character: char) -> bool {
    let turns = matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let ends_a_line = matches!(character, '\u{2028}' | '\u{2029}');
    character.is_control() || turns || ends_a_line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelt_and_the_rest_stays() {
        for (text, wanted) in [
            ("registry/a \"b\" \\c é 日", "registry/a \"b\" \\c é 日"),
            ("e\u{1b}[31m\"\\\n\tx/y", "e\\u{1b}[31m\"\\\\n\\tx/y"),
            ("\u{9b}31m \u{7f} \u{202e}", "\\u{9b}31m \\u{7f} \\u{202e}"),
        ] {
            assert_eq!(shown(text), wanted);
        }
    }
}
