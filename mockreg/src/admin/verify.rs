//! `POST /verify`: compares two repositories or registries as `mockreg verify` does, read by this server.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::body::Whole;
use super::{MAX_WORDS, json, refused};
use crate::core::Core;
use crate::verify::{Authorities, Report, Verification};

/// Verifications at once, of all servers in this process. Each reads as fast as it can.
static RUNNING: Semaphore = Semaphore::const_new(2);

/// What to compare.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Where the content should have come from: `http://127.0.0.1:5000/library/app:v1`, without the tag for all tags,
    /// and without the name for all repositories.
    source: String,
    /// Where it should be.
    destination: String,
    /// Only these tags. Default: those of the addresses, else all.
    #[serde(default)]
    tags: Vec<String>,
    /// Whether the destination may have more. Default: no.
    #[serde(default)]
    allow_extra: bool,
    /// `name:password` for the source.
    #[serde(default)]
    source_user: Option<String>,
    /// `name:password` for the destination.
    #[serde(default)]
    destination_user: Option<String>,
    /// Certificates of authorities to trust besides those of this server's system, in PEM; for https addresses.
    #[serde(default)]
    ca: Option<String>,
    /// Whether any certificate will do. Default: no.
    #[serde(default)]
    insecure: bool,
}

impl Asked {
    fn plan(self) -> Result<Verification, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let user = |user: Option<String>| user.map(|user| user.parse()).transpose();
        let source_user = user(self.source_user).map_err(|error| format!("source_user: {error}"))?;
        let destination_user =
            user(self.destination_user).map_err(|error| format!("destination_user: {error}"))?;
        let source = self.source.parse().map_err(|error| told(&error))?;
        let destination = self.destination.parse().map_err(|error| told(&error))?;
        let plan = Verification::try_new(source, destination).map_err(|error| told(&error))?;
        let authorities = match self.ca {
            Some(_) if self.insecure => return Err("ca and insecure exclude each other".into()),
            Some(pem) => Authorities::try_from_pem(pem.as_bytes()).map_err(|error| told(&error))?,
            None if self.insecure => Authorities::unchecked(),
            None => Authorities::default(),
        };
        Ok(plan
            .credentials(source_user, destination_user)
            .authorities(authorities)
            .tags(self.tags)
            .allow_extra(self.allow_extra))
    }
}

/// Compares, and answers when it is done. A client that leaves ends it.
pub(super) async fn verify(State(_): State<Arc<Core>>, Whole(body): Whole<MAX_WORDS>) -> Response {
    let Ok(_permit) = RUNNING.try_acquire() else {
        return refused(
            StatusCode::CONFLICT,
            "two verifications are running, and no more at once; try again when one is done",
        );
    };
    match compared(&body).await {
        Ok(report) => json(&report),
        Err((status, reason)) => refused(status, &reason),
    }
}

/// # Errors
/// 400 for what is no request, 422 for two addresses that cannot be compared.
async fn compared(body: &[u8]) -> Result<Report, (StatusCode, String)> {
    let malformed = |reason: String| (StatusCode::BAD_REQUEST, format!("request body: {reason}"));
    let impossible = |reason| (StatusCode::UNPROCESSABLE_ENTITY, reason);
    if !body.trim_ascii_start().starts_with(b"{") {
        // serde would take a list of values for a struct as well.
        return Err(malformed("not a JSON object".into()));
    }
    let asked: Asked = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let plan = asked.plan().map_err(impossible)?;
    plan.run(|_| {}).await.map_err(|error| impossible(error.to_string()))
}
