"""Weights and values: whether this machine has, and computes, what upstream does."""

from collections.abc import Iterator

from launch.checkups.finding import Asked, Finding


def look_at_weights(asked: Asked) -> Iterator[Finding]:
    """Each model's files, by their digests."""
    from l3core.models import MODELS, BundledFile
    from l3core.published import address, digest_of, state
    from l3core.storage import sha256_of

    for model in MODELS.values():
        absent: dict[str, list[str]] = {}
        whole: dict[str, list[str]] = {}
        for name, file in model.weight_files().items():
            if isinstance(file, BundledFile):
                good = file.path.is_file() and sha256_of(str(file.path)) == file.sha256
                remedy, pinned = "pip install --force-reinstall l3flow", True
            elif (found := state(file)) == "not fetched":
                how = f"only people can fetch it: l3flow weights fetch {name} says where it is"
                if address(file):
                    fetch = f"l3flow weights fetch --model {model.name}"
                    how = f"fetched when they are needed, or by {fetch}"
                absent.setdefault(how, []).append(name)
                continue
            else:
                good, remedy = found != "damaged", f"l3flow weights fetch {name}"
                digest = digest_of(file)
                pinned = digest is not None and digest.pinned
            if good:
                whole.setdefault("the published digest" if pinned else "as first used", []).append(name)
            else:
                yield Finding("weights", "wrong", f"{model.name} {name} is damaged", remedy)
        for how, names in whole.items():
            yield Finding("weights", "ok", f"{model.name} {', '.join(names)}: {how}")
        for remedy, names in absent.items():
            says = f"{model.name} {', '.join(names)}: not on this machine"
            yield Finding("weights", "absent", says, remedy)


def look_at_numbers(asked: Asked) -> Iterator[Finding]:
    """How far this machine's values are from upstream's."""
    from l3core.errors import WeightsError
    from l3core.upstream import SPECS, UPSTREAM, deviation_from_upstream

    for name, spec in SPECS.items():
        try:
            found = deviation_from_upstream(name)
        except WeightsError as error:
            yield Finding("numbers", "wrong", f"{name}: {error}", "mend the weights first")
            continue
        says = (
            f"{name}: relative L2 {found.value:.1e} from {UPSTREAM[spec.model]}, {found.limit:g} allowed"
        )
        remedy = "compare the versions above with another machine's; do not embed here"
        yield Finding("numbers", "ok" if found.conforms else "wrong", says, remedy)
