//! interim
use super::turn::Parts;
use super::{Cause, RunFailure, RunSpec};
use crate::agent::control::Control;
use crate::agent::message::Message;
use crate::agent::model::*;
pub(super) struct Desk;
impl Desk {
    pub(super) fn open(_: RunSpec, _: &Control) -> Result<Desk, RunFailure> {
        Err(super::begin::failure(Cause::Model(ErrorKind::NotConfigured), "interim".into()))
    }
}
impl Parts for Desk {
    fn append(&mut self, _: &Message) -> Result<String, String> {
        Err(String::new())
    }
    fn request(&mut self) -> Result<ModelRequest, String> {
        Err(String::new())
    }
    fn ask(&mut self, _: &ModelRequest, _: &Control, _: &mut dyn FnMut(ModelEvent)) -> Result<ModelReply, ModelError> {
        unreachable!()
    }
    fn use_tool(
        &mut self,
        _: &super::turn::ToolCall,
        _: &Control,
        _: &mut dyn FnMut(serde_json::Value),
    ) -> super::turn::ToolAnswer {
        unreachable!()
    }
    fn is_crowded(&self, _: &ModelRequest, _: u64) -> bool {
        false
    }
    fn compact(&mut self, _: &Control) -> Result<bool, ModelError> {
        Ok(false)
    }
    fn context_window(&self) -> u64 {
        0
    }
    fn now_ms(&self) -> u64 {
        0
    }
}
