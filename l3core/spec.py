"""`EmbeddingSpec`: everything that decides what an embedding's numbers are, and its fingerprint."""

import dataclasses
import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from l3core.engines import ENGINES
from l3core.errors import SpecError
from l3core.models import MODELS, EmbeddingModel
from l3core.models.dense import DenseWindows
from l3core.resampling import RESAMPLERS, resampler_major_version
from l3core.steps import Steps
from l3core.windows import DENSE, STEPS, WindowGrid, hop_in_samples

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "int8")
STEP_TOLERANCE_S = 1e-5  # of a hop that somebody types
_MODEL_FIELDS = ("input_repr", "content", "embedding_size", "grid", "frontend")


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec:
    """Which embedding, computed how. None stands for the model's own default and is filled in.

    Attributes:
        model: a name of `l3core.models.MODELS`.
        input_repr: spectrogram, for models that have several.
        content: what the published weights were trained on, for models that have several.
        embedding_size: numbers in one embedding.
        hop_s: seconds between the starts of two windows; cut off to whole samples. Of the dense grid the
            nearest hop that there is takes its place.
        grid: where windows start and how the ends are treated (`l3core.windows`).
        frontend: generation of the spectrogram (`l3core.frontends`).
        weights: "published", a path or URI of what its model reads, or "random:SEED".
        precision: of the network's arithmetic; int8 needs weights of `l3flow weights quantise`.
        resampler: one of `l3core.resampling.RESAMPLERS`.
        engine: what runs the network, one of `l3core.engines.ENGINES`.
        model_options: further options of the model; those that are not given are filled in.

    Raises:
        SpecError: a value that does not exist or that this model does not have.
    """

    model: str = "l3"
    input_repr: str | None = None
    content: str | None = None
    embedding_size: int | None = None
    hop_s: float | None = None
    grid: str | None = None
    frontend: str | None = None
    weights: str = "published"
    precision: str = "float32"
    resampler: str = "soxr_hq"
    engine: str = "tensorflow"
    model_options: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _check("model", self.model, MODELS)
        choices = self.network.choices
        for name in _MODEL_FIELDS:
            given = getattr(self, name)
            if name in choices:
                value = choices[name][0] if given is None else given
                object.__setattr__(self, name, _check(name, value, choices[name]))
            elif given is not None:
                raise SpecError(name, f"model {self.model} has no such choice, got {given!r}")
        _check("precision", self.precision, PRECISIONS)
        _check("resampler", self.resampler, RESAMPLERS)
        _check("engine", self.engine, ENGINES)
        if self.precision not in ENGINES[self.engine].precisions:
            raise SpecError(
                "precision",
                f"engine {self.engine} computes in {', '.join(ENGINES[self.engine].precisions)}, "
                f"got {self.precision!r}",
            )
        if ENGINES[self.engine].needs_stages and self.network.stages(self) is None:
            raise SpecError("engine", f"{self.engine} cannot run model {self.model}")
        if self.grid == DENSE and not ENGINES[self.engine].dense:
            able = ", ".join(name for name, engine in ENGINES.items() if engine.dense)
            raise SpecError("grid", f"dense needs engine {able}, got {self.engine}")
        self._check_options()
        self._check_hop()
        self._check_weights()

    def _check_options(self) -> None:
        options = self.network.options
        for option in self.model_options:
            if option not in options:
                near = difflib.get_close_matches(str(option), options, n=1)
                hint = f", did you mean {near[0]!r}?" if near else ""
                raise SpecError("model_options", f"model {self.model} has no option {option!r}{hint}")
        chosen = {}
        for option, allowed in options.items():
            value = self.model_options.get(option, allowed[0])
            try:
                chosen[option] = _check("model_options", value, allowed)
            except SpecError as error:
                raise SpecError("model_options", f"{option} {error.problem}") from None
        object.__setattr__(self, "model_options", chosen)

    def _check_hop(self) -> None:
        hop_s = self.network.default_hop_s if self.hop_s is None else self.hop_s
        if isinstance(hop_s, bool) or not isinstance(hop_s, Real):
            raise SpecError("hop_s", f"needs a number of seconds, got {hop_s!r}")
        try:
            hop_in_samples(float(hop_s), self.sample_rate_hz)
        except (ValueError, OverflowError) as error:
            raise SpecError("hop_s", str(error).removeprefix("hop ")) from None
        hop_s = float(hop_s)
        if self.dense:
            columns = self.dense.hop_columns(hop_s)
            hop_s = columns * self.dense.stride_samples / self.sample_rate_hz
        if self.steps:
            step_s = self.steps.stride / self.sample_rate_hz
            if self.hop_s is not None and abs(hop_s - step_s) > STEP_TOLERANCE_S:
                problem = f"the steps of model {self.model} are {step_s:.6g} s apart here, got {hop_s:g}"
                raise SpecError("hop_s", problem)
            hop_s = step_s
        object.__setattr__(self, "hop_s", hop_s)

    def _check_weights(self) -> None:
        if not isinstance(self.weights, str | os.PathLike) or not str(self.weights):
            problem = f"needs 'published', a path or URI of a file, or random:SEED, got {self.weights!r}"
            raise SpecError("weights", problem)
        object.__setattr__(self, "weights", str(self.weights))
        if self.weights.startswith("random:") and not re.fullmatch(r"random:\d+", self.weights):
            raise SpecError("weights", f"random needs a whole number >= 0, got {self.weights!r}")
        if self.precision == "int8" and (self.weights + ":").startswith(("published:", "random:")):
            problem = f"int8 needs weights of l3flow weights quantise, got {self.weights!r}"
            raise SpecError("precision", problem)

    @property
    def network(self) -> EmbeddingModel:
        """The model that `model` names."""
        return MODELS[self.model]

    @property
    def size(self) -> int:
        """Numbers in one embedding."""
        return self.network.embedding_size(self)

    @property
    def sample_rate_hz(self) -> int:
        """Of the signal that the model takes."""
        return self.network.rate_hz(self)

    @property
    def steps(self) -> Steps | None:
        """The network's steps in time, where these are the windows."""
        return self.network.steps(self) if self.grid == STEPS else None

    @property
    def dense(self) -> DenseWindows | None:
        """How windows share work, where `grid` is the dense one."""
        return self.network.dense_windows(self) if self.grid == DENSE else None

    @property
    def window_grid(self) -> WindowGrid:
        """The grid at the model's rate."""
        assert self.grid is not None
        assert self.hop_s is not None
        dense = self.dense
        if self.steps:
            return WindowGrid(
                kind=STEPS,
                window_samples=self.steps.stride,
                hop_samples=self.steps.stride,
                context=self.steps.context,
                steps=self.steps,
            )
        if dense:
            hop_samples = dense.hop_columns(self.hop_s) * dense.stride_samples
        else:
            hop_samples = hop_in_samples(self.hop_s, self.sample_rate_hz)
        return WindowGrid(
            kind=self.grid,
            window_samples=self.network.window_samples,
            hop_samples=hop_samples,
            context=dense.context if dense else (0, 0),
        )

    @property
    def windows_per_second(self) -> float:
        """What two ordinary CPU cores manage, about; dense windows cost what they do not share."""
        exact = self.network.windows_per_second
        if not self.dense:
            return exact
        assert self.hop_s is not None
        return exact * max(1.0, self.dense.columns / self.dense.hop_columns(self.hop_s))

    def identity(self, weights_digest: str) -> dict[str, Any]:
        """What makes two embeddings the same: all that changes a value, and nothing else.

        Fields at their default are left out, so that a field added later changes no identity; where
        the weights came from is left out too, since their digest says what they are.
        """
        defaults = EmbeddingSpec(model=self.model)
        given = {
            spec_field.name: _plain(getattr(self, spec_field.name))
            for spec_field in dataclasses.fields(self)
            if getattr(self, spec_field.name) != getattr(defaults, spec_field.name)
            or (spec_field.name == "model" and self.model != "l3")
        }
        given.pop("weights", None)
        if "model_options" in given:
            usual = defaults.model_options
            given["model_options"] = {k: v for k, v in self.model_options.items() if v != usual[k]}
        dense = {"dense_version": self.dense.version} if self.dense else {}
        return {
            "spec": given,
            **dense,
            "weights_digest": weights_digest,
            "algorithm_version": self.network.algorithm_version,
            "resampler_major_version": resampler_major_version(self.resampler),
        }

    def fingerprint(self, weights_digest: str) -> str:
        """`s` and 16 hexadecimal digits that name this spec with these weights."""
        return fingerprint_of(self.identity(weights_digest))

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON can hold them; `EmbeddingSpec(**...)` gives the spec back."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """The fingerprint of an `EmbeddingSpec.identity`."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return "s" + hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _check(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """The allowed value that equals the given one (512 for 512.0), so that equal specs are the same."""
    allowed = list(allowed)
    if value in allowed and not isinstance(value, bool):
        return allowed[allowed.index(value)]
    near = difflib.get_close_matches(str(value), [str(choice) for choice in allowed], n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    listed = ", ".join(str(choice) for choice in allowed)
    raise SpecError(name, f"must be one of {listed}, got {value!r}{hint}")
