"""The report of a run: a verdict, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lehr.evaluation.advice import gained_lately
from lehr.evaluation.verdict import FAR, is_collapsed
from lehr.report import curve_charts as curve
from lehr.report.cost import TOTAL, total_seconds
from lehr.report.document import Commands, Document, Folded, Paragraph, Part, Row, Section, Table
from lehr.report.numbers import cell, described, is_number, seconds, with_unit
from lehr.report.provenance import changed, configuration, provenance
from lehr.report.reading import RunFiles, is_of_noise
from lehr.report.run_latents import latents
from lehr.report.run_pictures import generation, kept_picture, reconstructions, traversals
from lehr.run.contents import GROUPS_PICTURE, PROBES_FOLDER
from lehr.run.evaluation import shown
from lehr.run.page import data_note, exported_note

_STATES = {
    "running": "The training is still going on: what stands here is of the files as they are now.",
    "interrupted": "The run was interrupted before its end: what is measured when training ends is missing.",
    "failed": "The run has failed.",
    "unknown": "Nothing says what has become of this run.",
}
_FIRST = (
    "SPLIT/elbo", "SPLIT/rate", "SPLIT/distortion", "SPLIT/bits_per_dim", "SPLIT/psnr", "likelihood/iwae",
    "posterior/active_units", "posterior/effective_rank", "posterior/moment_kl_diag", "posterior/moment_kl_full",
    "posterior/scaling_factor", "posterior/shift_factor", "posterior/codes_used", "posterior/code_perplexity",
    "reconstruction/psnr", "reconstruction/ssim", "representation/probe_accuracy", "time/images_per_second",
)  # fmt: skip


def run_document(path: str | Path, refresh: int | None = None) -> Document:
    """What there is to say of the run in `path`.

    Args:
        path: of the run.
        refresh: seconds after which a page that is looked at while the run goes on reads itself anew.
    """
    files = RunFiles(path)
    sections = (
        Section("numbers", "Numbers", tuple(_numbers(files))),
        Section("curves", "Curves", tuple(_curves(files))),
        Section("latents", "Latents", tuple(latents(files))),
        Section("samples", "Samples", tuple(generation(files))),
        Section("reconstructions", "Reconstructions", tuple(reconstructions(files))),
        Section("traversals", "Between and along latents", tuple(traversals(files))),
        Section("groups", "Groups", tuple(_groups(files))),
        Section("probes", "Probes", tuple(_probes(files))),
        Section("timing", "Timing", tuple(_timing(files))),
        Section("configuration", "Configuration", tuple(configuration(files))),
        Section("provenance", "Provenance", tuple(provenance(files))),
    )
    when = files.status.get("finished") or files.status.get("started") or ""
    note = " · ".join(filter(None, (files.state, str(when), " ".join(changed(files)[:4]))))
    return Document(
        title=f"Run {files.path.resolve().name}",
        note=note,
        verdict=tuple(Paragraph(sentence) for sentence in verdict(files)),
        sections=tuple(section for section in sections if section.parts),
        refresh=refresh if files.state == "running" else None,
    )


def verdict(files: RunFiles) -> list[str]:
    """Whether the latents collapsed, q(z) is near the prior, training still gained, and which sampler is best."""
    found = [_STATES[files.state]] if files.state in _STATES else []
    if error := files.status.get("error"):
        found.append(f"Error: {error}")
    if text := files.evaluation.get("collapse/verdict"):
        found.append(str(text))
    elif sentence := _by_statistics(files):
        found.append(sentence)
    found += [sentence for sentence in (best_sampler(files.evaluation), _improving(files)) if sentence]
    return found


def _by_statistics(files: RunFiles) -> str:
    """What the final numbers alone say of collapse and of the prior, where nothing was evaluated."""
    rate, active = files.number(f"{files.split}/rate"), files.number("posterior/active_units")
    distance = files.number("posterior/moment_kl_full", "posterior/moment_kl_diag")
    said = []
    if rate is not None and active is not None and files.statistics is not None:
        begin = "Collapsed" if is_collapsed(rate, int(active)) else "Not collapsed as a whole"
        of = f"{active:,.0f} of {files.statistics['mean'].size:,} latents are active"
        said.append(f"{begin}: {of}, the rate is {rate:.2f} nats.")
    used, codes = files.number("posterior/codes_used"), files.number("collapse/codes")
    if used is not None:
        of = f" of {codes:,.0f}" if codes is not None else ""
        said.append(f"{used:,.0f}{of} codes are used.")
    if distance is not None and not files.is_of_codes:
        far = "far from" if distance > FAR else "near"
        said.append(f"q(z) is {far} the prior by its moments ({distance:.2f} nats).")
    return " ".join([*said, "lehr evaluate says more."]) if said else ""


def samplers(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The Frechet distance of each sampler, and of real images, by name."""
    names = [key.split("/")[1] for key in evaluation if key.startswith("generation/") and key.endswith("/frechet")]
    values = {name: evaluation[f"generation/{name}/frechet"] for name in names}
    return {name: float(v) for name, v in values.items() if is_number(v)}


