"""A peer turns a caller's calls away because there are too many of them.

## Meaning
Within `window_s`, more than `limited_share` of this caller's calls to one peer, of at least
`calls_min`, were answered with 429 (RESOURCE_EXHAUSTED of gRPC), or with 403 and a quota of
which nothing is left.

## Impact
What these calls are for is late, or is not done. A caller that tries again at once makes it
worse; one that does not expect a refusal may die of it.

## Diagnosis
Compare the quota with what it should be: a small one means that the caller is anonymous to the
peer (`auth_failure`). If the quota is right, look for what asks so much: retries without pauses
(`retry_storm`), a process that starts again and again and asks anew each time (`crash_loop`), or
more work than before.

## Mitigation
Slow the caller down and honour `Retry-After`; put off what can wait; keep answers that do not
change. Only then ask for a greater quota.
"""

from detectors._kit import Case, Detector


def _calls(number: int, t: float = -100, **more: object) -> list[dict[str, object]]:
    """Return *number* calls that the web made to an upstream, a second apart."""
    return [
        {
            "side": "agent",
            "service": "web",
            "peer": "api.example.org",
            "instance": "web-1",
            "purpose": "other",
            "t": t + i,
            "phase": "call.failed" if "status_code" in more else "call.ok",
            "request_id": f"r{t}-{i}-{more.get('status_code')}",
            "status_code": 200,
            **more,
        }
        for i in range(number)
    ]


_WEB = "web to api.example.org"

DETECTOR = Detector(
    severity="warning",
    every_s=15,
    follows=(
        "auth_failure",
        "retry_storm",
    ),
    thresholds={"window_s": 900.0, "calls_min": 20.0, "limited_share": 0.05},
    sql="""
WITH limited AS (
  SELECT a.namespace, a.service, a.peer, count(*) AS limited, min(a.at_us) AS first_us,
    max(a.at_us) AS last_us, count(DISTINCT a.caller_instance) AS instances,
    min(a.caller_instance) AS an_instance, max(a.quota_limit) AS quota_limit,
    min(a.request_id) AS request_id
  FROM asked a
  WHERE a.last_seen_us > {now} - {window_us}
    AND (a.status_code IN (429, 8) OR a.status_code = 403 AND a.quota_left <= 0)
  GROUP BY a.namespace, a.service, a.peer
), every AS (
  SELECT a.namespace, a.service, a.peer, count(*) AS calls
  FROM asked a JOIN limited l ON l.namespace = a.namespace AND l.service = a.service
    AND l.peer = a.peer
  WHERE a.last_seen_us > {now} - {window_us} AND a.ended
  GROUP BY a.namespace, a.service, a.peer
)
SELECT a.namespace,
  CASE WHEN a.service = '' THEN 'callers unseen' ELSE a.service END || ' to ' || a.peer AS subject,
  a.name, a.service, a.queue, a.first_us AS since_us, a.peer, a.limited, e.calls,
  100.0 * a.limited / e.calls AS limited_percent, ({now} - a.last_us) / 1e6 AS last_s,
  a.instances, a.an_instance, a.quota_limit, a.request_id
FROM (SELECT l.*, CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue FROM limited l) a
JOIN every e ON e.namespace = a.namespace AND e.service = a.service AND e.peer = a.peer
WHERE e.calls >= {calls_min} AND a.limited > {limited_share} * e.calls
ORDER BY since_us, subject""",
    fix="Slow {service} down: {peer} turned away {limited} of its {calls} calls ({instances}"
    " instances, {an_instance} among them), the last one {last_s} s ago; it allows {quota_limit}.",
    only_if={
        "calls": "a.status_code IN (429, 8) OR a.status_code = 403 AND a.quota_left <= 0",
    },
    cases=[
        Case(
            "2 of 21 calls are turned away",
            [*_calls(19), *_calls(2, status_code=429)],
            [_WEB],
            "confirmed",
        ),
        Case("1 of 20 calls is turned away", [*_calls(19), *_calls(1, status_code=429)], []),
        Case(
            "2 of 20 calls are enough to tell", [*_calls(18), *_calls(2, status_code=429)], [_WEB]
        ),
        Case("all of 19 calls: too few to tell", _calls(19, status_code=429), []),
        Case(
            "403, and nothing is left of the quota",
            _calls(20, status_code=403, quota_limit=60.0, quota_left=0.0),
            [_WEB],
            "confirmed",
        ),
        Case(
            "403, and one call is left: it is not for its number that it is refused",
            _calls(20, status_code=403, quota_limit=60.0, quota_left=1.0),
            [],
        ),
        Case("403 that says nothing of a quota", _calls(20, status_code=403), []),
        Case("turned away by gRPC", _calls(20, status_code=8), [_WEB], "confirmed"),
        Case(
            "it was so, until 15 minutes ago",
            [*_calls(20, t=-919, arrived=-900, status_code=429), *_calls(20)],
            [],
        ),
        Case(
            "another caller is not slowed down for it",
            [*_calls(20), *_calls(20, status_code=429, service="job")],
            ["job to api.example.org"],
            "confirmed",
        ),
    ],
)
