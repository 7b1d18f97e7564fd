"""Hypothesis, kept reproducible: the same examples at every run, none kept on disk."""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "properties",
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=25,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("properties")
