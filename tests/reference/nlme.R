# Log-likelihoods of AR(1) residuals with holes by nlme: `Rscript tests/reference/nlme.R` writes nlme.json.
#
# corCAR1 gives a gap of g bins the correlation rho^g. rho is fixed; sigma, the coefficients and (lme) the sd of the
# participants are at their best for it, and stored, so that the density is compared and no optimiser.
suppressPackageStartupMessages({
  library(nlme)
  library(jsonlite)
})
here <- dirname(normalizePath(sub("--file=", "", grep("--file=", commandArgs(FALSE), value = TRUE)[1])))
data <- read.csv(file.path(here, "data", "series.csv"))
data$series <- interaction(data$participant, data$trial)
data <- data[order(data$participant, data$trial, data$bin), ]

residual_only <- function(rho, method) {
  fit <- gls(y ~ x, data, correlation = corCAR1(rho, form = ~ bin | series, fixed = TRUE), method = method)
  list(
    model = "y ~ x", method = method, rho = rho, sd = 0, sigma = fit$sigma, beta = unname(coef(fit)),
    log_likelihood = as.numeric(logLik(fit))
  )
}

with_participants <- function(rho, method) {
  fit <- lme(
    y ~ x, random = ~ 1 | participant, data = data, method = method,
    correlation = corCAR1(rho, form = ~ bin | participant/trial, fixed = TRUE),
    control = lmeControl(msTol = 1e-12, tolerance = 1e-10)
  )
  list(
    model = "y ~ x + (1 | participant)", method = method, rho = rho, sd = sqrt(as.numeric(getVarCov(fit))),
    sigma = fit$sigma, beta = unname(fixef(fit)),
    log_likelihood = as.numeric(logLik(fit))
  )
}

cases <- list()
for (rho in c(0.2, 0.6, 0.9)) {
  for (method in c("ML", "REML")) {
    cases <- c(cases, list(residual_only(rho, method), with_participants(rho, method)))
  }
}
out <- list(
  made_by = "tests/reference/nlme.R", data = "series.csv",
  versions = list(R = as.character(getRversion()), nlme = as.character(packageVersion("nlme"))), cases = cases
)
write(toJSON(out, auto_unbox = TRUE, digits = NA, pretty = TRUE), file.path(here, "nlme.json"))
