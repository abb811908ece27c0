"""Whether each latent stands for one factor of variation: MIG, SAP, DCI and the FactorVAE score.

All follow Locatello et al. 2019 (disentanglement_lib) where nothing else is said, but take a data set that is
encoded already in place of a simulator. They measure the axes, not what is known: two factors that are mixed evenly
in two latents score low although nothing is lost, which the linear probe shows. The FactorVAE score is the most
lenient: it asks only that each factor has a latent that depends on it more than on any other.

Shapes: n examples, d latents, f factors with more than one value. Codes are posterior means (n, d), or (n, zc, zh, zw),
which is flattened; factors are whole numbers (n, f). A latent that does not vary counts as one that says nothing, and
a factor with a single value is left out; both are named in the result. Matrices (d, f) have a column for each factor
that is not left out.
"""
