# A warm lme4: `Rscript lme4.R DESIGN.csv`. For each line on stdin (a file of doubles: the order of the rows from 1,
# then y in the design's order) one line of JSON with the seconds of the lmer call alone, the frame being ready:
# as people call it, and without the derivatives that check convergence at the end.
suppressPackageStartupMessages(library(lme4))
design <- read.csv(commandArgs(TRUE)[1], stringsAsFactors = TRUE)
formula <- activation ~ valence + (valence | participant) + (1 | stimulus)
lean <- lmerControl(calc.derivs = FALSE)

seconds <- function(expression) {
  invisible(gc(FALSE))
  start <- Sys.time()
  suppressMessages(suppressWarnings(force(expression)))
  as.numeric(difftime(Sys.time(), start, units = "secs"))
}

input <- file("stdin", "r")
cat("ready\n")
while (length(path <- readLines(input, n = 1)) > 0) {
  values <- readBin(path, "double", 2 * nrow(design))
  order <- as.integer(values[seq_len(nrow(design))])
  data <- design[order, ]
  rownames(data) <- NULL
  data$activation <- values[nrow(design) + order]
  usual <- seconds(fit <- lmer(formula, data))
  without <- seconds(lmer(formula, data, control = lean))
  cat(sprintf(
    '{"seconds": %.6f, "seconds_without_derivatives": %.6f, "objective": %.9f, "singular": %s}\n',
    usual, without, REMLcrit(fit), tolower(isSingular(fit))
  ))
  flush(stdout())
}
