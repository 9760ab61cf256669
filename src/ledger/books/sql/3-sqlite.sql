-- Records of about the same time, many to a row: the costs of a row are shared by all of them. What
-- was entered before stays in ledger_records.
CREATE TABLE ledger_blocks (
    id INTEGER PRIMARY KEY,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    number BIGINT NOT NULL,
    named BIGINT NOT NULL,
    -- A JSON array with an array for each record: milliseconds after first_ms, how much its number is
    -- above this one, and its columns. The last eleven may be missing.
    records TEXT NOT NULL
);
CREATE INDEX ledger_blocks_time ON ledger_blocks (first_ms, last_ms);
CREATE INDEX ledger_blocks_named ON ledger_blocks (first_ms) WHERE named > 0;
-- A row for each record. Of a period from A on and before B it is read fastest WHERE last_ms >= A AND
-- first_ms < B as well.
CREATE VIEW ledger_rows AS
    SELECT time_ms, number, dims, request_id, user_name, model_asked, attempts, tried, input_tokens,
        output_tokens, cached_input_tokens, cache_creation_5m_tokens, cache_creation_1h_tokens,
        reasoning_tokens, audio_input_tokens, audio_output_tokens, cost_nano_usd, duration_us, ttft_us,
        body_in_bytes, body_out_bytes, named, CAST(time_ms AS BIGINT) AS first_ms,
        CAST(time_ms AS BIGINT) AS last_ms, CAST(1 AS BIGINT) AS some_named
    FROM ledger_records
    UNION ALL
    SELECT CAST(b.first_ms + (r.value ->> 0) AS BIGINT), CAST(b.number + (r.value ->> 1) AS BIGINT),
        CAST(r.value ->> 2 AS BIGINT), CAST(r.value ->> 3 AS TEXT),
        CAST(COALESCE(r.value ->> 11, '') AS TEXT), CAST(r.value ->> 12 AS TEXT),
        CAST(COALESCE(r.value ->> 13, 1) AS BIGINT), CAST(r.value ->> 14 AS TEXT),
        CAST(r.value ->> 4 AS BIGINT), CAST(r.value ->> 5 AS BIGINT),
        CAST(COALESCE(r.value ->> 15, 0) AS BIGINT), CAST(COALESCE(r.value ->> 16, 0) AS BIGINT),
        CAST(COALESCE(r.value ->> 17, 0) AS BIGINT), CAST(COALESCE(r.value ->> 18, 0) AS BIGINT),
        CAST(COALESCE(r.value ->> 19, 0) AS BIGINT), CAST(COALESCE(r.value ->> 20, 0) AS BIGINT),
        CAST(r.value ->> 6 AS BIGINT), CAST(r.value ->> 7 AS BIGINT), CAST(r.value ->> 8 AS BIGINT),
        CAST(r.value ->> 9 AS BIGINT), CAST(r.value ->> 10 AS BIGINT), CAST(r.value ->> 21 AS TEXT),
        b.first_ms, b.last_ms, b.named
    FROM ledger_blocks b, json_each(b.records) r;
DROP VIEW ledger;
CREATE VIEW ledger AS
    SELECT r.time_ms, r.number, r.request_id, d.tenant, d.team, d.key_name, r.user_name, d.route,
        d.pool, d.endpoint, d.dialect, COALESCE(r.model_asked, d.model) AS model_asked, d.model,
        d.provider, d.target, r.attempts, r.tried, d.status, d.error, d.stream, d.hedged,
        d.client_gone, d.broken, r.input_tokens, r.output_tokens, r.cached_input_tokens,
        r.cache_creation_5m_tokens, r.cache_creation_1h_tokens, r.reasoning_tokens,
        r.audio_input_tokens, r.audio_output_tokens, d.source, d.prices, r.cost_nano_usd,
        r.duration_us, r.ttft_us, r.body_in_bytes, r.body_out_bytes, r.first_ms, r.last_ms
    FROM ledger_rows r JOIN ledger_dims d ON d.number = r.dims;
