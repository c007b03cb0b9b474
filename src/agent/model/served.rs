//! A model behind an endpoint, whatever its wire form: owns what the forms have in common as callable models and the
//! table of the forms. What is sent and what an answer means is theirs.

use serde_json::Value;

use super::collect::Collector;
use super::endpoint::{Decoder, Endpoint, Wire};
use super::frames::Framing;
use super::{Model, ModelError, ModelEvent, ModelRef, ModelReply, ModelRequest};
use super::{anthropic, ollama, openai_completions, openai_responses};
use crate::agent::control::Control;
use crate::config::Secret;

/// A wire form.
pub struct Form {
    /// As configurations and transcripts name it.
    pub(super) api: &'static str,
    /// Follows the base address; a version that stands there already is not repeated.
    pub(super) path: &'static str,
    /// How a streamed answer is cut.
    pub(super) framing: Framing,
    /// Its own headers.
    pub(super) headers: fn(&Endpoint) -> Vec<(String, Secret)>,
    /// The request.
    pub(super) body: fn(&Endpoint, &ModelRequest) -> Value,
    /// What understands the answers.
    pub(super) answer: for<'e> fn(&'e Endpoint) -> Box<dyn Decoder + 'e>,
    /// Tokens of the context.
    pub(super) context: fn(&Endpoint) -> u64,
}

/// All forms this gateway speaks.
pub(super) const FORMS: [&Form; 4] =
    [&anthropic::FORM, &openai_completions::FORM, &openai_responses::FORM, &ollama::FORM];

/// The form of that name.
pub fn form(api: &str) -> Option<&'static Form> {
    FORMS.into_iter().find(|form| form.api == api)
}

/// A model of a server.
pub struct Served {
    /// The form its server speaks.
    pub form: &'static Form,
    /// Where it is.
    pub endpoint: Endpoint,
}

impl Model for Served {
    fn reference(&self) -> &ModelRef {
        &self.endpoint.reference
    }

    fn context_window(&self) -> u64 {
        (self.form.context)(&self.endpoint)
    }

    fn takes_tools(&self) -> bool {
        !self.endpoint.facts.no_tools
    }

    fn takes_images(&self) -> bool {
        self.endpoint.facts.images
    }

    fn call(
        &self,
        request: &ModelRequest,
        control: &Control,
        on: &mut dyn FnMut(ModelEvent),
    ) -> Result<ModelReply, ModelError> {
        let (form, endpoint) = (self.form, &self.endpoint);
        let short = form.path.strip_prefix("/v1").filter(|_| endpoint.base_url.ends_with("/v1"));
        let wire = Wire {
            api: form.api,
            path: short.unwrap_or(form.path),
            headers: (form.headers)(endpoint),
            body: (form.body)(endpoint, request),
            framing: form.framing,
        };
        let out = Collector::new(endpoint.provider(), request.messages.len(), on);
        endpoint.exchange(&wire, (form.answer)(endpoint).as_mut(), out, control)
    }
}
