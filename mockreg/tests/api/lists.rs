//! Lists of tags that are long, pushed and made at once, and given in other ways.

use mockreg::Registry;
use mockreg::policy::{OverMax, Policy};
use mockreg_proto::digest::Digest;
use serde_json::{Value, json};

use crate::client::{Case, Client, check, manifest, put_manifest, registry};

/// Pushes a manifest under many tags, as many as one request takes at a time.
fn push_tags(client: &mut Client, repository: &str, tags: &[String]) {
    let body = manifest(client, repository).to_string();
    let path = format!("/v2/{repository}/manifests/{}", Digest::of(body.as_bytes()));
    for some in tags.chunks(50) {
        let query: Vec<String> = some.iter().map(|tag| format!("tag={tag}")).collect();
        let put = client.send("PUT", &format!("{path}?{}", query.join("&")), &[], body.as_bytes());
        assert_eq!(put.status, 201);
    }
}

fn tags_of(answer: &Value) -> Vec<String> {
    answer["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

/// All pages from the first on, and how many there are.
fn walk(client: &mut Client, first: &str) -> (Vec<String>, usize) {
    let (mut path, mut tags, mut pages) = (first.to_owned(), Vec::new(), 0);
    loop {
        let page = client.get(&path);
        tags.extend(tags_of(&page.json()));
        pages += 1;
        let Some(link) = page.header("link") else { return (tags, pages) };
        path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
}

#[test]
fn pages_of_pushed_and_made_tags_make_the_whole_list() {
    let text =
        "{schema_version: 1, repositories: [{name: app, tags: {prefix: m, count: 500}, layers: [1kB]}]}";
    let catalogue = mockreg_proto::document::read("test", text).unwrap();
    let registry = Registry::builder().catalogue(catalogue).start().unwrap();
    let mut client = Client::of(&registry);
    let pushed: Vec<String> =
        (0..500).map(|n| format!("{}{n}", if n % 2 == 0 { "a" } else { "z" })).collect();
    push_tags(&mut client, "app", &pushed);
    // One that both have, and one that was deleted.
    put_manifest(&mut client, "app", "m7", &manifest(&mut Client::of(&registry), "app"));
    assert_eq!(client.send("DELETE", "/v2/app/manifests/m8", &[], b"").status, 202);
    let mut wanted: Vec<String> =
        pushed.into_iter().chain((1..=500).map(|n| format!("m{n}")).filter(|tag| tag != "m8")).collect();
    wanted.sort();
    assert_eq!(wanted.len(), 999);
    for (query, pages) in [("", 1), ("?n=1000", 1), ("?n=999", 1), ("?n=998", 2), ("?n=7", 143)] {
        let found = walk(&mut client, &format!("/v2/app/tags/list{query}"));
        assert!(
            found.0 == wanted && found.1 == pages,
            "{query}: {} tags in {} pages",
            found.0.len(),
            found.1
        );
    }
}

#[test]
fn tags_may_be_given_in_other_ways() {
    let filled = |policy| {
        let registry = Registry::builder().policy(policy).start().unwrap();
        push_tags(&mut Client::of(&registry), "a", &["a", "b", "c", "d", "e"].map(str::to_owned));
        registry
    };
    let get = |query: &str, status| Case::new("tags", "GET", format!("/v2/a/tags/list{query}"), status);
    let link = |query: &str| format!("</v2/a/tags/list{query}>; rel=\"next\"");
    let capped = Policy { tags_page_max: Some(2), ..Policy::default() };
    check(
        &filled(capped.clone()),
        &[
            get("", 200).says(r#"["a","b"]"#).has("link", link("?n=2&last=b")),
            get("?n=4&last=b", 200).says(r#"["c","d"]"#).has("link", link("?n=2&last=d")),
            get("?n=1", 200).says(r#"["a"]"#).has("link", link("?n=1&last=a")),
        ],
    );
    check(
        &filled(Policy { tags_over_max: OverMax::Refuse, ..capped }),
        &[
            get("?n=3", 400).code("PAGINATION_NUMBER_INVALID").says("at most 2"),
            get("?n=2", 200).says(r#"["a","b"]"#),
            get("", 200).says(r#"["a","b"]"#).has("link", link("?n=2&last=b")),
        ],
    );
    check(
        &filled(Policy { tags_paging: false, ..Policy::default() }),
        &[get("?n=2&last=b", 200).says(r#"["a","b","c","d","e"]"#).lacks("link")],
    );
    check(
        &filled(Policy { tags_link: false, ..Policy::default() }),
        &[get("?n=2", 200).says(r#"["a","b"]"#).lacks("link")],
    );
}

#[test]
fn an_empty_list_is_a_list() {
    let registry = registry();
    manifest(&mut Client::of(&registry), "a");
    assert_eq!(Client::of(&registry).get("/v2/a/tags/list").json(), json!({ "name": "a", "tags": [] }));
}
