"""Advice: each rule on both sides of its threshold, with numbers made by hand."""

from __future__ import annotations

import math

import pytest

from lehr.evaluation.advice import FALL, GAP, RISE, Findings, advise, gained_lately

RUN = "out/a run"
KL = {"_target_": "lehr.objective.AnnealedKL", "weight": 1.0, "hold": 0, "warmup": 10, "cycles": 1, "unit": "epoch"}


def config(**sections):
    whole = {
        "data": {"_target_": "lehr.data.Digits", "batch_size": 64},
        "model": {"_target_": "lehr.models.MLP"},
        "likelihood": {"_target_": "lehr.objective.Bernoulli"},
        "kl": KL,
        "prior": {"_target_": "lehr.objective.StandardNormalPrior"},
        "trainer": {"max_epochs": 100, "max_steps": None, "accumulate_grad_batches": 1},
        "callbacks": {"early_stopping": {"patience": None}},
    }
    for name, values in sections.items():
        whole[name] = {**whole[name], **values} if name in whole else values
    return whole


def validations(elbos, weights=None, rate=20.0, training=()):
    """Validations every 100 images, with rate + distortion = 100 at each, and the ELBOs of the training."""
    weights = weights or [1.0] * len(elbos)
    points = [
        {"images": 100 * (i + 1), "val/elbo": e, "val/rate": rate, "val/distortion": 100 - rate, "val/kl_weight": w}
        for i, (e, w) in enumerate(zip(elbos, weights, strict=True))
    ]
    return [{"images": 10, "train/elbo": value} for value in training] + points


def found(metrics=None, evaluation=None, curves=(), n_train=1294, **sections):
    metrics = {"test/rate": 20.0, "posterior/active_units": 12.0, **(metrics or {})}
    return Findings(RUN, config(**sections), metrics, evaluation or {}, curves, n_train)


def commands(findings):
    return [command for advice in advise(findings) for command in advice.commands]


def test_where_no_number_gives_a_reason_nothing_is_said():
    assert advise(found()) == []
    assert advise(found(metrics={"posterior/active_units": 1.0})) == []  # inactive units alone are none
    assert advise(found(curves=validations([-100.0] * 6, training=[-99.0] * 5))) == []


# collapse


@pytest.mark.parametrize(("rate", "active", "says"), [(0.09, 5, 2), (0.11, 5, 0), (3.0, 0, 2), (3.0, 1, 0)])
def test_latents_that_hold_nothing_are_annealed_longer_or_given_free_bits(rate, active, says):
    numbers = {"test/rate": rate, "posterior/active_units": float(active)}
    assert len(advise(found(metrics=numbers))) == says
    if says:
        slower, free = commands(found(metrics=numbers))
        assert slower.endswith(" kl.hold=0.1 kl.warmup=0.5 kl.unit=fraction")
        assert free == "lehr train kl=free_bits kl.weight=1"


COLLAPSED = {"test/rate": 0.01, "posterior/active_units": 0.0}


@pytest.mark.parametrize(
    ("sections", "wanted"),
    [
        ({"kl": {"weight": 4.0}}, ["kl.weight=1", "kl=free_bits kl.weight=4"]),
        ({"kl": {"hold": 10, "warmup": 40}}, ["kl=free_bits"]),  # a longer warm-up than half of the training is long
        ({"kl": {"hold": 10, "warmup": 39}}, ["kl.warmup=0.5", "kl=free_bits"]),
        ({"kl": {"unit": "fraction", "warmup": 0.5}}, ["kl=free_bits"]),
        ({"kl": {"cycles": 4}}, ["kl.unit=fraction kl.cycles=1", "kl=free_bits"]),  # which half of it does not fit in
        ({"kl": {"unit": "step", "warmup": 1050}}, ["kl=free_bits"]),  # of 100 epochs of 21 steps
        ({"kl": {"unit": "step", "warmup": 1049}}, ["kl.warmup=0.5", "kl=free_bits"]),
        ({"prior": {"_target_": "lehr.objective.VampPrior"}}, ["kl.warmup=0.5"]),
        ({"kl": {"_target_": "lehr.objective.FreeBits", "free_nats": 0.1}}, ["kl.free_nats=0.2"]),
        ({"kl": {"_target_": "lehr.objective.Capacity", "capacity": 0.0}}, []),  # a rate that was asked for
        ({"kl": {"_target_": "lehr.objective.GECO"}}, []),
    ],
)
def test_what_was_tried_already_or_asked_for_is_not_advised(sections, wanted):
    said = commands(found(metrics=COLLAPSED, **sections))
    assert len(said) == len(wanted)
    assert all(words in command for words, command in zip(wanted, said, strict=True))


