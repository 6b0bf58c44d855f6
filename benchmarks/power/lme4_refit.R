# A warm lme4: `Rscript lme4_refit.R DESIGN.csv Y.bin`. Refits the model to every response of a file of doubles (one
# response after the other, in the design's order); one line of JSON with the seconds of all `refit` calls, and of as
# many whole `lmer` calls on the first of them.
suppressPackageStartupMessages(library(lme4))
paths <- commandArgs(TRUE)
design <- read.csv(paths[1], stringsAsFactors = TRUE)
responses <- matrix(readBin(paths[2], "double", file.info(paths[2])$size / 8), nrow = nrow(design))
formula <- activation ~ valence + (valence | participant) + (1 | stimulus)
design$activation <- responses[, 1]
first <- suppressMessages(suppressWarnings(lmer(formula, design)))

seconds <- function(expression) {
  start <- Sys.time()
  suppressMessages(suppressWarnings(force(expression)))
  as.numeric(difftime(Sys.time(), start, units = "secs"))
}

count <- ncol(responses)
refits <- seconds(for (i in seq_len(count)) refit(first, responses[, i]))
some <- min(count, 50)
whole <- seconds(for (i in seq_len(some)) {
  design$activation <- responses[, i]
  lmer(formula, design)
})
cat(sprintf('{"studies": %d, "refit": %.6f, "lmer": %.6f}\n', count, refits / count, whole / some))
