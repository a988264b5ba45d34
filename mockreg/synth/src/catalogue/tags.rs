//! The tags of one part of a repository, listed or numbered. Numbered ones are never written out: their order, their
//! names and the way from a name to its number are arithmetic, so a million of them take no memory.

use std::borrow::Cow;

/// The tags of one part of a repository.
#[derive(Clone, Copy, Debug)]
pub(super) enum TagNames<'a> {
    /// As the catalogue lists them, and their places in sorted order.
    Listed { names: &'a [String], order: &'a [u32] },
    /// `prefix` and the numbers from 1 to `count`, without leading zeros.
    Numbered { prefix: &'a str, count: u32 },
}

/// Places of `names` in sorted order.
pub(super) fn order(names: &[String]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..names.len() as u32).collect();
    order.sort_by_key(|place| &names[*place as usize]);
    order
}

impl<'a> TagNames<'a> {
    pub(super) fn len(&self) -> u32 {
        match self {
            Self::Listed { names, .. } => names.len() as u32,
            Self::Numbered { count, .. } => *count,
        }
    }

    /// The name at a place, from 0.
    pub(super) fn name(&self, place: u32) -> Cow<'a, str> {
        match self {
            Self::Listed { names, .. } => Cow::Borrowed(&names[place as usize]),
            Self::Numbered { prefix, .. } => Cow::Owned(format!("{prefix}{}", place + 1)),
        }
    }

    /// The place of a name.
    pub(super) fn place(&self, tag: &str) -> Option<u32> {
        match self {
            Self::Listed { names, order } => {
                let found = order.binary_search_by_key(&tag, |place| &names[*place as usize]);
                found.ok().map(|at| order[at])
            }
            Self::Numbered { prefix, count } => {
                let digits = tag.strip_prefix(prefix)?;
                let plain = digits.starts_with(|c: char| ('1'..='9').contains(&c));
                let number: u32 = digits.parse().ok().filter(|number| plain && number <= count)?;
                Some(number - 1)
            }
        }
    }

    /// The names after `last`, or all, in byte order.
    pub(super) fn sorted_after(self, last: Option<&str>) -> Box<dyn Iterator<Item = Cow<'a, str>> + 'a> {
        match self {
            Self::Listed { names, order } => {
                let start = match last {
                    Some(last) => order.partition_point(|place| names[*place as usize].as_str() <= last),
                    None => 0,
                };
                Box::new(
                    order[start..].iter().map(move |place| Cow::Borrowed(names[*place as usize].as_str())),
                )
            }
            Self::Numbered { prefix, count } => {
                let count = u64::from(count);
                let first = match last {
                    Some(last) => first_after(prefix, count, last),
                    None => Some(1),
                };
                let numbers = std::iter::successors(first, move |number| successor(*number, count));
                Box::new(numbers.map(move |number| Cow::Owned(format!("{prefix}{number}"))))
            }
        }
    }

    /// A tag that both have, if there is one.
    pub(super) fn common(&self, other: &Self) -> Option<String> {
        match (self, other) {
            (Self::Listed { names, .. }, _) => names.iter().find(|name| other.place(name).is_some()).cloned(),
            (_, Self::Listed { names, .. }) => names.iter().find(|name| self.place(name).is_some()).cloned(),
            (Self::Numbered { prefix: one, .. }, Self::Numbered { prefix: two, .. }) => {
                // Either both prefixes are one, or the longer one ends in digits that begin a number of the other;
                // the least such number ends in 1, since numbers count from there.
                let longer = if one.len() < two.len() { two } else { one };
                let tag = format!("{longer}1");
                (self.place(&tag).is_some() && other.place(&tag).is_some()).then_some(tag)
            }
        }
    }
}

/// The number after `number` in the byte order of their digits, among 1 to `count`.
fn successor(number: u64, count: u64) -> Option<u64> {
    if number * 10 <= count { Some(number * 10) } else { sibling(number, count) }
}

