//! What sessions are: keys, freshness, list rows, previews, changes of an entry, the model's context and the view of a
//! transcript, slash commands, workspace files and the system prompt. Values in, values out: reads no clock, opens
//! no files but those of the workspace, and knows neither connections nor runs.

pub mod command;
pub mod compact;
pub mod context;
pub mod fault;
pub mod freshness;
pub mod heartbeat;
pub mod history;
pub mod key;
pub mod lifecycle;
pub mod list;
pub mod made;
mod member;
pub mod patch;
pub mod preview;
pub mod prompt;
pub mod queue;
pub mod reply;
pub mod retention;
pub mod row;
pub mod settings;
pub mod stamp;
pub mod throwaway;
pub mod usage;
pub mod workspace;

#[cfg(test)]
mod tests;
