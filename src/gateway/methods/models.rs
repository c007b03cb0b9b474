//! `models.list`: the models of the configuration.

use serde_json::{Map, Value, json};

use crate::config::sections::Model;
use crate::gateway::event::{Answer, Handled};
use crate::gateway::state::State;

/// Models of the configured providers.
pub fn list(state: &State) -> Handled {
    Ok(Answer::Json(json!({"models": model_rows(state)})))
}

/// The rows of `models.list`.
pub fn model_rows(state: &State) -> Vec<Value> {
    state
        .config
        .providers
        .iter()
        .flat_map(|provider| provider.models.iter().map(|model| row_of_model(&provider.id, model)))
        .collect()
}

fn row_of_model(provider: &str, model: &Model) -> Value {
    let mut row = Map::new();
    row.insert("id".into(), model.id.as_str().into());
    row.insert("name".into(), model.name.as_str().into());
    row.insert("provider".into(), provider.into());
    if let Some(tokens) = model.context_window {
        row.insert("contextWindow".into(), tokens.into());
    }
    row.insert("reasoning".into(), model.reasoning.into());
    if !model.input.is_empty() {
        row.insert("input".into(), model.input.clone().into());
    }
    Value::Object(row)
}
