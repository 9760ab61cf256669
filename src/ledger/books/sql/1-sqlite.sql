CREATE TABLE ledger_dims (
    number INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    team TEXT NOT NULL,
    key_name TEXT NOT NULL,
    route TEXT NOT NULL,
    pool TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    dialect TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    target TEXT NOT NULL,
    error TEXT NOT NULL,
    source TEXT NOT NULL,
    prices TEXT NOT NULL,
    status BIGINT NOT NULL,
    stream BIGINT NOT NULL,
    hedged BIGINT NOT NULL,
    client_gone BIGINT NOT NULL,
    broken BIGINT NOT NULL
);
CREATE TABLE ledger_records (
    time_ms BIGINT NOT NULL,
    number BIGINT NOT NULL,
    dims BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    model_asked TEXT,
    attempts BIGINT NOT NULL,
    tried TEXT,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_input_tokens BIGINT NOT NULL,
    cache_creation_5m_tokens BIGINT NOT NULL,
    cache_creation_1h_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    audio_input_tokens BIGINT NOT NULL,
    audio_output_tokens BIGINT NOT NULL,
    cost_nano_usd BIGINT,
    duration_us BIGINT NOT NULL,
    ttft_us BIGINT,
    body_in_bytes BIGINT NOT NULL,
    body_out_bytes BIGINT NOT NULL,
    PRIMARY KEY (time_ms, number)
) WITHOUT ROWID;
CREATE TABLE ledger_hours (
    from_ms BIGINT NOT NULL,
    dims BIGINT NOT NULL,
    user_name TEXT NOT NULL,
    requests BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_input_tokens BIGINT NOT NULL,
    cache_creation_5m_tokens BIGINT NOT NULL,
    cache_creation_1h_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    audio_input_tokens BIGINT NOT NULL,
    audio_output_tokens BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    PRIMARY KEY (from_ms, dims, user_name)
) WITHOUT ROWID;
CREATE TABLE ledger_days (
    from_ms BIGINT NOT NULL,
    dims BIGINT NOT NULL,
    user_name TEXT NOT NULL,
    requests BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_input_tokens BIGINT NOT NULL,
    cache_creation_5m_tokens BIGINT NOT NULL,
    cache_creation_1h_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    audio_input_tokens BIGINT NOT NULL,
    audio_output_tokens BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    PRIMARY KEY (from_ms, dims, user_name)
) WITHOUT ROWID;
CREATE TABLE ledger_journals (
    name TEXT PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    applied BIGINT NOT NULL
);
CREATE TABLE ledger_state (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
CREATE VIEW ledger AS
    SELECT r.time_ms, r.number, r.request_id, d.tenant, d.team, d.key_name, r.user_name, d.route,
        d.pool, d.endpoint, d.dialect, COALESCE(r.model_asked, d.model) AS model_asked, d.model,
        d.provider, d.target, r.attempts, r.tried, d.status, d.error, d.stream, d.hedged,
        d.client_gone, d.broken, r.input_tokens, r.output_tokens, r.cached_input_tokens,
        r.cache_creation_5m_tokens, r.cache_creation_1h_tokens, r.reasoning_tokens,
        r.audio_input_tokens, r.audio_output_tokens, d.source, d.prices, r.cost_nano_usd,
        r.duration_us, r.ttft_us, r.body_in_bytes, r.body_out_bytes
    FROM ledger_records r JOIN ledger_dims d ON d.number = r.dims;
