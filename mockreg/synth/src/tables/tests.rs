//! That tables say what hashing says, learn it once, and believe what is kept.

use std::collections::BTreeSet;

use super::*;
use crate::spec::{Content, LayerId};

const FORMS: [Form; 3] = [Form::Tar, Form::Gzip, Form::Zstd];

/// Remembers what it is asked to keep, and how often it was asked for something.
#[derive(Debug, Default)]
struct Memory {
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
    stored: Mutex<Vec<String>>,
}

impl Archive for Memory {
    fn load(&self, name: &str) -> Option<Vec<u8>> {
        lock(&self.kept).get(name).cloned()
    }

    fn store(&self, name: &str, bytes: &[u8]) {
        lock(&self.kept).insert(name.to_owned(), bytes.to_vec());
        lock(&self.stored).push(name.to_owned());
    }
}

#[test]
fn foreseeing_makes_the_chains_that_digests_take() {
    let tables = Tables::bare();
    let id = LayerId::derive(1, "a", "", "", 0);
    let spec = LayerSpec::try_new(Form::Gzip, Content::Letters, 8 << 20, id).unwrap();
    tables.foresee(spec);
    let reach = |form| tables.chain(Stream::of(&spec), form).unwrap().reach();
    let before = FORMS.map(reach);
    assert!(before[1] > 6 << 20 && before[0] > 16 << 20 && before[2] == 0, "{before:?}");
    tables.digests(spec);
    assert_eq!(FORMS.map(reach), before);
}

#[test]
fn a_chain_gives_the_hash_of_the_stream() {
    let (bare, shipped) = (Tables::bare(), Tables::new());
    for form in FORMS {
        let source = Source::endless(Stream::Common(3), form);
        for len in [0, 1, 10, SPACING - 1, SPACING, 3 * SPACING + 77, 2 * SPACING] {
            let mut whole = Hasher::new();
            source.read(0, len).for_each(|piece| whole.update(&piece));
            let digest = whole.finalize();
            for tables in [&bare, &shipped] {
                let prefix = tables.prefix(&source, len);
                assert_eq!(prefix.length(), len);
                assert_eq!(prefix.finalize(), digest, "{form:?} {len}");
            }
        }
    }
}

/// Many threads ask for layers of the same streams at once; each gets what it would have got alone.
#[test]
fn growing_from_many_threads_gives_one_truth() {
    let spec = |n: u32| {
        let id = LayerId::derive(1, "team/app", "", "", n);
        let form = FORMS[1 + n as usize % 2];
        LayerSpec::try_new(form, Content::Letters, 1_000_000 + 700_000 * u64::from(n), id).unwrap()
    };
    let alone: Vec<_> = (0..12).map(|n| Tables::bare().digests(spec(n))).collect();
    let tables = Tables::bare();
    tables.prepare(&[spec(3), spec(11), spec(3)]);
    let together = Mutex::new(BTreeMap::new());
    in_parallel((0..12).rev().collect(), |n| {
        let digests = tables.digests(spec(n));
        lock(&together).insert(n, digests);
    });
    assert_eq!(lock(&together).values().copied().collect::<Vec<_>>(), alone);
}

#[test]
fn unique_layers_are_hashed_once_and_then_kept() {
    let specs: Vec<LayerSpec> = (0..6)
        .map(|n| {
            let id = LayerId::derive(1, "team/unique", "", "", n);
            LayerSpec::try_new(FORMS[n as usize % 3], Content::Letters, 6 << 20, id).unwrap().unique()
        })
        .collect();
    let archive = Arc::new(Memory::default());
    let first = Tables::new();
    first.keep_in(archive.clone());
    first.prepare(&specs);
    let digests: Vec<LayerDigests> = specs.iter().map(|spec| first.digests(*spec)).collect();
    assert_eq!(lock(&archive.stored).len(), specs.len(), "each was kept once");

    // What the archive says is believed, so a wrong digest there shows that nothing was hashed again.
    let wrong = Digest::of(b"another");
    keep(&*archive, specs[0], LayerDigests { digest: wrong, ..digests[0] });
    let second = Tables::new();
    second.keep_in(archive.clone());
    let again: Vec<LayerDigests> = specs.iter().map(|spec| second.digests(*spec)).collect();
    assert_eq!(again[0].digest, wrong);
    assert_eq!(again[1..], digests[1..]);
    let names: BTreeSet<String> = lock(&archive.stored).iter().cloned().collect();
    assert!(names.iter().all(|name| name.starts_with("unique-")), "{names:?}");
}

#[test]
fn what_is_remembered_is_not_computed() {
    let id = LayerId::derive(1, "a", "", "", 0);
    let spec = LayerSpec::try_new(Form::Gzip, Content::Letters, 10_000, id).unwrap();
    let digests = LayerDigests { tar_crc32: 0x0403_0201, ..Tables::new().digests(spec) };
    let tables = Tables::new();
    tables.remember(spec, &digests);
    assert_eq!(tables.digests(spec), digests);
    assert_eq!(tables.trailer(spec)[..4], [1, 2, 3, 4]);
}

/// What is announced is what is hashed, from nothing, from shipped checkpoints and from an archive.
#[test]
fn a_watcher_hears_of_every_byte_and_work_foretells_them() {
    let archive = Arc::new(Memory::default());
    let tables = |start: fn() -> Tables| {
        let (tables, heard) = (start(), Arc::new(Mutex::new(0)));
        let counter = Arc::clone(&heard);
        tables.watch(move |bytes| *lock(&counter) += bytes);
        tables.keep_in(archive.clone());
        (tables, heard)
    };
    for form in FORMS {
        let id = LayerId::derive(1, "a", &form.to_string(), "", 0);
        let shared = LayerSpec::try_new(form, Content::Letters, 5 << 20, id).unwrap();
        let mut announced = Vec::new();
        for (start, spec) in [
            (Tables::bare as fn() -> Tables, shared),
            (Tables::new, shared),
            (Tables::bare, shared.unique()),
            (Tables::bare, shared.unique()),
            (Tables::bare, shared),
        ] {
            let (tables, heard) = tables(start);
            let work = tables.work(spec);
            tables.digests(spec);
            // A gzip layer ends with eight bytes that are not hashed but computed.
            let told = *lock(&heard);
            assert!(told <= work && work <= told + gzip::TRAILER, "{form:?}: {told} of {work}");
            assert_eq!(tables.work(spec), 0);
            announced.push(told);
        }
        let [bare, shipped, unique, again, archived] = announced[..] else { unreachable!() };
        assert!(bare >= 5 << 20 && unique >= 5 << 20, "{announced:?}");
        assert!(shipped < bare && archived < bare && again == 0, "{announced:?}");
    }
}