# a validation that still rises


def rising(total, n=6):
    """ELBOs whose second half gains `total` nats on a line."""
    return [-100.0 + 2 * total * i / n for i in range(n)]


@pytest.mark.parametrize(("share", "says"), [(1.05, True), (0.95, False)])
def test_an_elbo_that_gains_enough_over_the_second_half_is_trained_on(share, says):
    curves = validations(rising(share * RISE * 100))
    assert (gained_lately(curves) is not None) is says
    wanted = ["lehr train resume='out/a run' trainer.max_epochs=200"] if says else []
    assert commands(found(curves=curves)) == wanted


def test_a_rise_is_the_slope_over_half_of_the_images():
    assert gained_lately(validations(rising(7.0))) == pytest.approx(7.0)


@pytest.mark.parametrize(
    "curves",
    [
        validations([*rising(5.0)[:-1], -99.0]),  # the last one is not the best
        validations(rising(5.0, n=4)[:2]),  # too few to lay a line through
        validations([-100.0, -90.0, -89.0, -95.0, -84.0, -88.5, -83.9]),  # noise
        validations(rising(5.0), weights=[0, 0.2, 0.4, 0.6, 0.8, 1.0]),  # the KL weight was still on its way
        [],
    ],
)
def test_what_is_no_steady_rise_is_none(curves):
    assert gained_lately(curves) is None


def test_a_validation_counts_from_where_the_kl_weight_has_settled():
    weights = [0.0, 0.5, 0.94, 0.96, 1.0, 1.0, 1.0, 1.0]
    elbos = [-500.0, -400.0, -300.0, -93.0, -92.0, -91.0, -90.0, -87.0]
    assert gained_lately(validations(elbos, weights)) == gained_lately(validations(elbos))


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"trainer": {"max_epochs": None, "max_steps": 300}}, "trainer.max_steps=600"),
        ({"trainer": {"max_epochs": 10, "max_steps": 300}}, "trainer.max_epochs=20 trainer.max_steps=600"),
        (
            {"kl": {"unit": "fraction", "hold": 0.1, "warmup": 0.25}},  # 100 epochs of 21 steps
            "trainer.max_epochs=200 kl.unit=step kl.hold=210 kl.warmup=525",
        ),
        ({"kl": {"cycles": 4}}, None),  # which would be others
    ],
)
def test_a_longer_training_leaves_the_schedule_as_it_was(sections, words):
    said = commands(found(curves=validations(rising(5.0)), **sections))
    assert said == ([f"lehr train resume='out/a run' {words}"] if words else [])


# overfitting


@pytest.mark.parametrize(
    ("fall", "gap", "says"), [(1.1, 1.1, True), (0.9, 1.1, False), (1.1, 0.9, False), (3.0, -1.0, False)]
)
def test_a_validation_that_fell_below_the_training_ends_in_its_best_weights(fall, gap, says):
    last = -90.0 - 100 * FALL * fall
    curves = validations([-95.0, -90.0, -90.3, last], training=[0.0] * 8 + [last + 100 * GAP * gap] * 2)
    wanted = ["lehr train resume='out/a run' export.weights=best"] if says else []
    assert commands(found(curves=curves)) == wanted
    for sections in ({"export": {"weights": "best"}}, {"callbacks": {"early_stopping": {"patience": 3}}}):
        assert commands(found(curves=curves, **sections)) == []


