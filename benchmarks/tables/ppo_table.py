"""The table of `benchmarks.ppo`."""

from typing import Any

from benchmarks.tables.markdown import Column, measured_on, of_file, table, with_range

FILE = "ppo.json"
GOAL = 0.9  # hit rate


def _to_goal(what: str, form: str) -> Column:
    """Median and range over the runs that reached the goal."""

    def cell(runs: list[dict[str, Any]]) -> str:
        found = [run["goal_reached"][what] for run in runs if run["goal_reached"]]
        return with_range(found, form) if found else ""

    return Column(f"{what} to {GOAL:g}", cell)


_COLUMNS = (
    Column("agent", lambda runs: runs[0]["model"].upper()),
    Column("parameters", lambda runs: f"{runs[0]['parameters']:,}"),
    Column("reached", lambda runs: f"{sum(bool(r['goal_reached']) for r in runs)} of {len(runs)}"),
    _to_goal("frames", "{:,.0f}"),
    _to_goal("seconds", "{:.0f}"),
    Column(
        "last hit rate", lambda runs: with_range([r["last"]["hit_rate"] for r in runs], "{:.3f}")
    ),
)


@of_file(FILE, "benchmarks.ppo")
def ppo_table(found: dict[str, Any]) -> str:
    """A row per agent, over its seeds."""
    models = dict.fromkeys(run["model"] for run in found["runs"])
    rows = [[run for run in found["runs"] if run["model"] == model] for model in models]
    seeds = ", ".join(map(str, dict.fromkeys(run["seed"] for run in found["runs"])))
    settings = found["settings"]
    return (
        f"{table(_COLUMNS, rows)}\n\n`{settings['environment']}`, {settings['envs']} environments, "
        f"rollouts of {settings['steps']} steps, seeds {seeds}; hit rate of the last "
        f"{settings['window']} rollouts, and training ends at {settings['goal']}. Median (range). "
        f"Seconds of the process alone. {measured_on(found)}"
    )
