"""What a plan does that its author may not expect, in sentences; nothing of it is an error."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.study.plan import active_steps
from workbench.study.spec import Study
from workbench.study.trials import Plan


def plan_notes(study: Study, plan: Plan) -> tuple[str, ...]:
    """Sentences for whoever starts a run of the plan, and for its report."""
    cut = {label: source.cut for label, source in plan.sources.items()}
    notes = (window_note(study.steps, study.control_start, study.control_end), cut_note(cut))
    return (*(note for note in notes if note), *plan.notes)


def window_note(steps: int, start: float, end: float) -> str:
    """That no step lies whole within the control's window, else "".

    >>> window_note(5, 0.3, 0.35)[:64]
    'The control acts at no step: none of the 5 steps lies whole with'
    """
    if active_steps(steps, start, end):
        return ""
    return (
        f"The control acts at no step: none of the {steps} steps lies whole within control_start "
        f"{start:g} and control_end {end:g}, so every picture is made from its text alone. Widen "
        "the window, or take more steps."
    )


def cut_note(cut: Mapping[str, float]) -> str:
    """How much of the sources is not seen, as pictures are square, else "".

    cut: label of each source -> the share of it outside of its centred square.
    """
    beyond = {label: share for label, share in cut.items() if share > 0}
    if not beyond:
        return ""
    label = max(beyond, key=lambda name: beyond[name])
    many = f"{len(beyond)} of {len(cut)} sources are not square, and are"
    return (
        f"{many if len(cut) > 1 else 'The source is not square, and is'} cut to the largest centred"
        f" square: up to {beyond[label]:.0%} of a picture is not seen ({label}). Cut them yourself "
        "where something else matters."
    )