def test_an_elbo_that_falls_in_training_too_is_no_overfitting():
    """As of a KL weight below 1: the ELBO, which has weight 1, is not what is trained on."""
    before = [{"images": 50, "train/elbo": -60.0}]
    curves = [*before, *validations([-85.0, -95.0, -100.0, -110.0], training=()), {"images": 390, "train/elbo": -80.0}]
    assert commands(found(curves=curves)) == []
    curves[-1]["train/elbo"] = -59.0
    assert commands(found(curves=curves)) == ["lehr train resume='out/a run' export.weights=best"]


# samplers


@pytest.mark.parametrize(("moment_kl", "bias", "says"), [(1.2, 0.1, True), (1.2, 0.3, False), (0.9, 0.0, False)])
def test_latents_far_from_the_prior_are_sampled_from_a_mixture(moment_kl, bias, says):
    table = {"collapse/moment_kl_full": moment_kl, "collapse/moment_kl_diag": 0.1, "collapse/moment_kl_bias": bias}
    both = ["lehr evaluate run='out/a run'", "lehr sample run='out/a run' method=mixture"]
    assert commands(found(evaluation=table)) == (both if says else [])
    diagonal = {**table, "collapse/moment_kl_full": None, "collapse/moment_kl_diag": moment_kl}
    assert commands(found(evaluation=diagonal)) == (both if says else [])
    assert commands(found(metrics={"posterior/moment_kl_full": moment_kl - bias})) == (both if says else [])
    of_map = {**diagonal, "collapse/moment_kl_problem": "the covariance of a latent map is known only as its diagonal"}
    assert commands(found(evaluation=of_map)) == []  # for a diffusion model to learn


@pytest.mark.parametrize(
    ("mixture", "real", "says"), [(7.4, 0.5, True), (7.6, 0.5, False), (7.4, 1.8, False), (7.4, 1.7, True)]
)
def test_the_sampler_that_was_found_to_be_better_is_recommended(mixture, real, says):
    distances = {"real": real, "prior": 11.0, "aggregate": 10.0, "mixture": mixture, "two_stage": 9.0}
    table = {f"generation/{name}/frechet": value for name, value in distances.items()}
    table |= {"collapse/moment_kl_full": 5.0, "collapse/moment_kl_bias": 0.0}  # it was compared, so no need to say more
    assert commands(found(evaluation=table)) == (["lehr sample run='out/a run' method=mixture"] if says else [])


# likelihoods


def test_the_cross_entropy_of_grey_values_is_said_to_bound_nothing():
    note = "the pixels are grey, and of grey values this likelihood is a cross-entropy"
    (command,) = commands(found(evaluation={"likelihood/bits_per_dim_note": note}))
    assert command.endswith(" likelihood=gaussian")
    note = "from the probability of 2 grey levels, without dequantisation"
    assert advise(found(evaluation={"likelihood/bits_per_dim_note": note})) == []


GAUSSIAN = {"_target_": "lehr.objective.Gaussian", "scale": "learned"}


@pytest.mark.parametrize(("bits", "says"), [(8.01, True), (7.99, False), (None, False)])
def test_a_density_worse_than_a_uniform_guess_gives_way_to_probabilities(bits, says):
    note = "an upper bound: 256 grey levels dequantised by uniform noise"
    table = {"likelihood/bits_per_dim": bits, "likelihood/bits_per_dim_note": note}
    said = commands(found(evaluation=table, likelihood=GAUSSIAN))
    assert len(said) == says
    assert all(command.endswith(" likelihood=discretized_logistic likelihood.levels=256") for command in said)
    beside_others = {"laplacian": {"_target_": "lehr.objective.terms.Laplacian"}}  # its scale is what weighs them
    assert commands(found(evaluation=table, likelihood=GAUSSIAN, terms=beside_others)) == []
    binary = table | {"likelihood/bits_per_dim_note": note.replace("256", "2")}
    assert [
        one.endswith(" likelihood=bernoulli") for one in commands(found(evaluation=binary, likelihood=GAUSSIAN))
    ] == [True] * (bits is not None)


