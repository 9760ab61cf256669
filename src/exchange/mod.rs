//! One request's life, as Pingora's `ProxyHttp` phases.
