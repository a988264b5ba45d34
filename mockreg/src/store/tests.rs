use bytes::Bytes;
use http::header::HeaderValue;

use super::*;
use crate::budget::{Budget, Room};
use crate::content::Kept;
use crate::manifest::Referrer;

fn content(text: &'static str) -> (Digest, Content) {
    let kept = Kept::own(Bytes::from_static(text.as_bytes()));
    (Digest::of(text.as_bytes()), Content::Kept(Arc::new(kept)))
}

fn manifest(text: &'static str) -> Manifest {
    let (digest, bytes) = (Digest::of(text.as_bytes()), Bytes::from_static(text.as_bytes()));
    let referrer = Referrer::of(&digest, "m", &bytes);
    let room = Room::none(&Budget::new(u64::MAX));
    Manifest::pushed(digest, HeaderValue::from_static("m"), bytes, referrer, room)
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn by_tag(text: &str) -> Reference {
    text.parse().unwrap()
}

#[test]
fn a_blob_is_visible_only_where_it_was_pushed() {
    let store = Store::default();
    let (digest, blob) = content("x");
    store.put_blob("a", digest, blob).unwrap();
    assert!(store.blob("a", &digest).is_some());
    assert!(store.blob("b", &digest).is_none());
    assert!(store.blob_anywhere(&digest, |_| true).is_some());
    assert!(store.blob_anywhere(&digest, |name| name == "b").is_none());
    assert_eq!(store.holdings(), Holdings { blobs: 1, bytes: 1, ..Holdings::default() });
}

#[test]
fn the_last_link_takes_the_blob_with_it() {
    let store = Store::default();
    let (digest, blob) = content("x");
    store.put_blob("a", digest, blob.clone()).unwrap();
    store.put_blob("b", digest, blob).unwrap();
    assert_eq!(store.remove_blob("a", &digest, false), Ok(true));
    assert_eq!(store.remove_blob("a", &digest, false), Ok(false));
    assert!(store.blob("a", &digest).is_none() && store.blob("b", &digest).is_some());
    assert_eq!(store.remove_blob("b", &digest, false), Ok(true));
    assert_eq!(store.holdings(), Holdings::default());
    assert_eq!(store.read().entries, 2, "two repositories that are known");
}

#[test]
fn a_tag_moves_and_the_old_manifest_stays() {
    let store = Store::default();
    for text in ["one", "two", "two"] {
        store.put_manifest("a", manifest(text), &[tag("v1")]).unwrap();
    }
    assert_eq!(store.manifest("a", &by_tag("v1")).unwrap().bytes, "two");
    assert!(store.manifest("a", &Reference::Digest(Digest::of(b"one"))).is_some());
    assert_eq!(store.tags_after("a", None, 9), ["v1"]);
    assert_eq!(store.read().entries, 4, "a repository, two manifests and a tag");
    store.clear();
    assert!(!store.knows("a"));
}

#[test]
fn deleting_a_manifest_takes_its_tags_and_deleting_a_tag_leaves_it() {
    let store = Store::default();
    store.put_manifest("a", manifest("one"), &[tag("v1"), tag("v2")]).unwrap();
    store.put_manifest("a", manifest("two"), &[tag("v3")]).unwrap();
    assert_eq!(store.remove_tag("a", &tag("v1"), false), Ok(true));
    assert!(store.manifest("a", &by_tag("v2")).is_some());
    assert_eq!(store.remove_manifest("a", &Digest::of(b"one"), false), Ok(true));
    assert_eq!(store.tags_after("a", None, 9), ["v3"]);
    assert_eq!(store.remove_manifest("a", &Digest::of(b"one"), false), Ok(false));
    assert_eq!(store.read().entries, 3, "a repository, a manifest and a tag");
}

#[test]
fn what_was_hidden_stays_so_until_it_is_uncovered() {
    let store = Store::default();
    store.put_manifest("a", manifest("one"), &[tag("v1")]).unwrap();
    store.remove_manifest("a", &Digest::of(b"one"), true).unwrap();
    let gone = store.gone("a").unwrap();
    let other = Digest::of(b"other");
    assert!(gone.has_manifest(&Digest::of(b"one")) && gone.has_tag("v1", &other));
    assert!(gone.has_tag("v2", &Digest::of(b"one")) && !gone.has_tag("v2", &other));
    store.uncover();
    assert!(!store.gone("a").unwrap().has_tag("v1", &other));
    assert_eq!(store.read().entries, 1);
}

#[test]
fn lists_begin_after_a_name_and_end_at_a_number() {
    let store = Store::default();
    store.put_manifest("a", manifest("one"), &["a", "b", "c", "B"].map(tag)).unwrap();
    assert_eq!(store.tags_after("a", None, 2), ["B", "a"]);
    assert_eq!(store.tags_after("a", Some("a"), 9), ["b", "c"]);
    assert_eq!(store.tags_after("a", Some("aa"), 1), ["b"]);
    assert_eq!(store.tags_after("b", None, 9), [""; 0]);
    store.put_manifest("b", manifest("one"), &[]).unwrap();
    assert_eq!(store.repositories_after(Some("a"), 9), ["b"]);
}

#[test]
fn referrers_come_and_go_with_their_manifests() {
    let store = Store::default();
    let text = concat!(
        r#"{"subject":{"digest":"sha256:"#,
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        r#""}}"#
    );
    let subject = Digest::of(b"");
    store.put_manifest("a", manifest(text), &[]).unwrap();
    assert_eq!(store.referrers("a", &subject)[0].bytes, text);
    assert!(store.referrers("b", &subject).is_empty());
    store.remove_manifest("a", &Digest::of(text.as_bytes()), false).unwrap();
    assert!(store.referrers("a", &subject).is_empty());
    assert!(store.read().repositories["a"].referrers(&subject).is_empty());
}
