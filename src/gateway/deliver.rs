//! Whether a text of the gateway's own work (a heartbeat, a scheduled job, a hook) reaches a person through a channel.
//! The one place that decides it. There are no channels yet, so the answer is always why not; the text is kept in the
//! agent's main session, which is read sooner or later, and never dropped in silence.

use super::session_key::Place;
use super::state::State;
use crate::agent::tool::approval::judge::Origin as Speaker;
use crate::limits;
use crate::sys::clock::Now;

/// A text and whom it is for.
pub struct Parcel<'a> {
    /// The session it was said in.
    pub place: &'a Place,
    /// `last`, `none` or a channel's id.
    pub channel: &'a str,
    /// The recipient, if fixed.
    pub to: Option<&'a str>,
    /// What says it, for the log and the main session: `Cron "water the plants"`.
    pub from: &'a str,
    /// The text.
    pub text: &'a str,
    /// Who is heard in it.
    pub speaker: Speaker,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// Nobody wanted it to be.
    Unwanted,
    /// No channel is known on which the person spoke last.
    NoTarget,
    /// The channel is not there.
    NoChannel(String),
}

impl Delivered {
    /// The word for it in events and records.
    pub fn reason(&self) -> &'static str {
        match self {
            Delivered::Unwanted => "target-none",
            Delivered::NoTarget => "no-target",
            Delivered::NoChannel(_) => "channel-unavailable",
        }
    }

    /// The same for a person.
    pub fn text(&self) -> String {
        match self {
            Delivered::Unwanted => "no delivery was asked for".to_string(),
            Delivered::NoTarget => "there is no channel to deliver it to; it stands in the session".to_string(),
            Delivered::NoChannel(name) => format!("channel {name} is not available in this gateway"),
        }
    }
}

impl State {
    /// Delivers a text, or says why it is not delivered; then the agent's main session is told at its next turn.
    pub fn deliver(&mut self, parcel: &Parcel<'_>, now: Now) -> Delivered {
        let delivered = self.way_of(parcel);
        if delivered == Delivered::Unwanted {
            return delivered;
        }
        let (from, why) = (parcel.from, delivered.text());
        log::info!(target: "gateway", "not delivered from={from} session={} reason={why}", parcel.place.key);
        let main = self.main_place(&parcel.place.agent);
        if main != *parcel.place {
            let text: String = parcel.text.chars().take(limits::UNDELIVERED_CHARS).collect();
            let line = format!("{from} could not be delivered ({why}). It says: {text}");
            self.queue_line(&main, &line, parcel.speaker, now);
        }
        delivered
    }

    fn way_of(&self, parcel: &Parcel<'_>) -> Delivered {
        match parcel.channel {
            "none" => Delivered::Unwanted,
            "last" | "" => match self.last_channel(parcel.place) {
                Some(name) => Delivered::NoChannel(name),
                None => Delivered::NoTarget,
            },
            name => Delivered::NoChannel(name.to_string()),
        }
    }

    /// The channel a session's person wrote from last; the gateway's own chat window is none.
    pub fn last_channel(&self, place: &Place) -> Option<String> {
        let entry = self.sessions.get(&place.agent, &place.key)?;
        let name = entry.text("lastChannel").or_else(|| entry.text("channel"))?;
        (!matches!(name.as_ref(), "webchat" | "")).then(|| name.into_owned())
    }
}
