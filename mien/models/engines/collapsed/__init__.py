"""Engine "collapsed": Gaussian hierarchical models with coefficients and group effects integrated out.

Given the standard deviations, correlations, residual sds and autocorrelation (theta), everything else is Gaussian.
Theta has a dozen dimensions; its posterior is sampled by importance sampling with a verdict of its own, and
coefficients and effects are drawn exactly for each theta. The likelihood needs sums over rows only, so that its cost
does not depend on their number.

    moments, moments_kernel     rows → sums by cell (a combination of levels)
    elimination, places         in which order effects are eliminated, and where each sum is stored
    kernels, tiles              the arithmetic: log |M|, quadratic forms, gradient, draws
    residual                    sigma by stratum, AR(1), known variances
    series_effects              effects of whole AR(1) series (trials), integrated out with their residuals
    parameters, correlation     theta ↔ natural parameters, priors;  coefficients: theirs
    density                     log p(y, theta) of one outcome
    shared_design, rotated_density, rotated_component, own_and_shared, covariance_sums
                                joint models where every trial has all shapes: the same density, a hundred times faster
    mode, proposal, mixture_density, pareto, importance   theta's posterior;  fallback: NUTS on the same density
    engine                      Problem → Draws
"""
