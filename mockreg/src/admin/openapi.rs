//! `GET /openapi.json`: the admin port told to a program (OpenAPI 3.1). The routes are written here, beside the table
//! they describe; the shapes come from the types that are answered and read.

use std::sync::OnceLock;

use mockreg_proto::journal::Entry;
use mockreg_synth::catalogue::Catalogue;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::verify::Asked;
use super::{JSON, Reset};
use crate::counters::Counters;
use crate::verify::Report;

/// Where shapes stand in the document.
const SHAPES: &str = "/components/schemas";
const TEXT: &str = "text/plain";
const LINES: &str = "application/x-ndjson";
const YAML: &str = "application/yaml";

/// The document, the same for every server of this version.
pub(super) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(build)
}

fn build() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = SHAPES.into())
        .with_transform(RecursiveTransform(bound));
    let mut shapes = settings.into_generator();
    // A line of the journal is in no JSON answer, but a reader wants to know its shape.
    shapes.subschema_for::<Entry>();
    let paths = paths(&mut shapes);
    let mut schemas: Map<String, Value> = shapes.take_definitions(true);
    schemas.insert(
        "Error".into(),
        json!({
            "type": "object", "required": ["error"],
            "properties": { "error": { "type": "string", "description": "What is wrong, for a person." } },
        }),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "mockreg admin port",
            "description": "What a mock registry has seen and what it shall serve. Not for the clients under test.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

/// A format alone bounds no number for whoever does not know the format.
fn bound(schema: &mut Schema) {
    let largest = match schema.get("format").and_then(Value::as_str) {
        Some("uint16") => u64::from(u16::MAX),
        Some("uint32") => u64::from(u32::MAX),
        Some("uint64") => u64::MAX,
        _ => return,
    };
    if schema.get("maximum").is_none() {
        schema.insert("maximum".into(), largest.into());
    }
}

fn paths(shapes: &mut SchemaGenerator) -> Value {
    json!({
        "/healthz": { "get": operation("health", "Whether it is up", None, [text(200, "It is up.")]) },
        "/readyz": { "get": operation("ready", "Whether the catalogue's digests are computed", None, [
            text(200, "They are."), error(503, "Not yet. Requests are served all the same."),
        ]) },
        "/metrics": { "get": operation("metrics", "Prometheus metrics, text format 0.0.4", None, [
            text(200, "The metrics."),
        ]) },
        "/counters": {
            "get": operation("counters", "What has been counted since the last reset, and what is held", None, [
                answer(200, "The figures.", JSON, &shape::<Counters>(shapes)),
            ]),
        },
        "/journal": {
            "parameters": [],
            "get": journal(),
            "delete": operation("clear_journal", "Forget all lines", None, [
                empty(204, "They are forgotten; numbers go on."),
            ]),
        },
        "/catalog": {
            "get": operation("catalogue", "The catalogue, as JSON however it was written", None, [
                answer(200, "The catalogue.", JSON, &shape::<Catalogue>(shapes)),
                error(409, "No single document says what it is; the error says why, and what to do."),
            ]),
            "put": operation("replace_catalogue", "Replace all that the catalogue offers; what was pushed stays", Some(
                body("The catalogue, YAML or JSON", true, &[JSON, YAML], &shape::<Catalogue>(shapes)),
            ), [
                empty(204, "It is offered from now on."),
                error(422, "It describes images that cannot be made."),
                error(400, "It is no catalogue."),
                error(408, "It took too long to come."),
                error(409, "Other catalogues are being read; nothing has changed. Try again."),
                error(413, "It is too large."),
            ]),
        },
        "/reset": {
            "post": operation("reset", "Forget pushes, uploads, journal and counters; the catalogue stays", Some(
                body("The run that begins", false, &[JSON], &shape::<Reset>(shapes)),
            ), [
                empty(204, "All is forgotten."),
                error(400, "The body is something else."),
                error(408, "It took too long to come."),
                error(413, "It is too large."),
            ]),
        },
        "/verify": { "post": operation("verify", "Compare two repositories or registries byte for byte", Some(
            comparison(shapes),
        ), [
            answer(200, "What was found, also where a side cannot be read.", JSON, &shape::<Report>(shapes)),
            error(400, "The body is something else."),
            error(422, "The two cannot be compared."),
            error(408, "The body took too long to come."),
            error(409, "As many verifications as may run are running; try again."),
            error(413, "The body is too large."),
        ]) },
        "/openapi.json": { "get": operation("openapi", "This document", None, [
            answer(200, "The document.", JSON, &json!({ "type": "object" })),
        ]) },
    })
}

fn journal() -> Value {
    let mut operation = operation(
        "journal",
        "Requests that have ended, one JSON object a line",
        None,
        [
            answer(
                200,
                "Lines of the shape Entry: requests, oldest first, and a gap where lines are there no more.",
                LINES,
                &json!({ "type": "string" }),
            ),
            error(400, "A parameter is malformed."),
        ],
    );
    operation["parameters"] = json!([
        {
            "name": "since", "in": "query",
            "description": "Only lines with larger numbers. Where lines after it are there no more, \
                            `{\"gap\":{\"after\":N,\"missing\":M}}` stands in their place; at 0, lines that were \
                            cleared are not missing.",
            "schema": { "type": "integer", "format": "uint64", "minimum": 0, "maximum": u64::MAX, "default": 0 },
        },
        {
            "name": "follow", "in": "query",
            "description": "Go on with the lines to come until the client leaves.",
            "schema": { "type": "boolean", "default": false },
        },
    ]);
    operation
}

fn operation<const N: usize>(
    id: &str,
    summary: &str,
    body: Option<Value>,
    answers: [(String, Value); N],
) -> Value {
    let mut operation = json!({
        "operationId": id, "summary": summary, "responses": Value::Object(answers.into_iter().collect()),
    });
    if let Some(body) = body {
        operation["requestBody"] = body;
    }
    operation
}

/// Two addresses at which nobody listens: whoever tries it out reads from this machine only.
fn comparison(shapes: &mut SchemaGenerator) -> Value {
    let mut body = body("What to compare", true, &[JSON], &shape::<Asked>(shapes));
    body["content"][JSON]["example"] =
        json!({ "source": "http://127.0.0.1:1/library/app", "destination": "http://127.0.0.1:1/mirror/app" });
    body
}

fn body(description: &str, required: bool, types: &[&str], shape: &Value) -> Value {
    let content: Map<_, _> =
        types.iter().map(|kind| ((*kind).to_owned(), json!({ "schema": shape }))).collect();
    json!({ "description": description, "required": required, "content": content })
}

fn answer(status: u16, description: &str, kind: &str, shape: &Value) -> (String, Value) {
    (status.to_string(), json!({ "description": description, "content": { kind: { "schema": shape } } }))
}

fn text(status: u16, description: &str) -> (String, Value) {
    answer(status, description, TEXT, &json!({ "type": "string" }))
}

fn error(status: u16, description: &str) -> (String, Value) {
    answer(status, description, JSON, &json!({ "$ref": format!("#{SHAPES}/Error") }))
}

fn empty(status: u16, description: &str) -> (String, Value) {
    (status.to_string(), json!({ "description": description }))
}

fn shape<T: JsonSchema>(shapes: &mut SchemaGenerator) -> Value {
    shapes.subschema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` leads somewhere; otherwise no client could be made from the document.
    #[test]
    fn every_reference_leads_to_a_shape() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(keys) => {
                    found.extend(keys.get("$ref").and_then(Value::as_str));
                    keys.values().for_each(|value| references(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        references(document(), &mut found);
        assert!(found.len() > 10, "{found:?}");
        for reference in found {
            let path = reference.strip_prefix('#').unwrap_or("?");
            assert!(document().pointer(path).is_some(), "{reference}");
        }
        assert!(document().pointer("/components/schemas/Record/properties/stored").is_some());
    }
}