def best_sampler(evaluation: Mapping[str, Any]) -> str:
    """Which sampler is the nearest to real images, and by how much; empty where samples were not measured."""
    found = samplers(evaluation)
    real = found.pop("real", None)
    found.pop("reconstruction", None)
    if not found:
        return ""
    order = sorted(found, key=lambda name: found[name])
    best = order[0]
    text = f"The best samples are those of {best}, at a Frechet distance of {found[best]:.2f}"
    one_drawing = ""
    if len(order) > 1:
        n = evaluation.get("generation/examples")
        images = f"of {n:,} images" if isinstance(n, int) and n > 1 else "of images"
        one_drawing = (
            f" It is one drawing {images} from each, of one training, so how far chance moves such a difference is not "
            "known here: runs that differ in their seed alone show it."
        )
        second = order[1]
        text += f", {found[second] - found[best]:.2f} below {second}"
        if "prior" in found and best != "prior" and second != "prior":
            text += f" and {found['prior'] - found[best]:.2f} below the prior"
    if real is not None:
        text += f" (real images: {real:.2f}, which is what chance makes of it)"
    return f"{text}.{one_drawing}"


def _improving(files: RunFiles) -> str:
    """Whether the validation still gained at the end."""
    gained = gained_lately(files.points)
    if gained is not None:
        return f"Training was still improving: the validation ELBO gained {gained:.2f} nats over the second half."
    validations = files.curves.get("val/elbo")
    if validations is None or len(validations.images) < 3 or files.state != "done":
        return ""
    return "No gain beyond its noise is left in the validation ELBO over the second half of the training."


def _numbers(files: RunFiles) -> Iterator[Part]:
    rows, hidden = [], is_of_noise if files.is_of_codes else lambda name: False
    for name in (word.replace("SPLIT", files.split) for word in _FIRST):
        if (value := files.number(name)) is not None and not hidden(name):
            label, unit = described(name)
            prefix = f"{files.split} " if name.startswith(f"{files.split}/") else ""
            rows.append((f"{prefix}{label}", shown(name, value), unit, name))
    if rows:
        yield Table(("", "value", "unit", "metric"), tuple(rows), frozenset({1}))
    for note in (data_note(files.directory), exported_note(files.status)):
        if note:
            yield Paragraph(note)
    every = {**files.metrics, **{k: v for k, v in files.evaluation.items() if "/" in k}}
    rest = [
        (described(name)[0], shown(name, value), described(name)[1], name)
        for name, value in sorted(every.items())
        if is_number(value) and not hidden(name)
    ]
    if rest:
        table = Table(("", "value", "unit", "metric"), tuple(rest), frozenset({1}))
        yield Folded(f"All {len(rest)} numbers", (table,))
    yield from _advice(files)


def _advice(files: RunFiles) -> Iterator[Part]:
    for advice in files.advice:
        yield Commands(tuple(advice.commands), f"To try next, as {advice.reason}: {advice.words}")


def _curves(files: RunFiles) -> Iterator[Part]:
    for chart in (curve.balance(files.curves), curve.others(files.curves)):
        if chart is not None:
            yield chart
    if not files.curves:
        yield Paragraph("No curve is there yet: history.jsonl is empty or missing.")


def _groups(files: RunFiles) -> Iterator[Part]:
    for grouping in files.groups.get("groupings") or ():
        with suppress(KeyError, TypeError, ValueError, AttributeError):  # of a file that somebody else has written
            rows = tuple(_group(group) for group in grouping["groups"])
            yield Paragraph(str(grouping["verdict"]))
            head = ("group", "images", "PSNR, dB", "to the others, dB", "95% interval", "p, adjusted")
            yield Table(head, rows, frozenset(range(1, len(head))), caption=f"By {grouping['by']}.")
    picture = kept_picture(files.path / GROUPS_PICTURE, "images of groups that differ, and their reconstructions")
    if files.groups and picture:
        yield Folded("Pictures", (picture,))


def _group(group: Mapping[str, Any]) -> tuple[str, ...]:
    gap = (group.get("gap") or {}).get("psnr") or {}
    interval = f"{cell(gap.get('low'), 2)} to {cell(gap.get('high'), 2)}" if gap else "-"
    numbers = (
        cell(group["mean"].get("psnr"), 2),
        cell(gap.get("estimate"), 2),
        interval,
        cell(gap.get("p_adjusted"), 3),
    )
    return (str(group["group"]), f"{group['images']:,}", *numbers)


def _probes(files: RunFiles) -> Iterator[Part]:
    found = files.probes
    names = dict.fromkeys(key.split("/")[1] for key in found if key.startswith("probe/") and key.count("/") == 2)
    rows = []
    for name in names:
        said = {part: found.get(f"probe/{name}/{part}") for part in ("fault", "sentence", "note")}
        mark = "not done" if said["note"] else "fault" if said["fault"] else "no fault"
        rows.append((name, mark, str(said["note"] or said["sentence"] or "")))
    if rows:
        yield Table(("probe", "found", ""), tuple(rows))
    faulty = [name for name, mark, _ in rows if mark == "fault"]
    pictures = (kept_picture(files.path / PROBES_FOLDER / f"{name}.png", f"what {name} has found") for name in faulty)
    if found_pictures := tuple(picture for picture in pictures if picture):
        yield Row(found_pictures)


def _timing(files: RunFiles) -> Iterator[Part]:
    parts = files.status.get("seconds")
    if isinstance(parts, dict) and parts:
        rows = [(str(name).replace("_", " "), seconds(value)) for name, value in parts.items() if name != TOTAL]
        if (total := total_seconds(parts)) is not None:
            rows.append(("in all", seconds(total)))
        yield Table(("part", "time"), tuple(rows), frozenset({1}))
    names = (
        "time/images_per_second", "time/step_ms", "time/waiting_share", "memory/peak_mib", "memory/gpu_peak_mib",
    )  # fmt: skip
    speed = [(described(n)[0], with_unit(n, v)) for n in names if (v := files.number(n)) is not None]
    if speed:
        yield Table(("training", ""), tuple(speed), frozenset({1}))
