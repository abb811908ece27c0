"""What a loss may hold beside distortion and rate: the `terms` group. Knows torch alone."""

from lehr.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {
        "ActivationLimit": "activation_limit",
        "Adversarial": "adversarial",
        "Equivariance": "equivariance",
        "FeatureDistance": "features",
        "FlipEquivariance": "equivariance",
        "FocalFrequency": "focal_frequency",
        "LPIPS": "lpips",
        "Laplacian": "laplacian",
        "LatentMagnitude": "magnitude",
        "LossTerm": "term",
        "PatchGAN": "patchgan",
        "PlayerOptions": "term",
        "RunFeatures": "features",
        "ScaleEquivariance": "equivariance",
        "Teacher": "teacher",
        "TermInputs": "term",
        "TermResult": "term",
        "TrainingLength": "timing",
        "WithTerms": "composed",
    },
)
