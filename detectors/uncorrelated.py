"""Requests are seen from one end only: one side drops their IDs.

## Meaning
Of at least `requests_min` requests between two services within `window_s`, more than `lone_share`
cannot be joined: by no request ID and no trace is there a record from the other end, though that
end told of requests in that minute and the ones beside it, and `wait_s` and its own delay have
passed. A caller's request counts if it was answered, a callee's if it is the scheduler's own
traffic (its purpose is `dispatch`, `report` or `heartbeat`); anything else may never have arrived,
or be a stranger's.
Where one side tells of no requests of that purpose at all, it is not instrumented: that is no
finding but a gap, said once and *unknown*.

## Impact
For these requests nobody can say what became of them. A time-out here and a commit there stay two
stories, and a lost report looks like a task that never ended.

## Diagnosis
Take the request that is named, and look for its time in the log of the service that drops the ID.
Does it log requests without an ID? Another ID, made anew instead of taken from `X-Request-Id`? Not
at all: another version, a path without the middleware, spans that are sampled away?

## Mitigation
Let that service take the ID of each request that comes in, hand it on with each request that goes
out, and write it with each record. Do it in one place: the middleware or the client, not the
handlers.
"""

from detectors._kit import Case, Detector

_C = {"side": "agent", "service": "agent", "instance": "agent-1", "purpose": "report"}
_S = {"side": "dispatcher", "service": "oxr", "instance": "oxr-1", "purpose": "report"}
_OWN = "('dispatch', 'report', 'heartbeat')"


def _asks(
    number: int, first: int = 0, t: float = -300.0, step: float = 2.0, **more: object
) -> list[dict[str, object]]:
    """Return the caller's records of *number* requests that were answered."""
    return [
        {**_C, "t": t + (i + first) * step + end, "phase": phase, "request_id": f"r{i + first}"}
        | more
        for i in range(number)
        for phase, end in (("call.sent", 0.0), ("call.ok", 0.3))
    ]


def _answers(
    number: int, first: int = 0, t: float = -300.0, step: float = 2.0, **more: object
) -> list[dict[str, object]]:
    """Return the callee's records of the same."""
    return [
        {**_S, "t": t + (i + first) * step + end, "phase": phase, "request_id": f"r{i + first}"}
        | more
        for i in range(number)
        for phase, end in (("call.received", 0.1), ("call.committed", 0.2))
    ]


def _more(*sides: dict[str, object]) -> list[dict[str, object]]:
    """Return other requests of both ends, so that each is heard of in every minute."""
    return [
        {**side, "t": -890.0 + i * 20, "phase": phase, "request_id": f"{phase}{i}", **other}
        for side, phase, other in (
            (_C, "call.ok", {"purpose": "other", "peer": "api.example.org"}),
            (_S, "call.committed", {"purpose": "other"}),
        )
        if not sides or side in sides
        for i in range(45)
    ]


_HOP = ["agent to oxr, report"]

