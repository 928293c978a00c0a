"""Every metric, declared once, with the closed set of each label's values: no client can make a new
series, a value outside its set is counted as ``other``. Names carry their unit; each sentence is
what an operator reads.

Below: `rows`, the memory that all workers of a host share; `kinds`, counters, gauges and
histograms; `sharing`, which process counts in which row; `process`, what is read at each scrape;
`render`, the text format.
"""

from __future__ import annotations

from warmdesk.metrics.kinds import Traffic, counter, gauge, histogram

HTTP_REQUESTS = counter(
    "warmdesk_http_requests_total",
    "Requests answered, by route and class of status.",
    method=(),
    route=(),
    status=(),
)
HTTP_SECONDS = histogram(
    "warmdesk_http_request_duration_seconds",
    "Time from a request's head to its answer, by route; without the wait for an event.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    method=(),
    route=(),
)
HTTP = Traffic(HTTP_REQUESTS, HTTP_SECONDS)
HTTP_CUT = counter(
    "warmdesk_http_cut_total",
    "Connections ended or refused: readers that are stalled or slow, too many bytes of answers or"
    " bodies, too many of an address, idle ones or most of a person's for new ones of an address,"
    " too many sockets of a person, no files left.",
    reason=(
        *("stalled", "slow", "answers", "bodies"),
        *("address", "idle", "person", "sockets", "files"),
    ),
)
HTTP_BUFFER_BYTES = gauge(
    "warmdesk_http_buffer_bytes", "Bytes of answers that wait for slow readers."
)
HTTP_WAITING = gauge("warmdesk_http_waiting", "Requests that wait for an event.")
COLLECTIONS = counter(
    "python_gc_collections_total",
    "Runs of the garbage collector.",
    generation=("0", "1", "2"),
)
COLLECTED = counter(
    "python_gc_objects_collected_total",
    "Objects that the garbage collector freed.",
    generation=("0", "1", "2"),
)
UNCOLLECTABLE = counter(
    "python_gc_objects_uncollectable_total",
    "Objects that the garbage collector could not free.",
    generation=("0", "1", "2"),
)
READY = gauge("warmdesk_ready", "1 while /ready says 200, in the worst worker.", across="min")
WORKER_DEATHS = counter("warmdesk_worker_deaths_total", "Workers that ended by themselves.")
LOOP_LAG = gauge(
    "warmdesk_loop_lag_seconds",
    "How late the latest timer of the last 15 seconds fired, in the worst worker.",
    across="max",
)
POOL_CONNECTIONS = gauge(
    "warmdesk_db_pool_connections",
    "Connections to PostgreSQL that the requests' pools hold.",
    state=("idle", "busy"),
)
POOL_WAIT = histogram(
    "warmdesk_db_pool_wait_seconds",
    "Time that a request waited for a connection to PostgreSQL.",
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0),
)
HEAVY_WAIT = histogram(
    "warmdesk_db_heavy_wait_seconds",
    "Time that a search, a board or a long page waited for a connection to PostgreSQL.",
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0),
)
POOL_LIMIT = gauge(
    "warmdesk_db_pool_limit_connections",
    "Connections to PostgreSQL that the requests' pools may hold.",
)

DRAIN_SECONDS = histogram(
    "warmdesk_drain_seconds",
    "Time from the signal to stop until a worker had nothing left to do.",
    (2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0),
)
AUTH_FAILURES = counter(
    "warmdesk_auth_failures_total",
    "Credentials that were refused.",
    reason=(
        *("password", "deactivated", "token", "token_expired", "session_ended"),
        *("refresh_token", "key", "ticket", "mfa"),
    ),
)
WEBHOOK_DELIVERIES = counter(
    "warmdesk_webhook_deliveries_total",
    "Deliveries to webhooks: taken in, seen before, nothing to say of, refused (4xx), over the"
    " limit, or not taken because PostgreSQL was away (503).",
    type=("generic", "github", "gitlab", "gitea", "forgejo"),
    result=("taken", "duplicate", "skipped", "refused", "limited", "unavailable"),
)

