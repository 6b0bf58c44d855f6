# A warm brms: `Rscript brms.R DESIGN.csv WARMUP DRAWS CORES`. Compiles once, says so, then for each line on stdin
# ("IN OUT": doubles as for lme4.R, y standardised; where to put the draws) samples 4 chains by update() without
# compiling. OUT gets doubles: the number of parameters, then draws (draw fastest, then chain, then parameter).
suppressPackageStartupMessages(library(brms))
arguments <- commandArgs(TRUE)
design <- read.csv(arguments[1], stringsAsFactors = TRUE)
warmup <- as.integer(arguments[2])
draws <- as.integer(arguments[3])
cores <- as.integer(arguments[4])
priors <- c(
  set_prior("normal(0, 2.5)", class = "Intercept"), set_prior("normal(0, 2)", class = "b"),
  set_prior("normal(0, 2)", class = "sd", group = "participant", coef = "valence"),
  set_prior("normal(0, 1)", class = "sd", group = "participant", coef = "Intercept"),
  set_prior("normal(0, 1)", class = "sd", group = "stimulus", coef = "Intercept"),
  set_prior("lkj(2)", class = "cor"), set_prior("student_t(4, 0, 1)", class = "sigma")
)
formula <- activation ~ valence + (valence | participant) + (1 | stimulus)
design$activation <- rnorm(nrow(design))
start <- proc.time()[["elapsed"]]
model <- suppressMessages(brm(formula, design, prior = priors, chains = 0, silent = 2, refresh = 0))
cat(sprintf('{"compile_seconds": %.3f}\n', proc.time()[["elapsed"]] - start))
flush(stdout())
wanted <- c(
  "b_Intercept", "b_valence", "sd_participant__Intercept", "sd_participant__valence", "sd_stimulus__Intercept",
  "cor_participant__Intercept__valence", "sigma"
)
input <- file("stdin", "r")
while (length(line <- readLines(input, n = 1)) > 0) {
  paths <- strsplit(line, " ")[[1]]
  values <- readBin(paths[1], "double", 2 * nrow(design))
  order <- as.integer(values[seq_len(nrow(design))])
  data <- design[order, ]
  data$activation <- values[nrow(design) + order]
  start <- proc.time()[["elapsed"]]
  fit <- suppressMessages(suppressWarnings(update(
    model, newdata = data, recompile = FALSE, chains = 4, cores = cores, iter = warmup + draws, warmup = warmup,
    seed = 1, silent = 2, refresh = 0
  )))
  spent <- proc.time()[["elapsed"]] - start
  found <- as.array(fit)
  found <- found[, , wanted]
  writeBin(c(length(wanted), as.double(found)), paths[2])
  cat(sprintf('{"seconds": %.3f}\n', spent))
  flush(stdout())
}
