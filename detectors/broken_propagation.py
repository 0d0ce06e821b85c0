"""Request or trace IDs are lost between a caller and its callee.

## Meaning
Of at least `requests_min` requests that one service sent to another within `window_s`, more than
`broken_share` came out otherwise than they went in: one request ID is under two trace IDs at the
two ends; or a record bears a `traceparent` that is none (no version, wrong length, all zeros), so
that the next hop begins a new trace; or the callee says another request ID than the caller, or
none, though it says them of other requests.

## Impact
Nothing fails yet. But the two ends of a request cannot be laid beside each other any more: traces
end at this hop, and what gave up yet committed, or got lost on its way, is not seen.

## Diagnosis
Open the request that is named, at both ends. A new trace: which headers does the caller send, and
does anything between (a proxy, a gateway, a library of its own) drop or rewrite them? Malformed:
who puts `traceparent` together by hand? `00-<32 hex>-<16 hex>-01` is the form. All requests, or
only those of one route, or of one version that was just deployed?

## Mitigation
Let the tracing library write the headers rather than code of your own, and hand `X-Request-Id` on
unchanged; let a contract test read both at the callee. Where a hop is meant to begin a new trace
(a public gateway), raise `broken_share` for the service that is called.
"""

from detectors._kit import Case, Detector

_C = {"side": "agent", "service": "gateway", "kind": "span"}
_S = {"side": "dispatcher", "service": "orders", "kind": "span"}


def _asks(
    number: int, t: float = -120.0, first: int = 0, **more: object
) -> list[dict[str, object]]:
    """Return the caller's spans of *number* requests, a second apart."""
    return [
        {
            **_C,
            "t": t + i,
            "end": t + i + 0.2,
            "phase": "call.ok",
            "request_id": f"r{i + first}",
            "trace_id": f"trace-{i + first}",
            "span_id": f"ask-{i + first}",
            **more,
        }
        for i in range(number)
    ]


def _answers(
    number: int, t: float = -120.0, first: int = 0, *, trace: str = "trace", **more: object
) -> list[dict[str, object]]:
    """Return the callee's spans of the same; of a *trace* of its own they have no parent."""
    return [
        {
            **_S,
            "t": t + i + 0.05,
            "end": t + i + 0.15,
            "phase": "call.committed",
            "request_id": f"r{i + first}",
            "trace_id": f"{trace}-{i + first}",
            "span_id": f"answer-{i + first}",
            "parent_id": f"ask-{i + first}" if trace == "trace" else None,
            **more,
        }
        for i in range(number)
    ]


def _logs(number: int, **more: object) -> list[dict[str, object]]:
    """Return requests of which both ends write log records, the callee in traces of its own."""
    told = []
    for i in range(number):
        one = {"t": -90.0 + i, "request_id": f"r{i}", "purpose": "report"}
        caller = {"side": "agent", "service": "gateway", **one, "trace_id": f"a{i}"}
        callee = {"side": "dispatcher", "service": "orders", **one, "trace_id": f"b{i}", **more}
        told += [
            {**caller, "phase": "call.sent"},
            {**callee, "phase": "call.received"},
            {**callee, "phase": "call.committed"},
            {**caller, "phase": "call.ok"},
        ]
    return told


_HOP = ["gateway to orders"]

