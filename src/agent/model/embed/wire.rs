//! The wire forms of embeddings: OpenAI's `POST {base}/embeddings`, which most servers copy, and Ollama's own
//! `POST /api/embed`. Owns what is sent, what counts as an answer, and the form of a vector as text.

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use serde_json::{Map, Value};

use super::Vectors;
use super::choice::Target;
use crate::agent::control::Control;
use crate::agent::model::endpoint::{Endpoint, tokens};
use crate::agent::model::{ModelError, ModelRef};
use crate::config::Secret;
use crate::limits;

/// How a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Like OpenAI.
    OpenAi,
    /// Like OpenAI, but for the name of the length.
    Voyage,
    /// `/api/embed`.
    Ollama,
}

impl Form {
    /// The form of a provider that is not Ollama.
    pub(super) fn of(provider: &str) -> Form {
        match provider {
            "ollama" => Form::Ollama,
            "voyage" => Form::Voyage,
            _ => Form::OpenAi,
        }
    }
}

/// What a server said to one batch.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) rows: Vec<Vec<f32>>,
    pub(super) tokens: u64,
}

impl Target {
    pub(super) fn reference(&self) -> &ModelRef {
        &self.endpoint.reference
    }

    /// Asks about one batch.
    pub(super) fn ask(&self, key: Option<Secret>, texts: &[String], control: &Control) -> Result<Said, ModelError> {
        let endpoint = Endpoint { key, ..self.endpoint.clone() };
        let path = if self.form == Form::Ollama { "/api/embed" } else { "/embeddings" };
        let answer = endpoint.ask(path, &self.body(texts), control)?;
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            return Err(ModelError::inside(&self.reference().provider, error, endpoint.key.as_ref()));
        }
        let said = match self.form {
            Form::Ollama => ollama(&answer),
            Form::OpenAi | Form::Voyage => openai(&answer),
        };
        let said = said.map_err(|fault| endpoint.unusable(fault))?;
        self.check(&said.rows, texts.len()).map_err(|fault| endpoint.unusable(fault))?;
        Ok(said)
    }

    fn body(&self, texts: &[String]) -> Value {
        let mut body = Map::new();
        body.insert("model".into(), self.reference().model.as_str().into());
        body.insert("input".into(), json!(texts));
        let length = if self.form == Form::Voyage { "output_dimension" } else { "dimensions" };
        body.extend(self.dimensions.map(|dimensions| (length.to_string(), dimensions.into())));
        if self.form == Form::Ollama {
            // by itself it cuts long texts silently
            body.insert("truncate".into(), false.into());
        } else {
            body.extend(self.input_type.as_deref().map(|kind| ("input_type".to_string(), kind.into())));
        }
        Value::Object(body)
    }

    fn check(&self, rows: &[Vec<f32>], texts: usize) -> Result<(), String> {
        if rows.len() != texts {
            return Err(format!("it has {} vectors for {texts} texts", rows.len()));
        }
        let width = rows.first().map_or(0, Vec::len);
        if let Some(other) = rows.iter().map(Vec::len).find(|len| *len != width) {
            return Err(format!("its vectors differ in length ({width} and {other})"));
        }
        match (width, self.dimensions) {
            (0, _) => Err("its vectors are empty".to_string()),
            (_, _) if width > limits::EMBED_DIMENSIONS => {
                Err(format!("its vectors have {width} numbers, at most {} are taken", limits::EMBED_DIMENSIONS))
            }
            (_, Some(asked)) if asked != width => {
                Err(format!("its vectors have {width} numbers where {asked} were asked for; this model may not choose"))
            }
            _ => Ok(()),
        }
    }

    /// Adds the vectors of a batch to those of the batches before.
    pub(super) fn add(&self, said: Said, vectors: &mut Vectors) -> Result<(), ModelError> {
        match said.rows.iter().all(|row| vectors.push(row)) {
            true => Ok(()),
            false => Err(self.endpoint.unusable("its vectors differ in length from one call to the next")),
        }
    }
}

/// `data[].embedding`, in the order of `data[].index` where there is one.
fn openai(answer: &Value) -> Result<Said, String> {
    let data = answer.get("data").and_then(Value::as_array).ok_or("it has no list `data`")?;
    let mut rows = vec![Vec::new(); data.len()];
    for (at, item) in data.iter().enumerate() {
        let index = match item.get("index") {
            None | Some(Value::Null) => Some(at),
            Some(index) => index.as_u64().and_then(|index| usize::try_from(index).ok()),
        };
        let place = index.and_then(|index| rows.get_mut(index)).filter(|row: &&mut Vec<f32>| row.is_empty());
        *place.ok_or("the indices of its vectors do not count from 0")? = vector(item.get("embedding"))?;
    }
    let read = tokens(answer, "usage.prompt_tokens");
    Ok(Said { rows, tokens: if read > 0 { read } else { tokens(answer, "usage.total_tokens") } })
}

/// `embeddings`, in the order of the texts.
fn ollama(answer: &Value) -> Result<Said, String> {
    let data = answer.get("embeddings").and_then(Value::as_array).ok_or("it has no list `embeddings`")?;
    let rows = data.iter().map(|row| vector(Some(row))).collect::<Result<_, _>>()?;
    Ok(Said { rows, tokens: tokens(answer, "prompt_eval_count") })
}

/// A list of numbers, or their bytes in base64.
fn vector(value: Option<&Value>) -> Result<Vec<f32>, String> {
    let numbers: Option<Vec<f32>> = match value {
        Some(Value::Array(list)) => list.iter().map(|number| number.as_f64().map(|number| number as f32)).collect(),
        Some(Value::String(text)) => BASE64.decode(text.as_bytes()).ok().and_then(|bytes| floats(&bytes)),
        _ => None,
    };
    let numbers = numbers.ok_or("a vector is neither a list of numbers nor base64")?;
    match numbers.iter().all(|number| number.is_finite()) && !numbers.is_empty() {
        true => Ok(numbers),
        false => Err("a vector is empty or not finite".to_string()),
    }
}

fn floats(bytes: &[u8]) -> Option<Vec<f32>> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
}
