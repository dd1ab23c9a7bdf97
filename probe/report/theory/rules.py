"""How the verdicts of the theory page are made."""

BOUND = (
    "||x - D(E(x))||^2 <= 2 ||x - D(P)||^2 + 2 L^2 ||E(x) - P||^2 with P the prototype nearest to E(x); squared norms "
    "over pixels and channels, in the model's range, means with 95 % bootstrap intervals over images. It holds where "
    "it does for every image, with L as estimated (the exact upper limit of what may break it is given); otherwise it "
    "is undecided, since a larger L can mend it. A prototype claim holds where the interval of the paired difference "
    "(attractors minus one step of f from as many starts) lies below 0, and does not where it lies above."
)
CONTRACTION = (
    "The spectral norm of J_f: that f contracts every small step there holds where the mean's 95 % interval over "
    "points lies below 1, and does not where it lies above. The largest is a lower bound of the Lipschitz constant. "
    "Near: data with noise of a quarter of their spread; far: noise of four times it about their mean; noise: N(0, "
    "I), as the starts."
)
SCORE = (
    "Assumed, not shown: the theorem is about the latents of the data that the model was trained on, under a training "
    "that denoises or contracts. Here the density is estimated from the latents of held-out images of each data set: "
    "Gaussian kernels, their bandwidth the likeliest by leaving one out (where 1 kernel makes up the density, the "
    "score points at the nearest latent), and a mixture of diagonal Gaussians, chosen by BIC. Cosines at other "
    "images' latents, bare and with noise (in units of the spread); shuffled: with the scores at the other points; "
    "centre: with the way to the mean latent, which any contraction to the middle has. A claim holds where the 95 % "
    "interval of the paired difference lies above 0, and does not where it lies below. Proportional, as the theorem "
    "says, would be a cosine of 1."
)
GRADIENT = (
    "The share of ||J_f||^2 (Frobenius) in the antisymmetric part (J - J^T) / 2, which the field's own Jacobian J - I "
    "has as well, by Hutchinson's probes: 0 for the gradient of a potential, (d - 1) / (2 d) for a matrix of "
    "independent entries. That it is a gradient holds where the mean's 95 % interval over points lies below 0.01, and "
    "does not where it lies above. The share belongs to these coordinates: a field can be a gradient in others."
)
CONVERGENCE = (
    "Predicted: log(eps / ||z0 - z*||) / log(rho) for a start z0, its certified attractor z* with spectral radius rho, "
    "and eps the distance at which the residual reaches the tolerance. Actual: the steps of the start, iterated "
    "plainly in full precision; starts without such an iteration or without a certificate are left out. That the "
    "prediction orders the starts holds if the 95 % interval of the correlation lies above 0; that it is better than "
    "the best constant (the median of the actual steps) holds if the interval of the difference of log errors lies "
    "below 0."
)
