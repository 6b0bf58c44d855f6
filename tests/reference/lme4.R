# Objective values of lme4 on the cases of data/: `Rscript tests/reference/lme4.R` writes lme4.json.
#
# For each case, by REML and by ML: the optimum, and two values of theta away from it (devfun, no optimiser in between).
# `objective` is -2 log-likelihood at (theta, sigma, beta) with sigma and beta at their best for that theta; theta is
# lme4's: the lower triangles of the relative covariance factors, column by column, in the order of `factors`.
suppressPackageStartupMessages({
  library(lme4)
  library(jsonlite)
})
here <- dirname(normalizePath(sub("--file=", "", grep("--file=", commandArgs(FALSE), value = TRUE)[1])))

cases <- list(
  intercepts = y ~ x + (1 | participant),
  slopes = y ~ x + (x | participant),
  slopes_independent = y ~ x + (x || participant),
  paper = y ~ x + (x | participant) + (1 | stimulus),
  two_factors = y ~ x + (1 | participant) + (1 | stimulus),
  nested = y ~ 1 + (1 | participant) + (1 | participant:session),
  singular = y ~ x + (1 | participant),
  weights = y ~ x + (x | participant),
  three_effects = y ~ x + z + (x + z | participant)
)
files <- c(slopes_independent = "slopes")

at <- function(devfun, theta) {
  objective <- devfun(theta)
  state <- environment(devfun)
  residual <- state$resp$wrss() + state$pp$sqrL(1)
  rows <- length(state$resp$y)
  free <- if (state$resp$REML > 0) rows - ncol(state$pp$X) else rows
  list(theta = I(theta), sigma = sqrt(residual / free), beta = I(state$pp$beta(1)), objective = objective)
}

one <- function(formula, data, reml) {
  weights <- if ("weight" %in% names(data)) data$weight else rep(1, nrow(data))
  data$rows_weight <- weights
  control <- lmerControl(
    optimizer = "bobyqa", calc.derivs = FALSE, check.conv.singular = "ignore",
    optCtrl = list(rhoend = 1e-10, maxfun = 100000)
  )
  fit <- suppressWarnings(lmer(formula, data, REML = reml, weights = rows_weight, control = control))
  devfun <- suppressWarnings(lmer(formula, data, REML = reml, weights = rows_weight, devFunOnly = TRUE))
  theta <- unname(getME(fit, "theta"))
  lower <- getME(fit, "lower")
  away <- list(ifelse(lower == 0, theta * 0.7 + 0.15, theta - 0.2), ifelse(lower == 0, theta * 1.4 + 0.3, theta + 0.3))
  found <- c(list(at(devfun, theta)), lapply(away, at, devfun = devfun))
  stopifnot(abs(found[[1]]$objective - (if (reml) REMLcrit(fit) else deviance(fit, REML = FALSE))) < 1e-9)
  list(
    factors = I(names(getME(fit, "cnms"))),
    terms = I(lapply(unname(getME(fit, "cnms")), function(names) I(sub("(Intercept)", "1", names, fixed = TRUE)))),
    coefficients = I(sub("(Intercept)", "Intercept", names(fixef(fit)), fixed = TRUE)),
    optimum = found[[1]], away = found[-1]
  )
}

out <- list(
  made_by = "tests/reference/lme4.R",
  versions = list(R = as.character(getRversion()), lme4 = as.character(packageVersion("lme4"))),
  cases = lapply(setNames(names(cases), names(cases)), function(name) {
    file <- if (name %in% names(files)) files[[name]] else name
    data <- read.csv(file.path(here, "data", paste0(file, ".csv")))
    if ("session" %in% names(data)) data$session <- as.character(data$session)
    formula <- cases[[name]]
    list(
      data = paste0(file, ".csv"), formula = paste(deparse(formula), collapse = ""), weights = "weight" %in% names(data),
      reml = one(formula, data, TRUE), ml = one(formula, data, FALSE)
    )
  })
)
write(toJSON(out, auto_unbox = TRUE, digits = NA, pretty = TRUE), file.path(here, "lme4.json"))
