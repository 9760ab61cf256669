//! Writing documents, member by member, in the order in which they are asked for.
//!
//! No tree: what is written goes to the end of a buffer at once. Numbers and whole documents that
//! came from elsewhere are written as they stood there.

use super::quote;

/// Writes an object to the end of a buffer.
pub fn write_object(out: &mut Vec<u8>, write: impl FnOnce(&mut ObjectWriter<'_>)) {
    out.push(b'{');
    write(&mut ObjectWriter { out, some: false });
    out.push(b'}');
}

/// Writes the members of an object.
#[derive(Debug)]
pub struct ObjectWriter<'w> {
    out: &'w mut Vec<u8>,
    some: bool,
}

impl ObjectWriter<'_> {
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        separate(self.out, &mut self.some);
        quote(key, self.out);
        self.out.push(b':');
        self.out
    }

    /// A string.
    pub fn text(&mut self, key: &str, text: &str) {
        quote(text, self.key(key));
    }

    /// A document of its own, as it stands.
    pub fn raw(&mut self, key: &str, raw: &str) {
        self.key(key).extend_from_slice(raw.as_bytes());
    }

    /// A whole number.
    pub fn number(&mut self, key: &str, number: u64) {
        let mut digits = itoa::Buffer::new();
        self.key(key).extend_from_slice(digits.format(number).as_bytes());
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &str, flag: bool) {
        self.raw(key, if flag { "true" } else { "false" });
    }

    /// `null`.
    pub fn null(&mut self, key: &str) {
        self.raw(key, "null");
    }

    /// An object.
    pub fn object(&mut self, key: &str, write: impl FnOnce(&mut ObjectWriter<'_>)) {
        write_object(self.key(key), write);
    }

    /// An array.
    pub fn array(&mut self, key: &str, write: impl FnOnce(&mut ArrayWriter<'_>)) {
        let out = self.key(key);
        out.push(b'[');
        write(&mut ArrayWriter { out, some: false });
        out.push(b']');
    }
}

/// Writes the elements of an array.
#[derive(Debug)]
pub struct ArrayWriter<'w> {
    out: &'w mut Vec<u8>,
    some: bool,
}

impl ArrayWriter<'_> {
    fn next(&mut self) -> &mut Vec<u8> {
        separate(self.out, &mut self.some);
        self.out
    }

    /// A string.
    pub fn text(&mut self, text: &str) {
        quote(text, self.next());
    }

    /// A document of its own, as it stands.
    pub fn raw(&mut self, raw: &str) {
        self.next().extend_from_slice(raw.as_bytes());
    }

    /// An object.
    pub fn object(&mut self, write: impl FnOnce(&mut ObjectWriter<'_>)) {
        write_object(self.next(), write);
    }

    /// Whether there is no element yet.
    pub fn is_empty(&self) -> bool {
        !self.some
    }
}

fn separate(out: &mut Vec<u8>, some: &mut bool) {
    if std::mem::replace(some, true) {
        out.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_the_order_in_which_they_were_written() {
        let mut out = Vec::new();
        write_object(&mut out, |object| {
            object.text("b", "x\"\n");
            object.number("a", 7);
            object.flag("f", true);
            object.null("n");
            object.raw("r", "{\"z\": 1.50}");
            object.object("o", |_| {});
            object.array("l", |list| {
                assert!(list.is_empty());
                list.text("1");
                list.raw("2");
                list.object(|object| object.number("k", 3));
            });
        });
        assert_eq!(
            String::from_utf8(out).as_deref(),
            Ok(
                "{\"b\":\"x\\\"\\n\",\"a\":7,\"f\":true,\"n\":null,\"r\":{\"z\": 1.50},\"o\":{},\"l\":[\"1\",2,{\"k\":3}]}"
            )
        );
    }
}
