"""What activations have beyond a limit, and the distance to another model: closed forms, and gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from compared import Small, images, parts, step_inputs

from lehr.errors import ConfigError
from lehr.objective.terms import ActivationLimit, Teacher
from lehr.objective.terms.term import TermInputs

SHAPE = (3, 8, 8)


def given(model, b=2):
    x = images(b, SHAPE)
    held = parts(model)
    posterior = model.encode(x)
    reconstruction = held.likelihood.mean(model.decode(posterior.mean))
    return TermInputs(step_inputs(x), held, posterior, posterior.mean, reconstruction, x.sum())


@pytest.mark.parametrize("b", [1, 3])
def test_it_is_the_squares_of_what_all_modules_have_beyond_the_limit(b):
    model, limit = Small(SHAPE), 0.2
    inputs = given(model, b)
    with torch.no_grad():
        moments, z = model.encoder(inputs.images), model.encode(inputs.images).mean
        # what the encoder takes and gives, and what the decoder takes and gives
        every = [inputs.images, moments, z, model.decoder(z)]
        expected = sum((a.abs() / limit - 1).relu().square().flatten(1).sum(1) for a in every)
    found = ActivationLimit(limit)(inputs)
    torch.testing.assert_close(found.value, expected)
    largest = max(float(a.abs().max()) for a in every)
    assert found.shown["activation_largest"].tolist() == pytest.approx([largest] * b)


def test_below_the_limit_it_is_0_and_above_it_its_gradient_makes_activations_smaller():
    model = Small(SHAPE)
    assert ActivationLimit()(given(model)).value.tolist() == [0.0, 0.0]
    with torch.no_grad():
        model.decoder.weight *= 1e6
    before = ActivationLimit()(given(model)).value.sum()
    before.backward()
    weight, gradient = model.decoder.weight, model.decoder.weight.grad
    with torch.no_grad():
        weight -= 0.1 * weight.norm() / gradient.norm() * gradient
    assert 0 < ActivationLimit()(given(model)).value.sum() < 0.9 * before


def test_compiled_modules_and_activations_that_are_not_kept_are_refused():
    model = Small(SHAPE)
    model.encoder.gradient_checkpointing = True
    with pytest.raises(ConfigError, match=r"say model\.gradient_checkpointing=false"):
        ActivationLimit()(given(model))
    model = Small(SHAPE)
    inputs = given(model)
    model.encoder._compiled_call_impl = model.encoder.forward  # as `compile` leaves it
    with pytest.raises(ConfigError, match="say compile=false"):
        ActivationLimit()(inputs)


def test_the_teacher_is_the_mean_square_of_images_and_latents():
    """In [-1, 1]; of a model and itself it is 0."""
    model, other = Small(SHAPE), Small(SHAPE)
    with torch.no_grad():
        other.encoder.bias[:2] += 0.5  # latents
        other.decoder.bias += 0.1  # pixels of the same latents
    inputs = given(model)
    same = Teacher(SHAPE, model.latent_shape, lambda run: model, "run")
    assert same(inputs).value.abs().max() < 1e-12
    for latents in (1.0, 3.0):
        term = Teacher(SHAPE, model.latent_shape, lambda run: other, "run", latents)
        torch.testing.assert_close(term(inputs).value, torch.full((2,), 0.2**2 + latents * 0.5**2))
    assert not any(parameter.requires_grad for parameter in term.teacher.parameters())
    assert list(term.parameters()) == []


def test_the_teacher_has_a_gradient_for_the_encoder_and_for_the_decoder():
    model, other = Small(SHAPE), Small(SHAPE)
    with torch.no_grad():
        other.encoder.bias[:2] += 0.5
        other.decoder.bias += 0.1
    term = Teacher(SHAPE, model.latent_shape, lambda run: other, "run")
    inputs = given(model)
    term(replace(inputs)).value.sum().backward()
    assert model.encoder.bias.grad[:2].abs().min() > 0
    assert model.decoder.bias.grad.abs().min() > 0


def test_a_teacher_of_other_latents_is_refused():
    model = Small(SHAPE)
    with pytest.raises(ConfigError, match=r"run=run: has latents of 2 x 4 x 4, and these are 4 x 4 x 4"):
        Teacher(SHAPE, (4, 4, 4), lambda run: model, "run")
