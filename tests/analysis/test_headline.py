"""Protects the first sentences of a report: what is said of few control types, and of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from workbench.analysis import FEW, most_obeyed, overridden_words

WORDS = ("long hair", "snow", "a boy")


def steered(control: str, seen: Callable[[str, float], bool], base: str = "x") -> pd.DataFrame:
    """Readings of words under one control: whether each is seen at a scale.

    The sources show "a boy" themselves, so nobody steers where it is seen.
    """
    rows = []
    for source in "abcd":
        for scale in (0.4, 0.8, 1.2, 1.6):
            for seed in range(4):
                for tag in WORDS:
                    value = float(seen(tag, scale))
                    place = {
                        "source": source, "control": control, "base": base, "setting": "length",
                        "length": 3, "prompt": ", ".join(WORDS), "scale": scale, "seed": seed,
                        "trial": f"{control}{base}{source}{scale}{seed}",
                    }  # fmt: skip
                    rows += [
                        place | {"metric": f"tag_obeyed:{tag}", "value": value},
                        place | {"metric": f"tag:{tag}", "value": value},
                        place | {"metric": f"tag_source:{tag}", "value": float(tag == "a boy")},
                    ]
    return pd.DataFrame(rows)


def hair_goes(tag: str, scale: float) -> bool:
    return tag != "long hair" or scale < 1


def all_stay(tag: str, scale: float) -> bool:
    return True


def all_go(tag: str, scale: float) -> bool:
    return False


def test_of_few_control_types_each_has_a_sentence() -> None:
    """One word tips, one holds, and one that the sources show anyway is not asked."""
    (sentence,) = overridden_words(steered("depth", hair_goes))
    assert sentence.startswith('Depth overrides "long hair" from scale ')
    assert sentence.endswith('"snow" is obeyed throughout, against the source.')
    assert "a boy" not in sentence
    both = pd.concat([steered("depth", hair_goes), steered("canny", hair_goes)])
    assert overridden_words(both) == [sentence.replace("Depth", "Each of canny and depth")]
    one, other = overridden_words(
        pd.concat([steered("depth", hair_goes), steered("pose", all_stay)])
    )
    assert one == sentence and other.startswith("Pose overrides no word at a clear scale; ")


def test_of_many_each_word_has_a_sentence_the_one_most_often_lost_first() -> None:
    many = ("canny", "depth", "hed", "normal")
    frames = [steered(name, hair_goes) for name in many]
    first, second = overridden_words(pd.concat([*frames, steered("pose", all_stay)]))
    assert first.startswith('"long hair": overridden from scale ')
    assert "on under every control type but pose; obeyed throughout" in first
    assert first.endswith("against the source, under pose.")
    assert second == '"snow": obeyed throughout, against the source, under every control type.'
    (both,) = overridden_words(pd.concat([steered(name, all_go) for name in many]))
    assert both == (
        '"long hair" and "snow": overridden at every scale from 0.4 on under every control type.'
    )


def test_base_models_do_not_make_few_control_types_many() -> None:
    """Where both base models of a type agree, the type alone is named."""
    few = ("depth", "canny")[:FEW]
    frames = [steered(name, hair_goes, base) for name in few for base in ("ink", "render")]
    assert all(" overrides " in sentence for sentence in overridden_words(pd.concat(frames)))
    more = [steered(name, all_stay, base) for name in ("hed", "pose") for base in ("ink", "render")]
    lone = [steered("scribble", hair_goes, "ink"), steered("scribble", all_stay, "render")]
    first, _ = overridden_words(pd.concat([*frames, *more, *lone]))
    assert " on under canny, depth and scribble (base ink); obeyed" in first
    assert first.endswith(" under hed, pose and scribble (base render).")


def test_nothing_is_said_of_one_source() -> None:
    frame = steered("depth", hair_goes)
    assert overridden_words(frame[frame["source"] == "a"]) == []


def named(simulate: Callable[..., pd.DataFrame], gains: Mapping[str, float]) -> list[str]:
    """What is said of control types, named at will, by how much each gains with the scale."""
    frames = [
        simulate(
            lambda s, n, gain=gain: gain * s, lambda s, n: 0.5, sources=6, noise=0.02,
            lengths=(3,), scales=(0.0, 0.8, 1.6), control_name=name, rng_seed=place,
        )
        for place, (name, gain) in enumerate(gains.items())
    ]  # fmt: skip
    return most_obeyed(pd.concat(frames), dict.fromkeys(gains, "canny_f1"))


def test_a_type_is_called_most_obeyed_only_where_it_clearly_is(
    simulate: Callable[..., pd.DataFrame],
) -> None:
    assert named(simulate, {"canny": 0.2, "depth": 0.6}) == []
    (clear,) = named(simulate, {"canny": 0.2, "depth": 2.6, "hed": 0.4})
    assert clear.startswith("Obeyed most, whichever metric is chosen: depth at every scale. ")
    assert "the lowest has canny, " in clear and clear.endswith(" (6 sources).")
    (none,) = named(simulate, dict.fromkeys(("canny", "depth", "hed"), 0.5))
    assert none.startswith("No control type is clearly obeyed most, whichever metric is chosen. ")
