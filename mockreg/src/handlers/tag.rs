//! `/v2/NAME/tags/list`

use serde::Serialize;

use super::base::json;
use super::page::Page;
use crate::body::Reply;
use crate::call::Call;
use crate::problem::Problem;

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: Vec<String>,
}

/// `GET /v2/NAME/tags/list`
pub(super) async fn list(call: &Call) -> Result<Reply, Problem> {
    let name = call.repository();
    let page = Page::of(call.core.tags(name).await?, &call.query)?;
    let link = page.link(&format!("/v2/{name}/tags/list"));
    Ok(json(&Tags { name, tags: page.names }, link))
}
