//! `POST /v1/audio/speech`, `/v1/audio/transcriptions` and `/v1/audio/translations`.

use serde_json::json;

use super::small::{noise, noise_base64};
use crate::mock::json::Object;
use crate::mock::multipart::Part;
use crate::mock::problem::Problem;
use crate::mock::prompt::Reading;
use crate::mock::reply::{Encode, Frames, Reply, Whole};
use crate::mock::route::Dialect;
use crate::mock::scene::Scene;
use crate::mock::script::{Ask, Finish, Prompt, Step, Usage};

/// Sound of one token.
const SOUND_BYTES: usize = 960;
/// How many bytes of sound count one token of a transcription's prompt.
const BYTES_PER_TOKEN: u64 = 320;

/// Answers `POST /v1/audio/speech` with sound in chunks, or with events.
pub(in crate::mock) fn speech(scene: &Scene<'_>, object: Object<'_>) -> Result<Reply, Problem> {
    let mut reading = Reading::default();
    reading.text(object.need_string("input")?);
    if object.value("voice").is_none() {
        return Err(Problem::missing(Dialect::OpenAi, "voice"));
    }
    let ask = Ask {
        model: object.need_string("model")?.to_owned(),
        stream: true,
        prompt: scene.prompt(reading),
        ..Ask::default()
    };
    let events = object.string("stream_format")? == Some("sse");
    let content_type = match object.string("response_format")? {
        _ if events => "text/event-stream",
        None | Some("mp3") => "audio/mpeg",
        Some("opus") => "audio/ogg",
        Some("wav") => "audio/wav",
        Some("flac") => "audio/flac",
        Some("aac") => "audio/aac",
        Some("pcm") => "audio/pcm",
        Some(other) => {
            let message = format!(
                "Invalid value: '{other}'. Supported values are: 'mp3', 'opus', 'aac', 'flac', 'wav', and 'pcm'."
            );
            return Err(Problem::invalid("response_format", message));
        }
    };
    Ok(scene.stream(&ask, content_type, Sound { events, made: scene.id }))
}

/// Encoder of sound.
struct Sound {
    events: bool,
    made: u64,
}

impl Encode for Sound {
    fn open(&mut self, _: &mut Frames) {}

    fn step(&mut self, _: u32, _: Step<'_>, frames: &mut Frames) {
        self.made = self.made.wrapping_add(1);
        if self.events {
            let audio = noise_base64(self.made, SOUND_BYTES);
            frames.frame(&format!(
                "data: {{\"type\":\"speech.audio.delta\",\"audio\":\"{audio}\"}}\n\n"
            ));
        } else {
            frames.bytes.extend_from_slice(&noise(self.made, SOUND_BYTES));
            frames.end();
        }
    }

    fn close(&mut self, _: Finish, used: &Usage, frames: &mut Frames) {
        if self.events {
            let usage = json!({ "input_tokens": used.prompt, "output_tokens": used.completion,
                "total_tokens": used.total() });
            frames
                .frame(&format!("data: {{\"type\":\"speech.audio.done\",\"usage\":{usage}}}\n\n"));
        }
    }

    fn error(&mut self, problem: &Problem, frames: &mut Frames) {
        if self.events {
            let body = problem.body(Dialect::OpenAi, "");
            frames.put("data: ");
            frames.bytes.extend_from_slice(&body);
            frames.frame("\n\n");
        }
    }
}

/// Answers `POST /v1/audio/transcriptions` and `/v1/audio/translations`.
pub(in crate::mock) fn transcribe(scene: &Scene<'_>, form: &[Part]) -> Result<Reply, Problem> {
    let field = |name: &str| form.iter().find(|part| part.name == name);
    let file = field("file").ok_or_else(|| Problem::missing(Dialect::OpenAi, "file"))?;
    if file.content.is_empty() {
        return Err(Problem::invalid(
            "file",
            "Audio file is too short. Minimum audio length is 0.1 seconds.",
        ));
    }
    let model = field("model").ok_or_else(|| Problem::missing(Dialect::OpenAi, "model"))?.text();
    let stream = field("stream").is_some_and(|part| part.text() == "true");
    let bytes = file.content.len() as u64;
    let ask = Ask {
        model,
        stream,
        prompt: Prompt {
            tokens: bytes.div_ceil(BYTES_PER_TOKEN),
            salt: bytes,
            ..Prompt::default()
        },
        ..Ask::default()
    };
    if stream {
        let encoder = Transcript { text: String::new(), no_usage: scene.no_usage() };
        return Ok(scene.stream(&ask, "text/event-stream; charset=utf-8", encoder));
    }
    let script = scene.script(&ask);
    let used = script.usage();
    let text = script.collect().swap_remove(0).text;
    let format = field("response_format").map(Part::text);
    let body = match format.as_deref() {
        None | Some("json") if scene.no_usage() => format!("{{\"text\":\"{text}\"}}"),
        None | Some("json") => format!("{{\"text\":\"{text}\",\"usage\":{}}}", usage(&used)),
        Some("verbose_json") => format!(
            "{{\"task\":\"transcribe\",\"language\":\"english\",\"duration\":1.5,\"text\":\"{text}\",\"segments\":[],\
             \"usage\":{{\"type\":\"duration\",\"seconds\":2}}}}"
        ),
        Some(_) => {
            let plain = serde_json::from_str::<String>(&format!("\"{text}\"")).unwrap_or_default();
            let whole = Whole { content_type: "text/plain; charset=utf-8", ..Whole::json(plain) };
            return Ok(whole.usage(used).into());
        }
    };
    Ok(Whole::json(body).usage(used).into())
}

fn usage(used: &Usage) -> String {
    json!({
        "type": "tokens", "input_tokens": used.prompt, "output_tokens": used.completion,
        "total_tokens": used.total(),
        "input_token_details": { "text_tokens": 0, "audio_tokens": used.prompt },
    })
    .to_string()
}

/// Encoder of transcription events.
struct Transcript {
    text: String,
    no_usage: bool,
}

impl Encode for Transcript {
    fn open(&mut self, _: &mut Frames) {}

    fn step(&mut self, _: u32, step: Step<'_>, frames: &mut Frames) {
        if let Step::Text(text) = step {
            self.text.push_str(text);
            frames.frame(&format!(
                "data: {{\"type\":\"transcript.text.delta\",\"delta\":\"{text}\"}}\n\n"
            ));
        }
    }

    fn close(&mut self, _: Finish, used: &Usage, frames: &mut Frames) {
        let usage =
            if self.no_usage { String::new() } else { format!(",\"usage\":{}", usage(used)) };
        frames.frame(&format!(
            "data: {{\"type\":\"transcript.text.done\",\"text\":\"{}\"{usage}}}\n\n",
            self.text
        ));
    }

    fn error(&mut self, problem: &Problem, frames: &mut Frames) {
        frames.put("data: ");
        frames.bytes.extend_from_slice(&problem.body(Dialect::OpenAi, ""));
        frames.frame("\n\n");
    }
}
