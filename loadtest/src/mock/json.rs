//! Reading request bodies with the provider's own complaints.

use serde_json::{Map, Value};

use super::problem::Problem;
use super::route::Dialect;

/// A JSON object of a request.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) dialect: Dialect,
    pub(super) map: &'a Map<String, Value>,
}

/// Parses a body that must be an object.
pub(super) fn parse(dialect: Dialect, body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(Problem::wrong_type(dialect, "body", "an object", &other)),
        Err(why) => Err(Problem::not_json(dialect, &why)),
    }
}

impl<'a> Object<'a> {
    /// Google's APIs read a name in either spelling, and their SDK sends both.
    fn get(self, name: &str) -> Option<&'a Value> {
        let found = self.map.get(name);
        if found.is_some() || self.dialect != Dialect::Gemini {
            return found;
        }
        let mut snake = String::with_capacity(name.len() + 4);
        for character in name.chars() {
            if character.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(character.to_ascii_lowercase());
        }
        self.map.get(&snake)
    }

    fn typed<T>(
        self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| Problem::wrong_type(self.dialect, name, expected, value)),
        }
    }

    fn required<T>(self, name: &str, value: Option<T>) -> Result<T, Problem> {
        value.ok_or_else(|| Problem::missing(self.dialect, name))
    }

    pub(super) fn value(self, name: &str) -> Option<&'a Value> {
        self.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn string(self, name: &str) -> Result<Option<&'a str>, Problem> {
        self.typed(name, "a string", Value::as_str)
    }

    pub(super) fn boolean(self, name: &str) -> Result<Option<bool>, Problem> {
        self.typed(name, "a boolean", Value::as_bool)
    }

    pub(super) fn integer(self, name: &str) -> Result<Option<u64>, Problem> {
        self.typed(name, "an integer", Value::as_u64)
    }

    /// A number of tokens or choices.
    pub(super) fn count(self, name: &str) -> Result<Option<u32>, Problem> {
        Ok(self.integer(name)?.map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
    }

    pub(super) fn array(self, name: &str) -> Result<Option<&'a Vec<Value>>, Problem> {
        self.typed(name, "an array of objects", Value::as_array)
    }

    pub(super) fn object(self, name: &str) -> Result<Option<Object<'a>>, Problem> {
        let dialect = self.dialect;
        self.typed(name, "an object", |value| value.as_object().map(|map| Object { dialect, map }))
    }

    pub(super) fn need_string(self, name: &str) -> Result<&'a str, Problem> {
        let value = self.string(name)?;
        self.required(name, value.filter(|text| !text.is_empty()))
    }

    pub(super) fn need_array(self, name: &str) -> Result<&'a Vec<Value>, Problem> {
        let value = self.array(name)?;
        self.required(name, value)
    }

    /// The elements of a list, each of which must be an object.
    pub(super) fn objects(self, name: &str) -> Result<Vec<Object<'a>>, Problem> {
        let dialect = self.dialect;
        self.array(name)?
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(index, value)| {
                value.as_object().map(|map| Object { dialect, map }).ok_or_else(|| {
                    let param = format!("{name}[{index}]");
                    Problem::wrong_type(dialect, &param, "an object", value)
                })
            })
            .collect()
    }

    pub(super) fn need_objects(self, name: &str) -> Result<Vec<Object<'a>>, Problem> {
        self.need_array(name)?;
        self.objects(name)
    }
}

/// A string as JSON, with its quotes.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn google_names_have_two_spellings() {
        let map = parse(Dialect::Gemini, b"{\"include_thoughts\":true,\"topK\":1}").unwrap();
        let object = Object { dialect: Dialect::Gemini, map: &map };
        assert_eq!(object.boolean("includeThoughts"), Ok(Some(true)));
        assert_eq!(object.integer("topK"), Ok(Some(1)));
        let other = Object { dialect: Dialect::OpenAi, map: &map };
        assert_eq!(other.boolean("includeThoughts"), Ok(None));
    }

    #[test]
    fn complains_like_the_provider() {
        let message = |body: &str, read: fn(Object<'_>) -> Result<(), Problem>| {
            let map = parse(Dialect::OpenAi, body.as_bytes()).map_err(|problem| problem.message)?;
            read(Object { dialect: Dialect::OpenAi, map: &map }).map_err(|problem| problem.message)
        };
        let model = |object: Object<'_>| object.need_string("model").map(drop);
        let stream = |object: Object<'_>| object.boolean("stream").map(drop);
        assert_eq!(message("{}", model).unwrap_err(), "you must provide a model parameter");
        assert_eq!(
            message("{\"stream\":\"yes\"}", stream).unwrap_err(),
            "Invalid type for 'stream': expected a boolean, but got a string instead."
        );
        assert_eq!(message("{\"stream\":null}", stream), Ok(()));
        assert!(message("{", model).unwrap_err().starts_with("We could not parse"));
        assert!(message("[]", model).unwrap_err().contains("expected an object"));
    }
}
