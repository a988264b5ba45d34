//! Reading a tar: the regular files in it. Enough of POSIX for what the clients write; layers that nobody has made
//! anew are plain ustar.

use std::collections::BTreeMap;

/// Regular files by path, without a leading `./`.
///
/// # Panics
/// It is no tar.
pub(crate) fn files(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut at = 0;
    let mut long_name = None;
    while let Some(header) = tar.get(at..at + 512).filter(|header| header[0] != 0) {
        assert_eq!(&header[257..262], b"ustar", "a header at byte {at}");
        let size = octal(&header[124..136]);
        let body = &tar[at + 512..at + 512 + size];
        match header[156] {
            b'x' => long_name = pax_path(body),
            // What long names belong to; folders and links are not asked for.
            kind => {
                let path = long_name.take().unwrap_or_else(|| name(header));
                if matches!(kind, b'0' | 0) {
                    files.insert(path.trim_start_matches("./").to_owned(), body.to_vec());
                }
            }
        }
        at += 512 + size.next_multiple_of(512);
    }
    files
}

fn octal(field: &[u8]) -> usize {
    let text = std::str::from_utf8(field).expect("sizes are digits").trim_matches(['\0', ' ']);
    usize::from_str_radix(text, 8).expect("sizes are octal")
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn name(header: &[u8]) -> String {
    match (text(&header[345..500]), text(&header[..100])) {
        (prefix, name) if prefix.is_empty() => name,
        (prefix, name) => format!("{prefix}/{name}"),
    }
}

/// The `path` of an extended header, whose lines are `LENGTH KEY=VALUE`.
fn pax_path(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    text.lines().find_map(|line| Some(line.split_once(' ')?.1.strip_prefix("path=")?.to_owned()))
}