DETECTOR = Detector(
    severity="info",
    every_s=60.0,
    follows=("broken_propagation",),
    thresholds={"window_s": 900.0, "requests_min": 50.0, "lone_share": 0.1, "wait_s": 60.0},
    sql=f"""
WITH hops AS (
  SELECT a.namespace, a.caller, a.callee, coalesce(a.purpose, '') AS purpose,
    coalesce(a.peer, '') AS peer, a.first_seen_us // 60000000 AS minute, count(*) AS n,
    max(a.sent_seen_us - a.sent_us) AS caller_lag_us,
    max(a.received_seen_us - a.received_us) AS callee_lag_us,
    max(a.sent_seen_us - a.received_seen_us) AS caller_late_us,
    max(a.received_seen_us - a.sent_seen_us) AS callee_late_us
  FROM (SELECT c.*, c.callee AS service, c.task_name AS name FROM calls c) a
  WHERE a.last_seen_us > {{now}} - {{window_us}}
  GROUP BY a.namespace, a.caller, a.callee, coalesce(a.purpose, ''), coalesce(a.peer, ''),
    a.first_seen_us // 60000000
),
nameless AS (
  SELECT m.namespace, m.service, coalesce(m.purpose, '') AS purpose,
    m.arrived_us // 60000000 AS minute,
    CASE WHEN m.phase IN ('call.sent', 'call.ok', 'call.failed', 'call.gave_up') THEN 1
      ELSE 0 END AS asks,
    least(sum(CASE WHEN m.phase = 'call.sent' AND m.task IS NULL THEN 1 ELSE 0 END),
      sum(CASE WHEN m.phase = 'call.ok' AND m.task IS NULL THEN 1 ELSE 0 END)) AS n
  FROM marks m
  WHERE m.arrived_us > {{now}} - 900000000 AND m.request_id IS NULL AND m.kind <> 'span'
    AND m.ts_us > m.arrived_us - 3600000000
    AND m.service IS NOT NULL AND m.phase IN ('call.sent', 'call.ok', 'call.failed',
      'call.gave_up', 'call.received', 'call.committed', 'call.errored')
  GROUP BY m.namespace, m.service, coalesce(m.purpose, ''), m.arrived_us // 60000000,
    CASE WHEN m.phase IN ('call.sent', 'call.ok', 'call.failed', 'call.gave_up') THEN 1
      ELSE 0 END
),
tellers AS (
  SELECT namespace, service, asks, purpose, minute, max(lag_us) AS lag_us, max(late_us) AS late_us
  FROM (
    SELECT namespace, caller AS service, 1 AS asks, purpose, minute, caller_lag_us AS lag_us,
      caller_late_us AS late_us
    FROM hops WHERE caller IS NOT NULL
    UNION ALL
    SELECT namespace, callee, 0, purpose, minute, callee_lag_us, callee_late_us
    FROM hops WHERE callee IS NOT NULL
    UNION ALL
    SELECT namespace, service, asks, purpose, minute, 0, NULL FROM nameless
  ) o GROUP BY namespace, service, asks, purpose, minute
),
active AS (
  SELECT t.* FROM (
    SELECT o.*, max(o.minute) OVER (PARTITION BY o.namespace, o.service, o.asks ORDER BY o.minute
        ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) AS before,
      max(o.minute) OVER (PARTITION BY o.namespace, o.service, o.asks ORDER BY o.minute
        ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING) AS after
    FROM (SELECT DISTINCT namespace, service, asks, minute FROM tellers) o
  ) t WHERE t.before = t.minute - 1 AND t.after = t.minute + 1
),
delays AS (
  -- after the other end of the same requests, by our clock; else by its own, which may be behind
  SELECT namespace, service, coalesce(max(late_us), max(lag_us)) AS lag_us
  FROM tellers GROUP BY namespace, service
),
roles AS (SELECT DISTINCT namespace, service, asks, purpose FROM tellers),
known AS (
  SELECT namespace, caller, purpose, peer, min(callee) AS callee FROM hops
  WHERE caller IS NOT NULL AND callee IS NOT NULL GROUP BY namespace, caller, purpose, peer
),
guessed AS (
  SELECT r.namespace AS namespace, r.service AS service, r.asks AS asks, r.purpose AS purpose,
    min(CASE WHEN o.asks <> r.asks AND o.service <> r.service THEN o.service END) AS other
  FROM roles r JOIN roles o ON o.namespace = r.namespace AND o.purpose = r.purpose
  GROUP BY r.namespace, r.service, r.asks, r.purpose
),
halves AS (
  SELECT a.namespace, a.hop, a.caller, a.callee, coalesce(a.purpose, '') AS purpose,
    coalesce(a.peer, '') AS peer, a.request_id, a.trace_id, a.first_seen_us,
    a.first_seen_us // 60000000 AS minute, {{now}} - {{wait_us}} AS until_us
  FROM (SELECT c.*, coalesce(c.callee, c.caller) AS service, c.task_name AS name FROM calls c) a
  WHERE a.last_seen_us > {{now}} - {{window_us}}
    AND coalesce(a.sent_us, a.received_us) > a.first_seen_us - 3600000000
    AND (a.callee IS NULL AND a.ok_us IS NOT NULL
      OR a.caller IS NULL AND a.callee IS NOT NULL AND a.purpose IN {_OWN})
),
joined AS (
  SELECT h.namespace, h.hop FROM halves h
  JOIN calls o ON o.namespace = h.namespace AND o.request_id = h.request_id
  WHERE CASE WHEN h.callee IS NULL THEN o.callee ELSE o.caller END
    <> coalesce(h.callee, h.caller)
  UNION ALL
  SELECT h.namespace, h.hop FROM halves h
  JOIN calls o ON o.namespace = h.namespace AND o.trace_id = h.trace_id
  WHERE CASE WHEN h.callee IS NULL THEN o.callee ELSE o.caller END
    <> coalesce(h.callee, h.caller)
),
lone AS (
  SELECT h.* FROM halves h
  WHERE NOT EXISTS (SELECT 1 FROM joined j WHERE j.namespace = h.namespace AND j.hop = h.hop)
),
placed AS (
  SELECT l.namespace AS namespace, l.caller AS caller, coalesce(k.callee,
      CASE WHEN l.purpose IN {_OWN} OR l.peer = '' THEN g.other END) AS callee,
    l.purpose AS purpose, 1 AS asks, l.minute AS minute, l.first_seen_us AS first_seen_us,
    l.until_us AS until_us, l.request_id AS request_id, 1 AS n
  FROM lone l
  LEFT JOIN known k ON k.namespace = l.namespace AND k.caller = l.caller
    AND k.purpose = l.purpose AND k.peer = l.peer
  LEFT JOIN guessed g ON g.namespace = l.namespace AND g.service = l.caller
    AND g.purpose = l.purpose AND g.asks = 1
  WHERE l.callee IS NULL
  UNION ALL
  SELECT l.namespace, g.other, l.callee, l.purpose, 0, l.minute, l.first_seen_us, l.until_us,
    l.request_id, 1
  FROM lone l
  LEFT JOIN guessed g ON g.namespace = l.namespace AND g.service = l.callee
    AND g.purpose = l.purpose AND g.asks = 0
  WHERE l.callee IS NOT NULL
  UNION ALL
  SELECT m.namespace, m.service, g.other, m.purpose, 2, m.minute, m.minute * 60000000,
    {{now}} - 60000000, NULL, m.n
  FROM nameless m
  JOIN guessed g ON g.namespace = m.namespace AND g.service = m.service
    AND g.purpose = m.purpose AND g.asks = 1
  WHERE m.asks = 1 AND m.purpose IN {_OWN}
),
counted AS (
  SELECT p.namespace AS namespace, p.caller AS caller, p.callee AS callee, p.purpose AS purpose,
    sum(CASE WHEN p.asks = 1 THEN p.n ELSE 0 END) AS asked,
    sum(CASE WHEN p.asks = 0 THEN p.n ELSE 0 END) AS answered,
    sum(CASE WHEN p.asks = 2 THEN p.n ELSE 0 END) AS unnamed,
    min(p.first_seen_us) AS since_us, max(p.request_id) AS request_id
  FROM placed p
  LEFT JOIN delays d ON d.namespace = p.namespace
    AND d.service = CASE WHEN p.asks = 0 THEN p.caller ELSE p.callee END
  LEFT JOIN active t ON t.namespace = p.namespace AND t.minute = p.minute
    AND t.service = CASE WHEN p.asks = 0 THEN p.caller ELSE p.callee END
    AND t.asks = CASE WHEN p.asks = 0 THEN 1 ELSE 0 END
  WHERE CASE WHEN p.caller IS NULL OR p.callee IS NULL THEN p.first_seen_us < p.until_us
      ELSE t.minute IS NOT NULL
        AND p.first_seen_us < p.until_us - CASE WHEN d.lag_us > 0 THEN d.lag_us ELSE 0 END END
  GROUP BY p.namespace, p.caller, p.callee, p.purpose
),
pairs AS (
  SELECT namespace, caller, callee, purpose, sum(n) AS n FROM hops
  WHERE caller IS NOT NULL AND callee IS NOT NULL GROUP BY namespace, caller, callee, purpose
),
covered AS (
  SELECT namespace, key AS purpose, max(CASE WHEN measure = 'answer' THEN 1 ELSE 0 END) AS answers,
    max(CASE WHEN measure = 'call' THEN 1 ELSE 0 END) AS asks
  FROM rates WHERE measure IN ('answer', 'call') GROUP BY namespace, key
)
SELECT a.namespace, a.subject, a.name, a.service, a.queue, a.since_us, a.unproven, a.caller,
  a.callee, a.purpose, a.requests, a.lone, a.how, a.request_id
FROM (
  SELECT c.namespace AS namespace, CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue,
    c.since_us AS since_us, c.caller AS caller, c.callee AS callee, c.purpose AS purpose,
    c.request_id AS request_id,
    coalesce(c.caller, 'callers unseen') || ' to ' || coalesce(c.callee, 'callees unseen')
      || CASE WHEN c.purpose = '' THEN '' ELSE ', ' || c.purpose END AS subject,
    CASE WHEN c.callee IS NULL OR c.asked = 0 AND c.unnamed = 0 AND c.caller IS NOT NULL
      OR c.unnamed > c.asked THEN coalesce(c.caller, c.callee) ELSE c.callee END AS service,
    CASE WHEN c.caller IS NULL OR c.callee IS NULL THEN 'the other end tells of no such request'
      WHEN c.unnamed > c.asked THEN 'it asks, and tells no ID'
      WHEN c.asked = 0 THEN 'it tells nothing of requests that are answered'
      WHEN c.answered = 0 THEN 'it tells nothing of requests that it answered, or no ID'
      ELSE 'it tells other IDs than its caller' END AS how,
    CASE WHEN c.caller IS NULL OR c.callee IS NULL
      THEN 'not covered: nothing tells of these requests at the other end' END AS unproven,
    c.lone AS lone, c.lone + coalesce(p.n, 0) AS requests
  FROM (SELECT o.*, CASE WHEN o.asked + o.unnamed > o.answered THEN o.asked + o.unnamed
      ELSE o.answered END AS lone FROM counted o) c
  LEFT JOIN pairs p ON p.namespace = c.namespace AND p.caller = c.caller
    AND p.callee = c.callee AND p.purpose = c.purpose
  LEFT JOIN covered v ON v.namespace = c.namespace AND v.purpose = c.purpose
  WHERE c.caller IS NOT NULL AND c.callee IS NOT NULL
    OR c.purpose IN {_OWN}
      AND coalesce(CASE WHEN c.callee IS NULL THEN v.answers ELSE v.asks END, 0) = 0
) a
WHERE a.requests >= {{requests_min}} AND a.lone > {{lone_share}} * a.requests
ORDER BY since_us, subject""",
    fix="Let {service} tell the ID of each request: {lone} of {requests} requests ({purpose}) are"
    " seen from one end only, for {how}. Begin with request {request_id}.",
    only_if={
        "calls": (
            "a.callee IS NULL AND a.ok_us IS NOT NULL OR a.caller IS NULL AND a.callee IS NOT NULL"
        ),
        "marks": "a.request_id IS NULL AND a.phase IN ('call.sent', 'call.ok')",
    },
    cases=[
        Case(
            "6 of 50 requests are answered by a service that tells no ID",
            [*_more(), *_asks(50), *_answers(44), *_answers(6, 44, request_id=None)],
            _HOP,
            "confirmed",
        ),
        Case(
            "5 of 50: a tenth",
            [*_more(), *_asks(50), *_answers(45), *_answers(5, 45, request_id=None)],
            [],
        ),
        Case("49 requests are too few", [*_more(), *_asks(49), *_answers(1, 48)], []),
        Case("54, of which one has two ends", [*_more(), *_asks(54), *_answers(1, 53)], _HOP),
        Case(
            "a caller that tells no ID",
            [*_more(), *_asks(10, request_id=None), *_asks(44, 10), *_answers(54)],
            _HOP,
            "confirmed",
        ),
        Case(
            "neither end tells an ID",
            [*_more(), *_asks(54, request_id=None), *_answers(54, request_id=None)],
            _HOP,
            "confirmed",
        ),
        Case(
            "neither end tells an ID, and both tell the task: that is what they are joined by",
            [
                *_more(),
                *_asks(50, request_id=None, task="t1"),
                *_answers(50, request_id=None, task="t1"),
            ],
            [],
        ),
        Case(
            "the ID is told when it is sent, though not with the answer",
            _more()
            + [
                {**one, "request_id": None} if one["phase"] == "call.ok" else one
                for one in [*_asks(60), *_answers(60)]
            ],
            [],
        ),
        Case(
            "the callee makes IDs of its own",
            [
                *_more(),
                *_asks(54),
                *({**one, "request_id": f"own-{one['request_id']}"} for one in _answers(54)),
            ],
            _HOP,
            "confirmed",
        ),
        Case(
            "the callers' side is not instrumented at all: a gap in coverage",
            _answers(60),
            ["callers unseen to oxr, report"],
            "unknown",
        ),
        Case(
            "the callees' side is not instrumented at all: a gap in coverage",
            _asks(60),
            ["agent to callees unseen, report"],
            "unknown",
        ),
        Case(
            "the callee was seen until half an hour ago: its source is dark",
            [*_asks(60), *_asks(5, 100, t=-2100.0), *_answers(5, 100, t=-2100.0)],
            [],
        ),
        Case(
            "the callee's source was dark for four minutes",
            [
                *_asks(140, t=-840.0, step=5.0),
                *_answers(60, t=-840.0, step=5.0),
                *_answers(32, 108, t=-840.0, step=5.0),
            ],
            [],
        ),
        Case(
            "the callee's records come 100 s late: the last ones are under way",
            [
                *_more(),
                *_asks(60, t=-250.0),
                *({**one, "arrived": float(str(one["t"])) + 100} for one in _answers(52, t=-250.0)),
            ],
            [],
        ),
        Case(
            "the callee's clock is 4 min behind, and its records come at once",
            [
                *_more(),
                *_asks(50),
                *(
                    {**one, "t": float(str(one["t"])) - 240, "arrived": one["t"]}
                    for one in [*_answers(44), *_answers(6, 44, request_id=None)]
                ),
            ],
            _HOP,
        ),
        Case(
            "within the last minute: it may still be told of",
            [
                *_more(),
                *_asks(52, t=-600.0, step=5.0),
                *_answers(50, t=-600.0, step=5.0),
                *_asks(20, 100, t=-160.0, step=1.0),
                *_answers(1, 100, t=-160.0, step=1.0),
            ],
            [],
        ),
        Case(
            "one end has spans, the other log records: joined by the request ID",
            [
                *_more(),
                *(
                    {**one, "kind": "span", "trace_id": one["request_id"], "span_id": "a"}
                    for one in _asks(60)
                    if one["phase"] == "call.ok"
                ),
                *_answers(60),
            ],
            [],
        ),
        Case(
            "one end does not say what the request is for",
            [*_more(), *_asks(60), *_answers(60, purpose=None)],
            [],
        ),
        Case(
            "a proxy between, whose spans are not seen: one trace all the same",
            _more()
            + [
                {**one, "kind": "span", "trace_id": one["request_id"], "request_id": None, **more}
                for rows, more in (
                    (_asks(60), {"span_id": "a"}),
                    (_answers(60), {"span_id": "c", "parent_id": "b"}),
                )
                for one in rows
                if one["phase"] in {"call.ok", "call.committed"}
            ],
            [],
        ),
        Case(
            "calls that were not answered may never have arrived",
            _more()
            + [
                {**one, "phase": "call.gave_up"} if one["phase"] == "call.ok" and late else one
                for late, rows in ((False, _asks(50)), (True, _asks(10, 50)))
                for one in rows
            ]
            + _answers(50),
            [],
        ),
        Case(
            "another's service, which is called by its address",
            [
                *_more(),
                *_asks(60, purpose=None, peer="api.example.org"),
                *_answers(60, purpose=None, request_id="s"),
            ],
            [],
        ),
        Case(
            "strangers ask a server that we watch",
            [
                *_more(),
                *_asks(20),
                *_answers(20),
                *_asks(20, 200, t=-600.0, purpose=None, peer="api.example.org"),
                *_answers(60, 100, t=-400.0, purpose=None),
            ],
            [],
        ),
        Case(
            "records of this morning are sent again, of one end only",
            [
                *_more(),
                *_asks(2),
                *_answers(2),
                *(
                    {**one, "t": float(str(one["t"])) - 7200, "arrived": one["t"]}
                    for one in _asks(60, 2)
                ),
            ],
            [],
        ),
    ],
)
