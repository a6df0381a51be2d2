"""How often hypothesis tries what strangers may send."""

from hypothesis import HealthCheck, settings


def fuzzed(cases: int) -> settings:
    """So many cases, the same ones every time."""
    return settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.filter_too_much,
        ],
    )
