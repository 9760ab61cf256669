//! Sans-IO codecs: SSE, the AWS event stream, WebSocket frames, JSON span scan and splice. Push bytes, get events.
