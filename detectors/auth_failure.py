"""A peer refuses a caller's credential, or no longer sees one.

## Meaning
Within `window_s`, more than `refused_share` of this caller's calls to one peer, of at least
`calls_min`, were answered with 401 or 403 (UNAUTHENTICATED or PERMISSION_DENIED of gRPC). Or the
quota that the peer grants it fell below `quota_share` of what it was, and no call since had the
old one: so a peer treats those who send no credential, or none that it understands. A 403 with
an exhausted quota is another matter (`rate_limited`).

## Impact
What these calls are for does not get done. After a fall of the quota the calls still succeed,
until the small quota is used up: then they fail all at once.

## Diagnosis
What changed at the time shown: a deployment, a rotated or expired secret, a permission? Look at
the header that is really sent, letter by letter: a misspelt scheme is a valid word, and neither
spelling checks nor reviews see it. All instances, or only those of the new version?

## Mitigation
Roll back, or put the right credential in place. Afterwards let a contract test call the peer with
the real header and expect the authenticated quota. Where a peer challenges each call with a 401
first, raise `refused_share` for that caller.
"""

from detectors._kit import Case, Detector


def _calls(number: int, t: float = -100, **more: object) -> list[dict[str, object]]:
    """Return *number* calls that the web made to an upstream, a second apart."""
    return [
        {
            "side": "agent",
            "service": "web",
            "peer": "api.example.org",
            "purpose": "other",
            "t": t + i,
            "phase": "call.failed" if "status_code" in more else "call.ok",
            "request_id": f"r{t}-{i}-{more.get('status_code')}",
            "kind": "span",
            "end": t + i + 0.1,
            "trace_id": f"{t}-{i}-{more.get('status_code')}",
            "span_id": "b",
            "status_code": 200,
            **more,
        }
        for i in range(number)
    ]


_WEB = "web to api.example.org"