/// The first number after `number` and all that begin with its digits.
fn sibling(mut number: u64, count: u64) -> Option<u64> {
    while number > 0 {
        if number % 10 < 9 && number < count {
            return Some(number + 1);
        }
        number /= 10;
    }
    None
}

/// The first number whose tag comes after `last`.
fn first_after(prefix: &str, count: u64, last: &str) -> Option<u64> {
    let Some(rest) = last.strip_prefix(prefix) else {
        return if last < prefix { Some(1) } else { None };
    };
    // As many digits of it as are one of the numbers.
    let (mut number, mut taken) = (0, 0);
    for digit in rest.bytes().take_while(u8::is_ascii_digit) {
        let longer = number * 10 + u64::from(digit - b'0');
        if longer == 0 || longer > count {
            break;
        }
        (number, taken) = (longer, taken + 1);
    }
    let next = rest.as_bytes().get(taken);
    match (number, next) {
        (0, None) => Some(1),
        // A digit here is larger than the count, and with it than every number.
        (0, Some(byte)) => (*byte < b'1').then_some(1),
        (_, Some(byte)) if *byte >= b'0' => sibling(number, count),
        _ => successor(number, count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(prefix: &str, count: u32) -> TagNames<'_> {
        TagNames::Numbered { prefix, count }
    }

    #[test]
    fn numbers_come_in_byte_order() {
        for count in [1, 9, 10, 11, 99, 100, 123, 2000] {
            let mut wanted: Vec<String> = (1..=count).map(|n| format!("v{n}")).collect();
            wanted.sort();
            assert_eq!(numbered("v", count).sorted_after(None).collect::<Vec<_>>(), wanted, "{count}");
        }
    }

    #[test]
    fn places_and_names_belong_together() {
        let tags = numbered("v", 40);
        assert_eq!((tags.place("v1"), tags.place("v40"), tags.name(39).as_ref()), (Some(0), Some(39), "v40"));
        for tag in ["v0", "v41", "v01", "v+1", "v", "1", "w1", "v1x", "v99999999999"] {
            assert_eq!(tags.place(tag), None, "{tag}");
        }
        let names = ["b", "c", "a"].map(str::to_owned);
        let order = order(&names);
        let listed = TagNames::Listed { names: &names, order: &order };
        assert_eq!((listed.place("a"), listed.place("d")), (Some(2), None));
        assert_eq!(listed.sorted_after(Some("a")).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn common_tags_are_found() {
        assert_eq!(numbered("v", 20).common(&numbered("v1", 5)), Some("v11".into()));
        assert_eq!(numbered("v1", 5).common(&numbered("v", 20)), Some("v11".into()));
        assert_eq!(numbered("v", 10).common(&numbered("v1", 5)), None);
        assert_eq!(numbered("v", 3).common(&numbered("v", 1)), Some("v1".into()));
        assert_eq!(numbered("v", 3).common(&numbered("w", 3)), None);
    }

    proptest::proptest! {
        #[test]
        fn a_page_begins_after_any_text(count in 1u32..300, last in "[v-w]?[0-9.a-]{0,4}") {
            let mut wanted: Vec<String> = (1..=count).map(|n| format!("v{n}")).collect();
            wanted.sort();
            wanted.retain(|tag| *tag > last);
            proptest::prop_assert_eq!(numbered("v", count).sorted_after(Some(&last)).collect::<Vec<_>>(), wanted);
        }

        #[test]
        fn numbered_tags_overlap_exactly_where_they_say(
            one in "v[0-9]{0,2}", other in "v[0-9]{0,2}", counts in (1u32..200, 1u32..200),
        ) {
            let (one, other) = (numbered(&one, counts.0), numbered(&other, counts.1));
            let any = (0..one.len()).any(|place| other.place(&one.name(place)).is_some());
            proptest::prop_assert_eq!(one.common(&other).is_some(), any);
        }
    }
}