MAILS = counter(
    "warmdesk_mails_total",
    "Mails, by what became of them: taken by the mail server, failed and to be tried again, given"
    " up, or dropped because nobody wanted them any more.",
    result=("sent", "failed", "given_up", "dropped"),
)

# The centre.
TASK_RESTARTS = counter(
    "warmdesk_task_restarts_total",
    "Tasks of the centre that failed and were started again.",
    task=(
        "bus.listen",
        "bus.publish",
        "bus.beat",
        "hub.check",
        "hub.sweep",
        "presence.turn",
        "control.review",
        "retention",
        "outgoing",
        "outgoing.keep",
        "system",
        "bounds",
    ),
)
EVENTS_PUBLISHED = counter("warmdesk_events_published_total", "Events that changes recorded here.")
BUS_DROPPED = counter(
    "warmdesk_bus_dropped_total", "Messages that Redis did not take, or that made no sense."
)
REDIS_UP = gauge(
    "warmdesk_redis_up", "1 while a worker hears its own beat, in the worst worker.", across="min"
)
FEED_REPAIRS = counter(
    "warmdesk_feed_repairs_total",
    "Reads of a feed that made good what the bus did not bring.",
    cause=("gap", "check", "resume", "slow", "failed"),
)
DELIVERY_FAILED = counter(
    "warmdesk_delivery_failed_total",
    "Events whose delivery failed by a fault of the server; none is lost, all are read again.",
)
EVENT_DELIVERY = histogram(
    "warmdesk_event_delivery_seconds",
    "Time from an event's ts, PostgreSQL's clock, until a room's sockets had it.",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)
COMMIT_UNKNOWN = counter(
    "warmdesk_commit_unknown_total",
    "Changes answered without knowing whether they were committed.",
)
DELIVERY_GAP = counter(
    "warmdesk_delivery_gap_total", "Times a feed no longer held what a room had to deliver."
)
EPOCH_CHANGES = counter("warmdesk_epoch_changes_total", "Times history was found to be another.")
RESUMES = counter(
    "warmdesk_resume_total", "Sockets that asked for what they missed.", result=("replay", "reset")
)
PRESENCE_CORRECTIONS = counter(
    "warmdesk_presence_corrections_total", "Users found gone by comparing with the leases."
)
REVOCATIONS = counter(
    "warmdesk_revocations_total",
    "Open sockets closed because a right was gone.",
    cause=("user", "session", "key", "project", "purge", "address"),
)
REVOCATION_SECONDS = histogram(
    "warmdesk_revocation_seconds",
    "Time from the change that took a right until an open socket was closed for it.",
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)
WS_CONNECTIONS = gauge(
    "warmdesk_ws_connections",
    "Open sockets, and open streams of server-sent events.",
    kind=("project", "user", "project_stream", "user_stream"),
)
WS_MESSAGES = counter(
    "warmdesk_ws_messages_total",
    "Messages that clients sent, and events that were delivered live, by type.",
    direction=("in", "out"),
    type=(),
)
WS_DROPPED = counter(
    "warmdesk_ws_dropped_total",
    "Messages thrown away: what clients sent wrongly or too fast, signals to slow readers.",
    reason=("flood", "inbox_full", "malformed", "slow_reader"),
)
WS_CLOSED = counter(
    "warmdesk_ws_closed_total",
    "Sockets closed, by code; 1005 and 1006 as in RFC 6455.",
    code=tuple(
        str(code)
        for code in (
            *(1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1011, 1012, 1013),
            *(4400, 4401, 4403, 4404, 4408, 4409, 4429, 4431),
        )
    ),
)
OUTGOING_DELIVERIES = counter(
    "warmdesk_outgoing_deliveries_total",
    "Tries to deliver an event to an outgoing webhook, and events that were passed over.",
    result=("delivered", "failed", "parked", "missed", "history"),
)
WS_BUFFER_BYTES = gauge("warmdesk_ws_buffer_bytes", "Bytes that wait for slow readers.")
DB_RETRIES = counter(
    "warmdesk_db_retries_total",
    "Changes tried again, by SQLSTATE.",
    state=("40P01", "40001", "55P03", "0A000"),
)
