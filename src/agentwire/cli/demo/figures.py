"""The demonstration's figures for a machine: one JSON object, its members named for their units."""

from __future__ import annotations

import math
import os
import platform
from typing import Any

from agentwire._version import __version__
from agentwire.cli.demo.compare import BASELINES, THINK, WAYS, Comparison, Figure
from agentwire.cli.demo.cuts import CutRun, Cutting
from agentwire.cli.demo.plug import Act
from agentwire.cli.demo.survey import SurveyReport
from agentwire.cli.demo.words import conclusion, model_of_the_link

__all__ = ["as_json"]


def as_json(
    survey: SurveyReport, acts: tuple[Act, ...], cuts: Cutting, comparison: Comparison, seconds: float
) -> dict[str, Any]:
    """Everything that was measured; times ending in ``_s`` are seconds, in ``_ms`` milliseconds."""
    return {
        "agentwire": __version__,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "seconds": round(seconds, 3),
        "survey": _survey(survey),
        "plug": [_act(act) for act in acts],
        "random_cuts": {"seed": cuts.seed, "runs": [_run(run, cuts.plain) for run in cuts.runs]},
        "comparison": {
            "link_model": model_of_the_link(),
            "think_s": THINK,
            "same_answer": comparison.same_answer,
            "rows": [_row(figure, comparison) for figure in comparison.figures.values()],
            "conclusion": conclusion(comparison),
        },
    }


def _survey(report: SurveyReport) -> dict[str, Any]:
    return {
        "root": report.root,
        "turns": report.turns,
        "tool_calls": report.calls,
        "connections": report.connections,
        "seconds": round(report.seconds, 3),
        "input_tokens": report.input_tokens,
        "output_tokens": report.output_tokens,
        "report": report.text,
    }


def _act(act: Act) -> dict[str, Any]:
    return {
        "tools_run_by": act.side,
        "running": act.running,
        "cancelled": [
            {
                "where": doing.where,
                "kind": doing.kind,
                "what": doing.what,
                "after_ms": _ms((doing.ended or act.cut_at) - act.cut_at),
                "reason": doing.reason,
            }
            for doing in act.cancelled
        ],
        "client_raised": act.raised,
        "client_raised_after_ms": _ms(act.client_seconds),
        "server_clean_after_ms": _ms(act.server_seconds),
        "left_on_the_server": act.left,
    }


def _run(run: CutRun, plain: CutRun) -> dict[str, Any]:
    return {
        "sessions": run.sessions,
        "cuts": len(run.pulls),
        "resumed": run.resumed,
        "turns_repeated": run.turns_repeated,
        "tools_started": run.done.total(),
        "tools_finished": run.finished,
        "tools_twice": run.twice(plain),
        "lost": run.lost(plain),
        "same_answer": run.text == plain.text,
        "seconds": round(run.seconds, 3),
        "places": [
            {
                "after_bytes": pull.after,
                "how": pull.how,
                "during": pull.during,
                "text_so_far": pull.text,
                "back_after_ms": _ms(pull.back),
                "outcome": pull.outcome,
            }
            for pull in run.pulls
        ],
    }


def _row(figure: Figure, comparison: Comparison) -> dict[str, Any]:
    first, kept = BASELINES
    return {
        "way": figure.way,
        "name": WAYS[figure.way].name,
        "rtt_ms": figure.link.rtt * 1000,
        "bandwidth_bits_per_s": None if math.isinf(figure.link.bits) else figure.link.bits,
        "turns": figure.turns,
        "tool_calls": figure.calls,
        "engine_steps": figure.steps,
        "seconds": round(figure.seconds, 4),
        "rounds_s": [round(seconds, 4) for seconds in figure.rounds],
        "bytes_up": figure.traffic.bytes_up,
        "bytes_down": figure.traffic.bytes_down,
        "connections": figure.traffic.connections,
        "round_trips": figure.traffic.round_trips,
        f"saved_percent_vs_{first}": _saved(comparison, figure, first),
        f"saved_percent_vs_{kept}": _saved(comparison, figure, kept),
    }


def _saved(comparison: Comparison, figure: Figure, baseline: str) -> float:
    return round(100 * comparison.saved(figure.link, figure.way, baseline), 1)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
