"""What holds for each DuckDB of ours."""

from collector.engine import new_engine


def test_it_speaks_utc_and_draws_nothing_on_our_standard_output() -> None:
    """Its cursors too: they are what is worked with."""
    asked = "SELECT current_setting('TimeZone'), current_setting('enable_progress_bar')"
    with new_engine() as engine, engine.cursor() as cursor:
        for one in (engine, cursor):
            assert one.execute(asked).fetchone() == ("UTC", False)
