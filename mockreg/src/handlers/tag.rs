//! `/v2/NAME/tags/list`

use serde::Serialize;

use super::base::json;
use super::page::{Paging, Window};
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
    let (name, policy) = (call.repository(), &call.core.policy);
    let paging = Paging {
        on: policy.tags_paging,
        max: policy.tags_page_max,
        over_max: policy.tags_over_max,
        link: policy.tags_link,
    };
    let window = Window::of(&call.query, &paging)?;
    let page = window.page(call.core.tags_after(name, window.last, window.fetch()).await?);
    let link = page.link(&format!("/v2/{name}/tags/list"));
    Ok(json(&Tags { name, tags: page.names }, link))
}
