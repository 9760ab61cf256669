//! Images, documents, sound: what they are and where their bytes come from.

use super::Text;

/// A kind of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A document: PDF, text, tables.
    Document,
    /// Sound.
    Audio,
    /// Moving pictures.
    Video,
}

/// Where the bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// Elsewhere.
    Url(Text<'a>),
    /// Here, in base64.
    Base64(Text<'a>),
    /// With the provider that the file was uploaded to.
    File(Text<'a>),
    /// Here, as plain text.
    Plain(Text<'a>),
}

/// A piece of media.
#[expect(clippy::struct_field_names, reason = "a media type is called that")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media<'a> {
    /// What it is.
    pub kind: MediaKind,
    /// Where its bytes are.
    pub source: Source<'a>,
    /// Its media type, where the format says it.
    pub media_type: Option<Text<'a>>,
    /// A file name or title.
    pub name: Option<Text<'a>>,
    /// How closely an image is to be looked at (`low`, `high`, `auto`).
    pub detail: Option<Text<'a>>,
}

impl<'a> Media<'a> {
    /// A picture whose data is in base64.
    pub fn picture(data: Text<'a>, media_type: Option<Text<'a>>) -> Self {
        let source = Source::Base64(data);
        Self { kind: MediaKind::Image, source, media_type, name: None, detail: None }
    }
}

impl Media<'_> {
    /// How much of it is here.
    pub fn bytes(&self) -> usize {
        match &self.source {
            Source::Url(text) | Source::Base64(text) | Source::File(text) | Source::Plain(text) => {
                text.len()
            }
        }
    }

    /// Whether it is a picture at an address or here.
    pub fn is_picture(&self) -> bool {
        let there = matches!(self.source, Source::Url(_) | Source::Base64(_));
        self.kind == MediaKind::Image && there
    }

    /// Its media type, or the usual one of its kind.
    pub fn media_type(&self) -> &str {
        self.media_type.as_deref().unwrap_or(match self.kind {
            MediaKind::Image => "image/png",
            MediaKind::Document => "application/pdf",
            MediaKind::Audio => "audio/wav",
            MediaKind::Video => "video/mp4",
        })
    }
}

/// Media type and data of a `data:` address in base64.
pub fn data_url<'a>(url: &Text<'a>) -> Option<(Text<'a>, Text<'a>)> {
    let rest = url.strip_prefix("data:")?;
    let (head, data) = rest.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    let media_type = media_type.split(';').next().unwrap_or(media_type);
    let (type_at, data_at) = (5..5 + media_type.len(), url.len() - data.len()..url.len());
    Some(match url {
        Text::Borrowed(url) => (Text::Borrowed(&url[type_at]), Text::Borrowed(&url[data_at])),
        Text::Owned(url) => (Text::Owned(url[type_at].into()), Text::Owned(url[data_at].into())),
    })
}

/// Pairs of a media type and the short word that some formats have for it.
const WORDS: [(&str, &str); 22] = [
    ("image/png", "png"),
    ("image/jpeg", "jpeg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("application/pdf", "pdf"),
    ("text/plain", "txt"),
    ("text/csv", "csv"),
    ("text/html", "html"),
    ("text/markdown", "md"),
    ("application/msword", "doc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("audio/wav", "wav"),
    ("audio/mp3", "mp3"),
    ("audio/mpeg", "mp3"),
    ("audio/flac", "flac"),
    ("audio/ogg", "ogg"),
    ("audio/aac", "aac"),
    ("video/mp4", "mp4"),
    ("video/quicktime", "mov"),
    ("video/webm", "webm"),
];

/// The short word for a media type.
pub fn extension(media_type: &str) -> Option<&'static str> {
    WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(media_type)).map(|(_, word)| *word)
}

/// The media type for a short word.
pub fn media_type(word: &str) -> Option<&'static str> {
    WORDS.iter().find(|(_, short)| short.eq_ignore_ascii_case(word)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_addresses() {
        let split = |url: &'static str| data_url(&Text::Borrowed(url));
        assert_eq!(split("data:image/png;base64,AAAA"), Some(("image/png".into(), "AAAA".into())));
        assert_eq!(split("data:;base64,AA"), Some(("".into(), "AA".into())));
        let owned = data_url(&Text::Owned("data:text/plain;charset=utf-8;base64,QQ==".into()));
        assert_eq!(owned, Some(("text/plain".into(), "QQ==".into())));
        assert_eq!(split("https://example.com/a.png"), None);
        assert_eq!(split("data:text/plain,hello"), None);
    }

    #[test]
    fn words_and_media_types() {
        assert_eq!(extension("image/JPEG"), Some("jpeg"));
        assert_eq!(media_type("mp3"), Some("audio/mp3"));
        assert_eq!(extension("image/x-unknown"), None);
    }
}