@pytest.mark.parametrize(("error", "says"), [(0.5, False), (0.48, True), (1.75, False), (1.8, True)])
def test_a_fixed_scale_that_costs_a_tenth_of_a_nat_a_pixel_is_better_learnt(error, says):
    # the log-density of the errors at scale 1, and at the best one, the root of the mean squared error
    gain = (-0.5 * math.log(error) - 0.5) - (-0.5 * error)
    assert (gain > 0.1) is says
    table = {"reconstruction/mse_sampled": error}
    for scale, weight in ((1.0, 1.0), ("learned", 1.0), (1.0, 0.5)):
        likelihood = GAUSSIAN | {"scale": scale}
        said = commands(found(evaluation=table, likelihood=likelihood, kl=KL | {"weight": weight}))
        wanted = says and scale == weight == 1.0
        assert [command.rpartition(" ")[2] for command in said] == ["likelihood.scale=learned"] * wanted


def test_the_three_most_important_come_first():
    curves = validations(rising(5.0))
    table = {"collapse/moment_kl_full": 9.0, "collapse/moment_kl_bias": 0.0}
    several = found(COLLAPSED, table, curves)
    assert [advice.reason.split()[1] for advice in advise(several)] == ["latents", "latents", "ELBO"]
    table["reconstruction/mse_sampled"] = 0.1  # a scale of 1 makes the rate heavy
    several = found(COLLAPSED, table, curves, likelihood=GAUSSIAN | {"scale": 1.0})
    assert [advice.reason.split()[1] for advice in advise(several)] == ["scale", "latents", "latents"]
    text = str(advise(found(evaluation=table))[0])
    assert text.endswith("lehr evaluate run='out/a run', then lehr sample run='out/a run' method=mixture")


GIVEN = {"_target_": "lehr.data.GivenImages", "source": "Tensor", "digest": "0f", "batch_size": 32}


def test_a_run_of_objects_that_a_program_gave_goes_on_in_python():
    table = {"collapse/moment_kl_full": 9.0, "collapse/moment_kl_bias": 0.0}
    assert commands(found(evaluation=table, curves=validations(rising(5.0)), data=GIVEN)) == [
        "lehr.train(['trainer.max_epochs=200'], resume='out/a run', data=images)",
        "lehr.load('out/a run', data=images).evaluate()",
        "lehr sample run='out/a run' method=mixture",
    ]
    module = {"_target_": "lehr.models.GivenModule", "type": "x.Y", "digest": "0f"}
    *_, free = commands(found(metrics=COLLAPSED, data=GIVEN, model=module))
    assert free == "lehr.train(['data.batch_size=32', 'kl=free_bits', 'kl.weight=1'], data=images, model=module)"
    assert commands(found(evaluation=table, model=module))[1] == (
        "lehr.load('out/a run', model=module).sample(method='mixture')"
    )


def test_a_kl_weight_of_another_convention_is_not_taken_for_one_in_nats():
    table = {"reconstruction/mse_sampled": 0.01}
    likelihood = {"_target_": "lehr.objective.Gaussian", "scale": 1.0}
    kl = {"_target_": "lehr.objective.AnnealedKL", "weight": 1, "hold": 0, "warmup": 0, "unit": "epoch"}
    assert commands(found(evaluation=table, likelihood=likelihood, kl=kl))
    assert not commands(found(evaluation=table, likelihood=likelihood, kl={**kl, "convention": "mean"}))
