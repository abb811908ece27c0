"""What a comparison of groups has come to: a verdict in a few sentences, and a table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from lehr.evaluation.groups.report import FEWEST, Gap, Group, GroupReport
from lehr.evaluation.intervals import Interval

_NAMED = 3
"""So many groups of each kind are named in a sentence."""
_WIDTH, _TITLE = 110, 24


def verdict(report: GroupReport) -> str:
    """Which groups are worse or better than the other images beyond chance, by how much, and whether brightness and
    detail account for it."""
    judged = report.judged
    if not judged:
        return f"Nothing is judged: no group by {report.name} has {FEWEST} images, and so many others beside it."
    worse = [group for group in judged if _is_real(group, -1)]
    better = [group for group in reversed(judged) if _is_real(group, 1)]
    sentences = [
        *_named("Reconstructed worse than the other images", worse),
        *_named("Reconstructed better", better),
    ] or [_nothing_found(report)]
    sentences.append(_beside(report, worse + better))
    return " ".join(filter(None, [*sentences, _between(report), _too_small(report)]))


def against_verdict(report: GroupReport, other: str) -> str:
    """What groups lose or gain in comparison with another model; nothing where no group is judged."""
    judged = [group for group in report.groups if group.against is not None and group.against.p is not None]
    if not judged:
        return ""
    lost = sorted((g for g in judged if _of(g.against).is_real and _gap(g.against) < 0), key=lambda g: _gap(g.against))
    gained = [g for g in judged if _of(g.against).is_real and _gap(g.against) > 0]
    gained.sort(key=lambda g: -_gap(g.against))
    parts = []
    if lost:
        parts.append(f"Worse than {other}: {_list(lost, [g.against for g in lost])}.")
    if gained:
        parts.append(f"Better than {other}: {_list(gained, [g.against for g in gained])}.")
    return " ".join(parts) or f"No group is reconstructed worse or better than by {other} beyond chance."


def group_table(report: GroupReport, other: str | None = None) -> str:
    """The groups, worst first, with what chance would give below them."""
    return "\n".join([*_rows(report, other), "", *_below(report, other)])


def _rows(report: GroupReport, other: str | None) -> Iterator[str]:
    has_lpips, has_ssim = "lpips" in report.overall, "ssim" in report.overall
    head = f"  {'by ' + report.name:<{_TITLE}}{'images':>7}{'PSNR':>7}{'of MSE':>8}"
    head += f"{'SSIM':>7}" * has_ssim + f"{'LPIPS':>7}" * has_lpips
    to_others, adjusted, against = (
        _column(title, gaps)
        for title, gaps in (
            ("to the others, dB", [group.gaps.get("psnr") for group in report.groups]),
            ("adjusted, dB", [group.adjusted for group in report.groups]),
            ("against, dB", [group.against for group in report.groups]),
        )
    )
    yield head + f"{to_others[0]}{'Holm p':>8}{adjusted[0]}" + (against[0] if other else "")
    for i, group in enumerate(report.groups, 1):
        means = group.means
        line = f"  {_short(group.title):<{_TITLE}}{group.n:>7,}{means['psnr']:>7.2f}{means['psnr_of_mse']:>8.2f}"
        line += f"{means['ssim']:>7.3f}" if has_ssim else ""
        line += f"{means['lpips']:>7.3f}" if has_lpips else ""
        line += f"{to_others[i]}{_p(group.gaps.get('psnr')):>8}{adjusted[i]}"
        yield (line + (against[i] if other else "")).rstrip()
    n, overall = report.n, report.overall
    line = f"  {'all':<{_TITLE}}{n:>7,}{overall['psnr']:>7.2f}{overall['psnr_of_mse']:>8.2f}"
    line += f"{overall['ssim']:>7.3f}" if has_ssim else ""
    yield line + (f"{overall['lpips']:>7.3f}" if has_lpips else "")


def _below(report: GroupReport, other: str | None) -> Iterator[str]:
    notes = [verdict(report)]
    if other:
        notes.append(against_verdict(report, other))
    if report.n_without:
        notes.append(f"{report.n_without:,} images are in no group.")
    for note in notes:
        yield from textwrap.wrap(note, _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _named(what: str, groups: Sequence[Group]) -> list[str]:
    return [f"{what}: {_list(groups, [group.gaps['psnr'] for group in groups])}."] if groups else []


def _list(groups: Sequence[Group], gaps: Sequence[Gap | None]) -> str:
    named = [
        f"{group.title} by {in_words(_of(gap).interval)}"
        for group, gap in list(zip(groups, gaps, strict=True))[:_NAMED]
    ]
    more = len(groups) - len(named)
    return ", ".join(named) + (f", and {more} more" if more else "")


def in_words(interval: Interval) -> str:
    """The size of a gap with its interval, without the sign, which the sentence says."""
    sign = 1 if interval.estimate > 0 else -1
    low, high = sorted((sign * interval.low, sign * interval.high))
    return f"{abs(interval.estimate):.2f} dB ({low:.2f} to {high:.2f})"


def _nothing_found(report: GroupReport) -> str:
    hardest = max(report.judged, key=lambda group: group.detectable or 0.0)
    return (
        f"No group by {report.name} is reconstructed worse or better than the other images beyond chance; "
        f"{hardest.title} ({hardest.n:,} images) would have to differ by {hardest.detectable or 0.0:.2f} dB to be "
        "found in four cases of five."
    )


def _beside(report: GroupReport, found: Sequence[Group]) -> str:
    """What of the gaps is left for images of equal brightness and detail, and which there are then that were none."""
    if report.explained is None:
        return ""
    left = {group.title: group.adjusted for group in report.judged if group.adjusted and group.adjusted.is_real}
    gone = [group.title for group in found if group.title not in left]
    turned = [
        group.title for group in found if group.title in left and _gap(left[group.title]) * _gap(group.gaps["psnr"]) < 0
    ]
    new = [group for group in report.judged if group.title in left and group not in found]
    parts = []
    if gone:
        parts.append(f"no more than chance is left of the gap of {_some(gone)}")
    if turned:
        parts.append(f"the gap of {_some(turned)} turns round")
    for sign, word in ((-1, "worse"), (1, "better")):
        if those := [group for group in new if _gap(group.adjusted) * sign > 0]:
            parts.append(f"{word} besides: {_list(those, [group.adjusted for group in those])}")
    if not found and not parts:
        return ""
    share = f"brightness and detail, which explain {report.explained:.0%} of the variance within groups"
    if not parts:
        return f"These gaps are not due to {share}."
    return f"Among images of equal {share}, {'; '.join(parts)}."


def _between(report: GroupReport) -> str:
    if report.largest is None or report.chance is None:
        return ""
    gap, worst, best = report.largest
    chance = report.chance
    return (
        f"Between {worst} and {best} lie {gap:.2f} dB; chance alone would give {chance.expected:.2f} dB, and more than "
        f"{chance.upper:.2f} dB in one case of twenty."
    )


def _too_small(report: GroupReport) -> str:
    small = [group.title for group in report.groups if not group.judged]
    if not small:
        return ""
    need = report.n_for_a_decibel
    advice = "" if need is None else f"; a gap of 1 dB needs about {need:,} in each of two groups"
    return f"Not judged, with fewer than {FEWEST} images: {_some(small)}{advice}."


def _some(titles: Sequence[str]) -> str:
    more = len(titles) - _NAMED
    return ", ".join(titles[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _is_real(group: Group, sign: int) -> bool:
    gap = group.gaps.get("psnr")
    return gap is not None and gap.is_real and gap.interval.estimate * sign > 0


def _of(gap: Gap | None) -> Gap:
    assert gap is not None
    return gap


def _gap(gap: Gap | None) -> float:
    return _of(gap).interval.estimate


def _shown(gap: Gap | None) -> str:
    if gap is None:
        return "-"
    interval = gap.interval
    return f"{interval.estimate:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"


def _column(title: str, gaps: Iterable[Gap | None]) -> list[str]:
    """Title and gaps, as wide as the widest of them: intervals of very few images are long."""
    cells = [title, *map(_shown, gaps)]
    width = max(24, 2 + max(map(len, cells)))
    return [f"{cell:>{width}}" for cell in cells]


def _p(gap: Gap | None) -> str:
    if gap is None or gap.p is None:
        return "few"
    return "-" if gap.p != gap.p else "<0.001" if gap.p < 0.001 else f"{gap.p:.3f}"


def _short(title: str) -> str:
    return title if len(title) < _TITLE else f"...{title[5 - _TITLE :]}"
