//! The events of a realtime session.

use std::collections::VecDeque;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Ending, Socket};
use crate::mock::deliver::Delivery;
use crate::mock::fault::{Fault, Point};
use crate::mock::outbound::Gone;
use crate::mock::prompt::{Cache, Reading};
use crate::mock::script::{Ask, Script, Step, Usage};

/// Events that may wait while a response is being sent.
const WAITING_MAX: usize = 256;

/// One session.
pub(super) struct Session<'a, 'd> {
    delivery: &'a mut Delivery<'d>,
    model: &'a str,
    id: u64,
    events: u64,
    items: u64,
    /// Texts of the conversation.
    conversation: Vec<String>,
    waiting: VecDeque<Value>,
}

/// How a response ended.
enum Response {
    Done,
    Session(Ending),
}

impl<'a, 'd> Session<'a, 'd> {
    pub(super) fn new(delivery: &'a mut Delivery<'d>, model: &'a str) -> Self {
        let id = delivery.rng.bits();
        Self {
            delivery,
            model,
            id,
            events: 0,
            items: 0,
            conversation: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Serves until one side ends the session.
    pub(super) async fn serve(&mut self, socket: &mut Socket<'_>) -> Result<Ending, Gone> {
        let session = self.describe();
        self.send("session.created", json!({ "session": session }), socket).await?;
        loop {
            let event = match self.waiting.pop_front() {
                Some(event) => event,
                None => match socket.receive().await? {
                    Some(text) => self.parse(&text, socket).await?,
                    None => return Ok(Ending::Closed),
                },
            };
            if let Response::Session(ending) = self.act(&event, socket).await? {
                return Ok(ending);
            }
        }
    }

    fn describe(&self) -> Value {
        json!({
            "type": "realtime", "object": "realtime.session", "id": format!("sess_{:016x}", self.id),
            "model": self.model, "output_modalities": ["text"], "instructions": "", "tools": [],
            "tool_choice": "auto", "max_output_tokens": "inf",
        })
    }

    /// Sends an event, and books its bytes.
    async fn send(
        &mut self,
        kind: &str,
        members: Value,
        socket: &mut Socket<'_>,
    ) -> Result<(), Gone> {
        self.events += 1;
        let mut event = json!({ "type": kind, "event_id": format!("event_{:016x}", self.events) });
        if let (Value::Object(event), Value::Object(members)) = (&mut event, members) {
            event.extend(members);
        }
        let text = event.to_string();
        socket.send(&text).await?;
        self.delivery.entry.sent_bytes(text.as_bytes(), self.delivery.knobs.record);
        Ok(())
    }

    /// An event of the client. What is none is answered with an error.
    async fn parse(&mut self, text: &[u8], socket: &mut Socket<'_>) -> Result<Value, Gone> {
        match serde_json::from_slice(text) {
            Ok(event) => Ok(event),
            Err(why) => {
                self.complain("invalid_json", &why.to_string(), &Value::Null, socket).await?;
                Ok(Value::Null)
            }
        }
    }

    async fn complain(
        &mut self,
        code: &str,
        message: &str,
        event: &Value,
        socket: &mut Socket<'_>,
    ) -> Result<(), Gone> {
        let error = json!({ "type": "invalid_request_error", "code": code, "message": message,
            "param": null, "event_id": event["event_id"] });
        self.send("error", json!({ "error": error }), socket).await
    }

    async fn act(&mut self, event: &Value, socket: &mut Socket<'_>) -> Result<Response, Gone> {
        match event["type"].as_str() {
            None if event.is_null() => {}
            Some("session.update") => {
                let mut session = self.describe();
                if let (Value::Object(session), Value::Object(changes)) =
                    (&mut session, event["session"].clone())
                {
                    session.extend(changes);
                }
                self.send("session.updated", json!({ "session": session }), socket).await?;
            }
            Some("conversation.item.create") => self.add_item(&event["item"], socket).await?,
            Some("input_audio_buffer.append") => {}
            Some("input_audio_buffer.commit") => {
                let item = format!("item_{:016x}", self.items);
                let members = json!({ "previous_item_id": null, "item_id": item });
                self.send("input_audio_buffer.committed", members, socket).await?;
            }
            Some("response.create") => return self.respond(socket).await,
            Some("response.cancel") => {
                let why = "Cancellation failed: no active response found";
                self.complain("response_cancel_not_active", why, event, socket).await?;
            }
            other => {
                let message = format!("Invalid value: '{}'.", other.unwrap_or_default());
                self.complain("invalid_value", &message, event, socket).await?;
            }
        }
        Ok(Response::Done)
    }

    async fn add_item(&mut self, item: &Value, socket: &mut Socket<'_>) -> Result<(), Gone> {
        let parts = item["content"].as_array();
        let text: String =
            parts.into_iter().flatten().filter_map(|part| part["text"].as_str()).collect();
        self.conversation.push(text);
        let mut item = item.clone();
        item["id"] = format!("item_{:016x}", self.items).into();
        item["status"] = "completed".into();
        self.items += 1;
        let members = json!({ "previous_item_id": null, "item": item });
        self.send("conversation.item.added", members.clone(), socket).await?;
        self.send("conversation.item.done", members, socket).await
    }

    /// Answers what the conversation holds so far.
    async fn respond(&mut self, socket: &mut Socket<'_>) -> Result<Response, Gone> {
        let mut reading = Reading::default();
        for text in &self.conversation {
            reading.message();
            reading.text(text);
        }
        let prompt = reading.finish(&Cache::default());
        let ask = Ask { model: self.model.to_owned(), prompt, ..Ask::default() };
        let mut script = Script::new(&ask, self.delivery.knobs, self.delivery.settings);
        let planned = script.usage();
        self.delivery.entry.edit(|record| {
            record.prompt_tokens += planned.prompt;
            record.completion_tokens_planned += planned.completion;
        });
        let response = format!("resp_{:016x}{:02x}", self.id, self.items);
        let item = format!("item_{:016x}", self.items);
        self.items += 1;
        let place = json!({ "response_id": response, "item_id": item, "output_index": 0, "content_index": 0 });
        self.begin(&response, &item, &place, socket).await?;
        let mut text = String::new();
        let mut sent = 0;
        let mut due = Instant::now() + self.delivery.ttft();
        let mut status = "completed";
        loop {
            if let Some(ending) = self.breaks(sent, socket).await? {
                return Ok(Response::Session(ending));
            }
            match self.wait(due, socket).await? {
                Waited::Due => {}
                Waited::Closed => return Ok(Response::Session(Ending::Closed)),
                Waited::Cancelled => {
                    status = "cancelled";
                    break;
                }
            }
            let Some((_, Step::Text(piece))) = script.next() else { break };
            let plain = serde_json::from_str::<Value>(&format!("\"{piece}\"")).unwrap_or_default();
            let mut members = place.clone();
            members["delta"] = plain;
            text.push_str(members["delta"].as_str().unwrap_or_default());
            self.send("response.output_text.delta", members, socket).await?;
            self.delivery.entry.sent_tokens(1);
            sent += 1;
            let itl = self.delivery.itl();
            due += itl.sample(&mut self.delivery.rng);
        }
        let used = Usage { completion: sent, ..planned };
        self.end(&response, &item, &place, &text, status, &used, socket).await?;
        self.conversation.push(text);
        Ok(Response::Done)
    }

    async fn begin(
        &mut self,
        response: &str,
        item: &str,
        place: &Value,
        socket: &mut Socket<'_>,
    ) -> Result<(), Gone> {
        let shown = json!({ "object": "realtime.response", "id": response, "status": "in_progress",
            "status_details": null, "output": [], "usage": null });
        self.send("response.created", json!({ "response": shown }), socket).await?;
        let shown = json!({ "id": item, "object": "realtime.item", "type": "message",
            "status": "in_progress", "role": "assistant", "content": [] });
        let members = json!({ "response_id": response, "output_index": 0, "item": shown });
        self.send("response.output_item.added", members, socket).await?;
        let mut members = place.clone();
        members["part"] = json!({ "type": "text", "text": "" });
        self.send("response.content_part.added", members, socket).await
    }

    #[expect(clippy::too_many_arguments, reason = "they are the members of the last events")]
    async fn end(
        &mut self,
        response: &str,
        item: &str,
        place: &Value,
        text: &str,
        status: &str,
        used: &Usage,
        socket: &mut Socket<'_>,
    ) -> Result<(), Gone> {
        let mut members = place.clone();
        members["text"] = text.into();
        self.send("response.output_text.done", members.clone(), socket).await?;
        members["part"] = json!({ "type": "text", "text": text });
        self.send("response.content_part.done", members, socket).await?;
        let state = if status == "completed" { "completed" } else { "incomplete" };
        let shown = json!({ "id": item, "object": "realtime.item", "type": "message", "status": state,
            "role": "assistant", "content": [{ "type": "output_text", "text": text }] });
        let members = json!({ "response_id": response, "output_index": 0, "item": shown });
        self.send("response.output_item.done", members, socket).await?;
        let usage = if self.delivery.knobs.no_usage { Value::Null } else { usage(used) };
        let done = json!({ "object": "realtime.response", "id": response, "status": status,
            "status_details": null, "output": [shown], "usage": usage });
        self.send("response.done", json!({ "response": done }), socket).await
    }

    /// What goes wrong before the token with this number.
    async fn breaks(&mut self, at: u64, socket: &mut Socket<'_>) -> Result<Option<Ending>, Gone> {
        Ok(match self.delivery.fault {
            Some(Fault::Stall(after)) if at == after => {
                while socket.receive().await?.is_some() {}
                Some(Ending::Closed)
            }
            Some(Fault::Cut(after) | Fault::Truncate(after)) if at == after => Some(Ending::Cut),
            Some(Fault::Reset(Point::MidStream(after))) if at == after => Some(Ending::Reset),
            Some(Fault::ErrorInStream(after)) if at == after => {
                let error = json!({ "type": "server_error", "code": "server_error", "param": null,
                    "message": "The server had an error while processing your request." });
                self.send("error", json!({ "error": error }), socket).await?;
                socket.close(1011).await?;
                Some(Ending::Closed)
            }
            _ => None,
        })
    }

    /// Waits for the next token's moment, with an ear to the client.
    async fn wait(&mut self, due: Instant, socket: &mut Socket<'_>) -> Result<Waited, Gone> {
        while due > Instant::now() {
            match socket.receive_until(due).await? {
                None => break,
                Some(None) => return Ok(Waited::Closed),
                Some(Some(text)) => {
                    let event = self.parse(&text, socket).await?;
                    if event["type"] == "response.cancel" {
                        return Ok(Waited::Cancelled);
                    }
                    if self.waiting.len() < WAITING_MAX {
                        self.waiting.push_back(event);
                    }
                }
            }
        }
        Ok(Waited::Due)
    }
}

enum Waited {
    Due,
    Cancelled,
    Closed,
}

fn usage(used: &Usage) -> Value {
    json!({
        "total_tokens": used.total(), "input_tokens": used.prompt, "output_tokens": used.completion,
        "input_token_details": { "text_tokens": used.prompt, "audio_tokens": 0, "image_tokens": 0,
            "cached_tokens": used.cached },
        "output_token_details": { "text_tokens": used.completion, "audio_tokens": 0 },
    })
}
