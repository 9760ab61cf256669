//! One record per request, and the bounded queue and writer that bring it to the access log off the hot path.
