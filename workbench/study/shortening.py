"""How the prompt of a study is cut to its lengths."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from workbench.study.entries import Value
from workbench.study.texts import Tags

MAX_SEED = 2**32 - 1
Seed = Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)]


class Shortening(Value):
    """How a prompt is cut: `prefix` keeps first the tags in `keep`; `random` draws by `seed`."""

    method: Literal["prefix", "random", "leave-one-out"] = "prefix"
    seed: Seed = 0
    keep: Tags = ()

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `keep` where it is empty: studies older than it keep their hash."""
        return {key: value for key, value in handler(self).items() if key != "keep" or value}