DETECTOR = Detector(
    severity="info",
    every_s=60.0,
    thresholds={"window_s": 900.0, "requests_min": 20.0, "broken_share": 0.05},
    sql="""
WITH odd AS (
  SELECT a.namespace, a.hop, a.request_id, a.caller, a.callee, a.peer, a.purpose, a.trace_broken,
    a.caller_trace_id, a.callee_trace_id, a.caller_request_id, a.callee_request_id, a.sent_us,
    a.first_seen_us, a.sent_us = a.sent_last_us AS asked_once,
    a.received_us = a.received_last_us AS got_once, a.trace_id IS NOT NULL AND
      a.hop NOT LIKE 'request:%' AS spans
  FROM (SELECT c.*, c.callee AS service, c.task_name AS name FROM calls c) a
  WHERE a.last_seen_us > {now} - {window_us}
    AND coalesce(a.sent_us, a.received_us) > a.first_seen_us - 3600000000
    AND (a.trace_broken OR a.caller IS NULL OR a.callee IS NULL
      OR a.caller_trace_id <> a.callee_trace_id OR a.caller_request_id <> a.callee_request_id
      OR a.caller_request_id IS NOT NULL AND a.callee_request_id IS NULL)
),
missed AS (
  SELECT w.namespace, w.hop, w.callee, w.caller_request_id AS request_id FROM odd w
  WHERE w.spans AND w.caller IS NOT NULL AND w.callee IS NOT NULL
    AND w.caller_request_id IS NOT NULL AND w.callee_request_id IS NULL
),
said AS (
  SELECT c.namespace, c.callee, c.callee_request_id AS request_id,
    CASE WHEN c.hop LIKE 'request:%' THEN 0 ELSE 1 END AS spans
  FROM calls c
  WHERE c.last_seen_us > {now} - 900000000 AND c.callee_request_id IS NOT NULL
    AND EXISTS (SELECT 1 FROM missed m WHERE m.namespace = c.namespace AND m.callee = c.callee)
),
dropped AS (
  SELECT m.namespace, m.hop FROM missed m
  WHERE EXISTS (SELECT 1 FROM said b WHERE b.namespace = m.namespace AND b.callee = m.callee
      AND b.spans = 1)
    AND NOT EXISTS (SELECT 1 FROM said o WHERE o.namespace = m.namespace AND o.callee = m.callee
      AND o.request_id = m.request_id)
),
halves AS (
  SELECT f.namespace AS namespace, f.request_id AS request_id,
    f.caller AS caller, s.callee AS callee, s.first_seen_us AS first_seen_us,
    CASE WHEN f.trace_broken OR s.trace_broken THEN 1 ELSE 0 END AS malformed,
    CASE WHEN f.caller_trace_id <> s.callee_trace_id AND f.asked_once AND s.got_once
      THEN 1 ELSE 0 END AS parted, 0 AS lost,
    row_number() OVER (PARTITION BY s.namespace, s.hop ORDER BY
      CASE WHEN f.caller_trace_id = s.callee_trace_id THEN 0 ELSE 1 END,
      CASE WHEN coalesce(f.purpose, '') = coalesce(s.purpose, '') THEN 0 ELSE 1 END,
      f.sent_us DESC, f.hop) AS place
  FROM odd f JOIN odd s ON s.namespace = f.namespace AND s.request_id = f.request_id
  WHERE f.callee IS NULL AND s.caller IS NULL AND f.caller <> s.callee
),
broken AS (
  SELECT w.* FROM (
    SELECT o.namespace AS namespace,
      o.request_id AS request_id, coalesce(o.caller, 'callers unseen') AS caller,
      coalesce(o.callee, o.peer, 'callees unseen') AS callee, o.first_seen_us AS first_seen_us,
      CASE WHEN o.trace_broken THEN 1 ELSE 0 END AS malformed,
      CASE WHEN o.caller_trace_id <> o.callee_trace_id AND o.asked_once AND o.got_once
        THEN 1 ELSE 0 END AS parted,
      CASE WHEN d.hop IS NOT NULL OR o.spans AND o.caller_request_id <> o.callee_request_id
        THEN 1 ELSE 0 END AS lost
    FROM odd o LEFT JOIN dropped d ON d.namespace = o.namespace AND d.hop = o.hop
    UNION ALL
    SELECT h.namespace, h.request_id, h.caller, h.callee, h.first_seen_us, h.malformed,
      h.parted, h.lost
    FROM halves h WHERE h.place = 1
  ) w WHERE w.malformed + w.parted + w.lost > 0
),
edges AS (
  SELECT namespace, caller, callee, count(*) AS broken, sum(parted) AS two_traces,
    sum(malformed) AS malformed, sum(lost) AS lost, min(first_seen_us) AS since_us,
    max(request_id) AS request_id
  FROM broken GROUP BY namespace, caller, callee
),
totals AS (
  SELECT namespace, caller, callee, sum(n) AS requests FROM (
    SELECT a.namespace, coalesce(a.caller, 'callers unseen') AS caller,
      coalesce(a.callee, a.peer, 'callees unseen') AS callee, 1 AS n
    FROM (SELECT c.*, c.callee AS service, c.task_name AS name FROM calls c) a
    WHERE a.last_seen_us > {now} - {window_us}
    UNION ALL
    SELECT h.namespace, h.caller, h.callee, 1 FROM halves h WHERE h.place = 1
  ) w GROUP BY namespace, caller, callee
)
SELECT a.namespace, a.caller || ' to ' || a.callee AS subject, a.name, a.service, a.queue,
  a.since_us, a.caller, a.callee, a.requests, a.broken, a.two_traces, a.malformed, a.lost,
  a.request_id
FROM (
  SELECT e.*, t.requests, e.callee AS service, CAST(NULL AS VARCHAR) AS name,
    CAST(NULL AS VARCHAR) AS queue
  FROM edges e JOIN totals t ON t.namespace = e.namespace AND t.caller = e.caller
    AND t.callee = e.callee
) a
WHERE a.requests >= {requests_min} AND a.broken > {broken_share} * a.requests
ORDER BY since_us, subject""",
    fix="Look at the headers that {caller} sends to {callee}: {broken} of {requests} requests came"
    " out otherwise than they went in (two trace IDs: {two_traces}, malformed traceparent:"
    " {malformed}, request ID lost: {lost}). Begin with request {request_id}.",
    only_if={
        "(SELECT c.*, c.callee AS service, c.task_name AS name FROM calls c)": (
            "a.last_seen_us > {now} - {window_us} AND (a.trace_broken OR a.caller IS NULL OR "
            "a.callee IS NULL OR a.caller_trace_id <> a.callee_trace_id OR a.caller_request_id <> "
            "a.callee_request_id OR a.caller_request_id IS NOT NULL AND a.callee_request_id IS "
            "NULL)"
        ),
    },
    cases=[
        Case(
            "2 of 20 requests are in two traces",
            [
                *_asks(20),
                *_answers(18),
                *_answers(2, t=-102, first=18, trace="new"),
            ],
            _HOP,
            "confirmed",
        ),
        Case(
            "1 of 20 requests is in two traces: 5%",
            [
                *_asks(20),
                *_answers(19),
                *_answers(1, t=-101, first=19, trace="new"),
            ],
            [],
        ),
        Case(
            "2 of 19 requests: too few to tell",
            [
                *_asks(19),
                *_answers(17),
                *_answers(2, t=-103, first=17, trace="new"),
            ],
            [],
        ),
        Case(
            "all was well for the last quarter of an hour",
            [
                *_asks(18, t=-200),
                *_answers(18, t=-200),
                *_asks(2, t=-905, first=18, arrived=-900),
                *_answers(2, t=-905, first=18, trace="new", arrived=-900),
            ],
            [],
        ),
        Case("every request is in one trace", [*_asks(40), *_answers(40)], []),
        Case(
            "log records at both ends, in a trace for each end",
            _logs(24),
            _HOP,
            "confirmed",
        ),
        Case("log records, and the callee has no traces", _logs(20, trace_id=None), []),
        Case(
            "tried again under the same request ID, in a trace of its own each time",
            [
                one
                for row in _logs(20)
                for one in (
                    {**row, "trace_id": "first"},
                    {**row, "t": float(str(row["t"])) + 0.5, "trace_id": f"z{row['trace_id']}"},
                )
            ],
            [],
        ),
        Case(
            "traceparent without its version: the next hop begins a new trace",
            [
                *_asks(24, request_id=None),
                *_answers(24, trace="new", request_id=None, trace_broken=True),
            ],
            ["callers unseen to orders"],
            "confirmed",
        ),
        Case(
            "one traceparent of 24 is malformed",
            [*_asks(24), *_answers(23), *_answers(1, t=-97, first=23, trace_broken=True)],
            [],
        ),
        Case(
            "what the caller says that it sends is malformed",
            [*_asks(24, trace_broken=True, peer="pay.example.org")],
            ["gateway to pay.example.org"],
            "confirmed",
        ),
        Case(
            "the callee says another request ID than its caller",
            [*_asks(24), *_answers(22), *_answers(2, t=-98, first=22, request_id="own")],
            _HOP,
            "confirmed",
        ),
        Case(
            "the callee says no request ID, though it says others'",
            [*_asks(24), *_answers(22), *_answers(2, t=-98, first=22, request_id=None)],
            _HOP,
            "confirmed",
        ),
        Case(
            "the callee's spans never say a request ID: nothing is lost there, the trace has it",
            [*_asks(20), *_answers(20, request_id=None)],
            [],
        ),
        Case(
            "the callee's spans do not say it, its log does",
            [
                *_asks(20),
                *_answers(18),
                *_answers(2, t=-102, first=18, request_id=None),
                *(
                    {**_S, "kind": "log", "t": -101, "phase": "call.received", "request_id": one}
                    for one in ("r18", "r19")
                ),
            ],
            [],
        ),
        Case(
            "one request ID for the whole way: each hop in the one trace",
            [
                *_asks(20),
                *_answers(20),
                *_asks(20, service="orders", span_id="on", peer="pay.example.org"),
            ],
            [],
        ),
        Case(
            "a day of spans is sent again",
            [
                *_asks(20, t=-4000, arrived=-60),
                *_answers(20, t=-4000, trace="new", arrived=-60),
            ],
            [],
        ),
        Case(
            "the callee's spans never say a request ID, its log says those of others",
            [
                *_asks(20),
                *_answers(20, request_id=None),
                {**_S, "kind": "log", "t": -101, "phase": "call.received", "request_id": "r99"},
            ],
            [],
        ),
        Case(
            "who is called by somebody unseen calls on, in a trace of its own",
            [
                *_answers(20, parent_id=None),
                *_asks(20, service="orders", trace_id="new", peer="pay.example.org"),
            ],
            [],
        ),
        Case(
            "a first try that did not arrive, and a second through a proxy that is unseen",
            [
                *_answers(20, parent_id="proxy"),
                *_asks(20),
                *_asks(20, t=-119.9, trace_id="lost", span_id="lost", phase="call.failed"),
            ],
            [],
        ),
    ],
)
