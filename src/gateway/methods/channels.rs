//! `channels.status`. No channel is built in yet, so every map is empty, as the original answers
//! without channels (protocol.md 8.1).

use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Handled};

/// The state of every channel and account.
pub fn status(request: &Request<'_>) -> Handled {
    Ok(Answer::Json(json!({
        "ts": request.now.wall_ms,
        "channelOrder": [],
        "channelLabels": {},
        "channelDetailLabels": {},
        "channelSystemImages": {},
        "channelMeta": [],
        "channels": {},
        "channelAccounts": {},
        "channelDefaultAccountId": {},
    })))
}
