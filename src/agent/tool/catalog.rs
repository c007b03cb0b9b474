//! The table as others see it: schemas for models and the answers of `tools.catalog` and `tools.effective`
//! (protocol.md 8.4). Pure.

use serde_json::Value;

use super::policy;
use super::table::{Group, TOOLS, Tool};
use crate::agent::model::ToolSpec;
use crate::protocol::emit::json_schema;

/// A tool as models are told of it.
pub fn spec(tool: &Tool) -> ToolSpec {
    let mut parameters = json_schema::schema(&tool.parameters);
    if let Some(schema) = parameters.as_object_mut() {
        // true says nothing, and some servers trip over it
        schema.remove("additionalProperties");
    }
    ToolSpec { name: tool.name.to_string(), description: tool.description.to_string(), parameters }
}

/// The answer of `tools.catalog`: every tool that exists.
pub fn catalog(agent_id: &str) -> Value {
    let all: Vec<&Tool> = TOOLS.iter().collect();
    answer(agent_id, &all)
}

/// The answer of `tools.effective`: the tools that a turn of this agent gets, and what is wrong with its settings.
pub fn effective(agent_id: &str, profile: &str, offered: &[&Tool], warnings: &[String]) -> Value {
    let tools: Vec<Value> = offered
        .iter()
        .map(|tool| {
            json!({
                "id": tool.name, "label": tool.name, "description": tool.line, "rawDescription": tool.description,
                "source": "core",
            })
        })
        .collect();
    let group = json!({"id": "core", "label": "Built-in tools", "source": "core", "tools": tools});
    let groups = if offered.is_empty() { json!([]) } else { json!([group]) };
    let mut out = json!({"agentId": agent_id, "profile": profile, "groups": groups});
    let notice = |(at, text): (usize, &String)| json!({"id": format!("settings-{}", at + 1), "severity": "warning", "message": text});
    if let (Some(members), false) = (out.as_object_mut(), warnings.is_empty()) {
        members.insert("notices".to_string(), warnings.iter().enumerate().map(notice).collect());
    }
    out
}

/// Profiles as clients show them.
const PROFILES: &[(&str, &str)] =
    &[("minimal", "Minimal"), ("coding", "Coding"), ("messaging", "Messaging"), ("full", "Full")];

fn answer(agent_id: &str, tools: &[&Tool]) -> Value {
    let groups: Vec<Value> = Group::ALL
        .into_iter()
        .map(|group| {
            (group, tools.iter().filter(|tool| tool.group == group).map(|tool| entry(tool)).collect::<Vec<_>>())
        })
        .filter(|(_, tools)| !tools.is_empty())
        .map(|(group, tools)| json!({"id": group.name(), "label": group.label(), "source": "core", "tools": tools}))
        .collect();
    let profiles: Vec<Value> = PROFILES.iter().map(|(id, label)| json!({"id": id, "label": label})).collect();
    json!({"agentId": agent_id, "profiles": profiles, "groups": groups})
}

fn entry(tool: &Tool) -> Value {
    let profiles: Vec<&str> = policy::profiles_of(tool).collect();
    json!({
        "id": tool.name, "label": tool.name, "description": tool.line, "source": "core", "defaultProfiles": profiles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_names_what_is_required_and_describes_every_argument() {
        for tool in TOOLS {
            let spec = spec(tool);
            assert_eq!(spec.parameters["type"], "object", "{}", tool.name);
            let properties = spec.parameters["properties"].as_object().unwrap();
            assert!(properties.values().all(|value| value["description"].is_string()), "{}", tool.name);
        }
        let edit = spec(super::super::table::find("edit").unwrap());
        assert_eq!(edit.parameters["required"], json!(["path", "oldText", "newText"]));
        assert_eq!(edit.parameters.get("additionalProperties"), None);
    }

    #[test]
    fn the_catalogue_holds_each_tool_once() {
        let all = catalog("main");
        let count: usize = all["groups"].as_array().unwrap().iter().map(|g| g["tools"].as_array().unwrap().len()).sum();
        assert_eq!(count, TOOLS.len());
        let status = entry(super::super::table::find("session_status").unwrap());
        assert_eq!(status["defaultProfiles"], json!(["minimal", "coding", "messaging", "full"]));
        assert_eq!(effective("main", "full", &[], &[]), json!({"agentId": "main", "profile": "full", "groups": []}));
        let some: Vec<&Tool> = TOOLS.iter().take(2).collect();
        let odd = effective("main", "coding", &some, &["odd".to_string()]);
        assert_eq!(
            (&odd["groups"][0]["tools"][1]["id"], &odd["notices"][0]["message"]),
            (&json!("write"), &json!("odd"))
        );
    }
}
