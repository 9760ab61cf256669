-- A server keeps a row for each record; a file has blocks, which the same view tells apart there.
CREATE VIEW ledger_rows AS
    SELECT time_ms, number, dims, request_id, user_name, model_asked, attempts, tried, input_tokens,
        output_tokens, cached_input_tokens, cache_creation_5m_tokens, cache_creation_1h_tokens,
        reasoning_tokens, audio_input_tokens, audio_output_tokens, cost_nano_usd, duration_us, ttft_us,
        body_in_bytes, body_out_bytes, named, time_ms AS first_ms, time_ms AS last_ms,
        CAST(1 AS BIGINT) AS some_named
    FROM ledger_records;
CREATE OR REPLACE VIEW ledger AS
    SELECT r.time_ms, r.number, r.request_id, d.tenant, d.team, d.key_name, r.user_name, d.route,
        d.pool, d.endpoint, d.dialect, COALESCE(r.model_asked, d.model) AS model_asked, d.model,
        d.provider, d.target, r.attempts, r.tried, d.status, d.error, d.stream, d.hedged,
        d.client_gone, d.broken, r.input_tokens, r.output_tokens, r.cached_input_tokens,
        r.cache_creation_5m_tokens, r.cache_creation_1h_tokens, r.reasoning_tokens,
        r.audio_input_tokens, r.audio_output_tokens, d.source, d.prices, r.cost_nano_usd,
        r.duration_us, r.ttft_us, r.body_in_bytes, r.body_out_bytes, r.first_ms, r.last_ms
    FROM ledger_rows r JOIN ledger_dims d ON d.number = r.dims;
