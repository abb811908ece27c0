"""The catalogue of metrics: of every number that a run is described by, its name, label, unit and direction.

All that prints, sorts or explains numbers asks here: the tables of `lehr train`, `lehr evaluate` and `lehr results`,
TensorBoard's table of hyper-parameters, and the check of docs/metrics.md, which says at length what each number is. It
imports nothing, so that a command that shows a table starts at once.

In a name SPLIT stands for train, val or test, SAMPLER for a sampler, `real` or `reconstruction`, TERM for a term of the
loss, and PROBE for any probe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Metric:
    """A line of the catalogue.

    Attributes:
        name: section/name, as in metrics.json and evaluation.json.
        label: for tables.
        unit: of the number, "" where it has none; "text", "list" and so on of what is no number.
        digits: after the point, in a table.
        more_is_better: which way is better; None where that is not known, or is neither.
        line: what it is.
    """

    name: str
    label: str
    unit: str
    digits: int
    more_is_better: bool | None
    line: str


_UP, _DOWN = True, False

CATALOGUE = (
    Metric("SPLIT/loss", "loss", "nats", 2, _DOWN, "what is minimised, per example"),
    Metric("SPLIT/elbo", "ELBO", "nats", 2, _UP, "-(distortion + rate) per example: KL weight 1"),
    Metric("SPLIT/rate", "rate", "nats", 2, None, "KL(q(z|x) || p(z)) per example"),
    Metric("SPLIT/distortion", "distortion", "nats", 2, _DOWN, "E_q[-log p(x|z)] per example"),
    Metric("SPLIT/kl_weight", "KL weight", "", 4, None, "what the rate is multiplied by in the loss"),
    Metric("SPLIT/active_units", "active units", "", 0, None, "latents with Var(E[z_j|x]) > 0.01"),
    Metric("SPLIT/bits_per_dim", "bits per dimension", "bits", 4, _DOWN, "-ELBO per pixel, in bits"),
    Metric("SPLIT/psnr", "PSNR", "dB", 2, _UP, "mean over images, at a sample of q(z|x), clipped to [0, 1]"),
    Metric("SPLIT/perplexity", "perplexity", "", 1, None, "exp of the entropy of how often each code is used"),
    Metric("SPLIT/codes_used", "codes used", "", 0, None, "of a codebook, by any position of any image"),
    Metric("SPLIT/code_share", "share of codes used", "", 4, None, "of the codebook, by any position of any image"),
    Metric("train/iwae", "importance-weighted", "nats", 2, _UP, "the importance-weighted bound of the batch"),
    Metric("train/mmd", "MMD", "", 4, None, "of z ~ q(z) and p(z), the term of kl=mmd"),
    Metric("train/mmd_weight", "MMD weight", "", 4, None, "what it is multiplied by in the loss"),
    Metric("train/codes_revived", "codes revived", "", 0, None, "that have begun anew, over the training so far"),
    Metric("train/codebook", "codebook", "", 2, None, "squared distance, drawing codes to the encoder"),
    Metric("train/commitment", "commitment", "", 2, None, "squared distance, drawing the encoder to codes"),
    Metric("train/equivariance", "equivariance", "nats", 2, None, "error of the images of scaled and turned latents"),
    Metric("train/equivariance_weight", "equivariance weight", "", 4, None, "what it is multiplied by in the loss"),
    Metric("train/flip_equivariance", "flip equivariance", "nats", 2, None, "error of the images of flipped latents"),
    Metric("train/flip_equivariance_weight", "flip equivariance weight", "", 4, None, "what it is multiplied by"),
    Metric("train/features", "features", "", 4, _DOWN, "distance of a network's features, the term of that name"),
    Metric("train/features_weight", "features weight", "", 4, None, "what it is multiplied by in the loss"),
    Metric("train/lpips", "LPIPS", "", 4, _DOWN, "how different images and reconstructions look, to VGG16"),
    Metric("train/lpips_weight", "LPIPS weight", "", 4, None, "what it is multiplied by in the loss"),
    Metric("train/laplacian", "Laplacian", "", 4, None, "difference of images at each scale, the term of that name"),
    Metric("train/laplacian_weight", "Laplacian weight", "", 4, None, "what it is multiplied by in the loss"),
    Metric("train/focal_frequency", "focal frequency", "", 5, None, "of images' spectra, the term of that name"),
    Metric("train/focal_frequency_weight", "focal frequency weight", "", 4, None, "what it is multiplied by"),
    Metric("train/magnitude", "latent magnitude", "", 2, None, "squares of the latents' means, the term of that name"),
    Metric("train/magnitude_weight", "magnitude weight", "", 4, None, "what it is multiplied by in the loss"),
    Metric("train/activation_limit", "activation limit", "", 4, _DOWN, "squares of activations beyond it"),
    Metric("train/activation_limit_weight", "activation limit weight", "", 4, None, "what it is multiplied by"),
    Metric("train/activation_largest", "largest activation", "", 1, _DOWN, "in absolute value, of any module"),
    Metric("train/teacher", "teacher", "", 6, _DOWN, "squared distance to another run's latents and images"),
    Metric("train/teacher_weight", "teacher weight", "", 4, None, "what it is multiplied by in the loss"),
    Metric("train/adversarial", "adversarial", "", 3, None, "what the discriminator thinks of reconstructions"),
    Metric("train/adversarial_weight", "adversarial weight", "", 4, None, "what it is multiplied by in the loss"),
    Metric("train/adaptive_weight", "adaptive weight", "", 3, None, "the error's gradient to the term's, its factor"),
    Metric("train/loss_discriminator", "discriminator's loss", "", 4, _DOWN, "what the discriminator minimises"),
    Metric("train/discriminator_logit_real", "logit, real", "", 3, None, "mean of images, more is more real"),
    Metric("train/discriminator_logit_fake", "logit, fake", "", 3, None, "mean of reconstructions"),
    Metric("train/discriminator_accuracy_real", "accuracy, real", "", 3, None, "patches of images taken for real"),
    Metric("train/discriminator_accuracy_fake", "accuracy, fake", "", 3, None, "patches of reconstructions found out"),
    Metric("train/discriminator_accuracy", "accuracy", "", 3, None, "patches told from those of the reconstruction"),
    Metric("train/discriminator_r1", "R1", "", 4, None, "squared gradient of the logits at images"),
    Metric("train/discriminator_r2", "R2", "", 4, None, "the same at reconstructions"),
    Metric("train/discriminator_lecam", "LeCam", "", 4, None, "logits beyond the mean of the other kind, squared"),
    Metric("train/gradient_share_TERM", "gradient share", "", 3, None, "of a term at the decoder's last layer"),
    Metric("train/scale", "scale", "", 4, None, "standard deviation or scale of the likelihood, where it is learned"),
    Metric("train/learning_rate", "learning rate", "", 6, None, "of the step, as the optimizer has it"),
    Metric("train/gradient_norm", "gradient norm", "", 3, None, "of the step, before it is clipped, where it is"),
    Metric("train/ema_decay", "EMA decay", "", 6, None, "share of the average of the weights kept at the step"),
    Metric("train/clamped_share", "clamped share", "", 3, None, "share of log-variances outside their bounds"),
    Metric("posterior/active_units", "active units", "", 0, None, "latents with Var(E[z_j|x]) > 0.01"),
    Metric("posterior/effective_rank", "effective rank", "", 1, None, "of the signal Cov(E[z|x])"),
    Metric("posterior/effective_rank_total", "effective rank, total", "", 1, None, "of Cov(z), noise included"),
    Metric("posterior/moment_kl_diag", "moment KL", "nats", 3, None, "KL(N(E[z], Var(z)) || N(0, I))"),
    Metric("posterior/moment_kl_full", "moment KL, full", "nats", 3, None, "the same with the full covariance"),
    Metric("posterior/kl_standard_normal", "KL to N(0, I)", "nats", 2, None, "E_x KL(q(z|x) || N(0, I)) per example"),
    Metric("posterior/scaling_factor", "scaling factor", "", 4, None, "1 / standard deviation of all latents"),
    Metric("posterior/shift_factor", "shift factor", "", 4, None, "mean of all latents"),
    Metric("posterior/scaling_factor_of_mean", "scaling factor, mode", "", 4, None, "the same of E[z|x]"),
    Metric("posterior/mean_of_var", "E[Var(z|x)]", "", 4, None, "the noise, averaged over all latents"),
    Metric("posterior/var_of_mean", "Var(E[z|x])", "", 4, None, "the signal, of all latents together"),
    Metric("posterior/noise_lost_bfloat16", "noise lost in bf16", "", 3, None, "how often z rounds to E[z|x]"),
    Metric("posterior/noise_lost_float16", "noise lost in fp16", "", 3, None, "how often z rounds to E[z|x]"),
    Metric("posterior/clamped_low", "clamped low", "", 4, None, "share of log-variances below their bounds"),
    Metric("posterior/clamped_high", "clamped high", "", 4, None, "share of log-variances above their bounds"),
    Metric("posterior/codes_used", "codes used", "", 0, None, "of a codebook, by any position of any image"),
    Metric("posterior/code_perplexity", "code perplexity", "", 1, None, "exp of the entropy of their usage"),
    Metric("time/images_per_second", "speed", "images per second", 0, _UP, "of training alone"),
    Metric("time/step_ms", "step", "ms", 2, _DOWN, "of training, with the fetching of its batch"),
    Metric("time/waiting_share", "waiting", "", 3, _DOWN, "share of training in which a step waited for its batch"),
    Metric("memory/peak_mib", "peak memory", "MiB", 0, _DOWN, "the most that the process held while it trained"),
    Metric("memory/gpu_peak_mib", "peak GPU memory", "MiB", 0, _DOWN, "the most that tensors took on it in training"),
    Metric("likelihood/elbo", "ELBO", "nats", 2, _UP, "-(distortion + rate) per example, a lower bound on log p(x)"),
    Metric("likelihood/rate", "rate", "nats", 2, None, "KL(q(z|x) || p(z)) per example"),
    Metric("likelihood/distortion", "distortion", "nats", 2, _DOWN, "E_q[-log p(x|z)] per example"),
    Metric("likelihood/iwae", "importance-weighted", "nats", 2, _UP, "bound on log p(x) of K importance samples"),
    Metric("likelihood/iwae_standard_error", "standard error", "nats", 2, None, "of that bound, over examples"),
    Metric("likelihood/iwae_samples", "K", "", 0, None, "importance samples of each example"),
    Metric("likelihood/ess", "effective samples", "", 1, _UP, "(sum w)^2 / sum w^2 of the importance weights, 1 to K"),
    Metric("likelihood/bits_per_dim", "bits per dimension", "bits", 4, _DOWN, "-ELBO per pixel, in bits"),
    Metric("likelihood/bits_per_dim_note", "", "text", 0, None, "how that was computed, or why there is none"),
    Metric("likelihood/note", "", "text", 0, None, "why there is no likelihood"),
    Metric("collapse/verdict", "", "text", 0, None, "the diagnostics of collapse in words"),
    Metric("collapse/codes", "codes", "", 0, None, "of the codebook, how many there are"),
    Metric("collapse/codes_used", "codes used", "", 0, None, "by any position of any image"),
    Metric("collapse/code_perplexity", "code perplexity", "", 1, None, "exp of the entropy of how often each is used"),
    Metric("collapse/latents", "latents", "", 0, None, "how many there are"),
    Metric("collapse/active_units", "active units", "", 0, None, "latents with Var(E[z_j|x]) > 0.01"),
    Metric("collapse/active_units_curve", "", "counts", 0, None, "active units at ten thresholds"),
    Metric("collapse/kl_per_dimension", "", "list of nats", 0, None, "E_x KL(q(z_j|x) || N(0, 1)) of each latent"),
    Metric("collapse/informative_units", "informative units", "", 0, None, "latents of which that is above 0.01"),
    Metric("collapse/collapsed_units", "collapsed units", "", 0, None, "latents that match N(0, 1) on 99% of images"),
    Metric("collapse/mi_lower", "information I(x; z)", "nats", 2, None, "lower bound on the mutual information"),
    Metric("collapse/mi_upper", "information I(x; z)", "nats", 2, None, "upper bound on the mutual information"),
    Metric("collapse/mi_cap", "cap", "nats", 2, None, "ln M, which the lower bound cannot exceed"),
    Metric("collapse/mi_saturated", "saturated", "true or false", 0, None, "whether the bounds say nothing but M"),
    Metric("collapse/mi_problem", "", "text", 0, None, "why the information is not known, where it is not"),
    Metric("collapse/mi_examples", "M", "", 0, None, "examples of the estimate of information"),
    Metric("collapse/marginal_kl_lower", "marginal KL", "nats", 2, None, "lower bound on KL(q(z) || p(z))"),
    Metric("collapse/marginal_kl_upper", "marginal KL", "nats", 2, None, "upper bound on KL(q(z) || p(z))"),
    Metric("collapse/moment_kl_diag", "moment KL, diagonal", "nats", 3, None, "KL(N(E[z], Var(z)) || N(0, I))"),
    Metric("collapse/moment_kl_full", "moment KL, full", "nats", 3, None, "the same with the full covariance"),
    Metric("collapse/total_correlation", "total correlation", "nats", 3, None, "its Gaussian part: full - diagonal"),
    Metric("collapse/moment_kl_bias", "bias", "nats", 3, None, "of the moment KL, upwards, by sampling"),
    Metric("collapse/moment_kl_problem", "", "text", 0, None, "why there is no moment KL of the full covariance"),
    Metric("collapse/effective_rank_signal", "effective rank", "", 1, None, "of the signal Cov(E[z|x])"),
    Metric("collapse/participation_ratio_signal", "participation ratio", "", 1, None, "of the signal Cov(E[z|x])"),
    Metric("reconstruction/psnr", "PSNR", "dB", 2, _UP, "mean over images, at the mean of q(z|x)"),
    Metric("reconstruction/ssim", "SSIM", "", 4, _UP, "structural similarity, at the mean of q(z|x)"),
    Metric("reconstruction/mse", "MSE per pixel", "", 5, _DOWN, "squared error per pixel, at the mean of q(z|x)"),
    Metric("reconstruction/psnr_sampled", "PSNR", "dB", 2, _UP, "the same at a sample of q(z|x)"),
    Metric("reconstruction/ssim_sampled", "SSIM", "", 4, _UP, "the same at a sample of q(z|x)"),
    Metric("reconstruction/mse_sampled", "MSE per pixel", "", 5, _DOWN, "the same at a sample of q(z|x)"),
    Metric("reconstruction/exact_colours", "exact colours", "", 4, _UP, "share of pixels whose 8-bit colour is right"),
    Metric("reconstruction/edge_error", "edge error", "", 5, _DOWN, "of the gradient's magnitude, per pixel"),
    Metric("reconstruction/colour_shift", "colour shift", "", 5, _DOWN, "of an image's mean colour"),
    Metric("reconstruction/border_mse", "MSE at the border", "", 5, _DOWN, "an eighth of the shorter side wide"),
    Metric("reconstruction/centre_mse", "MSE within it", "", 5, _DOWN, "of the rest of the image"),
    Metric("reconstruction/ssim_window", "SSIM window", "pixels", 0, None, "side of the window"),
    Metric("generation/SAMPLER/frechet", "frechet", "", 2, _DOWN, "Frechet distance to real images"),
    Metric("generation/SAMPLER/kernel", "kernel", "", 4, _DOWN, "kernel distance to real images"),
    Metric("generation/SAMPLER/density", "density", "", 3, _UP, "how densely real images surround a sample"),
    Metric("generation/SAMPLER/coverage", "coverage", "", 3, _UP, "share of real images with a sample nearby"),
    Metric("generation/SAMPLER/latent_log_prob", "log p(z)", "nats", 2, _UP, "of z ~ q(z|x) of held-out images"),
    Metric("generation/SAMPLER/latent_log_prob_is_bound", "", "true or false", 0, None, "whether that is a bound"),
    Metric("generation/features", "", "text", 0, None, "what images are compared by"),
    Metric("generation/examples", "images", "", 0, None, "that each sampler draws"),
    Metric("generation/note", "", "text", 0, None, "what to beware of"),
    Metric("generation/left_out", "", "texts", 0, None, "samplers that these latents cannot have, and why"),
    Metric("representation/probe_accuracy", "probe accuracy", "", 4, _UP, "of a linear classifier of E[z|x]"),
    Metric("representation/probe_baseline", "probe baseline", "", 3, None, "of always naming the commonest class"),
    Metric("representation/probe_accuracy_per_factor", "", "list", 0, _UP, "the same of each factor"),
    Metric("representation/mig", "MIG", "", 3, _UP, "mutual information gap"),
    Metric("representation/sap", "SAP", "", 3, _UP, "separated attribute predictability"),
    Metric("representation/dci", "DCI disentanglement", "", 3, _UP, "whether a latent matters for one factor"),
    Metric("representation/dci_completeness", "DCI completeness", "", 3, _UP, "whether a factor is in one latent"),
    Metric("representation/dci_informativeness", "DCI informativeness", "", 3, _UP, "of predicting the factors"),
    Metric("representation/factor_vae", "FactorVAE score", "", 3, _UP, "majority vote on the latent that varies least"),
    Metric("representation/note", "", "text", 0, None, "why there is no probe, or no scores"),
    Metric("probe/bright_spot/z", "largest robust z", "", 1, _DOWN, "of |z| at a place, median over images"),
    Metric("probe/bright_spot/excess", "excess", "", 3, None, "of |z| there, over that of the map"),
    Metric("probe/bright_spot/logvar_z", "largest robust z", "", 1, _DOWN, "of the log-variance at a place"),
    Metric("probe/bright_spot/border_to_centre", "border to centre", "times", 3, None, "mean |z| of the border"),
    Metric("probe/bright_spot/size", "", "list of pixels", 0, None, "shorter sides that were looked at"),
    Metric("probe/bright_spot/z_by_size", "", "list", 0, None, "largest robust z at each of them"),
    Metric("probe/bright_spot/row", "", "list", 0, None, "where that is, from the top"),
    Metric("probe/bright_spot/column", "", "list", 0, None, "where that is, from the left"),
    Metric("probe/reach/far", "energy far away", "", 4, _DOWN, "share of a change more than 4 cells away"),
    Metric("probe/reach/far_norms_held", "energy far away", "", 4, None, "with the norms held still"),
    Metric("probe/reach/far_attention_held", "energy far away", "", 4, None, "with the attention held still"),
    Metric("probe/reach/far_both_held", "energy far away", "", 4, None, "with both held still"),
    Metric("probe/reach/changed", "pixels changed", "", 4, None, "share of pixels that one latent changes"),
    Metric("probe/reach/changed_norms_held", "pixels changed", "", 4, None, "with the norms held still"),
    Metric("probe/reach/changed_attention_held", "pixels changed", "", 4, None, "with the attention held still"),
    Metric("probe/reach/changed_both_held", "pixels changed", "", 4, None, "with both held still"),
    Metric("probe/reach/local_reach", "local reach", "pixels", 0, None, "furthest pixel changed with both held"),
    Metric("probe/noise/psnr", "mean to sample", "dB", 2, None, "PSNR between what both decode to"),
    Metric("probe/noise/lpips", "mean to sample, LPIPS", "", 4, None, "the same by LPIPS"),
    Metric("probe/noise/laplacian", "mean to sample, Laplacian", "", 4, None, "the same by pyramids"),
    Metric("probe/noise/psnr_mean", "PSNR", "dB", 2, _UP, "at the mean of q(z|x), of the mean error"),
    Metric("probe/noise/psnr_sample", "PSNR", "dB", 2, _UP, "at a sample of q(z|x), of the mean error"),
    Metric("probe/noise/std_share", "noise to means", "", 4, None, "ratio of standard deviations"),
    Metric("probe/noise/lost_bfloat16", "lost in bfloat16", "", 4, _DOWN, "share of the noise rounded away"),
    Metric("probe/noise/lost_float16", "lost in float16", "", 4, _DOWN, "share of the noise rounded away"),
    Metric("probe/attention/psnr", "with to without", "dB", 2, None, "PSNR between reconstructions"),
    Metric("probe/attention/psnr_with", "PSNR with it", "dB", 2, _UP, "of the mean error, to the images"),
    Metric("probe/attention/psnr_without", "PSNR without it", "dB", 2, _UP, "of the mean error, to the images"),
    Metric("probe/attention/latents_change", "change of latents", "", 4, None, "norm of it, over that of the means"),
    Metric("probe/attention/parameters", "parameters", "", 0, None, "of attention"),
    Metric("probe/attention/parameters_share", "share of parameters", "", 4, None, "of attention"),
    Metric("probe/attention/size", "", "list of pixels", 0, None, "sides of the images that are timed"),
    Metric("probe/attention/seconds_with", "", "list of seconds", 0, _DOWN, "to encode and decode an image"),
    Metric("probe/attention/seconds_without", "", "list of seconds", 0, _DOWN, "the same without attention"),
    Metric("probe/attention/time_saved", "", "list", 0, None, "share of the time that is saved without it"),
    Metric("probe/grid/rms", "pattern of a cell", "", 6, _DOWN, "root mean square, of a constant latent"),
    Metric("probe/grid/checkerboard_rms", "checkerboard", "", 6, _DOWN, "root mean square, of a constant latent"),
    Metric("probe/grid/inside_std", "std inside", "", 5, _DOWN, "of a decoded constant without its border"),
    Metric("probe/grid/share_at_stride", "share of the pattern", "", 4, None, "of the energy inside"),
    Metric("probe/grid/share_of_all", "share inside", "", 6, None, "energy inside over that with the border"),
    Metric("probe/grid/residual_rms", "pattern of errors", "", 6, _DOWN, "of a cell, in the mean error of images"),
    Metric("probe/colour/shift", "mean shift", "", 5, None, "of the channel that shifts most, signed"),
    Metric("probe/colour/standard_error", "standard error", "", 5, None, "of that mean over images"),
    Metric("probe/colour/per_channel", "", "list", 0, None, "the mean shift of each channel"),
    Metric("probe/saturation/clipped_share", "share out of range", "", 5, _DOWN, "of values that are not at its end"),
    Metric("probe/saturation/largest", "most out of range", "", 4, _DOWN, "how far a value lies beyond 0 or 1"),
    Metric("probe/border/same_pixels_ratio", "border to within", "times", 2, _DOWN, "squared error, same pixels"),
    Metric("probe/border/ratio", "border to centre", "times", 2, _DOWN, "squared error, of other pixels"),
    Metric("probe/border/border_mse", "MSE at the border", "", 5, _DOWN, "an eighth of the shorter side wide"),
    Metric("probe/border/centre_mse", "MSE within it", "", 5, _DOWN, "of the rest of the image"),
    Metric("probe/equivariance/lost", "worst loss", "dB", 2, _DOWN, "PSNR that transformed latents lose at most"),
    Metric("probe/equivariance/shift_lost", "shift", "dB", 2, _DOWN, "PSNR that latents lose by it"),
    Metric("probe/equivariance/shift_encoder", "shift, encoder", "", 3, _DOWN, "error of the latents"),
    Metric("probe/equivariance/shift_decoder", "shift, decoder", "", 3, _DOWN, "error of the images"),
    Metric("probe/equivariance/flip_horizontal_lost", "mirrored", "dB", 2, _DOWN, "PSNR that latents lose by it"),
    Metric("probe/equivariance/flip_horizontal_encoder", "mirrored, encoder", "", 3, _DOWN, "error of the latents"),
    Metric("probe/equivariance/flip_horizontal_decoder", "mirrored, decoder", "", 3, _DOWN, "error of the images"),
    Metric("probe/equivariance/flip_vertical_lost", "upside down", "dB", 2, _DOWN, "PSNR that latents lose by it"),
    Metric("probe/equivariance/flip_vertical_encoder", "upside down, encoder", "", 3, _DOWN, "error of the latents"),
    Metric("probe/equivariance/flip_vertical_decoder", "upside down, decoder", "", 3, _DOWN, "error of the images"),
    Metric("probe/equivariance/rotation_lost", "rotation", "dB", 2, _DOWN, "PSNR that latents lose by it"),
    Metric("probe/equivariance/rotation_encoder", "rotation, encoder", "", 3, _DOWN, "error of the latents"),
    Metric("probe/equivariance/rotation_decoder", "rotation, decoder", "", 3, _DOWN, "error of the images"),
    Metric("probe/equivariance/scale_lost", "scale", "dB", 2, _DOWN, "PSNR that latents lose by it"),
    Metric("probe/equivariance/scale_encoder", "scale, encoder", "", 3, _DOWN, "error of the latents"),
    Metric("probe/equivariance/scale_decoder", "scale, decoder", "", 3, _DOWN, "error of the images"),
    Metric("probe/spectrum/excess", "high frequencies", "dB", 2, _DOWN, "share of latents' power over that of images'"),
    Metric("probe/spectrum/slope", "slope", "", 2, None, "of ln power on ln frequency, of latents"),
    Metric("probe/spectrum/slope_of_images", "slope, images", "", 2, None, "the same of images of their size"),
    Metric("probe/spectrum/high_share", "share", "", 3, None, "of latents' power beyond 1/4 cycle a cell"),
    Metric("probe/spectrum/high_share_of_images", "share, images", "", 3, None, "the same of images of their size"),
    Metric("probe/fp16/headroom", "headroom", "bits", 1, _UP, "log2(65504 / largest activation), in float32"),
    Metric("probe/fp16/largest", "largest activation", "", 1, _DOWN, "in absolute value, in float32"),
    Metric("probe/fp16/layer", "", "text", 0, None, "the module that has it"),
    Metric("probe/fp16/first_over", "", "text", 0, None, "the first module with one beyond 65,504"),
    Metric("probe/fp16/broken_share", "not finite in fp16", "", 4, _DOWN, "share of pixel values, computed in float16"),
    Metric("probe/fp16/psnr", "PSNR in fp16", "dB", 1, _UP, "of images in float16 to those in float32"),
    Metric("probe/fp16/computed_in", "", "text", 0, None, "float16, or what it was emulated in"),
    Metric("probe/compatibility/psnr_mapped", "PSNR, mapped", "dB", 2, _UP, "decoded by the other, after a linear map"),
    Metric("probe/compatibility/psnr_mapped_3x3", "PSNR, mapped by 3 x 3", "dB", 2, _UP, "the same of 3 x 3"),
    Metric("probe/compatibility/psnr_direct", "PSNR, as they are", "dB", 2, _UP, "decoded by the other without a map"),
    Metric("probe/compatibility/psnr_own", "PSNR, own", "dB", 2, _UP, "of the other's own latents"),
    Metric("probe/compatibility/cka", "CKA", "", 3, None, "debiased, linear: how alike the latents are"),
    Metric("probe/compatibility/r2", "R2", "", 3, None, "of the other's latents by a linear map of these"),
    Metric("probe/compatibility/r2_3x3", "R2, 3 x 3", "", 3, None, "the same, of 3 x 3 positions"),
    Metric("probe/PROBE/sentence", "", "text", 0, None, "what was found"),
    Metric("probe/PROBE/fault", "", "true or false", 0, None, "whether it is a fault"),
    Metric("probe/PROBE/note", "", "text", 0, None, "why the probe does not apply"),
    Metric("compare/psnr", "PSNR", "dB", 2, _UP, "mean over images, of pictures of 8 bits"),
    Metric("compare/psnr_of_mse", "PSNR of the mean MSE", "dB", 2, _UP, "images that are met badly count for more"),
    Metric("compare/ssim", "SSIM", "", 4, _UP, "structural similarity, of pictures of 8 bits"),
    Metric("compare/lpips", "LPIPS", "", 4, _DOWN, "how different they look, to VGG16"),
    Metric("compare/rfid", "rFID", "", 2, _DOWN, "Frechet distance of Inception's features to the images"),
    Metric("compare/psnr_coarse", "PSNR, coarse", "dB", 2, _UP, "of the error below 1/8 of the highest frequency"),
    Metric("compare/psnr_medium", "PSNR, medium", "dB", 2, _UP, "from 1/8 to 1/4 of it"),
    Metric("compare/psnr_fine", "PSNR, fine", "dB", 2, _UP, "from 1/4 to 1/2 of it"),
    Metric("compare/psnr_finest", "PSNR, finest", "dB", 2, _UP, "from 1/2 of it on"),
    Metric("compare/mse", "MSE per pixel", "", 5, _DOWN, "squared error per pixel, of pictures of 8 bits"),
    Metric("compare/edge_error", "edge error", "", 5, _DOWN, "of the gradient's magnitude, per pixel"),
    Metric("compare/colour_shift", "colour shift", "", 5, _DOWN, "of an image's mean colour"),
    Metric("compare/latent_mean", "latent mean", "", 4, None, "of q(z), all latents together: the shift factor"),
    Metric("compare/latent_std", "latent std", "", 4, None, "of q(z), all latents together: 1 / scaling factor"),
    Metric("compare/latent_noise_std", "noise std", "", 4, None, "the root of E[Var(z|x)]"),
    Metric("compare/bits", "latent size", "bits", 0, None, "that a latent takes: 16 a number, log2 K a code"),
    Metric("compare/bits_per_pixel", "latent size a pixel", "bits", 3, None, "the same over height times width"),
    Metric("compare/rate_bits", "rate", "bits", 0, None, "E[KL(q(z|x) || N(0, I))] of an image"),
    Metric("compare/rate_bits_per_pixel", "rate a pixel", "bits", 3, None, "the same over height times width"),
    Metric("compare/parameters", "parameters", "", 0, None, "of the whole model"),
    Metric("compare/parameters_encoder", "encoder", "", 0, None, "parameters of the encoder"),
    Metric("compare/parameters_decoder", "decoder", "", 0, None, "parameters of the decoder"),
    Metric("compare/encode_ms", "encode", "ms", 1, _DOWN, "median time to encode one image"),
    Metric("compare/decode_ms", "decode", "ms", 1, _DOWN, "median time to decode one image"),
    Metric("compare/encode_mib", "encode", "MiB", 1, _DOWN, "memory for it, besides the weights"),
    Metric("compare/decode_mib", "decode", "MiB", 1, _DOWN, "memory for it, besides the weights"),
)  # fmt: skip

LOOKED_AT_FIRST = ("SPLIT/elbo", "SPLIT/rate", "SPLIT/distortion", "posterior/active_units", "likelihood/iwae")
"""What `lehr results` shows where nothing else is asked for."""

COLUMNS = (
    "test/elbo",
    "test/rate",
    "test/distortion",
    "val/elbo",
    "posterior/active_units",
    "posterior/moment_kl_diag",
    "time/images_per_second",
)
"""The metric columns of TensorBoard's table of hyper-parameters."""