DETECTOR = Detector(
    severity="warning",
    follows=("clock_skew",),
    every_s=15,
    thresholds={
        "window_s": 900.0,
        "calls_min": 20.0,
        "refused_share": 0.2,
        "quota_share": 0.5,
        "quota_calls_min": 3.0,
        "overlap_s": 60.0,
    },
    sql="""
WITH refused AS (
  SELECT a.namespace, a.service, a.peer, count(*) AS refused, min(a.at_us) AS begun_us,
    max(a.status_code) AS status_code, min(a.request_id) AS request_id
  FROM asked a
  WHERE a.last_seen_us > {now} - {window_us} AND a.status_code IN (401, 403, 7, 16)
    AND NOT (a.status_code = 403 AND coalesce(a.quota_left, 1) <= 0)
  GROUP BY a.namespace, a.service, a.peer
), all_asked AS (
  SELECT a.namespace, a.service, a.peer, count(*) AS calls
  FROM asked a JOIN refused r ON r.namespace = a.namespace AND r.service = a.service
    AND r.peer = a.peer
  WHERE a.last_seen_us > {now} - {window_us} AND a.ended
  GROUP BY a.namespace, a.service, a.peer
), quotas AS (
  SELECT namespace, service, peer, name, queue, at_us, quota_limit
  FROM asked WHERE quota_limit IS NOT NULL
), levels AS (
  SELECT a.namespace, a.service, a.peer, a.at_us, a.quota_limit, h.quota_was,
    a.quota_limit < h.quota_was * {quota_share} AS low
  FROM quotas a
  JOIN (SELECT namespace, service, peer, max(quota_limit) AS quota_was, min(quota_limit) AS least
    FROM quotas GROUP BY namespace, service, peer) h
    ON h.namespace = a.namespace AND h.service = a.service AND h.peer = a.peer
  WHERE h.least < h.quota_was
), falls AS (
  SELECT a.namespace, a.service, a.peer, max(a.quota_was) AS quota_was,
    max(CASE WHEN a.at_us > t.last_us THEN a.quota_limit END) AS quota_now,
    min(CASE WHEN a.at_us > t.last_us THEN a.at_us END) AS begun_us
  FROM (SELECT l.*, CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue FROM levels l) a
  JOIN (SELECT namespace, service, peer, max(CASE WHEN low THEN NULL ELSE at_us END) AS last_us
    FROM levels GROUP BY namespace, service, peer) t
    ON t.namespace = a.namespace AND t.service = a.service AND t.peer = a.peer
  GROUP BY a.namespace, a.service, a.peer, t.last_us
  HAVING sum(CASE WHEN a.at_us > t.last_us THEN 1 ELSE 0 END) >= max({quota_calls_min})
    AND sum(CASE WHEN a.low THEN 0 ELSE 1 END) >= max({quota_calls_min})
    AND sum(CASE WHEN a.low AND a.at_us < t.last_us - {overlap_us} THEN 1 ELSE 0 END) = 0
), told AS (
  SELECT a.namespace, a.service, a.peer, a.begun_us, r.calls, a.refused, a.status_code,
    a.request_id, CAST(NULL AS DOUBLE) AS quota_was, CAST(NULL AS DOUBLE) AS quota_now
  FROM (SELECT r.*, CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS queue
    FROM refused r) a
  JOIN all_asked r ON r.namespace = a.namespace AND r.service = a.service AND r.peer = a.peer
  WHERE r.calls >= {calls_min} AND a.refused > {refused_share} * r.calls
  UNION ALL
  SELECT f.namespace, f.service, f.peer, f.begun_us, NULL, NULL, NULL, NULL, f.quota_was,
    f.quota_now
  FROM falls f
)
SELECT b.namespace,
  CASE WHEN b.service = '' THEN 'callers unseen' ELSE b.service END || ' to ' || b.peer AS subject,
  CAST(NULL AS VARCHAR) AS name, b.service, CAST(NULL AS VARCHAR) AS queue,
  min(b.begun_us) AS since_us, b.peer,
  CASE WHEN max(b.refused) IS NULL THEN 'its quota fell, as if it sent no credential'
    ELSE 'its calls are refused' END AS why,
  max(b.refused) AS refused, max(b.calls) AS calls, max(b.status_code) AS status_code,
  min(b.request_id) AS request_id, max(b.quota_was) AS quota_was, max(b.quota_now) AS quota_now
FROM told b GROUP BY b.namespace, b.service, b.peer
ORDER BY since_us, subject""",
    fix="Check the credential that {service} sends to {peer}: {why} (refused: {refused} of {calls}"
    " calls, status {status_code}; quota: {quota_was}, then {quota_now}).",
    only_if={
        "calls": "a.status_code IN (401, 403, 7, 16) OR a.quota_limit IS NOT NULL",
    },
    cases=[
        Case(
            "5 of 20 calls are refused",
            [*_calls(15), *_calls(5, status_code=401)],
            [_WEB],
            "confirmed",
        ),
        Case("4 of 20 calls are refused", [*_calls(16), *_calls(4, status_code=403)], []),
        Case("all of 19 calls are refused: too few to tell", _calls(19, status_code=401), []),
        Case(
            "it was so, until 15 minutes ago",
            [*_calls(5, t=-905, arrived=-900, status_code=401), *_calls(20, t=-80)],
            [],
        ),
        Case(
            "refused by gRPC",
            _calls(20, status_code=16),
            [_WEB],
            "confirmed",
        ),
        Case(
            "403 with an exhausted quota is a limit, not a credential",
            _calls(20, status_code=403, quota_limit=60.0, quota_left=0.0),
            [],
        ),
        Case(
            "another caller's refusals are not this one's",
            [*_calls(20), *_calls(5, status_code=401, service="job")],
            [],
        ),
        Case(
            "strangers knock at a server that we watch",
            _calls(
                20,
                status_code=401,
                side="dispatcher",
                service="oxr",
                peer=None,
                phase="call.errored",
            ),
            [],
        ),
        Case(
            "agents whose own side is not seen are refused their reports",
            _calls(
                20,
                status_code=401,
                side="dispatcher",
                service="oxr",
                peer=None,
                phase="call.errored",
                purpose="report",
            ),
            ["callers unseen to oxr"],
            "confirmed",
        ),
        Case(
            "the quota fell from an account's to a stranger's",
            [*_calls(3, t=-300, quota_limit=5000.0), *_calls(3, quota_limit=60.0)],
            [_WEB],
            "confirmed",
        ),
        Case(
            "two calls with the lesser quota are too few",
            [*_calls(3, t=-300, quota_limit=5000.0), *_calls(2, quota_limit=60.0)],
            [],
        ),
        Case(
            "to half is another plan, not another caller",
            [*_calls(3, t=-300, quota_limit=5000.0), *_calls(3, quota_limit=2500.0)],
            [],
        ),
        Case(
            "two resources with a quota each, used in turn",
            [
                *_calls(3, t=-400, quota_limit=30.0),
                *_calls(3, t=-300, quota_limit=5000.0),
                *_calls(3, quota_limit=30.0),
            ],
            [],
        ),
        Case(
            "instances are replaced one by one: both quotas for less than a minute",
            [
                *_calls(3, t=-300, quota_limit=5000.0),
                *_calls(3, t=-160, quota_limit=60.0),
                *_calls(3, t=-102, quota_limit=5000.0),
                *_calls(3, t=-50, quota_limit=60.0),
            ],
            [_WEB],
            "confirmed",
        ),
        Case(
            "mended: the old quota is back",
            [
                *_calls(3, t=-300, quota_limit=5000.0),
                *_calls(3, t=-200, quota_limit=60.0),
                *_calls(1, t=-50, quota_limit=5000.0),
            ],
            [],
        ),
    ],
)
