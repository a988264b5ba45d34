//! `--param key=value`: any key of the scenario, by its dotted path (`network.rtt=50ms`, `workers=10`).

use serde_json::Value;

use super::{ScenarioError, ScenarioFile};

/// Sets each parameter in turn. Values are read as YAML scalars would be: numbers and booleans where they look
/// like ones, text otherwise.
pub(super) fn set(
    file: ScenarioFile,
    parameters: &[(String, String)],
) -> Result<ScenarioFile, ScenarioError> {
    parameters.iter().try_fold(file, |file, (key, value)| {
        let error =
            |problem: String| ScenarioError::Parameter { key: key.clone(), value: value.clone(), problem };
        let mut tree = serde_json::to_value(&file).map_err(|e| error(e.to_string()))?;
        let place = key.split('.').try_fold(&mut tree, |place, part| descend(place, part));
        *place.ok_or_else(|| error("that key leads through a value that has no keys".to_owned()))? =
            scalar(value);
        serde_json::from_value(tree).map_err(|e| error(e.to_string()))
    })
}

/// The value at `part` of an object (made if absent, so that an unknown key is reported by the reader, with the
/// known ones) or of a list.
fn descend<'a>(place: &'a mut Value, part: &str) -> Option<&'a mut Value> {
    match place {
        Value::Object(map) => Some(map.entry(part).or_insert(Value::Null)),
        Value::Array(list) => list.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    }
}

fn scalar(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
