"""How often the detectors are right: a simulated scheduler whose failures are known.

Many small schedulers (*cells*, a namespace each) run in simulated time, and what they say goes
through noise into a real sidecar: journal, fold, judge and findings are the product's own, only
the clock is ours. Each failure is injected on purpose and writes down its truth; in the end, what
was found is compared with what was true. Nothing here reads a detector: the thresholds in the
failures are those of the definitions, written down a second time.
"""