_SHARE = "train/gradient_share_"
_BY_NAME = {metric.name: metric for metric in CATALOGUE}


def is_of_execution(name: str) -> bool:
    """Whether a metric is of how a run was executed, its speed, say: the same run on another machine has another."""
    return name.startswith(("time/", "memory/"))


def without_execution(metrics: Mapping[str, T]) -> dict[str, T]:
    """The metrics that the same run has on any machine."""
    return {name: value for name, value in metrics.items() if not is_of_execution(name)}


def find_metric(name: str) -> Metric | None:
    """The line of a metric, `test/elbo` or `generation/prior/frechet`; None of one that is not in the catalogue."""
    if found := _BY_NAME.get(name):
        return found
    first, *rest = name.split("/")
    if name.startswith(_SHARE):
        return _BY_NAME[f"{_SHARE}TERM"]
    if first in _SPLITS:
        return _BY_NAME.get("/".join(["SPLIT", *rest]))
    if len(rest) != 2:
        return None
    return _BY_NAME.get(f"{first}/{'PROBE' if first == 'probe' else 'SAMPLER'}/{rest[1]}")


def final_split(names: Iterable[str]) -> str:
    """The split that the metrics of a finished run are of: test, or val where the data have no test split."""
    return "test" if any(name.startswith("test/") for name in names) else "val"
