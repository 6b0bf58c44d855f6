"""A paper-like study with known truth, written as raw Live Link Face takes.

Files in reading order: design (what is shown to whom), truth (the latent numbers), people and reactions
(who reacts how to what), movements (blinks, gaze, head, spontaneous movements), tracker (what a phone makes
of it), recordings (one person's takes), study (a folder of takes), outcome_truth (the expectation of the
prepared outcome), resemblance (simulated files beside real ones).

Without recordings: calibration (does an engine find truths drawn from its own priors?), on model_draws (truth and data
of a ModelSpec); bands are those of models/uniformity. implied (what the priors' library says about data, measured in
simulated rows).

Nothing here shares a function with models/ that computes an expected activation: the outcome's truth is
counted from prepared simulated recordings, never derived from a formula.
"""
